"""Amounts for people: rounded. The journal and JSON have every digit."""

from decimal import Decimal
from typing import Final

MONEY_DIGITS: Final = 4
"""Digits of an amount behind the point, for one of 1 or more. A smaller one has more."""

_MOST_DIGITS: Final = 12


def money(text: str, digits: int = MONEY_DIGITS) -> str:
    """An amount, rounded: small ones keep their first digits."""
    amount = Decimal(text)
    if amount and abs(amount) < 1:
        digits = min(digits - 1 - amount.adjusted(), _MOST_DIGITS)
    return f"{amount:,.{digits}f}"
