"""Builds aggregates from trades.

An aggregate is a run of fills of one symbol with one price and one aggressor, inside one interval.
Rows that are not fills are left out, so ids have holes between and inside aggregates. Ranges of ids
never overlap. The dialect says how long the interval is and how long after its first fill an
aggregate is sent; by then its interval is over.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal

from fanout.simulator.market.clock import NS_PER_MS
from fanout.simulator.market.ticks import AGGREGATE, RPI, Aggregate, Tick, Trade, stream_of

_Key = tuple[str, bool, int]


class _Open:
    """An aggregate that is not sent yet. Its fills have the same `key`."""

    __slots__ = ("_id", "_sent_after_ms", "due_ns", "fills", "key", "symbol")

    def __init__(
        self, aggregate_id: int, due_ns: int, first: Trade, key: _Key, sent_after_ms: int
    ) -> None:
        self.due_ns = due_ns
        self.symbol = first.symbol
        self.key = key
        self._sent_after_ms = sent_after_ms
        self.fills = [first]
        self._id = aggregate_id

    def tick(self) -> Tick:
        first, fills = self.fills[0], self.fills
        aggregate = Aggregate(
            event_ms=first.time_ms + self._sent_after_ms,
            aggregate_id=self._id,
            symbol=first.symbol,
            price=first.price,
            quantity=_sum(fills, first),
            normal_quantity=_sum([each for each in fills if each.kind != RPI], first),
            first_id=first.trade_id,
            last_id=fills[-1].trade_id,
            time_ms=first.time_ms,
            buyer_is_maker=first.buyer_is_maker,
            beyond_us=first.beyond_us,
        )
        return Tick(self.due_ns, stream_of(first.symbol, AGGREGATE), aggregate=aggregate)


def _sum(fills: list[Trade], like: Trade) -> str:
    """The sum of the quantities, with as many decimals as they have."""
    if len(fills) == 1:
        return fills[0].quantity
    total = sum((Decimal(each.quantity) for each in fills), Decimal(like.quantity) * 0)
    return format(total, "f")


class Aggregator:
    """Trades in, in order of `due_ns`; aggregates out, when they are due."""

    def __init__(self, interval_ms: int = 100, sent_after_ms: int = 150) -> None:
        self._interval_ms, self._sent_after_ms = interval_ms, sent_after_ms
        self._sent_after_ns = sent_after_ms * NS_PER_MS
        self._open: dict[str, _Open] = {}
        self._waiting: deque[_Open] = deque()  # not yet sent, by due_ns
        self._next_ids: dict[str, int] = {}

    def add(self, due_ns: int, trade: Trade) -> None:
        if not trade.is_fill:
            return
        key = trade.price, trade.buyer_is_maker, trade.time_ms // self._interval_ms
        latest = self._open.get(trade.symbol)
        if latest is not None and latest.key == key:
            latest.fills.append(trade)
        else:
            self._begin(due_ns + self._sent_after_ns, trade, key)

    def close(self, symbol: str) -> None:
        """The symbol's next fill begins another aggregate."""
        self._open.pop(symbol, None)

    def is_due(self, now_ns: int) -> bool:
        return bool(self._waiting) and self._waiting[0].due_ns <= now_ns

    def due(self, now_ns: int) -> Iterator[Tick]:
        while self.is_due(now_ns):
            yield self._send()

    def rest(self) -> Iterator[Tick]:
        while self._waiting:
            yield self._send()

    def _begin(self, due_ns: int, trade: Trade, key: _Key) -> None:
        # Aggregates have ids of their own. Production has two to three trades an aggregate.
        aggregate_id = self._next_ids.get(trade.symbol, trade.trade_id // 2)
        self._next_ids[trade.symbol] = aggregate_id + 1
        begun = _Open(aggregate_id, due_ns, trade, key, self._sent_after_ms)
        self._open[trade.symbol] = begun
        self._waiting.append(begun)

    def _send(self) -> Tick:
        sent = self._waiting.popleft()
        if self._open.get(sent.symbol) is sent:
            del self._open[sent.symbol]
        return sent.tick()


def with_aggregates(trades: Iterable[Tick], aggregator: Aggregator) -> Iterator[Tick]:
    """The trades, and between them the aggregates that have become due, in order of `due_ns`.

    The caller adds each trade to the aggregator, as it was issued, before it asks for more.
    """
    for tick in trades:
        if aggregator.is_due(tick.due_ns):
            yield from aggregator.due(tick.due_ns)
        yield tick
    yield from aggregator.rest()
