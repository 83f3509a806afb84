"""Keeps the best price of one asset across venues, update by update.

    best = BestPrices(asset, [Venue("binance", one), Venue("bybit", other)], max_stale_ms=500)
    best.update(0, (1000, 2, 1002, 1), time_ns)     # venue 0: bid, its quantity, ask, its quantity
    best.at(now_ns)                                 # the Nbbo of that moment; changes nothing

Prices and quantities are rescaled to the finest exponent of the venues, as integers, and compared
as such. A quantity is what its contract stands for: an amount of the base, or of the quote for
inverse contracts, which are an asset of their own. So no quantity depends on a price.

A venue counts while it is fresh. It is out, with a reason (`Why`), if its book is unknown, not
LIVE, crossed in itself or empty, or if its newest update is older than `max_stale_ms`. Age counts
from the newest time that was seen, of any venue, or from the `now_ns` of the caller. A book with
one side counts, for this side. Where two venues have the same price, the first in order is shown,
with its own quantity.

How it is fast: an update that leaves the venue's best prices as they were notes its time and
returns. Another compares the venue with the best one; only if the best venue gets worse are all
venues compared. Nothing is stale before `due_ns`, so until then no update looks at the ages of the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from fanout.analytics.nbbo.assets import Asset, AssetError
from fanout.analytics.nbbo.nbbo import Best, Nbbo, Why
from fanout.protocol.instrument import Instrument

Top = tuple[int, int, int, int]
"""Best bid, its quantity, best ask, its quantity, at the instrument's exponents. A side that is
empty has the quantity 0."""

NS_PER_MS: Final = 1_000_000

MAX_STALE_MS: Final = 500
"""Default for the age from which a book is out."""

NEVER_NS: Final = 1 << 64
"""Later than every time of a record."""

_NONE: Final = -(1 << 192)
"""The key of a venue that has no price: below all prices, at whatever exponent."""

_FRESH: Final = Why.FRESH
"""A name of its own, since an enumeration's members are slow to look up."""


class Venue(msgspec.Struct, frozen=True):
    """A venue's name and its instrument."""

    name: str
    instrument: Instrument


class _Side:
    """One side of all venues. Keys are prices of bids and negated prices of asks, so the highest is
    the best; `best` is the place of the first venue that has it."""

    __slots__ = ("best", "keys", "quantities")

    def __init__(self, count: int) -> None:
        self.keys = [_NONE] * count
        self.quantities = [0] * count
        self.best = 0

    def put(self, place: int, key: int, quantity: int) -> bool:
        """Set a venue's price. Returns whether the best price, its quantity or venue changed."""
        keys, best = self.keys, self.best
        old = keys[place]
        if key == old:
            if quantity == self.quantities[place]:
                return False
            self.quantities[place] = quantity
            return place == best
        keys[place] = key
        self.quantities[place] = quantity
        if place == best:
            if key < old:
                self.best = keys.index(max(keys))
            return True
        if key > keys[best] or (key == keys[best] and place < best):
            self.best = place
            return True
        return False

    def shown(self, sign: int, names: Sequence[str]) -> Best | None:
        best = self.best
        if not self.keys or self.keys[best] == _NONE:
            return None
        return Best(sign * self.keys[best], self.quantities[best], names[best])


class BestPrices:
    """The venues of one asset, and the best prices among them. See the module.

    `place` is always the index of a venue in `venues`. Times are unix ns, by the records.
    """

    __slots__ = (
        "_asks",
        "_bids",
        "_scales",
        "_times",
        "_tops",
        "_whys",
        "asset",
        "due_ns",
        "max_stale_ns",
        "names",
        "now_ns",
        "price_exponent",
        "quantity_exponent",
        "venues",
    )

    def __init__(
        self, asset: Asset, venues: Sequence[Venue], *, max_stale_ms: int = MAX_STALE_MS
    ) -> None:
        """`venues` are in the order of preference. Raises `AssetError` for an instrument of another
        asset, a venue that is named twice, and a limit below 1 ms."""
        _require(asset, venues, max_stale_ms)
        self.asset = asset
        self.venues = tuple(venues)
        self.names = tuple(each.name for each in venues)
        self.max_stale_ns = max_stale_ms * NS_PER_MS
        self.now_ns = 0
        """The newest time of an update, or of `advance`."""
        self.due_ns = NEVER_NS
        """Until this time no venue that counts is stale. One may be later than that."""
        of_prices, of_quantities = _exponents(venues)
        self.price_exponent = min(of_prices, default=0)
        self.quantity_exponent = min(of_quantities, default=0)
        self._scales = [
            (10 ** (p - self.price_exponent), mantissa * 10 ** (q - self.quantity_exponent))
            for p, q, mantissa in zip(of_prices, of_quantities, _mantissas(venues), strict=True)
        ]
        count = len(venues)
        self._bids, self._asks = _Side(count), _Side(count)
        self._tops: list[Top | None] = [None] * count
        self._times = [0] * count
        self._whys = [Why.NO_BOOK] * count

    def update(self, place: int, top: Top, time_ns: int) -> bool:
        """Take a venue's best prices. Returns whether the `Nbbo` is another one now."""
        self._times[place] = time_ns
        expires_ns = time_ns + self.max_stale_ns
        if expires_ns < self.due_ns:
            self.due_ns = expires_ns
        if time_ns > self.now_ns:
            self.now_ns = time_ns
        changed = False
        if self._whys[place] is not _FRESH or top != self._tops[place]:
            changed = self._judge(place, top, expires_ns)
        if self.now_ns > self.due_ns:
            return self.advance(self.now_ns) or changed
        return changed

    def _judge(self, place: int, top: Top, expires_ns: int) -> bool:
        """Have the venue count with these prices, or not. Returns as `update`."""
        self._tops[place] = top
        bid, bid_quantity, ask, ask_quantity = top
        if bid_quantity and ask_quantity:
            if bid >= ask:
                return self._expel(place, Why.CROSSED)
        elif not bid_quantity and not ask_quantity:
            return self._expel(place, Why.EMPTY)
        if self.now_ns > expires_ns:
            return self._expel(place, Why.STALE)
        is_new = self._whys[place] is not _FRESH
        self._whys[place] = _FRESH
        prices, quantities = self._scales[place]
        of_bids = self._bids.put(
            place, bid * prices if bid_quantity else _NONE, bid_quantity * quantities
        )
        of_asks = self._asks.put(
            place, -ask * prices if ask_quantity else _NONE, ask_quantity * quantities
        )
        return of_bids or of_asks or is_new

    def remove(self, place: int, why: Why) -> bool:
        """The venue's book is not to be relied on, for this reason, until the next `update`.
        Returns as `update`."""
        self._tops[place] = None
        return self._expel(place, why)

    def _expel(self, place: int, why: Why) -> bool:
        if self._whys[place] is why:
            return False
        self._whys[place] = why
        self._bids.put(place, _NONE, 0)
        self._asks.put(place, _NONE, 0)
        return True

    def advance(self, now_ns: int) -> bool:
        """It is at least this late: venues whose newest update is too old are out. Returns as
        `update`."""
        self.now_ns = now_ns = max(now_ns, self.now_ns)
        if now_ns <= self.due_ns:
            return False
        changed, due_ns = False, NEVER_NS
        for place, why in enumerate(self._whys):
            if why is _FRESH:
                expires_ns = self._times[place] + self.max_stale_ns
                if now_ns > expires_ns:
                    changed = self._expel(place, Why.STALE)
                elif expires_ns < due_ns:
                    due_ns = expires_ns
        self.due_ns = due_ns
        return changed

    @property
    def best(self) -> Nbbo:
        """The best prices at `now_ns`, the newest time."""
        return self._value(self._bids, self._asks, tuple(self._whys))

    def at(self, now_ns: int) -> Nbbo:
        """The best prices of the newest updates as seen at `now_ns`, or at the newest time if that
        is later. Nothing is changed."""
        now_ns = max(now_ns, self.now_ns)
        if now_ns <= self.due_ns:
            return self.best
        other = self.with_venues(self.venues)
        other.advance(now_ns)
        return other.best

    def _value(self, bids: _Side, asks: _Side, whys: tuple[Why, ...]) -> Nbbo:
        return Nbbo(
            self.asset,
            self.price_exponent,
            self.quantity_exponent,
            bids.shown(1, self.names),
            asks.shown(-1, self.names),
            self.names,
            whys,
        )

    def top(self, place: int) -> tuple[Best | None, Best | None]:
        """Bid and ask of one venue, at the common exponents, whether or not it counts. None for a
        side that is empty, and for both if its book is not to be relied on."""
        top = self._tops[place]
        if top is None:
            return None, None
        (price_scale, quantity_scale), name = self._scales[place], self.names[place]
        bid, bid_quantity, ask, ask_quantity = top
        return (
            Best(bid * price_scale, bid_quantity * quantity_scale, name) if bid_quantity else None,
            Best(ask * price_scale, ask_quantity * quantity_scale, name) if ask_quantity else None,
        )

    def time_ns(self, place: int) -> int:
        """The time of a venue's newest update; 0 before the first."""
        return self._times[place]

    def with_venues(self, venues: Sequence[Venue]) -> BestPrices:
        """The same prices among other venues. Those in both, with the same instrument, keep their
        books. Raises as the constructor."""
        other = BestPrices(self.asset, venues, max_stale_ms=self.max_stale_ns // NS_PER_MS)
        other.now_ns = self.now_ns
        for place, venue in enumerate(venues):
            if venue in self.venues:
                other._copy(place, self, self.venues.index(venue))
        return other

    def _copy(self, place: int, other: BestPrices, its_place: int) -> None:
        top, time_ns = other._tops[its_place], other._times[its_place]
        if top is not None:
            self.update(place, top, time_ns)
        else:
            self._times[place] = time_ns
            self.remove(place, other._whys[its_place])


def _require(asset: Asset, venues: Sequence[Venue], max_stale_ms: int) -> None:
    if max_stale_ms < 1:
        raise AssetError(f"a book cannot be stale after {max_stale_ms} ms: give 1 or more")
    for each in venues:
        if Asset.of(each.instrument) != asset:
            raise AssetError(
                f"{each.instrument.symbol} of {each.name} is not {asset}: leave it out"
            )
    names = [each.name for each in venues]
    for name in names:
        if names.count(name) > 1:
            raise AssetError(f"{name} is named twice for {asset}: a venue has one instrument of it")


def _exponents(venues: Sequence[Venue]) -> tuple[list[int], list[int]]:
    """Of each venue the exponents of a price and of a quantity in the base or quote."""
    of = [each.instrument for each in venues]
    return (
        [each.price_exponent for each in of],
        [each.quantity_exponent + each.contract_exponent for each in of],
    )


def _mantissas(venues: Sequence[Venue]) -> list[int]:
    return [each.instrument.contract_mantissa for each in venues]
