"""What one fill model made of the orders of one symbol, from the reports of a run."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from fanout.protocol.constants import Side
from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument
from fanout.trading.errors import TradingError
from fanout.trading.exchange.queues import Model
from fanout.trading.orders import OrderEvent, OrderState
from fanout.trading.report.figures import ModelFigures, ModelPoint, Move, ProfitParts, Ratio
from fanout.trading.report.marks import HORIZONS_NS
from fanout.trading.report.moves import Horizon, Moves
from fanout.trading.report.profit import Profit
from fanout.trading.reports import Fill, OrderReport
from fanout.trading.running.checkpoint import OrderRecord, SymbolRecord

_NS: Final = -9
"""The exponent of times."""


class SummaryError(TradingError):
    """The reports cannot be those of a whole run."""


class ModelSummary:
    """One fill model so far, from a checkpoint on, where there is one. `twice_mid` is the mid
    then, 0 where it is not known. Times are ns."""

    def __init__(
        self,
        model: Model,
        instrument: Instrument,
        record: SymbolRecord | None = None,
        twice_mid: int = 0,
    ) -> None:
        opened = None if record is None else record.positions[model]
        self.profit = Profit(instrument, opened, twice_mid)
        self.drawdown = self.max_drawdown = 0
        self._model = model
        self._instrument = instrument
        self._opened = position = self.profit.position.export()
        """The position with which the figures begin."""
        self._highest = self.profit.total if opened is None or twice_mid else None
        """None until the position of a checkpoint has met a mid."""
        self._max_drawdown_ns: int | None = None
        self._open: dict[int, bool] = {}
        """The orders that work, and whether a part of each was filled."""
        self._acknowledged = self._touched = self._takers = self._turnover = 0
        self._quoted = {Side.BID: 0, Side.ASK: 0}
        self._longest = self._shortest = position.quantity
        self._held_ns = 0
        self._edge = Moves(instrument.price_exponent)
        self._horizons = [Horizon(each, instrument.price_exponent) for each in HORIZONS_NS]
        for order in () if record is None else record.orders:
            self._take_over(order)

    def _take_over(self, order: OrderRecord) -> None:
        """Count what is left of an order that works already."""
        if order.states[self._model] in (OrderState.OPEN, OrderState.CANCELLING):
            self._acknowledge(order.order_id, order.request.side, order.remaining[self._model])

    def _acknowledge(self, order_id: int, side: Side, quantity: int) -> None:
        self._acknowledged += 1
        self._quoted[side] += quantity
        self._open[order_id] = False

    def follows(self, record: SymbolRecord) -> bool:
        """Whether a checkpoint goes on from here."""
        return self.profit.position.export() == record.positions[self._model]

    # What comes in.

    def pass_time(self, passed_ns: int) -> None:
        """The run has lasted that much longer."""
        if self.profit.position.quantity:
            self._held_ns += passed_ns

    def order(self, report: OrderReport) -> None:
        """Something happened to an order."""
        if report.event is OrderEvent.ACKNOWLEDGE and report.order_id not in self._open:
            self._acknowledge(report.order_id, report.side, report.quantity)
        if report.state.is_over:
            self._open.pop(report.order_id, None)

    def fill(self, fill: Fill, twice_mid: int) -> None:
        """An order was filled. `twice_mid` is 0 where the mid is not known. Raises `SummaryError`
        if the position is not the one that is reported."""
        position = self.profit.position
        fee = position.money.amount(fill.fee)
        self.profit.fill(fill.side, fill.price, fill.quantity, fee, is_marked=bool(twice_mid))
        if position.quantity != fill.position:
            text = self._instrument.quantity_text
            raise SummaryError(
                f"after the fill of order {fill.order_id} the position is {text(fill.position)}, "
                f"and the fills before it give {text(position.quantity)}: an older file of the "
                "journal is missing"
            )
        self._longest = max(self._longest, position.quantity)
        self._shortest = min(self._shortest, position.quantity)
        self._turnover += position.money.value(fill.price, fill.quantity)
        self._takers += not fill.is_maker
        if self._open.get(fill.order_id) is False:
            self._touched += 1
            self._open[fill.order_id] = True
        if fill.state.is_over:
            self._open.pop(fill.order_id, None)
        self._observe(fill, twice_mid)
        self._look(fill.time_ns)

    def _observe(self, fill: Fill, twice_mid: int) -> None:
        for horizon in self._horizons:
            horizon.fill(fill.side, fill.time_ns, twice_mid)
        if twice_mid:
            better = twice_mid - 2 * fill.price
            self._edge.add(better if fill.side is Side.BID else -better, twice_mid)

    def mark(self, twice_mid: int, time_ns: int) -> None:
        """The mid has moved."""
        self.profit.mark(twice_mid)
        self._look(time_ns)

    def settle(self, until_ns: int, twice_mid: int) -> None:
        """The newest mid was this one, or not known (0), until then."""
        for horizon in self._horizons:
            horizon.settle(until_ns, twice_mid)

    def end(self) -> None:
        """The run has ended, or goes on after a pause."""
        for horizon in self._horizons:
            horizon.end()

    def _look(self, time_ns: int) -> None:
        total = self.profit.total
        self._highest = total if self._highest is None else max(self._highest, total)
        self.drawdown = self._highest - total
        if self.drawdown > self.max_drawdown:
            self.max_drawdown, self._max_drawdown_ns = self.drawdown, time_ns

    # What comes out.

    @property
    def point(self) -> ModelPoint:
        """Where it stands now."""
        profit, text = self.profit, self.profit.position.money.text
        return ModelPoint(
            position=self._quantity(profit.position.quantity),
            opening=text(profit.opening),
            spread=text(profit.spread),
            inventory=text(profit.inventory),
            fees=text(profit.position.fees),
            total=text(profit.total),
            drawdown=text(self.drawdown),
        )

    def figures(self, observed_ns: int) -> ModelFigures:
        """All of it. `observed_ns` is how long the run has lasted."""
        position, text = self.profit.position, self.profit.position.money.text
        opened = self._opened
        return ModelFigures(
            model=self._model.name.lower(),
            profit=self._parts(),
            fills=position.fills - opened.fills,
            taker_fills=self._takers,
            unmarked_fills=self.profit.unmarked,
            orders=_ratio(self._touched, self._acknowledged, 0),
            bought=self._filled(position.bought - opened.bought, Side.BID),
            sold=self._filled(position.sold - opened.sold, Side.ASK),
            position=self._quantity(position.quantity),
            longest=self._quantity(self._longest),
            shortest=self._quantity(self._shortest),
            in_position=_ratio(self._held_ns, observed_ns, _NS),
            turnover=text(self._turnover),
            max_drawdown=text(self.max_drawdown),
            max_drawdown_ns=self._max_drawdown_ns,
            drawdown=text(self.drawdown),
            edge=_move(0, self._edge, self.profit.unmarked),
            adverse=tuple(
                _move(each.horizon_ns, each.moves, each.unobserved) for each in self._horizons
            ),
        )

    def _parts(self) -> ProfitParts:
        profit = self.profit
        money = profit.position.money
        return ProfitParts(
            currency=money.currency,
            opening=money.text(profit.opening),
            spread=money.text(profit.spread),
            inventory=money.text(profit.inventory),
            fees=money.text(profit.position.fees),
            total=money.text(profit.total),
            realised=money.text(profit.position.realised),
            unrealised=money.text(profit.unrealised),
        )

    def _filled(self, quantity: int, side: Side) -> Ratio:
        return _ratio(quantity, self._quoted[side], self._instrument.quantity_exponent)

    def _quantity(self, quantity: int) -> str:
        return self._instrument.quantity_text(quantity)


def _ratio(part: int, whole: int, exponent: int) -> Ratio:
    ratio = part / whole if whole else None
    return Ratio(to_text(part, exponent), to_text(whole, exponent), ratio)


def _move(horizon_ns: int, moves: Moves, unobserved: int) -> Move:
    (price, price_error), (bps, bps_error) = moves.price, moves.bps
    return Move(
        horizon_s=float(Fraction(horizon_ns, 10**9)),
        count=moves.count,
        unobserved=unobserved,
        price=price,
        price_error=price_error,
        bps=bps,
        bps_error=bps_error,
    )
