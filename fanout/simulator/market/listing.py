"""An instrument as a venue lists it.

`tick_size` and `step_size` are spelled with all the decimals that prices and quantities have: where
the tick size is "0.10", a price has two decimals, though the market moves by tenths.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

TRADING: Final = "TRADING"
MAX_NAMED: Final = 40
QUIET: Final = 1e-9

Quirk = Literal["null-type", "no-filters", "twice", "conflict"]
"""How a row of the listing may be odd: its contract type is null; it has no filters; it is there
twice, the second time unchanged or with other units."""


class Listing(msgspec.Struct, frozen=True):
    """One instrument. `weight` is its share of a synthetic market's trades, in parts; one of
    `QUIET` or less never trades by itself.

    It trades while its status is TRADING. Other statuses, `contract_type` and `underlying_type` are
    the venue's terms. `base` is the currency or the underlying that is traded, `quote` that of the
    price, and `settled_in` that of profits; each is empty where the symbol says it. A contract is
    `contract_size` of the base, or of the quote at an inverse one; empty where quantities are not
    counted in contracts. A future or an option expires, and a perpetual does not.
    """

    symbol: str
    price: str
    tick_size: str
    step_size: str
    first_trade_id: int = 1
    weight: float = 0
    contract_type: str = ""
    status: str = TRADING
    underlying_type: str = "COIN"
    base: str = ""
    quote: str = ""
    settled_in: str = ""
    contract_size: str = ""
    expires_ms: int | None = None

    @property
    def price_precision(self) -> int:
        return decimals(self.tick_size)

    @property
    def quantity_precision(self) -> int:
        return decimals(self.step_size)


def listed(traded: Iterable[Listing], others: Iterable[Listing]) -> dict[str, Listing]:
    """By symbol, the instruments that trade, then those of the others that are not among them."""
    by_symbol = {listing.symbol: listing for listing in traded}
    for listing in others:
        by_symbol.setdefault(listing.symbol, listing)
    return by_symbol


def no_such_symbol(symbol: str, known: Iterable[str]) -> str:
    """The error's text, which names the first `MAX_NAMED` of the known symbols."""
    names = list(known)
    more = len(names) - MAX_NAMED
    others = f" and {more:,} more" if more > 0 else ""
    return (
        f"the simulator has no symbol {symbol}; choose from {', '.join(names[:MAX_NAMED])}{others}"
    )


def decimals(text: str) -> int:
    """The number of digits after the point."""
    return len(text.partition(".")[2])


def unit(places: int) -> str:
    """The unit of the last decimal: 2 is "0.01", 0 is "1"."""
    return f"0.{'1':0>{places}}" if places else "1"
