"""The recording of BTCUSDT in a journal, as a service keeps it: the whole book, then updates and
trades, in the order in which they came."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from fanout.clients.outcomes import Received
from fanout.journal.disk import RealDisk
from fanout.journal.segment import Segment
from fanout.protocol import START, Block, BookUpdate, Header, Reference, Trade, encode_block, frame
from fanout.protocol.book_block import encode_book
from fanout.protocol.book_records import BookBlock
from fanout.protocol.constants import DataKinds
from fanout.protocol.header import opening
from fanout.protocol.journal import FileHeader, numbered
from tests.bench.codec import HELD_NS
from tests.bench.codec_rivals.way import BTCUSDT
from tests.bench.feature_parts.recorded import recorded
from tests.bench.journal_parts.made import CHANNEL, EPOCH_NS

READ_NS: Final = 50_000
"""Messages that came within this time are taken for those of one read of the socket. The recorder,
a Python program too, noted a time for each message that a read brought it."""
INSTRUMENT: Final = replace(BTCUSDT, tick=10, lot=1)
PIECE_BYTES: Final = 64 * 1024

Record = BookUpdate | Trade


def stream(seconds: float) -> list[Record]:
    """The records of so many seconds, with the times of their reads. Raises `Unavailable` as
    `market.frames` does."""
    records: list[Record] = []
    read_ns = 0
    for each in recorded(seconds=seconds):
        assert isinstance(each, Record), "quotes were not asked for"
        if each.received_ns > read_ns + READ_NS:
            read_ns = each.received_ns
        records.append(replace(each, instrument=INSTRUMENT, received_ns=read_ns))
    return records


def kept(folder: Path, records: Sequence[Record]) -> str:
    """Keep a stream in a journal of one segment. Returns its URL."""
    header = _header_of(records)
    segment = Segment(
        RealDisk(),
        str(folder / CHANNEL / numbered(EPOCH_NS)),
        FileHeader(epoch_ns=EPOCH_NS, first_seq=1, created_ns=EPOCH_NS),
        syncs=False,
    )
    segment.open()
    segment.append([frame(START) + opening(header)])
    segment.publish()
    piece = bytearray()
    for each in _frames(records, header):
        piece += each
        if len(piece) >= PIECE_BYTES:
            segment.append([bytes(piece)])
            piece.clear()
    if piece:
        segment.append([bytes(piece)])
    segment.close()
    return f"journal://{folder}/{CHANNEL}"


def _header_of(records: Sequence[Received]) -> Header:
    book = records[0]
    assert isinstance(book, BookUpdate), "the stream begins with the whole book"
    trade = next(each for each in records if isinstance(each, Trade))
    reference = Reference(
        price=trade.price,
        quantity=trade.quantity,
        trade_id=trade.trade_id,
        time=trade.time,
        update_id=book.update_id,
    )
    return Header(
        epoch_ns=EPOCH_NS,
        next_seq=1,
        venue="binance-usdm",
        channel=CHANNEL,
        data=DataKinds.TRADES | DataKinds.BOOK_BY_PRICE,
        instruments=(INSTRUMENT,),
        references=(reference,),
    )


def _frames(records: Sequence[Record], header: Header) -> Iterator[bytes]:
    """A block for each run of trades of a read, and one for each update."""
    for (kind, received_ns), run in groupby(records, lambda each: (type(each), each.received_ns)):
        its = list(run)
        if kind is Trade:
            block = Block(
                first_seq=its[0].seq, trades=its, received_ns=received_ns, held_ns=HELD_NS
            )
            yield frame(encode_block(block, header))
            continue
        for update in its:
            book = BookBlock(
                first_seq=update.seq, updates=[update], received_ns=received_ns, held_ns=HELD_NS
            )
            yield frame(encode_book(book, header))
