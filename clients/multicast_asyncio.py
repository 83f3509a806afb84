"""The client for multicast for asyncio: `fanout.clients.multicast` with `await`.

async with AsyncioMulticastClient("multicast://239.10.1.1:9100") as client:
    async for record in client:
        ...
"""

import asyncio
import socket
from collections.abc import Sequence

from fanout.clients.client import AsyncClient
from fanout.clients.connecting import Address
from fanout.clients.multicast_client import GroupClient
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Moment, Position

__all__ = [
    "AddressError",
    "AsyncioMulticastClient",
    "Disconnected",
    "DisconnectedError",
    "Moment",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "UnknownChannelError",
    "UnknownSymbolError",
]


class AsyncioMulticastClient(GroupClient, AsyncClient):
    """A subscriber to a multicast group.

    See `fanout.clients.multicast_client.GroupClient` for parameters and errors.
    """

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._lines is None:
                await asyncio.sleep(self._pause_left_s(loop.time(), loop))
                addresses = await self._resolve(loop)
                self._begin()
                self._open(addresses)
                self._settle()
                return
            self._begin()
            is_any = self._turn()
            self._settle()
        except (OSError, PeerError) as error:
            self._lost(error)
            return
        if is_any:
            await asyncio.sleep(0)
        else:
            await self._wait(loop)

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> Sequence[Address]:
        if self._service is None:
            return ()
        found = await loop.getaddrinfo(*self._service, type=socket.SOCK_STREAM)
        return [(each[0], each[4]) for each in found]

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Return once a socket is ready, or when it is time to look after something."""
        assert self._receivers is not None, "the client has joined"
        ready = asyncio.Event()
        loop.add_reader(self._receivers.fileno(), ready.set)
        try:
            async with asyncio.timeout(self._wait_s()):
                await ready.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._receivers.fileno())
