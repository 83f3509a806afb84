"""An order as the paper exchange keeps it: one request, and a state in each fill model."""

from __future__ import annotations

from fanout.trading.exchange.queues import Model
from fanout.trading.orders import (
    OrderEvent,
    OrderRequest,
    OrderState,
    OrderType,
    TimeInForce,
    after,
)
from fanout.trading.reports import OrderReport

MODELS = tuple(Model)

_NEW, _FILLED = OrderState.NEW, OrderState.FILLED
"""Names of their own, since an enumeration's members are slow to look up."""


class OwnOrder:
    """An order. `states[model]` and `remaining[model]` are those of a fill model."""

    __slots__ = (
        "can_rest",
        "cancel_due_ns",
        "order_id",
        "remaining",
        "request",
        "sent_ns",
        "states",
        "working_due_ns",
    )

    def __init__(self, order_id: int, request: OrderRequest, sent_ns: int) -> None:
        self.order_id = order_id
        self.request = request
        self.sent_ns = sent_ns
        self.working_due_ns = sent_ns
        """When the exchange acknowledges it."""
        self.cancel_due_ns: int | None = None
        """When a cancel works; None if none was sent."""
        self.states = [_NEW for _ in MODELS]
        self.remaining = [request.quantity for _ in MODELS]
        is_limit = request.type is not OrderType.MARKET
        self.can_rest = is_limit and request.time_in_force is TimeInForce.GTC
        """Whether what it cannot take at once stays in the book."""

    def __repr__(self) -> str:
        states = "/".join(each.name for each in self.states)
        request = self.request
        return f"<OwnOrder {self.order_id} {states} {request.side.name} {request.quantity}>"

    @property
    def is_over(self) -> bool:
        """Whether the order has ended in every model."""
        return min(self.states) >= _FILLED

    def is_open(self, model: Model) -> bool:
        """Whether the order is on its way or working in a model."""
        return _NEW < self.states[model] < _FILLED

    def turn(
        self,
        model: Model,
        event: OrderEvent,
        time_ns: int,
        *,
        why: str = "",
        front: int | None = None,
    ) -> OrderReport:
        """Let an event happen in a model. Raises `TransitionError`."""
        self.states[model] = state = after(self.states[model], event, self.order_id)
        request = self.request
        return OrderReport(
            time_ns=time_ns,
            order_id=self.order_id,
            model=model,
            event=event,
            state=state,
            symbol=request.symbol,
            side=request.side,
            price=request.price,
            order_type=request.type,
            time_in_force=request.time_in_force,
            quantity=request.quantity,
            remaining=self.remaining[model],
            front=front,
            why=why,
        )
