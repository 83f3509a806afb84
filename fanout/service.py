"""The composition root: what runs beside what, and in which order it begins and ends.

    venue --REST--> instruments, references          before anything listens
    venue --WebSocket--> feed -> publisher -> log -> transports -> clients

It ends from the left: the feed is stopped, the publisher says END and closes the log, the
transports deliver what is left and return.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from fanout.anomalies import Anomalies
from fanout.config import Config
from fanout.errors import VenueError, VenueMessageError
from fanout.feed import Feed
from fanout.normalise import to_trade
from fanout.publisher import Publisher
from fanout.rest import open_rest
from fanout.simulator import SimulatorConfig, run_simulator
from fanout.transports import Transport, make_transport
from fanout.venues import VENUES, Venue
from protocol.constants import EndReason
from protocol.errors import NotRepresentableError
from protocol.records import Header, Instrument, Reference, Trade

_LOG = logging.getLogger("fanout")

T = TypeVar("T")

RETRY_MS: Final = 1_000
"""When clients are asked to come back after an orderly end: a restart takes about that long."""


class Market(msgspec.Struct, frozen=True):
    """What the venue says over REST before the first trade."""

    instruments: tuple[Instrument, ...]
    references: tuple[Reference, ...]
    newest: tuple[Trade, ...]


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
    async with _open_venue(config) as venue:
        market = await _until(stop, partial(_ask_market, venue, config.assets))
        if market is None:
            return
        header = Header(
            epoch_ns=wall_ns(),
            next_seq=1,
            venue=venue.name,
            instruments=market.instruments,
            references=market.references,
        )
        publisher = Publisher(header, log_bytes=config.log_bytes, wall_ns=wall_ns)
        publisher.seed(market.newest)
        feed = Feed(venue, market.instruments, publisher, Anomalies(clock=time.monotonic))
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            for each in config.transports:
                run = partial(_run_transport, make_transport(each), publisher, stop, failures)
                announce(await nursery.start(run))
            failure = await _feed_until(stop, feed, publisher)
        _LOG.info(
            "%d messages, %d trades in %d blocks, %d events",
            feed.messages,
            publisher.trades,
            publisher.blocks,
            publisher.events,
        )
        for fault in (failure, *failures):
            if fault is not None:
                raise fault


async def _run_transport(
    transport: Transport,
    publisher: Publisher,
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
            url = await nursery.start(transport.run, publisher)
            task_status.started(url)
    except* Exception as group:
        if url is None:
            raise
        failures.append(group)
        stop.set()


async def _feed_until(stop: trio.Event, feed: Feed, publisher: Publisher) -> Exception | None:
    """Run the feed until it is stopped or fails; the readers are told which. Gives the failure
    rather than raise it, so that the transports have time to deliver that."""
    try:
        await _until(stop, feed.run)
    except VenueError as error:
        publisher.end(EndReason.FEED_FAILED, retry_ms=None, why=str(error))
        return error
    except Exception as error:
        # A fault of ours. It is raised, once the readers have had their goodbye.
        publisher.end(EndReason.FEED_FAILED, retry_ms=RETRY_MS, why="an internal fault")
        return error
    publisher.end(EndReason.SHUTDOWN, retry_ms=RETRY_MS, why="the service was stopped")
    return None


async def _until(stop: trio.Event, work: Callable[[], Awaitable[T]]) -> T | None:
    """What `work` returns, or None if it is stopped before. Raises what it raises."""
    result: T | None = None
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        try:
            result = await work()
        except Exception as error:
            failure = error  # raised as it is, not in the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def _cancel_on(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


@asynccontextmanager
async def _open_venue(config: Config) -> AsyncIterator[Venue]:
    """The venue asked for, with the simulator beside it if it is that one."""
    make = VENUES[config.venue]
    if config.sim is None:
        yield make(ws_url=config.ws_url, rest_url=config.rest_url)
        return
    simulated = SimulatorConfig(symbols=config.assets, rate=config.sim.rate, seed=config.sim.seed)
    async with trio.open_nursery() as nursery:
        simulator = await nursery.start(run_simulator, simulated)
        yield make(ws_url=simulator.ws_url, rest_url=simulator.rest_url)
        nursery.cancel_scope.cancel()


async def _ask_market(venue: Venue, symbols: tuple[str, ...]) -> Market:
    """Instruments and recent trades, these all at once. Each answer is kept with its symbol."""
    async with open_rest(venue) as rest:
        instruments = await rest.fetch(
            venue.instruments_request(), lambda body: venue.parse_instruments(body, symbols)
        )
        recent: dict[int, tuple[Trade, ...]] = {}

        async def ask(instrument: Instrument) -> None:
            recent[instrument.index] = await rest.fetch(
                venue.recent_trades_request(instrument.symbol),
                lambda body: _recent_trades(venue, instrument, body),
            )

        async with trio.open_nursery() as nursery:
            for instrument in instruments:
                nursery.start_soon(ask, instrument)
    trades = [recent[each.index] for each in instruments]
    return Market(
        instruments=instruments,
        references=tuple(reference_of(each) for each in trades),
        newest=tuple(each[-1] for each in trades if each),
    )


def _recent_trades(venue: Venue, instrument: Instrument, body: bytes) -> tuple[Trade, ...]:
    rows = venue.parse_recent_trades(body, instrument.symbol)
    try:
        return tuple(to_trade(row, instrument) for row in rows)
    except NotRepresentableError as error:
        raise VenueMessageError("recent trades are nonsense", error) from error


def reference_of(trades: Sequence[Trade]) -> Reference:
    """Mean price and quantity, and the newest id and time, of recent trades, oldest first.

    All zero where there are none: a reference is only where deltas start, and any will do.
    """
    if not trades:
        return Reference(price=0, quantity=0, trade_id=0, time=0)
    return Reference(
        price=sum(each.price for each in trades) // len(trades),
        quantity=sum(each.quantity for each in trades) // len(trades),
        trade_id=trades[-1].trade_id,
        time=trades[-1].time,
    )
