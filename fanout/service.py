"""The composition root: what runs beside what, and in which order it begins and ends.

    journal: disk --> what is kept of earlier starts    before a venue is asked
    source:  venue --REST--> instruments               before anything listens
             venue --WebSocket--> feed -> channel -.
    source:  venue ----------------> feed -> channel -+-> transports -> clients

It ends from the left: the feeds are stopped, each channel says END and closes its log, the
transports deliver what is left and return. A source that fails leaves the others alone; the last
one ends the service.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from fanout.config import Config, SourceConfig
from fanout.config.assets import is_pattern
from fanout.feed.listing_pages import fetch_listing
from fanout.http.monitor import Monitor
from fanout.net.addresses import Proxy
from fanout.net.proxy import proxy_for
from fanout.net.rest import RestClient, open_rest
from fanout.serving import open_past, open_to_questions, run_transport, until
from fanout.source import Source
from fanout.stats.naming import lines_named, name_lines
from fanout.transports import make_transport
from fanout.transports.base import longest_frame_of
from fanout.venues import VENUES, Listing, Venue

GRACE_S: Final = 5.0
"""How long the first source that has begun waits for the others before the service listens."""


async def run_service(
    config: Config,
    *,
    stop: trio.Event,
    announce: Callable[[str], None],
    wall_ns: Callable[[], int] = time.time_ns,
) -> None:
    """Run until `stop` is set, then end in good order.

    `announce` is called with one line for people about each address that is open. Raises an
    `OperatorError` if the service cannot start, a `VenueError` if no source can, and what ended
    the last source; like every nursery, in an exception group.
    """
    async with (
        open_to_questions(config.http, announce) as show,
        _open_sources(config, wall_ns) as sources,
        AsyncExitStack() as opened,
    ):
        transports = [make_transport(each) for each in config.transports]
        past_of = await open_past(transports, opened)
        venues = " and ".join(each.venue.rest_url for each in sources)
        begin = partial(_begin, sources)
        if not await until(stop, begin, waiting=f"waiting for {venues} to answer"):
            return
        names = tuple(each.name for each in sources)
        longest = longest_frame_of(transports)
        for each in sources:
            each.open(
                log_bytes=config.channel_log_bytes,
                channels=names,
                past=past_of(each.name) if past_of else None,
                longest_frame_bytes=longest,
            )
        channels = [each.channel for each in sources]
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            show(Monitor(sources, transports))
            for transport in transports:
                run = partial(run_transport, transport, channels, stop, failures)
                announce(await nursery.start(run))
            await until(stop, partial(_run_all, sources))
            for each in sources:
                each.end()
        for each in sources:
            each.log_totals()
        name_lines("")
        if all(each.failure for each in sources):
            failures += [each.failure for each in sources if each.failure]
        if failures:
            raise failures[0]


async def _begin(sources: Sequence[Source]) -> bool:
    """Let every source begin. Once one has, the others have a little longer: they can begin later.

    Raises `ConfigError` for what any venue does not list, and the first source's failure if none
    can begin.
    """
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for each in sources:
                nursery.start_soon(_begin_one, each, scope)
    if not any(each.has_begun for each in sources):
        raise next(each.failure for each in sources if each.failure)
    return True


async def _begin_one(source: Source, scope: trio.CancelScope) -> None:
    await source.begin()
    if source.has_begun:
        scope.deadline = min(scope.deadline, trio.current_time() + GRACE_S)


async def _run_all(sources: Sequence[Source]) -> None:
    """Run all sources until the last has ended."""
    async with trio.open_nursery() as nursery:
        for each in sources:
            nursery.start_soon(each.run)


@asynccontextmanager
async def _open_sources(
    config: Config, wall_ns: Callable[[], int]
) -> AsyncIterator[tuple[Source, ...]]:
    """The sources. Those that ask the same address under the same limit share one REST client: the
    exchange counts, limits and bans them as one, also if they are two of its markets."""
    are_several = len(config.sources) > 1
    shared: dict[tuple[str, Proxy | None, int, float], RestClient] = {}
    sources: list[Source] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(lines_named() if are_several else nullcontext())
        for each in config.sources:
            venue = await stack.enter_async_context(open_venue(each))
            proxy = proxy_for(venue.rest_url, each.feed.proxy)
            limits = venue.limits
            key = (venue.rest_url, proxy, limits.weight, limits.window_s)
            if key not in shared:
                rest = open_rest(venue, proxy=proxy, wall_s=lambda: wall_ns() / 1e9)
                shared[key] = await stack.enter_async_context(rest)
            sources.append(Source(each, venue, shared[key], retries=are_several, wall_ns=wall_ns))
        yield tuple(sources)


@asynccontextmanager
async def open_venue(config: SourceConfig) -> AsyncIterator[Venue]:
    """The venue of a source, with the simulator beside it if it is that one."""
    if config.sim is None:
        yield _venue(config, ws_url=config.ws_url, rest_url=config.rest_url)
        return
    # It brings numpy: a quarter of a second and 20 MiB that a real exchange does not take.
    from fanout.simulator import SimulatorConfig, run_simulator

    simulated = SimulatorConfig(rate=config.sim.rate, seed=config.sim.seed)
    if not any(map(is_pattern, config.assets)):
        simulated = replace(simulated, symbols=config.assets)
    async with trio.open_nursery() as nursery:
        simulator = await nursery.start(run_simulator, simulated)
        yield _venue(config, ws_url=simulator.ws_url, rest_url=simulator.rest_url)
        nursery.cancel_scope.cancel()


async def fetch_symbols(config: SourceConfig, *, attempts: int) -> Listing:
    """The listing of a source's venue. Raises `VenueError`; like every nursery, perhaps in an
    exception group."""
    async with open_venue(config) as venue:
        proxy = proxy_for(venue.rest_url, config.feed.proxy)
        async with open_rest(venue, proxy=proxy, attempts=attempts) as rest:
            return await fetch_listing(rest, venue)


def _venue(config: SourceConfig, *, ws_url: str | None, rest_url: str | None) -> Venue:
    """The venue of a source, which takes no other kind of trades than the operator chose."""
    make, stream = VENUES[config.venue], config.feed.stream
    venue = make(
        stream=make.streams[0] if stream == "auto" else stream,
        ws_url=ws_url,
        rest_url=rest_url,
        credentials=config.credentials,
        data=config.kinds,
    )
    if config.checksums:
        venue = venue.with_checksums()
    return venue if stream == "auto" else venue.without_fallback()
