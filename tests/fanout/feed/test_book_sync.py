"""The book of one instrument against its venue: joins, holes, crossings, and two connections."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.feed.book_sync import (
    BACK_S,
    WAIT_S,
    BookSync,
    Joined,
    Taken,
)
from fanout.feed.kept_changes import LEAST_KEPT_UPDATES, MAX_KEPT_BYTES, MAX_KEPT_UPDATES
from fanout.protocol import OrderBook
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import MAX_BOOK_LEVELS, BookFlags
from fanout.venues.values import VenueDepth
from tests.protocol.golden import BTC

Levels = Sequence[tuple[int, int]]


def depth(
    first_id: int,
    last_id: int,
    *,
    follows: int | None = None,
    bids: Levels = (),
    asks: Levels = (),
    time: int = 5,
) -> VenueDepth:
    """A change that says which ids it has. `follows` is the last id of the one before, at a venue
    that sends it."""
    update = BookUpdate(BTC, last_id, time, pack_levels(bids), pack_levels(asks))
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


def test_a_slow_connection_of_a_quiet_symbol_does_not_break_the_book() -> None:
    sync = following(10)
    for last_id in (11, 12, 13):
        assert sync.take(depth(last_id, last_id, time=last_id), 1.0, is_alone=False).updates
    assert sync.take(depth(11, 11, time=11), 1.1, is_alone=False) == Taken()
    for last_id in (12, 13):
        later_s = 1.2 + BACK_S
        taken = sync.take(depth(last_id, last_id, time=last_id), later_s, is_alone=False)
        assert taken == Taken()
    assert sync.repeats == 3
    assert ids(sync.take(depth(14, 14, time=14), 9.0, is_alone=False).updates) == [14]


def test_ids_that_go_back_on_two_connections_break_the_book_after_a_while() -> None:
    sync = following(1_000)
    for second in range(int(BACK_S) + 1):
        for _ in range(2):
            change = depth(5 + second, 5 + second, time=20 + second)
            assert sync.take(change, second, is_alone=False) == Taken()
    taken = sync.take(depth(11, 11, time=26), BACK_S + 1, is_alone=False)
    assert taken.broken == "update ids went back from 1000 to 11"
    assert sync.join(whole(10)).whole


def test_repeats_do_not_break_a_book_that_goes_on() -> None:
    sync = following(10)
    for second in range(30):
        last_id = 11 + second
        assert not sync.take(depth(last_id - 3, last_id - 1), second).broken
        assert sync.take(depth(last_id, last_id), second).updates


def test_kept_changes_of_ids_before_they_went_back_are_forgotten() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(1_000, 1_001), 0.0)
    sync.take(depth(5, 6, time=6), 0.0)
    assert sync.join(whole(6)).whole
    assert ids(sync.take(depth(7, 7), 0.0).updates) == [7]


def test_a_late_change_is_kept_in_its_place() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(12, 12, bids=[(98, 2)], time=6), 0.0)
    sync.take(depth(11, 11, bids=[(98, 1)], time=5), 0.0)
    (update,) = sync.join(whole(10)).whole
    assert update.update_id == 12
    assert sync.book.quantity_at(0, 98) == 2


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


def test_a_book_whose_stream_has_lost_something_is_joined_to_later_changes_only() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    assert sync.is_narrow
    assert sync.lose("change 12 cannot be read")
    assert sync.join(cut_off(11, best=950)) == Joined(), "update 12 would be missing in it"
    sync.take(depth(13, 13), 0.0)
    assert "before the first change: 12" in sync.join(cut_off(11, best=950)).fault
    assert sync.join(cut_off(12, best=950)).whole


def test_an_unknown_book_forgets_its_changes_if_its_stream_has_lost_something() -> None:
    sync = BookSync(OrderBook())
    sync.take(depth(11, 11), 0.0)
    assert sync.lose("change 12 cannot be read") == ""
    assert sync.join(whole(11)) == Joined()
    sync.take(depth(13, 13), 0.0)
    assert sync.join(whole(11)).fault
    assert sync.join(whole(12)).whole


def test_a_book_that_is_lost_says_so_once() -> None:
    sync = following(10)
    assert sync.lose("gone") == "gone"
    assert sync.lose("gone") == ""
    assert not sync.book.is_known


# The edges of a snapshot that is top only: here 80 levels a side, so 40 are few.

MANY = 80


def cut_off(last_id: int, *, best: int = 1_000, bids: int = MANY, asks: int = MANY) -> BookUpdate:
    """A snapshot of a book that has a level at each price, and more than are shown."""
    update = whole(
        last_id,
        bids=[(best - step, 1) for step in range(bids)],
        asks=[(best + 1 + step, 1) for step in range(asks)],
    )
    return replace(update, flags=BookFlags.WHOLE | BookFlags.TOP_ONLY)


def cut_off_at(snapshot: BookUpdate) -> BookSync:
    sync = BookSync(OrderBook())
    sync.take(depth(snapshot.update_id, snapshot.update_id), 0.0)
    assert sync.join(snapshot).whole
    return sync


def falls(last_id: int, start: int, end: int) -> VenueDepth:
    """The best bid falls from one price to another."""
    return depth(last_id, last_id, bids=[(price, 0) for price in range(start, end, -1)])


def test_a_book_is_narrow_with_less_than_half_of_its_snapshot() -> None:
    sync = cut_off_at(cut_off(10))
    assert ids(sync.take(falls(11, 1_000, 960), 0.0).updates) == [11]
    assert not sync.is_narrow
    assert not sync.needs_snapshot
    assert ids(sync.take(falls(12, 960, 959), 0.0).updates) == [12]
    assert sync.is_narrow
    assert sync.needs_snapshot
    assert sync.is_following, "it is as right as before"


def test_levels_that_are_not_known_from_the_snapshot_do_not_count() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(depth(11, 11, bids=[(price, 1) for price in range(900, 800, -1)]), 0.0)
    sync.take(falls(12, 1_000, 959), 0.0)
    assert sync.is_narrow


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_either_side_may_be_narrow(side: str) -> None:
    sync = cut_off_at(cut_off(10))
    prices = range(1_000, 959, -1) if side == "bids" else range(1_001, 1_042)
    sync.take(depth(11, 11, **{side: [(price, 0) for price in prices]}), 0.0)  # type: ignore[arg-type]
    assert sync.is_narrow


def test_a_narrow_book_is_replaced_by_a_new_snapshot_and_what_came_since() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    sync.take(depth(12, 12, bids=[(950, 7)], asks=[(1_050, 0)]), 0.0)
    joined = sync.join(cut_off(11, best=950))
    assert [each.update_id for each in joined.whole] == [12]
    assert all(each.is_whole and each.is_top_only for each in joined.whole)
    assert (sync.is_following, sync.is_narrow, sync.breaks) == (True, False, 0)
    assert (sync.book.bid_count, sync.book.quantity_at(0, 950)) == (MANY, 7)
    assert ids(sync.take(falls(13, 950, 910), 0.0).updates) == [13]
    assert not sync.is_narrow, "the new snapshot has its own edges"
    assert sync.join(cut_off(13)) == Joined()


def test_a_new_snapshot_may_be_ahead_of_the_book() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    assert sync.join(cut_off(14, best=950)).whole[0].update_id == 14
    assert sync.take(depth(12, 13), 0.0) == Taken()
    assert ids(sync.take(depth(14, 15), 0.0).updates) == [15]


def test_a_new_snapshot_that_is_older_than_the_book_is_refused() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    sync.take(depth(12, 12), 0.0)
    assert "is of update 9, before the first change: 10" in sync.join(cut_off(9)).fault
    sync.restart()
    fault = "the whole book is of update 11, and the one there is of 12"
    assert sync.join(cut_off(11)).fault == fault
    assert (sync.is_following, sync.is_narrow, sync.book.update_id) == (True, True, 12)
    assert sync.join(cut_off(12, best=950)).whole


def test_a_book_that_may_be_wrong_at_its_edge_is_broken() -> None:
    sync = cut_off_at(cut_off(10))
    assert sync.take(falls(11, 1_000, 940), 0.0).updates
    taken = sync.take(falls(12, 940, 939), 0.0)
    assert taken == Taken((), "only 19 bids are left above 9.21, where the snapshot ends")
    assert not sync.book.is_known
    assert not sync.is_narrow
    assert sync.join(cut_off(12, best=939)).whole, "of the changes that were kept"


def test_a_change_over_the_whole_snapshot_joins_the_next_one() -> None:
    sync = cut_off_at(cut_off(10))
    assert sync.take(falls(11, 1_000, 900), 0.0).broken
    assert sync.needs_snapshot
    assert sync.join(cut_off(11, best=900)).whole


def test_a_side_that_is_cleared_is_broken_at_its_edge() -> None:
    sync = cut_off_at(cut_off(10))
    cleared = depth(11, 11, asks=[(price, 0) for price in range(1_001, 1_001 + MANY)])
    why = "only 0 asks are left below 10.80, where the snapshot ends"
    assert sync.take(cleared, 0.0) == Taken((), why)


def test_the_changes_of_a_narrow_book_serve_its_next_snapshot_if_it_breaks() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    sync.take(depth(12, 12), 0.0)
    assert sync.take(depth(14, 14), 0.0).broken
    assert sync.join(cut_off(11, best=950)).fault == "changes are missing between update 12 and 13"
    assert sync.join(cut_off(13, best=950)).whole


def test_a_side_that_is_shorter_than_the_other_ends_where_it_ends() -> None:
    sync = cut_off_at(cut_off(10, asks=30))
    gone = depth(11, 11, asks=[(price, 0) for price in range(1_001, 1_031)])
    assert sync.take(gone, 0.0).updates
    assert not sync.is_narrow
    assert sync.book.best_ask is None


def test_a_whole_book_without_more_levels_has_no_edge() -> None:
    sync = cut_off_at(replace(cut_off(10), flags=BookFlags.WHOLE))
    assert sync.take(falls(11, 1_000, 1_000 - MANY), 0.0).updates
    assert not sync.is_narrow


@pytest.mark.parametrize(
    ("levels", "few", "least"), [(1, 1, 1), (3, 2, 1), (8, 4, 2), (200, 100, 20)]
)
def test_a_short_snapshot_has_a_smaller_margin(levels: int, few: int, least: int) -> None:
    sync = cut_off_at(cut_off(10, bids=levels, asks=levels))
    for gone in range(1, levels + 1):
        taken = sync.take(falls(10 + gone, 1_001 - gone, 1_000 - gone), 0.0)
        left = levels - gone
        assert bool(taken.broken) == (left < least)
        if taken.broken:
            break
        assert sync.is_narrow == (left < few)


def test_a_snapshot_is_refused_if_its_changes_lead_beyond_its_edge() -> None:
    sync = BookSync(OrderBook())
    sync.take(falls(11, 1_000, 930), 0.0)
    assert "only 10 bids are left above 9.21" in sync.join(cut_off(10)).fault
    assert not sync.book.is_known
    assert sync.join(cut_off(11, best=930)).whole


def test_a_book_that_is_narrow_once_it_is_joined_needs_another_snapshot() -> None:
    sync = BookSync(OrderBook())
    sync.take(falls(11, 1_000, 950), 0.0)
    assert sync.join(cut_off(10)).whole
    assert sync.needs_snapshot
    assert sync.join(cut_off(11, best=950)).whole
    assert not sync.needs_snapshot


def test_what_a_narrow_book_keeps_is_bounded() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    for each in range(12, 12 + MAX_KEPT_UPDATES + 1):
        assert sync.take(depth(each, each), 0.0).updates
    assert "before the first change: 12" in sync.join(cut_off(11)).fault
    sync.trim()
    assert f"change: {MAX_KEPT_UPDATES + 12 - LEAST_KEPT_UPDATES}" in sync.join(cut_off(12)).fault
    assert sync.join(cut_off(MAX_KEPT_UPDATES + 12, best=950)).whole


def test_a_change_that_came_early_is_kept_for_the_new_snapshot() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(depth(13, 13, bids=[(940, 5)]), 0.0, is_alone=False)
    sync.take(falls(11, 1_000, 950), 0.0, is_alone=False)
    assert sync.is_narrow
    (update,) = sync.join(cut_off(12, best=950)).whole
    assert update.update_id == 13
    assert sync.book.quantity_at(0, 940) == 5
    assert sync.due_s is None, "the snapshot has what was missing"


def test_a_new_connection_leaves_a_narrow_book_narrow() -> None:
    sync = cut_off_at(cut_off(10))
    sync.take(falls(11, 1_000, 950), 0.0)
    sync.take(depth(12, 12), 0.0)
    sync.restart()
    assert sync.join(cut_off(11, best=950)).fault, "the change since is forgotten"
    assert sync.join(cut_off(12, best=950)).whole


# Against a model: a venue of numbered changes, and connections that divide them as they like.

PRICES = 4


class Market:
    """Every change has an id. The book at an id is what they amount to up to it."""

    def __init__(self, changes: list[tuple[int, int]]) -> None:
        self._changes = changes
        self.last_id = len(changes)

    def state(self, last_id: int) -> tuple[dict[int, int], dict[int, int]]:
        bids = {90 + place: 1 for place in range(PRICES)}
        asks = {110 + place: 1 for place in range(PRICES, 2 * PRICES)}
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

    def snapshot(self, last_id: int, limit: int) -> BookUpdate:
        bids, asks = self.state(last_id)
        update = whole(
            last_id,
            bids=sorted(bids.items(), reverse=True)[:limit],
            asks=sorted(asks.items())[:limit],
        )
        if max(len(bids), len(asks)) < limit:
            return update
        return replace(update, flags=BookFlags.WHOLE | BookFlags.TOP_ONLY)


class Wire:
    """A connection: where each of its messages ends, and how far it is."""

    def __init__(self, ends: list[int]) -> None:
        self._ends = ends
        self.place = 0

    @property
    def bounds(self) -> tuple[int, int]:
        return self._ends[self.place], self._ends[self.place + 1]

    @property
    def bounds_before(self) -> tuple[int, int]:
        """Those of the message before."""
        return self._ends[self.place - 1], self._ends[self.place]

    @property
    def is_done(self) -> bool:
        return self.place + 1 >= len(self._ends)


changes = st.lists(
    st.tuples(st.integers(0, 2 * PRICES - 1), st.sampled_from((0, 0, 1, 2))),
    min_size=12,
    max_size=60,
)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["deliver"] * 6
            + ["drop", "unreadable", "repeat", "snapshot", "snapshot", "due", "restart"]
        ),
        st.integers(0, 1),
        st.integers(0, 60),
    ),
    min_size=20,
    max_size=120,
)


def assert_is_right(sync: BookSync, reader: OrderBook, market: Market) -> None:
    """The book is that of the market at its id, or it is unknown; and a reader's is the same. Of a
    book that is top only, levels may be missing beyond the best ones."""
    assert sync.book.is_known == sync.is_following
    if not sync.is_following:
        return
    bids, asks = market.state(sync.book.update_id)
    if sync.book.is_top_only:
        for best, side, levels in zip((max, min), (bids, asks), sync.book.levels(), strict=True):
            assert levels[:1] == ([(best(side), side[best(side)])] if side else [])
            assert set(levels) <= set(side.items())
    else:
        assert [dict(side) for side in sync.book.levels()] == [bids, asks]
    assert reader.digest() == sync.book.digest()


@given(changes, st.integers(1, 2), st.booleans(), st.integers(1, PRICES + 2), steps, st.data())
def test_whatever_comes_the_book_is_the_venues_or_unknown(
    made: list[tuple[int, int]],
    count: int,
    names_previous: bool,
    limit: int,
    plan: list[tuple[str, int, int]],
    data: st.DataObject,
) -> None:
    market, sync, reader = Market(made), BookSync(OrderBook()), OrderBook()
    inner = st.sets(st.integers(1, market.last_id - 1))
    wires = [Wire([0, *sorted(data.draw(inner)), market.last_id]) for _ in range(count)]
    now_s, is_alone = 0.0, count == 1
    newest = unreadable = 0

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
            case "unreadable" if not wire.is_done:
                wire.place += 1
                newest = unreadable = max(newest, wire.bounds_before[1])
                sync.lose("a change cannot be read")
            case "repeat" if wire.place:
                unreadable = 0  # a change from before it may be followed again
                before = Wire(wire._ends)
                before.place = amount % wire.place
                message = market.message(*before.bounds, names_previous=names_previous)
                follow(sync.take(message, now_s, is_alone=is_alone).updates)
            case "snapshot":
                last_id = min(market.last_id, max(0, newest + 5 - amount % 20))
                follow(sync.join(market.snapshot(last_id, limit)).whole)
            case "due":
                sync.due(now_s)
            case "restart":
                sync.restart()
        assert_is_right(sync, reader, market)
        if is_alone and sync.is_following:
            assert sync.book.update_id >= unreadable, "the change that was lost is missing"

    # In the end the stream goes on without a fault, and a snapshot of now joins.
    end = Market([*made, (0, 2), (1, 1)])
    for after in (market.last_id, market.last_id + 1):
        message = end.message(after, after + 1, names_previous=names_previous)
        follow(sync.take(message, now_s + 100, is_alone=True).updates)
        follow(sync.join(end.snapshot(after + 1, limit)).whole)
        assert_is_right(sync, reader, end)
    assert sync.is_following
    assert sync.book.update_id == end.last_id
