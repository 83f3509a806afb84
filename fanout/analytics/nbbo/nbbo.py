"""The best price of one asset across venues, as a value: the highest bid and the lowest ask of the
venues that are fresh, and why the others do not count.

`BestPrices` in `best_prices` keeps it for one asset, `BestPricesOf` in `nbbos` for many.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from fanout.analytics.nbbo.assets import Asset
from fanout.protocol.fixedpoint import to_decimal, to_float


class Why(StrEnum):
    """Whether a venue counts, and why it does not."""

    FRESH = "fresh"
    """It counts."""
    NO_BOOK = "no book"
    """No whole book and no quote has come yet."""
    UNDATED = "no update yet"
    """A book without a time has come, for those who join. It counts from its first update on."""
    LOST = "lost"
    """Records were lost, and no whole book or quote has come since."""
    NOT_LIVE = "not live"
    """The newest Status of the symbol, or of the whole feed, is not LIVE."""
    AWAY = "disconnected"
    """The connection to the service was lost, and no record has come since."""
    EMPTY = "empty"
    """Neither side of its book has a level."""
    CROSSED = "crossed"
    """Its own best bid is as high as its own best ask, or higher: it cannot be traded on."""
    STALE = "stale"
    """Its newest update is older than `max_stale_ms`."""


class Best(msgspec.Struct, frozen=True, gc=False):
    """The best price of one side and the quantity there, at the exponents of the `Nbbo`."""

    price: int
    quantity: int
    venue: str


class Nbbo(msgspec.Struct, frozen=True):
    """The best prices at one moment. Prices and quantities are integers at `price_exponent` of the
    quote and `quantity_exponent` of the base, or of the quote if the asset is inverse.

    `whys[i]` says of `venues[i]`, in the order of configuration, whether it counts. A side is None
    if no venue that counts has it; `why` says it in words.
    """

    asset: Asset
    price_exponent: int
    quantity_exponent: int
    bid: Best | None
    ask: Best | None
    venues: tuple[str, ...]
    whys: tuple[Why, ...]

    @property
    def fresh(self) -> int:
        """How many venues count."""
        return self.whys.count(Why.FRESH)

    @property
    def why(self) -> str:
        """Why a side is missing, in words; empty if both are there."""
        if self.bid is not None and self.ask is not None:
            return ""
        if self.fresh:
            sides = [name for name in ("bid", "ask") if getattr(self, name) is None]
            return f"no {' and no '.join(sides)} at any fresh venue"
        whys = [f"{name} {why}" for name, why in zip(self.venues, self.whys, strict=True)]
        return f"no venue is fresh: {', '.join(whys)}" if whys else "no venue has it"

    @property
    def spread(self) -> int | None:
        """Ask less bid: 0 if locked, negative if crossed. None without both."""
        return None if self.bid is None or self.ask is None else self.ask.price - self.bid.price

    @property
    def is_locked(self) -> bool:
        """Whether one venue's bid equals another's ask."""
        return self.spread == 0

    @property
    def crossed_by(self) -> int:
        """By how much one venue's bid is above another's ask; 0 if it is not."""
        return max(0, -(self.spread or 0))

    @property
    def crossed_quantity(self) -> int:
        """The quantity that the two best levels have in common, if they are crossed, else 0. Levels
        behind them are not counted."""
        if self.bid is None or self.ask is None or not self.crossed_by:
            return 0
        return min(self.bid.quantity, self.ask.quantity)

    @property
    def mid(self) -> float | None:
        """The double nearest to the mean of bid and ask. None without both."""
        if self.bid is None or self.ask is None:
            return None
        return to_float(self.bid.price + self.ask.price, self.price_exponent) / 2

    @property
    def mid_decimal(self) -> Decimal | None:
        """The mean of bid and ask, exactly. None without both."""
        if self.bid is None or self.ask is None:
            return None
        return to_decimal(5 * (self.bid.price + self.ask.price), self.price_exponent - 1)

    def price_decimal(self, price: int) -> Decimal:
        """A price or a difference of prices, exactly."""
        return to_decimal(price, self.price_exponent)

    def quantity_decimal(self, quantity: int) -> Decimal:
        """A quantity, exactly."""
        return to_decimal(quantity, self.quantity_exponent)
