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

import time
from typing import Unpack

from fanout.clients.client import ClientOptions
from fanout.clients.outcomes import AddressError, Disconnected, DisconnectedError, Restarted
from fanout.clients.shared_client import BlockingSharedClient, Wait
from fanout.clients.shared_file import Outcome
from fanout.clients.shm_client import QueueClient
from fanout.clients.shm_file import AttachedQueue, QueueError
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


class ShmClient(QueueClient, BlockingSharedClient[AttachedQueue]):
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
            queue = self._file or self._attached()
        except PeerError as error:
            self._lose(error)  # no queue was attached that could explain it
            raise
        self._reader = queue.reader
        return queue.reader

    def _look_twice(self) -> bytes | None:
        """Check the queue, then take a frame: one written before the check is still read."""
        assert self._file is not None, "its reader found it empty"
        trouble = self._trouble(self._file)
        payload = self._file.reader.take()
        if payload is None and trouble:
            raise trouble
        return payload

    def _lose(self, error: Exception) -> Exception:
        """Close a queue that ended with `error`. Returns the cause of the error."""
        self._reader = None
        queue, self._file = self._file, None
        error = self._explained(queue, error)
        if queue is not None:
            queue.close()
        return error

    def _drop(self) -> None:
        self._reader = None
        super()._drop()
