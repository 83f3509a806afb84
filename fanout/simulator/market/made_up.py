"""Instruments made up by number, for markets of hundreds of symbols.

Price, decimals and weight follow from a name such as `S0021USDT`, so they are the same on every
machine. Weights fall as on an exchange: a few symbols have most of the trades.
"""

import re
from decimal import Decimal
from typing import Any, Final
from zlib import crc32

from fanout.simulator.market.listing import Listing, unit

USUAL_DIGITS: Final = 5
_NAME: Final = re.compile(r"S([0-9]{4,5})USDT")


def made_up_symbol(number: int) -> str:
    return f"S{number:04}USDT"


def made_up(
    symbol: str, *, contract_type: str = "", least_places: int | None = None
) -> Listing | None:
    """The listing of a made-up symbol; None for any other. Prices and quantities have at least
    `least_places` decimals."""
    match = _NAME.fullmatch(symbol)
    if match is None:
        return None
    return numbered(symbol, int(match[1]), least_places=least_places, contract_type=contract_type)


def numbered(
    symbol: str,
    number: int,
    *,
    digits: int = USUAL_DIGITS,
    magnitude: int | None = None,
    least_places: int | None = None,
    **terms: Any,
) -> Listing:
    """The listing of a symbol that a dialect spells for a number.

    Its price has so many significant `digits`, and is 10 to the power of `magnitude`, times 1 to 9.
    `terms` are further fields of the listing.
    """
    dice = crc32(symbol.encode())
    if magnitude is None:
        magnitude = 3 - dice % 5
    exponent = magnitude - digits + 1  # of the last significant digit
    price = format(Decimal(_leading(digits, dice)).scaleb(exponent), "f")
    tick = "1" + "0" * exponent if exponent > 0 else unit(-exponent)
    step = unit(dice // 5 % 3)
    if least_places is not None:
        price, tick, step = (_widened(each, least_places) for each in (price, tick, step))
    terms = {"weight": 60 / max(10, number)} | terms
    return Listing(symbol, price, tick, step, 1_000 + dice, **terms)


def _leading(digits: int, dice: int) -> int:
    """A number of so many digits. Without need, the last ones are zeros."""
    usual = (100 + dice % 800) * 100
    if digits <= USUAL_DIGITS:
        return int(usual // 10 ** (USUAL_DIGITS - digits))
    more = int(10 ** (digits - USUAL_DIGITS))
    return usual * more + dice % more


def _widened(text: str, places: int) -> str:
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<{places}}"
