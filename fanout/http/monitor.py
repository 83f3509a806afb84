"""Takes snapshots of a running service: its channels, transports and process.

The parts keep their own counters as plain integers, so the monitor costs nothing per trade. Its
only timer begins a new slice of the histograms.
"""

import os
import resource
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from fanout.channel.channel import Channel
from fanout.protocol.constants import FeedState
from fanout.stats.histogram import SLICE_S, Histogram
from fanout.stats.pieces import Pieces, at_once
from fanout.stats.snapshots import ChannelStats, FeedStats, LogStats, ProcessStats, ServiceStats
from fanout.transports.base import Transport
from fanout.versions import versions

_NO_FEED: Final = FeedStats(state=FeedState.DOWN.name)
"""The feed of a source whose venue refuses or has not answered yet."""


class FeedDelays(Protocol):
    def delay(self, index: int) -> Histogram:
        """The delays of one of the instruments in the feed's statistics."""
        ...


class WatchedFeed(Protocol):
    """What a monitor asks of a feed, which may be that of a replay."""

    @property
    def view(self) -> FeedDelays: ...
    def turn(self) -> None:
        """Begin a new slice of the last minute."""
        ...

    def states(self) -> dict[str, str]:
        """The state of each symbol."""
        ...

    def pieces(self) -> Pieces[FeedStats]: ...


class WatchedVenue(Protocol):
    @property
    def name(self) -> str: ...


class Watched(Protocol):
    """What a monitor asks of a source, or of a channel that is replayed."""

    @property
    def name(self) -> str: ...
    @property
    def venue(self) -> WatchedVenue: ...
    @property
    def channel(self) -> Channel: ...
    @property
    def feed(self) -> WatchedFeed | None: ...
    @property
    def why(self) -> str:
        """Why there is no feed, in words; empty while there is one."""
        ...

    @property
    def has_ended(self) -> bool: ...


class Monitor:
    """Reads the parts of a service, and changes nothing but the histograms' slices."""

    def __init__(self, sources: Sequence[Watched], transports: Sequence[Transport]) -> None:
        self.sources = tuple(sources)
        self.transports = tuple(transports)
        self._started_s = trio.current_time()

    def feed_of(self, channel: str) -> WatchedFeed | None:
        """The feed of a channel, or None if no feed runs."""
        return next(each.feed for each in self.sources if each.name == channel)

    async def run(self) -> None:
        """Begin a new slice of all histograms every `SLICE_S`, until cancelled."""
        while True:
            for source in self.sources:
                if source.feed is not None:
                    source.feed.turn()
            for each in self.transports:
                each.sending.turn()
            await trio.sleep(SLICE_S)

    def not_live(self, channel: str | None = None) -> list[str]:
        """Return a line for each symbol that is not live, each channel without a feed, and each
        transport that does not serve a channel as it should.

        The list is empty if the service, or the given channel, is ready. Raises `KeyError` for an
        unknown channel.
        """
        if channel is None:
            return [line for each in self.sources for line in self._not_live(each)]
        return self._not_live({each.name: each for each in self.sources}[channel])

    def _not_live(self, source: Watched) -> list[str]:
        prefix = f"{source.name}: " if len(self.sources) > 1 else ""
        if source.feed is None or source.has_ended:
            return [f"{prefix}{FeedState.DOWN.name}, {source.why or 'its source is starting'}"]
        states = source.feed.states()
        not_live = [
            f"{prefix}{symbol} is {state}"
            for symbol, state in states.items()
            if state != FeedState.LIVE.name
        ]
        troubles = (line for each in self.transports for line in each.troubles(source.name))
        return not_live + [prefix + line for line in troubles]

    def stats(self) -> ServiceStats:
        return at_once(self.pieces())

    def pieces(self) -> Pieces[ServiceStats]:
        """What `stats` gives, made a piece at a time."""
        channels: list[ChannelStats] = []
        for each in self.sources:
            if channels:
                yield
            channels.append((yield from self._channel(each)))
        return self._stats(tuple(channels))

    def _stats(self, channels: tuple[ChannelStats, ...]) -> ServiceStats:
        first = channels[0]
        return ServiceStats(
            venue=first.venue,
            epoch_ns=first.epoch_ns,
            uptime_s=trio.current_time() - self._started_s,
            is_ready=all(each.is_ready for each in channels),
            versions=versions(),
            feed=first.feed,
            log=first.log,
            transports=tuple(each.stats() for each in self.transports),
            process=process_stats(),
            channels=channels,
        )

    def _channel(self, source: Watched) -> Pieces[ChannelStats]:
        feed = _NO_FEED if source.feed is None else (yield from source.feed.pieces())
        return ChannelStats(
            name=source.name,
            venue=source.venue.name,
            epoch_ns=source.channel.header.epoch_ns,
            is_ready=not self._not_live(source),
            why=source.why,
            feed=feed,
            log=_log(source.channel),
        )


def _log(channel: Channel) -> LogStats:
    log = channel.log
    return LogStats(
        first_seq=log.oldest_seq(),
        next_seq=log.next_seq,
        frames=log.end - log.oldest,
        size_bytes=log.size_bytes,
        capacity_bytes=log.capacity_bytes,
        span_s=log.oldest_ms() / 1000,
        trades=channel.trades,
        blocks=channel.blocks,
        events=channel.events,
        quotes=channel.quotes,
        book_updates=channel.book_updates,
        rows=channel.rows,
    )


def process_stats() -> ProcessStats:
    """Read the figures of this process from Linux's /proc."""
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[1])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return ProcessStats(
        pid=os.getpid(),
        resident_bytes=pages * resource.getpagesize(),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # minus the one that lists them
        max_descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        cpu_s=usage.ru_utime + usage.ru_stime,
        tasks=trio.lowlevel.current_statistics().tasks_living,
    )
