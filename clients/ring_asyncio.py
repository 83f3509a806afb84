"""The client of a ring in shared memory for asyncio: `fanout.clients.ring` with `await`.

    async with AsyncioRingClient("ring://trades") as client:
        async for record in client:
            ...

It polls, since shared memory wakes no reader: at once after a record, then with sleeps of up to a
millisecond, which take some percent of a core. For microseconds, use `fanout.clients.ring` in a
thread of its own.
"""

import asyncio

from fanout.clients.client import AsyncClient
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
)
from fanout.clients.ring_client import RingClientBase
from fanout.clients.ring_file import RingError
from fanout.clients.shared_client import nap_s
from fanout.clients.shared_file import Outcome
from fanout.protocol.request import Position

__all__ = [
    "AddressError",
    "AsyncioRingClient",
    "Disconnected",
    "DisconnectedError",
    "Outcome",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "RingError",
]


class AsyncioRingClient(RingClientBase, AsyncClient):
    """A subscriber to a ring.

    See `fanout.clients.ring_client.RingClientBase` for parameters and errors.
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
