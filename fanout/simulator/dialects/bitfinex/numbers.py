"""Numbers as JavaScript writes them in JSON: without zeros at the end, and with an exponent below
0.000001. An example is 5e-7."""

from decimal import Decimal
from typing import Final

SMALLEST_POWER: Final = -6


def spelled(text: str) -> str:
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int), "a market has no infinite numbers"
    figures, minus = "".join(map(str, digits)), "-" if sign else ""
    power = len(figures) + exponent - 1
    if not any(digits):
        return "0"
    if power < SMALLEST_POWER:
        return f"{minus}{'.'.join(filter(None, (figures[0], figures[1:])))}e{power}"
    if exponent >= 0:
        return f"{minus}{figures}{'0' * exponent}"
    whole, part = figures[:exponent] or "0", figures[exponent:].rjust(-exponent, "0")
    return f"{minus}{whole}.{part}"
