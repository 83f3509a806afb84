"""The common part of the clients of a queue: all that a ring does otherwise."""

from typing import Unpack

from fanout.clients.client import ClientOptions
from fanout.clients.shared_client import SharedClient
from fanout.clients.shared_file import Outcome, SharedFileError
from fanout.clients.shm_file import AttachedQueue, attach
from fanout.protocol.queue_file import DIRECTORY


class QueueClient(SharedClient[AttachedQueue]):
    """A subscriber to a queue."""

    _scheme = "shm"
    _noun = "queue"

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
        super().__init__(url, directory=directory, **options)

    def _open(self, now_s: float) -> AttachedQueue:
        self._file = queue = attach(self._path, now_s=now_s)
        if queue.epoch_ns == self._corrupt_epoch_ns:
            # Broken bytes stay broken. The next frame begins after all that is there now.
            queue.reader.skip()
            self._corrupt_epoch_ns = None
        return queue

    def _require_worth(self, queue: AttachedQueue, now_s: float) -> None:
        """Raises `QueueError` for a queue that is in trouble and has no unread frame."""
        trouble = queue.trouble(now_s, self._idle_timeout_s)
        if trouble is None or queue.reader.unread_bytes:
            return
        if not queue.reader.tail() or queue.epoch_ns == self._ended_epoch_ns:
            raise trouble

    def _give_up(self, queue: AttachedQueue, trouble: SharedFileError) -> None:
        """Leave a queue in trouble that is read to its end, except perhaps for its tail."""
        tail = queue.reader.tail() if trouble.outcome is Outcome.ENDED else b""
        if tail:
            self._receive(queue, tail)
        raise trouble

    def _close_retired(self) -> None:
        queue = self._retired
        if queue is not None and self._ended_epoch_ns == queue.epoch_ns:
            queue.commit()  # its END has been handed over
        super()._close_retired()

    def _drop(self) -> None:
        queue, position = self._file, self._subscription.position
        if queue is not None and self._doubt is None:
            if not self._subscription.ready:
                queue.commit()
            elif position is not None:
                queue.reader.leave(position.seq)
        # After an interrupted step the next reader finds the whole frame.
        super()._drop()
