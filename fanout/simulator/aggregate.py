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
from fanout.simulator.ticks import AGGREGATE_SUFFIX, RPI, Tick, Trade

INTERVAL_MS: Final = 100
TOLD_AFTER_MS: Final = 150


class Aggregate(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="aggTrade"):
    """The payload, in the order of fields recorded on 2026-10-07."""

    event_ms: int = msgspec.field(name="E")
    aggregate_id: int = msgspec.field(name="a")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    normal_quantity: str = msgspec.field(name="nq")
    first_id: int = msgspec.field(name="f")
    last_id: int = msgspec.field(name="l")
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")
    universe: int = msgspec.field(name="st", default=1)


class _Run:
    """An aggregate in the making."""

    def __init__(self, aggregate_id: int, due_ns: int, first: Trade) -> None:
        self.due_ns = due_ns
        self.symbol = first.symbol
        self._id = aggregate_id
        self._first = first
        self._last_id = first.trade_id
        self._quantity = self._normal = Decimal(first.quantity) * 0
        self.add(first)

    def takes(self, trade: Trade) -> bool:
        return _key(trade) == _key(self._first)

    def add(self, trade: Trade) -> None:
        self._last_id = trade.trade_id
        self._quantity += Decimal(trade.quantity)
        if trade.kind != RPI:
            self._normal += Decimal(trade.quantity)

    def tick(self) -> Tick:
        first = self._first
        aggregate = Aggregate(
            event_ms=first.time_ms + TOLD_AFTER_MS,
            aggregate_id=self._id,
            symbol=first.symbol,
            price=first.price,
            quantity=format(self._quantity, "f"),
            normal_quantity=format(self._normal, "f"),
            first_id=first.trade_id,
            last_id=self._last_id,
            time_ms=first.time_ms,
            buyer_is_maker=first.buyer_is_maker,
        )
        stream = first.symbol.lower() + AGGREGATE_SUFFIX
        return Tick(self.due_ns, stream, msgspec.json.encode(aggregate))


def _key(trade: Trade) -> tuple[str, bool, int]:
    return trade.price, trade.buyer_is_maker, trade.time_ms // INTERVAL_MS


class Aggregator:
    """Trades in, in order of `due_ns`; aggregates out, when they are due."""

    def __init__(self) -> None:
        self._open: dict[str, _Run] = {}
        self._waiting: deque[_Run] = deque()  # all runs not yet told, by due_ns
        self._next_ids: dict[str, int] = {}

    def add(self, due_ns: int, trade: Trade) -> None:
        if not trade.is_fill:
            return
        run = self._open.get(trade.symbol)
        if run is not None and run.takes(trade):
            run.add(trade)
        else:
            self._begin(due_ns + TOLD_AFTER_MS * NS_PER_MS, trade)

    def due(self, now_ns: int) -> Iterator[Tick]:
        while self._waiting and self._waiting[0].due_ns <= now_ns:
            yield self._tell()

    def rest(self) -> Iterator[Tick]:
        while self._waiting:
            yield self._tell()

    def _begin(self, due_ns: int, trade: Trade) -> None:
        # Ids of their own, and plausible: production has had two to three trades an aggregate.
        aggregate_id = self._next_ids.get(trade.symbol, trade.trade_id // 2)
        self._next_ids[trade.symbol] = aggregate_id + 1
        self._open[trade.symbol] = run = _Run(aggregate_id, due_ns, trade)
        self._waiting.append(run)

    def _tell(self) -> Tick:
        run = self._waiting.popleft()
        if self._open.get(run.symbol) is run:
            del self._open[run.symbol]
        return run.tick()


def with_aggregates(trades: Iterable[Tick]) -> Iterator[Tick]:
    """The trades, and between them their aggregates, in order of `due_ns`."""
    aggregator = Aggregator()
    for tick in trades:
        yield from aggregator.due(tick.due_ns)
        if tick.trade is not None:
            aggregator.add(tick.due_ns, tick.trade)
        yield tick
    yield from aggregator.rest()
