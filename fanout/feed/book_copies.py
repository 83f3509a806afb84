"""One order book that the stream brings whole, on several connections. Pure.

Each connection has a copy of the book. The first that is whole *leads*: what it brings is applied
to the book of the channel, and published. The others stand by. If the leader breaks or ends,
another copy leads from then on: its whole book is published, and readers miss nothing.

A book must not go back in time, and a connection that was held back brings an old one. So the time
of the newest whole copy decides:

    it reaches what was published --> the copy leads at once
    it is up to SKEW_S behind     --> the *succession*: nothing is reported, and no copy leads
                                        |-> a copy reaches what was published: it leads
                                        |-> SUCCESSION_S passes: the newest copy leads
                                        '-> no such copy is left: the book is lost
    it is further behind          --> the book is lost, until a copy reaches what was published

Some venues stamp each connection by itself, so a copy that is up to SKEW_S behind may have all that
was published. If its levels are the same, it leads at once too. If they differ, it may have been
held back. Then what it lacks comes within SUCCESSION_S. If the time is still lower after that, the
venue's stamps differ.

A leader that lags behind another, by the venue's clock and by its levels, is replaced after a
moment too.
"""

from typing import Final

import msgspec

from fanout.channel.books import AnyBook
from fanout.feed.book_copy import BookCopy, Change, prices_of
from fanout.feed.book_sync import Joined, Taken
from fanout.feed.connection import Connection
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import Side
from fanout.protocol.orders_book import OrdersBook

LAG_S: Final = 1.0
"""How long another connection may be ahead of the one that leads."""

SKEW_S: Final = 0.1
"""How far the venue's time of one change may differ between connections."""

SUCCESSION_S: Final = 2 * SKEW_S
"""How long a copy that is at most SKEW_S behind may take to reach what was published."""

PATIENCE_S: Final = 10.0
"""How long a copy that is further behind may take to come up. Then the venue's clock went back."""

_NOTHING: Final = Taken()


class _Ahead(msgspec.Struct):
    """Another copy is ahead of the one that leads, by the venue's clock."""

    time: int
    since_s: float
    due_s: float
    """When to compare them."""


class _Succession(msgspec.Struct):
    """No copy leads for a moment. The newest is a little behind what was published."""

    why: str
    """Why the last leader broke or ended, to report if the book is lost after all."""
    due_s: float
    """When the newest copy leads, though it is behind."""


class _Awaited(msgspec.Struct):
    """The book is lost. No copy is whole, or those that are come behind what was published."""

    since_s: float | None = None
    """When the first of them brought something."""


class BookCopies:
    """The copies of one book, by their connection."""

    def __init__(self, book: AnyBook, *, can_join: bool = False, time_exponent: int = -3) -> None:
        """`can_join` is as in `BookCopy`, and `time_exponent` is the instrument's."""
        self.book = book
        """What was published. Known exactly while a copy leads."""
        self.leader: Connection | None = None
        """The connection whose copy leads."""
        self.breaks = 0
        """How often the book became unknown."""
        self.copies: dict[Connection, BookCopy] = {}
        self.fault = ""
        """Why the newest update broke its copy, if it did."""
        self._by_order = isinstance(book, OrdersBook)
        self._can_join = can_join
        self._ahead: _Ahead | None = None
        self._succession: _Succession | None = None
        self._awaited: _Awaited | None = None
        self._skew = int(SKEW_S * 10**-time_exponent)
        self._published = -1
        self._reached = 0
        """The time of the newest update that was published. A copy leads from this time on."""
        self._repeats = 0
        """Of copies whose connection has ended."""

    @property
    def prices(self) -> OrderBook:
        """The levels of the book."""
        return prices_of(self.book)

    @property
    def is_following(self) -> bool:
        return self.leader is not None

    @property
    def repeats(self) -> int:
        """Changes that a copy had already."""
        return self._repeats + sum(each.repeats for each in self.copies.values())

    @property
    def standbys(self) -> int:
        """Copies that could lead, if the one that leads breaks."""
        return sum(each.is_following for each in self.copies.values()) - self.is_following

    def take(self, depth: Change, now_s: float, connection: Connection) -> Taken:
        """Take an update from a connection."""
        copy = self.copies.get(connection)
        if copy is None:
            copy = self.copies[connection] = BookCopy(
                by_order=self._by_order, can_join=self._can_join
            )
        taken = copy.take(depth, now_s)
        self.fault = taken.broken
        if connection == self.leader:
            if taken.broken:
                return self._replaced(taken.broken, now_s)
            if taken.updates:
                self._reached = depth.update.time
            return taken
        if self.leader is not None and copy.is_following:
            return self._compare(depth.update.time, now_s)
        followed = self._follow(connection, copy) if self._has_come_up(copy, now_s) else _NOTHING
        return self._succeed(now_s) if self._succession is not None else followed

    @property
    def due_s(self) -> float | None:
        """When to look whether the leader lags, or to wait no longer for one that is behind.
        None if there is neither."""
        if self._ahead is not None:
            return self._ahead.due_s
        if self._succession is not None:
            return self._succession.due_s
        awaited = self._awaited
        if awaited is None or awaited.since_s is None:
            return None
        return awaited.since_s + PATIENCE_S

    def due(self, now_s: float) -> Taken:
        """Replace the leader if it has lagged behind for long enough, or let a copy lead that stays
        behind.

        It lags if it has not the levels of the newest copy, after half that time and after all of
        it. Its time alone proves nothing: some venues take the time for each connection by itself.
        """
        ahead = self._ahead
        if ahead is None:
            return self._waited(now_s)
        if self.leader is None or self.prices.time >= ahead.time:
            self._ahead = None
        elif now_s >= ahead.due_s:
            newest = self.copies[self._newest()].book
            if _levels(newest) == _levels(self.book):
                self._ahead = None
            elif now_s >= ahead.since_s + LAG_S:
                return self._replaced("", now_s)
            else:
                ahead.due_s = ahead.since_s + LAG_S
        return _NOTHING

    def _waited(self, now_s: float) -> Taken:
        """Let the newest copy that is whole lead, if it did not come up in time."""
        if self._succession is not None:
            return self._succeed(now_s)
        awaited = self._awaited
        if awaited is None or awaited.since_s is None or now_s < awaited.since_s + PATIENCE_S:
            return _NOTHING
        if not any(each.is_following for each in self.copies.values()):
            awaited.since_s = None  # it has broken, or ended
            return _NOTHING
        newest = self._newest()
        return self._follow(newest, self.copies[newest])

    def _newest(self) -> Connection:
        """The newest connection whose copy is whole."""
        whole = [each for each, copy in self.copies.items() if copy.is_following]
        return max(whole, key=lambda each: prices_of(self.copies[each].book).time)

    def _compare(self, time: int, now_s: float) -> Taken:
        """Note that a copy that stands by is at this time of the venue's."""
        if self._ahead is None and time > self.prices.time:
            self._ahead = _Ahead(time, now_s, now_s + LAG_S / 2)
        return self.due(now_s)

    def join(self, snapshot: BookUpdate, connection: Connection, now_s: float) -> Joined:
        """Take the whole book from REST, for the copy of a connection."""
        copy = self.copies[connection]
        joined = copy.join(snapshot)
        if not self._has_come_up(copy, now_s):
            return joined._replace(whole=())
        return Joined(self._follow(connection, copy).updates, joined.fault)

    def lose(self, connection: Connection, why: str, now_s: float) -> Taken:
        """Make the copy of a connection unknown, since its stream has lost something."""
        copy = self.copies.get(connection)
        if copy is None or not copy.lose(why):
            return _NOTHING
        if connection == self.leader:
            return self._replaced(why, now_s)
        return self._succeed(now_s) if self._succession is not None else _NOTHING

    def gone(self, connection: Connection, why: str, now_s: float) -> Taken:
        """Forget the copy of a connection that has ended."""
        taken = self.lose(connection, why, now_s)
        copy = self.copies.pop(connection, None)
        self._repeats += copy.repeats if copy is not None else 0
        return taken

    def lose_all(self, why: str) -> str:
        """Make all copies unknown. Gives why the book is lost, or nothing if it was lost before: in
        a succession why the last leader ended, and otherwise `why`."""
        for copy in self.copies.values():
            copy.lose(why)
        if self._succession is not None:
            return self._lost(self._succession.why).broken
        if self.leader is None:
            return ""
        self._step_down()
        return self._lost(why).broken

    def _follow(self, connection: Connection, copy: BookCopy) -> Taken:
        """Let a copy lead that is whole, if no other does."""
        if self.leader is not None or not copy.is_following:
            return _NOTHING
        self.leader, self._succession, self._awaited = connection, None, None
        self._reached = prices_of(copy.book).time
        return Taken(copy.lead(self.book, self._published))

    def _replaced(self, why: str, now_s: float) -> Taken:
        """Let another copy lead: the newest that is whole. If it may be behind what was published,
        the succession begins. Without one the book is lost."""
        last = self._step_down()
        successor = self._successor()
        if successor is None:
            return self._lost(why)
        book = self.copies[successor].book
        has_all = last is not None and _levels(book) == _levels(last)
        if has_all or prices_of(book).time >= self._reached:
            return self._follow(successor, self.copies[successor])
        self._succession = _Succession(why, now_s + SUCCESSION_S)
        return _NOTHING

    def _step_down(self) -> AnyBook | None:
        """Let the leader lead no longer. Gives the book that it had when it broke, if it did and
        has that."""
        assert self.leader is not None, "one leads"
        copy = self.copies[self.leader]
        self._published = copy.step_down()
        self.leader = self._ahead = None
        return copy.last

    def _successor(self) -> Connection | None:
        """The newest connection whose copy is whole, unless that is too far behind to lead."""
        if not any(each.is_following for each in self.copies.values()):
            return None
        newest = self._newest()
        is_near = prices_of(self.copies[newest].book).time >= self._reached - self._skew
        return newest if is_near else None

    def _succeed(self, now_s: float) -> Taken:
        """End the succession if it is due, or if no copy is left that could lead."""
        assert self._succession is not None, "it has begun"
        successor = self._successor()
        if successor is None:
            return self._lost(self._succession.why)
        if now_s < self._succession.due_s:
            return _NOTHING
        return self._follow(successor, self.copies[successor])

    def _lost(self, why: str) -> Taken:
        """Make the book unknown, until a copy has come up."""
        self._succession, self._awaited = None, _Awaited()
        self.breaks += 1
        return Taken((), why)

    def _has_come_up(self, copy: BookCopy, now_s: float) -> bool:
        """Whether a copy may lead, after a break. One without a time may: some venues give a whole
        book none, and nothing else may follow it for long."""
        awaited, time = self._awaited, prices_of(copy.book).time
        if not copy.is_following or not time or time >= self._reached:
            return True
        if awaited is None:
            return self._succession is None
        if awaited.since_s is None:
            awaited.since_s = now_s
        return now_s - awaited.since_s > PATIENCE_S


def _levels(book: AnyBook) -> object:
    """The levels of a book by price, or its orders."""
    if isinstance(book, OrdersBook):
        return [sorted(book.orders(side)) for side in Side]
    return book.packed()
