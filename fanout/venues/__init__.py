"""The registry of venues, by the name given to `--venue`."""

from typing import Final, Protocol

from fanout.protocol.constants import DataKinds
from fanout.venues.base import Dialogue, Venue
from fanout.venues.binance import BinanceSpot, BinanceUsdm
from fanout.venues.values import (
    DATA,
    Continuity,
    History,
    Listing,
    Outcome,
    Request,
    SpentId,
    VenueDepth,
    VenueItem,
    VenueQuote,
    VenueTrade,
)


class VenueClass(Protocol):
    """A venue's class. It makes the venue, and can spell symbols without an instance."""

    def __call__(
        self,
        *,
        stream: str,
        ws_url: str | None,
        rest_url: str | None,
        api_key: str | None,
        data: DataKinds = DataKinds.TRADES,
    ) -> Venue: ...

    def spell(self, text: str) -> str:
        """Convert a typed symbol or pattern to the venue's spelling. Raises `UsageError` for text
        that can be neither."""
        ...


VENUES: Final[dict[str, VenueClass]] = {
    "binance": BinanceUsdm,
    "binance-spot": BinanceSpot,
    "sim": BinanceUsdm,
}
"""`sim` is the built-in simulator. The service runs it, and it speaks like Binance USDⓈ-M."""

__all__ = [
    "DATA",
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
    "VenueDepth",
    "VenueItem",
    "VenueQuote",
    "VenueTrade",
]
