"""The venues, and which there are."""

from typing import Final, Protocol

from fanout.venues.base import History, Request, SpentId, Venue, VenueTrade
from fanout.venues.binance import BinanceUsdm


class VenueClass(Protocol):
    """A venue's class: what makes the adapter, and what is known of the venue without one."""

    def __call__(
        self, *, stream: str, ws_url: str | None, rest_url: str | None, api_key: str | None
    ) -> Venue: ...

    def spell(self, text: str) -> str:
        """A symbol, or a pattern for symbols, as the venue spells it, from how it was typed."""
        ...


VENUES: Final[dict[str, VenueClass]] = {
    "binance": BinanceUsdm,
    "sim": BinanceUsdm,
}
"""By the name given to `--venue`. The simulator speaks as Binance does; the service runs it."""

__all__ = ["VENUES", "BinanceUsdm", "History", "Request", "SpentId", "Venue", "VenueTrade"]
