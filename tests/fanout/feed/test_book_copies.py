"""A book that the stream brings whole: of one connection, and of several of which one leads."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.feed.book_copies import LAG_S, PATIENCE_S, SUCCESSION_S, BookCopies
from fanout.feed.book_copy import BookCopy
from fanout.feed.book_sync import BACK_S, Joined, Taken
from fanout.protocol import OrderBook
from fanout.protocol.book_records import BookUpdate, OrderUpdate, pack_levels, pack_orders
from fanout.protocol.constants import MAX_BOOK_LEVELS, U64_MAX, BookFlags
from fanout.protocol.orders_book import OrdersBook
from fanout.venues.values import VenueDepth, VenueOrders
from tests.protocol.golden import BTC
from tests.thoroughness import examples

Levels = Sequence[tuple[int, int]]


def change(
    last_id: int,
    *,
    follows: int | None = None,
    bids: Levels = (),
    asks: Levels = (),
    time: int = 5,
    resets: bool = False,
) -> VenueDepth:
    """A change that follows the id below its own, or the one that it names."""
    update = BookUpdate(BTC, last_id, time, pack_levels(bids), pack_levels(asks))
    return VenueDepth(update, last_id, follows, resets)


def whole(
    last_id: int,
    *,
    bids: Levels = ((99, 1),),
    asks: Levels = ((101, 1),),
    time: int = 5,
    resets: bool = False,
    flags: BookFlags = BookFlags.WHOLE,
) -> VenueDepth:
    update = BookUpdate(BTC, last_id, time, pack_levels(bids), pack_levels(asks), flags)
    return VenueDepth(update, last_id, None, resets)


def ids(taken: Taken | Joined) -> list[int]:
    updates = taken.updates if isinstance(taken, Taken) else taken.whole
    return [each.update_id for each in updates]


def following(last_id: int = 10, **more: bool) -> BookCopy:
    copy = BookCopy(**more)
    assert ids(copy.take(whole(last_id), 0.0)) == [last_id]
    return copy


def test_a_whole_book_begins_a_copy_and_replaces_it() -> None:
    copy = BookCopy()
    assert copy.take(change(9), 0.0) == Taken()
    assert not copy.is_following
    top = whole(10, flags=BookFlags.WHOLE | BookFlags.TOP_ONLY)
    assert copy.take(top, 0.0) == Taken((top.update,))
    assert ids(copy.take(change(11, bids=[(98, 1)]), 0.0)) == [11]
    assert copy.book.bid_count == 2
    assert ids(copy.take(whole(12), 0.0)) == [12]
    assert (copy.book.bid_count, copy.book.is_top_only) == (1, False)


def test_published_ids_ascend_though_the_venue_goes_back() -> None:
    copy = following(5_000)
    assert ids(copy.take(whole(1, resets=True), 0.0)) == [5_001]
    assert ids(copy.take(change(2), 0.0)) == [5_002]
    assert ids(copy.take(whole(2), 0.0)) == [5_003], "the same id anew"
    assert ids(copy.take(change(3), 0.0)) == [5_004]
    assert copy.take(change(9_000), 0.0).broken == "changes are missing between update 3 and 8999"
    assert ids(copy.take(whole(0), 0.0)) == [5_005]
    assert ids(copy.take(whole(9_001), 0.0)) == [9_001], "the venue's own again"


def test_an_id_that_no_book_has_had_is_the_venues() -> None:
    assert ids(BookCopy().take(whole(0), 0.0)) == [0]
    copy = following(U64_MAX)
    assert copy.take(whole(5), 0.0).updates, "no id is above that"
    assert copy.take(change(6), 0.0).updates


def test_a_change_may_begin_the_ids_anew() -> None:
    copy = following(5_000)
    assert ids(copy.take(change(7, follows=5_000, resets=True), 0.0)) == [5_001]
    assert ids(copy.take(change(9, follows=7), 0.0)) == [5_003]
    broken = copy.take(change(3, follows=11, resets=True), 0.0).broken
    assert broken == "changes are missing between update 9 and 11"


def test_a_sign_of_life_is_no_change() -> None:
    copy = following(10)
    for second in range(20):
        assert copy.take(change(10, follows=10), second) == Taken()
    assert copy.repeats == 0


def test_repeats_are_dropped_unless_nothing_else_comes() -> None:
    copy = following(10)
    assert copy.take(change(10, bids=[(98, 1)]), 0.0) == Taken()
    assert ids(copy.take(change(11), 1.0)) == [11]
    assert copy.take(change(7), 7.0) == Taken()
    assert copy.take(change(8), 7.0 + BACK_S) == Taken()
    assert copy.take(change(9), 8.0 + BACK_S).broken == "update ids went back from 11 to 9"
    assert copy.repeats == 4


@pytest.mark.parametrize(
    "update",
    [
        change(11, bids=[(101, 1)]),
        whole(11, bids=[(101, 1)]),
        change(11, bids=[(-price, 1) for price in range(MAX_BOOK_LEVELS)]),
    ],
)
def test_a_book_that_cannot_be_is_broken_and_not_published(update: VenueDepth) -> None:
    copy = following(10)
    taken = copy.take(update, 0.0)
    assert taken.updates == ()
    assert taken.broken
    assert (copy.is_following, copy.book.is_known) == (False, False)
    assert copy.take(change(12), 0.0) == Taken()
    assert copy.take(whole(12), 0.0).updates


def test_a_whole_book_over_rest_takes_the_place_of_one_that_does_not_come() -> None:
    copy = BookCopy(can_join=True)
    assert copy.join(whole(10).update) == Joined(), "nothing can be joined to it"
    copy.take(change(8, resets=True), 0.0)
    copy.take(change(12, follows=10), 0.0)
    assert copy.needs_snapshot
    assert "before the first change" in copy.join(whole(6).update).fault
    assert ids(copy.join(whole(10).update)) == [12]
    assert not copy.needs_snapshot
    assert ids(copy.take(change(13), 0.0)) == [13]
    assert copy.take(change(15), 0.0).broken
    copy.take(change(16), 0.0)
    assert ids(copy.join(whole(14).update)) == [16], "the change behind the hole was kept"
    assert copy.lose("unreadable") == "unreadable"
    assert copy.lose("unreadable") == ""
    copy.take(change(17), 0.0)
    assert ids(copy.join(whole(16).update)) == [17], "it is joined anew"
    assert not BookCopy().needs_snapshot


# Several connections.


def two(last_id: int = 10) -> tuple[BookCopies, OrderBook]:
    """The copies of two connections, of which a leads, and a reader's book."""
    book = OrderBook()
    copies = BookCopies(book)
    assert ids(copies.take(whole(last_id), 0.0, "a")) == [last_id]
    assert copies.take(whole(last_id), 0.0, "b") == Taken()
    return copies, book


def test_the_first_connection_that_is_whole_leads() -> None:
    copies, book = two()
    assert ids(copies.take(change(11), 0.0, "a")) == [11]
    assert copies.take(change(11), 0.0, "b") == Taken()
    assert (copies.leader, copies.standbys, book.update_id) == ("a", 1, 11)


@pytest.mark.parametrize("how", ["broken", "lost", "gone"])
def test_one_that_stands_by_leads_if_the_leader_breaks_or_ends(how: str) -> None:
    copies, book = two()
    copies.take(change(11, bids=[(98, 3)]), 0.0, "a")
    copies.take(change(11, bids=[(98, 3)]), 0.0, "b")
    taken = {
        "broken": lambda: copies.take(change(13), 0.0, "a"),
        "lost": lambda: copies.lose("a", "unreadable", 0.0),
        "gone": lambda: copies.gone("a", "closed", 0.0),
    }[how]()
    assert taken.broken == ""
    (update,) = taken.updates
    assert (update.is_whole, update.update_id, len(update.bids)) == (True, 12, 2)
    assert (copies.leader, copies.breaks, copies.standbys) == ("b", 0, 0)
    assert ids(copies.take(change(12), 0.0, "b")) == [13]
    assert copies.take(whole(14), 0.0, "a") == Taken()
    broken = copies.take(change(16), 0.0, "b")
    assert ids(broken) == [14]
    assert book.update_id == 14


def test_one_that_is_behind_leads_once_it_has_come_up() -> None:
    copies, book = two()
    copies.take(change(11, bids=[(98, 3)], time=3_005), 0.0, "a")
    assert copies.gone("a", "closed", 0.0).broken == "closed"
    assert (copies.leader, copies.breaks, book.is_known) == (None, 1, False)
    assert copies.take(change(11, bids=[(98, 3)], time=3_004), 1.0, "b") == Taken()
    (update,) = copies.take(change(12, asks=[(103, 1)], time=3_005), 1.0, "b").updates
    assert (update.is_whole, update.update_id, update.time) == (True, 12, 3_005)
    assert (copies.leader, book.bid_count, book.ask_count) == ("b", 2, 2)


@pytest.mark.parametrize(("time", "leader"), [(2_905, "b"), (2_904, None)])
def test_one_that_is_no_further_behind_than_clocks_differ_leads_at_once(
    time: int, leader: str | None
) -> None:
    copies, _ = two()
    copies.take(change(11, time=3_005), 0.0, "a")
    copies.take(change(11, time=time), 0.0, "b")
    copies.gone("a", "closed", 0.0)
    assert copies.leader == leader


def test_a_sign_of_life_of_the_leader_is_nothing_that_another_lacks() -> None:
    copies, _ = two()
    assert copies.take(change(10, follows=10, time=60_005), 60.0, "a") == Taken()
    assert ids(copies.gone("a", "closed", 60.0)) == [11]
    assert copies.leader == "b"


# A succession.

BREAKS = {
    "broken": lambda copies: copies.take(change(13), 1.0, "a"),
    "crossed": lambda copies: copies.take(change(12, bids=[(101, 1)]), 1.0, "a"),
    "lost": lambda copies: copies.lose("a", "unreadable", 1.0),
    "gone": lambda copies: copies.gone("a", "closed", 1.0),
}


def slightly_behind(connections: str = "bc", time: int = 3_000) -> tuple[BookCopies, OrderBook]:
    """The copies of a, which leads at this time, and of others, which lack its newest change."""
    copies, book = two()
    for connection in connections:
        copies.take(whole(10, time=time - 50), 0.0, connection)
    assert ids(copies.take(change(11, bids=[(98, 3)], time=time), 0.0, "a")) == [11]
    return copies, book


def succession(connections: str = "bc") -> tuple[BookCopies, OrderBook]:
    """The same after a has ended, at one second."""
    copies, book = slightly_behind(connections)
    assert copies.gone("a", "closed", 1.0) == Taken()
    return copies, book


@pytest.mark.parametrize("how", BREAKS)
def test_one_that_is_slightly_behind_may_come_up_before_it_leads(how: str) -> None:
    copies, book = slightly_behind()
    assert BREAKS[how](copies) == Taken(), "nothing is reported"
    assert (copies.is_following, book.is_known, copies.standbys) == (False, False, 2)
    assert copies.due_s == 1.0 + SUCCESSION_S
    assert copies.take(change(11, bids=[(97, 1)], time=2_999), 1.1, "b") == Taken()
    (update,) = copies.take(change(11, bids=[(98, 3)], time=3_000), 1.1, "c").updates
    assert (update.is_whole, update.update_id, update.time) == (True, 12, 3_000)
    assert (copies.leader, copies.breaks, copies.due_s) == ("c", 0, None)
    assert copies.take(change(12, bids=[(98, 3)], time=3_000), 1.1, "b") == Taken()
    assert ids(copies.take(change(12, time=3_001), 1.2, "c")) == [13]


@pytest.mark.parametrize("how", ["due", "take", "lose", "gone"])
def test_the_newest_leads_if_none_comes_up_in_time(how: str) -> None:
    copies, book = succession()
    at_s = 1.0 + SUCCESSION_S
    assert copies.take(change(11, bids=[(97, 1)], time=2_960), 1.1, "c") == Taken()
    assert copies.due(at_s - 0.01) == Taken()
    taken = {
        "due": lambda: copies.due(at_s),
        "take": lambda: copies.take(change(11, time=2_955), at_s, "b"),
        "lose": lambda: copies.lose("b", "unreadable", at_s),
        "gone": lambda: copies.gone("b", "closed", at_s),
    }[how]()
    assert [each.time for each in taken.updates] == [2_960]
    assert (copies.leader, copies.breaks, copies.due_s) == ("c", 0, None)
    assert book.is_known
    assert ids(copies.take(change(12, time=2_961), at_s, "c")) == [13]


@pytest.mark.parametrize("by_order", [False, True])
def test_one_with_the_same_levels_leads_at_once_though_its_time_is_lower(by_order: bool) -> None:
    copies = BookCopies(OrdersBook() if by_order else OrderBook())

    def take(last_id: int, price: int, time: int, connection: str) -> None:
        if by_order:
            orders = pack_orders([(price, price, 1)])
            flags = BookFlags.WHOLE if last_id == 10 else BookFlags.NONE
            update = OrderUpdate(BTC, last_id, time, orders, b"", flags)
            copies.take(VenueOrders(update, last_id, None), 0.0, connection)
        elif last_id == 10:
            copies.take(whole(10, bids=[(price, 1)], time=time), 0.0, connection)
        else:
            copies.take(change(last_id, bids=[(price, 1)], time=time), 0.0, connection)

    for connection in "abc":
        take(10, 90, 2_950, connection)
    for connection, time in (("a", 3_000), ("b", 2_990)):
        take(11, 91, time, connection)
    assert ids(copies.lose("a", "unreadable", 1.0)) == [12]
    assert copies.leader == "b"
    assert copies.gone("b", "closed", 1.0) == Taken(), "c lacks the change"
    assert copies.leader is None


@pytest.mark.parametrize("how", ["broken", "lost", "gone", "all"])
def test_a_succession_without_one_that_could_lead_ends_with_its_first_reason(how: str) -> None:
    copies, _ = succession()
    assert copies.take(change(13), 1.1, "b") == Taken(), "there is another"
    assert copies.fault
    taken = {
        "broken": lambda: copies.take(change(13), 1.1, "c"),
        "lost": lambda: copies.lose("c", "unreadable", 1.1),
        "gone": lambda: copies.gone("c", "the network failed", 1.1),
        "all": lambda: Taken((), copies.lose_all("its changes are silent")),
    }[how]()
    assert taken == Taken((), "closed")
    assert (copies.leader, copies.breaks, copies.standbys, copies.due_s) == (None, 1, 0, None)
    assert copies.lose_all("delisted") == "", "it is lost already"
    assert copies.take(whole(20, time=2_999), 1.1, "b") == Taken()
    assert ids(copies.take(whole(21, time=3_000), 1.1, "b")) == [21]


def test_one_that_is_far_behind_keeps_no_succession_going() -> None:
    copies, _ = succession("b")
    assert copies.take(whole(10, time=2_899), 1.1, "c") == Taken()
    assert copies.lose("b", "unreadable", 1.1).broken == "closed"
    assert copies.take(change(11, time=2_950), 1.1, "c") == Taken()
    assert copies.due_s == 1.1 + PATIENCE_S


@pytest.mark.parametrize("connection", ["a", "d"])
@pytest.mark.parametrize("time", [3_000, 0])
def test_a_whole_book_may_end_a_succession(connection: str, time: int) -> None:
    copies, _ = slightly_behind()
    copies.lose("a", "unreadable", 1.0)
    assert copies.take(whole(30, time=2_999), 1.1, "b") == Taken()
    assert ids(copies.take(whole(31, time=time), 1.1, connection)) == [31]
    assert (copies.leader, copies.standbys) == (connection, 2)


def test_a_whole_book_over_rest_may_end_a_succession() -> None:
    copies = BookCopies(OrderBook(), can_join=True)
    for connection, time in (("a", 3_000), ("b", 2_950)):
        copies.take(whole(10, bids=[(90, time)], time=time), 0.0, connection)
    assert copies.lose("a", "unreadable", 1.0) == Taken()
    copies.take(change(12, time=2_999), 1.1, "a")
    assert copies.join(whole(11, time=2_998).update, "a", 1.1) == Joined(), "it is behind"
    copies.take(change(12, time=3_001), 1.1, "c")
    assert copies.join(whole(9).update, "c", 1.1).fault
    assert ids(copies.join(whole(11, time=2_998).update, "c", 1.1)) == [12]
    assert (copies.leader, copies.standbys) == ("c", 2)


def test_one_that_stays_behind_leads_after_a_while() -> None:
    copies, _ = two()
    copies.take(change(11, time=3_005), 0.0, "a")
    assert copies.lose("a", "unreadable", 0.0).broken == "unreadable"
    assert copies.take(change(11, time=6), 7.0, "b") == Taken()
    assert copies.take(change(12, time=7), 7.0 + PATIENCE_S, "b") == Taken()
    assert ids(copies.take(change(13, time=8), 7.1 + PATIENCE_S, "b")) == [13]


def lost(*, time: int, can_join: bool = False) -> BookCopies:
    """The copies of a book that was at this time when its only connection ended."""
    copies = BookCopies(OrderBook(), can_join=can_join)
    copies.take(whole(10, time=time), 0.0, "a")
    assert copies.gone("a", "closed", 0.0).broken == "closed"
    return copies


def test_a_whole_book_that_comes_behind_leads_once_it_has_come_up() -> None:
    copies = lost(time=3_005)
    assert copies.take(whole(10, time=3_004), 1.0, "b") == Taken()
    (update,) = copies.take(change(11, time=3_005), 1.0, "b").updates
    assert (update.is_whole, update.time, copies.due_s) == (True, 3_005, None)


def test_a_whole_book_that_comes_without_a_time_leads() -> None:
    assert ids(lost(time=3_005).take(whole(10, time=0), 1.0, "b")) == [11]


def test_a_whole_book_over_rest_that_comes_behind_waits_too() -> None:
    copies = lost(time=3_005, can_join=True)
    assert copies.take(change(12, time=3_003), 1.0, "b") == Taken()
    assert copies.join(whole(11, time=3_002).update, "b", 1.0) == Joined()
    assert ids(copies.take(change(13, time=3_005), 1.0, "b")) == [13]


def test_one_that_stays_behind_leads_though_nothing_more_comes() -> None:
    copies = lost(time=3_005)
    copies.take(whole(10, time=6), 1.0, "b")
    assert copies.due_s == 1.0 + PATIENCE_S
    assert copies.due(0.9 + PATIENCE_S) == Taken()
    assert ids(copies.due(1.0 + PATIENCE_S)) == [11]
    copies = lost(time=3_005)
    copies.take(whole(10, time=6), 1.0, "b")
    copies.lose("b", "unreadable", 1.0)
    assert copies.due(1.0 + PATIENCE_S) == Taken()
    assert copies.due_s is None, "nothing waits"


def test_without_one_that_is_whole_the_book_is_lost() -> None:
    copies, book = two()
    assert copies.take(change(13), 0.0, "b") == Taken()
    assert copies.fault
    assert copies.take(change(13), 0.0, "a").broken == copies.fault
    assert (copies.leader, copies.breaks, book.is_known) == (None, 1, False)
    assert copies.lose("a", "unreadable", 0.0) == copies.lose("c", "unreadable", 0.0) == Taken()
    assert ids(copies.take(whole(3), 0.0, "b")) == [11]
    assert copies.take(whole(3), 0.0, "a") == Taken()
    assert copies.lose_all("delisted") == "delisted"
    assert copies.lose_all("delisted") == ""
    copies.gone("a", "closed", 0.0)
    assert list(copies.copies) == ["b"]


def test_a_leader_that_lags_is_replaced_after_a_moment() -> None:
    copies, _ = two()
    assert copies.due(0.0) == Taken()
    copies.take(change(11, bids=[(90, 11)], time=6), 1.0, "b")
    assert copies.due_s == 1.0 + LAG_S / 2
    assert copies.due(1.0 + LAG_S / 2) == Taken()
    assert copies.due_s == 1.0 + LAG_S
    assert ids(copies.take(change(11, bids=[(90, 11)], time=6), 1.5, "a")) == [11]
    assert copies.due(1.0 + LAG_S) == Taken(), "it came"
    assert copies.due_s is None
    copies.take(change(12, bids=[(90, 12)], time=7), 3.0, "b")
    assert copies.take(change(13, bids=[(90, 13)], time=8), 3.1, "b") == Taken()
    assert ids(copies.due(3.0 + LAG_S)) == [13]
    assert (copies.leader, copies.standbys) == ("b", 1)
    assert copies.take(change(12, bids=[(90, 12)], time=7), 5.0, "a") == Taken()
    copies.take(change(13, bids=[(90, 13)], time=9), 5.0, "a")
    taken = copies.take(change(14, bids=[(90, 14)], time=10), 5.0 + LAG_S, "a")
    assert ids(taken) == [14], "it is the other one that lags"


@pytest.mark.parametrize("by_order", [False, True])
def test_a_leader_whose_time_alone_is_lower_keeps_leading(by_order: bool) -> None:
    """The venue takes the time for each connection by itself."""
    copies = BookCopies(OrdersBook() if by_order else OrderBook())

    def take(depth: VenueDepth, connection: str, now_s: float, late: int) -> Taken:
        time, update = int(now_s * 1_000) + late, depth.update
        sides = update.packed_bids, update.packed_asks
        if by_order:
            bids, asks = ([(p, p, q) for p, q in side] for side in (update.bids, update.asks))
            sides = pack_orders(bids), pack_orders(asks)
        made = (OrderUpdate if by_order else BookUpdate)(
            BTC, update.update_id, time, *sides, update.flags
        )
        item = (VenueOrders if by_order else VenueDepth)(made, depth.first_id, depth.previous_id)
        return copies.take(item, now_s, connection)

    for connection in "ab":
        take(whole(10), connection, 0.0, 0)
    for number, late in zip(range(11, 31), [1, -1] * 10, strict=True):
        depth, now_s = change(number, bids=[(90, number)]), 2.0 * number
        assert ids(take(depth, "a", now_s, 0)) == [number]
        assert take(depth, "b", now_s, late) == Taken()
        assert copies.due(now_s + LAG_S) == Taken()
    take(change(31, bids=[(90, 1)]), "b", 70.0, 0)
    assert copies.due(70.0 + LAG_S / 2) == Taken()
    assert copies.due(70.0 + LAG_S).updates, "this one the other lacks"
    assert copies.leader == "b"


def test_a_whole_book_over_rest_is_joined_to_one_connection() -> None:
    copies = BookCopies(OrderBook(), can_join=True)
    copies.take(change(10, bids=[(98, 1)]), 0.0, "a")
    assert copies.join(whole(3).update, "a", 0.0).fault
    assert ids(copies.join(whole(9).update, "a", 0.0)) == [10]
    assert copies.leader == "a"
    copies.take(change(10, bids=[(98, 1)]), 0.0, "b")
    assert copies.join(whole(9).update, "b", 0.0) == Joined(), "it stands by"
    assert copies.standbys == 1


PRICES = 4


@settings(max_examples=examples(25))
@given(st.data())
def test_whatever_comes_the_book_is_the_venues_or_unknown(data: st.DataObject) -> None:
    """Two connections number the states of one market, each in its own way, and lose some."""
    states: list[tuple[dict[int, int], dict[int, int]]] = [({90: 1}, {110: 1})]
    copies, reader, published = BookCopies(OrderBook()), OrderBook(), -1
    at, base = {"a": -1, "b": -1}, {"a": 0, "b": 0}
    reached, is_lost, since = 0, True, 0
    steps = st.tuples(
        st.sampled_from(["step"] * 6 + ["skip", "repeat", "whole", "reset", "lose", "gone", "due"]),
        st.sampled_from("ab"),
        st.integers(0, 2 * PRICES - 1),
        st.integers(0, 2),
    )

    def told(connection: str, *, is_whole: bool, resets: bool = False) -> VenueDepth:
        """The state that a connection is at."""
        place = at[connection]
        update_id = place + base[connection]
        bids, asks = states[place]
        before = ({}, {}) if is_whole else states[place - 1]
        sides = [
            [(price, side.get(price, 0)) for price in sorted(side | old, reverse=is_bid)]
            for side, old, is_bid in zip((bids, asks), before, (True, False), strict=True)
        ]
        made = whole if is_whole else change
        return made(update_id, bids=sides[0], asks=sides[1], time=place, resets=resets)

    for now_s, (step, connection, place, quantity) in enumerate(
        data.draw(st.lists(steps, min_size=15, max_size=40))
    ):
        at[connection] += 1
        if at[connection] == len(states):
            bids, asks = (side.copy() for side in states[-1])
            side, price = (bids, 90 + place) if place < PRICES else (asks, 107 + place)
            side[price] = quantity
            states.append(tuple({k: v for k, v in each.items() if v} for each in (bids, asks)))
        match step:
            case "skip":
                continue
            case "lose":
                taken = copies.lose(connection, "unreadable", now_s / 100)
            case "gone":
                taken = copies.gone(connection, "closed", now_s / 100)
            case "due":
                taken = copies.due(now_s)
            case "reset":
                base[connection] = data.draw(st.integers(-3, 3)) - at[connection] + 3
                depth = told(connection, is_whole=True, resets=True)
                taken = copies.take(depth, now_s / 100, connection)
            case _ if step == "whole" or at[connection] == 0:
                depth = told(connection, is_whole=True)
                taken = copies.take(depth, now_s / 100, connection)
            case _:
                at[connection] -= step == "repeat" and at[connection] > 1
                depth = told(connection, is_whole=False)
                taken = copies.take(depth, now_s / 100, connection)
        for each in taken.updates:
            assert each.update_id > published
            published = each.update_id
            reader.apply(each)
            waited_s = now_s / 100 - since / 100
            has_waited = step == "due" or waited_s >= SUCCESSION_S
            if each.time and each.time < reached and not has_waited:
                assert states[each.time] == states[reached], "it does not go back"
            reached = each.time
        is_lost = not taken.updates and (is_lost or bool(taken.broken))
        since = now_s if copies.is_following else since
        assert copies.book.is_known == copies.is_following
        assert copies.is_following or is_lost or copies.due_s is not None, "it is never forgotten"
        if copies.is_following:
            assert reader.digest() == copies.book.digest()
            assert [dict(side) for side in reader.levels()] == list(states[reader.time])
    for connection in "ab":
        at[connection] = len(states) - 1
        copies.take(told(connection, is_whole=True), 1.0, connection)
    assert copies.is_following
    assert copies.standbys == 1
