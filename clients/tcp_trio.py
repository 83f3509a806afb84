"""The client for trio: `fanout.clients.tcp` with `await`.

async with TrioTcpClient("tcp://127.0.0.1:9000") as client:
    async for record in client:
        ...
"""

import os
import socket
import ssl
from contextlib import suppress
from math import inf
from typing import Unpack

import trio
from trio.lowlevel import current_trio_token

from fanout.clients.client import AsyncClient
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
    "Disconnected",
    "DisconnectedError",
    "Moment",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "TrioTcpClient",
    "UnknownChannelError",
    "UnknownSymbolError",
]

_Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class TrioTcpClient(NetworkClient, AsyncClient):
    """A subscriber over TCP.

    See `fanout.clients.tcp_client.NetworkClient` for parameters and errors.
    """

    def __init__(self, url: str, **options: Unpack[TcpOptions]) -> None:
        super().__init__(url, **options)
        self._stream: _Stream | None = None
        self._deadline: trio.CancelScope | None = None
        """Of the last wait. An interrupt may have left it without an exit."""

    async def _step(self) -> None:
        try:
            if self._stream is None:
                await trio.sleep(self._pause_left_s(trio.current_time(), current_trio_token()))
                self._begin()
                self._stream = await self._connect()
            else:
                began_s = trio.current_time()
                self._begin()
                data = await self._read(self._stream)
                self._receive(data, trio.current_time() - began_s)
            self._settle()
        except trio.Cancelled:
            self._settle()  # a cancellation comes at an await, where nothing has been read
            raise
        except (OSError, PeerError, trio.BrokenResourceError) as error:
            self._lost(error)

    async def _connect(self) -> _Stream:
        """A connection on which the request has been sent. A cancellation closes one that is half
        made."""
        stream: _Stream | None = None
        try:
            self._deadline = trio.move_on_after(self._idle_timeout_s)
            with self._deadline:
                stream = plain = await trio.open_tcp_stream(self._host, self._port)
                if self._tls is not None:
                    stream = await self._secured(plain, self._tls)
                await stream.send_all(self._hello())
                return stream
            raise no_connection(self._idle_timeout_s)
        except BaseException:
            if stream is not None:
                await trio.aclose_forcefully(stream)
            raise

    async def _secured(self, plain: trio.SocketStream, tls: ssl.SSLContext) -> _Stream:
        stream = trio.SSLStream(plain, tls, server_hostname=self._host, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            raise tls_failure(error.__cause__ or error) from error
        return stream

    async def _read(self, stream: _Stream) -> bytes:
        self._deadline = trio.move_on_after(self._idle_timeout_s)
        with self._deadline:
            return bytes(await stream.receive_some(READ_BYTES))
        raise silence(self._idle_timeout_s)

    def _has_connection(self) -> bool:
        return self._stream is not None

    def _close_copy(self) -> None:
        sock, self._stream = self._socket(), None
        if sock is not None:
            os.close(sock.detach())

    def _drop(self) -> None:
        if self._deadline is not None:
            self._deadline.deadline = inf  # else it would cancel the caller's task one day
        sock, self._stream = self._socket(), None
        if sock is None:
            return
        with suppress(OSError):  # it is gone already
            sock.shutdown(socket.SHUT_RDWR)
        try:
            sock.close()
        except RuntimeError:  # trio has ended, and need not know
            os.close(sock.detach())

    def _socket(self) -> trio.socket.SocketType | None:
        stream = self._stream
        plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        return None if plain is None else plain.socket
