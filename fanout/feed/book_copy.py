"""One order book as one connection brings it: whole at first, then its changes. Pure.

At some venues (`BookSource.STREAM`) the stream itself brings the whole book, after the subscription
and whenever the venue wants to. Each connection then has a copy of its own, since the venue need
not number the copies alike. `book_copies` has those of one instrument.

             .---- take: kept ----.         .--- take: applied, published ---.
             v                    |         v                                |
         UNKNOWN ---- take or join: whole -------> FOLLOWING ----------------'
             ^                                         |  ^--- whole: replaced ---'
             '--- changes are missing, crossed, ... ---'

A change follows the copy if it names the last update id, as in `book_sync`. An update that is whole
follows anything. Its levels are the venue's of that moment, so there are no edges to measure.

Readers of a channel ignore updates that are not above a book's update id. So the ids that are
published ascend, though the venue may begin its own anew. They are the venue's, and `shift` higher
where those went back.

While the copy is unknown, changes are kept if a whole book over REST can be joined to them.
"""

from collections.abc import Iterable
from copy import copy
from typing import Final

from msgspec.structs import replace

from fanout.channel.books import AnyBook
from fanout.feed.book_sync import (
    BACK_S,
    BookSync,
    Joined,
    Taken,
    Update,
    applied,
    crossing,
    missing,
    went_back,
)
from fanout.feed.kept_changes import follows
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, OrderUpdate
from fanout.protocol.constants import U64_MAX, BookFlags
from fanout.protocol.errors import FanoutError
from fanout.protocol.orders_book import OrdersBook
from fanout.venues.values import VenueDepth, VenueOrders

_NOTHING: Final = Taken()
_NO_FLAGS: Final = BookFlags.NONE
"""A name of its own, since an enumeration's members are slow to look up."""


Change = VenueDepth | VenueOrders


def prices_of(book: AnyBook) -> OrderBook:
    """The levels of a book by price or by order."""
    return book.prices if isinstance(book, OrdersBook) else book


class BookCopy:
    """Keeps the book of one connection."""

    def __init__(self, *, by_order: bool = False, can_join: bool = False) -> None:
        """`can_join`: a whole book over REST may take the place of one on the stream."""
        self.book: AnyBook = OrdersBook() if by_order else OrderBook()
        """Known exactly while the copy is followed. Its update ids are those to publish."""
        self.is_following = False
        self.last: AnyBook | None = None
        """The book before it became unknown. None while it is known, or if the update that broke it
        has changed it."""
        self.repeats = 0
        """Changes that the copy had already."""
        self._last_id = -1
        """The venue's, of the book."""
        self._shift = 0
        self._published = -1
        """The highest id that was published before the ids went back."""
        self._back_since_s: float | None = None
        self._joiner = BookSync(OrderBook()) if can_join else None
        """Keeps the changes of an unknown copy."""

    @property
    def needs_snapshot(self) -> bool:
        """Whether a whole book over REST is needed, and has something to join."""
        return not self.is_following and self._joiner is not None and self._joiner.needs_snapshot

    def take(self, depth: Change, now_s: float) -> Taken:
        """Take an update, and give what to publish of it. It may break an unknown copy too."""
        update = depth.update
        if update.flags is not _NO_FLAGS and update.is_whole:
            return self._replace(update)
        if not self.is_following:
            self._keep(depth, now_s)
            return _NOTHING
        if depth.resets:
            return self._begin_anew(depth)
        last_id = self._last_id
        if update.update_id <= last_id:
            return self._repeated(update, now_s)
        if follows(depth) > last_id:
            return self._missed(depth)
        return self._apply(update)

    def join(self, snapshot: BookUpdate) -> Joined:
        """Take the whole book from REST, and apply the changes that follow it."""
        if not self.needs_snapshot or self._joiner is None:
            return Joined()
        joined = self._joiner.join(snapshot)
        if not joined.whole:
            return joined
        self._begin_at(joined.whole[0].update_id)
        return Joined(self._applied(joined.whole))

    def lead(self, book: AnyBook, published: int) -> list[Update]:
        """Make `book` the one that is kept from now on, and give the whole of it to publish.
        `published` is the last id that was published of it."""
        whole, last_id = self.book.whole(), self._last_id
        self.book, self._published = book, published
        self._number(last_id)
        return self._applied([replace(each, update_id=last_id) for each in whole])

    def step_down(self) -> int:
        """Keep a book of its own again. Gives the last id that was published."""
        self.book = copy(self.book)
        return max(self._published, self._last_id + self._shift)

    def lose(self, why: str) -> str:
        """Make the copy unknown. Gives `why`, or nothing if it was unknown."""
        lost = self._break(why) if self.is_following else ""
        self._forget()
        return lost

    def _replace(self, update: Update) -> Taken:
        self._begin_at(update.update_id)
        return self._apply(update)

    def _begin_anew(self, depth: Change) -> Taken:
        """The venue's ids go back with a change that follows the one before."""
        if follows(depth) != self._last_id:
            return self._missed(depth)
        self._begin_at(depth.update.update_id)
        return self._apply(depth.update)

    def _begin_at(self, first_id: int) -> None:
        """Go on from this id of the venue's, which may be lower than those before."""
        self._published = max(self._published, self._last_id + self._shift)
        self._number(first_id)

    def _number(self, first_id: int) -> None:
        """Publish ids above those before, from this one of the venue's on."""
        self._shift = 0 if first_id > self._published else self._published + 1 - first_id
        self._last_id = first_id - 1

    def _applied(self, updates: Iterable[Update]) -> list[Update]:
        return [each for update in updates for each in self._apply(update).updates]

    def _apply(self, update: Update) -> Taken:
        """Apply an update, with the id to publish."""
        last_id = update.update_id
        if self._shift:
            update = replace(update, update_id=(last_id + self._shift) & U64_MAX)
        fault = _applied_to(self.book, update)
        if fault:
            self.book.clear()
            return Taken((), self._break(fault))
        self._last_id, self._back_since_s = last_id, None
        if not self.is_following:
            self.is_following, self.last = True, None
            self._forget()
        return Taken((update,))

    def _repeated(self, update: Update, now_s: float) -> Taken:
        last_id = self._last_id
        if update.update_id == last_id and not update.packed_bids and not update.packed_asks:
            return _NOTHING  # a sign of life
        self.repeats += 1
        if self._back_since_s is None:
            self._back_since_s = now_s
        elif now_s - self._back_since_s > BACK_S:
            return Taken((), self._break(went_back(last_id, update.update_id)))
        return _NOTHING

    def _missed(self, depth: Change) -> Taken:
        """The book is unknown without the changes before this one, which is kept."""
        broken = self._break(missing(self._last_id, depth))
        self._keep(depth, 0.0)
        return Taken((), broken)

    def _break(self, why: str) -> str:
        self.last = copy(self.book) if self.book.is_known else None
        self.book.clear()
        self.is_following = False
        self._back_since_s = None
        return why

    def _keep(self, depth: Change, now_s: float) -> None:
        if self._joiner is not None and type(depth) is VenueDepth:
            if depth.resets:
                self._forget()
            self._joiner.take(depth, now_s)

    def _forget(self) -> None:
        """Forget what was kept, and a book that was joined to it."""
        if self._joiner is not None:
            self._joiner.lose("")


def _applied_to(book: AnyBook, update: Update) -> str:
    """As `book_sync.applied`, for a book of either kind."""
    if isinstance(book, OrderBook):
        assert isinstance(update, BookUpdate), "the dialogue brings one kind"
        return applied(book, update)
    assert isinstance(update, OrderUpdate), "the dialogue brings one kind"
    try:
        book.apply(update)
    except FanoutError as error:
        return str(error)
    return crossing(book.prices, update.instrument) if book.prices.is_crossed else ""
