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
from collections.abc import Callable
from typing import Final

import trio

from fanout.config import ShmConfig
from fanout.errors import BindError
from fanout.log import Log
from fanout.transports.base import Broadcast
from fanout.transports.shm.delivery import Delivery, Dropped
from fanout.transports.shm.queue_file import OwnedQueue, create
from protocol.events import encode_event
from protocol.framing import FrameReader
from protocol.header import decode_header
from protocol.records import Heartbeat
from protocol.ring_file import UnsupportedMachineError, require_supported_machine

_LOG = logging.getLogger("fanout")

BEAT_S: Final = 0.2
"""How often the page shows that the writer lives, and room is looked for, if nothing else wakes
us. In time for readers that take a second's silence for a death."""

HEARTBEAT_S: Final = 1.0
"""Silence after which the reader is told that there is nothing."""


class ShmTransport:
    """Serves a log to the one reader of a queue."""

    def __init__(self, config: ShmConfig, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        self._config = config
        self._wall_ns = wall_ns
        self._welcomed = 0
        self.dropped = Dropped()

    async def run(
        self, broadcast: Broadcast, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `Transport.run`. A cancellation leaves the reader without an END."""
        _require_machine()
        _, header, *snapshot = _payloads(broadcast.opening())
        queue = create(
            os.path.join(self._config.directory, self._config.name),
            capacity_bytes=self._config.capacity_bytes,
            header=decode_header(header),
        )
        try:
            delivery = Delivery(queue.writer, broadcast.log.live(), self.dropped)
            for payload in snapshot:
                delivery.say(payload)
            task_status.started(f"shm://{self._config.name}")
            await self._serve(broadcast, queue, delivery)
        finally:
            queue.close(keep=self._config.keep)

    async def _serve(self, broadcast: Broadcast, queue: OwnedQueue, delivery: Delivery) -> None:
        log, quiet_since_s = broadcast.log, trio.current_time()
        while queue.is_whole():
            queue.writer.beat(self._wall_ns())
            now_s = trio.current_time()
            is_news = delivery.deliver(log)
            if log.closed:
                delivery.finish()
                return
            if is_news:
                quiet_since_s = now_s
            elif now_s - quiet_since_s >= HEARTBEAT_S:
                quiet_since_s = now_s
                delivery.say(self._heartbeat(log))
            self._welcome(queue.writer.readers, broadcast, delivery)
            with trio.move_on_after(BEAT_S):
                await log.wait_beyond(delivery.position)
        _LOG.error("queue %s was cut short by somebody; it is served no more", self._config.name)

    def _heartbeat(self, log: Log) -> bytes:
        return encode_event(Heartbeat(next_seq=log.next_seq, time_ns=self._wall_ns()))

    def _welcome(self, readers: int, broadcast: Broadcast, delivery: Delivery) -> None:
        """Give a reader that is new a snapshot, at the end of what it has to read. The first one
        finds the one that was there from the start."""
        if readers == self._welcomed:
            return
        _LOG.info("shm://%s: a reader attached, number %d", self._config.name, readers)
        self._welcomed, is_first = readers, not self._welcomed
        if not is_first:
            for payload in _payloads(broadcast.opening())[2:]:
                delivery.say(payload)


def _require_machine() -> None:
    try:
        require_supported_machine(platform.machine())
    except UnsupportedMachineError as error:
        raise BindError(str(error)) from error


def _payloads(frames: bytes) -> list[bytes]:
    reader = FrameReader()
    reader.feed(frames)
    return list(iter(reader.next_payload, None))
