"""Services whose channels send what a test says, to every client that asks for them, and then stay
silent."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from msgspec.structs import replace

from fanout.protocol import (
    START,
    BlockFlags,
    BookFlags,
    BookUpdate,
    DataKinds,
    Quote,
    QuoteBlock,
    frame,
    pack_levels,
)
from fanout.protocol.book_block import encode_book
from fanout.protocol.book_records import BookBlock
from fanout.protocol.errors import PeerError
from fanout.protocol.header import opening
from fanout.protocol.instrument import Instrument
from fanout.protocol.quote_block import encode_quotes
from tests.contracts.client import take_request
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_session import heartbeat

NS = 1_795_219_200_000_000_000

Top = tuple[int, int, int, int]


def header(venue: str, *instruments: Instrument, **fields: Any) -> bytes:
    """The beginning of a channel, with the instrument BTC unless others are given."""
    its = instruments or (BTC,)
    known: dict[str, Any] = {
        "venue": venue,
        "channel": "",
        "next_seq": 1,
        "channels": (),
        "data": DataKinds.BOOK_BY_PRICE,
        "instruments": its,
        "references": HEADER.references[:1] * len(its),
    }
    return frame(START) + opening(replace(HEADER, **(known | fields)))


def quiet(venue: str, *instruments: Instrument, **fields: Any) -> bytes:
    """A channel that has no records yet."""
    return header(venue, *instruments, **fields) + heartbeat(1)


def whole(top: Top, seq: int = 1, at_ns: int = NS, of: Instrument = BTC) -> bytes:
    """A whole book; one that a joining client gets if it has no number."""
    bids, asks = pack_levels([top[:2]]), pack_levels([top[2:]])
    update = BookUpdate(of, 5 + seq, 5, bids, asks, BookFlags.WHOLE)
    flags = BlockFlags.NONE if seq else BlockFlags.SNAPSHOT
    received_ns = at_ns if seq else 0
    block = BookBlock(first_seq=seq or 1, updates=(update,), received_ns=received_ns, flags=flags)
    return frame(encode_book(block, HEADER))


def quote(top: Top, seq: int = 1, at_ns: int = NS) -> bytes:
    block = QuoteBlock(first_seq=seq, quotes=(Quote(BTC, 5, 5, *top),), received_ns=at_ns)
    return frame(encode_quotes(block, HEADER))


Stream = bytes | Sequence[bytes]
"""What each client gets; or what the first one gets, the second, and so on, and then the last."""


class Closing(bytes):
    """A stream after which the service closes the connection."""


class Service:
    def __init__(self, channels: Mapping[str, Stream]) -> None:
        """The first channel is also the one without a name."""
        streams = {
            name: [each] if isinstance(each, bytes) else list(each)
            for name, each in channels.items()
        }
        self._streams = {"": next(iter(streams.values())), **streams}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=[connection])
                thread.start()
                self._threads.append(thread)
        for each in self._threads:
            each.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(PeerError, ConnectionError):
            streams = self._streams[take_request(connection).channel]
            stream = streams.pop(0) if len(streams) > 1 else streams[0]
            connection.sendall(stream)
            if not isinstance(stream, Closing):
                self._over.wait()

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # Linux wakes who waits in accept by this alone
            self._listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def services(*channels: Stream | Mapping[str, Stream]) -> Iterator[list[str]]:
    """A service for each, of one channel or of several. Yields the options that lead to them."""
    with ExitStack() as stack:
        options: list[str] = []
        for each in channels:
            service = Service(each if isinstance(each, Mapping) else {"": each})
            thread = threading.Thread(target=service.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(service.close)
            options += ["--at", service.url]
        yield options
