"""A venue whose stream brings whole books, at the exchange in memory, and readers that prove that
no published book is wrong.

The exchange tells a time of its own for each state of a book, so that the reader knows which one a
book should be, however its update ids were counted."""

import json
from typing import Any, Final

import msgspec

from fanout.protocol import DataKinds, FeedState, OrderBook, Quote, Record
from fanout.protocol.book_records import BookUpdate, OrderUpdate, pack_orders
from fanout.protocol.constants import BookFlags, Side
from fanout.venues import BinanceUsdm, Outcome, VenueItem
from fanout.venues.binance.usdm import DataDialogue
from fanout.venues.levels import packed_side
from fanout.venues.values import BookChecksum, BookSource, DepthLost, VenueDepth, VenueOrders
from tests.fanout.feed.running import RunningFeed
from tests.stand.book_reader import BookReader, Joiner
from tests.stand.loopback import Book, Exchange

_WHOLE: Final = BookFlags.WHOLE


class StreamDialogue(DataDialogue):
    """Takes whole books, changes that begin the ids anew, and checksums beside the rest."""

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        if message.startswith(b'{"stream"'):
            return super().receive(message, out)
        match msgspec.json.decode(message):
            case {"whole": symbol, "u": last_id, "T": time, "b": bids, "a": asks}:
                instrument = self._units[symbol]
                sides = (
                    packed_side(bids, instrument, Side.BID),
                    packed_side(asks, instrument, Side.ASK),
                )
                update = BookUpdate(instrument, last_id, time, *sides, _WHOLE)
                out.append(VenueDepth(update, last_id, None))
            case {"anew": symbol, "data": data}:
                change = {"stream": f"{symbol.lower()}@depth@0ms", "data": data}
                depths: list[Any] = []
                super().receive(_json(change), depths)
                out += [msgspec.structs.replace(each, resets=True) for each in depths]
            case {"sum": value, "s": symbol}:
                out.append(BookChecksum(symbol, self._units[symbol].index, value))
            case {"pauses": why, "s": symbol}:
                out.append(DepthLost(symbol, self._units[symbol].index, why))
                return Outcome(pauses=why)
            case {"lost": why, **more}:
                if more:
                    super().receive(_json(more), out)
                return Outcome(lost=why)
            case _:
                return super().receive(message, out)
        return None

    def refresh(self, symbol: str) -> tuple[str, ...]:
        names = [f"{symbol.lower()}@depth@0ms"]
        methods = ("UNSUBSCRIBE", "SUBSCRIBE")
        return tuple(json.dumps({"method": each, "params": names, "id": 9}) for each in methods)


class CountingDialogue(StreamDialogue):
    """Numbers the updates of each book itself, since its venue does not."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._counts: dict[str, int] = {}

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        items: list[VenueItem] = []
        try:
            return super().receive(message, items)
        finally:
            out += map(self._counted, items)

    def _counted(self, item: VenueItem) -> VenueItem:
        if not isinstance(item, VenueDepth):
            return item
        count = self._counts[item.symbol] = self._counts.get(item.symbol, 0) + 1
        return VenueDepth(msgspec.structs.replace(item.update, update_id=count), count, count - 1)


class StreamVenue(BinanceUsdm):
    """Its ids are the venue's, and REST has the books too."""

    book_source = BookSource.STREAM
    data_dialogue = StreamDialogue

    def checksum(self, book: OrderBook) -> int | None:
        return checksum_of(book.bid_count, book.ask_count)


class CountingVenue(StreamVenue):
    """It has no ids, and no quotes."""

    has_book_ids = False
    quotes_from_book = True
    data_dialogue = CountingDialogue

    def __init__(self, *, data: DataKinds, **more: Any) -> None:
        super().__init__(data=data, **more)
        self._streams = ("trade", "depth@0ms") if DataKinds.TRADES in data else ("depth@0ms",)


class OrdersDialogue(StreamDialogue):
    """Brings the same books by order: each level is one order, whose id is its price."""

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        items: list[VenueItem] = []
        try:
            return super().receive(message, items)
        finally:
            out += [_by_order(each) if isinstance(each, VenueDepth) else each for each in items]


class OrdersVenue(StreamVenue):
    """It has books by order, and no quotes."""

    kinds = BinanceUsdm.kinds | DataKinds.BOOK_BY_ORDER
    quotes_from_book = True
    data_dialogue = OrdersDialogue

    def __init__(self, *, data: DataKinds, **more: Any) -> None:
        super().__init__(data=data | DataKinds.BOOK_BY_PRICE, **more)
        self.data = data


def _by_order(depth: VenueDepth) -> VenueOrders:
    update = depth.update
    bids, asks = (
        pack_orders([(each.price, *each) for each in side]) for side in (update.bids, update.asks)
    )
    orders = OrderUpdate(update.instrument, update.update_id, update.time, bids, asks, update.flags)
    return VenueOrders(orders, depth.first_id, depth.previous_id, depth.resets)


def checksum_of(bids: int, asks: int) -> int:
    return 1_000 * bids + asks


def with_wholes(*symbols: str) -> Exchange:
    exchange = Exchange(*symbols)
    exchange.brings_wholes = True
    return exchange


class StreamReader(BookReader):
    """Checks the quotes too, and finds the state of the exchange by its time."""

    def __init__(self, running: RunningFeed) -> None:
        super().__init__(running)
        self.ids: dict[str, int] = {}

    def read(self) -> list[Record]:
        new = super().read()
        for each in new:
            if isinstance(each, Quote):
                self._check_quote(each)
        return new

    def is_live(self, symbol: str = "BTCUSDT") -> bool:
        self.read()
        if self.states.get(symbol) is not FeedState.LIVE:
            return False
        if symbol in self.books:
            assert self.books[symbol].time == self._running.exchange.books[symbol].time
        return True

    def _check(self, symbol: str) -> None:
        book = self.books[symbol]
        assert_is_the_exchanges(book, self._running.exchange.books[symbol])
        before = self.ids.get(symbol, -1)
        assert book.update_id > before, "readers ignore updates that are not above the book's id"
        self.ids[symbol] = book.update_id

    def _check_quote(self, quote: Quote) -> None:
        price_of, quantity_of = quote.instrument.price_decimal, quote.instrument.quantity_decimal
        bids, asks = self._running.exchange.books[quote.symbol].states[quote.time]
        bid, ask = max(bids, key=float, default=""), min(asks, key=float, default="")
        assert str(quantity_of(quote.bid_quantity)) == bids.get(bid, "0.000")
        assert str(quantity_of(quote.ask_quantity)) == asks.get(ask, "0.000")
        if bid or ask:
            assert str(price_of(quote.bid_price)) == (bid or ask)
            assert str(price_of(quote.ask_price)) == (ask or bid)


class StreamJoiner(Joiner):
    """A reader that joins now."""

    def _check(self, book: OrderBook, theirs: Book) -> None:
        assert_is_the_exchanges(book, theirs)

    def _check_newest(self, book: OrderBook, theirs: Book) -> None:
        assert book.time == theirs.time


def assert_is_the_exchanges(book: OrderBook, theirs: Book) -> None:
    """The book is what the exchange's was at that time."""
    assert book.instrument is not None
    price_of, quantity_of = book.instrument.price_decimal, book.instrument.quantity_decimal
    for side, levels in zip(book.levels(), theirs.states[book.time], strict=True):
        shown = {str(price_of(each.price)): str(quantity_of(each.quantity)) for each in side}
        assert shown == levels


def begins_anew(symbol: str, data: dict[str, object]) -> bytes:
    """The message of a change that begins the ids anew."""
    return _json({"anew": symbol, "data": data})


def shows_a_loss(why: str, symbol: str, data: dict[str, object]) -> bytes:
    """The message of a change whose number shows that others are missing."""
    return _json({"lost": why, "stream": f"{symbol.lower()}@depth@0ms", "data": data})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
