"""What the integers of an instrument are worth."""

from __future__ import annotations

from fanout.protocol.instrument import Instrument


class Units:
    """A price is `price * n / price_per`, of the quote currency, and a quantity likewise; one of
    the two factors is 1. So a value is one division of two integers.

    Quantities are in the unit in which the instrument has them. Where that is a contract
    (`Instrument.contract_mantissa`), features of quantities are in contracts.
    """

    __slots__ = ("price", "price_per", "quantity", "quantity_per")

    def __init__(self, instrument: Instrument) -> None:
        self.price, self.price_per = _ratio(instrument.price_exponent)
        self.quantity, self.quantity_per = _ratio(instrument.quantity_exponent)


def _ratio(exponent: int) -> tuple[int, int]:
    ten: int = 10 ** abs(exponent)
    return (ten, 1) if exponent >= 0 else (1, ten)
