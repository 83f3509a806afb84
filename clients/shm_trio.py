"""The client of a shared-memory queue for trio: `clients.shm` with `await`.

    async with TrioShmClient("shm://trade_queue") as client:
        async for record in client:
            ...

It polls, since nobody wakes a reader of shared memory: at once after news, then with sleeps of up
to a millisecond, which burn no core. A trio loop cannot sleep for less; who wants microseconds
takes `clients.shm` in a thread of its own. A cancellation loses no record: what was not handed
over comes with the next `async for`.
"""

from types import TracebackType
from typing import Self

import trio

from clients.shm_client import QueueClient, nap_s
from clients.shm_file import Outcome, QueueError
from clients.subscription import AddressError, Disconnected, DisconnectedError
from protocol.records import Header, Record

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Outcome",
    "QueueError",
    "TrioShmClient",
]


class TrioShmClient(QueueClient):
    """A subscriber to a queue. See `clients.shm_client.QueueClient` for parameters and errors."""

    async def connect(self) -> Header:
        """Attach, if need be, and return once the header is there. Records are kept."""
        while (header := self.header) is None:
            await self._step()
            if self._subscription.is_over:
                raise self._subscription.failure or DisconnectedError("closed before a header")
        return header

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record | Disconnected:
        ready = self._subscription.ready
        while not ready:
            if self._subscription.is_over:
                raise self._subscription.failure or StopAsyncIteration
            await self._step()
        return ready.popleft()

    async def _step(self) -> None:
        """Attach, or look once, and sleep, if only for a moment, to let others run."""
        if self._queue is None:
            await trio.sleep(self._subscription.pause_s)
            self._attach()
        else:
            self._idle = 0 if self._take() else self._idle + 1
            await trio.sleep(nap_s(self._idle))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_queue()
