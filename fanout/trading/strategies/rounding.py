"""From prices as a formula gives them to quotes that can be sent: finite, on the tick, passive, and
of a size that respects the position limit."""

from __future__ import annotations

import math
from typing import Final

from fanout.trading.errors import StrategyError
from fanout.trading.strategies.base import Quoted, Quotes, View
from fanout.trading.strategies.speedups import twin

_SLACK: Final = 1e-9
"""Of a tick: a price that differs from a tick by the rounding of doubles alone is that tick. It
holds for prices of up to a million ticks."""


@twin
def quotes_of(
    view: View,
    *,
    bid: float,
    ask: float,
    fair_value: float,
    skew: float,
    quantity: int,
    position_limit: int,
    clamps: tuple[str, ...] = (),
) -> Quotes:
    """One quote on each side.

    Prices are in units of the quote currency. The bid is rounded down to the tick, the ask up.
    Then each is moved out of the way of the opposite best price, so that post-only accepts it.
    Raises `StrategyError` if a price is not finite, or the sides cross.
    """
    if not (math.isfinite(bid) and math.isfinite(ask)):
        raise StrategyError(f"quotes of {bid} and {ask} are not finite")
    if bid > ask:
        raise StrategyError(f"the bid of {bid} is above the ask of {ask}")
    bid_price, bid_clamp = _passive_bid(view, bid)
    ask_price, ask_clamp = _passive_ask(view, ask)
    buying, selling, size_clamps = sizes(view, quantity=quantity, position_limit=position_limit)
    return Quotes(
        bids=(Quoted(bid_price, buying),) if buying and bid_price > 0 else (),
        asks=(Quoted(ask_price, selling),) if selling else (),
        fair_value=fair_value,
        skew=skew,
        clamps=(*clamps, *bid_clamp, *ask_clamp, *size_clamps),
    )


def _ticks(view: View, price: float) -> tuple[float, int]:
    """A price in ticks, and the tick in units of the exponent."""
    tick = view.instrument.tick or 1
    exponent = view.instrument.price_exponent
    units = price * 10**-exponent if exponent < 0 else price / 10**exponent
    return units / tick, tick


def _passive_bid(view: View, price: float) -> tuple[int, tuple[str, ...]]:
    ticks, tick = _ticks(view, price)
    rounded, highest = math.floor(ticks + _SLACK) * tick, view.ask.price - tick
    if rounded > highest:
        return highest, ("post-only lowers the bid below the best ask",)
    return rounded, ()


def _passive_ask(view: View, price: float) -> tuple[int, tuple[str, ...]]:
    ticks, tick = _ticks(view, price)
    rounded, lowest = math.ceil(ticks - _SLACK) * tick, view.bid.price + tick
    if rounded < lowest:
        return lowest, ("post-only lifts the ask above the best bid",)
    return rounded, ()


def sizes(view: View, *, quantity: int, position_limit: int) -> tuple[int, int, tuple[str, ...]]:
    """The quantities to buy and to sell, and what was clamped.

    The side that increases the position shrinks in proportion to it, to zero at the limit. It is
    rounded up to the lot, so that one lot stays until the limit, but never beyond the limit. The
    other side is rounded down.
    """
    lot, position = view.instrument.lot or 1, view.position
    room = max(position_limit - abs(position), 0)
    share = -(-quantity * room // (position_limit * lot)) * lot
    increasing = min(share, quantity // lot * lot, room // lot * lot)
    whole = quantity // lot * lot
    # What closes the position may open the opposite one, as far as the limit goes.
    reducing = min(whole, (position_limit + abs(position)) // lot * lot)
    if position >= 0:
        buying, selling = increasing, reducing
    else:
        buying, selling = reducing, increasing
    if increasing == whole:
        return buying, selling, ()
    held = view.instrument.quantity_text(position)
    return buying, selling, (f"the position of {held} shrinks one side",)
