"""Readers of a feed at the exchange in memory, and the oracle of P8.

A book that is built from what was published is the exchange's after every update, or its instrument
is not LIVE. One that is top only has no wrong level, and its first levels are the exchange's."""

import trio
from trio.testing import wait_all_tasks_blocked

from fanout.channel.reader import Reader
from fanout.clients.books import Books
from fanout.feed.book_edges import EXACT_LEVELS
from fanout.protocol import DataKinds, FeedState, OrderBook, Record, Request, Start, Status
from fanout.protocol.book_records import BookUpdate, OrderUpdate
from fanout.protocol.orders_book import OrdersBook
from tests.fanout.feed.running import RunningFeed
from tests.stand.loopback import Book, Exchange
from tests.stand.subscriber import Subscriber

BOOK = DataKinds.BOOK_BY_PRICE
ALL = DataKinds.TRADES | DataKinds.QUOTES | BOOK
BTC, ETH = "BTCUSDT", "ETHUSDT"


class BookReader:
    """Builds the books of a running feed, and keeps their states."""

    def __init__(self, running: RunningFeed) -> None:
        self._running = running
        self.books: dict[str, OrderBook] = {}
        self._orders: dict[str, OrdersBook] = {}
        """Of a channel with books by order."""
        self.states: dict[str, FeedState] = {}
        self.records: list[Record] = []

    def read(self) -> list[Record]:
        new = self._running.read()
        for each in new:
            if isinstance(each, BookUpdate | OrderUpdate):
                self._apply(each)
                if not each.has_more:
                    self._check(each.symbol)
            elif isinstance(each, Status) and each.instrument is not None:
                self.states[each.instrument.symbol] = each.state
            elif isinstance(each, Status) and each.state is FeedState.DOWN:
                self.states = dict.fromkeys(self.states, FeedState.DOWN)  # all are with the feed
        self.records += new
        return new

    def _apply(self, update: BookUpdate | OrderUpdate) -> None:
        if isinstance(update, BookUpdate):
            self.books.setdefault(update.symbol, OrderBook()).apply(update)
            return
        orders = self._orders.setdefault(update.symbol, OrdersBook())
        orders.apply(update)
        self.books[update.symbol] = orders.prices

    def why(self, symbol: str) -> list[str]:
        """What was said of its states."""
        return [
            f"{each.state.name} {each.why}"
            for each in self.records
            if isinstance(each, Status) and each.instrument and each.instrument.symbol == symbol
        ]

    def told(self, symbol: str = BTC) -> list[str]:
        """The names of the states that were told."""
        return [each.partition(" ")[0] for each in self.why(symbol)]

    def is_live(self, symbol: str = BTC) -> bool:
        """Whether it is LIVE. Then its book has to be the exchange's."""
        self.read()
        if self.states.get(symbol) is not FeedState.LIVE:
            return False
        assert self.books[symbol].update_id == self._running.exchange.books[symbol].update_id
        return True

    def _check(self, symbol: str) -> None:
        assert_is_the_exchanges(self.books[symbol], self._running.exchange.books[symbol])


class Joiner:
    """A reader that joins now, and keeps its books as a client does. Nobody tells it the states
    from before, so any book that it shows is taken for the exchange's of now."""

    def __init__(self, running: RunningFeed) -> None:
        self._exchange = running.exchange
        self._reader = Reader(running.publisher)
        self._subscriber = Subscriber()
        self._subscriber.ask(Start.LIVE)
        self._books = Books()
        self._take(self._reader.greeting + self._reader.start(Request()))

    def shows(self, symbol: str = BTC) -> bool:
        """Whether it shows a book after all that was published. The book has to be the exchange's
        of now."""
        while not self._reader.has_everything:
            self._take(self._reader.next_piece())
        book = self._books[symbol]
        if book.is_known:
            self._check_newest(book.prices, self._exchange.books[symbol])
        return book.is_known

    def _take(self, data: bytes) -> None:
        for each in self._subscriber.receive(data):
            self._books.apply(each)
            for book in self._books.known:
                self._check(book.prices, self._exchange.books[book.symbol])

    def _check(self, book: OrderBook, theirs: Book) -> None:
        assert_is_the_exchanges(book, theirs)

    def _check_newest(self, book: OrderBook, theirs: Book) -> None:
        assert book.update_id == theirs.update_id


def assert_is_the_exchanges(book: OrderBook, theirs: Book) -> None:
    """The book is what the exchange's was at that update."""
    assert book.instrument is not None
    price_of, quantity_of = book.instrument.price_decimal, book.instrument.quantity_decimal
    for side, levels in zip(book.levels(), theirs.history[book.update_id], strict=True):
        shown = {str(price_of(each.price)): str(quantity_of(each.quantity)) for each in side}
        if not book.is_top_only:
            assert shown == levels
            continue
        best = sorted(levels, key=float, reverse=levels is theirs.history[book.update_id][0])
        assert list(shown)[:EXACT_LEVELS] == best[:EXACT_LEVELS]
        assert shown.items() <= levels.items()


async def settled(seconds: float = 0.0) -> None:
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()


async def going(exchange: Exchange, reader: BookReader, symbol: str = BTC) -> None:
    """Change the book once, so that it is joined."""
    exchange.change(symbol, {"61800.10": "1.000"})
    await settled()
    assert reader.is_live(symbol)
