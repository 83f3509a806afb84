"""The strategy of Guéant, Lehalle and Fernandez-Tapia, "Dealing with the inventory risk" (2013), in
the closed form for an infinite horizon, as hftbacktest writes it.

Orders at a distance d from the mid are filled at the rate a exp(-k d) a second. With the size delta
of an order in units of the base, and x = gamma delta:

    c1 = ln(1 + x/k) / x
    c2 = sqrt(gamma / (2 a delta k) (1 + x/k) ** (k/x + 1))
    distance of the bid  c1 + delta/2 c2 sigma + c2 sigma q
    distance of the ask  c1 + delta/2 c2 sigma - c2 sigma q
"""

from __future__ import annotations

import math

from fanout.trading.strategies.base import Quotes, Stateless, View
from fanout.trading.strategies.rounding import quotes_of
from fanout.trading.strategies.speedups import twin


class Glft(Stateless, frozen=True, kw_only=True):
    """Quotes the mid at the distances above.

    `gamma` is the risk aversion, `sigma` the volatility in price per sqrt(second), `k` the decay
    and `a` the level of the fill intensity, `delta` the size of an order in units of the base.
    """

    gamma: float
    sigma: float
    k: float
    a: float
    delta: float

    @property
    def c1(self) -> float:
        """The distance without risk, in units of the quote currency."""
        size = self.gamma * self.delta
        return math.log1p(size / self.k) / size

    @property
    def c2(self) -> float:
        """What a unit of volatility and of position adds."""
        size = self.gamma * self.delta
        power = (self.k / size + 1) * math.log1p(size / self.k)
        return math.sqrt(self.gamma / (2 * self.a * self.delta * self.k) * math.exp(power))

    def distances(self, held: float) -> tuple[float, float]:
        """How far bid and ask are from the mid, for a position in units of the base."""
        half = self.c1 + self.delta / 2 * self.c2 * self.sigma
        skew = self.c2 * self.sigma * held
        return half + skew, half - skew

    @twin
    def quote(self, view: View) -> Quotes:
        """What is to work now."""
        mid = view.mid
        bid, ask = self.distances(view.held)
        skew = (ask - bid) / 2
        return quotes_of(
            view,
            bid=mid - bid,
            ask=mid + ask,
            fair_value=mid + skew,
            skew=skew,
            quantity=self.quantity,
            position_limit=self.position_limit,
        )
