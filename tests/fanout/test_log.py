import tracemalloc

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fanout.log import ENTRY_OVERHEAD_BYTES, Cursor, Lapped, Log

ENTRY = 100 + ENTRY_OVERHEAD_BYTES


def log_of(entries: int) -> Log:
    """A log with room for that many frames of 100 bytes."""
    return Log(capacity_bytes=entries * ENTRY, context="first")


def fill(log: Log, count: int) -> None:
    for _ in range(count):
        log.append(b"%d" % log.next_seq + b"." * (100 - len(b"%d" % log.next_seq)), count=1)


def test_a_reader_gets_what_comes_after_it_joined() -> None:
    log = log_of(10)
    log.append(b"before", count=2)
    cursor = log.live()
    log.append(b"one", count=1)
    log.append(b"two", count=3)
    assert cursor.next_seq == 3
    assert log.read(cursor, 1000) == b"onetwo"
    assert (cursor.position, cursor.next_seq) == (log.end, 7)
    assert log.read(cursor, 1000) == b""


def test_a_read_is_of_whole_frames_and_at_least_one() -> None:
    log = log_of(10)
    cursor = log.live()
    for frame in (b"aaaa", b"bb", b"cc", b"dddddddd"):
        log.append(frame, count=1)
    reads = []
    while data := log.read(cursor, 5):
        reads.append(data)
    assert reads == [b"aaaa", b"bbcc", b"dddddddd"]


def test_a_reader_whose_place_is_gone_is_told_the_exact_range() -> None:
    log = log_of(3)
    fill(log, 2)
    cursor = log.live()
    fill(log, 5)
    assert log.read(cursor, 1000) == Lapped(3, 4, "first")
    data = log.read(cursor, 1000)
    assert isinstance(data, bytes)
    assert data.startswith(b"5")
    assert cursor.next_seq == 8


def test_a_lapped_reader_learns_the_context_of_where_it_carries_on() -> None:
    log = log_of(2)
    cursor = log.live()
    fill(log, 1)
    log.context = "second"
    fill(log, 2)
    log.context = "third"
    lapped = log.read(cursor, 1000)
    assert isinstance(lapped, Lapped)
    assert lapped.context == cursor.context == "second"


def test_frames_without_numbers_that_went_leave_an_empty_range() -> None:
    log = log_of(2)
    cursor = log.live()
    log.append(b"x" * 100, count=0)
    fill(log, 2)
    lapped = log.read(cursor, 1000)
    assert isinstance(lapped, Lapped)
    assert (lapped.first_seq, lapped.last_seq) == (1, 0)


def test_the_newest_frame_is_kept_however_large() -> None:
    log = Log(capacity_bytes=10, context=None)
    cursor = log.live()
    log.append(b"x" * 100, count=1)
    assert log.read(cursor, 1) == b"x" * 100


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from("aabr"), st.integers(0, 3)), max_size=60),
)
def test_what_readers_got_and_what_they_were_told_is_everything_once(
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


def test_the_capacity_is_what_the_log_takes_in_memory() -> None:
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


async def test_waiting_for_what_is_there_returns_at_once(autojump_clock: object) -> None:
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


def test_a_closed_log_can_still_be_read_and_not_be_written() -> None:
    log = log_of(3)
    cursor = log.live()
    log.append(b"end", count=0)
    log.close()
    assert log.read(cursor, 10) == b"end"
    with pytest.raises(AssertionError):
        log.append(b"more", count=1)


def test_readers_at_the_same_place_share_the_same_bytes() -> None:
    log = log_of(10)
    first, second = log.live(), Cursor(log.end, log.next_seq, log.context)
    fill(log, 3)
    assert log.read(first, 1000) is log.read(second, 1000)


def test_a_reader_gets_all_that_is_there_though_another_got_less_before() -> None:
    log = log_of(10)
    first, second = log.live(), log.live()
    log.append(b"one", count=1)
    assert log.read(first, 1000) == b"one"
    log.append(b"two", count=1)
    assert log.read(second, 1000) == b"onetwo"
