"""The limits of risk, as frozen values.

Every limit has to be given. None switches it off. Zero does not: it allows nothing, or no loss. A
limit that no order of the instrument could keep is refused before anything runs.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from fanout.protocol.instrument import Instrument
from fanout.trading.errors import LimitsError


class Check(StrEnum):
    """The checks, in the order in which an order meets them. Each is named after its limit."""

    ORDER_QUANTITY = "order_quantity"
    ORDER_VALUE = "order_value"
    POSITION = "position"
    NOTIONAL = "notional"
    ORDERS_PER_SECOND = "orders_per_second"
    OPEN_ORDERS = "open_orders"
    PRICE_DEVIATION = "price_deviation_bps"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    STALE_DATA = "stale_ms"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits for one symbol. Quantities are at the instrument's exponent, amounts of money at
    `Money.exponent`. None switches a limit off.

    `position` and `notional` count the position and all orders of a side that are not over.
    `orders_per_second` is a token bucket of `order_burst` tokens, as many as the rate if None.
    `price_deviation_bps` is from the mid. `daily_loss` starts anew at 00:00 UTC. `drawdown` is from
    the highest equity of the run, realised and unrealised. `kills` are the limits that pull the
    kill switch when they are exceeded.
    """

    order_quantity: int | None
    order_value: int | None
    position: int | None
    notional: int | None
    orders_per_second: int | None
    open_orders: int | None
    price_deviation_bps: int | None
    daily_loss: int | None
    drawdown: int | None
    stale_ms: int | None
    order_burst: int | None = None
    kills: frozenset[Check] = frozenset()

    def __post_init__(self) -> None:
        for name in (*Check, "order_burst"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise LimitsError(
                    f"{name} is {value!r}; a limit is an integer, 0 or above, or none"
                )
        for check in sorted(self.kills):
            if getattr(self, check) is None:
                raise LimitsError(f"{check} is none, so it cannot pull the kill switch")
        if self.order_burst is not None and self.orders_per_second is None:
            raise LimitsError(f"order_burst is {self.order_burst} without orders_per_second")

    def require_fit(self, instrument: Instrument) -> None:
        """Raises `LimitsError` where no order of the instrument could keep a limit."""
        least = instrument.lot or 1
        for check in (Check.ORDER_QUANTITY, Check.POSITION):
            value: int | None = getattr(self, check)
            if value is not None and value < least:
                raise LimitsError(
                    f"{check} is {value}, below the smallest order of {instrument.symbol}, {least}"
                )
