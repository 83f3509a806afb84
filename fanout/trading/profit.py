"""The profit of one fill model in parts: spread, inventory and fees.

With the mid m at a fill, a buy of q at p earns q (m - p) of *spread*: what the fill was better than
the mid. From one mid to the next a position of Q earns Q (m' - m): *inventory*. Of an inverse
contract it is q (1/p - 1/m) and Q (1/m - 1/m'). So

    spread + inventory - fees = realised + unrealised - fees

to the last digit, at any time, with the newest mid as the mark. That holds whatever the mids and
the roundings are: each part is what a step added to realised and unrealised profit.
"""

from __future__ import annotations

from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.position import Position


class Profit:
    """The parts so far. All amounts are at `position.money.exponent`.

    `unmarked` counts the fills at a moment without a mid. They are booked at the newest mid before,
    or at their own price if there was none.
    """

    __slots__ = ("_gross", "inventory", "position", "spread", "twice_mid", "unmarked")

    def __init__(self, instrument: Instrument) -> None:
        self.position = Position(instrument)
        self.spread = self.inventory = 0
        self.twice_mid = 0
        """The newest one that was known, in half units of the price. 0 before the first."""
        self.unmarked = 0
        self._gross = 0
        """Realised and unrealised profit at that mid."""

    def mark(self, twice_mid: int) -> None:
        """The mid has moved."""
        self.twice_mid = twice_mid
        self.inventory += self._gained()

    def fill(
        self, side: Side, price: int, quantity: int, fee: int, *, is_marked: bool = True
    ) -> None:
        """Book a fill. `is_marked` says whether the newest mid is that of the fill."""
        if not is_marked:
            self.unmarked += 1
        if not self.twice_mid:
            self.twice_mid = 2 * price
        self.position.fill(side, price, quantity, fee)
        self.spread += self._gained()

    def _gained(self) -> int:
        """What has been earned since it was asked for last, before fees."""
        before, self._gross = self._gross, self.position.realised + self.unrealised
        return self._gross - before

    @property
    def unrealised(self) -> int:
        """Of the open position, at the newest mid."""
        return self.position.unrealised(self.twice_mid, parts=2)

    @property
    def total(self) -> int:
        """Spread and inventory less fees. It is realised and unrealised profit less fees."""
        return self.spread + self.inventory - self.position.fees
