"""What the paper exchange, the limits and the kill switch report: frozen values, for a journal.

Each has `time_ns`, the time of the records, and is tagged with its name, so that a line of JSON
tells which one it is. Prices and quantities are integers at the instrument's exponents; a sum of
them may exceed 64 bits, which JSON can hold and MessagePack cannot. Money is text in decimal
digits.
"""

from __future__ import annotations

import msgspec

from fanout.protocol.constants import Side
from fanout.trading.exchange.queues import Model
from fanout.trading.orders import OrderEvent, OrderState, OrderType, TimeInForce


class OrderReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something happened to an order, in one fill model, that is not a fill.

    `remaining` is what is left of `quantity` after the event. `front` is the quantity in front of
    it, with own earlier orders; None if it is not in a queue, or nobody knows.
    """

    time_ns: int
    order_id: int
    model: Model
    event: OrderEvent
    state: OrderState
    symbol: str
    side: Side
    price: int | None
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: int
    remaining: int
    front: int | None = None
    why: str = ""


class Fill(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A part of an order was filled, in one fill model. `remaining` and `state` are those after it.

    `fee` is in the settlement currency, negative for a rebate. `trade_id` is the venue's trade
    whose volume it is, None for a taker, who takes what the book displays. `position` is the
    position after it.
    """

    time_ns: int
    order_id: int
    model: Model
    symbol: str
    side: Side
    price: int
    quantity: int
    remaining: int
    state: OrderState
    is_maker: bool
    fee: str
    trade_id: int | None
    position: int


class PositionReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The position of one fill model. `unrealised` and `equity` are None without a mark."""

    time_ns: int
    model: Model
    symbol: str
    quantity: int
    bought: int
    sold: int
    fills: int
    average: float | None
    realised: str
    fees: str
    unrealised: str | None
    equity: str | None


class Trust(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Fills of a symbol were frozen, are frozen for another reason now, or go on. `why` is the
    reason of the freeze."""

    time_ns: int
    symbol: str
    is_frozen: bool
    why: str


class RiskDecision(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An order passed all limits, or was refused by one.

    `check` names the limit, empty if it passed. `value` and `limit` are texts, in the unit of the
    check. `is_kill` is set where the limit pulls the kill switch.
    """

    time_ns: int
    symbol: str
    is_allowed: bool
    check: str = ""
    why: str = ""
    value: str = ""
    limit: str = ""
    is_kill: bool = False
    order_id: int | None = None
    model: Model = Model.CONSERVATIVE


class KillReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The kill switch of a symbol changed its state. `open_orders` are those that still have to
    end. `cause` and `why` are those of the pull, and `why` of a reset names who did it."""

    time_ns: int
    symbol: str
    state: str
    cause: str
    why: str
    open_orders: tuple[int, ...] = ()


class QuoteReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a strategy wants to quote, and why. A side is None where it quotes nothing."""

    time_ns: int
    symbol: str
    bid_price: int | None
    bid_quantity: int
    ask_price: int | None
    ask_quantity: int
    fair_value: float
    skew: float
    clamps: tuple[str, ...] = ()
    risk: tuple[str, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The best prices of a symbol, from `since_ns` on. None where the book has none, or while fills
    are frozen. When a desk reports one: see `marks`."""

    time_ns: int
    symbol: str
    bid: int | None
    ask: int | None
    since_ns: int


class AccountReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the limits of losses remember of a symbol: `fanout.trading.risk.RiskRecord`. It is
    reported so that a restart does not forget a loss. Amounts are integers at `Money.exponent`."""

    time_ns: int
    symbol: str
    day: int
    at_start: int
    highest: int
    equity: int


Report = (
    OrderReport
    | Fill
    | PositionReport
    | Trust
    | RiskDecision
    | KillReport
    | QuoteReport
    | AccountReport
    | Mark
)
"""All that goes into the journal of a run."""
