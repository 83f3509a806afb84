"""Shared memory as a transport: one reader on this machine, and no system call between.

What is published is pushed into the queue within the step that publishes it. The transport's task
does what takes longer, and what is due in silence. A reader attaches without our help: the page
holds the header in force at its position and the number that comes next. A new reader shows itself
by the count of readers only, and then gets a snapshot. While nothing happens, a heartbeat in the
page shows that the writer is alive.
"""

import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.errors import BindError
from fanout.protocol.constants import LENGTH_BYTES, START
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import decode_opening
from fanout.protocol.queue_file import UnsupportedMachineError, require_supported_machine
from fanout.stats.snapshots import ConsumerStats, TransportStats
from fanout.transports.base import CHUNK_BYTES, Transport, channel_named
from fanout.transports.shm.config import ShmConfig
from fanout.transports.shm.delivery import Delivery, Dropped
from fanout.transports.shm.queue_file import OwnedQueue, create

_LOG = logging.getLogger("fanout")

BEAT_S: Final = 0.1
"""How often the page's heartbeat changes, and dropped records get another chance, while nothing is
published. A busy machine delays it by its own scheduling: a reader should take two seconds of
silence for a hang, and no less."""

HEARTBEAT_S: Final = 1.0
"""Silence in the channel after which the reader gets a HEARTBEAT frame."""

TRY_AGAIN_S: Final = 1.0
"""Pause between two attempts to make a lost queue anew."""


class ShmTransport(Transport):
    """Serves a channel to the one reader of a queue."""

    config: ShmConfig

    def __init__(self, config: ShmConfig, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        super().__init__(config)
        self.url = f"shm://{config.name}"
        self._path = os.path.join(config.directory, config.name)
        self._wall_ns = wall_ns
        self._queue: OwnedQueue | None = None
        self._reader: Reader | None = None
        self._made_s = 0.0
        self._readers_before = 0
        """Of queues that were lost before this one was made."""
        self._welcomed = -1
        """How many readers of this queue have been given a snapshot."""
        self._quiet_since_s = 0.0
        self._blocks = 0
        """Frames of the log that were due to the queue."""
        self._channel = ""
        self.dropped = Dropped()

    def stats(self) -> TransportStats:
        """See `Transport.stats`. The one consumer is whoever has attached."""
        # Touching a file that was cut would end this process, see `OwnedQueue.is_whole`.
        queue = self._queue if self._queue and self._queue.is_whole() else None
        writer = queue.writer if queue else None
        readers = self._readers_before + (writer.readers if writer else 0)
        consumer = ConsumerStats(
            address=self.url,
            channel=self._channel,
            age_s=trio.current_time() - self._made_s,
            blocks=self._blocks - self.dropped.frames,
            lost=self.dropped.numbers,
            lag_blocks=None,
            lag_bytes=writer.unread_bytes if writer else 0,
            lag_ms=None,
        )
        return TransportStats(
            url=self.url,
            channel=self._channel,
            consumers=(consumer,) if queue and queue.has_reader() else (),
            accepted=readers,
            refused=0,
            lost=self.dropped.numbers,
            send=self.sending.quantiles(),
            anomalies={},
        )

    @property
    def readers(self) -> int:
        """See `Transport.readers`."""
        return 1 if self._queue and self._queue.is_whole() and self._queue.has_reader() else 0

    @property
    def unread(self) -> float:
        """See `Transport.unread`. Nothing while there is no reader."""
        queue, reader = self._queue, self._reader
        if not self.readers or queue is None or reader is None:
            return 0.0
        writer, log = queue.writer, reader.log
        in_log = log.unread_bytes(reader.cursor) / log.capacity_bytes
        return max(writer.unread_bytes / writer.capacity, in_log)

    @property
    def stride_bytes(self) -> int:
        """See `Transport.stride_bytes`."""
        return min(CHUNK_BYTES, self.config.capacity_bytes // 4)

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. A cancellation leaves the reader without an END.

        A queue that somebody cut, overwrote or removed is made anew, as soon as there is room and
        no other file has its name. Raises `ConfigError` for a channel that the service lacks.
        """
        _require_machine()
        channel = channel_named(channels, self.config.channel)
        self._channel = channel.name
        queue: OwnedQueue | None = self._create(channel)
        task_status.started(self.url)
        while queue and not await self._serve(channel, queue):
            _LOG.error("queue %s was damaged or removed by somebody: making it anew", self._path)
            queue = await self._create_again(channel)

    def _create(self, channel: Channel) -> OwnedQueue:
        header = decode_opening(channel.greeting()[len(frame(START)) :])
        self._made_s = trio.current_time()
        return create(self._path, capacity_bytes=self.config.capacity_bytes, header=header)

    async def _create_again(self, channel: Channel) -> OwnedQueue | None:
        """None if the log is closed before. The readers of other transports must not suffer, so
        an obstacle is logged once and waited out."""
        has_complained = False
        while not channel.log.closed:
            try:
                return self._create(channel)
            except BindError as error:
                if not has_complained:
                    _LOG.error("%s; trying again every %g s", error, TRY_AGAIN_S)
                    has_complained = True
            await trio.sleep(TRY_AGAIN_S)
        return None

    async def _serve(self, channel: Channel, queue: OwnedQueue) -> bool:
        """Serve a queue. True at the end of the log, False if the queue is not in order."""
        self._queue, self._reader = queue, Reader(channel)
        self._welcomed, self._quiet_since_s = -1, trio.current_time()
        delivery = Delivery(queue.writer, self._reader, self.dropped)
        is_whole = True
        try:
            with channel.log.hand(partial(self._take, queue, delivery), is_quick=True) as hand:
                while is_whole := queue.is_whole():
                    queue.writer.beat(self._wall_ns())
                    first = delivery.position
                    delivery.deliver()
                    self._count(delivery, first)
                    if channel.log.closed:
                        delivery.finish()
                        return True
                    if trio.current_time() - self._quiet_since_s >= HEARTBEAT_S:
                        self._quiet_since_s = trio.current_time()
                        delivery.say(channel.heartbeat(self._wall_ns())[LENGTH_BYTES:])
                    self._welcome(queue.writer.readers, channel, delivery)
                    if delivery.is_giving_books:
                        await trio.lowlevel.checkpoint()
                        continue
                    with trio.move_on_after(BEAT_S):
                        await hand.wait()
            return False
        finally:
            self._queue = None
            self._readers_before += max(self._welcomed, 0)
            queue.close(keep=self.config.keep and is_whole)

    def _take(self, queue: OwnedQueue, delivery: Delivery) -> bool:
        """Push what was published, in the publisher's step: see `fanout.channel.hand`."""
        if not queue.is_uncut():
            return False
        first = delivery.position
        is_all = delivery.take()
        self._count(delivery, first)
        return is_all and queue.writer.readers == self._welcomed

    def _count(self, delivery: Delivery, first: int) -> None:
        """Count the frames of the log from position `first` on, which were pushed or dropped."""
        if delivery.position != first:
            self._blocks += delivery.position - first
            self._quiet_since_s = trio.current_time()
            self.sending.add(delivery.age_ns(first))

    def _welcome(self, readers: int, channel: Channel, delivery: Delivery) -> None:
        """Push a snapshot for a new reader, behind what it has to read, once there is room."""
        if readers == self._welcomed:
            return
        # The first reader finds the snapshot that was pushed at the start.
        if (self._welcomed, readers) != (0, 1):
            if not all(delivery.say(each) for each in payloads_of(channel.snapshot())):
                return
            delivery.show_books()
        self._welcomed = readers


def _require_machine() -> None:
    try:
        require_supported_machine(platform.machine())
    except UnsupportedMachineError as error:
        raise BindError(str(error)) from error
