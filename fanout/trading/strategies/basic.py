"""The basic strategy: a spread in basis points around the mid, moved against the position."""

from __future__ import annotations

from typing import ClassVar

from fanout.trading.errors import LimitsError
from fanout.trading.strategies.base import Quotes, Stateless, View
from fanout.trading.strategies.rounding import quotes_of
from fanout.trading.strategies.speedups import twin


class Basic(Stateless, frozen=True, kw_only=True):
    """Quotes the mid plus and minus half of `spread_bps`.

    `min_spread` and `max_spread` bound the spread, in units of the quote currency. `skew_bps` is
    how far both quotes move against the position when it is at `position_limit`.
    """

    spread_bps: float
    min_spread: float
    max_spread: float
    skew_bps: float

    may_be_zero: ClassVar[tuple[str, ...]] = ("skew_bps",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_spread > self.max_spread:
            raise LimitsError(
                f"min_spread {self.min_spread:g} is above max_spread {self.max_spread:g}"
            )
        if not 0 <= self.skew_bps < float("inf"):
            raise LimitsError(f"skew_bps is {self.skew_bps}; it has to be finite and 0 or above")

    @twin
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
