"""The strategy of Avellaneda and Stoikov, "High-frequency trading in a limit order book" (2008).

With the mid s, the position q in units of the base, the volatility sigma in price per sqrt(second),
the risk aversion gamma, the decay k of the fill intensity per unit of price, and tau seconds to the
horizon:

    reservation price  s - q gamma sigma**2 tau
    spread             gamma sigma**2 tau + (2 / gamma) ln(1 + gamma / k)

The horizon rolls: tau stays what it is, since a market that never closes has no end of the day.
"""

from __future__ import annotations

import math

import msgspec

from fanout.trading.reports import Fill
from fanout.trading.strategies.base import Quotes, View
from fanout.trading.strategies.rounding import quotes_of, require_positive


class AvellanedaStoikov(msgspec.Struct, frozen=True, kw_only=True):
    """Quotes the reservation price plus and minus half the spread. See the module for the
    parameters. `quantity` and `position_limit` are at the instrument's exponent."""

    gamma: float
    sigma: float
    k: float
    tau: float
    quantity: int
    position_limit: int

    def __post_init__(self) -> None:
        require_positive(
            gamma=self.gamma,
            sigma=self.sigma,
            k=self.k,
            tau=self.tau,
            quantity=self.quantity,
            position_limit=self.position_limit,
        )

    @property
    def spread(self) -> float:
        """The distance from bid to ask, in units of the quote currency."""
        risk = self.gamma * self.sigma**2 * self.tau
        return risk + 2 / self.gamma * math.log1p(self.gamma / self.k)

    def prices(self, mid: float, held: float) -> tuple[float, float]:
        """Bid and ask before any rounding, for a position in units of the base."""
        reservation = mid - held * self.gamma * self.sigma**2 * self.tau
        return reservation - self.spread / 2, reservation + self.spread / 2

    def quote(self, view: View) -> Quotes:
        """What is to work now."""
        mid = view.mid
        bid, ask = self.prices(mid, view.held)
        skew = -view.held * self.gamma * self.sigma**2 * self.tau
        return quotes_of(
            view,
            bid=bid,
            ask=ask,
            fair_value=mid + skew,
            skew=skew,
            quantity=self.quantity,
            position_limit=self.position_limit,
        )

    def filled(self, fill: Fill) -> None:
        """Nothing: the position is in the view."""

    def stopped(self, why: str) -> None:
        """Nothing to undo."""
