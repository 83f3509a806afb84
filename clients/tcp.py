"""A blocking client: no event loop, no thread, standard library and `protocol` only.

    from clients.tcp import TcpClient
    from protocol import Trade

    with TcpClient("tcp://127.0.0.1:9000") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives trades and events in order: `Trade`, `Snapshot`, `Status`, `Gap`, `Loss`, `End`,
and `Disconnected` when the connection is gone and another attempt will follow. What was missed
meanwhile comes as a `Loss`.
"""

import socket
from contextlib import suppress

from clients.client import IDLE_TIMEOUT_S, BlockingClient
from clients.subscription import AddressError, Disconnected, DisconnectedError
from clients.tcp_address import READ_BYTES, parse_address, silence
from protocol.errors import PeerError

__all__ = ["AddressError", "Disconnected", "DisconnectedError", "TcpClient"]


class TcpClient(BlockingClient):
    """A subscriber over TCP. `url` is `tcp://HOST:PORT`; anything else raises `AddressError`.

    See `clients.client.Client` for the other parameters and the errors.
    """

    def __init__(
        self, url: str, *, reconnect: bool = True, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(url, reconnect=reconnect, idle_timeout_s=idle_timeout_s)
        self._address = parse_address(url)
        self._socket: socket.socket | None = None

    def _step(self) -> None:
        try:
            if self._socket is None:
                if self._closed.wait(self._subscription.pause_s):
                    return
                self._socket = socket.create_connection(self._address, self._idle_timeout_s)
            self._subscription.receive(self._read(self._socket))
        except (OSError, PeerError) as error:
            self._let_go()
            if not self._closed.is_set():
                self._subscription.disconnected(error)

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
                sock.shutdown(socket.SHUT_RDWR)
        super().close()
