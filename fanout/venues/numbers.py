"""JSON as venues write it: its errors, and its numbers as decimal text. Pure.

Some venues send prices and quantities as JSON numbers (Deribit, Bitfinex), a few of them in
exponent form. No such number may pass through a double, which has other digits. So a field of that
kind is declared as `msgspec.Raw`, which keeps the bytes as sent, and `decimal_text` reads them.
"""

import re
from typing import Final

import msgspec

from fanout.errors import VenueMessageError

BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors of msgspec for invalid JSON; RecursionError is for deep nesting."""

MAX_PLACES: Final = 40
"""Most digits of a number, before and after the point together. No venue has half as many, and an
exponent of three digits would stand for a thousand."""

_NUMBER: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,9}))?")


def decimal_text(raw: msgspec.Raw) -> str:
    """The digits of a JSON number, without an exponent. Raises `VenueMessageError` for another JSON
    value, also for a string."""
    return plain(str(raw, "utf-8", "replace"))


def plain(number: str) -> str:
    """A number as JSON writes it, without an exponent: "5e-7" is "0.0000005".

    Its value is the same exactly, and digits after the point are kept, also zeros. Raises
    `VenueMessageError` for other text, and for a number of more than 40 digits.
    """
    found = _NUMBER.fullmatch(number)
    if found is None:
        raise VenueMessageError("value that is no number", repr(number[:80]))
    sign, whole, fraction, exponent = found[1], found[2], found[3] or "", found[4]
    if exponent is None:
        if len(whole) + len(fraction) > MAX_PLACES:
            raise _too_long(number)
        return number
    digits, point = whole + fraction, len(whole) + int(exponent)
    if max(point, 1) + max(len(digits) - point, 0) > MAX_PLACES:
        raise _too_long(number)
    digits = digits.rjust(len(digits) - min(point - 1, 0), "0").ljust(point, "0")
    point = max(point, 1)
    whole, fraction = digits[:point].lstrip("0") or "0", digits[point:]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _too_long(number: str) -> VenueMessageError:
    return VenueMessageError("number that is too long", f"{number[:80]}, {MAX_PLACES} digits")
