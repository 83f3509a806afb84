"""Whether what a strategy wants makes sense, before anything is sent."""

from __future__ import annotations

import math
from typing import Final

from fanout.protocol.instrument import Instrument
from fanout.trading.errors import StrategyError
from fanout.trading.strategies.base import Quoted, Quotes

MAX_QUOTES: Final = 50
"""Limit of the quotes of one side. It keeps a strategy from flooding the exchange."""


def require_sane(quotes: Quotes, instrument: Instrument) -> None:
    """Raises `StrategyError` for quotes that nobody can mean."""
    for name, side in (("bids", quotes.bids), ("asks", quotes.asks)):
        if len(side) > MAX_QUOTES:
            raise StrategyError(f"{len(side):,} {name} exceed {MAX_QUOTES}")
        for quote in side:
            _require_order(quote, instrument)
    if quotes.bids and quotes.asks:
        bid, ask = max(quotes.bids)[0], min(quotes.asks)[0]
        if bid >= ask:
            raise StrategyError(f"the bid of {bid} crosses the ask of {ask}")
    for name, value in (("fair value", quotes.fair_value), ("skew", quotes.skew)):
        if not math.isfinite(value):
            raise StrategyError(f"the {name} is {value}")


def _require_order(quote: Quoted, instrument: Instrument) -> None:
    price, quantity = quote
    if type(price) is not int or type(quantity) is not int or price <= 0 or quantity <= 0:
        raise StrategyError(f"{quantity!r} at {price!r} are not integers above 0")
    if price % (instrument.tick or 1) or quantity % (instrument.lot or 1):
        raise StrategyError(
            f"{quantity} at {price} is off the lot of {instrument.lot} or the tick of "
            f"{instrument.tick}"
        )
