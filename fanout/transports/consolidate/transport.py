"""The consolidator: one more reader of each log, which keeps the trades of all channels in rings on
disk.

    log --Taken--> queue --> writing thread --> rings, metrics.csv

One task reads all channels. Without news it waits for some; then it waits a little more, so that
what comes meanwhile is handed over in one go.

The disk may be slow or hang: the task never waits for it. While a lot waits to be written, the task
takes no more, and what follows stays in the log. What the log drops is lost to the rings, and
counted.
"""

import logging
import math
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.channel.log import Entry
from fanout.errors import BindError, ConfigError
from fanout.protocol.constants import LENGTH_BYTES, DataKinds, FrameKind
from fanout.protocol.errors import reason
from fanout.protocol.records import Header
from fanout.stats.snapshots import TransportStats
from fanout.transports.base import Transport
from fanout.transports.consolidate.chunks import assigned
from fanout.transports.consolidate.config import ConsolidateConfig
from fanout.transports.consolidate.keeping import KeptChannel, Taken
from fanout.transports.consolidate.kept_ring import REAL_CLOCKS, Clocks, KeptRing
from fanout.transports.consolidate.metrics import MetricsFile
from fanout.transports.consolidate.ring_file import OwnedRing, open_ring
from fanout.transports.consolidate.worker import Worker

_LOG = logging.getLogger("fanout")

GATHER_S: Final = 0.05
"""How long frames gather before they are handed over. What a killed process has not written is what
came within this time."""

TAKEN_BYTES: Final = 64 * 1024
"""Most that is handed over at once: some thousand trades."""

TAKEN_FRAMES: Final = 1_000
"""Most frames that are looked at before other tasks get their turn."""

MAX_BACKLOG_BYTES: Final = 512 * 1024
"""Most that waits for the thread. The rest stays in the logs."""

LAST_S: Final = 5.0
"""How long the end waits for the disk."""

ENDING_S: Final = 0.01
"""How often the end looks whether all is written."""

_WANTED: Final = frozenset(
    {FrameKind.TRADES.value, FrameKind.STATUS.value, FrameKind.GAP.value, FrameKind.LOSS.value}
)


class ConsolidateTransport(Transport):
    """Keeps the trades of all channels in a directory of rings."""

    config: ConsolidateConfig

    def __init__(
        self,
        config: ConsolidateConfig,
        *,
        clocks: Clocks = REAL_CLOCKS,
        worker: Worker | None = None,
    ) -> None:
        """Without a `worker` there is one with a thread of its own."""
        super().__init__(config)
        self.url = f"rings://{config.rings}"
        self._clocks = clocks
        self._worker = worker or Worker(MetricsFile(config.rings), clocks=clocks)
        self._followed: list[_Followed] = []

    def stats(self) -> TransportStats:
        """See `Transport.stats`."""
        return TransportStats(
            url=self.url,
            lost=sum(each.kept.lost for each in self._followed),
            rings=tuple(each.stats() for each in self._rings()),
        )

    def troubles(self, channel: str) -> Sequence[str]:
        """See `Transport.troubles`."""
        return [
            f"ring {each.name}: {each.why}"
            for each in self._rings()
            if each.why and each.channel == channel
        ]

    @property
    def unread(self) -> float:
        """See `Transport.unread`. So a replay waits for the disk."""
        return max((each.unread for each in self._followed), default=0.0)

    def _rings(self) -> list[KeptRing]:
        return [ring for each in self._followed for ring in each.kept.rings]

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. A channel without trades is left out. Raises `ConfigError` if none
        has any, and `BindError` if a ring cannot be opened. A cancellation leaves whole records."""
        with_trades = [each for each in channels if each.header.data & DataKinds.TRADES]
        if not with_trades:
            raise ConfigError("consolidate keeps trades, and no channel has any: --data trades")
        self._followed = [_Followed(each, self._kept(each)) for each in with_trades]
        worker = self._worker
        try:
            await trio.to_thread.run_sync(self._open)
        except BaseException:
            worker.close()
            raise
        worker.start()
        try:
            task_status.started(self.url)
            await self._keep()
        finally:
            worker.stop()
            with trio.move_on_after(LAST_S, shield=True):
                while worker.is_running:  # noqa: ASYNC110  a thread, no event to wait for
                    await trio.sleep(ENDING_S)
            if worker.is_running:
                _LOG.error("the rings end without the last trades: the disk hangs")

    def _kept(self, channel: Channel) -> KeptChannel:
        assign = partial(assigned, self.config.rings, most=self.config.chunk_symbols)
        return KeptChannel(
            channel.name, assign=assign, open_ring=self._open_ring, clocks=self._clocks
        )

    def _open_ring(self, name: str, is_first: bool) -> OwnedRing:
        config = self.config
        return open_ring(
            os.path.join(config.rings, name),
            capacity=config.data_bytes,
            slots=config.slots,
            given_slots=config.index_slots,
            reinit=config.reinit and is_first,
            was_open=not is_first,
        )

    def _open(self) -> None:
        try:
            os.makedirs(self.config.rings, exist_ok=True)
        except OSError as error:
            raise BindError(f"--rings {self.config.rings}: {reason(error).lower()}") from error
        for each in self._followed:
            self._worker.open(each.kept, each.channel.header)

    async def _keep(self) -> None:
        """Hand over all channels until their logs are closed and taken. The disk is not waited for
        any longer than `LAST_S`."""
        last_s = math.inf
        while not all(each.is_over for each in self._followed):
            if all(each.channel.log.closed for each in self._followed):
                last_s = min(last_s, trio.current_time() + LAST_S)
            if trio.current_time() >= last_s:
                return
            if not await self._round():
                await self._news()
            await trio.sleep(GATHER_S)

    async def _round(self) -> bool:
        """Take what is new of each channel. Whether something was left."""
        for each in self._followed:
            while each.has_more:
                if self._worker.backlog_bytes > MAX_BACKLOG_BYTES:
                    return True
                taken = each.take(self._clocks.wall_ns() // 1_000_000)
                if taken.entries or taken.lost:
                    self._worker.give(each.kept, taken)
                await trio.lowlevel.checkpoint()
        return False

    async def _news(self) -> None:
        """Wait for news of any channel."""
        going = [each for each in self._followed if not each.is_over]
        if not going:
            return
        async with trio.open_nursery() as nursery:

            async def wait(each: _Followed) -> None:
                await each.news()
                nursery.cancel_scope.cancel()

            for each in going:
                nursery.start_soon(wait, each)


class _Followed:
    """One channel: its place in the log, and its rings."""

    def __init__(self, channel: Channel, kept: KeptChannel) -> None:
        self.channel = channel
        self.kept = kept
        self._cursor = channel.log.live()
        self._header = channel.header

    @property
    def has_more(self) -> bool:
        return self._cursor.position != self.channel.log.end

    @property
    def is_over(self) -> bool:
        return self.channel.log.closed and not self.has_more

    @property
    def unread(self) -> float:
        """How much of the log's room is yet to be taken."""
        log = self.channel.log
        return min(log.unread_bytes(self._cursor) / log.capacity_bytes, 1.0)

    async def news(self) -> None:
        """Return once there is something to take, or the log is closed."""
        await self.channel.log.wait_beyond(self._cursor.position)

    def take(self, now_ms: int) -> Taken:
        """Some of what is new, without the frames that do not concern the rings."""
        log, at = self.channel.log, self._cursor
        lost, size = 0, 0
        if at.position < log.oldest:
            at.position = log.oldest
            lost = log.entry(at.position).first_seq - at.next_seq
        entries: list[Entry[Header]] = []
        stop = min(log.end, at.position + TAKEN_FRAMES)
        while at.position != stop and size < TAKEN_BYTES:
            entry = log.entry(at.position)
            if entry.frame[LENGTH_BYTES] in _WANTED or entry.context is not self._header:
                self._header = entry.context
                entries.append(entry)
                size += len(entry.frame)
            at.position, at.next_seq = at.position + 1, entry.next_seq
        return Taken(entries, lost, now_ms, size)
