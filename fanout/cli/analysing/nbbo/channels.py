"""Chooses channels and symbols for the best prices of assets.

A service may have the same symbol in several channels, such as one with books and one with quotes.
It counts once for its venue: from a channel with books before one with quotes, and then by the
order of the addresses.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from fanout.analytics.nbbo.assets import Asset, AssetError, AssetName
from fanout.analytics.nbbo.nbbos import BestPricesOf, VenueStream
from fanout.cli.outcome import say
from fanout.cli.source import Source
from fanout.clients.client import AsyncClient
from fanout.errors import UsageError
from fanout.protocol.constants import DataKinds
from fanout.protocol.records import Header

_BOOKS: Final = DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER
_PRICES: Final = _BOOKS | DataKinds.QUOTES

_MOST_NAMED: Final = 12
"""Assets that an error names."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that was found. `rank` is the place of its address among all."""

    rank: int
    source: Source
    header: Header
    client: AsyncClient | None = None
    """One that is connected already."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that is followed, and the symbols that are wanted of it."""

    offer: Offer
    stream: VenueStream
    symbols: list[str]


class Channels:
    """The channels that are followed."""

    def __init__(self, prices: BestPricesOf, symbols: Sequence[str]) -> None:
        """With `symbols` only these count."""
        self._prices = prices
        self._symbols = frozenset(symbols)
        self._taken: dict[tuple[Asset, str], list[str]] = {}
        """The symbol that a venue has for an asset; more than one is refused."""
        self._seen: dict[Asset, bool] = {}
        """All assets of the channels, and whether one of them has prices."""

    def choose(self, offers: Iterable[Offer]) -> list[Chosen]:
        """Take what is wanted of some channels. Raises `UsageError` if a venue has two instruments
        of one asset."""
        chosen = []
        for offer in sorted(offers, key=lambda each: (not each.header.data & _BOOKS, each.rank)):
            symbols = self._wanted_of(offer.header)
            if symbols:
                stream = self._prices.stream(symbols=symbols, rank=offer.rank)
                try:
                    stream.meet(offer.header)
                except AssetError as error:
                    raise UsageError(str(error)) from error
                chosen.append(Chosen(offer=offer, stream=stream, symbols=symbols))
        return chosen

    def _wanted_of(self, header: Header) -> list[str]:
        wanted, has_prices = [], bool(header.data & _PRICES)
        for each in header.instruments:
            asset = Asset.of(each)
            if asset is None:
                continue
            self._seen[asset] = self._seen.get(asset, False) or has_prices
            is_meant = self._prices.wants(asset) and each.symbol in (self._symbols or {each.symbol})
            if has_prices and is_meant and self._takes(asset, header.venue, each.symbol):
                wanted.append(each.symbol)
        return wanted

    def _takes(self, asset: Asset, venue: str, symbol: str) -> bool:
        """Whether a symbol is not followed yet. A second symbol of the venue is taken, too, and
        refused by its stream."""
        known = self._taken.setdefault((asset, venue), [])
        if symbol in known:
            return False
        known.append(symbol)
        return True

    def require(self, names: Sequence[AssetName], *, is_all: bool) -> None:
        """Raises `UsageError` for an asset that no channel has. Unless these are all channels, only
        says so."""
        for name in names:
            fault = self._fault(name)
            if fault and is_all:
                raise UsageError(fault)
            if fault:
                say(fault)

    def _fault(self, name: AssetName) -> str:
        if any(name.fits(each.asset) for each in self._prices.assets):
            return ""
        meant = [asset for asset in self._seen if name.fits(asset)]
        if not any(self._seen[each] for each in meant) and meant:
            return f"{name} has trades only: start its service with --data book"
        if meant:
            return f"{name} has none of the symbols of --symbol"
        known = [str(each) for each in sorted(self._seen)]
        more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        there = ", ".join(known[:_MOST_NAMED]) or "no asset that can be compared"
        return f"{name} is not served here; there is {there}{more}"
