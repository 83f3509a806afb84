"""A run that goes on after a restart: positions and orders come back from its own reports.

Positions come back to the last digit: they stand in the newest checkpoint, and the fills behind it
are booked again. An order that was OPEN works again with what is left of it. Nobody knows what was
traded meanwhile, so all that the first book displays at its price is in front of it. One whose
cancel was on its way is CANCELLED, and one that was not acknowledged is REFUSED. Reports may end
anywhere: a model whose report is missing never had the order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fanout.protocol.instrument import Instrument
from fanout.trading.exchange.own_order import MODELS, OwnOrder
from fanout.trading.orders import OrderEvent, OrderRequest, OrderState
from fanout.trading.position import Position
from fanout.trading.reports import Fill, OrderReport, Report
from fanout.trading.running.checkpoint import OrderRecord, SymbolRecord


class Past:
    """What the reports of a run say of one symbol, from a checkpoint on, where there is one.
    `last_id` is the newest number of an order, `time_ns` the time of the newest report."""

    def __init__(
        self,
        instrument: Instrument,
        reports: Iterable[Report] = (),
        *,
        record: SymbolRecord | None = None,
    ) -> None:
        self.instrument = instrument
        self.positions = [Position(instrument) for _ in MODELS]
        self.orders: dict[int, OwnOrder] = {}
        """Those that are not over."""
        self.last_id = self.time_ns = 0
        if record is not None:
            self.positions = [Position(instrument, each) for each in record.positions]
            self.orders = {each.order_id: _order_of(each) for each in record.orders}
            self.last_id, self.time_ns = record.last_id, record.time_ns
        for report in reports:
            self.take(report)

    def take(self, report: Report) -> None:
        """Take the next report, of any symbol."""
        if report.time_ns > self.time_ns:
            self.time_ns = report.time_ns
        if isinstance(report, _OF_ORDERS) and report.symbol == self.instrument.symbol:
            self._take(report)

    def export(self) -> SymbolRecord:
        """The same, for a file."""
        return SymbolRecord(
            symbol=self.instrument.symbol,
            last_id=self.last_id,
            time_ns=self.time_ns,
            positions=tuple(each.export() for each in self.positions),
            orders=tuple(map(_record_of, self.orders.values())),
        )

    def use(self, instrument: Instrument, ended_ns: int) -> None:
        """Go on with an instrument in the same units, whose tick or lot may be another, after a run
        that ended at a time: its newest report may be of another symbol."""
        self.instrument = instrument
        self.time_ns = max(self.time_ns, ended_ns)
        for each in self.positions:
            each.instrument = instrument

    def _take(self, report: OrderReport | Fill) -> None:
        self.last_id = max(self.last_id, report.order_id)
        if isinstance(report, Fill):
            position = self.positions[report.model]
            fee = position.money.amount(report.fee)
            position.fill(report.side, report.price, report.quantity, fee)
        elif report.order_id not in self.orders and not report.state.is_over:
            self.orders[report.order_id] = _order(report)
        order = self.orders.get(report.order_id)
        if order is not None:
            order.states[report.model] = report.state
            order.remaining[report.model] = report.remaining
            if report.state.is_over and order.is_over:
                del self.orders[order.order_id]

    def settle(self) -> list[OrderReport]:
        """End what did not reach the exchange, or was about to leave it."""
        reports = []
        for order in self.orders.values():
            for model in MODELS:
                state = order.states[model]
                if (state is OrderState.OPEN and order.can_rest) or state.is_over:
                    continue
                event, when = _ENDINGS[state]
                why = f"the run ended before it was {when}"
                reports.append(order.turn(model, event, self.time_ns, why=why))
        return reports


_OF_ORDERS: Final = (OrderReport, Fill)

_ENDINGS: Final = {
    OrderState.NEW: (OrderEvent.REFUSE, "sent"),
    OrderState.SENT: (OrderEvent.REFUSE, "acknowledged"),
    OrderState.OPEN: (OrderEvent.EXPIRE, "taken whole"),
    OrderState.CANCELLING: (OrderEvent.CANCEL, "cancelled"),
}


def _order(report: OrderReport) -> OwnOrder:
    request = OrderRequest(
        symbol=report.symbol,
        side=report.side,
        quantity=report.quantity,
        price=report.price,
        type=report.order_type,
        time_in_force=report.time_in_force,
    )
    return OwnOrder(report.order_id, request, report.time_ns)


def _record_of(order: OwnOrder) -> OrderRecord:
    return OrderRecord(
        order_id=order.order_id,
        request=order.request,
        sent_ns=order.sent_ns,
        states=tuple(order.states),
        remaining=tuple(order.remaining),
    )


def _order_of(record: OrderRecord) -> OwnOrder:
    order = OwnOrder(record.order_id, record.request, record.sent_ns)
    order.states, order.remaining = list(record.states), list(record.remaining)
    return order
