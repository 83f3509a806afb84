"""The books of a replay, for REST and for greetings: the recorded snapshot, and the recorded
updates since.

A replay sends recorded updates as they are, and needs no book for them. A snapshot is another
matter: a recording has few, and clients want theirs at any time. So a book begins with the first
recorded snapshot of its symbol, and follows the updates that are sent. Until a later update comes,
REST answers with the recorded body itself. A whole book on the stream replaces the book, too.

REST has a book for each symbol, which follows all streams of updates. A greeting has one for its
stream, which follows only that, and is not known before the stream has brought a whole book.

A book costs nothing until somebody asks for it. Then the files are read again up to where the
replay is, which takes seconds in the middle of a long recording, and blocks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Final

from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.books import Moment, Rows, Ticks
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import RecordedBook, RecordedLevels, RecordedMessage
from fanout.simulator.market.ticks import DEPTH, Quote, Tick, stream_of, symbol_of_book

ReadLevels = Callable[[bytes], RecordedLevels]
"""The levels of an update or of a whole book, as a dialect finds them. Raises ValueError."""

Message = RecordedMessage | RecordedBook

FIXED: Final = "faults that change books are refused for a recording"


class RecordedBooks:
    """`first` has the first recorded book of each symbol. `sent` returns all messages of books from
    the beginning of the recording up to where the replay is."""

    can_change = False

    def __init__(
        self,
        read: ReadLevels,
        first: Mapping[str, bytes],
        sent: Callable[[], Iterable[Message]],
    ) -> None:
        self._read = read
        self._first = first
        self._sent = sent
        self._books: dict[str, _Book] = {}  # by symbol for REST, by stream for greetings

    @property
    def active(self) -> bool:
        return bool(self._books)

    def start(self, listing: Listing, price: str, at: Moment) -> None:
        """A subscription needs no book. `snapshot` makes it."""

    def is_started(self, symbol: str) -> bool:
        return False

    def is_due(self, now_ns: int) -> bool:
        return False

    @property
    def next_ns(self) -> int:
        raise AssertionError("no book of a recording is due")

    def due(self, now_ns: int) -> Iterator[Tick]:
        return iter(())

    def before(self, symbol: str, rows: Rows, *, buys: bool, at: Moment) -> Ticks:
        return []

    def after(self, symbol: str, rows: Rows, *, buys: bool, at: Moment) -> Ticks:
        return []

    def replayed(self, tick: Tick) -> None:
        symbol = symbol_of_book(tick.stream)
        if symbol is not None and tick.recorded is not None:
            kind = tick.stream.partition("@")[2]
            self._follow(RecordedMessage(symbol, kind, tick.recorded))

    def met(self, book: RecordedBook) -> None:
        """The replay has come to a recorded snapshot."""
        self._follow(book)

    def snapshot(self, symbol: str, limit: int, until_ms: int | None) -> Snapshot:
        book = self._books.get(symbol)
        if book is None:
            book = _Book(self._read)
            if symbol in self._first:
                book.replace(self._first[symbol])
            self._books[symbol] = self._caught_up(book, symbol, None)
        return book.snapshot(limit)

    def whole(self, stream: str) -> Snapshot | None:
        """All levels after the last update of a stream that has been sent; None before the stream
        has brought a whole book."""
        book = self._books.get(stream)
        if book is None:
            symbol, _, kind = stream.partition("@")
            book = self._books[stream] = self._caught_up(_Book(self._read), symbol, kind)
        return book.snapshot(None) if book.is_known else None

    def best(self, symbol: str) -> Quote | None:
        """None: a recording repeats its quotes itself."""
        return None

    def jump(self, symbol: str, by: int, at: Moment) -> Ticks:
        raise AssertionError(FIXED)

    def restart(self, symbol: str, at: Moment) -> Ticks:
        raise AssertionError(FIXED)

    def empty(self, symbol: str, at: Moment) -> Ticks:
        raise AssertionError(FIXED)

    def deepen(self, symbol: str, levels: int, at: Moment) -> Ticks:
        raise AssertionError(FIXED)

    def relist(
        self, symbol: str, listing: Listing, price: str, *, is_trading: bool, at: Moment
    ) -> Ticks:
        return []

    def _caught_up(self, book: "_Book", symbol: str, kind: str | None) -> "_Book":
        """The book after what the replay has sent: of one stream, or of the symbol."""
        for message in self._sent():
            if message.symbol == symbol and _is_for(kind, message):
                _take(book, message)
        return book

    def _follow(self, message: Message) -> None:
        if (book := self._books.get(message.symbol or "")) is not None:
            _take(book, message)
        if isinstance(message, RecordedMessage):
            stream = stream_of(message.symbol, message.kind)
            if (book := self._books.get(stream)) is not None:
                _take(book, message)


def _is_for(kind: str | None, message: Message) -> bool:
    return kind is None or (isinstance(message, RecordedMessage) and message.kind == kind)


def _take(book: "_Book", message: Message) -> None:
    with suppress(ValueError):  # a message that cannot be read is replayed all the same
        if isinstance(message, RecordedBook):
            book.replace(message.body)
        elif message.kind.startswith(DEPTH):
            book.change(message.payload)


class _Book:
    """Levels as the recording spells them, by their prices."""

    def __init__(self, read: ReadLevels) -> None:
        self._read = read
        self.is_known = False
        """Whether the stream has brought a whole book."""
        self._last_id = 0
        self._time_ms = 0
        self._raw: bytes | None = None
        self._sides: tuple[_Side, _Side] = ({}, {})

    def replace(self, body: bytes) -> None:
        levels = self._read(body)
        if levels.last_id < self._last_id:
            return
        self._sides = ({}, {})
        self._apply(levels)
        self._raw = body

    def change(self, payload: bytes) -> None:
        """An update without an id is always the next one."""
        levels = self._read(payload)
        if levels.is_whole:
            self._sides, self.is_known = ({}, {}), True
        elif levels.last_id and levels.last_id <= self._last_id:
            return
        self._apply(levels)
        self._raw = None

    def snapshot(self, limit: int | None) -> Snapshot:
        bids, asks = self._sides
        first_bids = [bids[key] for key in sorted(bids, reverse=True)[:limit]]
        first_asks = [asks[key] for key in sorted(asks)[:limit]]
        return Snapshot(self._last_id, self._time_ms, first_bids, first_asks, self._raw)

    def _apply(self, levels: RecordedLevels) -> None:
        self._last_id, self._time_ms = levels.last_id, levels.time_ms
        for side, rows in zip(self._sides, (levels.bids, levels.asks), strict=True):
            for price, quantity in rows:
                if quantity.strip("0."):
                    side[Decimal(price)] = price, quantity
                else:
                    side.pop(Decimal(price), None)


_Side = dict[Decimal, tuple[str, str]]
