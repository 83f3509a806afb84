"""The best prices of many assets, fed by the streams of several venues.

    prices = BestPricesOf([parse_asset("BTC-USDT")], max_stale_ms=500)
    streams = [prices.stream(), prices.stream()]     # in the order of preference
    streams[0].meet(client.header)                   # and again whenever it is another one
    for each in streams[0].take(record):             # every record of that stream, in order
        print(each.best)

What counts of a stream:

- A book, if the channel has one of the instrument; else its quotes. From the first update of a book
  on, quotes of its instrument are ignored: the two come over different connections of the venue,
  and the older one could undo the newer.
- While an update is to be continued, the venue keeps the prices from before it, and their age.
- Time is the `received_ns` of the records, of whatever kind. The newest one of all streams is now.
  So the clocks of services on several machines have to agree better than the limit of age.

A venue has one instrument of an asset. A second one, in the same stream or in another, is refused
with `AssetError`: no rule would be right for everybody, so the caller chooses by `symbols`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fanout.analytics.nbbo.assets import Asset, AssetError, AssetName
from fanout.analytics.nbbo.best_prices import MAX_STALE_MS, NEVER_NS, BestPrices, Venue
from fanout.analytics.nbbo.stream import NOTHING, Changed, Member, VenueStream

__all__ = ["BestPricesOf", "Changed", "VenueStream"]


class BestPricesOf:
    """The assets, and the streams that feed them. See the module."""

    def __init__(
        self, names: Collection[AssetName] = (), *, max_stale_ms: int = MAX_STALE_MS
    ) -> None:
        """Follow the assets of these names, or all without names."""
        self.names = tuple(names)
        self.max_stale_ms = max_stale_ms
        self.now_ns = 0
        """The newest time of all streams."""
        self.due_ns = NEVER_NS
        """Until this time no venue of an asset becomes stale."""
        self._streams: list[VenueStream] = []
        self._prices: dict[Asset, BestPrices] = {}

    @property
    def assets(self) -> list[BestPrices]:
        """The assets that venues have, sorted by name."""
        return [self._prices[asset] for asset in sorted(self._prices)]

    def __getitem__(self, asset: Asset) -> BestPrices:
        """The best prices of an asset. Raises `AssetError` if no venue has it."""
        if asset not in self._prices:
            known = ", ".join(map(str, sorted(self._prices))) or "none"
            raise AssetError(f"no venue has {asset}; there is {known}")
        return self._prices[asset]

    def stream(self, *, symbols: Collection[str] = (), rank: int = 0) -> VenueStream:
        """Another stream, in the order of preference behind all those of its rank and of lower
        ones. With `symbols` it counts only these of its instruments."""
        stream = VenueStream(self, frozenset(symbols), rank)
        self._streams.append(stream)
        self._streams.sort(key=lambda each: each.rank)
        return stream

    def wants(self, asset: Asset) -> bool:
        """Whether the asset is one that is followed."""
        return not self.names or any(each.fits(asset) for each in self.names)

    def advance(self, now_ns: int) -> Changed:
        """It is at least this late: books that are too old are out."""
        self.now_ns = now_ns = max(now_ns, self.now_ns)
        if now_ns <= self.due_ns:
            return NOTHING
        changed = [each for each in self._prices.values() if each.advance(now_ns)]
        self.due_ns = min([each.due_ns for each in self._prices.values()], default=NEVER_NS)
        return changed

    def require_single(self) -> None:
        """Raises `AssetError` if a venue has two instruments of one asset."""
        seen: dict[tuple[Asset, str], str] = {}
        for each in self._members:
            key, symbol = (each.asset, each.venue.name), each.venue.instrument.symbol
            if key in seen:
                raise AssetError(
                    f"{each.venue.name} has {each.asset} twice, {seen[key]} and {symbol}: choose "
                    "one by its symbol, or one of the channels"
                )
            seen[key] = symbol

    @property
    def _members(self) -> list[Member]:
        return [each for stream in self._streams for each in stream.members]

    def compose(self) -> None:
        """Give each asset the venues that the streams have of it now."""
        members = self._members
        venues: dict[Asset, list[Venue]] = {}
        for each in members:
            venues.setdefault(each.asset, []).append(each.venue)
        self._prices = {asset: self._of(asset, those) for asset, those in venues.items()}
        places = dict.fromkeys(venues, 0)
        for each in members:
            each.prices, each.place = self._prices[each.asset], places[each.asset]
            places[each.asset] += 1
        self.due_ns = min([each.due_ns for each in self._prices.values()], default=NEVER_NS)

    def _of(self, asset: Asset, venues: Sequence[Venue]) -> BestPrices:
        prices = self._prices.get(asset)
        if prices is None:
            prices = BestPrices(asset, (), max_stale_ms=self.max_stale_ms)
        return prices if prices.venues == tuple(venues) else prices.with_venues(venues)
