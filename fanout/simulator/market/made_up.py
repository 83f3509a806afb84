"""Instruments made up by number, for markets of hundreds of symbols.

Price, decimals and weight follow from a name such as `S0021USDT`, so they are the same on every
machine. Weights fall as on an exchange: a few symbols have most of the trades.
"""

import re
from typing import Final
from zlib import crc32

from fanout.simulator.market.listing import Listing, unit

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
    number, dice = int(match[1]), crc32(symbol.encode())
    places = dice % 5 + 1
    price = f"{10 ** (4 - places) * (1 + dice % 800 / 100):.{places}f}"
    tick, step = unit(places), unit(dice // 5 % 3)
    if least_places is not None:
        price, tick, step = (_widened(each, least_places) for each in (price, tick, step))
    return Listing(
        symbol,
        price,
        tick,
        step,
        1_000 + dice,
        weight=60 / max(10, number),
        contract_type=contract_type,
    )


def _widened(text: str, places: int) -> str:
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<{places}}"
