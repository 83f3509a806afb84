"""An instrument: one symbol at a venue. Every record has one, and is in its units.

How instruments travel is in `instruments`.
"""

from decimal import Decimal

import msgspec

from fanout.protocol.constants import InstrumentType
from fanout.protocol.fixedpoint import to_decimal, to_text


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol at a venue, with the units of its numbers.

    A price of `n` is n * 10**price_exponent of the quote currency, a quantity of `n` is
    n * 10**quantity_exponent of the base asset, a time of `n` is n * 10**time_exponent seconds
    since 1970. `index` is its place in the header, the same for a whole epoch.

    `tick` and `lot` are the smallest steps of price and quantity, in units of the exponents; 0
    where unknown. `base` and `quote` are the names of the two assets, empty where unknown. One unit
    of quantity is `contract_mantissa` * 10**`contract_exponent` of the base, or of the quote if
    `type` is inverse: 1 for spot.
    """

    index: int
    symbol: str
    price_exponent: int
    quantity_exponent: int
    time_exponent: int = -3
    tick: int = 0
    lot: int = 0
    base: str = ""
    quote: str = ""
    type: InstrumentType = InstrumentType.OTHER
    contract_mantissa: int = 1
    contract_exponent: int = 0

    def price_text(self, price: int) -> str:
        """A price in decimal digits, as many after the point as the exponent says."""
        return to_text(price, self.price_exponent)

    def price_decimal(self, price: int) -> Decimal:
        """A price, exactly."""
        return to_decimal(price, self.price_exponent)

    def quantity_text(self, quantity: int) -> str:
        """A quantity in decimal digits, as many after the point as the exponent says."""
        return to_text(quantity, self.quantity_exponent)

    def quantity_decimal(self, quantity: int) -> Decimal:
        """A quantity, exactly."""
        return to_decimal(quantity, self.quantity_exponent)
