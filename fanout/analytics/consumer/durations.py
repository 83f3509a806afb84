"""Durations with a unit, such as `100ms`, as whole nanoseconds."""

from decimal import Decimal
from typing import Final

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}

LONGEST_NS: Final = 24 * _UNITS_NS["h"]
"""Limit of a duration. Protects a consumer from windows that would never be forgotten."""

MAX_CHARS: Final = 24


def duration_ns(text: str) -> int:
    """Nanoseconds from `100ms`, `1.5s` or `15m`: a number and one of ns, us, ms, s, m, h. Zero is
    allowed. Raises `ValueError` with words that follow a key and its value."""
    number = text.rstrip("nsumh")
    unit = text[len(number) :]
    if unit not in _UNITS_NS or not 0 < len(number) <= MAX_CHARS:
        raise ValueError(f"no duration: a number and one of {', '.join(_UNITS_NS)}, such as 100ms")
    try:
        exact = Decimal(number.strip()) * _UNITS_NS[unit]
    except ArithmeticError:  # its exponent may be anything
        exact = Decimal("NaN")
    if not exact.is_finite() or exact < 0 or exact != exact.to_integral_value():
        raise ValueError("no duration of whole nanoseconds, such as 100ms or 1.5s")
    if exact > LONGEST_NS:
        raise ValueError("longer than 24h")
    return int(exact)


def duration_text(ns: int) -> str:
    """A duration as `duration_ns` takes it, in the largest unit that gives a whole number."""
    for unit, unit_ns in reversed(_UNITS_NS.items()):
        if ns and ns % unit_ns == 0:
            return f"{ns // unit_ns}{unit}"
    return f"{ns}ns"
