"""A blocking client for the shared-memory queue: microseconds from writer to reader.

    from fanout.clients.shm import ShmClient, Wait
    from fanout.protocol import Trade

    with ShmClient("shm://trade_queue", wait=Wait.SPIN) as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives the same records as `fanout.clients.tcp`. When the service ends, dies or restarts,
the client hands over a `Disconnected`, names the reason in `outcome`, and attaches again. A queue
has one reader at a time; the next one resumes where the last one stopped. A reader that dies loses
nothing: the next one gets the frame again whose records it was handing over.
"""

import os
import time
from enum import Enum
from typing import Final, Unpack

from fanout.clients.client import BlockingClient, ClientOptions
from fanout.clients.outcomes import AddressError, Disconnected, DisconnectedError, Restarted
from fanout.clients.shm_client import QueueClient, nap_s
from fanout.clients.shm_file import Outcome, QueueError
from fanout.protocol.errors import PeerError
from fanout.protocol.queue import QueueReader
from fanout.protocol.queue_file import DIRECTORY

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Outcome",
    "QueueError",
    "Restarted",
    "ShmClient",
    "Wait",
]

YIELDS: Final = 100
"""Polls of an empty queue, some 50 µs, before a reader with `Wait.SLEEP` sleeps."""


class Wait(Enum):
    """What a blocking reader does while the queue is empty."""

    SPIN = "spin"
    """Poll again at once. The fastest, but it takes a whole core."""
    YIELD = "yield"
    """Let other threads have the core, then poll again."""
    SLEEP = "sleep"
    """Yield for a short while, then sleep, up to a millisecond at a time."""


class ShmClient(QueueClient, BlockingClient):
    """A subscriber to a queue. Iterate over it; it attaches by itself.

    See `fanout.clients.shm_client.QueueClient` for parameters and errors. `close` ends the
    iteration, also from another thread.
    """

    def __init__(
        self,
        url: str,
        *,
        wait: Wait = Wait.SLEEP,
        directory: str = DIRECTORY,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(url, directory=directory, **options)
        self._wait = wait
        self._reader: QueueReader | None = None
        """The reader of the attached queue, for `pop`."""

    def pop(self) -> bytes | None:
        """The next frame's payload, undecoded, or None if there is none now. Never waits.

        For a decoder of your own. No session checks the frame's CRC or its numbers, so do not
        iterate over the same client. The first call attaches. Raises `QueueError` once the queue
        has ended, and another `PeerError` for bytes that cannot be frames; `outcome` names the
        reason. The next call attaches again, after the broken part.
        """
        reader = self._reader or self._attached_reader()
        position = reader._position
        try:
            payload = reader.take()
            if payload is None and time.monotonic() >= self._next_check_s:
                payload = self._look_twice()
            return payload
        except PeerError as error:
            lost = self._lose(error)
            if lost is error:
                raise
            raise lost from error
        except BaseException:
            # An interrupt may have kept the frame from the caller. It is still in the queue.
            reader._position = position
            raise

    def _attached_reader(self) -> QueueReader:
        """The reader of the queue, which is attached if necessary. Raises `PeerError`."""
        self._require_own()
        try:
            queue = self._queue or self._open()
        except PeerError as error:
            self._lose(error)  # no queue was attached that could explain it
            raise
        self._reader = queue.reader
        return queue.reader

    def _look_twice(self) -> bytes | None:
        """Check the queue, then take a frame: one written before the check is still read."""
        assert self._queue is not None, "its reader found it empty"
        trouble = self._trouble(self._queue)
        payload = self._queue.reader.take()
        if payload is None and trouble:
            raise trouble
        return payload

    def _lose(self, error: Exception) -> Exception:
        self._reader = None
        return super()._lose(error)

    def _step(self) -> None:
        """Attach, or poll once, and pause if the queue was empty."""
        if self._queue is None:
            if not self._is_closed_within(self._subscription.state.pause_s):
                self._attach()
        elif self._take():
            self._idle = 0
        else:
            self._pause(self._idle)
            self._idle += 1

    def _pause(self, idle: int) -> None:
        if self._wait is Wait.SLEEP and idle >= YIELDS:
            time.sleep(nap_s(idle - YIELDS))
        elif self._wait is not Wait.SPIN:
            os.sched_yield()

    def _drop(self) -> None:
        self._reader = None
        super()._drop()
