"""The client of a shared-memory queue for trio: `fanout.clients.shm` with `await`.

    async with TrioShmClient("shm://trade_queue") as client:
        async for record in client:
            ...

It polls, since shared memory wakes no reader: at once after a record, then with sleeps of up to a
millisecond, which take some percent of a core. A trio loop cannot sleep for less. For microseconds,
use `fanout.clients.shm` in a thread of its own.
"""

import trio
from trio.lowlevel import current_trio_token

from fanout.clients.client import AsyncClient
from fanout.clients.outcomes import AddressError, Disconnected, DisconnectedError, Restarted
from fanout.clients.shared_client import nap_s
from fanout.clients.shared_file import Outcome
from fanout.clients.shm_client import QueueClient
from fanout.clients.shm_file import QueueError

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Outcome",
    "QueueError",
    "Restarted",
    "TrioShmClient",
]


class TrioShmClient(QueueClient, AsyncClient):
    """A subscriber to a queue.

    See `fanout.clients.shm_client.QueueClient` for parameters and errors.
    """

    async def _step(self) -> None:
        # Sleep in every step, if only for 0 s, so that other tasks run.
        if self._file is None:
            await trio.sleep(self._pause_left_s(trio.current_time(), current_trio_token()))
            self._attach()
        else:
            self._idle = 0 if self._take() else self._idle + 1
            await trio.sleep(nap_s(self._idle))
