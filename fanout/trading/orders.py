"""Orders as values, and the one table of the states they go through.

            SEND          ACKNOWLEDGE          FILL
    NEW ----------> SENT -------------> OPEN ---------> OPEN, until FILL_ALL
     |               | ASK_CANCEL         | ASK_CANCEL
     | REFUSE        v                    v
     v             CANCELLING <-----------'   can still be filled, until CANCEL
    REFUSED

An order is SENT for the latency of an acknowledgement, and CANCELLING for that of a cancel. FILLED,
CANCELLED, EXPIRED and REFUSED are the ends. A state that the table does not give an event is a
mistake in our own code: `after` raises, and names order, state and event.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from fanout.protocol.constants import I64_MAX, Side
from fanout.trading.errors import LimitsError, TransitionError


class OrderType(IntEnum):
    """What an order may do when it reaches the exchange."""

    LIMIT = 0
    """It takes what is displayed within its limit, and rests with what is left."""
    MARKET = 1
    """It takes what is displayed, at any price. It has no price, and never rests."""
    POST_ONLY = 2
    """It rests, and is refused if it would take."""


class TimeInForce(IntEnum):
    """How long an order stays."""

    GTC = 0
    """Good till cancelled."""
    IOC = 1
    """Immediate or cancel: what cannot be taken at once expires."""
    FOK = 2
    """Fill or kill: all is taken at once, or nothing."""


class OrderState(IntEnum):
    """Where an order is. See the module."""

    NEW = 0
    SENT = 1
    OPEN = 2
    CANCELLING = 3
    FILLED = 4
    CANCELLED = 5
    EXPIRED = 6
    REFUSED = 7

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self >= _FILLED


_FILLED: Final = OrderState.FILLED
"""A name of its own, since an enumeration's members are slow to look up."""


class OrderEvent(IntEnum):
    """What can happen to an order."""

    SEND = 0
    ACKNOWLEDGE = 1
    FILL = 2
    """A part was filled, and something is left."""
    FILL_ALL = 3
    ASK_CANCEL = 4
    CANCEL = 5
    EXPIRE = 6
    REFUSE = 7


_S, _E = OrderState, OrderEvent

TRANSITIONS: Final[dict[tuple[OrderState, OrderEvent], OrderState]] = {
    (_S.NEW, _E.SEND): _S.SENT,
    (_S.NEW, _E.REFUSE): _S.REFUSED,
    (_S.SENT, _E.ACKNOWLEDGE): _S.OPEN,
    (_S.SENT, _E.REFUSE): _S.REFUSED,
    (_S.SENT, _E.ASK_CANCEL): _S.CANCELLING,
    (_S.OPEN, _E.FILL): _S.OPEN,
    (_S.OPEN, _E.FILL_ALL): _S.FILLED,
    (_S.OPEN, _E.ASK_CANCEL): _S.CANCELLING,
    (_S.OPEN, _E.CANCEL): _S.CANCELLED,
    (_S.OPEN, _E.EXPIRE): _S.EXPIRED,
    (_S.CANCELLING, _E.ACKNOWLEDGE): _S.CANCELLING,
    (_S.CANCELLING, _E.REFUSE): _S.REFUSED,
    (_S.CANCELLING, _E.FILL): _S.CANCELLING,
    (_S.CANCELLING, _E.FILL_ALL): _S.FILLED,
    (_S.CANCELLING, _E.CANCEL): _S.CANCELLED,
    (_S.CANCELLING, _E.EXPIRE): _S.EXPIRED,
}
"""Every transition there is. OPEN to CANCELLED without CANCELLING: the other fill model has ended
the order."""


_FOLLOWING: Final = tuple(
    tuple(TRANSITIONS.get((state, event)) for event in OrderEvent) for state in OrderState
)
"""The same by number: the hash of an enumeration's member takes longer than all the rest."""


def after(state: OrderState, event: OrderEvent, order_id: int = 0) -> OrderState:
    """The state that follows. Raises `TransitionError` where the table has none."""
    following = _FOLLOWING[state][event]
    if following is None:
        raise TransitionError(f"order {order_id} is {state.name}, so {event.name} cannot happen")
    return following


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a strategy asks for it.

    `side` is BID to buy and ASK to sell. `price` and `quantity` are integers at the instrument's
    exponents; a market order has no price.
    """

    symbol: str
    side: Side
    quantity: int
    price: int | None = None
    type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC

    @property
    def fault(self) -> str | None:
        """What is contradictory in it, in words; None if nothing is."""
        if self.quantity <= 0:
            return f"the quantity is {self.quantity}; it has to be above 0"
        if max(self.quantity, self.price or 0) > I64_MAX:
            return f"{self.quantity} at {self.price} exceed 64 bits, {I64_MAX:,}"
        if self.type is OrderType.MARKET:
            return None if self.price is None else f"a market order has a price, {self.price}"
        if self.price is None or self.price <= 0:
            return f"the price is {self.price}; a limit has to be above 0"
        if self.type is OrderType.POST_ONLY and self.time_in_force is not TimeInForce.GTC:
            return f"post-only rests, and {self.time_in_force.name} does not"
        return None


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """How long a message takes until it works at the exchange, ns of record time.

    An order sent at t is acknowledged `acknowledge_ns` later, and a cancel works `cancel_ns` later,
    but never before the acknowledgement.
    """

    acknowledge_ns: int
    cancel_ns: int

    def __post_init__(self) -> None:
        for name, value in (("acknowledge", self.acknowledge_ns), ("cancel", self.cancel_ns)):
            if value < 0:
                raise LimitsError(f"the {name} latency is {value:,} ns; it has to be 0 or above")
