"""The book of one instrument against its venue: joins, holes, crossings, and two connections."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.feed.book_sync import (
    BACK_S,
    MAX_KEPT_BYTES,
    MAX_KEPT_UPDATES,
    WAIT_S,
    BookSync,
    Joined,
    Taken,
)
from fanout.protocol import OrderBook
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import MAX_BOOK_LEVELS, BookFlags
from fanout.venues.base import VenueDepth
from tests.protocol.golden import BTC

Levels = Sequence[tuple[int, int]]


def depth(
    first_id: int, last_id: int, *, follows: int | None = None, bids: Levels = (), asks: Levels = ()
) -> VenueDepth:
    """A change that says which ids it has. `follows` is the last id of the one before, at a venue
    that sends it."""
    update = BookUpdate(BTC, last_id, 5, pack_levels(bids), pack_levels(asks))
    return VenueDepth(update, first_id, follows)


def whole(
    last_id: int, *, bids: Levels = ((99, 1),), asks: Levels = ((101, 1),), time: int = 7
) -> BookUpdate:
    flags = BookFlags.WHOLE
    return BookUpdate(BTC, last_id, time, pack_levels(bids), pack_levels(asks), flags)


def following(last_id: int = 10, **sides: Levels) -> BookSync:
    """A book that is whole at this id."""
    sync = BookSync(OrderBook())
    sync.take(depth(last_id, last_id), 0.0)
    assert sync.join(whole(last_id, **sides)).whole
    return sync


def ids(updates: Sequence[BookUpdate]) -> list[int]:
    return [each.update_id for each in updates]


def test_a_book_is_unknown_until_it_is_joined() -> None:
    sync = BookSync(OrderBook())
    assert sync.take(depth(11, 12), 0.0) == Taken()
    assert not sync.is_following
    assert not sync.book.is_known


def test_a_snapshot_before_any_change_is_not_needed() -> None:
    sync = BookSync(OrderBook())
    assert sync.join(whole(10)) == Joined()
    assert not sync.is_following


@pytest.mark.parametrize("last_id", [10, 11, 12, 13, 14])
def test_a_snapshot_at_inside_or_ahead_of_a_kept_change_is_joined(last_id: int) -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 12, bids=[(98, 3)]), 0.0)
    joined = sync.join(whole(last_id))
    assert not joined.fault
    assert sync.is_following
    (update,) = joined.whole
    assert update.is_whole
    assert update.update_id == max(last_id, 12)
    assert sync.book.quantity_at(0, 98) == (3 if last_id < 12 else 0)


def test_a_snapshot_is_too_old_if_the_first_kept_change_does_not_follow_it() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 12), 0.0)
    joined = sync.join(whole(9))
    assert joined.fault == "the whole book is of update 9, before the first change: 10"
    assert not sync.book.is_known
    assert sync.join(whole(10)).whole, "what was kept is still there"


def test_a_change_names_the_one_before_it_where_ids_are_not_consecutive() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(140, 150, follows=10), 0.0)
    assert sync.join(whole(10)).whole
    assert ids(sync.take(depth(300, 310, follows=150), 0.0).updates) == [310]
    assert sync.take(depth(500, 510, follows=311), 0.0).broken


def test_a_snapshot_is_refused_if_a_change_is_missing_among_the_kept_ones() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 12), 0.0)
    sync.take(depth(15, 16), 0.0)
    assert sync.join(whole(10)).fault == "changes are missing between update 12 and 14"
    assert not sync.book.is_known
    assert sync.join(whole(14)).whole, "a newer snapshot joins behind the hole"


def test_a_snapshot_without_a_time_gets_that_of_the_change_it_has() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 12), 0.0)
    (update,) = sync.join(whole(12, time=0)).whole
    assert update.time == 5


def test_a_change_that_the_book_has_is_dropped() -> None:
    sync = following(10)
    assert sync.take(depth(9, 10), 0.0) == Taken()
    assert sync.repeats == 1


def test_a_change_that_reaches_back_is_applied() -> None:
    sync = following(10)
    assert ids(sync.take(depth(8, 12, bids=[(98, 4)]), 0.0).updates) == [12]
    assert sync.book.quantity_at(0, 98) == 4


def test_a_missing_change_breaks_the_book_at_once_on_one_connection() -> None:
    sync = following(10)
    taken = sync.take(depth(12, 13), 0.0)
    assert taken == Taken((), "changes are missing between update 10 and 11")
    assert (sync.is_following, sync.book.is_known, sync.breaks) == (False, False, 1)
    assert sync.join(whole(11)).whole, "the change behind the hole was kept"


def test_a_missing_change_may_come_on_another_connection() -> None:
    sync = following(10)
    assert sync.take(depth(12, 13), 1.0, is_alone=False) == Taken()
    assert sync.due_s == 1.0 + WAIT_S
    assert sync.due(1.0 + WAIT_S / 2) == Taken()
    assert ids(sync.take(depth(11, 11), 1.2, is_alone=False).updates) == [11, 13]
    assert sync.due_s is None


def test_a_missing_change_that_does_not_come_breaks_the_book() -> None:
    sync = following(10)
    sync.take(depth(12, 13), 1.0, is_alone=False)
    assert sync.due(1.0 + WAIT_S).broken == "changes are missing between update 10 and 11"
    assert not sync.book.is_known


def test_the_wait_goes_on_for_what_is_still_missing() -> None:
    sync = following(10)
    sync.take(depth(12, 13), 1.0, is_alone=False)
    sync.take(depth(16, 17), 1.1, is_alone=False)
    assert ids(sync.take(depth(11, 11), 1.2, is_alone=False).updates) == [11, 13]
    assert sync.due(1.0 + WAIT_S).broken == "changes are missing between update 13 and 15"


def test_a_crossed_book_is_broken_and_the_change_is_not_published() -> None:
    sync = following(10)
    taken = sync.take(depth(11, 11, bids=[(101, 1)]), 0.0)
    assert taken.updates == ()
    assert "is not below the best ask" in taken.broken
    assert not sync.book.is_known


def test_a_crossed_snapshot_is_refused() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 11), 0.0)
    assert "is not below" in sync.join(whole(11, bids=[(101, 1)])).fault
    assert not sync.book.is_known


def test_a_crossing_among_the_kept_changes_refuses_snapshots_before_it() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 11, bids=[(101, 1)]), 0.0)
    sync.take(depth(12, 12, bids=[(98, 1)]), 0.0)
    assert "is not below" in sync.join(whole(10)).fault
    assert "before the first change" in sync.join(whole(10)).fault
    assert sync.join(whole(11)).whole


def test_a_crossing_while_kept_changes_are_applied_publishes_those_before_it() -> None:
    sync = following(10)
    sync.take(depth(12, 12, bids=[(98, 1)]), 0.0, is_alone=False)
    sync.take(depth(13, 13, bids=[(101, 1)]), 0.0, is_alone=False)
    taken = sync.take(depth(11, 11), 0.0, is_alone=False)
    assert ids(taken.updates) == [11, 12]
    assert taken.broken
    assert sync.due_s is None


def test_a_book_with_too_many_levels_is_broken() -> None:
    sync = following(10)
    many = [(-price, 1) for price in range(MAX_BOOK_LEVELS)]
    taken = sync.take(depth(11, 11, bids=many), 0.0)
    assert "MAX_BOOK_LEVELS" in taken.broken
    assert not sync.book.is_known


def test_ids_that_go_back_break_the_book_after_a_while() -> None:
    sync = following(1_000)
    assert sync.take(depth(5, 6), 0.0) == Taken()
    assert sync.take(depth(7, 8), BACK_S) == Taken()
    taken = sync.take(depth(9, 10), BACK_S + 1)
    assert taken.broken == "update ids went back from 1000 to 10"
    assert sync.join(whole(9)).whole


def test_repeats_do_not_break_a_book_that_goes_on() -> None:
    sync = following(10)
    for second in range(30):
        last_id = 11 + second
        assert not sync.take(depth(last_id - 3, last_id - 1), second).broken
        assert sync.take(depth(last_id, last_id), second).updates


def test_kept_changes_of_ids_before_they_went_back_are_forgotten() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(1_000, 1_001), 0.0)
    sync.take(depth(5, 6), 0.0)
    assert sync.join(whole(6)).whole
    assert ids(sync.take(depth(7, 7), 0.0).updates) == [7]


def test_what_is_kept_is_bounded_in_number() -> None:
    sync = BookSync(OrderBook())
    for each in range(1, MAX_KEPT_UPDATES + 3):
        sync.take(depth(each, each), 0.0)
    assert "before the first change: 2" in sync.join(whole(1)).fault
    assert sync.join(whole(2)).whole


def test_what_is_kept_is_bounded_in_bytes() -> None:
    sync = BookSync(OrderBook())
    levels = [(-price, 1) for price in range(MAX_KEPT_BYTES // 16 // 4)]
    for each in range(1, 9):
        sync.take(depth(each, each, bids=levels), 0.0)
    assert sync.join(whole(3)).fault
    assert sync.join(whole(4)).whole


def test_a_new_connection_goes_on_with_the_book_if_its_change_follows() -> None:
    sync = following(10)
    sync.restart()
    assert ids(sync.take(depth(9, 12), 0.0).updates) == [12]
    sync.restart()
    assert sync.take(depth(15, 16), 0.0).broken


def test_a_book_that_is_lost_says_so_once() -> None:
    sync = following(10)
    assert sync.lose("gone") == "gone"
    assert sync.lose("gone") == ""
    assert not sync.book.is_known


# Against a model: a venue of numbered changes, and connections that divide them as they like.

PRICES = 4


class Market:
    """Every change has an id. The book at an id is what they amount to up to it."""

    def __init__(self, changes: list[tuple[int, int]]) -> None:
        self._changes = changes
        self.last_id = len(changes)

    def state(self, last_id: int) -> tuple[dict[int, int], dict[int, int]]:
        bids, asks = {99: 1}, {101: 1}
        for place, quantity in self._changes[:last_id]:
            side, price = (bids, 90 + place) if place < PRICES else (asks, 110 + place)
            if quantity:
                side[price] = quantity
            else:
                side.pop(price, None)
        return bids, asks

    def message(self, after: int, last_id: int, *, names_previous: bool) -> VenueDepth:
        """The changes beyond `after`, with the quantities at `last_id`."""
        bids, asks = self.state(last_id)
        places = {place for place, _ in self._changes[after:last_id]}
        return depth(
            after + 1,
            last_id,
            follows=after if names_previous else None,
            bids=[
                (90 + each, bids.get(90 + each, 0))
                for each in sorted(places, reverse=True)
                if each < PRICES
            ],
            asks=[
                (110 + each, asks.get(110 + each, 0)) for each in sorted(places) if each >= PRICES
            ],
        )

    def snapshot(self, last_id: int) -> BookUpdate:
        bids, asks = self.state(last_id)
        return whole(last_id, bids=sorted(bids.items(), reverse=True), asks=sorted(asks.items()))


class Wire:
    """A connection: where each of its messages ends, and how far it is."""

    def __init__(self, ends: list[int]) -> None:
        self._ends = ends
        self.place = 0

    @property
    def bounds(self) -> tuple[int, int]:
        return self._ends[self.place], self._ends[self.place + 1]

    @property
    def is_done(self) -> bool:
        return self.place + 1 >= len(self._ends)


changes = st.lists(
    st.tuples(st.integers(0, 2 * PRICES - 1), st.integers(0, 3)), min_size=12, max_size=60
)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["deliver"] * 6 + ["drop", "repeat", "snapshot", "snapshot", "due", "restart"]
        ),
        st.integers(0, 1),
        st.integers(0, 60),
    ),
    max_size=120,
)


def assert_is_right(sync: BookSync, reader: OrderBook, market: Market) -> None:
    """The book is that of the market at its id, or it is unknown; and a reader's is the same."""
    assert sync.book.is_known == sync.is_following
    if not sync.is_following:
        return
    bids, asks = market.state(sync.book.update_id)
    assert [dict(side) for side in sync.book.levels()] == [bids, asks]
    assert reader.digest() == sync.book.digest()


@given(changes, st.integers(1, 2), st.booleans(), steps, st.data())
def test_whatever_comes_the_book_is_the_venues_or_unknown(
    made: list[tuple[int, int]],
    count: int,
    names_previous: bool,
    plan: list[tuple[str, int, int]],
    data: st.DataObject,
) -> None:
    market, sync, reader = Market(made), BookSync(OrderBook()), OrderBook()
    inner = st.sets(st.integers(1, market.last_id - 1))
    wires = [Wire([0, *sorted(data.draw(inner)), market.last_id]) for _ in range(count)]
    now_s, is_alone = 0.0, count == 1
    newest = 0

    def follow(updates: Sequence[BookUpdate]) -> None:
        for each in updates:
            reader.apply(each)

    for step, number, amount in plan:
        now_s += 0.1
        wire = wires[number % count]
        match step:
            case "deliver" | "drop" if not wire.is_done:
                after, last_id = wire.bounds
                wire.place += 1
                newest = max(newest, last_id)
                if step == "deliver":
                    message = market.message(after, last_id, names_previous=names_previous)
                    follow(sync.take(message, now_s, is_alone=is_alone).updates)
            case "repeat" if wire.place:
                before = Wire(wire._ends)
                before.place = amount % wire.place
                message = market.message(*before.bounds, names_previous=names_previous)
                follow(sync.take(message, now_s, is_alone=is_alone).updates)
            case "snapshot":
                last_id = min(market.last_id, max(0, newest + 5 - amount % 20))
                follow(sync.join(market.snapshot(last_id)).whole)
            case "due":
                sync.due(now_s)
            case "restart":
                sync.restart()
        assert_is_right(sync, reader, market)

    # In the end the stream goes on without a fault, and a snapshot of now joins.
    end = Market([*made, (0, 2), (1, 1)])
    for after in (market.last_id, market.last_id + 1):
        message = end.message(after, after + 1, names_previous=names_previous)
        follow(sync.take(message, now_s + 100, is_alone=True).updates)
        follow(sync.join(end.snapshot(after + 1)).whole)
        assert_is_right(sync, reader, end)
    assert sync.is_following
    assert sync.book.update_id == end.last_id
