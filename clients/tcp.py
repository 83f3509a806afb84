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
import threading
from types import TracebackType
from typing import Self

from clients.subscription import (
    IDLE_TIMEOUT_S,
    READ_BYTES,
    AddressError,
    Client,
    Disconnected,
    DisconnectedError,
)
from protocol.errors import PeerError
from protocol.records import Header, Record

__all__ = ["AddressError", "Disconnected", "DisconnectedError", "TcpClient"]


class TcpClient(Client):
    """A subscriber over TCP. Iterate over it; it connects when it has to.

    See `clients.subscription.Client` for parameters and errors. `close` may be called from
    another thread, and ends the iteration.
    """

    def __init__(
        self, url: str, *, reconnect: bool = True, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(url, reconnect=reconnect, idle_timeout_s=idle_timeout_s)
        self._socket: socket.socket | None = None
        self._closed = threading.Event()

    def connect(self) -> Header:
        """Connect, if need be, and return once the header is there. Records are kept."""
        while (header := self.header) is None:
            self._step()
            if self._is_over:
                raise self._subscription.failure or DisconnectedError("closed before a header")
        return header

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Record | Disconnected:
        ready = self._subscription.ready
        while not ready:
            if self._is_over:
                raise self._subscription.failure or StopIteration
            self._step()
        return ready.popleft()

    @property
    def _is_over(self) -> bool:
        return self._subscription.is_over or self._closed.is_set()

    def _step(self) -> None:
        """Connect, or read once."""
        try:
            if self._socket is None:
                if self._closed.wait(self._subscription.pause_s):
                    return
                self._socket = socket.create_connection(self._address, self._idle_timeout_s)
            self._subscription.receive(self._read(self._socket))
        except (OSError, PeerError) as error:
            self._disconnect()
            if not self._closed.is_set():
                self._subscription.disconnected(error)

    def _read(self, sock: socket.socket) -> bytes:
        try:
            return sock.recv(READ_BYTES)
        except TimeoutError as error:
            raise self._silence() from error

    def _disconnect(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def close(self) -> None:
        """End the iteration, now or in the other thread that waits in it."""
        self._closed.set()
        sock = self._socket
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is gone already

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self._disconnect()
