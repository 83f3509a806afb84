"""The market of the exchange: all its trades, whether or not a stream sends them.

Every trade of the source is issued here: numbered and spelled by its instrument, entered in the
ledger, kept for REST, and added to its aggregate. From then on it exists. The stream faults decide
whether it is sent. Rows can be inserted at any moment, between two of the source's.

Between trades and books it is the go-between. A sweep is announced to the book of its symbol before
its first trade, and taken from it after its last one.

The listing changes here too. During a run, instruments are listed, delisted and renamed, and get
other units. The trades of a renamed instrument continue under the new symbol.
"""

from collections.abc import Callable, Iterable

import msgspec
import trio

from fanout.errors import UsageError
from fanout.simulator.faults import (
    Deepen,
    Empty,
    Insert,
    List,
    Odd,
    Relist,
    Rename,
    Renumber,
    Unchain,
)
from fanout.simulator.market.aggregate import Aggregator
from fanout.simulator.market.batch import Batcher
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.books import Books, Moment, Ticks
from fanout.simulator.market.clock import NS_PER_MS, NS_PER_S, Clock
from fanout.simulator.market.history import History
from fanout.simulator.market.instrument import Instrument
from fanout.simulator.market.ledger import AGGREGATE_KIND, Ledger
from fanout.simulator.market.listing import Listing, Quirk, listed
from fanout.simulator.market.snapshots import NO_BOOK, AgedSnapshots
from fanout.simulator.market.ticks import (
    MARKET,
    TRADE,
    Aggregate,
    Quote,
    Source,
    Tick,
    Trade,
    stream_of,
    symbol_of_book,
    tick_of,
)

MAX_SYMBOLS = 5_000
NEWEST_MS = 2**62  # later than any update: a snapshot as of then ends where an update ends


Witness = Callable[[Trade], None]


class _Sweep:
    """The trades of a sweep that have been issued, and how many are to come."""

    __slots__ = ("left", "rows")

    def __init__(self, left: int) -> None:
        self.left = left
        self.rows: list[tuple[str, str]] = []


class Engine:
    """All instruments: those of the source, and `others` that are listed and do not trade."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        *,
        kept_trades: int,
        kept_ids: int,
        books: Books,
        others: Iterable[Listing] = (),
        aggregator: Aggregator | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        self.listings = listed(source.listings, others)
        """The rows of the venue's listing now, by symbol."""
        self.quirks: dict[str, tuple[Quirk, ...]] = {}
        """The quirks of rows, by symbol."""
        self.traded = [listing.symbol for listing in source.listings]
        """The symbols that trade, those listed later included, under their present names."""
        self.former: list[str] = []
        """Names that renamed symbols had. The ledger still accounts for their ids."""
        self.aggregator = aggregator or Aggregator()
        self.batcher = batcher
        """Of a venue that sends several trades in one message."""
        self.history = History(self.listings, kept_trades)
        self.ledger = Ledger(kept_ids)
        self.witness: Witness | None = None
        """Called with each trade as it is issued, those before the opening left out."""
        self.books = books
        self.aged = AgedSnapshots()
        self._source = source
        self._clock = clock
        self._instruments = {symbol: Instrument(each) for symbol, each in self.listings.items()}
        self._by_source = dict(self._instruments)
        self._sweeps: dict[str, _Sweep] = {}  # those in progress, by the source's symbol
        self._newest_ms, self._newest_ns = clock.true_ms(), 0
        self._opened_s, self._speed = trio.current_time(), 1.0
        self._prime(source)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, also delisted ones and those that do not trade."""
        return tuple(self._instruments)

    def open(self, speed: float | None) -> None:
        """Start market time at this speed. If None, it only advances from trade to trade."""
        self._opened_s, self._speed = trio.current_time(), speed or 0.0

    def issue(self, tick: Tick) -> Tick | None:
        """The source's tick, or an aggregate's, as the exchange shows it; None if it does not."""
        trade, aggregate = tick.trade, tick.aggregate
        if aggregate is not None:
            self.ledger.issue(tick.stream, aggregate.aggregate_id, AGGREGATE_KIND)
            self.history.add_aggregate(aggregate)
            for fill in tick.others:
                self.history.add(fill)
            return tick
        if trade is None:
            if tick.recorded is not None:
                self.books.replayed(tick)
            return tick
        self._newest_ms, self._newest_ns = trade.time_ms, tick.due_ns
        issued = self._by_source[trade.symbol].issue(trade, self._clock.offset_ms)
        if issued is None:
            return None
        if tick.others:
            return self._issue_others(tick, trade, issued)
        if issued is not trade:
            tick = tick_of(tick.due_ns, issued)
        self._enter(tick.stream, tick.due_ns, issued)
        return tick

    def _issue_others(self, tick: Tick, trade: Trade, first: Trade) -> Tick:
        """A recorded message of several trades. It is sent as recorded unless a fault has changed
        one of them."""
        instrument, offset_ms = self._by_source[trade.symbol], self._clock.offset_ms
        issued = [first, *filter(None, (instrument.issue(row, offset_ms) for row in tick.others))]
        stream = stream_of(first.symbol, TRADE)
        for row in issued:
            self._enter(stream, tick.due_ns, row)
        if all(new is old for new, old in zip(issued, tick.trades, strict=True)):
            return tick
        return Tick(tick.due_ns, stream, first, others=tuple(issued[1:]))

    def before(self, tick: Tick) -> Ticks:
        """The messages of a book ahead of a trade. Called only if there are books."""
        trade = tick.trade
        if trade is None or trade.symbol in self._sweeps:
            return []
        instrument = self._by_source[trade.symbol]
        symbol = instrument.listing.symbol
        if not instrument.is_trading or not self.books.is_started(symbol):
            return []
        sweep = tick.sweep or (trade,)
        self._sweeps[trade.symbol] = _Sweep(len(sweep))
        rows = [instrument.terms(each) for each in sweep if each.kind == MARKET]
        at = Moment(tick.due_ns, trade.time_ms)
        return self.books.before(symbol, rows, buys=not trade.buyer_is_maker, at=at)

    def after(self, tick: Tick, issued: Tick | None) -> Ticks:
        """The messages of a book that follow a trade, once its sweep is over."""
        trade = tick.trade
        sweep = None if trade is None else self._sweeps.get(trade.symbol)
        if trade is None or sweep is None:
            return []
        if issued is not None and issued.trade is not None and trade.kind == MARKET:
            sweep.rows.append((issued.trade.price, issued.trade.quantity))
        sweep.left -= 1
        if sweep.left:
            return []
        del self._sweeps[trade.symbol]
        symbol = self._by_source[trade.symbol].listing.symbol
        at = Moment(tick.due_ns, trade.time_ms)
        return self.books.after(symbol, sweep.rows, buys=not trade.buyer_is_maker, at=at)

    def start_book(self, symbol: str) -> None:
        """Begin the book of a symbol that trades, unless it is there."""
        if symbol in self.traded and not self.books.is_started(symbol):
            instrument = self._instruments[symbol]
            self.books.start(instrument.listing, instrument.price, self._now())

    def snapshot(self, symbol: str, limit: int) -> Snapshot:
        """For REST, with the times of the exchange's clock."""
        if symbol not in self.traded:
            return NO_BOOK
        self.start_book(symbol)
        age_ms = self.aged.age_ms(symbol)
        until_ms = NEWEST_MS if age_ms == 0 else None
        if age_ms:
            until_ms = self._market_ms() - age_ms
        found = self.books.snapshot(symbol, limit, until_ms)
        time_ms = found.time_ms + self._clock.offset_ms
        return msgspec.structs.replace(found, time_ms=time_ms)

    def book(self, symbol: str, limit: int) -> Snapshot:
        """After the newest update, with the market's own time. No fault acts on it."""
        self.start_book(symbol)
        return self.books.snapshot(symbol, limit, NEWEST_MS)

    # What a greeting and a pulse may tell of a symbol.

    def whole(self, stream: str) -> Snapshot | None:
        """The book as the last update of a stream left it, with the times of the exchange's clock;
        None if its symbol does not trade."""
        symbol = symbol_of_book(stream)
        if symbol is None or symbol not in self.traded:
            return None
        self.start_book(symbol)
        found = self.books.whole(stream)
        if found is None:
            return None
        return msgspec.structs.replace(found, time_ms=found.time_ms + self._clock.offset_ms)

    def best(self, symbol: str) -> Quote | None:
        if symbol not in self.traded:
            return None
        self.start_book(symbol)
        return self.books.best(symbol)

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        """The newest fills, without those that a stream is still to send."""
        if symbol not in self.history.trades:
            return ()
        held = 0 if self.batcher is None else self.batcher.waiting(symbol)
        rows = self.history.newest(symbol, count + held)
        return tuple(rows[: len(rows) - held])

    def newest_aggregate(self, symbol: str) -> Aggregate | None:
        found = self.history.aggregates.get(symbol)
        return None if found is None else next(iter(found.newest(1)), None)

    def change_book(self, fault: Unchain | Empty | Deepen, symbol: str) -> Ticks:
        self.start_book(symbol)
        match fault:
            case Unchain():
                return self.books.jump(symbol, fault.by, self._now())
            case Empty():
                return self.books.empty(symbol, self._now())
            case Deepen():
                return self.books.deepen(symbol, fault.levels, self._now())

    def restart_book(self, symbol: str) -> Ticks:
        """The update ids of a book begin anew."""
        self.start_book(symbol)
        return self.books.restart(symbol, self._now())

    def insert(self, fault: Insert, symbol: str) -> list[Tick]:
        """Insert rows now, between the source's latest tick and its next one."""
        now_ms = self._market_ms() + self._clock.offset_ms
        rows = self._instruments[symbol].insert(fault, now_ms)
        ticks = [tick_of(self._newest_ns, row) for row in rows]
        for tick, row in zip(ticks, rows, strict=True):
            self._enter(tick.stream, tick.due_ns, row)
        if self.batcher is not None:
            ticks = self.batcher.together(ticks)
        if fault.kind != MARKET or not self.books.is_started(symbol):
            return ticks
        terms, at = [(row.price, row.quantity) for row in rows], self._now()
        before = self.books.before(symbol, terms, buys=False, at=at)
        return before + ticks + self.books.after(symbol, terms, buys=False, at=at)

    def renumber(self, fault: Renumber) -> Ticks:
        """Change the next id. History is ordered by id, so it is dropped if the ids start again."""
        held = self._held(fault.symbol)
        instrument = self._instruments[fault.symbol]
        if fault.next_id < instrument.next_id:
            self.history.forget(fault.symbol, 0)
            self.aggregator.close(fault.symbol)
        instrument.renumber(fault.next_id)
        return held

    def enlist(self, fault: List, like: Listing) -> None:
        """List a new instrument, which trades from now on. `like` has what the fault leaves out."""
        given = msgspec.structs.asdict(fault)
        changes = {name: value for name, value in given.items() if value is not None}
        listing = msgspec.structs.replace(like, base="", **changes)
        self._refuse_known(listing.symbol)
        self._add(listing, Instrument(listing))
        self._by_source[listing.symbol] = self._instruments[listing.symbol]
        self._source.enlist(listing)

    def rename(self, fault: Rename) -> Ticks:
        self._refuse_known(fault.to)
        held = self._held(fault.symbol)
        instrument = self._instruments.pop(fault.symbol)
        self.listings.pop(fault.symbol, None)
        self.traded = [each for each in self.traded if each != fault.symbol]
        self.former.append(fault.symbol)
        self.aggregator.close(fault.symbol)
        self._add(instrument.rename(fault.to), instrument)
        return held + self._relisted(fault.symbol, instrument)

    def relist(self, fault: Relist) -> Ticks:
        instrument = self._instruments[fault.symbol]
        self.listings[fault.symbol] = instrument.relist(fault)
        return self._held(fault.symbol) + self._relisted(fault.symbol, instrument)

    def delist(self, symbol: str) -> Ticks:
        self._instruments[symbol].delist()
        self.listings.pop(symbol, None)
        return self._held(symbol) + self._relisted(symbol, self._instruments[symbol])

    def make_odd(self, fault: Odd) -> None:
        found = self.quirks.get(fault.symbol, ())
        self.quirks[fault.symbol] = tuple(dict.fromkeys((*found, fault.how)))

    # The source's trades from before the opening, for REST only.

    def add(self, trade: Trade) -> None:
        issued = self._by_source[trade.symbol].issue(trade, 0)
        assert issued is not None, "no fault has changed any instrument yet"
        self.history.add(issued)
        if issued.symbol not in self._source.aggregated:
            self.aggregator.add(0, issued)

    def _prime(self, source: Source) -> None:
        source.prime(self, self._clock.true_ms())
        for tick in self.aggregator.rest():
            assert tick.aggregate is not None, "an aggregator makes nothing else"
            self.history.add_aggregate(tick.aggregate)

    def _add(self, listing: Listing, instrument: Instrument) -> None:
        symbol = listing.symbol
        self.listings[symbol] = listing
        self._instruments[symbol] = instrument
        self.traded.append(symbol)
        self.history.enlist(symbol)

    def _held(self, symbol: str) -> Ticks:
        """The trades that wait for others of their message, to be sent ahead of a change."""
        return [] if self.batcher is None else self.batcher.close(symbol, self._newest_ns)

    def _refuse_known(self, symbol: str) -> None:
        if symbol in self._instruments:
            raise UsageError(f"there is a symbol {symbol} already: give a new one")
        if len(self._instruments) >= MAX_SYMBOLS:
            raise UsageError(f"there are {MAX_SYMBOLS:,} symbols already, the most there can be")

    def _relisted(self, symbol: str, instrument: Instrument) -> Ticks:
        """The messages of a book whose listing has changed."""
        if not self.books.is_started(symbol):
            return []
        return self.books.relist(
            symbol,
            instrument.listing,
            instrument.price,
            is_trading=instrument.is_trading,
            at=self._now(),
        )

    def _now(self) -> Moment:
        return Moment(self._newest_ns, self._market_ms())

    def _enter(self, stream: str, due_ns: int, trade: Trade) -> None:
        self.ledger.issue(stream, trade.trade_id, trade.kind)
        self.history.add(trade)
        if self.witness is not None:
            self.witness(trade)
        if trade.symbol not in self._source.aggregated:
            self.aggregator.add(due_ns, trade)

    def _market_ms(self) -> int:
        """Now, by the market's clock, and never before the newest trade."""
        passed_ns = int((trio.current_time() - self._opened_s) * self._speed * NS_PER_S)
        return self._newest_ms + max(0, passed_ns - self._newest_ns) // NS_PER_MS
