"""The common part of the clients of a queue. It never waits.

A `QueueClient` attaches, reads and checks on the queue. The bytes go through a `Subscription`, like
those of a TCP connection. The clients around it only sleep.
"""

import os
import platform
import time
from typing import Final, Unpack

from fanout.clients.client import Client, ClientOptions
from fanout.clients.outcomes import AddressError
from fanout.clients.shm_file import AttachedQueue, Outcome, QueueError, attach, outcome_of
from fanout.clients.subscription import Mark
from fanout.protocol.errors import PeerError
from fanout.protocol.queue_file import DIRECTORY, name_fault, require_supported_machine
from fanout.protocol.records import End

CHECK_S: Final = 0.2
"""How often a reader checks on the queue, by a few system calls. Within this time it notices
everything that can happen to a queue, except silence."""

LONGEST_PAUSE_S: Final = 0.5
"""Longest pause before the next attempt to attach. It costs the service nothing."""

FIRST_NAP_S: Final = 50e-6
LONGEST_NAP_S: Final = 1e-3


def parse_queue(url: str) -> str:
    """The name in `shm://NAME`. Raises `AddressError`."""
    name = url.removeprefix("shm://")
    fault = name_fault(name) if name != url else "it does not begin with shm://"
    if fault:
        raise AddressError(f"{url!r} is not a queue's address, shm://NAME: {fault}")
    return name


def nap_s(idle: int) -> float:
    """How long to sleep after `idle` polls of an empty queue in a row: 0 after none, then from
    `FIRST_NAP_S` up to `LONGEST_NAP_S`."""
    return min(FIRST_NAP_S * 2 ** min(idle - 1, 10), LONGEST_NAP_S) if idle else 0.0


class QueueClient(Client):
    """A subscriber to a queue."""

    _longest_pause_s = LONGEST_PAUSE_S

    def __init__(
        self,
        url: str,
        *,
        directory: str = DIRECTORY,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`url` is `shm://NAME`; any other raises `AddressError`. `directory` holds the queues'
        files. `fanout.clients.client.Client` has the other parameters.

        With `reconnect=False` the iteration stops after an `End`. It raises `DisconnectedError` if
        there is no queue to attach to, or the queue is lost in another way; the `__cause__` is a
        `QueueError`, or the error in the bytes. `idle_timeout_s` is the longest silence of a
        writer whose process lives. Raises `UnsupportedMachineError` where queues do not work.
        """
        require_supported_machine(platform.machine())
        super().__init__(url, **options)
        self.outcome: Outcome | None = None
        """How the last queue ended, or the last attempt to attach."""
        self._path = os.path.join(directory, parse_queue(url))
        self._queue: AttachedQueue | None = None
        self._ended_epoch_ns: int | None = None
        """Of the queue whose END has been handed over."""
        self._corrupt_epoch_ns: int | None = None
        """Of the queue that holds broken bytes, until they have been skipped."""
        self._next_check_s = 0.0
        self._idle = 0
        self._retired: AttachedQueue | None = None
        """A queue that was lost, until all records from it are settled."""

    def _open(self) -> AttachedQueue:
        """Attach, after any bytes that were found broken there. Raises `PeerError`."""
        now_s = time.monotonic()
        self._queue = queue = attach(self._path, now_s=now_s)
        self._next_check_s = now_s + CHECK_S
        if queue.reader.epoch_ns == self._corrupt_epoch_ns:
            # Broken bytes stay broken. The next frame begins after all that is there now.
            queue.reader.skip()
            self._corrupt_epoch_ns = None
        return queue

    def _attach(self) -> None:
        """Attach and begin a session. If that fails there is a `Disconnected` in `ready`."""
        self._begin()
        try:
            queue = self._open()
            self._require_worth(queue, time.monotonic())
            self._mark = None
            self._subscription.receive(queue.opening())
        except (OSError, PeerError) as error:
            self._detach(error)
        self._settle()
        self._close_retired()

    def _require_worth(self, queue: AttachedQueue, now_s: float) -> None:
        """Raises `QueueError` for a queue that is in trouble and has no unread frame."""
        trouble = queue.trouble(now_s, self._idle_timeout_s)
        if trouble is None or queue.reader.unread_bytes:
            return
        if not queue.reader.tail() or queue.reader.epoch_ns == self._ended_epoch_ns:
            raise trouble

    def _take(self) -> bool:
        """Take the next frame; False if there is none. A queue in trouble is read to its end.

        A frame stays in the queue until this is called again: then the caller has all its records.
        So if this reader dies, the next one finds the frame that was being handed over.
        """
        assert self._queue is not None, "the caller has attached"
        queue = self._queue
        queue.reader.commit()
        self._begin()
        try:
            trouble = self._trouble(queue)
            data = queue.read()
            if data:
                self._receive(queue, data)
            elif trouble:
                self._give_up(queue, trouble)
        except PeerError as error:
            self._detach(error)
            data = b"?"  # not idle: `ready` has a Disconnected
        self._settle()
        if self._retired is not None:
            self._close_retired()
        return bool(data)

    def _trouble(self, queue: AttachedQueue) -> QueueError | None:
        now_s = time.monotonic()
        if now_s < self._next_check_s:
            return None
        trouble = queue.trouble(now_s, self._idle_timeout_s)
        if trouble is None:
            self._next_check_s = now_s + CHECK_S
        return trouble

    def _receive(self, queue: AttachedQueue, data: bytes) -> None:
        """Pass bytes to the session. Raises `PeerError`, and `DisconnectedError` for END."""
        self._mark = None
        ready = self._subscription.ready
        self._subscription.receive(data)
        if ready and isinstance(ready[-1], End):
            self._ended_epoch_ns = queue.reader.epoch_ns
            self._subscription.receive(b"")

    def _give_up(self, queue: AttachedQueue, trouble: QueueError) -> None:
        """Leave a queue in trouble that is read to its end, except perhaps for its tail."""
        tail = queue.reader.tail() if trouble.outcome is Outcome.ENDED else b""
        if tail:
            self._receive(queue, tail)
        raise trouble

    def _detach(self, error: Exception) -> None:
        """Give up the queue. It is closed once all records from it are settled."""
        self._retired, self._queue = self._queue, None
        error = self._explained(self._retired, error)
        self._disconnected(error)
        if self._subscription.failure:
            self._subscription.failure.__cause__ = error

    def _close_retired(self) -> None:
        queue = self._retired
        if queue is not None:
            if self._ended_epoch_ns == queue.reader.epoch_ns:
                queue.reader.commit()  # its END has been handed over
            self._retired = None
            queue.close()

    def _explained(self, queue: AttachedQueue | None, error: Exception) -> Exception:
        """The cause of an error, which also sets `outcome`."""
        if queue is not None:
            error = queue.explained(error)
            if outcome_of(error) is Outcome.CORRUPT:
                self._corrupt_epoch_ns = queue.reader.epoch_ns
        self.outcome = outcome_of(error)
        return error

    def _lose(self, error: Exception) -> Exception:
        """Close a queue that ended with `error`. Returns the cause of the error."""
        queue, self._queue = self._queue, None
        error = self._explained(queue, error)
        if queue is not None:
            queue.close()
        return error

    def _undo(self, doubt: Mark) -> None:
        """Go back to read the frame again. Unlike a socket, the queue still has it."""
        if self._queue is None:
            self._queue, self._retired = self._retired, None
        if self._queue is None or doubt.is_fresh:
            super()._undo(doubt)
        else:
            self._queue.reader.rewind()
            self._subscription.return_to(doubt)

    def _has_connection(self) -> bool:
        return self._queue is not None or self._retired is not None

    def _close_copy(self) -> None:
        queues = (self._queue, self._retired)
        self._queue = self._retired = None
        for each in queues:
            if each is not None:
                each.close()

    def _drop(self) -> None:
        self._close_retired()
        queue, self._queue = self._queue, None
        if queue is None:
            return
        position = self._subscription.position
        if self._doubt is not None:
            pass  # an interrupted step: the next reader finds the whole frame
        elif not self._subscription.ready:
            queue.reader.commit()
        elif position is not None:
            queue.reader.leave(position.seq)
        queue.close()
