"""The books of a simulated exchange after every update, and the judge of P8: a book that a consumer
holds equals the exchange's, or it is unknown.

The exchange's books are followed at the market itself, before a fault can act on a message. Kept is
the digest of each, which is cheap and complete, and for some updates all levels: a book of which
only the top is known has no digest to compare with. Update ids say which book is compared with
which. `tests.stand.shown_books` is for venues at which they do not.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from fanout.clients.books import Book, Books
from fanout.clients.outcomes import Received
from fanout.protocol import OrderBook, Quote, Status
from fanout.protocol.book_records import BookUpdate
from fanout.simulator import Simulator
from fanout.simulator.market.book import Book as MarketBook
from fanout.simulator.market.listing import Listing, decimals
from tests.stand.raw_book import LEVEL, RawSide, digest_of

LEVELS_EVERY: Final = 8
"""Updates of a book between two whose levels are kept."""
MOST_LEVELS_KEPT: Final = 3_000
"""Of all books together, some 50 MB."""

Id = tuple[str, int]
"""Symbol and update id."""

Change = tuple[bool, int, int]
"""Whether it is a bid, its price, and its quantity now."""

Seen = dict[tuple[str, str], int]
"""The place of the newest book, or quote, among those of the exchange, by symbol and kind."""


class ExchangeBooks:
    """The quotes of some symbols that were sent, and the books of those that have them."""

    def __init__(
        self, simulator: Simulator, quoted: Sequence[str], with_books: Sequence[str]
    ) -> None:
        """To be made before the market opens. It listens at the market's own book-keeping."""
        self.symbols = with_books
        self._digests: dict[Id, int] = {}
        self._levels: dict[Id, tuple[bytes, bytes]] = {}
        self._kept: deque[Id] = deque()
        self._noted = 0
        self._quotes: dict[Id, tuple[tuple[str, str], tuple[str, str]]] = {}
        exchange = simulator._exchange
        self._trims = exchange._dialect.name != "binance-usdm"
        books: Any = exchange._engine.books
        known = frozenset(quoted)
        start, quotes_of = books.start, books._quoted

        def start_and_follow(listing: Listing, price: str, at: Any) -> None:
            is_new = listing.symbol in with_books and not books.is_started(listing.symbol)
            start(listing, price, at)
            if is_new:
                self._follow(listing, books._books[listing.symbol].book)

        def note_quotes(*arguments: Any) -> Any:
            ticks = quotes_of(*arguments)
            for quote in (tick.quote for tick in ticks):
                if quote.symbol in known and self._notes_quotes:
                    self._quotes[quote.symbol, quote.update_id] = quote.bid, quote.ask
            return ticks

        books.start, books._quoted = start_and_follow, note_quotes

    _notes_quotes = True
    _is_by_level: bool = False
    """Whether each level of a transaction is noted for itself."""

    def _follow(self, listing: Listing, book: MarketBook) -> None:
        unit = self._ticks(listing)
        bids, asks = sides = RawSide(-1), RawSide(1)

        def put(price: int, quantity: int, *, is_bid: bool) -> None:
            sides[not is_bid].put(price // unit, quantity)

        def note() -> None:
            for is_bid, price, quantity in self._in_order(book):
                put(price, quantity, is_bid=is_bid)
                if self._is_by_level:
                    self._note(book.listing, book.last_id, bids.packed, asks.packed)
            self._note(book.listing, book.last_id, bids.packed, asks.packed)

        for levels, is_bid in ((book.bids, True), (book.asks, False)):
            for price, quantity in levels.first():
                put(price, quantity, is_bid=is_bid)
        note()
        before: Any = book
        close, snapshot, jump = before.close, before.snapshot, before.jump

        def note_and_close(time_ms: int) -> Any:
            if book._open:
                note()
            return close(time_ms)

        def note_and_show(limit: int, until_ms: int | None = None) -> Any:
            note()
            return snapshot(limit, until_ms)

        def jump_and_note(by: int) -> None:
            jump(by)
            note()

        before.close, before.snapshot, before.jump = note_and_close, note_and_show, jump_and_note

    def _in_order(self, book: MarketBook) -> Iterable[Change]:
        """The levels that the open transaction has changed."""
        for is_bid, price, _ in book._open:
            yield is_bid, price, (book.bids if is_bid else book.asks).quantities.get(price, 0)

    def _note(self, listing: Listing, last_id: int, bids: bytearray, asks: bytearray) -> None:
        """The levels of a book after an update, best first."""
        at, packed = (listing.symbol, last_id), (bytes(bids), bytes(asks))
        self._digests[at] = digest_of(*packed)
        self._noted += 1
        if self._noted % LEVELS_EVERY == 0:
            self._keep(at, packed)

    def _ticks(self, listing: Listing) -> int:
        """What a price's unit is in those of the market. Spot spells zeros behind the tick."""
        size = listing.tick_size
        return 10 ** (decimals(size) - decimals(size.rstrip("0"))) if self._trims else 1

    def _keep(self, at: Id, packed: tuple[bytes, bytes]) -> None:
        self._levels[at] = packed
        self._kept.append(at)
        if len(self._kept) > MOST_LEVELS_KEPT:
            self._levels.pop(self._kept.popleft(), None)

    def fault_of_quote(self, quote: Quote) -> str:
        """In what a quote differs from the exchange's; empty if in nothing."""
        sent = self._quotes.get((quote.symbol, quote.update_id))
        of = quote.instrument
        got = (
            (of.price_decimal(quote.bid_price), of.quantity_decimal(quote.bid_quantity)),
            (of.price_decimal(quote.ask_price), of.quantity_decimal(quote.ask_quantity)),
        )
        there = sent and tuple((Decimal(price), Decimal(size)) for price, size in sent)
        return "" if got == there else f"{quote} is {there} there"

    def fault_of_known(self, book: Book, seen: Seen) -> str:
        """In what a consumer's known book differs from the exchange's; empty if in nothing. `seen`
        is what this consumer has been shown of the exchange so far."""
        return self.fault_of(book.symbol, book.prices)

    def fault_of_next(self, quote: Quote, seen: Seen) -> str:
        """In what is wrong with a quote after those that a consumer had; empty if nothing is."""
        return ""

    def fault_of(self, symbol: str, book: OrderBook) -> str:
        """In what a book differs from the exchange's; empty if in nothing. With `is_top_only` its
        best levels have to be the exchange's, and each other one has to be there."""
        at = symbol, book.update_id
        if at not in self._digests:
            return f"{symbol} was never at update {book.update_id}"
        if not book.is_top_only:
            is_same = book.digest() == self._digests[at]
            return "" if is_same else f"{book!r} differs from the exchange's"
        for ours, packed in zip(book.levels(), self._levels.get(at, ()), strict=False):
            theirs = list(LEVEL.iter_unpack(packed))
            if ours[:1] != theirs[:1] or not set(ours) <= set(theirs):
                return f"{book!r}, of which the top is known, differs from the exchange's"
        return ""


class BookKeeper:
    """The books that a consumer keeps, and what is wrong with them."""

    def __init__(self, exchange: ExchangeBooks) -> None:
        self.compared = 0
        """How often a book was compared."""
        self._exchange = exchange
        self._books = Books()
        self._seen: Seen = {}

    @property
    def symbols(self) -> Sequence[str]:
        return self._exchange.symbols

    @property
    def unknown(self) -> list[str]:
        """Symbols without a book now."""
        return [each for each in self.symbols if not self._books[each].is_known]

    def take(self, record: Received) -> Iterator[str]:
        """Apply a record, and tell of each book that is wrong after it."""
        self._books.apply(record)
        if isinstance(record, BookUpdate):
            yield from self._judged(self._books[record.symbol], record)
        elif isinstance(record, Quote) and record.seq:
            fault = self._exchange.fault_of_next(record, self._seen)
            if fault:
                yield fault
        elif isinstance(record, Status):
            for book in self._books.known:
                if record.instrument is None or record.instrument.symbol == book.symbol:
                    yield from self._judged(book)

    def _judged(self, book: Book, update: BookUpdate | None = None) -> Iterator[str]:
        if not book.is_known:
            return
        self.compared += 1
        fault = self._exchange.fault_of_known(book, self._seen)
        if not fault and update is not None and update.seq and book.update_id < update.update_id:
            fault = f"{book!r} is older than update {update.update_id}"
        if fault:
            yield fault
