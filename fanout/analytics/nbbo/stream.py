"""One stream of records, for the best prices of many assets: what counts of it, and what is hidden.

See `nbbos`. What `fanout.clients.books.Books` does for books is done here for quotes, and to know
the reason for which a venue is out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fanout.analytics.nbbo.assets import Asset, AssetError
from fanout.analytics.nbbo.best_prices import BestPrices, Top, Venue
from fanout.analytics.nbbo.nbbo import Why
from fanout.clients.books import Book, Books
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import FeedState
from fanout.protocol.errors import FanoutError, WrongInstrumentError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Gap, Header, Loss, Skipped, Status, Trade

if TYPE_CHECKING:
    from fanout.analytics.nbbo.nbbos import BestPricesOf

Changed = Sequence[BestPrices]
"""The assets whose `best` is another one now."""

NOTHING: Final[Changed] = ()

_NO_LEVEL: Final = (0, 0)

_UPDATES: Final = (BookUpdate, Quote, OrderUpdate)
"""Made once: a union in the place of it would be made for every record."""


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
            self._prices.require_single()
        except AssetError:
            self._members = before
            raise
        self._prices.compose()

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
        return NOTHING

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
            self._prices.compose()
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
