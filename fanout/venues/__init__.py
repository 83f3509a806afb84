"""The registry of venues, by the name given to `--venue`."""

from typing import Final, Protocol

from fanout.protocol.constants import DataKinds
from fanout.venues.base import Dialogue, Venue
from fanout.venues.binance import BinanceSpot, BinanceUsdm
from fanout.venues.bitfinex import Bitfinex
from fanout.venues.bybit import Bybit, BybitSpot
from fanout.venues.coinbase import Coinbase, CoinbaseAdvanced
from fanout.venues.deribit import Deribit
from fanout.venues.okx import Okx
from fanout.venues.values import (
    DATA,
    BookSource,
    Continuity,
    Credentials,
    History,
    Listing,
    Outcome,
    Request,
    SecretNames,
    SpentId,
    VenueDepth,
    VenueItem,
    VenueQuote,
    VenueTrade,
)


class VenueClass(Protocol):
    """A venue's class. It makes the venue, and says without an instance what the venue offers and
    how it spells symbols."""

    @property
    def name(self) -> str:
        """As the header of a channel names the venue."""
        ...

    @property
    def title(self) -> str:
        """The exchange and the market, as people name them."""
        ...

    @property
    def kinds(self) -> DataKinds:
        """The kinds of data that the venue can bring."""
        ...

    @property
    def streams(self) -> tuple[str, ...]:
        """The kinds of trades to choose from with `--stream`, the preferred one first."""
        ...

    def kinds_with(self, stream: str) -> DataKinds:
        """The kinds of data that can come together with this kind of trades."""
        ...

    @property
    def continuity(self) -> Continuity:
        """The continuity of its trades."""
        ...

    @property
    def book_source(self) -> BookSource: ...
    @property
    def has_checksums(self) -> bool:
        """Whether it sends checksums of order books by price, if it is asked to."""
        ...

    @property
    def secrets(self) -> SecretNames | None:
        """The environment variables of its credentials; None if it takes none."""
        ...

    @property
    def default_assets(self) -> tuple[str, ...]:
        """The symbols to take if the operator names none."""
        ...

    def __call__(
        self,
        *,
        stream: str,
        ws_url: str | None,
        rest_url: str | None,
        credentials: Credentials | None,
        data: DataKinds = DataKinds.TRADES,
    ) -> Venue: ...

    def spell(self, text: str) -> str:
        """Convert a typed symbol or pattern to the venue's spelling. Raises `UsageError` for text
        that can be neither."""
        ...


VENUES: Final[dict[str, VenueClass]] = {
    "binance": BinanceUsdm,
    "binance-spot": BinanceSpot,
    "bitfinex": Bitfinex,
    "bybit": Bybit,
    "bybit-spot": BybitSpot,
    "coinbase": Coinbase,
    "coinbase-advanced": CoinbaseAdvanced,
    "deribit": Deribit,
    "okx": Okx,
    "sim": BinanceUsdm,
}
"""`sim` is the built-in simulator. The service runs it, and it speaks like Binance USDⓈ-M."""

__all__ = [
    "DATA",
    "VENUES",
    "BinanceSpot",
    "BinanceUsdm",
    "Bitfinex",
    "Bybit",
    "BybitSpot",
    "Coinbase",
    "CoinbaseAdvanced",
    "Continuity",
    "Credentials",
    "Deribit",
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
