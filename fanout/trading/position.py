"""A position and its profit: average cost, realised and unrealised, fees apart.

Adding to a position averages its cost. Reducing it realises the difference between the price and
the average cost, for the part that is closed. A fill larger than the position closes all of it, and
opens the rest at the price of the fill.

    +10@100, +10@110   20 long at 105
    -5@120             realised 75, 15 long at 105
    -25@100            realised 0 in all (75 - 75), 10 short at 100
    +4@90              realised 40, 6 short at 100
    mark 95            unrealised 30

The cost is kept as a sum, not as an average: it stays an integer. Closing a part divides the sum
once. What the division rounds off stays with the open part, so nothing is lost: realised and
unrealised profit always add up to what the fills paid and what is held, to the last digit.
"""

from __future__ import annotations

import msgspec

from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.money import money_of, nearest


class PositionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A position as it outlives a restart: what `Position` has, and `cost`, the worth of the open
    quantity when it was opened."""

    quantity: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    bought: int = 0
    sold: int = 0
    fills: int = 0


class Position:
    """The position in one instrument, from flat, or from a `record`.

    `quantity` is positive when long, at the instrument's exponent. `realised` and `fees` are
    amounts at `money.exponent`; `fees` is positive for what was paid. `bought` and `sold` are the
    quantities of all fills, `fills` their number.
    """

    __slots__ = (
        "_cost",
        "bought",
        "fees",
        "fills",
        "instrument",
        "money",
        "quantity",
        "realised",
        "sold",
    )

    def __init__(self, instrument: Instrument, record: PositionRecord | None = None) -> None:
        record = PositionRecord() if record is None else record
        self.instrument = instrument
        self.money = money_of(instrument)
        self.quantity, self.bought, self.sold = record.quantity, record.bought, record.sold
        self.realised, self.fees, self.fills = record.realised, record.fees, record.fills
        self._cost = record.cost
        """The worth of the open quantity when it was opened."""

    def __repr__(self) -> str:
        held = self.instrument.quantity_text(self.quantity)
        return f"<Position {held} {self.instrument.symbol}>"

    def export(self) -> PositionRecord:
        """The position, for a file."""
        return PositionRecord(
            quantity=self.quantity,
            cost=self._cost,
            realised=self.realised,
            fees=self.fees,
            bought=self.bought,
            sold=self.sold,
            fills=self.fills,
        )

    def fill(self, side: Side, price: int, quantity: int, fee: int = 0) -> int:
        """Book a fill of a positive quantity. Returns what it realised, without the fee."""
        assert quantity > 0, f"a fill of {quantity}"
        self.fills += 1
        self.fees += fee
        if side is Side.BID:
            self.bought += quantity
            signed = quantity
        else:
            self.sold += quantity
            signed = -quantity
        return self._book(signed, price)

    def _book(self, signed: int, price: int) -> int:
        realised, held = 0, self.quantity
        if held and (held > 0) is not (signed > 0):
            closed = min(abs(signed), abs(held)) * (1 if signed > 0 else -1)
            realised = self._close(closed, price)
            signed -= closed
        self._cost += self.money.worth(price, signed)
        self.quantity += signed
        return realised

    def _close(self, closed: int, price: int) -> int:
        """Close a part. `closed` has the sign of the fill."""
        cost = nearest(self._cost * -closed, self.quantity)
        realised = -self.money.worth(price, closed) - cost
        self._cost -= cost
        self.quantity += closed
        self.realised += realised
        return realised

    def unrealised(self, mark: int, *, parts: int = 1) -> int:
        """What closing the position at `mark / parts` would realise. The sum of the best bid and
        the best ask with `parts=2` is the mid."""
        if not self.quantity:
            return 0
        return self.money.worth(mark, self.quantity, parts=parts) - self._cost

    def equity(self, mark: int, *, parts: int = 1) -> int:
        """Realised and unrealised profit, less fees."""
        return self.realised + self.unrealised(mark, parts=parts) - self.fees

    @property
    def average(self) -> float | None:
        """The average price of the open quantity, in units of the price. None when flat."""
        if not self.quantity:
            return None
        one = self.money.worth(1, self.quantity)
        return one / self._cost if self.money.is_inverse else self._cost / one
