"""What the exchange did: each row as it was spelled there, noted before anything can go wrong on
its way. Its ids are those that a client of `fanout` gets. It knows the simulator, and nothing of
what reads it."""

from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from typing import Final, Literal

import msgspec

from fanout.protocol import Trade, TradeKind
from fanout.simulator import Simulator
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.ticks import Aggregate
from fanout.simulator.market.ticks import Trade as Row

StreamKind = Literal["trade", "aggTrade"]

SPENT: Final = "NA"
"""The kind of an id that the exchange uses without a trade."""

KINDS: Final = frozenset(TradeKind.__members__)

Facts = tuple[Decimal, Decimal, int, bool, str]
"""Price, quantity, time in ms, whether the buyer is the maker, kind."""


class Issued(msgspec.Struct, frozen=True):
    """A trade of the exchange, by the id under which a client gets it."""

    trade_id: int
    kind: str
    time_ms: int


class Market:
    """All rows, by stream, symbol and id."""

    def __init__(self, simulator: Simulator, *symbols: str) -> None:
        """To be made before the market opens. It listens at the engine's own book-keeping."""
        self.symbols = symbols
        self._simulator = simulator
        self._rows: dict[tuple[str, str, int], Facts] = {}
        engine = simulator._exchange._engine
        for symbol in symbols:
            for row in engine.history.trades[symbol].newest(10**6):
                self._note(row)
            for aggregate in engine.history.aggregates[symbol].newest(10**6):
                self._note_aggregate(aggregate)
        enter, add_aggregate = engine._enter, engine.history.add_aggregate

        def note_trade(stream: str, due_ns: int, row: Row) -> None:
            self._note(row)
            enter(stream, due_ns, row)

        def note_aggregate(row: Aggregate) -> None:
            self._note_aggregate(row)
            add_aggregate(row)

        engine._enter = note_trade  # type: ignore[method-assign, assignment]
        engine.history.add_aggregate = note_aggregate  # type: ignore[method-assign, assignment]

    def _note(self, row: Row) -> None:
        kind = row.kind if row.kind in KINDS else "OTHER"
        facts = Decimal(row.price), Decimal(row.quantity), row.time_ms, row.buyer_is_maker, kind
        wire_id = self._simulator._exchange.wire_id(row.symbol, "trade", row.trade_id)
        self._rows["trade", row.symbol, wire_id] = facts

    def _note_aggregate(self, row: Aggregate) -> None:
        facts = Decimal(row.price), Decimal(row.quantity), row.time_ms, row.buyer_is_maker
        self._rows["aggTrade", row.symbol, row.aggregate_id] = (*facts, "AGGREGATE")

    def fault_of(self, trade: Trade) -> str:
        """In what a trade differs from the exchange's row; empty if in nothing."""
        facts = self._rows.get((stream_of(trade), trade.symbol, trade.trade_id))
        if facts is None:
            return f"{trade.symbol} {trade.trade_id} was never traded"
        of = trade.instrument
        got: Facts = (
            Decimal(trade.price).scaleb(of.price_exponent),
            Decimal(trade.quantity).scaleb(of.quantity_exponent),
            trade.time_ms,
            trade.buyer_is_maker,
            trade.kind.name,
        )
        return (
            ""
            if got == facts
            else f"{trade.symbol} {trade.trade_id} is {facts} there, and {got} here"
        )

    def facts(self, symbol: str, trade_id: int) -> Facts | None:
        """All that is known of a trade; None if it was never traded."""
        return self._rows.get(("trade", symbol, trade_id))

    def issued(self, symbol: str, stream: StreamKind, told: Collection[int]) -> dict[int, str]:
        """Ids and kinds, in the order in which they were issued, from the first to the last of
        `told`. The venue's ids need not ascend."""
        issued = [
            (trade_id, each.kind)
            for each in self._simulator.issued(symbol, stream=stream)
            for trade_id in range(each.first_id, each.last_id + 1)
        ]
        places = [place for place, (trade_id, _) in enumerate(issued) if trade_id in told]
        return dict(issued[places[0] : places[-1] + 1]) if places else {}

    def stream_of_id(self, symbol: str, trade_id: int) -> StreamKind:
        """The numbering that has an id. Those of the simulator have none in common."""
        is_aggregate = ("aggTrade", symbol, trade_id) in self._rows
        return "aggTrade" if is_aggregate else "trade"

    def time_ms(self, symbol: str, trade_id: int) -> int:
        """When a trade happened."""
        stream = self.stream_of_id(symbol, trade_id)
        return self._rows[stream, symbol, trade_id][2]

    def sent(self, symbol: str, received: Collection[int]) -> list[Issued]:
        """The trades of a symbol in the order in which they were issued, without those that the
        exchange has withheld from its streams: where ids prove nothing, nobody can miss them. Those
        among `received` came from REST."""
        withheld = set(_ids(self._simulator.withheld(symbol))).difference(received)
        return [
            Issued(trade_id, each.kind, self.time_ms(symbol, trade_id))
            for each in self._simulator.issued(symbol)
            for trade_id in _ids((each,))
            if trade_id not in withheld
        ]

    @property
    def issued_count(self) -> int:
        """Ids of trades that were used since the market opened."""
        return sum(
            each.last_id - each.first_id + 1
            for symbol in self.symbols
            for each in self._simulator.issued(symbol)
        )


def _ids(ranges: Iterable[IdRange]) -> Iterator[int]:
    for each in ranges:
        yield from range(each.first_id, each.last_id + 1)


def stream_of(trade: Trade) -> StreamKind:
    return "aggTrade" if trade.kind is TradeKind.AGGREGATE else "trade"
