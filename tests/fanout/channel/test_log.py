import tracemalloc

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fanout.channel.log import ENTRY_OVERHEAD_BYTES, FIRST_PLACES, Cursor, Lag, Lapped, Log

ENTRY = 100 + ENTRY_OVERHEAD_BYTES


def log_of(entries: int) -> Log:
    """A log with room for that many frames of 100 bytes."""
    return Log(capacity_bytes=entries * ENTRY, context="first")


def fill(log: Log, count: int) -> None:
    for _ in range(count):
        log.append(b"%d" % log.next_seq + b"." * (100 - len(b"%d" % log.next_seq)), count=1)


def test_a_reader_gets_the_frames_appended_after_it_joined() -> None:
    log = log_of(10)
    log.append(b"before", count=2)
    cursor = log.live()
    log.append(b"one", count=1)
    log.append(b"two", count=3)
    assert cursor.next_seq == 3
    assert log.read(cursor, 1000) == b"onetwo"
    assert (cursor.position, cursor.next_seq) == (log.end, 7)
    assert log.read(cursor, 1000) == b""


def test_a_read_returns_whole_frames_and_at_least_one() -> None:
    log = log_of(10)
    cursor = log.live()
    for frame in (b"aaaa", b"bb", b"cc", b"dddddddd"):
        log.append(frame, count=1)
    reads = []
    while data := log.read(cursor, 5):
        reads.append(data)
    assert reads == [b"aaaa", b"bbcc", b"dddddddd"]


def test_each_reader_is_limited_by_its_own_read_size() -> None:
    log = log_of(10)
    one, other = log.live(), log.live()
    fill(log, 3)
    assert len(log.read(one, 1000)) == 300
    assert len(log.read(other, 1)) == 100


def test_a_lapped_reader_gets_the_exact_range_it_lost() -> None:
    log = log_of(3)
    fill(log, 2)
    cursor = log.live()
    fill(log, 5)
    assert log.read(cursor, 1000) == Lapped(3, 4, "first")
    data = log.read(cursor, 1000)
    assert isinstance(data, bytes)
    assert data.startswith(b"5")
    assert cursor.next_seq == 8


def test_a_lapped_reader_gets_the_context_of_the_frame_it_resumes_at() -> None:
    log = log_of(2)
    cursor = log.live()
    fill(log, 1)
    log.context = "second"
    fill(log, 2)
    log.context = "third"
    lapped = log.read(cursor, 1000)
    assert isinstance(lapped, Lapped)
    assert lapped.context == cursor.context == "second"


def test_evicted_frames_without_numbers_leave_an_empty_range() -> None:
    log = log_of(2)
    cursor = log.live()
    log.append(b"x" * 100, count=0)
    fill(log, 2)
    lapped = log.read(cursor, 1000)
    assert isinstance(lapped, Lapped)
    assert (lapped.first_seq, lapped.last_seq) == (1, 0)


def test_the_newest_frame_is_kept_at_any_size() -> None:
    log = Log(capacity_bytes=10, context=None)
    cursor = log.live()
    log.append(b"x" * 100, count=1)
    assert log.read(cursor, 1) == b"x" * 100


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from("aabr"), st.integers(0, 3)), max_size=60),
)
def test_received_and_lost_numbers_cover_everything_once(
    room: int, steps: list[tuple[str, int]]
) -> None:
    log = log_of(room)
    cursors = [log.live() for _ in range(3)]
    seen: list[list[int]] = [[], [], []]

    def read(place: int) -> None:
        cursor = cursors[place]
        data = log.read(cursor, 250)
        if isinstance(data, Lapped):
            seen[place] += range(data.first_seq, data.last_seq + 1)
            data = log.read(cursor, 250)
            assert isinstance(data, bytes)
        seen[place] += [int(each.strip(b".")) for each in data.split(b"|")[1:]]

    for step, number in steps:
        if step == "r":
            read(number % 3)
        else:
            log.append((b"|%d" % log.next_seq).ljust(100, b"."), count=1)
    for place in range(3):
        while cursors[place].position < log.end:
            read(place)
        assert seen[place] == list(range(1, log.next_seq))


def test_the_log_takes_no_more_memory_than_its_capacity() -> None:
    capacity = 2_000_000
    tracemalloc.start()
    try:
        log = Log(capacity_bytes=capacity, context=None)
        for _ in range(20_000):
            log.append(bytes(45), count=1)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert log.size_bytes <= capacity
    assert taken <= capacity


async def test_a_waiting_reader_is_woken_by_the_next_frame() -> None:
    log = log_of(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.wait_beyond, log.end)
        await trio.testing.wait_all_tasks_blocked()
        log.append(b"x", count=1)
        log.hand_on()


def test_what_is_unread_counts_against_the_capacity() -> None:
    log = Log(capacity_bytes=3 * (ENTRY_OVERHEAD_BYTES + 2), context="")
    cursor = log.live()
    assert log.unread_bytes(cursor) == 0
    log.append(b"ab", count=1)
    assert log.unread_bytes(cursor) == ENTRY_OVERHEAD_BYTES + 2
    for _ in range(5):
        log.append(b"ab", count=1)
    assert log.unread_bytes(cursor) == log.capacity_bytes


async def test_waiting_for_an_existing_frame_returns_at_once(autojump_clock: object) -> None:
    log = log_of(3)
    fill(log, 1)
    with trio.fail_after(1):
        await log.wait_beyond(0)


async def test_a_waiting_reader_is_woken_when_the_log_is_closed() -> None:
    log = log_of(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.wait_beyond, log.end)
        await trio.testing.wait_all_tasks_blocked()
        log.close()


def test_a_closed_log_can_be_read_but_not_written() -> None:
    log = log_of(3)
    cursor = log.live()
    log.append(b"end", count=0)
    log.close()
    assert log.read(cursor, 10) == b"end"
    with pytest.raises(AssertionError):
        log.append(b"more", count=1)


def test_readers_at_the_same_position_share_the_same_bytes() -> None:
    log = log_of(10)
    first, second = log.live(), Cursor(log.end, log.next_seq, log.context)
    fill(log, 3)
    assert log.read(first, 1000) is log.read(second, 1000)


def test_a_reader_gets_all_frames_after_another_read_only_some() -> None:
    log = log_of(10)
    first, second = log.live(), log.live()
    log.append(b"one", count=1)
    assert log.read(first, 1000) == b"one"
    log.append(b"two", count=1)
    assert log.read(second, 1000) == b"onetwo"


@pytest.mark.parametrize(
    ("seq", "found", "data"),
    [(1, 3, b"cd"), (3, 3, b"cd"), (4, 3, b"cd"), (5, 5, b"d"), (6, 6, b""), (99, 6, b"")],
)
def test_seek_finds_the_frame_that_holds_a_number(seq: int, found: int, data: bytes) -> None:
    log = Log(capacity_bytes=2 * (1 + ENTRY_OVERHEAD_BYTES), context=None)
    for frame, count in ((b"a", 1), (b"b", 1), (b"c", 2), (b"d", 1)):
        log.append(frame, count=count)
    cursor = log.seek(seq)
    assert cursor.next_seq == found
    assert log.read(cursor, 1000) == data


def test_seek_finds_unnumbered_frames_before_the_next_number() -> None:
    log = log_of(10)
    for frame, count in ((b"a", 1), (b"header", 0), (b"b", 1), (b"end", 0)):
        log.append(frame, count=count)
    assert log.read(log.seek(2), 1000) == b"headerbend"
    assert log.read(log.seek(3), 1000) == b"end"


def test_a_cursor_from_seek_has_the_context_of_its_frame() -> None:
    log = log_of(10)
    log.append(b"a", count=1)
    log.context = "second"
    log.append(b"b", count=1)
    assert (log.seek(1).context, log.seek(2).context) == ("first", "second")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40), st.data())
def test_seek_finds_every_kept_number(frames: list[tuple[int, int]], data: st.DataObject) -> None:
    log = Log(capacity_bytes=12 * ENTRY, context=None)
    for count, size in frames:
        log.append(bytes(size), count=count)
    seq = data.draw(st.integers(1, log.next_seq + 2))
    cursor = log.seek(seq)
    assert log.oldest <= cursor.position <= log.end
    if cursor.position < log.end:
        entry = log._entries[cursor.position]
        assert entry.next_seq > seq or entry.first_seq >= seq
    if cursor.position > log.oldest:
        before = log._entries[cursor.position - 1]
        assert before.next_seq <= seq
        assert before.first_seq < seq


@pytest.mark.parametrize(
    ("time_ns", "found"), [(0, 1), (10, 1), (11, 2), (20, 2), (21, 5), (30, 5), (31, 6)]
)
def test_a_place_is_found_by_the_time_that_stands_in_a_frame(time_ns: int, found: int) -> None:
    """Whatever the log's own clock shows. Time may go back, and some frames have none."""
    log = Log(capacity_bytes=10 * ENTRY, context=None, clock_ns=lambda: 0)
    assert log.seek_time(0).position == 0
    for each_ns in (10, 20, 0, 15, 30):
        log.append(b"x", count=1, time_ns=each_ns)
    assert log.seek_time(time_ns).next_seq == found


def test_a_time_that_is_gone_leads_to_the_oldest_frame() -> None:
    log = Log(capacity_bytes=2 * ENTRY, context=None)
    for each_ns in (10, 20, 0):
        log.append(b"x" * 100, count=1, time_ns=each_ns)
    assert log.oldest_seq() == 2
    assert [log.seek_time(each).next_seq for each in (5, 20, 21)] == [2, 2, 4]


def test_lag_is_measured_in_blocks_bytes_and_time() -> None:
    now_ns = 0
    log = Log(capacity_bytes=10 * ENTRY, context=None, clock_ns=lambda: now_ns)
    cursor = log.live()
    for _ in range(4):
        now_ns += 1_000_000_000
        log.append(bytes(100), count=1)
    assert log.lag(cursor, unsent_from=0, unsent_bytes=0) == Lag(blocks=4, bytes=400, ms=3_000)
    log.read(cursor, 200)
    assert log.lag(cursor, unsent_from=0, unsent_bytes=0) == Lag(blocks=2, bytes=200, ms=1_000)
    assert log.lag(cursor, unsent_from=0, unsent_bytes=50) == Lag(blocks=3, bytes=250, ms=2_000)
    assert log.lag(cursor, unsent_from=0, unsent_bytes=150) == Lag(blocks=4, bytes=350, ms=3_000)
    log.read(cursor, 200)
    assert log.lag(cursor, unsent_from=2, unsent_bytes=0) == Lag(blocks=0, bytes=0, ms=0)
    assert log.lag(cursor, unsent_from=2, unsent_bytes=7) == Lag(blocks=1, bytes=7, ms=0)
    for _ in range(9):
        log.append(bytes(100), count=1)
    assert log.lag(cursor, unsent_from=2, unsent_bytes=150).blocks == 10, "3 and what follows"


def test_the_lag_of_a_lapped_reader_counts_all_blocks_since_its_position() -> None:
    log = log_of(3)
    cursor = log.live()
    fill(log, 10)
    lag = log.lag(cursor, unsent_from=0, unsent_bytes=0)
    assert (lag.blocks, lag.bytes) == (10, 300)


@pytest.mark.parametrize("gone", [0, 1, FIRST_PLACES - 1, FIRST_PLACES, 5 * FIRST_PLACES + 7])
def test_frames_keep_their_positions_when_places_are_added(gone: int) -> None:
    """A log whose frames are large at first, and small later, so that more of them fit."""
    log = Log(capacity_bytes=(FIRST_PLACES - 10) * (1_000 + ENTRY_OVERHEAD_BYTES), context=None)
    for number in range(gone):
        log.append(b"%1000d" % number, count=1)
    for number in range(gone, gone + 3 * FIRST_PLACES):
        log.append(b"%d" % number, count=1)
        newest = log.seek(log.next_seq - 1)
        assert log.read(newest, 1) == b"%d" % number
    cursor = Cursor(log.oldest, log.oldest + 1, None)
    for number in range(log.oldest, log.end):
        frame = log.read(cursor, 1)
        assert isinstance(frame, bytes)
        assert int(frame) == number
    assert log.end - log.oldest > FIRST_PLACES
