"""The market of the exchange: all its trades, whether or not a stream sends them.

Every trade of the source is issued here: numbered and spelled by its instrument, entered in the
ledger, kept for REST, and added to its aggregate. From then on it exists. The stream faults decide
whether it is sent. Rows can be inserted at any moment, between two of the source's.

The listing changes here too. During a run, instruments are listed, delisted and renamed, and get
other units. The trades of a renamed instrument continue under the new symbol.
"""

from collections.abc import Iterable

import msgspec
import trio

from fanout.errors import UsageError
from fanout.simulator.faults import Insert, List, Odd, Relist, Rename, Renumber
from fanout.simulator.market.aggregate import Aggregator
from fanout.simulator.market.clock import NS_PER_MS, NS_PER_S, Clock
from fanout.simulator.market.history import History
from fanout.simulator.market.instrument import Instrument
from fanout.simulator.market.ledger import AGGREGATE_KIND, Ledger
from fanout.simulator.market.listing import Listing, Quirk, listed
from fanout.simulator.market.ticks import Source, Tick, Trade, tick_of

MAX_SYMBOLS = 5_000


class Engine:
    """All instruments: those of the source, and `others` that are listed and do not trade."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        *,
        kept_trades: int,
        kept_ids: int,
        others: Iterable[Listing] = (),
        aggregator: Aggregator | None = None,
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
        self.history = History(self.listings, kept_trades)
        self.ledger = Ledger(kept_ids)
        self._source = source
        self._clock = clock
        self._instruments = {symbol: Instrument(each) for symbol, each in self.listings.items()}
        self._by_source = dict(self._instruments)
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
            return tick
        assert trade is not None, "a tick has a trade or an aggregate"
        self._newest_ms, self._newest_ns = trade.time_ms, tick.due_ns
        issued = self._by_source[trade.symbol].issue(trade, self._clock.offset_ms)
        if issued is None:
            return None
        if issued is not trade:
            tick = tick_of(tick.due_ns, issued)
        self._enter(tick.stream, tick.due_ns, issued)
        return tick

    def insert(self, fault: Insert, symbol: str) -> list[Tick]:
        """Insert rows now, between the source's latest tick and its next one."""
        now_ms = self._market_ms() + self._clock.offset_ms
        rows = self._instruments[symbol].insert(fault, now_ms)
        ticks = [tick_of(self._newest_ns, row) for row in rows]
        for tick, row in zip(ticks, rows, strict=True):
            self._enter(tick.stream, tick.due_ns, row)
        return ticks

    def renumber(self, fault: Renumber) -> None:
        """Change the next id. History is ordered by id, so it is dropped if the ids start again."""
        instrument = self._instruments[fault.symbol]
        if fault.next_id < instrument.next_id:
            self.history.forget(fault.symbol, 0)
            self.aggregator.close(fault.symbol)
        instrument.renumber(fault.next_id)

    def enlist(self, fault: List, like: Listing) -> None:
        """List a new instrument, which trades from now on. `like` has what the fault leaves out."""
        given = msgspec.structs.asdict(fault)
        changes = {name: value for name, value in given.items() if value is not None}
        listing = msgspec.structs.replace(like, **changes)
        self._refuse_known(listing.symbol)
        self._add(listing, Instrument(listing))
        self._by_source[listing.symbol] = self._instruments[listing.symbol]
        self._source.enlist(listing)

    def rename(self, fault: Rename) -> None:
        self._refuse_known(fault.to)
        instrument = self._instruments.pop(fault.symbol)
        self.listings.pop(fault.symbol, None)
        self.traded = [each for each in self.traded if each != fault.symbol]
        self.former.append(fault.symbol)
        self.aggregator.close(fault.symbol)
        self._add(instrument.rename(fault.to), instrument)

    def relist(self, fault: Relist) -> None:
        self.listings[fault.symbol] = self._instruments[fault.symbol].relist(fault)

    def delist(self, symbol: str) -> None:
        self._instruments[symbol].delist()
        self.listings.pop(symbol, None)

    def make_odd(self, fault: Odd) -> None:
        found = self.quirks.get(fault.symbol, ())
        self.quirks[fault.symbol] = tuple(dict.fromkeys((*found, fault.how)))

    # The source's trades from before the opening, for REST only.

    def add(self, trade: Trade) -> None:
        issued = self._by_source[trade.symbol].issue(trade, 0)
        assert issued is not None, "no fault has changed any instrument yet"
        self.history.add(issued)
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

    def _refuse_known(self, symbol: str) -> None:
        if symbol in self._instruments:
            raise UsageError(f"there is a symbol {symbol} already: give a new one")
        if len(self._instruments) >= MAX_SYMBOLS:
            raise UsageError(f"there are {MAX_SYMBOLS:,} symbols already, the most there can be")

    def _enter(self, stream: str, due_ns: int, trade: Trade) -> None:
        self.ledger.issue(stream, trade.trade_id, trade.kind)
        self.history.add(trade)
        self.aggregator.add(due_ns, trade)

    def _market_ms(self) -> int:
        """Now, by the market's clock, and never before the newest trade."""
        passed_ns = int((trio.current_time() - self._opened_s) * self._speed * NS_PER_S)
        return self._newest_ms + max(0, passed_ns - self._newest_ns) // NS_PER_MS
