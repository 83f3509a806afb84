"""The ring: positions, laps, places to begin at, headers and snapshots, readers in the table.

`test_ring_interleaved` has what a writer and a reader do to each other at the same time.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fanout.protocol import (
    Header,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
    frame,
    opening,
)
from fanout.protocol import ring_page as page
from fanout.protocol.constants import MAX_FRAME_BYTES, MAX_SEQ, U64_MAX
from fanout.protocol.header import MAX_OPENING_BYTES
from fanout.protocol.instrument import Instrument
from fanout.protocol.instruments import encode_changes
from fanout.protocol.ring import Lapped, Place, ReaderEntry, RingReader, RingWriter
from fanout.protocol.speedups import PLAIN
from tests.protocol.golden import HEADER
from tests.thoroughness import examples

CAPACITY = 4096
STARTS = [0, 1, 4095, 2**32 - 3, 2**63 - 1, 2**64 - 4096, 2**64 - 1]
FIRST = HEADER.next_seq


def new_ring(
    start: int = 0, capacity: int = CAPACITY, header: Header | None = HEADER
) -> tuple[bytearray, RingWriter]:
    buffer = bytearray(page.DATA_AT + capacity)
    return buffer, RingWriter(buffer, header=header, pid=11, start=start)


def reader_of(buffer: bytearray, slot: int | None = None) -> RingReader:
    """A reader, in the table if it has a slot; and at the oldest place."""
    table = memoryview(buffer)[page.TABLE_AT : page.DATA_AT]
    whole = memoryview(buffer).toreadonly()
    reader = (
        RingReader(whole) if slot is None else RingReader(whole, table=table, slot=slot, pid=22)
    )
    reader.begin_oldest()
    return reader


class Feed:
    """Pushes frames that hold their number."""

    def __init__(self, writer: RingWriter) -> None:
        self.writer = writer
        self.next_seq = FIRST

    def push(self, count: int = 1, size: int = 60) -> None:
        for _ in range(count):
            self.next_seq += 1
            self.writer.push(frame(numbered(self.next_seq - 1, size)), self.next_seq)


def numbered(seq: int, size: int = 60) -> bytes:
    return seq.to_bytes(8, "little") + bytes(size - 8)


def number(payload: bytes | None) -> int:
    assert payload is not None
    return int.from_bytes(payload[:8], "little")


def numbers_left(reader: RingReader) -> list[int]:
    return [number(each) for each in iter(reader.pop, None)]


def word(buffer: bytearray, at: int) -> int:
    return int.from_bytes(buffer[at : at + 8], "little")


def put(buffer: bytearray, at: int, value: int, size: int = 8) -> None:
    buffer[at : at + size] = value.to_bytes(size, "little")


def test_the_page_is_laid_out_as_it_is_drawn() -> None:
    buffer, writer = new_ring(start=7)
    reader = reader_of(buffer, slot=3)
    writer.beat(5)
    writer.push(frame(b"xyz"), FIRST + 1)
    writer.begin_snapshot()
    writer.push(frame(b"s"), FIRST + 1)
    assert writer.end_snapshot()
    reader.ask_snapshot()
    reader.note(lapped=2, lost=9)
    assert buffer[:8] == b"fanoutr\0"
    drawn = {8: 2, 16: CAPACITY, 24: HEADER.epoch_ns, 32: 11, 48: 0}
    drawn |= {64: 19, 72: FIRST + 1, 80: 19, 128: 5, 192: 2, 200: 14, 208: 19, 216: FIRST + 1}
    drawn |= {256: 7, 264: FIRST}
    payload = opening(HEADER)
    drawn |= {1_280: 2, 1_288: 7, 1_296: len(payload)}
    entry = 466_944 + 3 * 64
    drawn |= {entry: 22, entry + 8: 7, entry + 16: 2, entry + 24: 9, entry + 32: 1}
    assert {at: word(buffer, at) for at in drawn} == drawn
    assert buffer[1_312 : 1_312 + len(payload)] == payload
    assert buffer[471_040 + 7 : 471_040 + 19].hex() == "0300000078797a" + "0100000073"
    for at in range(0, 471_040, 8):
        if at not in {*drawn, 0} and not 1_312 <= at < 1_312 + len(payload):
            assert word(buffer, at) == 0, f"reserved bytes at {at}"


def test_the_second_header_is_in_the_second_slot() -> None:
    buffer, writer = new_ring()
    writer.push_header(again(5))
    assert [word(buffer, at) for at in (232_432, 232_440)] == [2, 0]
    assert buffer[232_464 : 232_464 + word(buffer, 232_448)] == opening(again(5))


@pytest.mark.parametrize("start", STARTS)
def test_frames_come_out_as_they_went_in_wherever_the_positions_are(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = reader_of(buffer)
    chance = random.Random(start)
    for _ in range(150):
        payloads = [chance.randbytes(chance.randint(1, 300)) for _ in range(chance.randint(1, 9))]
        for each in payloads:
            writer.push(frame(each), 5)
        assert reader.unread_bytes == sum(len(frame(each)) for each in payloads)
        assert [reader.pop() for _ in payloads] == payloads
        assert reader.pop() is None
    assert reader.position == writer.position


@pytest.mark.parametrize("start", range(4090, 4097))
def test_a_length_may_lie_across_the_end(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = reader_of(buffer)
    writer.push(frame(b"abcdef") + frame(b"g"), 5)
    assert [reader.pop(), reader.pop(), reader.pop()] == [b"abcdef", b"g", None]


@pytest.mark.parametrize("start", [0, 4000, 2**64 - 50])
def test_read_takes_whole_frames_up_to_a_limit(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = reader_of(buffer)
    frames = [frame(bytes([i]) * 6) for i in range(9)]
    assert reader.read(100) == b""
    writer.push(b"".join(frames), 5)
    assert reader.read(1) == frames[0]
    assert reader.read(29) == frames[1] + frames[2]
    assert reader.read(30) == frames[3] + frames[4] + frames[5]
    back = reader.position
    assert reader.read(10**9) == b"".join(frames[6:])
    assert reader.read(10**9) == b""
    reader.return_to(back)
    assert reader.pop() == frames[6][4:]


def test_a_push_may_take_a_quarter_of_the_ring_and_no_more() -> None:
    buffer, writer = new_ring(start=4_000)
    reader = reader_of(buffer)
    quarter = frame(bytes(1_020))
    for _ in range(4):
        writer.push(quarter, 5)
    assert [reader.pop() for _ in range(5)] == [quarter[4:]] * 4 + [None]
    before = bytes(buffer)
    with pytest.raises(NotRepresentableError, match="push of 1,025 bytes exceeds a quarter of"):
        writer.push(frame(bytes(1_021)), 6)
    assert bytes(buffer) == before


def test_the_longest_frame_passes_a_ring_of_four_of_them() -> None:
    buffer, writer = new_ring(capacity=2**19, start=2**19 - 9)
    reader = reader_of(buffer)
    longest = random.Random(1).randbytes(MAX_FRAME_BYTES)
    writer.push(frame(longest), 5)
    assert reader.pop() == longest
    writer.push(frame(longest) + frame(b"x"), 5)
    assert reader.read(1) == frame(longest)


@pytest.mark.parametrize("start", STARTS)
def test_the_writer_overwrites_and_the_reader_says_so(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = reader_of(buffer)
    feed = Feed(writer)
    feed.push(64)
    assert number(reader.pop()) == FIRST
    feed.push(1)
    assert number(reader.pop()) == FIRST + 1, "the ring is full, and nothing of that overwritten"
    feed.push(2)
    for act in (reader.pop, lambda: reader.read(1), lambda: reader.read(10**6)):
        with pytest.raises(Lapped, match="the writer is 4,160 bytes ahead in a ring of 4,096"):
            act()
    assert reader.unread_bytes == 4_160
    place = reader.begin_oldest()
    assert place == Place(reader.position, FIRST + 3, again(FIRST + 3))
    assert numbers_left(reader) == list(range(FIRST + 3, feed.next_seq))


def test_the_intent_counts_and_not_the_tail() -> None:
    """A writer that is in the middle of a push has spoiled what it is about to overwrite."""
    buffer, writer = new_ring()
    reader = reader_of(buffer)
    Feed(writer).push(64)
    put(buffer, 64, writer.position + 1)
    with pytest.raises(Lapped):
        reader.pop()
    with pytest.raises(Lapped):
        reader.read(99)


def test_a_length_that_was_overwritten_is_a_lap_and_no_fault() -> None:
    buffer, writer = new_ring()
    reader = reader_of(buffer)
    Feed(writer).push(64)
    put(buffer, page.DATA_AT, 2**32 - 1, 4)
    with pytest.raises(LimitExceededError):
        reader.pop()
    put(buffer, 64, writer.position + 1)
    with pytest.raises(Lapped):
        reader.pop()


def test_a_reader_that_has_read_nothing_begins_at_the_live_end() -> None:
    buffer, writer = new_ring()
    Feed(writer).push(10)
    reader = RingReader(buffer)
    assert (reader.position, reader.pop()) == (writer.position, None)


@pytest.mark.parametrize("start", STARTS)
def test_a_reader_begins_at_the_live_end_in_the_middle_or_at_the_oldest(start: int) -> None:
    buffer, writer = new_ring(start=start)
    feed = Feed(writer)
    reader = reader_of(buffer)
    assert reader.begin_live() == reader.begin_oldest() == reader.begin_middle()
    for pushed in (1, 20, 40, 64, 100, 1_000):
        feed.push(pushed)
        live = reader.begin_live()
        assert (live.position, live.next_seq) == (writer.position, feed.next_seq)
        assert live.header == again(feed.next_seq)
        assert reader.pop() is None
        for begin, furthest in ((reader.begin_middle, 2_048), (reader.begin_oldest, 4_096)):
            place = begin()
            behind = (writer.position - place.position) % 2**64
            assert place.position == reader.position
            assert furthest - 64 <= behind <= furthest or place.next_seq == FIRST
            assert place.header == again(place.next_seq)
            assert numbers_left(reader) == list(range(place.next_seq, feed.next_seq))


def test_a_reader_goes_on_before_a_number_if_that_is_left() -> None:
    buffer, writer = new_ring()
    feed = Feed(writer)
    feed.push(100)
    reader = reader_of(buffer)
    oldest = reader.begin_oldest().next_seq
    for seq in range(oldest, feed.next_seq + 1):
        place = reader.begin_before(seq)
        assert place is not None
        assert seq - 2 < place.next_seq <= seq
        assert (place.next_seq, place.position) == (place.next_seq, reader.position)
        assert numbers_left(reader) == list(range(place.next_seq, feed.next_seq))
    back = reader.position
    assert reader.begin_before(oldest - 1) is None
    assert reader.position == back


def test_there_is_always_a_place_however_long_the_pushes_are() -> None:
    buffer, writer = new_ring()
    reader = reader_of(buffer)
    feed = Feed(writer)
    chance = random.Random(1)
    for _ in range(300):
        feed.push(1, chance.choice((8, 60, 1_020)))
        place = reader.begin_oldest()
        assert numbers_left(reader) == list(range(place.next_seq, feed.next_seq))
        assert feed.next_seq - place.next_seq >= 2 or place.next_seq == FIRST


def test_a_writer_that_died_within_a_push_leaves_all_before_it() -> None:
    buffer, writer = new_ring()
    feed = Feed(writer)
    feed.push(10)
    put(buffer, 64, writer.position + 64)
    reader = reader_of(buffer)
    live = reader.begin_live()
    assert (live.next_seq, numbers_left(reader)) == (FIRST + 9, [FIRST + 9])
    assert reader.begin_oldest().next_seq == FIRST


def again(next_seq: int) -> Header:
    return msgspec.structs.replace(HEADER, next_seq=next_seq)


def named(venue: str) -> Header:
    return msgspec.structs.replace(HEADER, venue=venue)


@pytest.mark.parametrize("start", STARTS)
def test_a_reader_gets_the_header_that_counts_where_it_begins(start: int) -> None:
    buffer, writer = new_ring(start=start)
    feed = Feed(writer)
    reader = reader_of(buffer)
    for turn in range(5):
        feed.push(5)
        writer.push_header(named(f"v{turn}"))
        assert reader.begin_live().header == msgspec.structs.replace(
            named(f"v{turn}"), next_seq=feed.next_seq
        )
        feed.push(5)
        # Of the headers before, one is left, and so are the places where it counts.
        place = reader.begin_oldest()
        assert place.header is not None
        assert place.header.venue == (f"v{turn - 1}" if turn else HEADER.venue)
        found = b"".join(frame(each) for each in iter(reader.pop, None))
        assert opening(named(f"v{turn}")) in found


def test_a_change_counts_from_its_frames_on() -> None:
    buffer, writer = new_ring()
    feed = Feed(writer)
    finer = msgspec.structs.replace(HEADER.instruments[1], price_exponent=-7)
    changed = msgspec.structs.replace(HEADER, instruments=(HEADER.instruments[0], finer))
    (change,) = encode_changes(HEADER, changed)
    feed.push()
    reader = reader_of(buffer)
    writer.push_header(changed, frame(change))
    assert reader.begin_oldest().header == HEADER
    assert (number(reader.pop()), reader.pop()) == (FIRST, change)
    at_change = reader.begin_middle(), reader.begin_live()
    assert [each.header for each in at_change[1:]] == [
        msgspec.structs.replace(changed, next_seq=FIRST + 1)
    ]


def test_a_header_longer_than_a_push_is_pushed_frame_by_frame() -> None:
    instruments = tuple(
        Instrument(index=i, symbol=f"{i:064}", price_exponent=0, quantity_exponent=0)
        for i in range(1_024)
    )
    header = msgspec.structs.replace(
        HEADER, instruments=instruments, references=HEADER.references[:1] * 1_024
    )
    buffer, writer = new_ring(capacity=2**19)
    reader = reader_of(buffer)
    writer.push_header(header)
    assert b"".join(frame(each) for each in iter(reader.pop, None)) == opening(header)
    assert reader.begin_live().header == msgspec.structs.replace(header, next_seq=FIRST)
    small, little = new_ring()
    before = bytes(small)
    with pytest.raises(NotRepresentableError, match="exceeds a quarter of the ring, 1,024"):
        little.push_header(header)
    assert bytes(small) == before


def test_a_header_that_is_changed_before_the_first_frame_is_gone_behind_the_change() -> None:
    buffer, writer = new_ring(start=7)
    writer.push_header(named("v1"))
    assert reader_of(buffer).begin_live().header == named("v1")
    assert reader_of(buffer).begin_oldest().header in (HEADER, named("v1"))


def test_the_longest_header_fits_its_slot() -> None:
    buffer, _ = new_ring()
    view = memoryview(buffer)[: page.PAGE_BYTES]
    longest = b"h" * MAX_OPENING_BYTES
    page.write_header(view, view.cast("Q"), 1, longest, 8)
    assert page.read_header(view, view.cast("Q"), 8) == longest
    assert page.read_header(view, view.cast("Q"), 7) == opening(HEADER)


def test_a_header_that_was_replaced_twice_is_gone_and_so_are_its_places() -> None:
    buffer, writer = new_ring(start=100)
    view = memoryview(buffer)[: page.PAGE_BYTES]
    words = view.cast("Q")
    writer.push(frame(b"x"), FIRST)
    writer.push_header(named("v1"))
    assert page.read_header(view, words, 100) == opening(HEADER)
    writer.push_header(named("v2"))
    assert page.read_header(view, words, 100) is None
    assert page.read_header(view, words, 105) == opening(named("v1"))


def test_a_header_that_is_half_written_is_passed_over() -> None:
    buffer, writer = new_ring()
    writer.push_header(named("v1"))
    put(buffer, 1_280, 3)
    reader = reader_of(buffer)
    assert reader.begin_oldest().header == named("v1")
    put(buffer, 232_432, 3)
    with pytest.raises(Lapped, match="no place is left in the ring"):
        reader.begin_oldest()
    assert reader.begin_before(U64_MAX) is None


def test_a_header_that_changes_at_each_look_is_given_up() -> None:
    class Changing(list[int]):
        """Words of a page whose writer replaces a header all the time."""

        looks = 0

        def __getitem__(self, at: Any) -> Any:
            if at == 1_280 // 8:
                self.looks += 2
                return self.looks
            return super().__getitem__(at)

    buffer, _ = new_ring()
    view = memoryview(buffer)[: page.PAGE_BYTES]
    words: Any = Changing(view.cast("Q"))
    assert page.read_header(view, words, 0) is None
    assert words.looks == 4 * page.TRIES


@pytest.mark.parametrize("length", [page.MAX_HEADER_BYTES + 1, 2**32, U64_MAX])
def test_a_header_whose_length_cannot_be_true_is_refused(length: int) -> None:
    buffer, _ = new_ring()
    put(buffer, 1_296, length)
    with pytest.raises(MalformedError, match="exceeds 231,120"):
        RingReader(buffer).begin_oldest()


def test_a_ring_without_a_session_has_places_without_a_header() -> None:
    buffer, writer = new_ring(header=None)
    writer.push(frame(b"x"), 2)
    reader = reader_of(buffer)
    assert reader.begin_oldest() == Place(0, 1, None)
    assert reader.begin_live() == Place(5, 2, None)
    assert reader.epoch_ns == 0


def test_a_reader_that_asked_begins_at_the_next_snapshot() -> None:
    buffer, writer = new_ring()
    feed = Feed(writer)
    reader = reader_of(buffer, slot=0)
    assert reader.begin_snapshot() is None
    feed.push(3)
    write_snapshot(writer)
    before = writer.position
    since = reader.ask_snapshot()
    assert (since, writer.asked) == (before, True)
    assert reader.begin_snapshot(since) is None
    assert reader.position == 0
    feed.push(3)
    begun = writer.position
    writer.begin_snapshot()
    writer.push(frame(b"snapshot"), feed.next_seq)
    feed.push(1)
    assert reader.begin_snapshot(since) is None, "it is not whole"
    assert writer.asked
    assert writer.end_snapshot()
    assert not writer.asked
    place = reader.begin_snapshot(since)
    assert place == Place(begun, FIRST + 6, again(FIRST + 6))
    assert [reader.pop(), number(reader.pop())] == [b"snapshot", FIRST + 6]


def write_snapshot(writer: RingWriter) -> bool:
    writer.begin_snapshot()
    writer.push(frame(b"snapshot"), word_of(writer))
    return writer.end_snapshot()


def word_of(writer: RingWriter) -> int:
    return writer._words[page.NEXT_SEQ_WORD]


def test_an_empty_snapshot_is_a_snapshot() -> None:
    buffer, writer = new_ring()
    reader = reader_of(buffer, slot=0)
    since = reader.ask_snapshot()
    writer.begin_snapshot()
    writer.end_snapshot()
    assert reader.begin_snapshot(since) == Place(0, FIRST, HEADER)


def test_who_asks_while_a_snapshot_is_written_gets_the_next_one() -> None:
    buffer, writer = new_ring()
    first, second = reader_of(buffer, slot=0), reader_of(buffer, slot=63)
    first.ask_snapshot()
    writer.begin_snapshot()
    writer.push(frame(b"snapshot"), FIRST)
    since = second.ask_snapshot()
    writer.end_snapshot()
    assert second.begin_snapshot(since) is None
    assert writer.asked
    write_snapshot(writer)
    assert second.begin_snapshot(since) is not None
    assert not writer.asked


def test_a_snapshot_that_was_overwritten_is_none() -> None:
    buffer, writer = new_ring()
    feed = Feed(writer)
    reader = reader_of(buffer)
    write_snapshot(writer)
    assert reader.begin_snapshot() is not None
    feed.push(64)
    assert reader.begin_snapshot() is None
    writer.begin_snapshot()
    feed.push(64)
    assert writer.end_snapshot()
    writer.begin_snapshot()
    feed.push(65)
    assert not writer.end_snapshot(), "it was longer than the ring"
    assert reader.begin_snapshot() is None


def test_a_snapshot_whose_words_change_at_each_look_is_none() -> None:
    buffer, writer = new_ring()
    write_snapshot(writer)
    put(buffer, 192, 3)
    assert reader_of(buffer).begin_snapshot() is None
    put(buffer, 192, 4)
    assert reader_of(buffer).begin_snapshot() is not None
    for seq in (0, MAX_SEQ + 1):
        put(buffer, 216, seq)
        assert reader_of(buffer).begin_snapshot() is None


def test_a_reader_that_is_not_listed_asks_in_vain_and_changes_nothing() -> None:
    buffer, writer = new_ring()
    reader = reader_of(buffer)
    before = bytes(buffer)
    assert reader.ask_snapshot() == 0
    reader.note(lapped=1, lost=2)
    reader.leave()
    reader.release()
    assert (bytes(buffer), writer.asked, writer.readers()) == (before, False, [])
    assert not reader.is_listed


def test_readers_are_listed_with_where_they_are() -> None:
    buffer, writer = new_ring()
    Feed(writer).push(3)
    first, last = reader_of(buffer, slot=0), reader_of(buffer, slot=63)
    assert first.is_listed
    first.pop()
    first.note(lapped=2**64 + 1, lost=7)
    assert writer.readers() == [
        ReaderEntry(slot=0, pid=22, cursor=64, lapped=1, lost=7),
        ReaderEntry(slot=63, pid=22, cursor=3 * 64, lapped=0, lost=0),
    ]
    assert [page.reader_word(slot) * 8 for slot in (0, 63)] == [466_944, 466_944 + 63 * 64]
    last.leave()
    assert not last.is_listed
    assert [each.slot for each in writer.readers()] == [0]
    assert number(last.begin_oldest() and last.pop()) == FIRST, "it reads all the same"
    put(buffer, 466_944 + 32, U64_MAX)
    first.ask_snapshot()
    assert word(buffer, 466_944 + 32) == 0


def test_an_entry_that_is_taken_over_keeps_the_count_of_wishes_only() -> None:
    buffer, writer = new_ring()
    first = reader_of(buffer, slot=5)
    first.ask_snapshot()
    first.note(lapped=3, lost=4)
    write_snapshot(writer)
    second = reader_of(buffer, slot=5)
    assert writer.readers() == [ReaderEntry(slot=5, pid=22, cursor=4 + 8, lapped=0, lost=0)]
    assert not writer.asked
    second.ask_snapshot()
    assert writer.asked


def test_a_reader_sees_whether_the_writer_lives_and_has_ended() -> None:
    buffer, writer = new_ring(start=7)
    reader = reader_of(buffer)
    assert (reader.epoch_ns, reader.pulse, reader.has_ended) == (HEADER.epoch_ns, (0, 7), False)
    writer.beat(2**64 + 3)
    writer.push(frame(b"one"), FIRST + 1)
    assert reader.pulse == (3, 14)
    writer.end()
    assert (reader.has_ended, reader.pop(), reader.pop()) == (True, b"one", None)


def test_a_buffer_is_free_once_all_let_go_of_it() -> None:
    buffer, writer = new_ring()
    for each in (writer, RingReader(buffer), RingReader(buffer, table=buffer[:4096], slot=1)):
        with pytest.raises(BufferError):
            buffer.clear()
        each.release()
    buffer.clear()


def test_a_table_is_free_once_its_reader_lets_go_of_it() -> None:
    buffer, _ = new_ring()
    for end in (RingReader.leave, RingReader.release):
        table = bytearray(page.TABLE_BYTES)
        reader = RingReader(buffer, table=table, slot=1, pid=3)
        with pytest.raises(BufferError):
            table.clear()
        end(reader)
        table.clear()


@pytest.mark.parametrize("capacity", [0, 2048, 4097, 6000])
def test_a_capacity_that_is_no_power_of_two_is_refused(capacity: int) -> None:
    with pytest.raises(LimitExceededError, match="a power of two"):
        RingWriter(bytearray(page.DATA_AT + capacity), header=None, pid=1)


def test_a_page_with_another_capacity_is_refused_though_the_buffer_is_as_long() -> None:
    buffer, writer = new_ring()
    writer.release()
    put(buffer, 16, 6_000)
    buffer += bytes(page.DATA_AT + 6_000 - len(buffer))
    with pytest.raises(LimitExceededError, match="capacity of 6,000 bytes: a power of two"):
        RingReader(buffer)


@pytest.mark.parametrize("size", [0, 8, 4095, 4096, page.DATA_AT, page.DATA_AT + 4_095])
def test_a_buffer_that_is_cut_short_is_refused(size: int) -> None:
    buffer, _ = new_ring()
    with pytest.raises(page.TruncatedRingError, match="bytes"):
        RingReader(buffer[:size])


def test_a_capacity_that_changes_while_it_is_checked_is_the_one_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, writer = new_ring()
    writer.push(frame(numbered(FIRST)), FIRST + 1)

    def check_and_change(capacity: int) -> None:
        checked(capacity)
        put(buffer, 8 * page.CAPACITY_WORD, 16 * CAPACITY)

    checked = page.check_capacity
    monkeypatch.setattr(page, "check_capacity", check_and_change)
    reader = reader_of(buffer)
    assert reader.capacity == CAPACITY
    assert number(reader.pop()) == FIRST


def test_a_page_of_another_format_or_version_is_refused() -> None:
    buffer, _ = new_ring()
    put(buffer, 0, int.from_bytes(b"fanoutq\0", "little"))
    with pytest.raises(page.NotARingError, match="not a ring"):
        RingReader(buffer)


@pytest.mark.parametrize(("version", "data_at"), [(1, 446_464), (3, 500_000)])
def test_a_ring_of_another_layout_is_named_so_and_not_taken_for_one_cut_short(
    version: int, data_at: int
) -> None:
    buffer = bytearray(data_at + CAPACITY)
    buffer[:4096] = new_ring()[0][:4096]
    put(buffer, 8, version)
    with pytest.raises(page.RingVersionError, match=f"layout {version}: this reader knows 2"):
        RingReader(buffer)


def test_a_page_of_another_size_has_another_version() -> None:
    assert (page.LAYOUT_VERSION, page.DATA_AT) == (2, 471_040), "raise both, or neither"


@pytest.mark.parametrize("length", [0, 13, 14, 4096, 65536, 65537, 2**31, 2**32 - 1])
@pytest.mark.parametrize("start", [0, 4080, 4094])
def test_a_length_that_cannot_be_true_is_refused_and_stays(start: int, length: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = reader_of(buffer)
    writer.push(frame(bytes(12)), 5)
    for offset in range(4):
        buffer[page.DATA_AT + (start + offset) % CAPACITY] = length >> 8 * offset & 0xFF
    is_over = not 0 < length <= MAX_FRAME_BYTES
    for act in (reader.pop, lambda: PLAIN["RingReader_pop"](reader), lambda: reader.read(1)):
        with pytest.raises(LimitExceededError if is_over else MalformedError, match="frame of"):
            act()
    assert reader.unread_bytes == 16


@pytest.mark.parametrize("start", [0, 4094])
@pytest.mark.parametrize("ahead", [1, 3, 4])
def test_a_tail_in_the_middle_of_a_frame_is_refused(ahead: int, start: int) -> None:
    buffer, writer = new_ring(start=start)
    writer.push(frame(b"one"), 5)
    reader = reader_of(buffer)
    put(buffer, 80, start + ahead)
    for act in (reader.pop, lambda: PLAIN["RingReader_pop"](reader)):
        with pytest.raises(PeerError, match="frame of"):
            act()


@pytest.mark.parametrize("behind", [1, 4096, 2**63])
def test_a_tail_that_went_back_is_refused(behind: int) -> None:
    buffer, writer = new_ring(start=4_090)
    Feed(writer).push(3)
    reader = reader_of(buffer)
    reader.begin_live()
    for at in (64, 80):
        put(buffer, at, (writer.position - behind) % 2**64)
    acts: list[Callable[[], object]] = [reader.pop, lambda: PLAIN["RingReader_pop"](reader)]
    for act in (*acts, lambda: reader.read(9), lambda: reader.unread_bytes):
        with pytest.raises(MalformedError, match=f"ends {behind:,} bytes before its reader"):
            act()


@pytest.mark.parametrize("start", [0, 4090])
def test_a_ring_that_vanishes_under_a_reader_is_an_error(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = reader_of(buffer)
    writer.push(frame(bytes(12)) * 2, 5)
    assert reader.is_intact
    put(buffer, 0, 0)
    assert not reader.is_intact
    for act in (reader.pop, lambda: PLAIN["RingReader_pop"](reader), lambda: reader.read(99)):
        with pytest.raises(page.NotARingError, match="vanished"):
            act()


def test_long_pieces_are_copied_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each short enough for the C library to keep its stores in order."""

    class Steps(list[tuple[int, int, bytes]]):
        def __setitem__(self, at: Any, piece: Any) -> None:
            self.append((at.start, at.stop, piece))

    steps: Any = Steps()
    data = random.Random(1).randbytes(40_000)
    page.store(steps, 5, data)
    assert [each[:2] for each in steps] == [(5, 16_389), (16_389, 32_773), (32_773, 40_005)]
    assert b"".join(piece for _, _, piece in steps) == data
    monkeypatch.setattr(page, "STEP_BYTES", 100)
    buffer, writer = new_ring(start=3_900)
    reader = reader_of(buffer)
    PLAIN["RingWriter_push"](writer, frame(data[:1_020]), 5)
    assert reader.pop() == data[:1_020]


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_noise_anywhere_in_a_ring_raises_only_what_is_announced(data: st.DataObject) -> None:
    buffer, writer = new_ring(start=data.draw(st.sampled_from(STARTS)))
    Feed(writer).push(data.draw(st.sampled_from([5, 200])))
    write_snapshot(writer)
    places = st.integers(0, len(buffer) - 1) | st.integers(0, 2_000) | st.integers(471_040, 475_000)
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=20)):
        buffer[min(at, len(buffer) - 1)] = value
    try:
        reader = RingReader(buffer)
        begins = (reader.begin_oldest, reader.begin_middle, reader.begin_live)
        for begin in (*begins, reader.begin_snapshot, lambda: reader.begin_before(1_100)):
            place = begin()
            assert place is None or 1 <= place.next_seq <= MAX_SEQ
            for _ in range(70):
                payload = reader.pop()
                assert payload is None or 0 < len(payload) <= MAX_FRAME_BYTES
            reader.read(1_000)
    except (PeerError, Lapped):
        pass


class RingAgainstAList(RuleBasedStateMachine):
    """Whatever is pushed and read: the reader gets the frames of a list, each once and in order,
    and is lapped exactly when the next one is further back than the capacity."""

    @initialize(start=st.sampled_from(STARTS), shift=st.integers(0, 5000))
    def begin(self, start: int, shift: int) -> None:
        self.start = (start + shift) & U64_MAX
        self.buffer, self.writer = new_ring(start=self.start, header=None)
        self.reader = RingReader(self.buffer)
        self.frames: list[bytes] = []
        self.ends = [0]
        self.next = 0

    @rule(sizes=st.lists(st.integers(1, 250) | st.integers(1, 20), min_size=1, max_size=4))
    def push(self, sizes: list[int]) -> None:
        payloads = [
            (len(self.frames) + i).to_bytes(4, "little")[: size or 1] + bytes(max(0, size - 4))
            for i, size in enumerate(sizes)
        ]
        self.frames += [frame(each) for each in payloads]
        for each in payloads:
            self.ends.append(self.ends[-1] + len(frame(each)))
        self.writer.push(b"".join(map(frame, payloads)), len(self.frames) + 1)

    @property
    def is_lapped(self) -> bool:
        return self.ends[-1] - self.ends[self.next] > CAPACITY

    @rule(limit=st.none() | st.integers(1, 3000))
    def take(self, limit: int | None) -> None:
        try:
            if limit is None:
                payload = self.reader.pop()
                data = b"" if payload is None else frame(payload)
            else:
                data = self.reader.read(limit)
        except Lapped:
            assert self.is_lapped
            place = self.reader.begin_oldest()
            assert self.start + self.ends[place.next_seq - 1] & U64_MAX == place.position
            assert self.next < place.next_seq - 1 <= len(self.frames)
            self.next = place.next_seq - 1
            return
        assert not self.is_lapped
        while data:
            expected = self.frames[self.next]
            assert data[: len(expected)] == expected
            data = data[len(expected) :]
            self.next += 1

    @rule()
    def begin_again(self) -> None:
        for place in (self.reader.begin_middle(), self.reader.begin_oldest()):
            assert self.start + self.ends[place.next_seq - 1] & U64_MAX == place.position
        self.next = place.next_seq - 1


TestRingAgainstAList = RingAgainstAList.TestCase
TestRingAgainstAList.settings = settings(
    max_examples=examples(10), stateful_step_count=30, deadline=None
)
