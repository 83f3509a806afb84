"""The profit of one fill model in parts: spread, inventory and fees.

With the mid m at a fill, a buy of q at p earns q (m - p) of *spread*: what the fill was better than
the mid. From one mid to the next a position of Q earns Q (m' - m): *inventory*. Of an inverse
contract it is q (1/p - 1/m) and Q (1/m - 1/m'). So

    opening + spread + inventory - fees = realised + unrealised - fees

to the last digit, at any time, with the newest mid as the mark. That holds whatever the mids and
the roundings are: each part is what a step added to realised and unrealised profit. *Opening* is
what both were before the first step: 0, but for a position from a checkpoint.
"""

from __future__ import annotations

from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.position import Position, PositionRecord


class Profit:
    """The parts so far. All amounts are at `position.money.exponent`. With a `record` the position
    goes on from it, at a mid of `twice_mid / 2`. If that is 0 the first mid counts for it.

    `unmarked` counts the fills at a moment without a mid. They are booked at the newest mid before,
    or at their own price if there was none.
    """

    __slots__ = ("_gross", "inventory", "opening", "position", "spread", "twice_mid", "unmarked")

    def __init__(
        self, instrument: Instrument, record: PositionRecord | None = None, twice_mid: int = 0
    ) -> None:
        self.position = Position(instrument, record)
        self.spread = self.inventory = 0
        self.twice_mid = 0
        """The newest one that was known, in half units of the price. 0 before the first."""
        self.unmarked = 0
        self.opening = self._gross = self.position.realised
        """Realised and unrealised profit at that mid."""
        if twice_mid:
            self._open(twice_mid)

    def _open(self, twice_mid: int) -> None:
        """Begin to count, at the first mid."""
        self.twice_mid = twice_mid
        self.opening = self._gross = self.position.realised + self.unrealised

    def mark(self, twice_mid: int) -> None:
        """The mid has moved."""
        if not self.twice_mid:
            self._open(twice_mid)
        self.twice_mid = twice_mid
        self.inventory += self._gained()

    def fill(
        self, side: Side, price: int, quantity: int, fee: int, *, is_marked: bool = True
    ) -> None:
        """Book a fill. `is_marked` says whether the newest mid is that of the fill."""
        if not is_marked:
            self.unmarked += 1
        if not self.twice_mid:
            self._open(2 * price)
        self.position.fill(side, price, quantity, fee)
        self.spread += self._gained()

    def _gained(self) -> int:
        """What has been earned since it was asked for last, before fees."""
        before, self._gross = self._gross, self.position.realised + self.unrealised
        return self._gross - before

    @property
    def unrealised(self) -> int:
        """Of the open position, at the newest mid. 0 before there is one."""
        if not self.twice_mid:
            return 0
        return self.position.unrealised(self.twice_mid, parts=2)

    @property
    def total(self) -> int:
        """All parts, less fees. It is realised and unrealised profit less fees."""
        return self.opening + self.spread + self.inventory - self.position.fees
