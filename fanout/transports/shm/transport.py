"""Shared memory as a transport: one reader on this machine, and no system call between.

News goes from the log into the queue in the pass of the scheduler that it woke. The reader needs
nothing from us to attach but what is in the page: the header that counts at its place, and where
the numbering stands. It does not say that it is there, either; a new one is known by the count of
readers, and gets a snapshot. While nothing happens, a beat in the page shows that we live.
"""

import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.channel.log import Log
from fanout.config import ShmConfig
from fanout.errors import BindError
from fanout.protocol.events import encode_event
from fanout.protocol.framing import payloads_of
from fanout.protocol.header import decode_header
from fanout.protocol.records import Header, Heartbeat
from fanout.protocol.ring_file import UnsupportedMachineError, require_supported_machine
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import ConsumerStats, TransportStats
from fanout.transports.shm.delivery import Delivery, Dropped
from fanout.transports.shm.queue_file import OwnedQueue, create

_LOG = logging.getLogger("fanout")

BEAT_S: Final = 0.2
"""How often the page shows that the writer lives, and room is looked for, if nothing else wakes
us. In time for readers that take a second's silence for a death."""

HEARTBEAT_S: Final = 1.0
"""Silence after which the reader is told that there is nothing."""

TRY_AGAIN_S: Final = 1.0
"""How often a queue that was lost is tried to be made anew."""


class ShmTransport:
    """Serves a log to the one reader of a queue."""

    def __init__(self, config: ShmConfig, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        self._config = config
        self._path = os.path.join(config.directory, config.name)
        self._wall_ns = wall_ns
        self._queue: OwnedQueue | None = None
        self._made_s = 0.0
        self._readers_before = 0
        """Of the queues that were there before this one."""
        self._blocks = 0
        """Frames of the log that were there for the queue."""
        self.dropped = Dropped()
        self.sending = Histogram()

    @property
    def url(self) -> str:
        return f"shm://{self._config.name}"

    def stats(self) -> TransportStats:
        """See `Transport.stats`. The one consumer is whoever has attached."""
        # What somebody has cut is not to be touched, see `OwnedQueue.is_whole`.
        queue = self._queue if self._queue and self._queue.is_whole() else None
        writer = queue.writer if queue else None
        readers = self._readers_before + (writer.readers if writer else 0)
        consumer = ConsumerStats(
            address=self.url,
            age_s=trio.current_time() - self._made_s,
            blocks=self._blocks - self.dropped.frames,
            lost=self.dropped.numbers,
            lag_blocks=None,
            lag_bytes=writer.unread_bytes if writer else 0,
            lag_ms=None,
        )
        return TransportStats(
            url=self.url,
            consumers=(consumer,) if queue and queue.has_reader() else (),
            accepted=readers,
            refused=0,
            lost=self.dropped.numbers,
            send=self.sending.quantiles(),
            anomalies={},
        )

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. A cancellation leaves the reader without an END.

        A queue that somebody cut, overwrote or removed is made anew, as soon as there is room and
        nothing else has its name.
        """
        _require_machine()
        queue: OwnedQueue | None = self._create(channels[0])
        task_status.started(self.url)
        while queue and not await self._serve(channels[0], queue):
            _LOG.error("queue %s was damaged or removed by somebody: making it anew", self._path)
            queue = await self._create_again(channels[0])

    def _create(self, channel: Channel) -> OwnedQueue:
        header = decode_header(payloads_of(channel.greeting())[1])
        self._made_s = trio.current_time()
        return create(self._path, capacity_bytes=self._config.capacity_bytes, header=header)

    async def _create_again(self, channel: Channel) -> OwnedQueue | None:
        """None if the log is closed before. Other readers are not to suffer, so that what is in
        the way is said, once, and waited out."""
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
        log = channel.log
        delivery = Delivery(queue.writer, log.live(), self.dropped)
        self._queue = queue
        welcomed = -1
        quiet_since_s = trio.current_time()
        is_whole = True
        try:
            while is_whole := queue.is_whole():
                queue.writer.beat(self._wall_ns())
                is_news = self._deliver(delivery, log)
                if log.closed:
                    delivery.finish()
                    return True
                now_s = trio.current_time()
                if is_news:
                    quiet_since_s = now_s
                elif now_s - quiet_since_s >= HEARTBEAT_S:
                    quiet_since_s = now_s
                    delivery.say(self._heartbeat(log))
                welcomed = self._welcome(welcomed, queue.writer.readers, channel, delivery)
                with trio.move_on_after(BEAT_S):
                    await log.wait_beyond(delivery.position)
            return False
        finally:
            self._queue = None
            self._readers_before += max(welcomed, 0)
            queue.close(keep=self._config.keep and is_whole)

    def _deliver(self, delivery: Delivery, log: Log[Header]) -> bool:
        """Push what is new; whether anything was."""
        first = delivery.position
        is_news = delivery.deliver(log)
        if is_news:
            self._blocks += delivery.position - first
            self.sending.add(log.age_ns(first))
        return is_news

    def _heartbeat(self, log: Log[Header]) -> bytes:
        return encode_event(Heartbeat(next_seq=log.next_seq, time_ns=self._wall_ns()))

    def _welcome(self, welcomed: int, readers: int, channel: Channel, delivery: Delivery) -> int:
        """Push a snapshot for a reader that is new, at the end of what it has to read. Gives how
        many readers have had theirs: the same as before while there is no room for it."""
        if readers == welcomed:
            return welcomed
        if (welcomed, readers) == (0, 1):
            return readers  # it finds the one that has been there from the start
        is_said = all(delivery.say(each) for each in payloads_of(channel.snapshot()))
        return readers if is_said else welcomed


def _require_machine() -> None:
    try:
        require_supported_machine(platform.machine())
    except UnsupportedMachineError as error:
        raise BindError(str(error)) from error
