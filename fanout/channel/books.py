"""The order books of a channel, as its readers have them, and how a reader that joins gets them.

The feed keeps the books here, and changes one only together with what it publishes. So between two
checkpoints they are what a reader has that has read the whole log.

A reader that joins gets the whole books without numbers, a few at a time. Between two of them the
service sends what is new to everybody, so a later one may be newer than the place in the log where
the reader goes on. The reader then ignores what that book has already. A book that does not change
is encoded once, however many readers join.
"""

import msgspec

from fanout.channel.encoding import snapshot_of
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header
from fanout.protocol.runs import renumbered


class _Encoded(msgspec.Struct, frozen=True, gc=False):
    """The frames of a whole book, for readers with this header. They say which number follows,
    which is all that other readers with that header have differently."""

    header: Header
    next_seq: int
    frames: bytes


class ChannelBooks:
    """The books by the index of their instrument."""

    def __init__(self) -> None:
        self._books: dict[int, OrderBook] = {}
        self._encoded: dict[int, _Encoded] = {}
        self._withheld: dict[int, bool] = {}
        """The books that no reader is given now, and whether a reader was refused."""

    def of(self, index: int) -> OrderBook:
        """The book of an instrument, which is made unknown if there is none."""
        book = self._books.get(index)
        if book is None:
            book = self._books[index] = OrderBook()
        return book

    def forget(self, index: int) -> None:
        """Make a book unknown: its instrument has new units."""
        book = self._books.get(index)
        if book is not None:
            book.clear()
            book.instrument = None

    def clear(self) -> None:
        """Make all books unknown: another feed begins."""
        for book in self._books.values():
            book.clear()

    def changed(self, updates: list[BookUpdate]) -> None:
        """Note what was published."""
        if self._encoded or self._withheld:
            for each in updates:
                self._encoded.pop(each.instrument.index, None)
                if each.is_whole:
                    self._withheld.pop(each.instrument.index, None)

    def withhold(self, instrument: Instrument | None) -> None:
        """Give the book to no reader that joins, since its instrument, or the whole feed, is not
        LIVE."""
        for index in self._books if instrument is None else (instrument.index,):
            self._withheld.setdefault(index, False)

    def release(self, index: int) -> list[BookUpdate]:
        """Give the book to readers again, now that its instrument is LIVE. Returns the whole book
        to publish if it was withheld from a reader. Empty if the book is unknown."""
        is_missed = self._withheld.pop(index, False)
        book = self._books.get(index)
        if not is_missed or book is None or not book.is_consistent:
            return []
        return book.whole()

    def indexes(self) -> tuple[int, ...]:
        """Those of all books, the unknown included."""
        return tuple(self._books)

    def snapshot(self, index: int, header: Header, next_seq: int) -> bytes:
        """The frames of a whole book as it is now, for a reader with this header that goes on at
        this number. Empty if the book is unknown or withheld, or if the header has other units:
        then the reader gets the book further on in the log."""
        if index in self._withheld:
            self._withheld[index] = True
            return b""
        book = self._books[index]
        if not book.is_consistent or not _is_in_units_of(header, index, book.instrument):
            return b""
        made = self._encoded.get(index)
        if made is None or made.header is not header:
            made = _Encoded(header, next_seq, _encoded(book, header, next_seq))
        elif made.next_seq != next_seq:
            made = _Encoded(header, next_seq, _renumbered(made.frames, next_seq))
        self._encoded[index] = made
        return made.frames


def _is_in_units_of(header: Header, index: int, instrument: Instrument | None) -> bool:
    if instrument is None or index >= len(header.instruments):
        return False
    other = header.instruments[index]
    return (instrument.price_exponent, instrument.quantity_exponent) == (
        other.price_exponent,
        other.quantity_exponent,
    )


def _encoded(book: OrderBook, header: Header, next_seq: int) -> bytes:
    return b"".join([snapshot_of(BookUpdate, [each], next_seq, header) for each in book.whole()])


def _renumbered(frames: bytes, next_seq: int) -> bytes:
    return b"".join([frame(renumbered(each, next_seq)) for each in payloads_of(frames)])
