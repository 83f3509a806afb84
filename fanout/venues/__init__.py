"""The venues that there are, by the name given to `--venue`."""

from typing import Final, Protocol

from fanout.venues.base import (
    Continuity,
    Dialogue,
    History,
    Listing,
    Outcome,
    Request,
    SpentId,
    Venue,
    VenueTrade,
)
from fanout.venues.binance import BinanceSpot, BinanceUsdm


class VenueClass(Protocol):
    """A venue's class: it makes the venue, and knows how symbols are spelled without one."""

    def __call__(
        self, *, stream: str, ws_url: str | None, rest_url: str | None, api_key: str | None
    ) -> Venue: ...

    def spell(self, text: str) -> str:
        """A symbol, or a pattern of symbols, as the venue spells it, from what was typed. Raises
        `UsageError` for what can be neither."""
        ...


VENUES: Final[dict[str, VenueClass]] = {
    "binance": BinanceUsdm,
    "binance-spot": BinanceSpot,
    "sim": BinanceUsdm,
}
"""The simulator speaks as Binance USDⓈ-M does; the service runs it."""

__all__ = [
    "VENUES",
    "BinanceSpot",
    "BinanceUsdm",
    "Continuity",
    "Dialogue",
    "History",
    "Listing",
    "Outcome",
    "Request",
    "SpentId",
    "Venue",
    "VenueClass",
    "VenueTrade",
]
