"""What happens at the exchange, whoever may hear of it.

Every trade of the source is issued here: numbered and spelled by its instrument, entered in the
ledger, kept for REST, and added to its aggregate. From then on it exists; what the streams make of
it is not this file's affair. Rows can be inserted at any moment, between two of the source's.
"""

import trio

from fanout.simulator.aggregate import Aggregator
from fanout.simulator.clock import NS_PER_MS, NS_PER_S, Clock
from fanout.simulator.exchange_info import listed
from fanout.simulator.faults import Insert, Relist, Renumber
from fanout.simulator.history import History
from fanout.simulator.instrument import Instrument
from fanout.simulator.ledger import AGGREGATE_KIND, Ledger
from fanout.simulator.ticks import Source, Tick, Trade, tick_of


class Engine:
    """All instruments: those of the source, and some that are listed and never trade."""

    def __init__(self, source: Source, clock: Clock, *, kept_trades: int, kept_ids: int) -> None:
        self.listings = listed(source.listings)
        """What exchangeInfo says now, by symbol."""
        self.aggregator = Aggregator()
        self.history = History(self.listings, kept_trades)
        self.ledger = Ledger(kept_ids)
        self._clock = clock
        self._instruments = {symbol: Instrument(each) for symbol, each in self.listings.items()}
        self._newest_ms, self._newest_ns = clock.true_ms(), 0
        self._opened_s, self._speed = trio.current_time(), 1.0
        self._prime(source)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All there are, delisted or not, whether or not they trade."""
        return tuple(self._instruments)

    def open(self, speed: float | None) -> None:
        """From here on market time runs this fast; if None, only from trade to trade."""
        self._opened_s, self._speed = trio.current_time(), speed or 0.0

    def issue(self, tick: Tick) -> Tick | None:
        """The source's tick, or an aggregate's, as the exchange tells it; None if it does not."""
        trade, aggregate = tick.trade, tick.aggregate
        if aggregate is not None:
            self.ledger.issue(tick.stream, aggregate.aggregate_id, AGGREGATE_KIND)
            self.history.add_aggregate(aggregate)
            return tick
        assert trade is not None, "a tick is of one or the other"
        self._newest_ms, self._newest_ns = trade.time_ms, tick.due_ns
        issued = self._instruments[trade.symbol].issue(trade, self._clock.offset_ms)
        if issued is None:
            return None
        self._enter(tick.stream, tick.due_ns, issued)
        return tick if issued is trade else tick_of(tick.due_ns, issued)

    def insert(self, fault: Insert, symbol: str) -> list[Tick]:
        """Rows of this moment, between the source's latest tick and its next one."""
        now_ms = self._market_ms() + self._clock.offset_ms
        rows = self._instruments[symbol].insert(fault, now_ms)
        ticks = [tick_of(self._newest_ns, row) for row in rows]
        for tick, row in zip(ticks, rows, strict=True):
            self._enter(tick.stream, tick.due_ns, row)
        return ticks

    def renumber(self, fault: Renumber) -> None:
        """Rows are kept in order of their ids: when these start anew, older ones have to go."""
        instrument = self._instruments[fault.symbol]
        if fault.next_id < instrument.next_id:
            self.history.forget(fault.symbol, 0)
            self.aggregator.close(fault.symbol)
        instrument.renumber(fault.next_id)

    def relist(self, fault: Relist) -> None:
        self.listings[fault.symbol] = self._instruments[fault.symbol].relist(fault)

    def delist(self, symbol: str) -> None:
        self._instruments[symbol].delist()
        self.listings.pop(symbol, None)

    # What happened before the market opens, as the source tells it: REST has it, and no stream.

    def add(self, trade: Trade) -> None:
        issued = self._instruments[trade.symbol].issue(trade, 0)
        assert issued is not None, "nothing has been asked of any instrument yet"
        self.history.add(issued)
        self.aggregator.add(0, issued)

    def preview(self, trade: Trade) -> None:
        self._instruments[trade.symbol].begin(trade.trade_id)
        self.history.preview(trade)

    def _prime(self, source: Source) -> None:
        source.prime(self, self._clock.true_ms())
        for tick in self.aggregator.rest():
            assert tick.aggregate is not None, "an aggregator makes nothing else"
            self.history.add_aggregate(tick.aggregate)

    def _enter(self, stream: str, due_ns: int, trade: Trade) -> None:
        self.ledger.issue(stream, trade.trade_id, trade.kind)
        self.history.add(trade)
        self.aggregator.add(due_ns, trade)

    def _market_ms(self) -> int:
        """Now, on the market's clock: not before the newest trade, whatever ours says."""
        passed_ns = int((trio.current_time() - self._opened_s) * self._speed * NS_PER_S)
        return self._newest_ms + max(0, passed_ns - self._newest_ns) // NS_PER_MS
