"""Shared memory as a transport: one reader on this machine, and no system call between.

What is published is pushed into the queue within the step that publishes it. The transport's task
does what takes longer, and what is due in silence. A reader attaches without our help: the page
holds the header in force at its position and the number that comes next. A new reader shows itself
by the count of readers only, and then gets a snapshot. While nothing happens, a heartbeat in the
page shows that the writer is alive.
"""

import os
import time
from collections.abc import Callable
from functools import partial

import trio

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.protocol.constants import LENGTH_BYTES, START
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import decode_opening
from fanout.protocol.queue_page import READER_PID_WORD
from fanout.stats.snapshots import ConsumerStats, TransportStats
from fanout.transports.base import CHUNK_BYTES
from fanout.transports.shared import BEAT_S, HEARTBEAT_S, SharedTransport
from fanout.transports.shm.config import ShmConfig
from fanout.transports.shm.delivery import Delivery, Dropped
from fanout.transports.shm.queue_file import OwnedQueue, create


class ShmTransport(SharedTransport[OwnedQueue]):
    """Serves a channel to the one reader of a queue. At each beat dropped records get another
    chance."""

    noun = "queue"
    config: ShmConfig

    def __init__(self, config: ShmConfig, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        path = os.path.join(config.directory, config.name)
        super().__init__(config, path=path, channel=config.channel, wall_ns=wall_ns)
        self.url = f"shm://{config.name}"
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
        self.dropped = Dropped()

    def stats(self) -> TransportStats:
        """See `Transport.stats`. The one consumer is whoever has attached."""
        # Touching a file that was cut would end this process, see `OwnedFile.is_whole`.
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
            consumers=(consumer,) if queue and queue.is_locked(READER_PID_WORD) else (),
            accepted=readers,
            refused=0,
            lost=self.dropped.numbers,
            send=self.sending.quantiles(),
            anomalies={},
        )

    @property
    def readers(self) -> int:
        """See `Transport.readers`."""
        queue = self._queue
        return int(queue is not None and queue.is_whole() and queue.is_locked(READER_PID_WORD))

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

    def _make(self, channel: Channel) -> OwnedQueue:
        header = decode_opening(channel.greeting()[len(frame(START)) :])
        self._made_s = trio.current_time()
        return create(self._path, capacity_bytes=self.config.capacity_bytes, header=header)

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
                    if delivery.position == channel.log.end:
                        self._say_what_is_due(queue.writer.readers, channel, delivery)
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

    def _say_what_is_due(self, readers: int, channel: Channel, delivery: Delivery) -> None:
        """Push a heartbeat in silence, and a snapshot for a new reader. Both speak of the log's
        end, so nothing may wait to be pushed before them."""
        now_s = trio.current_time()
        if now_s - self._quiet_since_s >= HEARTBEAT_S:
            self._quiet_since_s = now_s
            delivery.say(channel.heartbeat(self._wall_ns())[LENGTH_BYTES:])
        self._welcome(readers, channel, delivery)

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
