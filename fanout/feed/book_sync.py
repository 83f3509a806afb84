"""One order book, kept equal to the venue's by the chain of its update ids. Pure.

The stream brings changes, and REST the whole book. Each change names the update id that it leads to
and the one that it follows. A book at id L

    has a change already       if it leads to L or less
    is followed by a change    if that follows L or less, and leads beyond L
    has missed changes         if the change follows an id beyond L

Quantities are absolute, so a change that reaches back behind L does no harm. That is the venue's
rule for a snapshot, and it lets several connections feed one book: whichever is further on does.

             .------- take: kept ------.            .--- take: applied, published ---.
             v                         |            v                                |
         UNKNOWN --------- join: the whole book ---------> FOLLOWING ----------------'
             ^                                                 |
             '-- changes are missing, the sides cross, ... ----'

While the book is unknown, changes are kept for the snapshot that will come. A snapshot is refused
if it is older than the changes that were kept, or if some are missing between them. With several
connections a missing change may still come on another one, so the book waits for it a moment.

A snapshot that is top only has *edges*, beyond which levels may be missing; see `book_edges`. A
book with few known levels left before an edge is *narrow*. It is followed as before, and keeps the
changes for a new snapshot as an unknown one does. They are joined in a second book, which then
replaces the first one as a whole.

A book that may be wrong is cleared at once. Nothing is published of it until it is whole again.
"""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from msgspec.structs import replace

from fanout.feed.book_edges import Edges, edges_of, measured
from fanout.feed.kept_changes import KeptChanges, follows, id_of
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, OrderUpdate
from fanout.protocol.errors import FanoutError
from fanout.protocol.instrument import Instrument
from fanout.venues.values import VenueDepth, VenueOrders

WAIT_S: Final = 0.5
"""How long a missing change may take to come on another connection."""

BACK_S: Final = 5.0
"""How long the stream may bring only changes that the book has: after that its ids went back. With
several connections, a change counts only if it is newer than the book by the venue's clock. Older
ones come from a connection that lags behind, which may take longer than this at a quiet symbol."""


Update = BookUpdate | OrderUpdate


class Taken(NamedTuple):
    """The outcome of a change: the changes to publish, in order, and then why the book is unknown
    from now on, if it is."""

    updates: Sequence[Update] = ()
    broken: str = ""


class Joined(NamedTuple):
    """The outcome of a snapshot: the whole book to publish, or why the snapshot is of no use. Both
    are empty if none is needed, or before the first change."""

    whole: Sequence[Update] = ()
    fault: str = ""


_NOTHING: Final = Taken()
_NOT_NEEDED: Final = Joined()


class BookSync:
    """Keeps one book."""

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        """Known exactly while the book is followed."""
        self.is_following = False
        self.repeats = 0
        """Changes that the book had already."""
        self.breaks = 0
        """How often it became unknown."""
        self.is_narrow = False
        """Whether it is followed, and needs a new snapshot before it comes to an edge."""
        self._edges: Edges = ()
        self._room = inf
        """Until the edges are measured again."""
        self._kept = KeptChanges()
        """For the snapshot that will come, while one is needed."""
        self._early = KeptChanges()
        """Those that came before a missing one, while the book is followed."""
        self._wait_until_s: float | None = None
        self._back_since_s: float | None = None

    @property
    def due_s(self) -> float | None:
        """When the wait for a missing change ends; None without one."""
        return self._wait_until_s

    @property
    def needs_snapshot(self) -> bool:
        """Whether a snapshot is needed, and has something to join."""
        return self.is_narrow or (not self.is_following and bool(self._kept.changes))

    def take(self, depth: VenueDepth, now_s: float, *, is_alone: bool = True) -> Taken:
        """Take a change. `is_alone`: there is only one connection, which can bring it."""
        if not self.is_following:
            if is_alone and self._kept.is_beyond(depth):
                self._kept.clear()  # ids went back: what was kept leads nowhere
            self._keep(self._kept, depth)
            return _NOTHING
        last_id = self.book.update_id
        if depth.update.update_id <= last_id:
            return self._repeated(depth, now_s, is_alone=is_alone)
        if self.is_narrow:
            self._kept.add(depth)
        if follows(depth) > last_id:
            return self._ahead(depth, now_s, is_alone=is_alone)
        self._back_since_s = None
        fault = self._apply(depth)
        if fault:
            return Taken((), self._break(fault))
        if self._early.changes:
            return self._catch_up(depth.update)
        return Taken((depth.update,))

    def due(self, now_s: float) -> Taken:
        """Give up a missing change that was waited for long enough."""
        if self._wait_until_s is None or now_s < self._wait_until_s:
            return _NOTHING
        return Taken((), self._break(self._hole()))

    def join(self, snapshot: BookUpdate) -> Joined:
        """Take the whole book from REST, and apply the changes that follow it."""
        if not self.needs_snapshot:
            return _NOT_NEEDED
        book = OrderBook()
        fault = self._build(book, snapshot)
        if fault:
            return Joined(fault=fault)
        if book.update_id < self.book.update_id:
            return Joined(fault=_too_old_to_replace(book, self.book))
        edges = edges_of(snapshot)
        measure = measured(book, edges)
        if measure.fault:
            return Joined(fault=measure.fault)
        self._forget()
        self.is_following, self.is_narrow = True, measure.is_narrow
        self._edges, self._room = edges, measure.room
        self._back_since_s = None
        whole = book.whole()
        for each in whole:
            self.book.apply(each)
        return Joined(whole)

    def trim(self) -> None:
        """Keep only the newest changes, since the snapshot will be newer than the others."""
        self._kept.trim()

    def restart(self) -> None:
        """Forget the changes that were kept, since a new connection begins. A book that is followed
        goes on if the next change follows it."""
        self._forget()
        self._back_since_s = None

    def lose(self, why: str) -> str:
        """Make the book unknown, since its stream has lost something. Gives `why`, or nothing if it
        was unknown.

        The changes that were kept are forgotten. A snapshot that is joined to them may be older
        than the loss, and nothing would show that. So another change has to come first.
        """
        lost = self._break(why) if self.is_following else ""
        self.restart()
        return lost

    def _build(self, book: OrderBook, snapshot: BookUpdate) -> str:
        """Build a book of a snapshot and the kept changes. Gives what is wrong with it, or ""."""
        last_id, kept = snapshot.update_id, self._kept.changes
        newer = [each for each in kept if id_of(each) > last_id]
        if newer and follows(newer[0]) > last_id:
            return _too_old(last_id, newer[0], len(newer) == len(kept))
        if len(newer) < len(kept):  # not every venue dates its snapshots
            time = max(snapshot.time, kept[-len(newer) - 1].update.time)
            snapshot = replace(snapshot, time=time)
        fault = applied(book, snapshot)
        while newer and not fault:
            if follows(newer[0]) > book.update_id:
                fault = missing(book.update_id, newer[0])
                break
            fault = applied(book, newer.pop(0).update)
        if fault:
            self._kept.keep_only(newer)
        return fault

    def _apply(self, depth: VenueDepth) -> str:
        """Apply a change to the book. Gives what is wrong with the book then, or nothing."""
        fault = applied(self.book, depth.update)
        self._room -= len(depth.update.packed_bids) + len(depth.update.packed_asks)
        return fault if fault or self._room >= 0 else self._measure(depth)

    def _measure(self, depth: VenueDepth) -> str:
        """See how far the edges are after a change. Gives why the book may be wrong, or nothing."""
        measure = measured(self.book, self._edges)
        self._room = measure.room
        if measure.is_narrow and not self.is_narrow:
            self.is_narrow = True
            self._kept.add(depth)
            self._keep_early()
        return measure.fault

    def _repeated(self, depth: VenueDepth, now_s: float, *, is_alone: bool) -> Taken:
        self.repeats += 1
        if not is_alone and depth.update.time <= self.book.time:
            return _NOTHING  # another connection brought it before
        if self._back_since_s is None:
            self._back_since_s = now_s
        elif now_s - self._back_since_s > BACK_S:
            last_id = self.book.update_id
            broken = self._break(went_back(last_id, id_of(depth)))
            self._kept.clear()
            self._kept.add(depth)
            return Taken((), broken)
        return _NOTHING

    def _ahead(self, depth: VenueDepth, now_s: float, *, is_alone: bool) -> Taken:
        self._keep(self._early, depth)
        if is_alone:
            return Taken((), self._break(self._hole()))
        if self._wait_until_s is None:
            self._wait_until_s = now_s + WAIT_S
        return _NOTHING

    def _hole(self) -> str:
        return missing(self.book.update_id, self._early.changes[0])

    def _catch_up(self, first: BookUpdate) -> Taken:
        """Apply the early changes that follow now."""
        updates, early = [first], self._early
        while early.changes and follows(early.changes[0]) <= self.book.update_id:
            depth = early.pop()
            if id_of(depth) > self.book.update_id:
                fault = self._apply(depth)
                if fault:
                    return Taken(updates, self._break(fault))
                updates.append(depth.update)
        if not early.changes:
            self._wait_until_s = None
        return Taken(updates)

    def _break(self, why: str) -> str:
        """Make the book unknown. The changes that were kept or early stay for the snapshot."""
        self._keep_early()
        self._early.clear()
        self.book.clear()
        self.is_following = self.is_narrow = False
        self._wait_until_s = self._back_since_s = None
        self.breaks += 1
        return why

    def _keep(self, changes: KeptChanges, depth: VenueDepth) -> None:
        if not changes.add(depth):
            self.repeats += 1

    def _keep_early(self) -> None:
        for each in self._early.changes:
            self._kept.add(each)

    def _forget(self) -> None:
        self._kept.clear()
        self._early.clear()
        self._wait_until_s = None


def applied(book: OrderBook, update: BookUpdate) -> str:
    """Apply an update. Gives what is wrong with the book then, or nothing."""
    try:
        book.apply(update)
    except FanoutError as error:
        return str(error)
    return crossing(book, update.instrument) if book.is_crossed else ""


def crossing(book: OrderBook, instrument: Instrument) -> str:
    bid, ask = book.best_bid, book.best_ask
    assert bid is not None, "a book that is crossed has two sides"
    assert ask is not None, "a book that is crossed has two sides"
    shown = instrument.price_decimal
    return f"the best bid {shown(bid.price)} is not below the best ask {shown(ask.price)}"


def missing(last_id: int, depth: VenueDepth | VenueOrders) -> str:
    return f"changes are missing between update {last_id} and {follows(depth)}"


def went_back(last_id: int, update_id: int) -> str:
    return f"update ids went back from {last_id} to {update_id}"


def _too_old(last_id: int, depth: VenueDepth, is_before_all: bool) -> str:
    """Why a snapshot cannot be joined to the first change that is newer."""
    if is_before_all:
        return f"the whole book is of update {last_id}, before the first change: {follows(depth)}"
    return missing(last_id, depth)


def _too_old_to_replace(book: OrderBook, other: OrderBook) -> str:
    return (
        f"the whole book is of update {book.update_id}, and the one there is of {other.update_id}"
    )
