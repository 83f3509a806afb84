"""The recording of BTCUSDT in a journal, as a service keeps it, and in the form of hftbacktest: the
whole book, then updates and trades, in the order in which they came."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

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


# As hftbacktest documents its events: https://hftbacktest.readthedocs.io/en/latest/data.html
_EVENT: Final = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
_DEPTH, _TRADE, _SNAPSHOT = 1, 2, 4
_BUY, _SELL = 1 << 29, 1 << 28
_NS_PER_MS: Final = 1_000_000


def events(records: Sequence[Record]) -> NDArray[np.void]:
    """The same records as hftbacktest takes them: a row for each level and each trade. The venue's
    times are moved so that each message arrives after it was sent: the clocks differed."""
    rows = np.array([row for each in records for row in _rows(each)], _EVENT)
    ahead_ns = int((rows["exch_ts"] - rows["local_ts"]).max())
    rows["exch_ts"] -= ahead_ns + _NS_PER_MS
    return rows


def _rows(record: Record) -> Iterator[tuple[float, ...]]:
    times = record.time * _NS_PER_MS, record.received_ns
    if isinstance(record, Trade):
        kind = _TRADE | (_SELL if record.buyer_is_maker else _BUY)
        yield kind, *times, *_in_units(record.price, record.quantity), 0, 0, 0
        return
    kind = _SNAPSHOT if record.is_whole else _DEPTH
    for side, levels in ((_BUY, record.bids), (_SELL, record.asks)):
        for price, quantity in levels:
            yield kind | side, *times, *_in_units(price, quantity), 0, 0, 0


def _in_units(price: int, quantity: int) -> tuple[float, float]:
    return (
        price / 10**-INSTRUMENT.price_exponent,
        quantity / 10**-INSTRUMENT.quantity_exponent,
    )
