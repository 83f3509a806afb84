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

A book that may be wrong is cleared at once. Nothing is published of it until it is whole again.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.errors import FanoutError
from fanout.venues.base import VenueDepth

MAX_KEPT_UPDATES: Final = 4_096
"""Limit of the changes that are kept for a snapshot: over a minute of a busy symbol."""

MAX_KEPT_BYTES: Final = 1024 * 1024
"""Limit of the memory of their levels. Protects the service from a symbol whose snapshot never
comes. Beyond a limit the oldest change is dropped, and the snapshot has to be newer."""

LEAST_KEPT_UPDATES: Final = 256
"""Kept of a book whose snapshot is not asked for yet: some seconds of a busy symbol, by which REST
may lag behind the stream."""

WAIT_S: Final = 0.5
"""How long a missing change may take to come on another connection."""

BACK_S: Final = 5.0
"""How long the stream may bring only changes that the book has: after that its ids went back."""


class Taken(NamedTuple):
    """The outcome of a change: the changes to publish, in order, and then why the book is unknown
    from now on, if it is."""

    updates: Sequence[BookUpdate] = ()
    broken: str = ""


class Joined(NamedTuple):
    """The outcome of a snapshot: the whole book to publish, or why the snapshot is of no use. Both
    are empty if none is needed, or before the first change."""

    whole: Sequence[BookUpdate] = ()
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
        self._last_id = 0
        self._kept: list[VenueDepth] = []
        """Changes that cannot be applied yet, by the id that they lead to."""
        self._kept_bytes = 0
        self._wait_until_s: float | None = None
        self._back_since_s: float | None = None

    @property
    def due_s(self) -> float | None:
        """When the wait for a missing change ends; None without one."""
        return self._wait_until_s

    @property
    def has_kept(self) -> bool:
        """Whether a snapshot has something to join."""
        return bool(self._kept)

    def take(self, depth: VenueDepth, now_s: float, *, is_alone: bool = True) -> Taken:
        """Take a change. `is_alone`: there is only one connection, which can bring it."""
        if not self.is_following:
            if is_alone and self._kept and depth.update.update_id < _id(self._kept[-1]):
                self._forget()  # ids went back: what was kept leads nowhere
            self._keep(depth)
            return _NOTHING
        if depth.update.update_id <= self._last_id:
            return self._repeated(depth, now_s)
        if _follows(depth) > self._last_id:
            return self._ahead(depth, now_s, is_alone=is_alone)
        self._back_since_s = None
        fault = self._apply(depth.update)
        if fault:
            return Taken((), self._break(fault))
        if self._kept:
            return self._catch_up(depth.update)
        return Taken((depth.update,))

    def due(self, now_s: float) -> Taken:
        """Give up a missing change that was waited for long enough."""
        if self._wait_until_s is None or now_s < self._wait_until_s:
            return _NOTHING
        return Taken((), self._break(_missing(self._last_id, self._kept[0])))

    def join(self, snapshot: BookUpdate) -> Joined:
        """Take the whole book from REST, and apply the changes that follow it."""
        if self.is_following or not self._kept:
            return _NOT_NEEDED
        last_id = snapshot.update_id
        newer = [each for each in self._kept if _id(each) > last_id]
        if newer and _follows(newer[0]) > last_id:
            return Joined(fault=_too_old(last_id, newer[0], len(newer) == len(self._kept)))
        if len(newer) < len(self._kept):  # not every venue dates its snapshots
            time = max(snapshot.time, self._kept[-len(newer) - 1].update.time)
            snapshot = replace(snapshot, time=time)
        fault = self._apply(snapshot)
        while newer and not fault:
            if _follows(newer[0]) > self._last_id:
                fault = _missing(self._last_id, newer[0])
                break
            fault = self._apply(newer.pop(0).update)
        if fault:
            self.book.clear()
            self._forget()
            for each in newer:
                self._keep(each)
            return Joined(fault=fault)
        self._forget()
        self.is_following, self._back_since_s = True, None
        return Joined(self.book.whole())

    def trim(self) -> None:
        """Keep only the newest changes, since the snapshot will be newer than the others."""
        while len(self._kept) > LEAST_KEPT_UPDATES:
            self._kept_bytes -= _bytes(self._kept.pop(0))

    def restart(self) -> None:
        """Forget the changes that were kept, since a new connection begins. A book that is followed
        goes on if the next change follows it."""
        self._forget()
        self._back_since_s = None

    def lose(self, why: str) -> str:
        """Make the book unknown. Gives `why`, or nothing if it was unknown."""
        if not self.is_following:
            return ""
        return self._break(why)

    def _apply(self, update: BookUpdate) -> str:
        """Apply an update to the book. Gives what is wrong with the book then, or nothing."""
        try:
            self.book.apply(update)
        except FanoutError as error:
            return str(error)
        self._last_id = update.update_id
        return _crossing(self.book, update) if self.book.is_crossed else ""

    def _repeated(self, depth: VenueDepth, now_s: float) -> Taken:
        self.repeats += 1
        if self._back_since_s is None:
            self._back_since_s = now_s
        elif now_s - self._back_since_s > BACK_S:
            broken = self._break(f"update ids went back from {self._last_id} to {_id(depth)}")
            self._keep(depth)
            return Taken((), broken)
        return _NOTHING

    def _ahead(self, depth: VenueDepth, now_s: float, *, is_alone: bool) -> Taken:
        self._keep(depth)
        if is_alone:
            return Taken((), self._break(_missing(self._last_id, self._kept[0])))
        if self._wait_until_s is None:
            self._wait_until_s = now_s + WAIT_S
        return _NOTHING

    def _catch_up(self, first: BookUpdate) -> Taken:
        """Apply the kept changes that follow now."""
        updates = [first]
        while self._kept and _follows(self._kept[0]) <= self._last_id:
            depth = self._kept.pop(0)
            self._kept_bytes -= _bytes(depth)
            if _id(depth) > self._last_id:
                fault = self._apply(depth.update)
                if fault:
                    return Taken(updates, self._break(fault))
                updates.append(depth.update)
        if not self._kept:
            self._wait_until_s = None
        return Taken(updates)

    def _break(self, why: str) -> str:
        """Make the book unknown. The changes that were kept stay for the snapshot."""
        self.book.clear()
        self.is_following, self._wait_until_s, self._back_since_s = False, None, None
        self.breaks += 1
        return why

    def _keep(self, depth: VenueDepth) -> None:
        place = bisect_left(self._kept, depth.update.update_id, key=_id)
        if place < len(self._kept) and _id(self._kept[place]) == depth.update.update_id:
            self.repeats += 1
            return
        self._kept.insert(place, depth)
        self._kept_bytes += _bytes(depth)
        while len(self._kept) > 1 and (
            len(self._kept) > MAX_KEPT_UPDATES or self._kept_bytes > MAX_KEPT_BYTES
        ):
            self._kept_bytes -= _bytes(self._kept.pop(0))

    def _forget(self) -> None:
        self._kept.clear()
        self._kept_bytes, self._wait_until_s = 0, None


def _id(depth: VenueDepth) -> int:
    return depth.update.update_id


def _follows(depth: VenueDepth) -> int:
    """The update id that a change follows."""
    return depth.first_id - 1 if depth.previous_id is None else depth.previous_id


def _bytes(depth: VenueDepth) -> int:
    return len(depth.update.packed_bids) + len(depth.update.packed_asks)


def _crossing(book: OrderBook, update: BookUpdate) -> str:
    bid, ask = book.best_bid, book.best_ask
    assert bid is not None, "a book that is crossed has two sides"
    assert ask is not None, "a book that is crossed has two sides"
    shown = update.instrument.price_decimal
    return f"the best bid {shown(bid.price)} is not below the best ask {shown(ask.price)}"


def _missing(last_id: int, depth: VenueDepth) -> str:
    return f"changes are missing between update {last_id} and {_follows(depth)}"


def _too_old(last_id: int, depth: VenueDepth, is_before_all: bool) -> str:
    """Why a snapshot cannot be joined to the first change that is newer."""
    if is_before_all:
        return f"the whole book is of update {last_id}, before the first change: {_follows(depth)}"
    return _missing(last_id, depth)
