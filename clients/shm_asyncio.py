"""The client of a shared-memory queue for asyncio: `fanout.clients.shm` with `await`.

    async with AsyncioShmClient("shm://trade_queue") as client:
        async for record in client:
            ...

It polls, since shared memory wakes no reader: at once after a record, then with sleeps of up to a
millisecond, which take some percent of a core. An asyncio loop cannot sleep for less. For
microseconds, use `fanout.clients.shm` in a thread of its own.
"""

import asyncio

from fanout.clients.client import AsyncClient
from fanout.clients.outcomes import AddressError, Disconnected, DisconnectedError, Restarted
from fanout.clients.shared_client import nap_s
from fanout.clients.shared_file import Outcome
from fanout.clients.shm_client import QueueClient
from fanout.clients.shm_file import QueueError

__all__ = [
    "AddressError",
    "AsyncioShmClient",
    "Disconnected",
    "DisconnectedError",
    "Outcome",
    "QueueError",
    "Restarted",
]


class AsyncioShmClient(QueueClient, AsyncClient):
    """A subscriber to a queue.

    See `fanout.clients.shm_client.QueueClient` for parameters and errors.
    """

    async def _step(self) -> None:
        # Sleep in every step, if only for 0 s, so that other tasks run.
        if self._file is None:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._pause_left_s(loop.time(), loop))
            self._attach()
        else:
            self._idle = 0 if self._take() else self._idle + 1
            await asyncio.sleep(nap_s(self._idle))
