"""The client for multicast for trio: `fanout.clients.multicast` with `await`.

async with TrioMulticastClient("multicast://239.10.1.1:9100") as client:
    async for record in client:
        ...
"""

import socket
from collections.abc import Sequence

import trio
from trio.lowlevel import current_trio_token

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
    "Disconnected",
    "DisconnectedError",
    "Moment",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "TrioMulticastClient",
    "UnknownChannelError",
    "UnknownSymbolError",
]


class TrioMulticastClient(GroupClient, AsyncClient):
    """A subscriber to a multicast group.

    See `fanout.clients.multicast_client.GroupClient` for parameters and errors.
    """

    async def _step(self) -> None:
        try:
            if self._lines is None:
                await trio.sleep(self._pause_left_s(trio.current_time(), current_trio_token()))
                addresses = await self._resolve()
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
            await trio.lowlevel.checkpoint()
        else:
            assert self._receivers is not None, "the client has joined"
            with trio.move_on_after(self._wait_s()):
                await trio.lowlevel.wait_readable(self._receivers.fileno())

    async def _resolve(self) -> Sequence[Address]:
        if self._service is None:
            return ()
        found = await trio.socket.getaddrinfo(*self._service, type=socket.SOCK_STREAM)
        return [(each[0], each[4]) for each in found]
