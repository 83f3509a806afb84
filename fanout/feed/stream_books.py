"""The order books of one feed whose venue sends them whole on the stream.

Each connection brings a copy of each book, see `book_copies`. A copy that breaks needs the whole
book anew. The remedies, each after a pause that grows while none of them lasts:

    the copy breaks --> ask the connection to send the book anew
        --> REFRESH_S without it --> the book over REST, where the venue has it there
                                 '-> else a new connection, opened before this one is closed

A subscription that brings changes and no whole book gets the same remedies after REFRESH_S.

A feed that takes quotes and no books from such a venue may have to keep the books all the same, and
publishes nothing of them but their best levels: see `derived_quotes`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, NamedTuple

import msgspec
import trio

from fanout.channel.books import ChannelBooks
from fanout.errors import VenueError, VenueMessageError, VenueUnitsError
from fanout.feed.announcer import Announcer
from fanout.feed.book_copies import BookCopies
from fanout.feed.book_copy import Change, prices_of
from fanout.feed.book_sync import Joined, Taken, Update
from fanout.feed.books import (
    AT_ONCE,
    FIRST_PAUSE_S,
    LASTING_S,
    LONGEST_PAUSE_S,
    WHOLE,
    are_derived,
    kind_of,
)
from fanout.feed.connection import Connection
from fanout.feed.derived_quotes import DerivedQuotes
from fanout.feed.liveness import Liveness
from fanout.feed.quotes import Quotes
from fanout.feed.roster import Roster
from fanout.net.rest import RestClient
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, Quote
from fanout.protocol.constants import BookFlags, DataKinds
from fanout.protocol.instrument import Instrument
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import BookStats
from fanout.venues.base import Venue
from fanout.venues.values import BookChecksum, Request

REFRESH_S: Final = 10.0
"""How long a whole book may take to come after it was asked for."""

_NOTHING: Final = Taken()
_NO_FLAGS: Final = BookFlags.NONE


class WithQuotes(NamedTuple):
    """What `Taken` has, with the quotes that are taken from the book."""

    updates: Sequence[Update | Quote]
    broken: str


class _Need(msgspec.Struct):
    """A copy that needs the whole book, and what was done about it."""

    due_s: float
    """When the next remedy is due, in trio's time."""
    has_waited: bool = False
    """Whether `REFRESH_S` has passed by then since the book was asked for."""
    is_refreshed: bool = False
    """Whether the connection was asked to send it anew."""


class StreamBooks:
    """The books of a feed, by the index of their instrument."""

    def __init__(
        self,
        venue: Venue,
        rest: RestClient,
        books: ChannelBooks,
        roster: Roster,
        liveness: Liveness,
        announcer: Announcer,
        anomalies: Anomalies,
        quotes: Quotes,
        *,
        wake: Callable[[], None],
        on_misfit: Callable[[VenueUnitsError], None],
    ) -> None:
        """`wake` is called after a change of state, which may bring a new time to look again, and
        `on_misfit` if a level does not fit the units."""
        self.kind = kind_of(venue)
        self._venue = venue
        self._rest = rest
        self._books = books
        books.clear()  # an earlier feed may have left some
        self._roster = roster
        self._liveness = liveness
        self._announcer = announcer
        self._anomalies = anomalies
        self._wake = wake
        self._on_misfit = on_misfit
        self._derived = DerivedQuotes(quotes) if are_derived(venue) else None
        self._of: dict[int, BookCopies] = {}
        self._needs: dict[tuple[int, Connection], _Need] = {}
        self._tries: Counter[int] = Counter()
        """Remedies since the book last lasted, by index."""
        self._whole_s: dict[int, float] = {}
        """When a copy was whole last, by index, in trio's time."""
        self._lagging: set[int] = set()
        """Books whose leader may lag behind, or that wait for a copy to come up."""
        self._news = trio.Event()
        self._at_once = trio.CapacityLimiter(AT_ONCE)
        self._nursery: trio.Nursery | None = None
        self._updates: Counter[int] = Counter()
        self._snapshots: Counter[int] = Counter()
        self._refreshes: Counter[int] = Counter()

    def stats(self, index: int) -> BookStats:
        copies = self._copies(index)
        return BookStats(
            is_whole=copies.is_following,
            bids=copies.prices.bid_count,
            asks=copies.prices.ask_count,
            updates=self._updates[index],
            snapshots=self._snapshots[index],
            breaks=copies.breaks,
            repeats=copies.repeats,
            standbys=copies.standbys,
            refreshes=self._refreshes[index],
        )

    def newest_id(self, index: int) -> int:
        """The update id of a book, 0 while it is unknown."""
        return self._copies(index).prices.update_id

    async def asked(self) -> None:
        """Return once no book needs the REST budget now. They do so rarely that nobody waits."""
        await trio.lowlevel.checkpoint()

    whole = asked

    def _copies(self, index: int) -> BookCopies:
        copies = self._of.get(index)
        if copies is None:
            instrument = self._roster[index].instrument
            copies = self._of[index] = BookCopies(
                OrderBook() if self.kind is DataKinds.QUOTES else self._books.any_of(index),
                can_join=self._request(instrument) is not None,
                time_exponent=instrument.time_exponent,
            )
        return copies

    # What the stream brings.

    def take(
        self, depth: Change, now_s: float, connection: Connection, *, is_alone: bool
    ) -> Taken | WithQuotes:
        """Take an update of a book from a connection, whether it is alone or not."""
        index = depth.update.instrument.index
        copies = self._of.get(index) or self._copies(index)
        taken = copies.take(depth, now_s, connection)
        if copies.fault:
            is_standby = copies.is_following and not taken.updates
            self._note_break(index, copies.fault, is_standby=is_standby)
            self._need(index, connection, now_s)
            self._note_succession(index)
        elif self._needs or not taken.updates:
            self._look_at(index, connection, now_s)
        return self._given(index, taken) if taken.updates or taken.broken else taken

    def verify(self, item: BookChecksum, connection: Connection) -> Taken | WithQuotes:
        """Compare a copy with the venue's checksum."""
        copy = self._copies(item.index).copies.get(connection)
        if copy is None or not copy.is_following:
            return _NOTHING
        if self._venue.checksum(prices_of(copy.book)) in (None, item.value):
            return _NOTHING
        return self.doubt(item.index, "the venue's checksum differs", connection)

    def doubt(
        self, index: int, why: str, connection: Connection | None = None
    ) -> Taken | WithQuotes:
        """Make the copy of a connection unknown, or all, since the stream has lost something."""
        copies, now_s = self._copies(index), trio.current_time()
        is_standby = connection not in (None, copies.leader)
        if connection is None:
            is_whole = copies.is_following
            taken = Taken((), copies.lose_all(why))
        else:
            is_whole = connection in copies.copies and copies.copies[connection].is_following
            taken = copies.lose(connection, why, now_s)
        for each in copies.copies:
            if connection in (None, each):
                self._need(index, each, now_s)
        if is_whole or taken.broken:
            self._note_break(index, why, is_standby=is_standby and not taken.broken)
        self._note_succession(index)
        return self._given(index, taken)

    def restart(self, indexes: tuple[int, ...]) -> None:
        """A first connection brings these. It begins with the whole books."""

    def lost(self, connection: Connection, indexes: tuple[int, ...], why: str) -> None:
        """Messages of a connection are missing, and nothing says which. It is replaced, and the new
        one brings the whole books. So this one is not asked for them at once."""
        due_s = trio.current_time() + REFRESH_S
        for index in indexes:
            self._settle(index, self.doubt(index, why, connection))
            need = self._needs.get((index, connection))
            if need is not None:
                need.due_s = max(need.due_s, due_s)

    def gone(self, connection: Connection, why: str) -> None:
        """A connection has ended."""
        for index, copies in self._of.items():
            if connection in copies.copies:
                self._needs.pop((index, connection), None)
                taken = copies.gone(connection, why, trio.current_time())
                self._settle(index, self._given(index, taken))
                self._note_succession(index)

    def renew(self, instruments: tuple[Instrument, ...]) -> None:
        """Begin anew in other units."""
        for each in instruments:
            self._settle(each.index, self.doubt(each.index, "the venue changed its units"))

    def drop(self, index: int) -> None:
        """Forget the book of an instrument that is delisted. Its connections may end with it, and
        nobody is told of that."""
        copies = self._copies(index)
        copies.lose_all("delisted")
        for each in tuple(copies.copies):
            self._needs.pop((index, each), None)
            copies.gone(each, "delisted", trio.current_time())
        if self._derived is not None:
            self._derived.forget(index)

    def _given(self, index: int, taken: Taken) -> Taken | WithQuotes:
        """What to publish of an outcome, with the quotes behind it."""
        updates = taken.updates
        if updates:
            if updates[0].flags is _NO_FLAGS:
                self._updates[index] += len(updates)
            else:
                self._snapshots[index] += 1
        if self._derived is None:
            return taken
        if taken.broken:
            self._derived.forget(index)
        if not updates:
            return taken
        quote = self._derived.behind(updates[-1], self._of[index].prices)
        quotes = () if quote is None else (quote,)
        if self.kind is DataKinds.QUOTES:
            return WithQuotes(quotes, taken.broken)
        return WithQuotes((*updates, *quotes), taken.broken)

    def _note_break(self, index: int, why: str, *, is_standby: bool) -> None:
        symbol = self._roster[index].instrument.symbol
        kind = "standby copy of an order book lost" if is_standby else "order book lost"
        self._anomalies.note(kind, f"{symbol}: {why}")

    def _settle(self, index: int, taken: Taken | WithQuotes) -> None:
        """Publish an outcome outside of a read."""
        if taken.updates:
            self._announcer.whole_book(taken.updates)
            if self._liveness.lacks(index, self.kind):
                self._announcer.say(self._liveness.back(index, self.kind, WHOLE))
                self._wake()
        if taken.broken:
            self._announcer.say(self._liveness.lost(index, self.kind, taken.broken))
            self._wake()

    # Remedies.

    def _look_at(self, index: int, connection: Connection, now_s: float) -> None:
        """See whether a copy has what it needs, and whether the leader lags behind it."""
        copies = self._of[index]
        if copies.copies[connection].is_following:
            if self._needs.pop((index, connection), None) is not None:
                self._whole_s[index] = now_s
            if copies.due_s is not None and index not in self._lagging:
                self._lagging.add(index)
                self._rouse()
        elif (index, connection) not in self._needs:
            self._needs[index, connection] = _Need(now_s + REFRESH_S, has_waited=True)
            self._rouse()

    def _note_succession(self, index: int) -> None:
        """Look again when a succession that has begun is due, which may be before the next look."""
        if self._of[index].due_s is not None:
            self._lagging.add(index)
            self._rouse()

    def _need(self, index: int, connection: Connection, now_s: float) -> None:
        """Ask for the whole book anew, after a pause if it did not last."""
        if (index, connection) in self._needs:
            return
        if now_s - self._whole_s.get(index, -LASTING_S) >= LASTING_S:
            self._tries[index] = 0
        self._needs[index, connection] = _Need(now_s + self._pause_s(index))
        self._rouse()

    def _pause_s(self, index: int) -> float:
        tries = self._tries[index]
        self._tries[index] += 1
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 10)) if tries else 0.0

    def _rouse(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def run(self) -> None:
        """Apply remedies when they are due, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            while True:
                news, now_s = self._news, trio.current_time()
                for index in tuple(self._lagging):
                    self._look_for_lag(index, now_s)
                for key in [key for key, each in self._needs.items() if each.due_s <= now_s]:
                    self._remedy(*key, now_s)
                with trio.move_on_at(self._next_s()):
                    await news.wait()

    def _next_s(self) -> float:
        dues = [each.due_s for each in self._needs.values()]
        return min(dues + [self._of[each].due_s or inf for each in self._lagging], default=inf)

    def _look_for_lag(self, index: int, now_s: float) -> None:
        copies = self._of[index]
        self._settle(index, self._given(index, copies.due(now_s)))
        if copies.due_s is None:
            self._lagging.discard(index)

    def _remedy(self, index: int, connection: Connection, now_s: float) -> None:
        need, copy = self._needs[index, connection], self._of[index].copies[connection]
        instrument = self._roster[index].instrument
        if self._roster[index].is_gone:
            del self._needs[index, connection]
            return
        if connection.is_paused:
            need.due_s = now_s + REFRESH_S
            return
        if need.has_waited and copy.needs_snapshot:
            need.due_s = inf
            assert self._nursery is not None, "it runs"
            self._nursery.start_soon(self._fetch, index, connection)
            return
        is_asked = not need.is_refreshed and connection.refresh(instrument.symbol)
        if is_asked:
            self._refreshes[index] += 1
        else:
            connection.rotate()
        need.has_waited, need.is_refreshed = True, is_asked
        need.due_s = now_s + REFRESH_S + self._pause_s(index)

    async def _fetch(self, index: int, connection: Connection) -> None:
        """Ask for a whole book over REST, and publish it if it fits."""
        instrument = self._roster[index].instrument
        request = self._request(instrument)
        assert request is not None, "`can_join` says so"
        joined = Joined()
        try:
            async with self._at_once:
                snapshot = await self._rest.fetch(
                    request, lambda body: self._venue.parse_book(body, instrument)
                )
        except VenueMessageError as error:
            self._anomalies.note(error.kind, f"{instrument.symbol}: {error.detail}")
            if isinstance(error, VenueUnitsError):
                self._on_misfit(error)
        except VenueError as error:
            self._anomalies.note("request for an order book failed", error)
        else:
            joined = self._join(instrument, snapshot, connection)
        now_s = trio.current_time()
        self._settle(index, self._given(index, Taken(joined.whole)))
        need = self._needs.get((index, connection))
        if need is not None:
            need.due_s = now_s + max(FIRST_PAUSE_S, self._pause_s(index))
            self._look_at(index, connection, now_s)
            self._rouse()

    def _join(self, instrument: Instrument, snapshot: BookUpdate, connection: Connection) -> Joined:
        copies = self._copies(instrument.index)
        if self._roster[instrument.index].instrument is not instrument:
            return Joined()  # its units changed meanwhile
        if connection not in copies.copies:
            return Joined()  # it has ended
        joined = copies.join(snapshot, connection, trio.current_time())
        if joined.fault:
            self._anomalies.note(
                "whole book that does not fit", f"{instrument.symbol}: {joined.fault}"
            )
        return joined

    def _request(self, instrument: Instrument) -> Request | None:
        """The request for a whole book that can be joined to the changes on the stream."""
        if not self._venue.has_book_ids or self.kind is DataKinds.BOOK_BY_ORDER:
            return None
        return self._venue.book_request(instrument.symbol)
