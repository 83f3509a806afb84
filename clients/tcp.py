"""A blocking client: no event loop, no thread, standard library and `protocol` only.

    from fanout.clients.tcp import TcpClient
    from fanout.protocol import Trade

    with TcpClient("tcp://127.0.0.1:9000") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives trades and events in order: `Trade`, `Snapshot`, `Status`, `Gap`, `Loss`, `End`,
and `Disconnected` when the connection is gone and another attempt will follow. The client goes on
where it stopped; what the service no longer has comes as a `Loss`.
"""

import socket
import time
from contextlib import suppress
from typing import Unpack

from fanout.clients.client import BlockingClient
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.clients.tcp_client import READ_BYTES, NetworkClient, TcpOptions, silence, tls_failure
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Position

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "TcpClient",
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
                if self._closed.wait(self._subscription.pause_s):
                    return
                self._connect()
            else:
                began_s = time.monotonic()
                data = self._read(self._socket)
                self._receive(data, time.monotonic() - began_s)
        except (OSError, PeerError) as error:
            self._let_go()
            if not self._closed.is_set():
                self._disconnected(error)

    def _connect(self) -> None:
        # Kept at once, so that `close` finds it, from whichever thread.
        self._socket = socket.create_connection((self._host, self._port), self._idle_timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            try:
                self._socket = tls = self._tls.wrap_socket(
                    self._socket, server_hostname=self._host, do_handshake_on_connect=False
                )
                tls.do_handshake()
            except (OSError, ValueError) as error:
                raise tls_failure(error) from error
        self._socket.sendall(self._hello())

    def _read(self, sock: socket.socket) -> bytes:
        try:
            return sock.recv(READ_BYTES)
        except TimeoutError as error:
            raise silence(self._idle_timeout_s) from error

    def _let_go(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def close(self) -> None:
        # Before the other thread wakes: it has to know why.
        self._closed.set()
        sock = self._socket
        if sock is not None:
            with suppress(OSError):  # it is gone already
                # The plain one's: TLS would forget its state under the other thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        super().close()
