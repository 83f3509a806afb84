"""Rings for the tests of their readers: a writer in the test's own hand."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from fanout.protocol import (
    BlockFlags,
    BookFlags,
    DataKinds,
    Header,
    Quote,
    QuoteBlock,
    encode_event,
    encode_quotes,
    frame,
)
from fanout.protocol.book_block import encode_book
from fanout.protocol.book_records import BookBlock, BookUpdate, pack_levels
from fanout.protocol.records import Heartbeat
from fanout.transports.ring.ring_file import OwnedRing, create
from tests.clients.queues import block, goodbye
from tests.protocol.golden import BTC, HEADER, ROWS_HEADER
from tests.protocol.test_session import block as snapshot_block

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE


class Writer:
    """A ring in a directory, and what writes to it."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "r",
        epoch_ns: int = 1,
        next_seq: int = 1,
        capacity_bytes: int = 4096,
        data: DataKinds = DataKinds.TRADES,
    ) -> None:
        self.header = msgspec.structs.replace(
            HEADER,
            epoch_ns=epoch_ns,
            next_seq=next_seq,
            data=data,
            columns=ROWS_HEADER.columns if DataKinds.FEATURES in data else (),
        )
        self.next_seq = next_seq
        self.path = directory / name
        self.ring: OwnedRing = create(
            str(self.path), capacity_bytes=capacity_bytes, header=self.header
        )

    def push(self, frames: bytes, numbers: int = 0) -> None:
        self.next_seq += numbers
        self.ring.writer.push(frames, self.next_seq)

    def trades(self, count: int = 1) -> None:
        """Push a block whose trade ids are its sequence numbers."""
        self.push(block(self.header, self.next_seq, count), count)

    def many(self, count: int) -> None:
        """Push so many trades, in blocks of ten."""
        for _ in range(count // 10):
            self.trades(10)

    def book(self, update_id: int, *, flags: BlockFlags = BlockFlags.NONE) -> None:
        """Push a book with one bid, whose price is the update's id: a whole one for a snapshot."""
        kind = BookFlags.WHOLE if flags else BookFlags.NONE
        update = BookUpdate(BTC, update_id, 5, pack_levels([(update_id, 1)]), b"", kind)
        received_ns = 0 if flags else 9
        value = BookBlock(
            first_seq=self.next_seq, updates=(update,), received_ns=received_ns, flags=flags
        )
        self.push(frame(encode_book(value, self.header)), 0 if flags else 1)

    def quote(self, price: int, *, flags: BlockFlags = BlockFlags.NONE) -> None:
        """Push a quote with that bid."""
        quotes = (Quote(BTC, price, 5, price, 1, price + 1, 1),)
        received_ns = 0 if flags else 9
        value = QuoteBlock(
            first_seq=self.next_seq, quotes=quotes, received_ns=received_ns, flags=flags
        )
        self.push(frame(encode_quotes(value, self.header)), 0 if flags else 1)

    def standing(self, value: int) -> None:
        """Push a snapshot of a book and a quote, both with that bid."""
        self.ring.writer.begin_snapshot()
        self.quote(value, flags=BlockFlags.SNAPSHOT)
        self.book(value, flags=BlockFlags.SNAPSHOT)
        self.ring.writer.end_snapshot()

    def snapshot(self, *, is_ended: bool = True) -> None:
        """Push a snapshot: a trade, and in a channel with books a whole one."""
        writer = self.ring.writer
        writer.begin_snapshot()
        self.push(snapshot_block(self.next_seq, 1, BlockFlags.SNAPSHOT))
        if self.header.data & ALL == ALL:
            self.book(self.next_seq + 100, flags=BlockFlags.SNAPSHOT)
        if is_ended:
            writer.end_snapshot()

    def heartbeat(self) -> None:
        self.push(frame(encode_event(Heartbeat(next_seq=self.next_seq, time_ns=1))))

    def end(self, *, keep: bool = False) -> None:
        """An orderly end."""
        self.push(frame(encode_event(goodbye(self.next_seq - 1))))
        self.ring.writer.end()
        self.ring.close(keep=keep)

    def die(self) -> None:
        """What is left when a process is killed: a file that nobody has locked."""
        self.ring.close(keep=True)


@contextmanager
def writing(directory: Path, **options: Any) -> Iterator[Writer]:
    """A writer that dies at the end, unless it is gone already."""
    writer = Writer(directory, **options)
    try:
        yield writer
    finally:
        with suppress(OSError, ValueError):
            writer.die()


def change(header: Header, price: int) -> Header:
    """The header with another reference price."""
    first = msgspec.structs.replace(header.references[0], price=price)
    return msgspec.structs.replace(header, references=(first, *header.references[1:]))
