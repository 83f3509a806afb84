"""The journal: one more reader of each log, which writes what it reads to the disk.

    log --Reader--> pieces --queue--> writing thread --> segment
                                      syncing thread --> disk

One task reads all channels. Without news it waits for some; then it waits a little more, so that
what comes meanwhile is written in one go: a wake-up for each block would cost more than writing it.

The disk may be slow or hang: the task never waits for it. While a lot waits to be written, the task
takes no more, and what follows stays in the log. Where the log drops it, the journal is a reader
that fell behind, and its files hold a LOSS.
"""

import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.channel.past import PastOf
from fanout.errors import BindError
from fanout.journal.compressing import CompressingThread, Compressor
from fanout.journal.disk import Disk, RealDisk
from fanout.journal.retention import Limits
from fanout.journal.store import Journal, open_journal
from fanout.journal.worker import Track, Worker
from fanout.stats.histogram import SLICE_S
from fanout.stats.snapshots import TransportStats
from fanout.transports.base import Transport
from fanout.transports.journal.config import JournalConfig
from fanout.transports.journal.keeping import Keeping

_LOG = logging.getLogger("fanout")

GATHER_S: Final = 0.1
"""How long frames gather before they are written together. Handing them over takes some 0.2 ms of
both threads together, however few they are: each 10 ms that is a third of what the service needs
for 1,000 blocks a second, and each 100 ms it is 4 %. What a killed process has not written is what
came within this time."""

ENDING_S: Final = 0.01
"""How often the beginning and the end look whether all is on the disk."""

MAX_BACKLOG_BYTES: Final = 1024 * 1024
"""Most that waits for the writing thread. The rest stays in the logs."""

FIRST_S: Final = 5.0
"""How long the service waits for the first segments before it takes the disk for slow."""

LAST_S: Final = 5.0
"""How long the end waits for the disk."""

CLOSE_S: Final = 1.0
"""How long the threads may take to close their files, if the service is cancelled."""


class JournalTransport(Transport):
    """Keeps all channels in a directory."""

    config: JournalConfig

    def __init__(
        self,
        config: JournalConfig,
        *,
        disk: Disk | None = None,
        worker: Worker | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`wall_ns` gives unix ns. Without a `disk` it is that of this machine; without a `worker`
        there is one with threads of its own."""
        super().__init__(config)
        self.url = f"journal://{config.dir}"
        self._disk = disk or RealDisk()
        self._wall_ns = wall_ns
        self._worker = worker or Worker(self._disk, sync_s=config.sync_s, chore=self._tidy)
        self._compressing: CompressingThread | None = None
        if config.compress:
            self._compressing = CompressingThread(Compressor(self._disk, config.dir))
        self._kept: tuple[Keeping, ...] = ()
        self._journal: Journal | None = None
        """None unless the directory is ours."""
        self._tidied_segments = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PastOf | None]:
        """See `Transport.opened`. The directory is made if it is missing."""
        limits = Limits(keep_ns=self.config.keep_s * 10**9, keep_bytes=self.config.keep_bytes)
        async with open_journal(
            self.config.dir, limits=limits, disk=self._disk, wall_ns=self._wall_ns
        ) as journal:
            self._journal = journal
            yield journal.past_of

    def stats(self) -> TransportStats:
        """See `Transport.stats`."""
        journal = tuple(each.stats(free_bytes=self._worker.free_bytes) for each in self._kept)
        return TransportStats(
            url=self.url, lost=sum(each.lost for each in journal), journal=journal
        )

    def troubles(self, channel: str) -> Sequence[str]:
        """See `Transport.troubles`."""
        return [
            f"journal: {each.recorder.why}; {each.waiting:,} records wait"
            for each in self._kept
            if each.recorder.why and each.channel.name == channel
        ]

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. A cancellation leaves files that end in a whole frame."""
        self._kept = tuple(map(self._keeping, channels))
        for each in self._kept:
            each.begin()
        self._worker.start()
        try:
            await self._begin()
            task_status.started(self.url)
            if self._compressing is not None:
                self._compressing.start()
            await self._keep()
        finally:
            self._worker.stop()
            if self._compressing is not None:
                self._compressing.stop()
            with trio.move_on_after(CLOSE_S, shield=True):
                while self._is_running:  # noqa: ASYNC110  threads, no event to wait for
                    await trio.sleep(ENDING_S)

    @property
    def _is_running(self) -> bool:
        compressing = self._compressing
        return self._worker.is_running or (compressing is not None and compressing.is_running)

    def _tidy(self) -> None:
        """Remove old segments, at the latest after each new one. For the thread that syncs."""
        segments = sum(each.track.segments for each in self._kept)
        if self._journal is not None:
            self._journal.tidy(now=segments > self._tidied_segments)
        self._tidied_segments = segments

    def _keeping(self, channel: Channel) -> Keeping:
        track = Track(os.path.join(self.config.dir, channel.name))
        self._worker.add(track)
        return Keeping(
            channel,
            track,
            self._worker,
            segment_bytes=self.config.segment_bytes,
            wall_ns=self._wall_ns,
        )

    async def _begin(self) -> None:
        """Return once each channel has a segment. Raises `BindError` if one cannot be made."""
        with trio.move_on_after(FIRST_S):
            while not all(each.track.published for each in self._kept):
                await self._round()
                why = next((each.recorder.why for each in self._kept if each.recorder.why), "")
                if why:
                    raise BindError(f"journal {self.config.dir}: {why}")
                await trio.sleep(ENDING_S)

    async def _keep(self) -> None:
        """Keep all channels until the END of each is on the disk."""
        next_turn_s, last_s = trio.current_time(), math.inf
        while not all(each.has_ended for each in self._kept):
            now_s = trio.current_time()
            if now_s >= next_turn_s:
                next_turn_s = now_s + SLICE_S
                for each in self._kept:
                    each.turn()
            if not await self._round() and not await self._has_news():
                continue
            now_s = trio.current_time()
            is_ending = all(each.channel.log.closed for each in self._kept)
            if is_ending:
                last_s = min(last_s, now_s + LAST_S)
            if now_s >= last_s:
                self._say_incomplete()
                return
            await trio.sleep(ENDING_S if is_ending else GATHER_S)

    async def _round(self) -> bool:
        """Take what is new of each channel. Whether there was anything, or may be soon."""
        now_s, is_news = trio.current_time(), False
        for each in self._kept:
            each.look(now_s)
            while self._worker.backlog_bytes <= MAX_BACKLOG_BYTES:
                is_news |= each.take(now_s) > 0
                if not each.has_more:
                    break
                await trio.lowlevel.checkpoint()
            else:
                is_news = True
        return is_news

    async def _has_news(self) -> bool:
        """Wait for news of any channel. False once it is time for a heartbeat instead. Does not
        wait if the end is near, or if a new segment is being tried."""
        going = [each for each in self._kept if not each.is_over]
        if not going or any(each.recorder.why for each in going):
            return True
        with trio.move_on_at(min(each.next_beat_s for each in going)) as scope:
            if len(going) == 1:
                await going[0].news()
                return True
            async with trio.open_nursery() as nursery:

                async def wait(each: Keeping) -> None:
                    await each.news()
                    nursery.cancel_scope.cancel()

                for each in going:
                    nursery.start_soon(wait, each)
        return not scope.cancelled_caught

    def _say_incomplete(self) -> None:
        for each in self._kept:
            if not each.has_ended:
                _LOG.error(
                    "the journal of %s ends without END: %s",
                    each.channel.name,
                    each.recorder.why or f"the disk took longer than {LAST_S:g} s",
                )
