"""A blocking client: no event loop, no thread, standard library and `protocol` only.

    from fanout.clients.tcp import TcpClient
    from fanout.protocol import Trade

    with TcpClient("tcp://127.0.0.1:9000") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives records in order: `Trade`, `Quote`, `BookUpdate`, `OrderUpdate` and `FeatureRow`, as
far as the channel has them (`client.header.data`); `Snapshot`, `Status`, `Gap`, `Loss`, `End`; and
`Disconnected` when the connection was lost and the client will try again. `fanout.clients.books`
makes order books of the updates. The client resumes
where it stopped; records that the service no longer has are reported as a `Loss`.
"""

import select
import socket
import ssl
import time
from contextlib import suppress
from select import POLLIN, POLLOUT
from typing import Unpack

from fanout.clients.client import BlockingClient
from fanout.clients.connecting import connect
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
    "TcpClient",
    "UnknownChannelError",
    "UnknownSymbolError",
]


class TcpClient(NetworkClient, BlockingClient):
    """A subscriber over TCP.

    See `fanout.clients.tcp_client.NetworkClient` for parameters and errors.
    """

    def __init__(self, url: str, **options: Unpack[TcpOptions]) -> None:
        super().__init__(url, **options)
        self._socket: socket.socket | None = None

    def _step(self) -> None:
        try:
            if self._socket is None:
                if self._is_closed_within(self._subscription.state.pause_s):
                    return
                self._begin()
                self._connect()
            else:
                began_s = time.monotonic()
                data = self._read(self._socket)
                self._receive(data, time.monotonic() - began_s)
            self._settle()
        except (OSError, PeerError) as error:
            self._lost(error)

    def _connect(self) -> None:
        try:
            plain = connect(
                self._host,
                self._port,
                timeout_s=self._idle_timeout_s,
                is_over=lambda: self._is_closed,
            )
        except TimeoutError as error:
            raise no_connection(self._idle_timeout_s) from error
        # Stored at once, so that `close` in another thread finds it.
        self._socket = plain
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(self._idle_timeout_s)
        if self._tls is not None:
            self._secure(plain, self._tls)
        self._socket.sendall(self._hello())
        self._socket.setblocking(False)

    def _secure(self, plain: socket.socket, tls: ssl.SSLContext) -> None:
        try:
            self._socket = secured = tls.wrap_socket(
                plain, server_hostname=self._host, do_handshake_on_connect=False
            )
            secured.do_handshake()
        except (OSError, ValueError) as error:
            raise tls_failure(error) from error

    def _read(self, sock: socket.socket) -> bytes:
        """The bytes that have arrived, as soon as there are any. An interrupt while it waits leaves
        the connection as it was. An interrupt while it reads may lose bytes, and so counts as a
        lost connection."""
        deadline_s = time.monotonic() + self._idle_timeout_s
        while True:
            self._begin()
            try:
                return sock.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                wanted = POLLOUT if isinstance(error, ssl.SSLWantWriteError) else POLLIN
            self._settle()
            if not _wait(sock, wanted, deadline_s - time.monotonic()):
                raise silence(self._idle_timeout_s)

    def _lost(self, error: Exception) -> None:
        if self._is_closed:
            self._drop()
            self._settle()
        else:
            super()._lost(error)

    def _has_connection(self) -> bool:
        return self._socket is not None

    def _close_copy(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def _drop(self) -> None:
        sock = self._socket
        if sock is not None:
            _shut_down(sock)
        self._close_copy()

    def close(self) -> None:
        # First: the other thread wakes by the shutdown, and must see why.
        self._is_closed = True
        sock = self._socket
        if sock is not None:
            _shut_down(sock)
        super().close()


def _wait(sock: socket.socket, event: int, timeout_s: float) -> bool:
    """Wait until a socket is ready to read or to write. False if it is not in time."""
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def _shut_down(sock: socket.socket) -> None:
    """End the connection, also for copies in forked processes, and wake a thread that waits."""
    with suppress(OSError):  # it is gone already
        # Of the plain socket: that of TLS would drop its state while the other thread uses it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
