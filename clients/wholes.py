"""What a reader that joins has to get, kept up to date from a client's records.

    wholes = Wholes()
    async for record in client:
        wholes.apply(record)
    ...
    for frame in wholes.frames(client.header, next_seq):
        send(frame)

These are the newest trade, quote and row of each symbol, and the whole books. A service makes
such a snapshot for everybody who connects. Where a stream is kept elsewhere, its writer and its
readers make it with this.

A snapshot shows only what is certain. A book that is unknown is left out, and so is one whose
symbol or feed is not LIVE (`fanout.clients.books`). After a loss quotes and rows are left out
until newer ones come. Prices and quantities in other units than the header's are left out as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from fanout.clients.books import Book, Books
from fanout.clients.outcomes import Received, Restarted
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.encoding import FORMS, snapshot_of
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Loss, Snapshot, Trade

_UNITS: Final = ("price_exponent", "quantity_exponent", "time_exponent")


class Wholes:
    """The newest trades, quotes and rows by symbol, and the books. See the module."""

    def __init__(self) -> None:
        self._trades: dict[str, Trade] = {}
        self._quotes: dict[str, Quote] = {}
        self._rows: dict[str, FeatureRow] = {}
        self._books = Books()

    @property
    def is_amid(self) -> bool:
        """Whether a book waits for the rest of an update, or for the first numbered record after a
        lost connection. It is left out of a snapshot now, and may be in the next one."""
        return bool(self._books.paused)

    def apply(self, record: Received) -> None:
        """Take the next record. Every record counts, in the order in which the client gives them.
        Raises `LimitExceededError` for an update that takes a book over MAX_BOOK_LEVELS; the book
        is unknown then, and the next record can be applied."""
        match record:
            case Trade():
                self._take_trade(record)
            case Quote():
                self._quotes[record.instrument.symbol] = record
            case FeatureRow():
                self._rows[record.instrument.symbol] = record
            case Snapshot(trades=trades):
                self._trades.update([(each.instrument.symbol, each) for each in trades])
            case Loss() | Restarted():
                self._quotes.clear()
                self._rows.clear()
        self._books.apply(record)

    def _take_trade(self, trade: Trade) -> None:
        """A trade that was back-filled may be older than the newest one."""
        symbol = trade.instrument.symbol
        if trade.back_filled:
            newest = self._trades.get(symbol)
            if newest is not None and newest.time_ms > trade.time_ms:
                return
        self._trades[symbol] = trade

    def frames(self, header: Header, next_seq: int) -> Iterator[bytes]:
        """The frames, each with its length, for a reader that has this header and goes on at
        `next_seq`. Trades come first, then quotes, rows and books. They are of one moment if
        no record is applied before the last frame is made."""
        ours = {each.symbol: each for each in header.instruments}
        states = ((Trade, self._trades), (Quote, self._quotes), (FeatureRow, self._rows))
        for kind, newest in states:
            records = _in_units_of(ours, newest)
            for part in FORMS[kind].divided(records) if records else ():
                yield snapshot_of(kind, part, next_seq, header)
        for book in self._books.known:
            instrument = ours.get(book.symbol)
            if instrument is not None and _have_one_unit(instrument, book.instrument):
                for update in _whole(book):
                    its = msgspec.structs.replace(update, instrument=instrument)
                    yield snapshot_of(type(its), [its], next_seq, header)


def _in_units_of(ours: dict[str, Instrument], newest: Mapping[str, Any]) -> list[Any]:
    """The newest records whose units are those of our instruments, in the order of these."""
    return [
        msgspec.structs.replace(newest[symbol], instrument=each)
        for symbol, each in ours.items()
        if symbol in newest and _have_one_unit(each, newest[symbol].instrument)
    ]


def _have_one_unit(one: Instrument, other: Any) -> bool:
    return all(getattr(one, each) == getattr(other, each) for each in _UNITS)


def _whole(book: Book) -> Iterator[BookUpdate | OrderUpdate]:
    """The updates that make the book elsewhere, of the kind that the channel has."""
    orders = book.orders
    yield from book.prices.pieces() if orders is None else orders.whole()
