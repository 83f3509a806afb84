"""One TCP consumer in a thread: what it received, how old that was, and whether any was lost."""

import socket
import threading
import time
from contextlib import suppress
from typing import Final

from fanout.clients.tcp_client import parse_address
from fanout.protocol import Loss, SubscriberSession, Trade, frame
from fanout.protocol.request import Request, encode_request

READ_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 30.0


class Consumer:
    """Reads from the live end until it is closed. Ages are from the service's read of the venue's
    socket to this consumer's read, in ns, so they include the way over loopback."""

    def __init__(self, url: str) -> None:
        host, port, _ = parse_address(url)
        self.trades = 0
        self.bytes = 0
        self.lost = 0
        self.symbols: set[str] = set()
        self.ages_ns: list[int] = []
        self._session = SubscriberSession()
        self._socket = socket.create_connection((host, port), TIMEOUT_S)
        self._socket.sendall(frame(encode_request(Request())))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def references(self) -> int:
        """How many symbols have theirs."""
        header = self._session.header
        return sum(each.trade_id > 0 for each in header.references) if header else 0

    def _read(self) -> None:
        with suppress(OSError):
            while data := self._socket.recv(READ_BYTES):
                self.bytes += len(data)
                self._session.receive(data)
                now_ns = time.time_ns()
                while (records := self._session.next_records()) is not None:
                    self._note(records, now_ns)

    def _note(self, records: object, now_ns: int) -> None:
        for each in records:  # type: ignore[attr-defined]
            if type(each) is Trade:
                self.trades += 1
                self.symbols.add(each.symbol)
                self.ages_ns.append(now_ns - each.received_ns)
            elif isinstance(each, Loss):
                self.lost += 1

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT_S)
        self._socket.close()


def join_s(url: str) -> float:
    """How long a join takes: from the connection to the session's header."""
    host, port, _ = parse_address(url)
    session = SubscriberSession()
    began_s = time.monotonic()
    with socket.create_connection((host, port), TIMEOUT_S) as sock:
        sock.sendall(frame(encode_request(Request())))
        while session.header is None:
            data = sock.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the service hung up before the header")
            session.receive(data)
            while session.next_records() is not None:
                pass
    return time.monotonic() - began_s
