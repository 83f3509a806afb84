"""Sizes of positions: the same risk, whatever the volatility.

A position of quantity q at price p changes in value by about q·p·v·sqrt(h) within h seconds, one
standard deviation, where v is the volatility of returns per sqrt second. At full strength and
confidence that is the risk budget; a weaker signal takes its share of it:

    q = budget · strength · confidence / (p · v · sqrt(h))       rounded down to the lot

The arithmetic is exact from the doubles on, so a size is never above its limit, and never grows
with the volatility.
"""

from decimal import Decimal
from fractions import Fraction
from math import inf, sqrt

import msgspec

from fanout.analytics.fits.samples import HORIZON_NS
from fanout.analytics.signals.models import Signal, SignalError
from fanout.protocol.instrument import Instrument


class Size(msgspec.Struct, frozen=True):
    """The position that a signal asks for.

    `quantity` is in units of the instrument's `quantity_exponent`, above 0 for a long position and
    below for a short one. 0 is no position, and `reason` says why.
    """

    instrument: Instrument
    quantity: int
    reason: str

    @property
    def quantity_decimal(self) -> Decimal:
        """The quantity, exactly."""
        return self.instrument.quantity_decimal(self.quantity)


class PositionSize(msgspec.Struct, frozen=True, kw_only=True):
    """How signals of one instrument become positions.

    `risk_budget` is the standard deviation of a full position's value over `horizon_ns`, in the
    quote currency. `max_quantity` is the limit, and `lot` the step, in units of the quantity
    exponent; without a `lot` it is the instrument's, or 1 where that is unknown. Raises
    `SignalError` for values out of range.
    """

    instrument: Instrument
    risk_budget: Decimal
    max_quantity: int
    horizon_ns: int = HORIZON_NS
    lot: int = 0

    def __post_init__(self) -> None:
        budget = self.risk_budget
        if not (isinstance(budget, Decimal) and budget.is_finite() and budget > 0):
            raise SignalError(f"risk budget {budget}: a Decimal above 0, in the quote currency")
        if self.instrument.contract_mantissa <= 0:
            raise SignalError(
                f"{self.instrument.symbol} has contracts of {self.instrument.contract_mantissa}: "
                "no size can be known"
            )
        if self.horizon_ns <= 0:
            raise SignalError(f"horizon of {self.horizon_ns} ns: above 0")
        if self.max_quantity < 0 or self.lot < 0:
            raise SignalError(f"limit {self.max_quantity} and lot {self.lot}: not below 0")

    def of(self, signal: Signal, volatility: float | None, price: float | None) -> Size:
        """The position for a signal. `volatility` is of returns per sqrt second, `price` the mid in
        the quote currency. Without either there is no position."""
        if not signal.direction:
            return self._none(f"no direction: {signal.reason}")
        if volatility is None or not 0 < volatility < inf:
            return self._none(f"volatility is {_told(volatility)}")
        if price is None or not 0 < price < inf:
            return self._none(f"price is {_told(price)}")
        deviation = Fraction(volatility) * Fraction(sqrt(self.horizon_ns / 1e9))
        wanted = Fraction(self.risk_budget) * Fraction(signal.strength * signal.confidence)
        return self._limited(signal, wanted / (self._value_of_unit(price) * deviation))

    def _value_of_unit(self, price: float) -> Fraction:
        """What one unit of quantity is worth, in the quote currency."""
        item = self.instrument
        contract = item.contract_mantissa * Fraction(10) ** item.contract_exponent
        unit = contract * Fraction(10) ** item.quantity_exponent
        return unit if item.type.is_inverse else unit * Fraction(price)

    def _limited(self, signal: Signal, units: Fraction) -> Size:
        """Round down to the lot, and to the limit."""
        lot = self.lot or self.instrument.lot or 1
        quantity = min(int(units), self.max_quantity) // lot * lot
        if not quantity:
            return self._none(f"less than a lot of {self.instrument.quantity_text(lot)}")
        held = ", at the limit" if units > self.max_quantity else ""
        return Size(self.instrument, signal.direction * quantity, f"{signal.reason}{held}")

    def _none(self, reason: str) -> Size:
        return Size(self.instrument, 0, reason)


def _told(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"
