"""How the mid moves after fills: adverse selection, with its standard error.

The move over a horizon h after a fill at t is mid(t + h) - mid(t), with its sign turned for a buy:
so a positive one is against the fill. mid(t) is the mid that the fill met, mid(t + h) the mid after
all records up to that moment. A fill counts only if both were observed: not where the run had ended
by then, where fills were frozen, or where a side of the book was empty.

The standard error is that of independent moves, s / sqrt(n). Horizons of fills that follow each
other overlap, so for bursts of fills the true one is larger.
"""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction
from typing import Final

from fanout.protocol.constants import Side
from fanout.trading.money import nearest

_SCALE: Final = 2**40
"""Parts of a basis point, so that sums are integers."""


class Mean:
    """The mean of integers, and its standard error."""

    __slots__ = ("_squares", "_sum", "count")

    def __init__(self) -> None:
        self.count = self._sum = self._squares = 0

    def add(self, value: int) -> None:
        """One more."""
        self.count += 1
        self._sum += value
        self._squares += value * value

    def value(self, unit: Fraction) -> float | None:
        """The mean, where an integer of 1 is worth `unit`. None without any."""
        return float(Fraction(self._sum, self.count) * unit) if self.count else None

    def error(self, unit: Fraction) -> float | None:
        """The standard error of the mean. None for less than two."""
        n = self.count
        if n < 2:
            return None
        variance = Fraction(n * self._squares - self._sum**2, n * n * (n - 1))
        return math.sqrt(variance * unit * unit)


class Moves:
    """Moves of the mid, in price and in basis points of the mid that they begin from."""

    __slots__ = ("_bps", "_price", "_unit")

    def __init__(self, price_exponent: int) -> None:
        self._unit = Fraction(10) ** price_exponent / 2
        self._price = Mean()
        self._bps = Mean()

    def add(self, half_units: int, twice_mid: int) -> None:
        """One more, in half units of the price, from a mid in the same."""
        self._price.add(half_units)
        self._bps.add(nearest(half_units * 10_000 * _SCALE, twice_mid))

    @property
    def count(self) -> int:
        """How many there are."""
        return self._price.count

    @property
    def price(self) -> tuple[float | None, float | None]:
        """The mean in units of the price, and its standard error."""
        return self._price.value(self._unit), self._price.error(self._unit)

    @property
    def bps(self) -> tuple[float | None, float | None]:
        """The mean in basis points, and its standard error."""
        unit = Fraction(1, _SCALE)
        return self._bps.value(unit), self._bps.error(unit)


class Horizon:
    """The moves against the fills of a model over one horizon. `unobserved` counts the fills whose
    move is not known."""

    __slots__ = ("_waiting", "horizon_ns", "moves", "unobserved")

    def __init__(self, horizon_ns: int, price_exponent: int) -> None:
        self.horizon_ns = horizon_ns
        self.moves = Moves(price_exponent)
        self.unobserved = 0
        self._waiting: deque[tuple[int, int, int]] = deque()
        """When a horizon ends, the sign of the fill, and twice the mid that it met."""

    def fill(self, side: Side, time_ns: int, twice_mid: int) -> None:
        """A fill. `twice_mid` is 0 where the mid was not known."""
        if not twice_mid:
            self.unobserved += 1
            return
        self._waiting.append((time_ns + self.horizon_ns, 1 if side is Side.BID else -1, twice_mid))

    def settle(self, until_ns: int, twice_mid: int) -> None:
        """The mid was this one, or not known (0), at every end of a horizon before `until_ns`."""
        waiting = self._waiting
        while waiting and waiting[0][0] < until_ns:
            _, sign, before = waiting.popleft()
            if twice_mid:
                self.moves.add(sign * (before - twice_mid), before)
            else:
                self.unobserved += 1

    def end(self) -> None:
        """The run has ended. What still waits is not observed."""
        self.unobserved += len(self._waiting)
        self._waiting.clear()
