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

from fanout.trading.strategies.base import Quotes, Stateless, View
from fanout.trading.strategies.rounding import quotes_of
from fanout.trading.strategies.speedups import twin


class AvellanedaStoikov(Stateless, frozen=True, kw_only=True):
    """Quotes the reservation price plus and minus half the spread. See the module for the
    parameters."""

    gamma: float
    sigma: float
    k: float
    tau: float

    @property
    def risk(self) -> float:
        """How far a unit of position moves the prices, in units of the quote currency."""
        return self.gamma * (self.sigma * self.sigma) * self.tau

    @property
    def spread(self) -> float:
        """The distance from bid to ask, in units of the quote currency."""
        return self.risk + 2 / self.gamma * math.log1p(self.gamma / self.k)

    def prices(self, mid: float, held: float) -> tuple[float, float]:
        """Bid and ask before any rounding, for a position in units of the base."""
        reservation = mid - held * self.risk
        return reservation - self.spread / 2, reservation + self.spread / 2

    @twin
    def quote(self, view: View) -> Quotes:
        """What is to work now."""
        mid = view.mid
        bid, ask = self.prices(mid, view.held)
        skew = -view.held * self.risk
        return quotes_of(
            view,
            bid=bid,
            ask=ask,
            fair_value=mid + skew,
            skew=skew,
            quantity=self.quantity,
            position_limit=self.position_limit,
        )
