"""`@aggTrade` made of the same rows as `@trade`.

An aggregate is a run of fills of one symbol with the same price and aggressor inside one interval
of 100 ms. Rows that are not fills are left out, which makes holes between (and inside) the ranges
of ids; ranges never overlap. It is told 150 ms after its first fill, as measured at the exchange,
by when its interval is over. Documented at developers.binance.com, "Aggregate Trade Streams".
"""

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from fanout.simulator.clock import NS_PER_MS
from fanout.simulator.ticks import AGGREGATE_SUFFIX, RPI, Aggregate, Tick, Trade

INTERVAL_MS: Final = 100
TOLD_AFTER_MS: Final = 150


class _Open:
    """An aggregate in the making."""

    def __init__(self, aggregate_id: int, due_ns: int, first: Trade) -> None:
        self.due_ns = due_ns
        self.symbol = first.symbol
        self.key = _key(first)
        self.fills = [first]
        self._id = aggregate_id

    def tick(self) -> Tick:
        first, fills = self.fills[0], self.fills
        quantity = normal = Decimal(first.quantity) * 0  # with the decimals that quantities have
        for fill in fills:
            quantity += Decimal(fill.quantity)
            if fill.kind != RPI:
                normal += Decimal(fill.quantity)
        aggregate = Aggregate(
            event_ms=first.time_ms + TOLD_AFTER_MS,
            aggregate_id=self._id,
            symbol=first.symbol,
            price=first.price,
            quantity=format(quantity, "f"),
            normal_quantity=format(normal, "f"),
            first_id=first.trade_id,
            last_id=fills[-1].trade_id,
            time_ms=first.time_ms,
            buyer_is_maker=first.buyer_is_maker,
        )
        stream = first.symbol.lower() + AGGREGATE_SUFFIX
        return Tick(self.due_ns, stream, msgspec.json.encode(aggregate), aggregate=aggregate)


def _key(trade: Trade) -> tuple[str, bool, int]:
    """What the fills of an aggregate have in common."""
    return trade.price, trade.buyer_is_maker, trade.time_ms // INTERVAL_MS


class Aggregator:
    """Trades in, in order of `due_ns`; aggregates out, when they are due."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._waiting: deque[_Open] = deque()  # all not yet told, by due_ns
        self._next_ids: dict[str, int] = {}

    def add(self, due_ns: int, trade: Trade) -> None:
        if not trade.is_fill:
            return
        latest = self._open.get(trade.symbol)
        if latest is not None and latest.key == _key(trade):
            latest.fills.append(trade)
        else:
            self._begin(due_ns + TOLD_AFTER_MS * NS_PER_MS, trade)

    def close(self, symbol: str) -> None:
        """The symbol's next fill begins another aggregate."""
        self._open.pop(symbol, None)

    def is_due(self, now_ns: int) -> bool:
        return bool(self._waiting) and self._waiting[0].due_ns <= now_ns

    def due(self, now_ns: int) -> Iterator[Tick]:
        while self.is_due(now_ns):
            yield self._tell()

    def rest(self) -> Iterator[Tick]:
        while self._waiting:
            yield self._tell()

    def _begin(self, due_ns: int, trade: Trade) -> None:
        # Ids of their own, and plausible: production has had two to three trades an aggregate.
        aggregate_id = self._next_ids.get(trade.symbol, trade.trade_id // 2)
        self._next_ids[trade.symbol] = aggregate_id + 1
        self._open[trade.symbol] = begun = _Open(aggregate_id, due_ns, trade)
        self._waiting.append(begun)

    def _tell(self) -> Tick:
        told = self._waiting.popleft()
        if self._open.get(told.symbol) is told:
            del self._open[told.symbol]
        return told.tick()


def with_aggregates(trades: Iterable[Tick], aggregator: Aggregator) -> Iterator[Tick]:
    """The trades, and between them the aggregates that have become due, in order of `due_ns`.

    Who iterates adds each trade to the aggregator, as it was told at last, before asking for more.
    """
    for tick in trades:
        if aggregator.is_due(tick.due_ns):
            yield from aggregator.due(tick.due_ns)
        yield tick
    yield from aggregator.rest()
