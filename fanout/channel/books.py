"""The order books of a channel, as its readers have them, and how a reader that joins gets them.

The feed keeps the books here, and changes one only together with what it publishes. So between two
checkpoints they are what a reader has that has read the whole log.

A reader that joins gets the whole books without numbers, a few at a time, and a deep book piece by
piece. Between two pieces the service sends what is new to the other readers. So a later book may be
newer than the place in the log where the reader goes on. The reader then ignores what that book has
already. A book that does not change is encoded once for each header, however many readers join.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, OrderUpdate
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.encoding import LONGEST_BYTES, shorter, snapshot_of
from fanout.protocol.framing import frame
from fanout.protocol.instrument import Instrument
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.records import Header
from fanout.protocol.runs import renumbered

AnyBook = OrderBook | OrdersBook
"""By price, or by order."""


class WholeBook:
    """A book as it was at one moment, encoded piece by piece for all readers with one header.

    All pieces of a book have to be of the same moment, and a busy book changes before its last
    piece is encoded. So the levels are copied once, which is quicker than encoding them. Each piece
    is encoded when the first reader comes to it.

    A reader gets no numbered frame between two pieces. Those that come meanwhile follow the book,
    and the reader ignores the ones that the book has already.
    """

    def __init__(
        self, book: AnyBook, header: Header, *, longest_bytes: int = LONGEST_BYTES
    ) -> None:
        """`longest_bytes` limits the frame of a piece, its length included."""
        self.header = header
        self._longest_bytes = longest_bytes
        self._parts: deque[BookUpdate | OrderUpdate] = deque()
        """The rest of an update that is too long for one frame."""
        self._updates: Iterator[BookUpdate | OrderUpdate] = (
            book.pieces() if isinstance(book, OrderBook) else iter(book.whole())
        )
        self._pieces: list[tuple[int, bytes]] = []
        """Encoded so far, each with the number that it says follows. That number is all that
        readers at other places have differently."""
        self.is_encoded = False
        """Whether all pieces are."""

    def piece(self, place: int, next_seq: int) -> bytes:
        """The frame of one piece, which is encoded unless it was before, for a reader that goes on
        at this number. The piece before has to have been asked for."""
        if place == len(self._pieces):
            update, made = self._next_piece(next_seq)
            self._pieces.append((next_seq, made))
            self.is_encoded = not update.has_more
        made_for, made = self._pieces[place]
        if made_for != next_seq:
            made = frame(renumbered(made[LENGTH_BYTES:], next_seq))
            self._pieces[place] = (next_seq, made)
        return made

    def _next_piece(self, next_seq: int) -> tuple[BookUpdate | OrderUpdate, bytes]:
        """The next update that fits a frame, and its frame."""
        update = self._parts.popleft() if self._parts else next(self._updates)
        made = snapshot_of(type(update), [update], next_seq, self.header)
        parts = shorter([update], len(made), self._longest_bytes)
        if not parts:
            return update, made
        self._parts.extendleft(part for (part,) in reversed(parts))
        return self._next_piece(next_seq)

    def is_last(self, place: int) -> bool:
        """Whether nothing follows this piece, which was asked for."""
        return self.is_encoded and place == len(self._pieces) - 1


class ChannelBooks:
    """The books by the index of their instrument, all by price or all by order."""

    def __init__(self, *, by_order: bool = False, longest_bytes: int = LONGEST_BYTES) -> None:
        """`longest_bytes` limits the frames of whole books, their length included."""
        self._by_order = by_order
        self._longest_bytes = longest_bytes
        self._books: dict[int, AnyBook] = {}
        self._encoded: dict[int, WholeBook] = {}
        self._withheld: dict[int, bool] = {}
        """The books that no reader is given now, and whether a reader was refused."""

    def of(self, index: int) -> OrderBook:
        """The book of an instrument by price, which is made unknown if there is none."""
        book = self.any_of(index)
        assert isinstance(book, OrderBook), "the channel has them by price"
        return book

    def any_of(self, index: int) -> AnyBook:
        """The same by price or by order."""
        book = self._books.get(index)
        if book is None:
            book = self._books[index] = OrdersBook() if self._by_order else OrderBook()
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

    def changed(self, updates: Sequence[BookUpdate | OrderUpdate]) -> None:
        """Note what was published. A reader that was refused a book has it now if it is whole.
        Until `release` the book stays withheld from readers that join later."""
        if self._encoded or self._withheld:
            for each in updates:
                self._encoded.pop(each.instrument.index, None)
                if each.is_whole and each.instrument.index in self._withheld:
                    self._withheld[each.instrument.index] = False

    def withhold(self, instrument: Instrument | None) -> None:
        """Give the book to no reader that joins, since its instrument, or the whole feed, is not
        LIVE."""
        for index in self._books if instrument is None else (instrument.index,):
            self._withheld.setdefault(index, False)

    def release(self, index: int) -> list[BookUpdate] | list[OrderUpdate]:
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

    def shown(self, index: int, header: Header) -> AnyBook | None:
        """A book itself, for reading, as it is now: None if it is unknown or withheld, or if the
        header has other units. It may be inconsistent, while more of an update is to come."""
        book = self._books.get(index)
        if book is None or index in self._withheld or not book.is_known:
            return None
        return book if _is_in_units_of(header, index, book.instrument) else None

    def snapshot(self, index: int, header: Header) -> WholeBook | None:
        """A whole book as it is now, for a reader with this header. None if the book is unknown or
        withheld, or if the header has other units: then the reader gets the book further on in the
        log."""
        if index in self._withheld:
            self._withheld[index] = True
            return None
        book = self.shown(index, header)
        if book is None or not book.is_consistent:
            return None
        made = self._encoded.get(index)
        if made is None or made.header is not header:
            made = WholeBook(book, header, longest_bytes=self._longest_bytes)
            self._encoded[index] = made
        return made


def _is_in_units_of(header: Header, index: int, instrument: Instrument | None) -> bool:
    if instrument is None or index >= len(header.instruments):
        return False
    other = header.instruments[index]
    return (instrument.price_exponent, instrument.quantity_exponent) == (
        other.price_exponent,
        other.quantity_exponent,
    )
