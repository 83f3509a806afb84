"""Records of several streams in one order: by the time of their receipt, with a bounded wait."""

from hypothesis import given
from hypothesis import strategies as st

from fanout.analytics.consumer.merge import Merger
from fanout.clients.outcomes import Disconnected, Received
from fanout.protocol.book_records import Quote
from fanout.protocol.instrument import Instrument

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
WAIT_NS = 50
ROOM = 1_000


def at(received_ns: int, seq: int = 1) -> Quote:
    return Quote(BTC, seq, 0, 100, 1, 101, 1, seq, received_ns)


def merger(count: int = 2, *, kept: bool = False, capacity: int = ROOM) -> Merger:
    return Merger([kept] * count, wait_ns=WAIT_NS, capacity=capacity)


def times(taken: list[tuple[int, Received]]) -> list[tuple[int, int]]:
    return [(stream, getattr(record, "received_ns", 0)) for stream, record in taken]


def test_one_stream_alone_waits_for_nobody() -> None:
    one = merger(1)
    for each in (30, 10, 20):
        one.put(0, at(each), 0)
    assert times(one.take(0, 2)) == [(0, 30), (0, 10)]
    assert times(one.take(0, 2)) == [(0, 20)]
    assert one.take(0, 2) == []
    assert one.due_ns() is None


def test_a_record_goes_on_once_the_other_stream_has_shown_a_newer_one() -> None:
    both = merger()
    both.put(0, at(10), 0)
    assert both.take(0, 9) == []
    both.put(1, at(12), 1)
    assert times(both.take(1, 9)) == [(0, 10)]
    both.put(0, at(14), 2)
    assert times(both.take(2, 9)) == [(1, 12)]
    assert both.waiting == 1


def test_a_silent_stream_holds_up_the_others_by_the_wait_and_no_longer() -> None:
    both = merger()
    both.put(0, at(10), 100)
    assert both.due_ns() == 100 + WAIT_NS
    assert both.take(100 + WAIT_NS - 1, 9) == []
    assert times(both.take(100 + WAIT_NS, 9)) == [(0, 10)]


def test_what_is_due_takes_the_older_records_that_came_after_it_along() -> None:
    three = merger(3)
    three.put(0, at(20), 0)
    three.put(1, at(10), 40)
    assert three.take(40, 9) == []
    assert times(three.take(50, 9)) == [(1, 10), (0, 20)]
    assert three.late == 0


def test_a_record_that_comes_too_late_goes_on_at_once_and_is_counted() -> None:
    both = merger()
    both.put(0, at(100), 0)
    both.take(WAIT_NS, 9)
    both.put(1, at(90), WAIT_NS + 1)
    assert times(both.take(WAIT_NS + 1, 9)) == [(1, 90)]
    assert (both.late, both.late_of(0), both.late_of(1)) == (1, 0, 1)


def test_a_mark_lets_the_others_go_on() -> None:
    both = merger()
    both.put(0, at(10), 0)
    both.mark(1, 11)
    assert times(both.take(0, 9)) == [(0, 10)]
    both.mark(1, 5)  # an older mark takes nothing back
    both.put(0, at(10), 0)
    assert len(both.take(0, 9)) == 1


def test_a_stream_that_has_ended_holds_up_nobody() -> None:
    both = merger()
    both.put(0, at(10), 0)
    both.end(1)
    assert times(both.take(0, 9)) == [(0, 10)]
    assert not both.has_ended
    both.end(0)
    assert both.has_ended


def test_a_merger_has_not_ended_while_a_record_waits() -> None:
    both = merger()
    both.put(0, at(10), 0)
    both.end(0)
    assert not both.has_ended
    assert both.due_ns() == WAIT_NS


def test_records_without_a_time_keep_their_place_in_the_stream() -> None:
    both = merger()
    lost = Disconnected(why="gone", pause_s=0.0)
    both.put(0, at(10), 0)
    both.put(0, lost, 0)
    both.put(0, at(30), 0)
    both.put(1, at(20), 0)
    both.end(1)
    assert [each for each, _ in both.take(0, 9)] == [0, 0, 1, 0]


def test_records_before_the_first_time_go_first() -> None:
    both = merger()
    both.put(0, at(0), 0)
    both.put(0, at(0), 0)
    both.put(1, at(5), 0)
    assert times(both.take(0, 9)) == [(0, 0), (0, 0)]


def test_records_of_one_time_go_in_the_order_of_the_streams() -> None:
    both = merger()
    both.put(1, at(10), 0)
    both.put(0, at(10), 1)
    both.put(1, at(11), 2)
    both.put(0, at(11), 3)
    assert times(both.take(3, 9)) == [(0, 10), (1, 10), (0, 11)]


def test_a_stream_whose_clock_steps_back_keeps_its_order() -> None:
    both = merger()
    for each in (100, 50, 60):
        both.put(0, at(each), 0)
    both.put(1, at(55), 0)
    both.end(0)
    both.end(1)
    assert times(both.take(0, 9)) == [(1, 55), (0, 100), (0, 50), (0, 60)]
    assert both.late == 2


def test_a_kept_stream_is_waited_for_however_long_its_disk_takes() -> None:
    both = merger(kept=True)
    both.put(0, at(10), 0)
    assert both.take(10**18, 9) == []
    assert both.due_ns() is None
    both.put(1, at(5), 10**18)
    assert times(both.take(10**18, 9)) == [(1, 5)]


def test_a_queue_has_room_for_its_part_of_the_capacity() -> None:
    both = merger(capacity=4)
    both.put(0, at(1), 0)
    assert not both.is_full(0)
    both.put(0, at(2), 0)
    assert both.is_full(0)
    assert not both.is_full(1)
    assert not Merger([False] * 3, wait_ns=0, capacity=1).is_full(2)


STREAMS = st.lists(st.lists(st.integers(0, 200), max_size=20).map(sorted), min_size=1, max_size=4)


@given(STREAMS, st.data())
def test_kept_streams_merge_in_one_order_however_they_are_read(
    streams: list[list[int]], data: st.DataObject
) -> None:
    """Sorted by time and stream, in whatever pieces the disks bring them."""
    all_of = Merger([True] * len(streams), wait_ns=0, capacity=ROOM)
    left = [[each + 1 for each in times] for times in streams]
    wanted = sorted((each, stream) for stream, times in enumerate(left) for each in times)
    found: list[tuple[int, int]] = []
    open_ones = set(range(len(streams)))
    while open_ones:
        stream = data.draw(st.sampled_from(sorted(open_ones)))
        for each in left[stream][:3]:
            all_of.put(stream, at(each), 0)
        left[stream] = left[stream][3:]
        if not left[stream]:
            all_of.end(stream)
            open_ones.remove(stream)
        most = data.draw(st.integers(1, 5))
        found += [(time, index) for index, time in times(all_of.take(0, most))]
    found += [(time, index) for index, time in times(all_of.take(0, ROOM))]
    assert found == wanted
    assert all_of.has_ended
    assert all_of.late == 0


EVENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 30)), max_size=60)
"""A stream, the time since the event before, and how much later than its receipt it arrives."""


@given(EVENTS, st.booleans())
def test_live_streams_keep_their_own_order_and_wait_no_longer_than_they_should(
    events: list[tuple[int, int, int]], may_be_late: bool
) -> None:
    """With delays below the wait, the whole is in order; with longer ones each stream still is."""
    live = merger(3)
    now_ns, arrived = 1_000, dict[tuple[int, int], int]()
    shown, put, found = [0, 0, 0], list[tuple[int, int]](), list[tuple[int, int, int]]()
    for seq, (stream, step, delay) in enumerate(events, 1):
        until = now_ns + step
        while (due := live.due_ns()) is not None and due <= until:
            found += [(s, r.seq, due) for s, r in live.take(due, ROOM)]  # type: ignore[union-attr]
        now_ns = until
        delay_ns = delay * 5 if may_be_late else delay
        shown[stream] = max(shown[stream], now_ns - delay_ns)
        live.put(stream, at(shown[stream], seq), now_ns)
        put.append((stream, seq))
        arrived[stream, seq] = now_ns
        found += [(s, r.seq, now_ns) for s, r in live.take(now_ns, ROOM)]  # type: ignore[union-attr]
    for stream in range(3):
        live.end(stream)
    found += [(s, r.seq, now_ns) for s, r in live.take(now_ns, ROOM)]  # type: ignore[union-attr]
    assert sorted((s, seq) for s, seq, _ in found) == sorted(put)
    for stream in range(3):
        own = [seq for s, seq, _ in found if s == stream]
        assert own == sorted(own)
    assert all(went - arrived[s, seq] <= WAIT_NS for s, seq, went in found)
    if not may_be_late:
        assert live.late == 0
