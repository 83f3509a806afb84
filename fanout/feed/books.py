"""The order books of one feed. Changes come on the stream, and whole books over REST.

A book that is unknown asks for its snapshot once it has a change to join it to. A narrow one asks
for a new snapshot, and is followed meanwhile. Books take turns, `AT_ONCE` at a time, within the
REST budget: the unknown before the narrow, and of these the one that has needed its snapshot
longest. A snapshot that does not fit or did not last is asked for again, each time after a longer
pause.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from fanout.channel.books import ChannelBooks
from fanout.errors import VenueError, VenueMessageError, VenueUnitsError
from fanout.feed.announcer import Announcer
from fanout.feed.book_sync import WAIT_S, BookSync, Joined, Taken
from fanout.feed.connection import Connection
from fanout.feed.liveness import Liveness
from fanout.feed.roster import Roster
from fanout.net.rest import RestClient
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds, FeedState
from fanout.protocol.instrument import Instrument
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import BookStats
from fanout.venues.base import Venue
from fanout.venues.values import BookChecksum, VenueDepth, VenueOrders

AT_ONCE: Final = 8
"""Snapshots that are asked for at the same time."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""Before a snapshot is asked for again. Each pause is twice the one before."""

LASTING_S: Final = 10.0
"""How long a book has to last before its next snapshot is asked for without a pause."""

BOOK: Final = DataKinds.BOOK_BY_PRICE

WHOLE: Final = "the order book is whole"

_NOTHING: Final = Taken()


def are_derived(venue: Venue) -> bool:
    """Whether the feed takes quotes from its books."""
    return venue.quotes_from_book and DataKinds.QUOTES in venue.data


def kind_of(venue: Venue) -> DataKinds:
    """The kind of data that an instrument lacks while its book is unknown; NONE without books."""
    for kind in (BOOK, DataKinds.BOOK_BY_ORDER):
        if kind in venue.data:
            return kind
    return DataKinds.QUOTES if are_derived(venue) else DataKinds.NONE


class Books:
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
        self._syncs: dict[int, BookSync] = {}
        self._needs: dict[int, float] = {}
        """When a snapshot may be asked for, in trio's time, by index; the oldest need first."""
        self._asked: set[int] = set()
        self._tries: Counter[int] = Counter()
        self._joined_s: dict[int, float] = {}
        """When a snapshot was joined last, or lost what it could be joined to."""
        self._waiting: set[int] = set()
        """Books that wait for a change which may come on another connection."""
        self._ahead = trio.Event()
        self._answered = trio.Event()
        self._more = trio.Event()
        self._updates: Counter[int] = Counter()
        """Changes that were published, whole books not counted, by index."""
        self._snapshots: Counter[int] = Counter()
        """Whole books that were published, by index."""

    def sync(self, index: int) -> BookSync:
        """The state of a book, which is unknown at first."""
        sync = self._syncs.get(index)
        if sync is None:
            sync = self._syncs[index] = BookSync(self._books.of(index))
        return sync

    def stats(self, index: int) -> BookStats:
        sync = self.sync(index)
        return BookStats(
            is_whole=sync.is_following,
            bids=sync.book.bid_count,
            asks=sync.book.ask_count,
            updates=self._updates[index],
            snapshots=self._snapshots[index],
            breaks=sync.breaks,
            repeats=sync.repeats,
        )

    def newest_id(self, index: int) -> int:
        """The update id of a book, 0 while it is unknown."""
        return self.sync(index).book.update_id

    async def asked(self) -> None:
        """Return once no book needs the REST budget now."""
        while self._is_asking():
            await self._answered.wait()

    async def whole(self) -> None:
        """Return once no book needs a snapshot, whether it is due, asked for, or to be asked for
        again."""
        while self._needs or self._asked:
            await self._answered.wait()

    def _is_asking(self) -> bool:
        """Whether a book is asked for, or due. Those that are followed, and those whose snapshots
        failed, hold up nobody."""
        return any(
            not self._tries[index] and not self.sync(index).is_following
            for index in (*self._asked, *self._due())
        )

    def _due(self) -> list[int]:
        """The books whose turn it is, the oldest need first."""
        now_s = trio.current_time()
        return [index for index, due_s in self._needs.items() if due_s <= now_s]

    # What the stream brings.

    def take(
        self,
        depth: VenueDepth | VenueOrders,
        now_s: float,
        connection: Connection,
        *,
        is_alone: bool,
    ) -> Taken:
        """Take a change of a book, which all connections feed together. `is_alone`: only this one
        brings it."""
        assert type(depth) is VenueDepth, "books by order come whole on the stream"
        index = depth.update.instrument.index
        sync = self._syncs.get(index) or self.sync(index)
        taken = sync.take(depth, now_s, is_alone=is_alone)
        if taken.updates:
            self._updates[index] += len(taken.updates)
        if taken.broken:
            self._note_break(depth.update.instrument, taken.broken)
        if sync.is_following and sync.due_s is not None:
            self._waiting.add(index)
            self._ahead.set()
        if sync.needs_snapshot:
            if index not in self._asked:
                sync.trim()  # a snapshot that is not asked for yet will be newer
            self._need(index, now_s)
        return taken

    def restart(self, indexes: tuple[int, ...]) -> None:
        """A first connection brings these: what was kept of an earlier one leads nowhere."""
        for index in indexes:
            self.sync(index).restart()
            self._forgo(index)

    def _forgo(self, index: int) -> None:
        """Do without the snapshot of a book."""
        if self._needs.pop(index, None) is not None:
            self._note_answer()

    def _note_answer(self) -> None:
        self._answered.set()
        self._answered = trio.Event()

    def renew(self, instruments: tuple[Instrument, ...]) -> None:
        """Begin anew in other units."""
        for each in instruments:
            self._lose(each, self.sync(each.index).lose("the venue changed its units"))

    def doubt(self, index: int, why: str, connection: Connection | None = None) -> Taken:
        """Make a book unknown, since its stream has lost something, on whichever connection."""
        if not self.sync(index).lose(why):
            self._joined_s[index] = trio.current_time()  # its snapshot would not have lasted
            return _NOTHING
        self._note_break(self._roster[index].instrument, why)
        return Taken((), why)

    def verify(self, item: BookChecksum, connection: Connection) -> Taken:
        raise AssertionError("a venue with checksums sends whole books on its stream")

    def lost(self, connection: Connection, indexes: tuple[int, ...], why: str) -> None:
        """Messages of a connection are missing, and nothing says which."""
        for index in indexes:
            if self.doubt(index, why).broken:
                self._announcer.say(self._liveness.lost(index, BOOK, why))
        self._wake()

    def gone(self, connection: Connection, why: str) -> None:
        """A connection has ended. The next change tells whether something is missing."""

    def drop(self, index: int) -> None:
        """Forget the book of an instrument that is delisted."""
        self.sync(index).lose("delisted")
        self._forgo(index)

    def _lose(self, instrument: Instrument, why: str) -> None:
        if why:
            self._note_break(instrument, why)
            self._announcer.say(self._liveness.lost(instrument.index, BOOK, why))
            self._wake()

    def _note_break(self, instrument: Instrument, why: str) -> None:
        self._anomalies.note("order book lost", f"{instrument.symbol}: {why}")

    # Snapshots.

    async def run(self) -> None:
        """Fetch the whole books that are needed, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up_waiting)
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            index = min(self._due(), key=lambda each: self.sync(each).is_following, default=None)
            if index is not None:
                if self._is_joinable(index):
                    await self._fetch(index)
                else:
                    self._forgo(index)  # the next change needs it again
                continue
            with trio.move_on_at(min(self._needs.values(), default=float("inf"))):
                await self._more.wait()

    def _is_joinable(self, index: int) -> bool:
        """Whether a snapshot may be joined now. A book without a connection would not be followed,
        and a reader that joins would take it for the book of now. A book that is followed is
        replaced only while it is LIVE: it may have missed changes otherwise, and the chain will
        show whether it has."""
        state = self._liveness.state(index)
        if self.sync(index).is_following:
            return state is FeedState.LIVE
        return state is not FeedState.DOWN

    def _need(self, index: int, now_s: float, *, again: bool = False) -> None:
        """Ask for a snapshot, after a pause if the last one did not fit or did not last."""
        if index in self._needs or index in self._asked:
            return
        if again or now_s - self._joined_s.get(index, -LASTING_S) < LASTING_S:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._tries[index], 10))
            self._tries[index] += 1
        else:
            pause_s = self._tries[index] = 0
        self._needs[index] = now_s + pause_s
        self._more.set()
        self._more = trio.Event()

    async def _fetch(self, index: int) -> None:
        """Ask for one whole book, publish it if it fits, and else ask again later."""
        del self._needs[index]
        self._asked.add(index)
        instrument = self._roster[index].instrument
        request = self._venue.book_request(instrument.symbol)
        assert request is not None, "the venue's whole books are in REST"
        try:
            snapshot = await self._rest.fetch(
                request,
                lambda body: self._venue.parse_book(body, instrument),
            )
        except VenueMessageError as error:
            self._anomalies.note(error.kind, f"{instrument.symbol}: {error.detail}")
            if isinstance(error, VenueUnitsError):
                self._on_misfit(error)
            joined = Joined(fault="it cannot be read")
        except VenueError as error:
            self._anomalies.note("request for an order book failed", error)
            joined = Joined(fault="REST does not answer")
        else:
            joined = self._join(instrument, snapshot)
        finally:
            self._asked.discard(index)
            self._note_answer()
        if joined.whole:
            self._publish(instrument, joined)
        elif joined.fault and not self._roster[index].is_gone:
            self._need(index, trio.current_time(), again=True)

    def _join(self, instrument: Instrument, snapshot: BookUpdate) -> Joined:
        if self._roster[instrument.index].instrument is not instrument:
            return Joined(fault="its units changed meanwhile")
        if not self._is_joinable(instrument.index):
            return Joined()
        joined = self.sync(instrument.index).join(snapshot)
        if joined.fault:
            self._anomalies.note(
                "whole book that does not fit", f"{instrument.symbol}: {joined.fault}"
            )
        return joined

    def _publish(self, instrument: Instrument, joined: Joined) -> None:
        index = instrument.index
        self._joined_s[index] = trio.current_time()
        self._snapshots[index] += 1
        self._announcer.whole_book(joined.whole)
        self._announcer.say(self._liveness.back(index, BOOK, WHOLE))
        self._wake()

    async def _give_up_waiting(self) -> None:
        """Break the books whose missing change did not come on any connection."""
        while True:
            if not self._waiting:
                self._ahead = trio.Event()
                await self._ahead.wait()
            await trio.sleep(WAIT_S / 5)
            now_s = trio.current_time()
            for index in tuple(self._waiting):
                sync = self._syncs[index]
                taken = sync.due(now_s)
                if taken.broken:
                    self._lose(self._roster[index].instrument, taken.broken)
                    self._need(index, now_s)
                if sync.due_s is None:
                    self._waiting.discard(index)
