"""Amounts of money as integers, exact for as long as a run lasts.

A linear contract of quantity q that goes from price p0 to p1 earns q * (p1 - p0) of the quote. An
inverse one is an amount of the quote, and earns q * (1/p0 - 1/p1) of the base. Both are q times the
difference of a *worth*: p, or -1/p. So one arithmetic serves both.

An amount is a Python integer at `Money.exponent`, which is 12 digits finer than the product of a
price and a quantity. A linear worth is exact there. An inverse worth is a quotient, so it is
rounded once, to `INVERSE_DIGITS` digits, when the fill is booked. After that everything is sums of
integers. Fractions would be exact too, but their denominators grow with every price: after ten
thousand fills an addition takes milliseconds.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import msgspec

from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument

FINER_DIGITS: Final = 12
"""How much finer an amount is than a price times a quantity. It is the room for fees and for the
one rounding that a partial close needs."""

INVERSE_DIGITS: Final = 40
"""Digits of 1/price for an inverse contract. A price has 19 digits at most, so an amount has at
least 21 that are right."""

_FINER: Final = 10**FINER_DIGITS
_INVERSE: Final = 10**INVERSE_DIGITS

FEE_DIGITS: Final = 8
"""A fee of n is n * 10**-8 of the value: 10,000 is one basis point."""

_FEE: Final = 10**FEE_DIGITS


class Money(msgspec.Struct, frozen=True):
    """The currency that an instrument is settled in, and the exponent of its amounts."""

    currency: str
    exponent: int
    is_inverse: bool
    _mantissa: int

    def worth(self, price: int, quantity: int, *, parts: int = 1) -> int:
        """What `quantity` at `price / parts` is worth: quantity times p, or times -1/p.

        The quantity may be negative. `parts` of 2 lets the sum of best bid and ask be a price.
        Raises `ZeroDivisionError` for an inverse contract at the price 0.
        """
        scaled = quantity * self._mantissa
        if self.is_inverse:
            return -nearest(scaled * parts * _INVERSE, price)
        if parts == 1:
            return scaled * price * _FINER
        return nearest(scaled * price * _FINER, parts)

    def value(self, price: int, quantity: int, *, parts: int = 1) -> int:
        """The size of a trade in the settlement currency, never negative."""
        return abs(self.worth(price, quantity, parts=parts))

    def fee(self, price: int, quantity: int, rate: int) -> int:
        """A fee at `rate` * 10**-8 of the value, rounded up to the exponent: a rebate, which is
        negative, gets smaller by that."""
        return -(-self.value(price, quantity) * rate // _FEE)

    def text(self, amount: int) -> str:
        """An amount in decimal digits, without zeros at the end."""
        text = to_text(amount, self.exponent)
        return text.rstrip("0").rstrip(".") if "." in text else text

    def amount(self, text: str) -> int:
        """The amount that `text` wrote."""
        return int(Fraction(text) / Fraction(10) ** self.exponent)


def money_of(instrument: Instrument) -> Money:
    """The money of an instrument."""
    quantity = instrument.quantity_exponent + instrument.contract_exponent
    if instrument.type.is_inverse:
        exponent = quantity - instrument.price_exponent - INVERSE_DIGITS
        return Money(instrument.base, exponent, True, instrument.contract_mantissa)
    exponent = quantity + instrument.price_exponent - FINER_DIGITS
    return Money(instrument.quote, exponent, False, instrument.contract_mantissa)


def nearest(dividend: int, divisor: int) -> int:
    """The quotient rounded to the nearest integer, halves away from zero. `divisor` is positive,
    or negative together with the sign of the result."""
    if divisor < 0:
        dividend, divisor = -dividend, -divisor
    whole = (2 * abs(dividend) + divisor) // (2 * divisor)
    return whole if dividend >= 0 else -whole
