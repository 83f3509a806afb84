"""The client for asyncio: `fanout.clients.tcp` with `await`.

async with AsyncioTcpClient("tcp://127.0.0.1:9000") as client:
    async for record in client:
        ...
"""

import asyncio
import ssl
from typing import Unpack

from fanout.clients.client import AsyncClient
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.clients.tcp_client import (
    READ_BYTES,
    NetworkClient,
    TcpOptions,
    no_connection,
    silence,
    tls_failure,
)
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Position

__all__ = [
    "AddressError",
    "AsyncioTcpClient",
    "Disconnected",
    "DisconnectedError",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "UnknownSymbolError",
]

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncioTcpClient(NetworkClient, AsyncClient):
    """A subscriber over TCP.

    See `fanout.clients.tcp_client.NetworkClient` for parameters and errors.
    """

    def __init__(self, url: str, **options: Unpack[TcpOptions]) -> None:
        super().__init__(url, **options)
        self._streams: _Streams | None = None

    async def _step(self) -> None:
        try:
            if self._streams is None:
                await asyncio.sleep(self._pause_left_s(asyncio.get_running_loop().time()))
                self._streams = await self._connect()
                # Not waited for: a request always fits, and the service may not be reading.
                self._streams[1].write(self._hello())
            else:
                now_s = asyncio.get_running_loop().time
                began_s = now_s()
                data = await self._read(self._streams[0])
                self._receive(data, now_s() - began_s)
        except (OSError, PeerError) as error:
            await self._let_go()
            self._disconnected(error)

    async def _connect(self) -> _Streams:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await asyncio.open_connection(
                    self._host, self._port, limit=READ_BYTES, ssl=self._tls
                )
        except TimeoutError as error:
            raise no_connection(self._idle_timeout_s) from error
        except ssl.SSLError as error:
            raise tls_failure(error) from error

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await reader.read(READ_BYTES)
        except TimeoutError as error:
            raise silence(self._idle_timeout_s) from error

    async def _let_go(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
