"""Options by the thousand, for venues that list them. A dialect spells their symbols.

Few of them trade: the calls and puts of the first expiry next to the price. The others are quiet,
which makes a market of thousands cheap: a quiet instrument has no tape, and its book is made when
somebody asks for it.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import msgspec

from fanout.simulator.market.listing import QUIET, Listing

DAY_MS: Final = 24 * 3_600_000
EXPIRES_AT_MS: Final = 8 * 3_600_000  # 08:00 UTC, as at Deribit and OKX
DAYS: Final = (1, 2, 7, 14, 28, 56, 84, 168, 252, 364)
"""From the first day to each expiry."""
STRIKES: Final = 40
"""To either side of the price."""
TRADED: Final = 2
WEIGHT: Final = 0.2


class Option(msgspec.Struct, frozen=True):
    """`strike` is in units of the price of `base`. `weight` is as that of a listing."""

    base: str
    expires_ms: int
    strike: int
    is_call: bool
    weight: float = QUIET


def options(base: str, price: int, count: int, first_ms: int) -> tuple[Option, ...]:
    """`count` options on a price, no more than 1,620, from the first expiry on. `first_ms` is a
    time on the day before it. The same arguments give the same options."""
    return tuple(islice(_options(base, price, first_ms), count))


def option_listing(
    symbol: str,
    option: Option,
    price: int,
    *,
    tick_size: str,
    step_size: str = "0.1",
    **terms: Any,
) -> Listing:
    """The listing of an option, whose price is in units of its base, as at Deribit and OKX. `price`
    is that of the base. `terms` are further fields of the listing."""
    inner = (price - option.strike) if option.is_call else (option.strike - price)
    tick = Decimal(tick_size)
    worth = max(Decimal(inner) / price, Decimal(0)) + Decimal("0.02")
    return Listing(
        symbol,
        str(max(tick, worth // tick * tick)),
        tick_size,
        step_size,
        weight=option.weight,
        base=option.base,
        expires_ms=option.expires_ms,
        **terms,
    )


def _options(base: str, price: int, first_ms: int) -> Iterator[Option]:
    step = max(1, price // 50)
    middle = price // step * step
    distances = sorted(range(-STRIKES, STRIKES + 1), key=abs)
    for days in DAYS:
        expires_ms = (first_ms // DAY_MS + days) * DAY_MS + EXPIRES_AT_MS
        for distance in distances:
            is_traded = days == DAYS[0] and abs(distance) < TRADED
            for is_call in (True, False):
                strike = middle + distance * step
                yield Option(base, expires_ms, strike, is_call, WEIGHT if is_traded else QUIET)
