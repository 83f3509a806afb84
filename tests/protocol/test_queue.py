import random
from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fanout.protocol import LimitExceededError, MalformedError, PeerError, frame, opening
from fanout.protocol import queue_page as page
from fanout.protocol.constants import MAX_FRAME_BYTES, U64_MAX, DataKinds
from fanout.protocol.header import MAX_OPENING_BYTES
from fanout.protocol.instrument import Instrument
from fanout.protocol.instruments import encode_changes
from fanout.protocol.queue import QueueReader, QueueWriter
from fanout.protocol.queue_file import (
    UnsupportedMachineError,
    lock_kind,
    lock_request,
    name_fault,
    require_supported_machine,
)
from fanout.protocol.records import Header
from tests.protocol.golden import HEADER
from tests.thoroughness import examples

CAPACITY = 4096
STARTS = [0, 1, 4095, 2**32 - 3, 2**32, 2**63 - 1, 2**64 - 4096, 2**64 - 1]


def new_ring(
    start: int = 0, capacity: int = CAPACITY, header: Header | None = HEADER
) -> tuple[bytearray, QueueWriter]:
    buffer = bytearray(page.PAGE_BYTES + capacity)
    return buffer, QueueWriter(buffer, header=header, pid=11, start=start)


def word(buffer: bytearray, at: int) -> int:
    return int.from_bytes(buffer[at : at + 8], "little")


def put(buffer: bytearray, at: int, value: int, size: int = 8) -> None:
    buffer[at : at + size] = value.to_bytes(size, "little")


def test_the_page_is_laid_out_as_it_is_drawn() -> None:
    buffer, writer = new_ring(start=7)
    QueueReader(buffer, pid=22)
    writer.beat(5)
    writer.count_dropped(1, 4)
    writer.count_dropped(1, 5)
    writer.push(frame(b"xyz"))
    writer.mark(1_002)
    assert buffer[:8] == b"fanoutq\0"
    drawn = {8: 3, 16: CAPACITY, 24: HEADER.epoch_ns, 32: 11, 40: 22, 48: 0}
    drawn |= {64: 14, 72: 14, 80: 1_002, 128: 7, 136: 1, 192: 5, 200: 2, 208: 9}
    assert {at: word(buffer, at) for at in drawn} == drawn
    payload = opening(HEADER)
    assert (word(buffer, 576), word(buffer, 584)) == (7, len(payload))
    assert buffer[592 : 592 + len(payload)] == payload
    assert buffer[462_848 + 7 : 462_848 + 14].hex() == "0300000078797a"
    written = {*drawn, 0, 576, 584}
    for at in range(0, 462_848, 8):
        if at not in written and not 592 <= at < 592 + len(payload):
            assert word(buffer, at) == 0, f"reserved bytes at {at}"


def test_a_capacity_that_changes_while_it_is_checked_is_the_one_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, writer = new_ring()
    writer.push(frame(b"xyz"))

    def check_and_change(capacity: int) -> None:
        checked(capacity)
        put(buffer, 8 * page.CAPACITY_WORD, 16 * CAPACITY)

    checked = page.check_capacity
    monkeypatch.setattr(page, "check_capacity", check_and_change)
    reader = QueueReader(buffer, pid=22)
    assert reader.capacity == CAPACITY
    assert reader.pop() == b"xyz"


def test_a_queue_begins_at_its_start_and_ends_with_nothing_left_over() -> None:
    buffer = bytearray(page.PAGE_BYTES + CAPACITY)
    writer = QueueWriter(buffer, header=None, pid=11)
    assert (word(buffer, 64), word(buffer, 128)) == (0, 0)
    writer.end()
    assert word(buffer, 48) == 1
    reader = QueueReader(buffer, pid=22)
    assert (reader.has_ended, reader.tail(), reader.pop()) == (True, b"", None)


def test_cursors_and_pids_are_on_lines_of_their_own() -> None:
    writers = {page.WRITE_WORD, page.MARK_WORD, page.MARK_SEQ_WORD, page.HEARTBEAT_WORD}
    readers = {page.READ_WORD, page.READERS_WORD}
    assert not {each // 8 for each in writers} & {each // 8 for each in readers}


@pytest.mark.parametrize("start", STARTS)
def test_frames_come_out_as_they_went_in_wherever_the_cursors_are(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    chance = random.Random(start)
    for _ in range(3_000):
        payloads = [chance.randbytes(chance.randint(1, 300)) for _ in range(chance.randint(1, 9))]
        assert all(writer.push(frame(each)) for each in payloads)
        assert [reader.pop() for _ in payloads] == payloads
        assert reader.pop() is None
    assert reader.unread_bytes == 0


@pytest.mark.parametrize("start", STARTS)
def test_a_full_queue_takes_nothing_and_loses_nothing(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    pushed = 0
    while writer.push(frame(pushed.to_bytes(4, "little"))):
        pushed += 1
    assert pushed == CAPACITY // 8
    before = bytes(buffer)
    assert writer.push(frame(b"?")) is False
    assert bytes(buffer) == before
    assert reader.pop() == bytes(4)
    assert writer.push(frame(b"last"))
    assert [reader.pop() for _ in range(pushed)][-2:] == [
        (pushed - 1).to_bytes(4, "little"),
        b"last",
    ]


def test_the_largest_frame_fits_exactly_and_one_more_byte_never_does() -> None:
    buffer, writer = new_ring(start=1000)
    reader = QueueReader(buffer, pid=1)
    assert not writer.push(frame(bytes(CAPACITY - 3)))
    assert writer.push(frame(bytes(CAPACITY - 4)))
    assert reader.pop() == bytes(CAPACITY - 4)


@pytest.mark.parametrize("start", range(4090, 4097))
def test_a_length_may_lie_across_the_end(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    writer.push(frame(b"abcdef") + frame(b"g"))
    assert [reader.pop(), reader.pop(), reader.pop()] == [b"abcdef", b"g", None]


@pytest.mark.parametrize("start", [0, 4000, 2**64 - 50])
def test_read_takes_whole_frames_up_to_a_limit(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    frames = [frame(bytes([i]) * 6) for i in range(9)]
    writer.push(b"".join(frames))
    assert reader.read(1) == frames[0]
    assert reader.read(29) == frames[1] + frames[2]
    assert reader.read(30) == frames[3] + frames[4] + frames[5]
    assert list(reader.unread()) == [each[4:] for each in frames[6:]]
    assert reader.read(10**9) == b"".join(frames[6:])
    assert reader.read(10**9) == b""


def test_a_reader_goes_on_where_the_last_one_stopped() -> None:
    buffer, writer = new_ring(start=U64_MAX)
    writer.push(frame(b"one") + frame(b"two"))
    first = QueueReader(buffer, pid=1)
    assert first.pop() == b"one"
    first.release()
    second = QueueReader(buffer, pid=2)
    assert (second.pop(), second.pop(), writer.readers) == (b"two", None, 2)


def test_frames_that_are_read_without_a_commit_stay_for_the_next_reader() -> None:
    buffer, writer = new_ring(start=4000)
    both = frame(b"one") + frame(b"two" * 40)
    writer.push(both)
    first = QueueReader(buffer, pid=1)
    assert first.read(10**9, commit=False) == both
    assert (first.read(10**9), writer.unread_bytes) == (b"", 0)
    writer.push(both)
    assert first.read(1, commit=False) == frame(b"one")
    second = QueueReader(buffer, pid=2)
    assert second.read(10**9, commit=False) == both
    assert writer.unread_bytes == len(both)
    second.commit()
    assert writer.unread_bytes == 0


def test_a_reader_sees_whether_the_writer_lives_and_which_numbering_it_began() -> None:
    buffer, writer = new_ring(start=7)
    reader = QueueReader(buffer, pid=1)
    assert (reader.epoch_ns, reader.pulse) == (HEADER.epoch_ns, (0, 7))
    writer.beat(2**64 + 3)
    assert reader.pulse == (3, 7)
    writer.push(frame(b"one"))
    assert reader.pulse == (3, 14)


def test_a_buffer_is_free_once_both_ends_let_go_of_it() -> None:
    buffer, writer = new_ring()
    reader = QueueReader(buffer, pid=1)
    for each in (writer, reader):
        with pytest.raises(BufferError):
            buffer.clear()
        each.release()
    buffer.clear()


@pytest.mark.parametrize("start", STARTS)
def test_skip_goes_behind_everything(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    writer.push(frame(b"one") + frame(b"two"))
    reader.skip()
    writer.push(frame(b"three"))
    assert reader.pop() == b"three"


def test_the_mark_counts_only_where_it_was_made() -> None:
    buffer, writer = new_ring()
    reader = QueueReader(buffer, pid=1)
    assert reader.marked_seq() == HEADER.next_seq
    writer.push(frame(b"one"))
    assert reader.marked_seq() is None
    writer.mark(5)
    assert reader.marked_seq() == 5


@pytest.mark.parametrize("seq", [1, 2**63 - 1])
def test_a_mark_may_be_the_first_number_and_the_last(seq: int) -> None:
    buffer, writer = new_ring()
    writer.mark(seq)
    assert QueueReader(buffer, pid=1).marked_seq() == seq


@pytest.mark.parametrize("seq", [0, 2**63, 2**64 - 1])
def test_a_mark_that_cannot_be_a_sequence_number_is_refused(seq: int) -> None:
    buffer, writer = new_ring()
    writer.mark(seq)
    with pytest.raises(MalformedError, match=f"sequence number {seq} is out of range"):
        QueueReader(buffer, pid=1).marked_seq()


def test_the_page_holds_the_end_and_its_tail() -> None:
    buffer, writer = new_ring()
    reader = QueueReader(buffer, pid=1)
    assert (reader.has_ended, reader.tail()) == (False, b"")
    writer.end(b"x" * page.MAX_TAIL_BYTES)
    assert (reader.has_ended, reader.tail()) == (True, b"x" * 312)
    with pytest.raises(LimitExceededError, match="tail of 313 bytes exceeds 312"):
        writer.end(bytes(313))


def again(next_seq: int) -> Header:
    return msgspec.structs.replace(HEADER, next_seq=next_seq)


@pytest.mark.parametrize("start", STARTS)
def test_a_reader_gets_the_header_that_applies_at_its_position(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    assert reader.header() == HEADER
    for turn in range(2, 40):
        assert writer.push(frame(bytes(50)))
        assert writer.push_header(again(turn))
        assert writer.push(frame(bytes(50)))
        before = reader.header()
        assert not writer.push_header(again(99)), "two are needed: that of the unread, and the new"
        reader.pop()
        assert reader.header() == again(turn)
        assert before == (HEADER if turn == 2 else again(turn - 1))
        assert frame(reader.pop() or b"") + frame(reader.pop() or b"") == opening(again(turn))
        assert reader.pop() == bytes(50)


def test_a_header_without_room_changes_nothing() -> None:
    buffer, writer = new_ring()
    while writer.push(frame(bytes(60))):
        pass
    before = bytes(buffer)
    assert writer.push_header(again(5)) is False
    assert bytes(buffer) == before


def test_a_header_that_fills_the_queue_to_the_last_byte_has_room() -> None:
    size = len(opening(HEADER))
    for missing in (1, 0):
        buffer, writer = new_ring()
        writer.push(frame(bytes(CAPACITY - size - 4 + missing)))
        assert writer.push_header(again(5)) is not missing
        reader = QueueReader(buffer, pid=1)
        assert reader.unread_bytes == (CAPACITY if not missing else CAPACITY - size + 1)


def test_the_longest_header_fits_its_slot() -> None:
    instruments = tuple(
        Instrument(
            index=i,
            symbol=f"{i:064}",
            price_exponent=0,
            quantity_exponent=0,
            base="b" * 32,
            quote="q" * 32,
        )
        for i in range(1_024)
    )
    header = msgspec.structs.replace(
        HEADER,
        venue="v" * 32,
        channel="c" * 32,
        channels=tuple(f"{i:032}" for i in range(255)),
        data=DataKinds.FEATURES,
        columns=tuple(f"{i:064}" for i in range(256)),
        instruments=instruments,
        references=HEADER.references[:1] * 1_024,
    )
    buffer, _ = new_ring(header=header)
    assert QueueReader(buffer, pid=1).header() == header
    assert word(buffer, 584) == len(opening(header)) == MAX_OPENING_BYTES


def test_a_change_counts_from_its_frame_on() -> None:
    buffer, writer = new_ring()
    reader = QueueReader(buffer, pid=1)
    finer = msgspec.structs.replace(HEADER.instruments[1], price_exponent=-7)
    changed = msgspec.structs.replace(HEADER, instruments=(HEADER.instruments[0], finer))
    (change,) = encode_changes(HEADER, changed)
    assert writer.push(frame(b"old"))
    assert writer.push_header(changed, frame(change))
    assert reader.header() == HEADER
    assert reader.pop() == b"old"
    assert reader.header() == changed
    assert reader.pop() == change


def test_a_change_without_room_changes_nothing() -> None:
    buffer, writer = new_ring()
    while writer.push(frame(bytes(60))):
        pass
    before = bytes(buffer)
    assert writer.push_header(again(5), frame(bytes(60))) is False
    assert bytes(buffer) == before


def test_a_reader_leaves_word_of_where_it_was() -> None:
    buffer, _ = new_ring()
    reader = QueueReader(buffer, pid=1)
    assert reader.resume_seq == 0
    reader.leave(1_002)
    assert QueueReader(buffer, pid=2).resume_seq == word(buffer, 144) == 1_002


def test_a_queue_without_a_session_says_so() -> None:
    buffer, _ = new_ring(header=None)
    with pytest.raises(MalformedError, match="no session header"):
        QueueReader(buffer, pid=1).header()


@pytest.mark.parametrize("capacity", [0, 2048, 4095, 4097, 6000, 2**30 + 1, 2**31])
def test_a_capacity_that_is_no_power_of_two_is_refused(capacity: int) -> None:
    with pytest.raises(LimitExceededError, match="a power of two"):
        page.check_capacity(capacity)
    if capacity < 10_000:
        with pytest.raises(LimitExceededError):
            QueueWriter(bytearray(page.PAGE_BYTES + capacity), header=None, pid=1)


def test_the_largest_capacity_is_within_the_limit() -> None:
    page.check_capacity(2**30)


def test_a_page_with_another_capacity_is_refused_though_the_buffer_is_as_long() -> None:
    buffer, writer = new_ring()
    writer.release()
    put(buffer, 16, 6_000)
    buffer += bytes(page.PAGE_BYTES + 6_000 - len(buffer))
    with pytest.raises(LimitExceededError, match="capacity of 6,000 bytes: a power of two"):
        QueueReader(buffer, pid=1)


@pytest.mark.parametrize("size", [0, 1, 8, 4095, 4096, 4097, 8191])
def test_a_buffer_that_is_cut_short_is_refused(size: int) -> None:
    buffer, writer = new_ring()
    writer.release()
    with pytest.raises(page.TruncatedQueueError):
        QueueReader(buffer[:size], pid=1)


def test_a_page_of_another_format_or_version_is_refused() -> None:
    buffer, _ = new_ring()
    buffer[0] = 0
    with pytest.raises(page.NotAQueueError):
        QueueReader(buffer, pid=1)


@pytest.mark.parametrize(("version", "page_bytes"), [(1, 8_192), (2, 438_272), (4, 500_000)])
def test_a_queue_of_another_layout_is_named_so_and_not_taken_for_one_cut_short(
    version: int, page_bytes: int
) -> None:
    buffer = bytearray(page_bytes + CAPACITY)
    buffer[: page.HEAD_BYTES] = new_ring()[0][: page.HEAD_BYTES]
    put(buffer, 8, version)
    with pytest.raises(page.LayoutVersionError, match=f"layout {version}: this reader knows 3"):
        QueueReader(buffer, pid=1)


def test_a_page_of_another_size_has_another_version() -> None:
    assert (page.LAYOUT_VERSION, page.PAGE_BYTES) == (3, 462_848), "raise both, or neither"


@pytest.mark.parametrize("length", [0, 13, 14, 4096, 65536, 65537, 2**31, 2**32 - 1])
@pytest.mark.parametrize("start", [0, 4080, 4094])
def test_a_length_that_cannot_be_true_is_refused_and_stays(start: int, length: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    writer.push(frame(bytes(12)))
    for offset in range(4):
        place = page.PAGE_BYTES + (start + offset) % CAPACITY
        buffer[place] = length >> 8 * offset & 0xFF
    is_over = not 0 < length <= MAX_FRAME_BYTES
    for act in (reader.pop, reader.take, lambda: reader.read(1), lambda: list(reader.unread())):
        with pytest.raises(LimitExceededError if is_over else MalformedError, match="frame of"):
            act()
    assert reader.unread_bytes == 16


@pytest.mark.parametrize("start", [0, 4075])
def test_an_impossible_length_is_found_after_whole_frames(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    writer.push(frame(bytes(12)) + frame(bytes(12)))
    buffer[page.PAGE_BYTES + (start + 16) % CAPACITY] = 13
    for act in (lambda: reader.read(20), lambda: list(reader.unread())):
        with pytest.raises(MalformedError, match="frame of 13 bytes in 16"):
            act()
    assert reader.pop() == bytes(12)
    assert reader.unread_bytes == 16


@pytest.mark.parametrize("start", [0, 100_000])
def test_the_longest_payload_passes_and_a_longer_one_does_not(start: int) -> None:
    buffer, writer = new_ring(start=start, capacity=2**17)
    reader = QueueReader(buffer, pid=1)
    longest = frame(bytes(MAX_FRAME_BYTES))
    for _ in range(2):
        assert writer.push(longest)
        assert reader.pop() == bytes(MAX_FRAME_BYTES)
    assert writer.push(longest)
    assert reader.read(1) == longest
    assert writer.push((MAX_FRAME_BYTES + 1).to_bytes(4, "little") + bytes(MAX_FRAME_BYTES + 1))
    for act in (reader.pop, reader.take, lambda: reader.read(1), lambda: list(reader.unread())):
        with pytest.raises(LimitExceededError, match="frame of 65,537 bytes: 1 to 65,536 allowed"):
            act()


@pytest.mark.parametrize("start", [0, 4094])
@pytest.mark.parametrize("ahead", [1, 3])
def test_a_write_cursor_in_the_middle_of_a_length_is_refused(ahead: int, start: int) -> None:
    buffer, writer = new_ring(start=start)
    writer.push(frame(b"one"))
    reader = QueueReader(buffer, pid=1)
    put(buffer, 64, start + ahead)
    for act in (reader.pop, reader.take, lambda: reader.read(0), lambda: list(reader.unread())):
        with pytest.raises(PeerError, match="frame of"):
            act()


@pytest.mark.parametrize("start", [0, 4090, 4094])
def test_a_length_without_its_payload_is_refused(start: int) -> None:
    buffer, writer = new_ring(start=start)
    writer.push(frame(b"x"))
    reader = QueueReader(buffer, pid=1)
    put(buffer, 64, start + 4)
    for act in (reader.pop, reader.take, lambda: reader.read(0), lambda: list(reader.unread())):
        with pytest.raises(MalformedError, match="frame of 1 bytes in 4 that were written"):
            act()


@pytest.mark.parametrize("cursor", [4097, 2**32, 2**63, U64_MAX])
def test_a_write_cursor_that_cannot_be_true_is_refused(cursor: int) -> None:
    buffer, writer = new_ring()
    writer.push(frame(bytes(12)))
    reader = QueueReader(buffer, pid=1)
    put(buffer, 64, cursor)
    for act in (reader.pop, reader.take, lambda: reader.read(1), lambda: list(reader.unread())):
        with pytest.raises(MalformedError, match="unread in a queue of 4,096"):
            act()


@pytest.mark.parametrize("cursor", [4097, 2**32, 2**63])
def test_an_impossible_read_cursor_leaves_no_room(cursor: int) -> None:
    buffer, writer = new_ring()
    put(buffer, 128, cursor)
    while writer.push(frame(bytes(100))):
        pass
    assert not writer.push(frame(b"x"))
    assert not writer.push_header(HEADER)


@pytest.mark.parametrize("start", [0, 4090])
def test_a_queue_that_vanishes_under_a_reader_is_an_error(start: int) -> None:
    buffer, writer = new_ring(start=start)
    reader = QueueReader(buffer, pid=1)
    writer.push(frame(bytes(12)) * 2)
    assert reader.is_intact
    put(buffer, 0, 0)
    assert not reader.is_intact
    for act in (reader.pop, reader.take, lambda: reader.read(99)):
        with pytest.raises(page.NotAQueueError, match="vanished"):
            act()


class Changing(list[int]):
    """Words of a page whose writer is at work: each slot's place is another at each look."""

    looks = 0

    def __getitem__(self, at: Any) -> Any:
        self.looks += 1
        return self.looks if at in (576 // 8, 231_712 // 8) else super().__getitem__(at)


def test_a_header_that_changes_while_it_is_read_is_refused() -> None:
    buffer, _ = new_ring()
    words = Changing(memoryview(buffer)[: page.PAGE_BYTES].cast("Q"))
    with pytest.raises(MalformedError, match="changed while it was read"):
        page.read_header(memoryview(buffer)[: page.PAGE_BYTES], words, 100)  # type: ignore[arg-type]


def test_a_header_as_long_as_its_room_is_written_and_read() -> None:
    buffer, _ = new_ring(start=7)
    view = memoryview(buffer)[: page.PAGE_BYTES]
    page.write_header(view, view.cast("Q"), 1, b"h" * page.MAX_HEADER_BYTES, 8)
    assert page.read_header(view, view.cast("Q"), 8) == b"h" * 231_120
    assert page.read_header(view, view.cast("Q"), 7) == opening(HEADER)


@pytest.mark.parametrize("start", STARTS)
def test_a_header_counts_from_its_cursor_on_for_half_of_all_cursors(start: int) -> None:
    buffer, _ = new_ring(start=start)
    view = memoryview(buffer)[: page.PAGE_BYTES]
    words = view.cast("Q")
    for further in (0, 1, 2**63 - 1):
        cursor = (start + further) & U64_MAX
        assert page.read_header(view, words, cursor) == opening(HEADER)
    for further in (-1, 2**63):
        with pytest.raises(MalformedError, match="no session header"):
            page.read_header(view, words, (start + further) & U64_MAX)


def test_a_half_written_header_is_ignored() -> None:
    class Torn(dict[slice, bytes]):
        """A page whose writer is gone before the header is there."""

        def __setitem__(self, at: slice, header: bytes) -> None:
            raise KeyboardInterrupt

    buffer, _ = new_ring()
    view = memoryview(buffer)[: page.PAGE_BYTES]
    words = view.cast("Q")
    assert page.read_header(view, words, 0) == opening(HEADER)
    with pytest.raises(KeyboardInterrupt):
        page.write_header(Torn(), words, 0, b"h", 5)  # type: ignore[arg-type]
    with pytest.raises(MalformedError, match="no session header"):
        page.read_header(view, words, 0)


@pytest.mark.parametrize("at", [584, 256])
@pytest.mark.parametrize("length", [231_121, 2**32, U64_MAX])
def test_a_length_in_the_page_that_cannot_be_true_is_refused(at: int, length: int) -> None:
    buffer, _ = new_ring()
    put(buffer, at, length)
    reader = QueueReader(buffer, pid=1)
    with pytest.raises(MalformedError, match="exceeds"):
        reader.header() if at == 584 else reader.tail()


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_noise_anywhere_in_a_queue_raises_only_a_peer_error(data: st.DataObject) -> None:
    buffer, writer = new_ring(start=data.draw(st.sampled_from(STARTS)))
    for size in range(1, 60):
        writer.push(frame(bytes(size)))
    noise = st.tuples(st.integers(0, len(buffer) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(noise, max_size=20)):
        buffer[at] = value
    try:
        reader = QueueReader(buffer, pid=1)
        reader.header()
        reader.tail()
        for _ in range(60):
            payload = reader.pop()
            assert payload is None or 0 < len(payload) <= MAX_FRAME_BYTES
        reader.read(1_000)
    except PeerError:
        pass


PAYLOADS = st.binary(min_size=1, max_size=8) | st.builds(
    lambda size, byte: bytes([byte]) * size, st.integers(1, 1500), st.integers(0, 255)
)
"""Long ones too: of `binary` itself hardly one is, and the queue would never be full."""


class QueueAgainstAList(RuleBasedStateMachine):
    """Whatever is pushed, popped, read and attached to, the queue is a bounded list of frames."""

    @initialize(start=st.sampled_from(STARTS), shift=st.integers(0, 5000))
    def begin(self, start: int, shift: int) -> None:
        self.buffer, self.writer = new_ring(start=(start + shift) & U64_MAX, header=None)
        self.reader = QueueReader(self.buffer, pid=1)
        self.model: deque[bytes] = deque()

    @property
    def used(self) -> int:
        return sum(4 + len(each) for each in self.model)

    @rule(payloads=st.lists(PAYLOADS, min_size=1, max_size=4))
    def push(self, payloads: list[bytes]) -> None:
        frames = b"".join(map(frame, payloads))
        fits = self.used + len(frames) <= CAPACITY
        assert self.writer.push(frames) is fits
        if fits:
            self.model.extend(payloads)

    @rule()
    def pop(self) -> None:
        assert self.reader.pop() == (self.model.popleft() if self.model else None)

    @rule(limit=st.integers(1, 5000))
    def read(self, limit: int) -> None:
        expected = b""
        while self.model and (not expected or len(expected + frame(self.model[0])) <= limit):
            expected += frame(self.model.popleft())
        assert self.reader.read(limit) == expected

    @precondition(lambda self: self.used < 3000)
    @rule()
    def attach_again(self) -> None:
        self.reader.release()
        self.reader = QueueReader(self.buffer, pid=1)

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "model"):
            assert self.reader.unread_bytes == self.used
            assert list(self.reader.unread()) == list(self.model)


TestQueueAgainstAList = QueueAgainstAList.TestCase
TestQueueAgainstAList.settings = settings(
    max_examples=examples(20), stateful_step_count=40, deadline=None
)


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_an_x86_64_is_fit(machine: str) -> None:
    require_supported_machine(machine)


@pytest.mark.parametrize("machine", ["aarch64", "riscv64", "i686", ""])
def test_another_machine_is_refused(machine: str) -> None:
    with pytest.raises(UnsupportedMachineError, match="need an x86-64 processor"):
        require_supported_machine(machine)


@pytest.mark.parametrize("name", ["trade_queue", "a", "币安", "x" * 200, "a b", "a.b", "\udcff"])
def test_a_name_that_is_a_file_name_is_fit(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("name", ["", "/", "a/b", ".", "..", ".a", "a\0", "x" * 201, "币" * 67])
def test_an_invalid_queue_name_has_a_fault(name: str) -> None:
    assert name_fault(name)


def test_a_lock_is_asked_for_on_the_eight_bytes_of_a_pid() -> None:
    request = lock_request(1, page.READER_PID_WORD)
    assert request.hex() == "0100000000000000" + "2800000000000000" + "0800000000000000" + "0" * 16
    assert lock_kind(request) == 1
