"""The best prices of many assets, fed by the streams of several venues.

    prices = BestPricesOf([parse_asset("BTC-USDT")], max_stale_ms=500)
    streams = [prices.stream(), prices.stream()]     # in the order of preference
    streams[0].meet(client.header)                   # and again after each Restarted
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
from typing import Final

from fanout.analytics.assets import Asset, AssetError, AssetName
from fanout.analytics.best_prices import MAX_STALE_MS, NEVER_NS, BestPrices, Top, Venue
from fanout.analytics.nbbo import Why
from fanout.clients.books import Book, Books
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import FeedState
from fanout.protocol.errors import FanoutError, WrongInstrumentError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Gap, Header, Loss, Skipped, Status, Trade

Changed = Sequence[BestPrices]
"""The assets whose `best` is another one now."""

_NOTHING: Final[Changed] = ()

_NO_LEVEL: Final = (0, 0)

_UPDATES: Final = (BookUpdate, Quote, OrderUpdate)
"""Made once: a union in the place of it would be made for every record."""


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
            return _NOTHING
        changed = [each for each in self._prices.values() if each.advance(now_ns)]
        self.due_ns = min([each.due_ns for each in self._prices.values()], default=NEVER_NS)
        return changed

    def _require_single(self) -> None:
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

    def _compose(self) -> None:
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


class Member:
    """An instrument of a stream, and its place among the venues of its asset."""

    __slots__ = (
        "asset",
        "book",
        "has_book",
        "instrument",
        "is_away",
        "is_live",
        "place",
        "prices",
        "quote",
        "time_ns",
        "venue",
        "why",
    )

    def __init__(self, asset: Asset, venue: Venue, book: Book) -> None:
        self.asset = asset
        self.venue = venue
        self.instrument = venue.instrument
        """Equal to the venue's. That of the newest record, since identity is quick to compare."""
        self.book = book
        self.prices = BestPrices(asset, (venue,))
        self.place = 0
        self.time_ns = 0
        """Of the newest update that has a time."""
        self.has_book = False
        """Whether an update of its book has come, so that quotes are ignored."""
        self.quote: Top | None = None
        self.is_live = True
        """Whether its newest Status is LIVE. For quotes; a book knows it by itself."""
        self.is_away = False
        """Whether the connection was lost, and nothing shows yet that the quote is the newest."""
        self.why = Why.NO_BOOK
        """Why there is nothing, if there is nothing."""


class VenueStream:
    """One stream: the records of one channel, as a client hands them over."""

    def __init__(self, prices: BestPricesOf, symbols: frozenset[str], rank: int) -> None:
        self.rank = rank
        self._prices = prices
        self._symbols = symbols
        self._books = Books()
        self._members: dict[str, Member] = {}
        self._is_away = False
        """Whether the connection was lost, and no numbered record has come since."""
        self._is_live = True
        """Whether the newest Status of the whole feed is LIVE."""

    @property
    def members(self) -> list[Member]:
        """Its instruments that count, in the order of the header."""
        return list(self._members.values())

    def meet(self, header: Header) -> None:
        """Take the instruments of a header: at the start, and whenever there is a new one. Raises
        `AssetError` if a venue has two instruments of one asset, and changes nothing then."""
        before, self._members = self._members, {}
        for instrument in header.instruments:
            self._add(Venue(header.venue, instrument), before)
        try:
            self._prices._require_single()
        except AssetError:
            self._members = before
            raise
        self._prices._compose()

    def _add(self, venue: Venue, before: dict[str, Member]) -> None:
        symbol, asset = venue.instrument.symbol, Asset.of(venue.instrument)
        if asset is None or not self._prices.wants(asset):
            return
        if self._symbols and symbol not in self._symbols:
            return
        known = before.get(symbol)
        if known is None or known.venue != venue:
            known = Member(asset, venue, self._books[symbol])
        self._members[symbol] = known

    def take(self, record: Received) -> Changed:
        """Take the next record of the stream; every one counts. Returns the assets that changed.
        Raises
        `WrongInstrumentError` for a symbol that was another asset in the header."""
        if isinstance(record, _UPDATES):
            return self._take_update(record)
        if isinstance(record, Trade) and not self._is_away:
            return self._pass(record.received_ns)
        return self._take_event(record)

    def _pass(self, now_ns: int) -> Changed:
        """Time has passed until a record came."""
        prices = self._prices
        if now_ns > prices.due_ns:
            return prices.advance(now_ns)
        if now_ns > prices.now_ns:
            prices.now_ns = now_ns
        return _NOTHING

    def _take_update(self, record: BookUpdate | OrderUpdate | Quote) -> Changed:
        changed = self._pass(record.received_ns)
        member = self._members.get(record.instrument.symbol)
        if member is not None and not (member.has_book and type(record) is Quote):
            self._note(member, record)
        elif self._is_away:
            member = None
            self._books.apply(record)
        else:
            return changed
        if self._is_away and record.seq:
            self._set_away(False)
            changed = _both(changed, self._refreshed())
        if member is not None and self._refresh(member):
            changed = _both(changed, (member.prices,))
        return changed

    def _note(self, member: Member, record: BookUpdate | OrderUpdate | Quote) -> None:
        if record.instrument is not member.instrument:
            self._recognise(member, record.instrument)
        if record.received_ns:
            member.time_ns = record.received_ns
        if type(record) is Quote:
            member.quote, member.is_away = _top_of_quote(record), False
            if not self._is_away:
                return
        else:
            member.has_book = True
        try:
            self._books.apply(record)
        except FanoutError:
            member.why = Why.LOST  # the book is over its limit, and unknown now; others go on

    def _recognise(self, member: Member, instrument: Instrument) -> None:
        """Another object than that of the header: equal, or the venue changed its units, and what
        came before is at the old ones."""
        if instrument != member.venue.instrument:
            if Asset.of(instrument) != member.asset:
                raise WrongInstrumentError(
                    f"{instrument.symbol} is no longer {member.asset}: `meet` the new header"
                )
            member.venue, member.quote = Venue(member.venue.name, instrument), None
            self._prices._compose()
        member.instrument = instrument

    def _refresh(self, member: Member) -> bool:
        """Give the venue's best prices to its asset, or the reason for which there are none.
        Returns whether that changes the best ones."""
        top = _top_of(member.book) if member.has_book else self._quoted(member)
        prices, place = member.prices, member.place
        if top is None:
            if member.has_book and member.book.is_paused and not self._is_away:
                return False  # the rest of an update is still to come
            return prices.remove(place, self._why(member))
        if not member.time_ns:
            return prices.remove(place, Why.UNDATED)
        prices.now_ns = self._prices.now_ns
        changed = prices.update(place, top, member.time_ns)
        if prices.due_ns < self._prices.due_ns:
            self._prices.due_ns = prices.due_ns
        return changed

    def _quoted(self, member: Member) -> Top | None:
        shows = self._is_live and member.is_live and not member.is_away
        return member.quote if shows else None

    def _why(self, member: Member) -> Why:
        if self._is_away:
            return Why.AWAY
        return member.why if self._is_live and member.is_live else Why.NOT_LIVE

    def _take_event(self, record: Received) -> Changed:
        changed = self._pass(getattr(record, "received_ns", 0))
        self._books.apply(record)
        match record:
            case Trade() | Gap() | Skipped():
                if not self._is_away:
                    return changed
                self._set_away(False)
            case Status(instrument=instrument, state=state):
                self._set_away(False)
                self._turn(instrument, state)
            case Loss():
                self._forget()
            case Restarted():
                self._forget()
                for each in self._members.values():
                    each.has_book = False
            case Disconnected() | End():
                self._set_away(True)
            case _:
                return changed
        return _both(changed, self._refreshed())

    # What `Books` does for books is done here for quotes, and to know the reasons.

    def _set_away(self, is_away: bool) -> None:
        if is_away or self._is_away:
            self._is_away = is_away
            for each in self._members.values():
                each.is_away = is_away

    def _turn(self, instrument: Instrument | None, state: FeedState) -> None:
        is_live = state is FeedState.LIVE
        if instrument is None:
            self._is_live = is_live
            if state is FeedState.DOWN:
                for each in self._members.values():
                    each.is_live = False
        elif instrument.symbol in self._members:
            self._members[instrument.symbol].is_live = is_live

    def _forget(self) -> None:
        self._is_live = True
        for each in self._members.values():
            each.quote, each.is_live, each.why = None, True, Why.LOST

    def _refreshed(self) -> Changed:
        """Refresh all. Returns the assets that changed."""
        return [each.prices for each in self._members.values() if self._refresh(each)]


def _top_of(book: Book) -> Top | None:
    """The best levels of a book. None if it is unknown."""
    bid, ask = book.best_bid, book.best_ask
    if bid is not None and ask is not None:
        return (*bid, *ask)
    return (*(bid or _NO_LEVEL), *(ask or _NO_LEVEL)) if book.is_known else None


def _top_of_quote(quote: Quote) -> Top:
    return quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity


def _both(some: Changed, others: Changed) -> Changed:
    """The assets of two lists, each once."""
    if not some:
        return others
    return [*some, *(each for each in others if each not in some)]
