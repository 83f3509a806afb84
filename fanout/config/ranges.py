"""Numbers within limits, refused by the name of the option that set them."""

import math

from fanout.errors import UsageError


def check_range(flag: str, value: float, low: float, high: float) -> None:
    """Raises `UsageError` for a value outside low..high. NaN is outside of every range."""
    if not low <= value <= high:
        raise UsageError(f"{flag} {value:g}: {low:g} to {high:,.0f}")


def check_seconds(flag: str, seconds: float | None) -> None:
    """Raises `UsageError` unless the duration is above 0 and finite. None is no limit."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"{flag} {seconds}: give a number of seconds above 0")
