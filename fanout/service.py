"""The composition root: what runs beside what, and in which order it begins and ends.

    venue --REST--> instruments, references          before anything listens
    venue --WebSocket--> feed -> channel -> transports -> clients

It ends from the left: the feed is stopped, the channel publishes END and closes its log, the
transports deliver what is left and return.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import trio

from fanout.channel.channel import Channel
from fanout.config import Config
from fanout.errors import VenueBusyError, VenueError
from fanout.feed import Feed
from fanout.feed.market import Market, ask_market
from fanout.http.monitor import Monitor
from fanout.net.proxy import proxy_for
from fanout.net.rest import RestClient, open_rest
from fanout.net.websocket import open_websocket
from fanout.protocol.constants import EndReason
from fanout.protocol.errors import reason
from fanout.protocol.records import Header
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import FeedStats
from fanout.transports import Transport, make_transport
from fanout.venues import VENUES, Venue

_LOG = logging.getLogger("fanout")

T = TypeVar("T")

PATIENCE_S: Final = 1.0
"""For how long somebody at a terminal does not wonder whether anything happens."""

RETRY_MS: Final = 1_000
"""When clients are asked to come back after an orderly end: a restart takes about that long."""


async def run_service(
    config: Config,
    *,
    stop: trio.Event,
    announce: Callable[[str], None],
    wall_ns: Callable[[], int] = time.time_ns,
) -> None:
    """Run until `stop` is set, then end in good order.

    `announce` is called with one line for people about each address that is open. Raises an
    `OperatorError` or a `VenueError` if the service cannot start, and `VenueForbiddenError` if
    the venue refuses the first connection; like every nursery, in an exception group.
    """
    async with (
        _open_to_questions(config, announce) as show,
        open_venue(config) as venue,
        _open_rest(config, venue, wall_ns) as rest,
    ):
        ask = (
            partial(_ask_patiently, rest, venue, config)
            if config.feed.patient
            else partial(ask_market, rest, venue, config.assets)
        )
        market = await _until(stop, ask, waiting=f"waiting for {venue.rest_url} to answer")
        if market is None:
            return
        header = Header(
            epoch_ns=wall_ns(),
            next_seq=1,
            venue=venue.name,
            instruments=market.instruments,
            references=market.references,
        )
        channel = Channel(header, log_bytes=config.log_bytes, wall_ns=wall_ns)
        channel.seed(market.newest)
        feed = _make_feed(config, venue, market, channel, rest, wall_ns)
        transports = [make_transport(each) for each in config.transports]
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            show(Monitor(header, feed, channel, transports))
            for each in transports:
                run = partial(_run_transport, each, [channel], stop, failures)
                announce(await nursery.start(run))
            failure = await _feed_until(stop, feed, channel)
        _log_totals(feed.stats(), channel)
        for fault in (failure, *failures):
            if fault is not None:
                raise fault


def _make_feed(
    config: Config,
    venue: Venue,
    market: Market,
    channel: Channel,
    rest: RestClient,
    wall_ns: Callable[[], int],
) -> Feed:
    proxy = proxy_for(venue.stream_url(), config.feed.proxy)
    return Feed(
        venue,
        market,
        channel,
        rest,
        Anomalies(clock=trio.current_time),
        config.feed,
        connect=partial(open_websocket, proxy=proxy, wall_ns=wall_ns),
        wall_ns=wall_ns,
    )


@asynccontextmanager
async def _open_to_questions(
    config: Config, announce: Callable[[str], None]
) -> AsyncIterator[Callable[[Monitor], None]]:
    """Answer over HTTP, if that is asked for: that we live, from the start on, and all else once
    there is a monitor to be shown."""
    if config.http is None:
        yield lambda monitor: None
        return
    from fanout.http.server import HttpServer  # with Prometheus's library, which not all need

    server = HttpServer()
    async with trio.open_nursery() as nursery:
        announce(await nursery.start(server.run, config.http.host, config.http.port))

        def show(monitor: Monitor) -> None:
            server.show(monitor)
            nursery.start_soon(monitor.run)

        yield show
        nursery.cancel_scope.cancel()


def _log_totals(feed: FeedStats, channel: Channel) -> None:
    _LOG.info(
        "%d messages, %d trades in %d blocks, %d events",
        feed.messages,
        channel.trades,
        channel.blocks,
        channel.events,
    )
    if feed.clock_offset_ns is not None and feed.clock_uncertainty_ns is not None:
        _LOG.info(
            "the venue's clock less ours: %+.1f ms, give or take %.1f ms",
            feed.clock_offset_ns / 1e6,
            feed.clock_uncertainty_ns / 1e6,
        )
    for link in feed.links:
        _LOG.info(
            "%s: first with %d trades, replaced %d times", link.name, link.won, link.rotations
        )
    for each in feed.instruments:
        if each.missing:
            _LOG.info(
                "%s: %d ids did not come in their turn: %d back-filled, %d no trades, %d lost",
                each.symbol,
                each.missing,
                each.back_filled,
                each.no_trade,
                each.lost,
            )


async def _run_transport(
    transport: Transport,
    channels: Sequence[Channel],
    stop: trio.Event,
    failures: list[Exception],
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    """Run a transport. One that fails after its start stops the service, in good order: the
    readers of the others get their goodbye."""
    url: str | None = None
    try:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(transport.run, channels)
            task_status.started(url)
    except* Exception as group:
        if url is None:
            raise
        failures.append(group)
        stop.set()


async def _feed_until(stop: trio.Event, feed: Feed, channel: Channel) -> Exception | None:
    """Run the feed until it is stopped or fails; the readers are told which. Gives the failure
    rather than raise it, so that the transports have time to deliver that."""
    try:
        await _until(stop, feed.run)
        feed.finish()
    except VenueError as error:
        feed.finish()
        channel.end(EndReason.FEED_FAILED, retry_ms=None, why=str(error))
        return error
    except Exception as error:
        # A fault of ours. It is raised, once the readers have had their goodbye.
        feed.finish()
        channel.end(EndReason.FEED_FAILED, retry_ms=RETRY_MS, why="an internal fault")
        return error
    channel.end(EndReason.SHUTDOWN, retry_ms=RETRY_MS, why="the service was stopped")
    return None


async def _ask_patiently(rest: RestClient, venue: Venue, config: Config) -> Market:
    """What the venue says of the symbols, once it no longer limits or bans."""
    while True:
        try:
            return await ask_market(rest, venue, config.assets)
        except* VenueBusyError as group:
            pause_s = _pause_s(group)
            _LOG.warning("%s: asking again in %.0f s", reason(group), pause_s)
        await trio.sleep(pause_s)


def _pause_s(error: BaseException) -> float:
    """The longest that a venue wants to be left alone for."""
    if isinstance(error, BaseExceptionGroup):
        return max(map(_pause_s, error.exceptions))
    return error.pause_s if isinstance(error, VenueBusyError) else 0.0


async def _until(
    stop: trio.Event, work: Callable[[], Awaitable[T]], *, waiting: str = ""
) -> T | None:
    """What `work` returns, or None if it is stopped before. Raises what it raises. That we are
    `waiting` is said in the log after a while."""
    result: T | None = None
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        if waiting:
            nursery.start_soon(_say_after_a_while, waiting)
        try:
            result = await work()
        except Exception as error:
            failure = error  # raised as it is, not in the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def _say_after_a_while(words: str) -> None:
    await trio.sleep(PATIENCE_S)
    _LOG.info(words)


async def _cancel_on(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _open_rest(
    config: Config, venue: Venue, wall_ns: Callable[[], int]
) -> AbstractAsyncContextManager[RestClient]:
    proxy = proxy_for(venue.rest_url, config.feed.proxy)
    return open_rest(venue, proxy=proxy, wall_s=lambda: wall_ns() / 1e9)


@asynccontextmanager
async def open_venue(config: Config) -> AsyncIterator[Venue]:
    """The venue asked for, with the simulator beside it if it is that one."""
    key = config.feed.api_key
    make = partial(
        VENUES[config.venue],
        stream="aggTrade" if config.feed.stream == "aggTrade" else "trade",
        api_key=key.reveal() if key else None,
    )
    if config.sim is None:
        yield make(ws_url=config.ws_url, rest_url=config.rest_url)
        return
    # It brings numpy: a quarter of a second and 20 MiB that a real exchange does not take.
    from fanout.simulator import SimulatorConfig, run_simulator

    simulated = SimulatorConfig(symbols=config.assets, rate=config.sim.rate, seed=config.sim.seed)
    async with trio.open_nursery() as nursery:
        simulator = await nursery.start(run_simulator, simulated)
        yield make(ws_url=simulator.ws_url, rest_url=simulator.rest_url)
        nursery.cancel_scope.cancel()
