"""Everything that is to be known of a running service, at the moment when somebody asks.

The parts count for themselves, in plain integers. Nothing is done for a trade here, and nothing on
a timer but to begin another slice of the last minute.
"""

import os
import resource
from collections.abc import Sequence

import trio

from fanout.channel.channel import Channel
from fanout.feed import Feed
from fanout.protocol.constants import FeedState
from fanout.protocol.records import Header
from fanout.stats.histogram import SLICE_S
from fanout.stats.snapshots import LogStats, ProcessStats, ServiceStats
from fanout.transports import Transport
from fanout.versions import versions


class Monitor:
    """Looks at the parts of a service; changes nothing."""

    def __init__(
        self, header: Header, feed: Feed, channel: Channel, transports: Sequence[Transport]
    ) -> None:
        self.feed = feed
        self.transports = tuple(transports)
        self._header = header
        self._channel = channel
        self._started_s = trio.current_time()

    async def run(self) -> None:
        """Begin a slice of the last minute every so often, until cancelled."""
        while True:
            self.feed.turn()
            for each in self.transports:
                each.sending.turn()
            await trio.sleep(SLICE_S)

    def not_live(self) -> dict[str, str]:
        """The symbols that are not live, and what they are. Empty when the service is ready."""
        states = self.feed.states()
        return {name: state for name, state in states.items() if state != FeedState.LIVE.name}

    def stats(self) -> ServiceStats:
        return ServiceStats(
            venue=self._header.venue,
            epoch_ns=self._header.epoch_ns,
            uptime_s=trio.current_time() - self._started_s,
            is_ready=not self.not_live(),
            versions=versions(),
            feed=self.feed.stats(),
            log=self._log(),
            transports=tuple(each.stats() for each in self.transports),
            process=process_stats(),
        )

    def _log(self) -> LogStats:
        log = self._channel.log
        return LogStats(
            first_seq=log.oldest_seq(),
            next_seq=log.next_seq,
            frames=log.end - log.oldest,
            size_bytes=log.size_bytes,
            capacity_bytes=log.capacity_bytes,
            span_s=log.oldest_ms() / 1000,
            trades=self._channel.trades,
            blocks=self._channel.blocks,
            events=self._channel.events,
        )


def process_stats() -> ProcessStats:
    """Of this process, from Linux's /proc."""
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[1])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return ProcessStats(
        pid=os.getpid(),
        resident_bytes=pages * resource.getpagesize(),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # less the one that looks
        max_descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        cpu_s=usage.ru_utime + usage.ru_stime,
        tasks=trio.lowlevel.current_statistics().tasks_living,
    )
