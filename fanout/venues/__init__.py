"""The venues, and which there are."""

from collections.abc import Callable
from typing import Final

from fanout.venues.base import History, Request, SpentId, Venue, VenueTrade
from fanout.venues.binance import BinanceUsdm

VENUES: Final[dict[str, Callable[..., Venue]]] = {
    "binance": BinanceUsdm,
    "sim": BinanceUsdm,
}
"""By the name given to `--venue`. The simulator speaks as Binance does; the service runs it."""

__all__ = ["VENUES", "BinanceUsdm", "History", "Request", "SpentId", "Venue", "VenueTrade"]
