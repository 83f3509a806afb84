"""Order books that follow a stream, and show only what they know.

    from fanout.clients.books import Books
    from fanout.clients.tcp import TcpClient

    with TcpClient("tcp://127.0.0.1:9000") as client:
        books = Books(client)
        for record in books:  # the client's records, each after it was applied
            book = books["BTCUSDT"]
            if book.is_known:
                print(book.best_bid, book.best_ask)

With an asyncio or a trio client the loop is `async for`. A program with a loop of its own makes
`Books()`, and calls `apply` with every record in order.

A book is known once a whole book has come. It is unknown again

    after a Loss or a Restarted                                 until the next whole book
    after a Status other than LIVE, of its symbol or the feed   until the Status is LIVE
    from an update that is to be continued                      until the last part of it
    after a Disconnected or an End                              until the next numbered record

When the feed is DOWN, all its symbols are, without a Status of their own. Each of them is shown
again with its own LIVE.

An unknown book shows no levels. A service whose own book may miss something sends a whole book, and
then LIVE. After a mere silence it sends LIVE alone, so the levels are kept meanwhile. They are kept
while the client reconnects, too: if no record was lost, they are shown again from the first
numbered record on. If some were lost, the `Loss` comes before that record.

Whole books come in two ways. Some are numbered, and stand at their place in the stream. Those of a
*snapshot*, for a reader that joins or lost something, have no number. A snapshot is as new as the
service could make it, so it may be newer than the updates behind it. These are in the book already:
their update id is not above the book's. They are ignored, until the first that is above.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Final

from fanout.clients.client import AsyncClient, BlockingClient
from fanout.clients.outcomes import Disconnected, Received, Restarted, UnknownSymbolError
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, Level, OrderUpdate, Quote
from fanout.protocol.constants import MAX_BOOK_LEVELS, BookFlags, FeedState
from fanout.protocol.errors import CallerError, FanoutError, UnknownBookError
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.records import End, Gap, Loss, Skipped, Status, Trade

_NONE: Final = BookFlags.NONE
"""A name of its own, since an enumeration's members are slow to look up."""

_UPDATES: Final = (BookUpdate, OrderUpdate)
"""Made once: a union in the place of it would be made for every record."""

_NO_BOOK: Final = OrderBook()
"""Shown in place of an unknown book."""


class _Filling(Enum):
    """Where the rest of an update has to come from."""

    NOTHING = 0
    SNAPSHOT = 1
    STREAM = 2


# Why a book is hidden that has levels. Bits, so that a reason can go while another stays.
_AWAY: Final = 1
"""The connection was lost, and nothing has shown yet if records were lost too."""
_SYMBOL: Final = 2
"""The newest Status of the symbol is not LIVE."""
_FEED: Final = 4
"""The newest Status of the whole feed is not LIVE."""


class Book:
    """The order book of one symbol. Prices and quantities are integers at the exponents of
    `instrument`, which turns them into text and decimals.

    `Books` makes one object for each symbol, and keeps it, whether the book is known or not.
    """

    __slots__ = ("_filling", "_hidden", "_is_steady", "_joins", "_orders", "_prices", "symbol")

    def __init__(self, symbol: str, hidden: int = 0) -> None:
        self.symbol = symbol
        self._prices = OrderBook()
        self._orders: OrdersBook | None = None
        """The book by order, whose sums `_prices` then has. None for a book by price."""
        self._filling = _Filling.NOTHING
        self._joins = False
        """Whether the book is a snapshot, and no update above it has come."""
        self._hidden = hidden
        """The reasons for which it is hidden."""
        self._is_steady = False
        """Whether an ordinary update by price can be applied without asking more."""

    def __repr__(self) -> str:
        return repr(self._prices) if self.is_known else f"<Book of {self.symbol}, unknown>"

    @property
    def is_known(self) -> bool:
        """Whether this is the venue's book after the newest update."""
        return not self._hidden and self._prices.is_consistent

    @property
    def is_live(self) -> bool:
        """Whether the newest Status of the symbol, and of the whole feed, is LIVE, or none has come
        since the last Loss or Restarted."""
        return not self._hidden & (_SYMBOL | _FEED)

    @property
    def is_paused(self) -> bool:
        """Whether the book is unknown only until the rest of an update has come, or the first
        numbered record after a lost connection. If it is known next, it has missed nothing. If
        something was lost, it is no longer paused."""
        return not self.is_known and not self._hidden & ~_AWAY and self._is_begun

    @property
    def is_ahead(self) -> bool:
        """Whether the book is that of a snapshot, and updates that it has already may follow."""
        return self._joins

    @property
    def prices(self) -> OrderBook:
        """The `OrderBook`, for depth, sums, the price of a sweep and more. It is for reading, and
        only until the next record. It has no levels while the book is unknown."""
        return self._prices if self.is_known else _NO_BOOK

    @property
    def orders(self) -> OrdersBook | None:
        """The book of single orders, likewise. None while it is unknown, and for one by price."""
        return self._orders if self.is_known else None

    @property
    def instrument(self) -> Instrument | None:
        """The instrument of the newest update. None before the first."""
        return self._prices.instrument

    @property
    def best_bid(self) -> Level | None:
        """The highest bid. None if there is none, or the book is unknown."""
        # As in `prices`, without its two calls: they would take as long as the rest.
        prices = self._prices
        return None if self._hidden or not prices.is_consistent else prices.best_bid

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask. None if there is none, or the book is unknown."""
        prices = self._prices
        return None if self._hidden or not prices.is_consistent else prices.best_ask

    @property
    def update_id(self) -> int:
        """The venue's number of the book's state. 0 while the book is unknown."""
        return self.prices.update_id

    @property
    def time(self) -> int:
        """The venue's time of the newest update. 0 while the book is unknown."""
        return self.prices.time

    def levels(self, count: int = MAX_BOOK_LEVELS) -> tuple[list[Level], list[Level]]:
        """The first bids and the first asks, from the best outwards."""
        return self.prices.levels(count)

    def _forget(self) -> None:
        """Make the book unknown until the next whole one."""
        self._filling = _Filling.NOTHING
        self._joins = self._is_steady = False
        self._hidden &= ~_AWAY
        if self._orders is not None:
            self._orders.clear()
        self._prices.clear()

    def _take(self, update: BookUpdate | OrderUpdate) -> None:
        """Apply an update, unless it is in the book already or the book it changes is unknown."""
        if self._is_steady and update.flags is _NONE and update.seq and type(update) is BookUpdate:
            self._apply(update)
            return
        if isinstance(update, OrderUpdate) is (self._orders is None):
            # A channel may have both kinds. The first whole book decides which one is followed.
            if self._is_begun or not update.is_whole:
                return
            self._orders = OrdersBook() if isinstance(update, OrderUpdate) else None
            self._prices = OrderBook() if self._orders is None else self._orders.prices
        if not update.seq:
            self._take_snapshot(update)
        elif update.is_whole:
            self._begin(update, _Filling.STREAM, joins=False)
        elif self._is_begun:
            self._follow(update)

    def _follow(self, update: BookUpdate | OrderUpdate) -> None:
        if self._joins and update.update_id <= self._prices.update_id:
            return
        if self._filling is _Filling.SNAPSHOT:
            self._forget()  # the rest of the snapshot should have come before this
        else:
            self._begin(update, _Filling.STREAM, joins=False)

    def _take_snapshot(self, update: BookUpdate | OrderUpdate) -> None:
        is_filling = self._filling is _Filling.SNAPSHOT
        if update.is_whole:
            is_wanted = is_filling or not self._is_begun
            if is_wanted or update.update_id > self._prices.update_id:
                self._begin(update, _Filling.SNAPSHOT, joins=True)
        elif is_filling and update.update_id == self._prices.update_id:
            self._begin(update, _Filling.SNAPSHOT, joins=True)

    @property
    def _is_begun(self) -> bool:
        """Whether a whole book has come, or the first part of one."""
        return self._filling is not _Filling.NOTHING or self._prices.is_known

    def _begin(self, update: BookUpdate | OrderUpdate, way: _Filling, *, joins: bool) -> None:
        """Apply an update, and note what has to follow it."""
        if not self._apply(update):
            return
        self._joins = joins
        self._filling = way if update.has_more else _Filling.NOTHING
        self._is_steady = not joins and self._filling is _Filling.NOTHING and self._orders is None
        if update.is_whole:
            self._hidden &= ~_AWAY

    def _apply(self, update: BookUpdate | OrderUpdate) -> bool:
        """Returns whether the book could take the update."""
        try:
            if isinstance(update, BookUpdate):
                self._prices.apply(update)
            else:
                assert self._orders is not None, "`_take` has made it"
                self._orders.apply(update)
        except UnknownBookError:
            self._forget()  # the exponents have changed, and the levels were at the old ones
            return False
        except BaseException:
            self._forget()  # an interrupt may have cut the update in two
            raise
        return True


class Books:
    """The books of a stream, by symbol. See the module.

    Iterating gives the client's records, each after it was applied. An interrupt loses no record:
    catch it, and iterate on. An update that takes a book over MAX_BOOK_LEVELS raises
    `LimitExceededError`; its book is unknown then, and the iteration can go on.
    """

    def __init__(self, client: BlockingClient | AsyncClient | None = None) -> None:
        self._client = client
        self._books: dict[str, Book] = {}
        self._is_away = False
        """Whether the connection was lost, and no numbered record has come since."""
        self._hidden = 0
        """The reasons for which a book is hidden that has not been made yet."""
        self._taken: Received | None = None
        """A record from the client that was not handed over yet."""

    def __getitem__(self, symbol: str) -> Book:
        """The book of a symbol; an unknown one if nothing has come. Raises `UnknownSymbolError`
        once it is certain that the service does not have the symbol."""
        book = self._books.get(symbol)
        if book is None:
            self._require_served(symbol)
            book = self._made(symbol)
        return book

    def _made(self, symbol: str) -> Book:
        book = self._books[symbol] = Book(symbol, self._hidden)
        return book

    def _require_served(self, symbol: str) -> None:
        header = self._client.header if self._client is not None else None
        served = [each.symbol for each in header.instruments] if header is not None else []
        if served and symbol not in served:
            raise UnknownSymbolError(f"{symbol} is not served here: {', '.join(served)}")

    @property
    def known(self) -> list[Book]:
        """The books that are known."""
        return [each for each in self._books.values() if each.is_known]

    @property
    def paused(self) -> list[Book]:
        """The books that `Book.is_paused` speaks of."""
        return [each for each in self._books.values() if each.is_paused]

    def apply(self, record: Received) -> None:
        """Take the next record of the stream. Every record counts, not only those of books."""
        if type(record) is Trade:  # by far the most common, and `match` would come to it late
            if self._is_away:
                self._come_back()
            return
        if isinstance(record, _UPDATES):
            if self._is_away and record.seq:
                self._come_back()
            symbol = record.instrument.symbol
            book = self._books.get(symbol)
            if book is None:
                book = self._made(symbol)
            book._take(record)
            return
        match record:
            case Gap() | Skipped():
                self._come_back()
            case Quote(seq=seq) | FeatureRow(seq=seq):
                if seq:
                    self._come_back()
            case Status(instrument=instrument, state=state):
                self._come_back()
                self._turn(instrument, state)
            case Loss() | Restarted():
                self._forget()
            case Disconnected() | End():
                self._keep_back()

    def _forget(self) -> None:
        """Forget all books, and the states: a Status may have been lost as well. The whole books
        that follow are right whatever the state was."""
        self._hidden = 0
        for each in self._books.values():
            each._forget()
            each._hidden = 0

    def _turn(self, instrument: Instrument | None, state: FeedState) -> None:
        """Note the new state of an instrument, or of the feed."""
        if instrument is not None:
            book = self._books.get(instrument.symbol) or self._made(instrument.symbol)
            book._hidden &= ~_SYMBOL
            book._hidden |= 0 if state is FeedState.LIVE else _SYMBOL
            return
        reasons = 0 if state is FeedState.LIVE else _FEED
        if state is FeedState.DOWN:
            reasons |= _SYMBOL
        self._hidden = self._hidden & ~_FEED | reasons
        for each in self._books.values():
            each._hidden = each._hidden & ~_FEED | reasons

    def _keep_back(self) -> None:
        """Show no book until it is certain that no record was lost."""
        self._is_away = True
        for each in self._books.values():
            each._hidden |= _AWAY

    def _come_back(self) -> None:
        """A numbered record has come, and no loss before it: the books are as they were."""
        if self._is_away:
            self._is_away = False
            for each in self._books.values():
                each._hidden &= ~_AWAY

    # A record stays in `_taken` until the caller has it. If an interrupt cuts `apply` off, the next
    # step applies it again. Quantities are absolute, so that is harmless; and a book that was cut
    # off within an update has been forgotten.

    def __iter__(self) -> Iterator[Received]:
        return self

    def __next__(self) -> Received:
        if self._taken is None:
            client = self._client
            if not isinstance(client, BlockingClient):
                raise CallerError(f"{_named(client)}: iterate over its books with `async for`")
            try:
                for record in client:
                    self._taken = record
                    break
                else:
                    raise StopIteration
            except (FanoutError, StopIteration):
                self._keep_back()
                raise
        return self._handed_over()

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        if self._taken is None:
            client = self._client
            if not isinstance(client, AsyncClient):
                raise CallerError(f"{_named(client)}: iterate over its books with `for`")
            try:
                async for record in client:
                    self._taken = record
                    break
                else:
                    raise StopAsyncIteration
            except (FanoutError, StopAsyncIteration):
                self._keep_back()
                raise
        return self._handed_over()

    def _handed_over(self) -> Received:
        record = self._taken
        assert record is not None, "it was just taken"
        try:
            self.apply(record)
        except FanoutError:
            self._taken = None  # applied again, it would be refused again
            raise
        self._taken = None
        return record


def _named(client: object) -> str:
    return "these books have no client" if client is None else type(client).__name__
