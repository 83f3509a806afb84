"""The basic strategy: a spread in basis points around the mid, moved against the position."""

from __future__ import annotations

import msgspec

from fanout.trading.errors import LimitsError
from fanout.trading.reports import Fill
from fanout.trading.strategies.base import Quotes, View
from fanout.trading.strategies.rounding import quotes_of, require_positive


class Basic(msgspec.Struct, frozen=True, kw_only=True):
    """Quotes the mid plus and minus half of `spread_bps`.

    `min_spread` and `max_spread` bound the spread, in units of the quote currency. `skew_bps` is
    how far both quotes move against the position when it is at `position_limit`. `quantity` and
    `position_limit` are at the instrument's exponent.
    """

    spread_bps: float
    min_spread: float
    max_spread: float
    skew_bps: float
    quantity: int
    position_limit: int

    def __post_init__(self) -> None:
        require_positive(
            spread_bps=self.spread_bps,
            min_spread=self.min_spread,
            max_spread=self.max_spread,
            quantity=self.quantity,
            position_limit=self.position_limit,
        )
        if self.min_spread > self.max_spread:
            raise LimitsError(f"min_spread {self.min_spread} is above max_spread {self.max_spread}")
        if not 0 <= self.skew_bps < float("inf"):
            raise LimitsError(f"skew_bps is {self.skew_bps}; it has to be finite and 0 or above")

    def quote(self, view: View) -> Quotes:
        """What is to work now."""
        mid = view.mid
        wanted = mid * self.spread_bps / 10_000
        spread = min(max(wanted, self.min_spread), self.max_spread)
        skew = -mid * self.skew_bps / 10_000 * (view.position / self.position_limit)
        bound = () if spread == wanted else (f"the spread of {wanted:g} is bounded to {spread:g}",)
        return quotes_of(
            view,
            bid=mid + skew - spread / 2,
            ask=mid + skew + spread / 2,
            fair_value=mid + skew,
            skew=skew,
            quantity=self.quantity,
            position_limit=self.position_limit,
            clamps=bound,
        )

    def filled(self, fill: Fill) -> None:
        """Nothing: the position is in the view."""

    def stopped(self, why: str) -> None:
        """Nothing to undo."""
