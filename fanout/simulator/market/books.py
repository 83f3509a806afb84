"""The books of a market: when makers act, and which messages follow from it.

`Books` is what the engine needs of them. `SyntheticBooks` makes a book up under the trades of each
symbol, `recorded_books` follows a recording. A book costs nothing until somebody subscribes to one
of its streams or requests a snapshot. From then on it follows all trades of its symbol.

Of each transaction follow a quote, if the best levels have changed; an update on the stream without
an interval; and a part of the next update of every stream with one. Messages that nobody has
subscribed to are not made.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import ceil
from typing import Final, NamedTuple, Protocol

import msgspec

from fanout.simulator.market.book import Book, Fill, Snapshot, Transaction, sweeps_of
from fanout.simulator.market.clock import NS_PER_MS, NS_PER_S
from fanout.simulator.market.levels import Level
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import (
    BOOKS,
    QUOTE,
    BookRules,
    Depth,
    Quote,
    Tick,
    depth_kind,
    stream_of,
)

MOST_UPDATES_PER_S: Final = 20.0
"""By makers, for one symbol. Recordings of BTCUSDT have 19 updates a second in all."""
WEIGHT_OF_MOST: Final = 40.0
"""The share of a market's trades, in parts, of a symbol with the most updates."""
LEAST_UPDATES_PER_S: Final = 1.0
MEAN_CHANGES: Final = 30.0
MOST_CHANGES: Final = 200
GRAIN_NS: Final = NS_PER_MS
"""Books that are due within it act together, which saves a busy market many wake-ups."""

Ticks = list[Tick]
Rows = Sequence[tuple[str, str]]
"""Prices and quantities, as the venue spells them."""


class Books(Protocol):
    """All calls with a symbol but `start` and `snapshot` are about one that has been started."""

    @property
    def can_change(self) -> bool:
        """Whether faults can change the books. Those of a recording cannot be changed."""

    @property
    def active(self) -> bool:
        """Whether any book has been started."""

    def start(self, listing: Listing, price: str, at: "Moment") -> None:
        """Begin a symbol's book, unless it is there. `price` is that of its latest trade."""

    def is_started(self, symbol: str) -> bool: ...

    def is_due(self, now_ns: int) -> bool: ...

    @property
    def next_ns(self) -> int:
        """When the first book is due. Called only if one is."""

    def due(self, now_ns: int) -> Iterator[Tick]:
        """What makers do, and the updates of the streams with intervals, up to now."""

    def before(self, symbol: str, rows: Rows, *, buys: bool, at: "Moment") -> Ticks:
        """Called before the first trade of a sweep, with the prices and quantities of its fills."""

    def after(self, symbol: str, rows: Rows, *, buys: bool, at: "Moment") -> Ticks:
        """Called after the last trade of a sweep."""

    def replayed(self, tick: Tick) -> None:
        """Called for each recorded message of a book that is sent."""

    def snapshot(self, symbol: str, limit: int, until_ms: int | None) -> Snapshot: ...

    def whole(self, stream: str) -> Snapshot | None:
        """The levels that a stream shows, after its last update that has been sent; None if the
        book is not known."""

    def best(self, symbol: str) -> Quote | None:
        """The newest quote, or the one that the book makes now; None if the book is not known."""

    def jump(self, symbol: str, by: int, at: "Moment") -> Ticks: ...

    def restart(self, symbol: str, at: "Moment") -> Ticks:
        """The update ids begin anew at 1."""

    def empty(self, symbol: str, at: "Moment") -> Ticks: ...

    def deepen(self, symbol: str, levels: int, at: "Moment") -> Ticks: ...

    def relist(
        self, symbol: str, listing: Listing, price: str, *, is_trading: bool, at: "Moment"
    ) -> Ticks:
        """The listing has changed: units, the symbol, or whether it trades."""


class Moment(NamedTuple):
    """A moment of the market: since the opening, and as unix time."""

    due_ns: int
    time_ms: int


class _Batch:
    """The next update of a stream with an interval."""

    def __init__(self, first: Transaction) -> None:
        self.first_id, self.previous_id = first.first_id, first.previous_id
        self.touched: dict[tuple[bool, int], int] = {}
        """The levels that have changed, and their quantities before."""
        self.latest = first

    def add(self, transaction: Transaction) -> None:
        self.latest = transaction
        for is_bid, price, before in transaction.changes:
            self.touched.setdefault((is_bid, price), before)


class _Kept:
    """A book, and its messages to come."""

    def __init__(
        self, symbol: str, book: Book, updates_per_s: float, intervals_ms: tuple[int, ...]
    ) -> None:
        self.symbol = symbol
        self.book = book
        self.gap_ns = NS_PER_S / updates_per_s
        self.is_trading = True
        self.is_swept = False  # between the first and the last trade of a sweep
        self.quoted: tuple[Level | None, Level | None] = (None, None)
        self.quote: Quote | None = None
        """The newest one that was sent, with the best levels in `quoted`."""
        self.batches: dict[int, _Batch] = {}
        self.number = dict.fromkeys(intervals_ms, book.last_id)
        """Of the last update of each stream."""


class SyntheticBooks:
    """`heard` says whether a stream has subscribers, and `offset_ms` how wrong the venue's clock
    is. `open` sets the unix time of the market's opening."""

    can_change = True

    def __init__(
        self,
        rules: BookRules,
        seed: int,
        heard: Callable[[str], bool],
        offset_ms: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._seed = seed
        self._heard = heard
        self._offset_ms = offset_ms
        self._origin_ms = 0
        self._now_ns = 0
        self._books: dict[str, _Kept] = {}
        self._started = 0
        self._due: list[tuple[float, int, _Kept | int]] = []  # a book's makers, or an interval

    @property
    def active(self) -> bool:
        return bool(self._books)

    def open(self, origin_ms: int) -> None:
        self._origin_ms = origin_ms

    def is_started(self, symbol: str) -> bool:
        return symbol in self._books

    def start(self, listing: Listing, price: str, at: Moment) -> None:
        symbol = listing.symbol
        if symbol in self._books:
            return
        self._now_ns = max(self._now_ns, at.due_ns)
        if not self._books:
            for interval_ms in filter(None, self._rules.intervals_ms):
                self._schedule(self._now_ns + interval_ms * NS_PER_MS, -interval_ms, interval_ms)
        dice = random.Random(f"{self._seed}/book/{symbol}")
        book = Book(listing, price, dice, is_contiguous=self._rules.is_contiguous)
        book.time_ms = at.time_ms
        share = (listing.weight or WEIGHT_OF_MOST) / WEIGHT_OF_MOST
        rate = min(max(share * MOST_UPDATES_PER_S, LEAST_UPDATES_PER_S), MOST_UPDATES_PER_S)
        kept = self._books[symbol] = _Kept(symbol, book, rate, self._rules.intervals_ms)
        kept.quoted = book.bids.best(), book.asks.best()
        self._started += 1
        self._schedule(self._now_ns + self._gap_ns(kept), self._started, kept)

    def is_due(self, now_ns: int) -> bool:
        return bool(self._due) and self._due[0][0] <= now_ns

    @property
    def next_ns(self) -> int:
        return ceil(self._due[0][0])

    def due(self, now_ns: int) -> Iterator[Tick]:
        while self.is_due(now_ns):
            due_ns, order, what = heapq.heappop(self._due)
            # A book that starts while the market waits for a trade has makers only after it.
            self._now_ns = max(self._now_ns, int(due_ns))
            moment = Moment(self._now_ns, self._time_ms(self._now_ns))
            if isinstance(what, int):
                self._schedule(due_ns + what * NS_PER_MS, order, what)
                for kept in tuple(self._books.values()):
                    if kept.book.is_open:
                        # The rest of what a snapshot began: an update has the ids of both.
                        kept.book.move(2)
                        yield from self._closed(kept, moment)
                    yield from self._flushed(kept, what, moment)
            else:
                self._schedule(due_ns + self._gap_ns(what), order, what)
                if what.is_trading:
                    what.book.move(_changes(what.book))
                    yield from self._closed(what, moment)

    def before(self, symbol: str, rows: Rows, *, buys: bool, at: Moment) -> Ticks:
        kept = self._books[symbol]
        fills = _fills(kept.book, rows)
        self._now_ns = max(self._now_ns, at.due_ns)
        kept.is_swept = True
        first = next(sweeps_of(fills, buys=buys), None)
        if first is None:
            return []
        kept.book.prepare(first, buys=buys)
        return self._closed(kept, at)

    def after(self, symbol: str, rows: Rows, *, buys: bool, at: Moment) -> Ticks:
        """Prepares as well: a fault may have changed the sweep, or the book, in the meantime."""
        kept = self._books[symbol]
        kept.is_swept = False
        ticks: Ticks = []
        for part in sweeps_of(_fills(kept.book, rows), buys=buys):
            kept.book.prepare(part, buys=buys)
            ticks += self._closed(kept, at)
            kept.book.take(part, buys=buys)
            ticks += self._closed(kept, at)
        return ticks

    def replayed(self, tick: Tick) -> None:
        raise AssertionError("a synthetic market replays nothing")

    def snapshot(self, symbol: str, limit: int, until_ms: int | None) -> Snapshot:
        """Now, every other snapshot lies inside the next update: makers have begun to act."""
        kept = self._books[symbol]
        is_quiet = kept.is_trading and not kept.is_swept
        if until_ms is None and is_quiet and kept.book.dice.random() < 0.5:
            kept.book.move(3)
        return kept.book.snapshot(limit, until_ms)

    def whole(self, stream: str) -> Snapshot | None:
        symbol, _, kind = stream.partition("@")
        kept, limit = self._books[symbol], self._rules.levels
        for interval_ms, number in kept.number.items():
            if depth_kind(interval_ms) == kind:
                batch = kept.batches.get(interval_ms)
                since = (batch.touched, batch.previous_id) if batch else ()
                found = kept.book.whole(*since, limit=limit)
                return msgspec.structs.replace(found, number=number)
        return kept.book.whole(limit=limit)

    def best(self, symbol: str) -> Quote | None:
        kept = self._books[symbol]
        if kept.quote is not None and kept.quoted == (kept.book.bids.best(), kept.book.asks.best()):
            return kept.quote
        whole = kept.book.whole(limit=1)
        if not whole.bids or not whole.asks:
            return None
        time_ms = whole.time_ms + self._offset_ms()
        return Quote(time_ms, time_ms, symbol, whole.last_id, whole.bids[0], whole.asks[0])

    def jump(self, symbol: str, by: int, at: Moment) -> Ticks:
        kept = self._books[symbol]
        ticks = self._all_closed(kept, at)
        kept.batches.clear()  # what is left in them, no stream shows
        kept.book.jump(by)
        for interval_ms in kept.number:
            kept.number[interval_ms] += by
        return ticks

    def restart(self, symbol: str, at: Moment) -> Ticks:
        kept = self._books[symbol]
        ticks = self._all_closed(kept, at)
        if self._rules.is_chained_anew:
            kept.book.begin_ids_anew()
        else:
            kept.batches.clear()
            kept.book.jump(1 - kept.book.last_id)
        kept.number = dict.fromkeys(kept.number, 1)
        kept.quote = None
        return ticks

    def empty(self, symbol: str, at: Moment) -> Ticks:
        kept = self._books[symbol]
        ticks = self._closed(kept, at)
        kept.book.remove_all()
        return ticks + self._closed(kept, at)

    def deepen(self, symbol: str, levels: int, at: Moment) -> Ticks:
        kept = self._books[symbol]
        ticks = self._closed(kept, at)
        kept.book.deepen(levels)
        return ticks + self._closed(kept, at)

    def relist(
        self, symbol: str, listing: Listing, price: str, *, is_trading: bool, at: Moment
    ) -> Ticks:
        """With other units all levels go, in the old units, and come again in the new ones."""
        kept, old = self._books[symbol], self._books[symbol].book.listing
        ticks = self._all_closed(kept, at)
        if listing.symbol != symbol:
            del self._books[symbol]
            kept.symbol = listing.symbol
            self._books[listing.symbol] = kept
        kept.is_trading, kept.book.listing = is_trading, listing
        if (old.tick_size, old.step_size) != (listing.tick_size, listing.step_size):
            kept.book.remove_all()
            ticks += self._all_closed(kept, at)
            kept.book.begin(listing, price)
            ticks += self._all_closed(kept, at)
        return ticks

    def _schedule(self, due_ns: float, order: int, what: _Kept | int) -> None:
        heapq.heappush(self._due, (due_ns, order, what))

    def _time_ms(self, due_ns: int) -> int:
        return self._origin_ms + due_ns // NS_PER_MS

    def _gap_ns(self, kept: _Kept) -> float:
        return kept.book.dice.expovariate(1 / kept.gap_ns)

    def _all_closed(self, kept: _Kept, at: Moment) -> Ticks:
        """With the streams that have an interval, ahead of its end."""
        ticks = self._closed(kept, at)
        for interval_ms in tuple(kept.batches):
            ticks += self._flushed(kept, interval_ms, at)
        return ticks

    def _closed(self, kept: _Kept, at: Moment) -> Ticks:
        """The messages of the transaction that ends."""
        transaction = kept.book.close(at.time_ms)
        if transaction is None:
            return []
        ticks = self._quoted(kept, at, transaction)
        for interval_ms in self._rules.intervals_ms:
            if not self._heard(stream_of(kept.symbol, depth_kind(interval_ms))):
                kept.batches.pop(interval_ms, None)
                continue
            batch = kept.batches.get(interval_ms) or _Batch(transaction)
            batch.add(transaction)
            kept.batches[interval_ms] = batch
            if not interval_ms:
                ticks += self._flushed(kept, 0, at)
        return ticks

    def _quoted(self, kept: _Kept, at: Moment, transaction: Transaction) -> Ticks:
        best = bid, ask = kept.book.bids.best(), kept.book.asks.best()
        stream = stream_of(kept.symbol, QUOTE)
        if best == kept.quoted or bid is None or ask is None or not self._heard(stream):
            return []
        kept.quoted = best
        time_ms = transaction.time_ms + self._offset_ms()
        spell = kept.book.units.spelled
        quote = Quote(
            time_ms + 1, time_ms, kept.symbol, transaction.last_id, spell(*bid), spell(*ask)
        )
        kept.quote = quote
        return [Tick(at.due_ns, stream, quote=quote)]

    def _flushed(self, kept: _Kept, interval_ms: int, at: Moment) -> Ticks:
        batch = kept.batches.get(interval_ms)
        if batch is None:
            return []
        book, offset_ms, levels = kept.book, self._offset_ms(), self._rules.levels
        bids, asks = (
            _touched(book, batch.touched, is_bid=is_bid)
            if levels is None
            else _shown(book, batch.touched, levels, is_bid=is_bid)
            for is_bid in (True, False)
        )
        if levels is not None and not bids and not asks:
            return []
        del kept.batches[interval_ms]
        kept.number[interval_ms] += 1
        depth = Depth(
            at.time_ms + offset_ms + 1,
            batch.latest.time_ms + offset_ms,
            kept.symbol,
            batch.first_id,
            batch.latest.last_id,
            batch.previous_id,
            book.spelled(bids),
            book.spelled(asks),
            _crossing(book),
            kept.number[interval_ms],
        )
        return [Tick(at.due_ns, stream_of(kept.symbol, depth_kind(interval_ms)), depth=depth)]


def with_books(ticks: Iterable[Tick], books: Books) -> Iterator[Tick]:
    """The ticks, and between them a tick of `BOOKS` whenever books are due, in order of `due_ns`.
    At that tick `Books.due` has to be called.

    So a book changes when its time has come, and its messages are sent at once. Whoever looks at a
    book between two ticks sees the one that has been sent.
    """
    for tick in ticks:
        while books.is_due(tick.due_ns):
            yield Tick(min(books.next_ns + GRAIN_NS, tick.due_ns), BOOKS)
        yield tick


def _fills(book: Book, rows: Rows) -> list[Fill]:
    """Without rows that the book cannot have, which only a fault makes."""
    fills = (book.units.fill(price, quantity) for price, quantity in rows)
    return [fill for fill in fills if fill is not None]


def _changes(book: Book) -> int:
    """How many changes makers make at once: mostly few, at times many."""
    return min(MOST_CHANGES, 1 + int(book.dice.expovariate(1 / MEAN_CHANGES)))


def _touched(book: Book, touched: Iterable[tuple[bool, int]], *, is_bid: bool) -> list[Level]:
    """The levels of one side, from the best outwards, with their quantities now."""
    side = book.bids if is_bid else book.asks
    prices = sorted((price for bid, price in touched if bid == is_bid), reverse=is_bid)
    return [Level(price, side.quantities.get(price, 0)) for price in prices]


def _shown(
    book: Book, touched: Mapping[tuple[bool, int], int], count: int, *, is_bid: bool
) -> list[Level]:
    """The changes of one side among its best `count` levels. A level that has left them has no
    quantity."""
    side = book.bids if is_bid else book.asks
    before_of = {price: before for (bid, price), before in touched.items() if bid == is_bid}
    if not before_of:
        return []
    # No more levels than were touched can have come before one that was among the best.
    near = {level.price: level.quantity for level in side.first(count + len(before_of))}
    now = dict(islice(near.items(), count))
    near |= before_of
    prices = sorted((price for price, before in near.items() if before), reverse=is_bid)
    were = set(prices[:count])
    changed = [price for price in now if price in before_of or price not in were]
    gone = were.difference(now)
    return [Level(price, now.get(price, 0)) for price in sorted([*changed, *gone], reverse=is_bid)]


def _crossing(book: Book) -> tuple[str, str] | None:
    """A bid a hundredth above the best ask, of the least quantity. The market would come to a tick
    above it soon, and the book would be wrong without a sign of it."""
    ask, tick = book.asks.best(), book.units.tick
    if ask is None:
        return None
    above = max(1, ask.price // (100 * tick)) * tick
    return book.units.spelled(ask.price + above, book.units.step)
