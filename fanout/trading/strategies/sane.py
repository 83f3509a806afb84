"""Whether what a strategy wants makes sense, before anything is sent.

A strategy is a user's code. What it returns is taken apart here, and put into the types that orders
and the journal need. So nothing behind this place can fail for its sake.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import index
from typing import Final

from fanout.protocol.constants import I64_MAX
from fanout.protocol.instrument import Instrument
from fanout.trading.errors import StrategyError
from fanout.trading.strategies.base import Quoted, Quotes

MAX_QUOTES: Final = 50
"""Limit of the quotes of one side. It keeps a strategy from flooding the exchange."""

MAX_WORDS: Final = 500
"""Limit of the characters of a reason. It protects the journal."""

MAX_CLAMPS: Final = 20
"""Limit of the reasons of a quote, for the same."""


def checked(quotes: object, instrument: Instrument) -> Quotes:
    """The quotes, with integers, floats and texts of Python's own. Raises `StrategyError` for
    quotes that nobody can mean."""
    if not isinstance(quotes, Quotes):
        raise StrategyError(f"quote() returned a {type(quotes).__name__}; it has to be Quotes")
    bids = _side("bids", quotes.bids, instrument)
    asks = _side("asks", quotes.asks, instrument)
    if bids and asks:
        bid, ask = max(bids).price, min(asks).price
        if bid >= ask:
            raise StrategyError(f"the bid of {bid} crosses the ask of {ask}")
    return Quotes(
        bids=bids,
        asks=asks,
        fair_value=_finite("fair value", quotes.fair_value),
        skew=_finite("skew", quotes.skew),
        clamps=_reasons(quotes.clamps),
    )


def in_words(value: object) -> str:
    """A text of a strategy's own making as one line, short enough for the journal, without what
    would control a terminal. It does not raise."""
    if type(value) is str and len(value) <= MAX_WORDS and value.isprintable():
        return value
    try:
        text = str(value)
    except Exception as error:
        text = f"{type(value).__name__}, whose text raises {type(error).__name__}"
    text = text[:MAX_WORDS]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def _side(
    name: str, quotes: Iterable[tuple[int, int]], instrument: Instrument
) -> tuple[Quoted, ...]:
    side = tuple(quotes)
    if len(side) > MAX_QUOTES:
        raise StrategyError(f"{len(side):,} {name} exceed {MAX_QUOTES}")
    return tuple([_order(quote, instrument) for quote in side])


def _order(quote: tuple[int, int], instrument: Instrument) -> Quoted:
    price, quantity = _whole(quote[0]), _whole(quote[1])
    if not (0 < price <= I64_MAX and 0 < quantity <= I64_MAX):
        shown = f"{in_words(quote[1])} at {in_words(quote[0])}"
        raise StrategyError(f"{shown} are not integers above 0, in 64 bits")
    if price % (instrument.tick or 1) or quantity % (instrument.lot or 1):
        raise StrategyError(
            f"{quantity} at {price} is off the lot of {instrument.lot} or the tick of "
            f"{instrument.tick}"
        )
    return Quoted(price, quantity)


def _whole(value: object) -> int:
    """An integer of any library as Python's own; 0 for what is none, which is refused."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return 0
    return index(value)


def _finite(name: str, value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise StrategyError(f"the {name} is {number}")
    return number + 0.0  # without the sign of a zero


def _reasons(clamps: object) -> tuple[str, ...]:
    if not isinstance(clamps, tuple | list):
        raise StrategyError(f"clamps are a {type(clamps).__name__}; they have to be texts")
    return tuple([in_words(each) for each in clamps[:MAX_CLAMPS]])
