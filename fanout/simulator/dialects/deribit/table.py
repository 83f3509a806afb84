"""The instruments of the simulated Deribit: perpetuals, futures, a pair, and options by the
thousand."""

import re
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from fanout.simulator.market.listing import Listing
from fanout.simulator.market.options import Option, option_listing, options

REVERSED: Final = "reversed"
LINEAR: Final = "linear"

PERPETUAL: Final = "PERPETUAL"
EXPIRES_MS: Final = 1_798_185_600_000
"""2026-12-25 08:00 UTC, when the first options and the future expire."""

_FIRST_MS: Final = EXPIRES_MS - 24 * 3_600_000
_MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_OPTION: Final = re.compile(r"[A-Z]+-[0-9]{1,2}[A-Z]{3}[0-9]{2}-[0-9]+-[CP]")


class _Base(NamedTuple):
    """A currency with options: its price, and the options' tick and least amount."""

    price: int
    tick_size: str
    step_size: str


_BASES: Final = {
    "BTC": _Base(85_000, "0.0001", "0.1"),
    "ETH": _Base(3_000, "0.0001", "1"),
    "SOL": _Base(150, "0.0001", "1"),
}
_MOST: Final = 1_620
"""Options of a currency."""


def _inverse(
    symbol: str, price: str, tick: str, step: str, first_id: int, weight: float
) -> Listing:
    """A future in dollars that is settled in its base."""
    base = symbol.partition("-")[0]
    return Listing(
        symbol,
        price,
        tick,
        step,
        first_id,
        weight,
        contract_type=REVERSED,
        base=base,
        quote="USD",
        settled_in=base,
        contract_size=step,
        expires_ms=None if symbol.endswith(PERPETUAL) else EXPIRES_MS,
    )


def _linear(symbol: str, price: str, tick: str, step: str, first_id: int, weight: float) -> Listing:
    """A pair of currencies, or a perpetual of one."""
    base, _, quote = symbol.partition("-")[0].partition("_")
    return Listing(
        symbol,
        price,
        tick,
        step,
        first_id,
        weight,
        contract_type=LINEAR,
        base=base,
        quote=quote,
        settled_in=quote,
        contract_size=step,
    )


def _spelled(option: Option) -> str:
    expires = datetime.fromtimestamp(option.expires_ms / 1_000, UTC)
    day = f"{expires.day}{_MONTHS[expires.month - 1]}{expires:%y}"
    return f"{option.base}-{day}-{option.strike}-{'C' if option.is_call else 'P'}"


@cache
def _options() -> dict[str, Option]:
    """By symbol, those of all currencies in turns, the first to expire at the price first."""
    of_each = (options(base, each.price, _MOST, _FIRST_MS) for base, each in _BASES.items())
    return {_spelled(each): each for each in chain.from_iterable(zip(*of_each, strict=True))}


def _option(symbol: str) -> Listing:
    option = _options()[symbol]
    base = _BASES[option.base]
    return option_listing(
        symbol,
        option,
        base.price,
        tick_size=base.tick_size,
        step_size=base.step_size,
        contract_type=REVERSED,
        quote=option.base,
        settled_in=option.base,
        contract_size="1",
    )


_ROWS: Final = (
    _inverse("BTC-PERPETUAL", "83671.5", "0.5", "10", 271_252_854, 40),
    _inverse("ETH-PERPETUAL", "3119.85", "0.05", "1", 198_330_417, 20),
    _linear("BTC_USDC-PERPETUAL", "83669.5", "0.5", "0.0001", 61_204_118, 8),
    _linear("SOL_USDC-PERPETUAL", "142.351", "0.001", "0.1", 22_871_305, 4),
    _inverse("BTC-25DEC26", "84210.0", "2.5", "10", 1_302_377, 3),
    _linear("BTC_USDC", "83667", "1", "0.0001", 3_118_204, 1),
    *map(_option, ("BTC-25DEC26-85000-C", "BTC-25DEC26-85000-P", "ETH-25DEC26-3000-P")),
)

TABLE: Final = {each.symbol: each for each in _ROWS}

UNTRADED: Final = (
    Listing(
        "BTC-26DEC25-100000-C",
        "0",
        "0.0001",
        "0.1",
        status="closed",
        contract_type=REVERSED,
        base="BTC",
        quote="BTC",
        settled_in="BTC",
        contract_size="1",
        expires_ms=1_766_736_000_000,
    ),
)
"""Rows without trades, in every listing."""


@cache
def _others() -> tuple[str, ...]:
    return tuple(symbol for symbol in _options() if symbol not in TABLE)


def made_up_symbol(number: int) -> str:
    """The symbol of an option; `number` counts from the table on."""
    return _others()[number - len(TABLE) - 1]


def made_up(symbol: str) -> Listing | None:
    """An option. Most of them never trade by themselves."""
    return _option(symbol) if symbol in _options() else None


def described(listing: Listing) -> Listing:
    """A recorded instrument, with what its symbol tells."""
    names = listing.symbol.partition("-")[0]
    base, _, quote = names.partition("_")
    is_option = _OPTION.fullmatch(listing.symbol) is not None
    return msgspec.structs.replace(
        listing,
        contract_type=LINEAR if quote else REVERSED,
        base=base,
        quote=quote or (base if is_option else "USD"),
        settled_in=quote or base,
        contract_size="1" if is_option else listing.step_size,
    )
