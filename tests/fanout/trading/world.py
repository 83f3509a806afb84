"""A stream of one symbol for the tests of trading: a venue that says what it is told to say.

Prices and quantities are small integers at exponent 0, times at the venue are milliseconds. Each
record is received a millisecond after the one before, unless a test says otherwise.
"""

from collections.abc import Iterable

from fanout.protocol import (
    BookFlags,
    BookUpdate,
    FeedState,
    Gap,
    GapState,
    Instrument,
    Loss,
    LossReason,
    Side,
    Status,
    Trade,
    TradeKind,
    pack_levels,
)
from fanout.trading.exchange.queues import Model, Weight
from fanout.trading.orders import Latencies, OrderRequest, OrderType, TimeInForce
from fanout.trading.paper import PaperExchange
from fanout.trading.reports import Fill, OrderReport, Report
from fanout.trading.settings import ExchangeSettings

X = Instrument(index=0, symbol="X", price_exponent=0, quantity_exponent=0, base="BASE", quote="QUO")

MS = 1_000_000
START_MS = 1_000_000
BUY, SELL = Side.BID, Side.ASK
CONSERVATIVE, PROBABILISTIC = Model.CONSERVATIVE, Model.PROBABILISTIC

Levels = Iterable[tuple[int, int]]


class World:
    """A stream and a paper exchange that takes it."""

    def __init__(
        self,
        instrument: Instrument = X,
        *,
        acknowledge_ms: int = 0,
        cancel_ms: int = 0,
        maker_fee: int = 0,
        taker_fee: int = 0,
        weight: Weight = Weight.LINEAR,
        lead: Model = CONSERVATIVE,
        others: tuple[str, ...] = (),
        bids: Levels = ((100, 10), (99, 10)),
        asks: Levels = ((101, 10), (102, 10)),
    ) -> None:
        settings = ExchangeSettings(
            latencies=Latencies(acknowledge_ns=acknowledge_ms * MS, cancel_ns=cancel_ms * MS),
            maker_fee=maker_fee,
            taker_fee=taker_fee,
            weight=weight,
            lead=lead,
        )
        self.instrument = instrument
        self.exchange = PaperExchange(settings, [instrument.symbol, *others])
        self.ms = START_MS
        self.seq = 0
        self.said: list[Report] = []
        self.whole(bids, asks)

    def _next(self) -> tuple[int, int]:
        self.ms += 1
        self.seq += 1
        return self.seq, self.ms * MS

    def take(self, record: object) -> list[Report]:
        reports = list(self.exchange.take(record))  # type: ignore[arg-type]
        self.said += reports
        return reports

    def whole(self, bids: Levels, asks: Levels, *, flags: int = 0) -> list[Report]:
        """A whole book."""
        return self.book(bids, asks, flags=BookFlags.WHOLE | flags)

    def book(
        self,
        bids: Levels = (),
        asks: Levels = (),
        *,
        time: int | None = None,
        flags: int = 0,
    ) -> list[Report]:
        """An update of the book, of now at the venue or of another time, ms."""
        seq, received_ns = self._next()
        return self.take(
            BookUpdate(
                self.instrument,
                seq,
                self.ms if time is None else time,
                pack_levels(bids),
                pack_levels(asks),
                BookFlags(flags) if flags else BookFlags.NONE,
                seq,
                received_ns,
            )
        )

    def trade(
        self,
        price: int,
        quantity: int,
        aggressor: Side = SELL,
        *,
        time: int | None = None,
        kind: TradeKind = TradeKind.MARKET,
        back_filled: bool = False,
        received_ms: int | None = None,
    ) -> list[Report]:
        """A trade, of now at the venue or of another time, ms."""
        seq, received_ns = self._next()
        return self.take(
            Trade(
                self.instrument,
                seq,
                self.ms if time is None else time,
                price,
                quantity,
                aggressor is SELL,
                kind,
                seq,
                received_ns if received_ms is None else received_ms * MS,
                back_filled,
            )
        )

    def lose(self) -> list[Report]:
        first = self.seq + 1
        self.seq += 3
        return self.take(Loss(first_seq=first, last_seq=self.seq, reason=LossReason.UNANNOUNCED))

    def gap(self, first: int, last: int, state: GapState) -> list[Report]:
        seq, _ = self._next()
        return self.take(
            Gap(seq=seq, instrument=self.instrument, first_id=first, last_id=last, state=state)
        )

    def status(self, state: FeedState) -> list[Report]:
        seq, now_ns = self._next()
        return self.take(
            Status(seq=seq, instrument=None, state=state, since_ns=now_ns, why="a test")
        )

    def send(
        self,
        side: Side,
        price: int | None,
        quantity: int,
        type: OrderType = OrderType.LIMIT,  # noqa: A002
        time_in_force: TimeInForce = TimeInForce.GTC,
    ) -> int:
        """Send an order, without waiting for the acknowledgement."""
        order_id, reports = self.exchange.submit(
            OrderRequest(
                symbol=self.instrument.symbol,
                side=side,
                price=price,
                quantity=quantity,
                type=type,
                time_in_force=time_in_force,
            )
        )
        self.said += reports
        return order_id

    def place(self, side: Side, price: int | None, quantity: int, *how: object) -> int:
        """Send an order, and let the time of the acknowledgement pass."""
        order_id = self.send(side, price, quantity, *how)  # type: ignore[arg-type]
        self.pass_time()
        return order_id

    def cancel(self, order_id: int) -> None:
        self.said += self.exchange.cancel(order_id)

    def pass_time(self, ms: int = 1) -> list[Report]:
        self.ms += ms
        reports = self.exchange.advance(self.ms * MS)
        self.said += reports
        return reports

    def front(self, order_id: int, model: Model = CONSERVATIVE) -> int | None:
        return self.exchange.front_of(order_id, model)

    def fills(self, model: Model = CONSERVATIVE) -> list[tuple[int, int, int]]:
        """Order, price and quantity of all fills."""
        return [
            (each.order_id, each.price, each.quantity)
            for each in self.said
            if isinstance(each, Fill) and each.model is model
        ]

    def history(self, order_id: int, model: Model = CONSERVATIVE) -> list[OrderReport | Fill]:
        return [
            each
            for each in self.said
            if isinstance(each, OrderReport | Fill)
            and each.order_id == order_id
            and each.model is model
        ]

    def states(self, order_id: int, model: Model = CONSERVATIVE) -> list[str]:
        return [each.state.name for each in self.history(order_id, model)]

    def why(self, order_id: int, model: Model = CONSERVATIVE) -> str:
        last = self.history(order_id, model)[-1]
        return last.why if isinstance(last, OrderReport) else ""

    def held(self, model: Model = CONSERVATIVE) -> int:
        position = self.exchange.position(self.instrument.symbol, model)
        return position.quantity if position is not None else 0
