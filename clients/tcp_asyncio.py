"""The client for asyncio: `fanout.clients.tcp` with `await`.

async with AsyncioTcpClient("tcp://127.0.0.1:9000") as client:
    async for record in client:
        ...
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Unpack

from fanout.clients.client import AsyncClient
from fanout.clients.connecting import STAGGER_S
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
from fanout.clients.tcp_client import (
    READ_BYTES,
    NetworkClient,
    TcpOptions,
    no_connection,
    silence,
    tls_failure,
)
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Moment, Position

__all__ = [
    "AddressError",
    "AsyncioTcpClient",
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

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncioTcpClient(NetworkClient, AsyncClient):
    """A subscriber over TCP.

    See `fanout.clients.tcp_client.NetworkClient` for parameters and errors.
    """

    def __init__(self, url: str, **options: Unpack[TcpOptions]) -> None:
        super().__init__(url, **options)
        self._streams: _Streams | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the streams."""
        self._deadline: asyncio.Timeout | None = None
        """Of the last wait. An interrupt may have left it without an exit."""

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._streams is None:
                await asyncio.sleep(self._pause_left_s(loop.time(), loop))
                self._begin()
                self._streams = await self._connect()
                self._loop = loop
                # No wait: a request always fits the buffer, and the service may not be reading.
                self._streams[1].write(self._hello())
            elif self._loop is not loop:
                raise DisconnectedError("the connection belongs to another event loop")
            else:
                began_s = loop.time()
                self._begin()
                data = await self._read(self._streams[0])
                self._receive(data, loop.time() - began_s)
            self._settle()
        except asyncio.CancelledError:
            self._settle()  # a cancellation comes at an await, where nothing has been read
            raise
        except (OSError, PeerError) as error:
            self._lost(error)

    async def _connect(self) -> _Streams:
        try:
            self._deadline = asyncio.timeout(self._idle_timeout_s)
            async with self._deadline:
                return await asyncio.open_connection(
                    self._host,
                    self._port,
                    limit=READ_BYTES,
                    ssl=self._tls,
                    happy_eyeballs_delay=STAGGER_S,
                )
        except TimeoutError as error:
            raise no_connection(self._idle_timeout_s) from error
        except ssl.SSLError as error:
            raise tls_failure(error) from error

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            self._deadline = asyncio.timeout(self._idle_timeout_s)
            async with self._deadline:
                return await reader.read(READ_BYTES)
        except TimeoutError as error:
            raise silence(self._idle_timeout_s) from error

    def _has_connection(self) -> bool:
        return self._streams is not None

    def _close_copy(self) -> None:
        # The transport belongs to the loop, whose epoll the child shares with the parent.
        self._streams = None

    def _drop(self) -> None:
        if self._deadline is not None:
            with suppress(RuntimeError):  # it was exited, as it should be
                self._deadline.reschedule(None)  # else it would cancel the caller's task one day
        streams, self._streams = self._streams, None
        if streams is None:
            return
        transport = streams[1].transport
        with suppress(OSError):  # it is gone already
            # Also for copies that a forked process has, and for a loop that is closed.
            transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        with suppress(RuntimeError):  # its loop is closed
            transport.abort()
