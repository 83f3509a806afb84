"""Exact numbers: an integer and a power of ten.

A venue writes `"61800.30"`. At exponent -2 that is exactly 6180030. These functions convert text to
integers, and integers to text, `Decimal` and float. Only the conversion to float rounds, once and
correctly. Text that is no plain decimal number, or has digits below the exponent, raises an error.
"""

from decimal import Decimal
from typing import Final

from fanout.protocol.errors import NotRepresentableError

MAX_DECIMAL_CHARS: Final = 64
"""Longest text accepted as a number. It bounds `int()`, whose time grows with the square."""

_TEN: Final = tuple(int(10**power) for power in range(MAX_DECIMAL_CHARS + 32))


def from_text(text: str, exponent: int) -> int:
    """The integer n for which n * 10**exponent is the decimal number `text`.

    `text` is an optional minus, digits, and at most one point with digits on both sides, 64
    characters in all. Raises `NotRepresentableError` for anything else, and where digits other
    than 0 stand below 10**exponent.
    """
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    # int() alone would accept "1_000", " 7" and digits of other scripts.
    if not (digits.isdigit() and digits.isascii()) or len(text) > MAX_DECIMAL_CHARS:
        return _signed(text, exponent)
    if not whole or (point and not fraction):
        raise NotRepresentableError(f"{text!r} is not a decimal number")
    surplus = len(fraction) + exponent
    if surplus == 0:
        return int(digits)
    if surplus < 0:
        return int(digits) * _TEN[-surplus]
    value, rest = divmod(int(digits), _TEN[surplus])
    if rest:
        raise NotRepresentableError(f"{text!r} has digits below 10**{exponent}")
    return value


def _signed(text: str, exponent: int) -> int:
    if len(text) > MAX_DECIMAL_CHARS:
        raise NotRepresentableError(f"number of {len(text):,} characters, {text[:16]!r}...")
    if text.startswith("-") and text[1:2].isdigit():
        return -from_text(text[1:], exponent)
    raise NotRepresentableError(f"{text!r} is not a decimal number")


def to_text(value: int, exponent: int) -> str:
    """The decimal number value * 10**exponent, with as many decimals as the exponent says."""
    if exponent >= 0:
        return str(value * _TEN[exponent])
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).rjust(1 - exponent, "0")
    return f"{sign}{digits[:exponent]}.{digits[exponent:]}"


def to_decimal(value: int, exponent: int) -> Decimal:
    """The same number as a `Decimal`: exact in every context, trailing zeros kept."""
    return Decimal((int(value < 0), tuple(map(int, str(abs(value)))), exponent))


def to_float(value: int, exponent: int) -> float:
    """The double nearest to the number: one correctly rounded division or product."""
    return value / _TEN[-exponent] if exponent < 0 else float(value * _TEN[exponent])
