"""Numbers within limits, refused by the name of the option that set them."""

from fanout.errors import UsageError


def check_range(flag: str, value: float, low: float, high: float) -> None:
    """Raises `UsageError` for a value outside low..high. NaN is outside of every range."""
    if not low <= value <= high:
        raise UsageError(f"{flag} {value:g}: {low:g} to {high:,.0f}")
