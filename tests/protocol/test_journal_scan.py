"""Looking through the frames of a segment, compiled and plain."""

import mmap
import zlib
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.protocol import START, frame, journal_scan
from fanout.protocol.constants import MAX_SEQ, FrameKind
from fanout.protocol.framing import seal
from fanout.protocol.journal_scan import Fault, Mark, Scan, find_frame
from fanout.protocol.speedups import PLAIN
from tests.protocol.golden import payload
from tests.thoroughness import examples
from tests.twins import outcome, twins_of

NAMES = ("header", "instruments", "snapshot", "trades", "status", "gap", "loss", "heartbeat", "end")
FRAMES = [frame(START), *(frame(payload(name)) for name in NAMES)]
SEGMENT = b"".join(FRAMES)
"""What stands behind the first 64 bytes of a small segment."""
OFFSETS = list(accumulate(map(len, FRAMES), initial=0))
RECEIVED_NS = 1_791_382_992_840_123_456
SINCE_NS = 1_791_383_000_000_000_000
BEAT_NS = 1_791_383_001_000_000_000

Look = Callable[..., Scan]


@pytest.fixture(params=["plain", "compiled"])
def look(request: pytest.FixtureRequest) -> Look:
    """A scan of all the data, unless told otherwise."""
    scan = PLAIN["scan"]
    if request.param == "compiled":
        scan = twins_of("fanout.protocol._speedups").scan

    def whole(data: Any, offset: int = 0, next_seq: int = 0, time_ns: int = 0, **more: int) -> Scan:
        stop = more.pop("stop") if "stop" in more else len(data)
        found: Scan = scan(data, offset, next_seq, time_ns, stop=stop, **more)
        return found

    return whole


def sealed(body: bytes) -> bytes:
    return frame(seal(body))


def u64(*numbers: int) -> bytes:
    return b"".join(each.to_bytes(8, "little") for each in numbers)


def beat(seq: int, time_ns: int) -> bytes:
    return sealed(b"\x23" + u64(seq, time_ns))


def test_a_whole_segment_is_looked_through(look: Look) -> None:
    marked = {0: START[0], 1: FrameKind.HEADER, 2: FrameKind.INSTRUMENTS}
    later = {7: FrameKind.LOSS, 9: FrameKind.END}
    begun = tuple(Mark(OFFSETS[at], kind, 1_001 if at else 0) for at, kind in marked.items())
    ended = tuple(Mark(OFFSETS[at], kind, 1_006 + 1_000 * (at > 8)) for at, kind in later.items())
    assert look(SEGMENT) == Scan(
        len(SEGMENT), 2_006, BEAT_NS, len(FRAMES), (*begun, *ended), Fault.NONE
    )


@pytest.mark.parametrize(
    ("name", "first", "after", "time_ns"),
    [
        ("header", 1_001, 1_001, 0),
        ("instruments", 0, 0, 0),
        ("snapshot", 0, 0, 0),
        ("trades", 1_001, 1_004, RECEIVED_NS),
        ("quotes", 1_001, 1_004, RECEIVED_NS),
        ("book", 1_001, 1_004, RECEIVED_NS),
        ("orders", 1_001, 1_003, RECEIVED_NS),
        ("status", 1_004, 1_005, SINCE_NS),
        ("gap", 1_005, 1_006, 0),
        ("loss", 1_006, 2_006, 0),
        ("heartbeat", 2_006, 2_006, BEAT_NS),
        ("end", 2_006, 2_006, 0),
    ],
)
def test_each_kind_of_frame_has_its_numbers_and_its_time(
    look: Look, name: str, first: int, after: int, time_ns: int
) -> None:
    data = frame(payload(name))
    assert look(data).next_seq == after
    assert look(data, 0, first, 5).time_ns == max(time_ns, 5)
    if first:
        assert look(data, 0, first - 1).fault is Fault.AHEAD
        behind = look(data, 0, first + 1)
        assert (behind.fault, behind.offset, behind.next_seq) == (Fault.BEHIND, 0, first + 1)


@pytest.mark.parametrize("kind", [0, 1, 0x14, 0x1F, 0x26, START[0], 0xFF])
def test_a_frame_of_an_unknown_kind_is_marked_unless_its_numbers_are_known(
    look: Look, kind: int
) -> None:
    data = sealed(bytes((kind, 0, 0, 2, 0)) + u64(7, 9))
    found = look(data, 0, 7)
    is_run = kind in (0x14, 0x1F)
    assert (found.next_seq, found.fault) == (9 if is_run else 7, Fault.NONE)
    assert found.marks == (() if is_run else (Mark(0, kind, 7),))


RUN = bytes((0x10, 0, 0, 2, 0))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.NONE),
        (b"\1\0\0", Fault.CUT),
        (b"\1\0\0\0", Fault.CUT),
        (bytes(64), Fault.LENGTH),
        (b"\1\0\1\0" + bytes(70_000), Fault.LENGTH),
        (b"\xff\xff\xff\xff" + bytes(64), Fault.LENGTH),
        (frame(b"STARK"), Fault.CRC),
        (frame(b"\x23"), Fault.MALFORMED),
        (frame(b"1234"), Fault.MALFORMED),
        (frame(b"12345"), Fault.CRC),
        (frame(bytes(65_536)), Fault.CRC),
        *(
            (sealed(frame(payload(name))[4 : 4 + most]), Fault.MALFORMED)
            for name, most in (
                ("header", 17),
                ("trades", 20),
                ("status", 19),
                ("gap", 8),
                ("loss", 16),
                ("heartbeat", 16),
                ("end", 8),
            )
        ),
        (sealed(RUN[:3] + b"\0\0" + u64(1, 2)), Fault.MALFORMED),
        (sealed(b"\x10\2\0\0\0" + u64(1, 2)), Fault.MALFORMED),
        (sealed(RUN + u64(0, 2)), Fault.MALFORMED),
        (sealed(RUN + u64(MAX_SEQ, 2)), Fault.MALFORMED),
        (sealed(RUN + u64(MAX_SEQ - 1, 2)), Fault.NONE),
        (sealed(b"\x20" + u64(0) + b"\0\0\0" + u64(1)), Fault.MALFORMED),
        (sealed(b"\x21" + u64(MAX_SEQ + 1)), Fault.MALFORMED),
        (sealed(b"\x22" + u64(0, 5)), Fault.MALFORMED),
        (sealed(b"\x22" + u64(6, 5)), Fault.MALFORMED),
        (sealed(b"\x22" + u64(1, MAX_SEQ + 1)), Fault.MALFORMED),
        (sealed(b"\x22" + u64(1, 2**64 - 1)), Fault.MALFORMED),
        (sealed(b"\x22" + u64(5, MAX_SEQ)), Fault.NONE),
        (beat(0, 1), Fault.MALFORMED),
        (beat(MAX_SEQ + 1, 1), Fault.MALFORMED),
        (beat(MAX_SEQ, 2**64 - 1), Fault.NONE),
        (sealed(b"\x24" + u64(2**64 - 1)), Fault.MALFORMED),
        (sealed(b"\x24" + u64(0)), Fault.NONE),
    ],
)
def test_what_is_wrong_with_a_frame_is_told(look: Look, data: bytes, fault: Fault) -> None:
    found = look(data)
    assert found.fault is fault
    assert found.offset == (0 if fault else len(data))


@pytest.mark.parametrize(
    ("until_seq", "place", "next_seq"),
    [
        (1, 1, 1_001),
        (1_001, 4, 1_001),
        (1_003, 4, 1_001),
        (1_004, 5, 1_004),
        (1_005, 6, 1_005),
        (1_006, 7, 1_006),
        (2_005, 7, 1_006),
        (2_006, 10, 2_006),
    ],
)
def test_a_scan_stops_before_the_frame_that_holds_a_number(
    look: Look, until_seq: int, place: int, next_seq: int
) -> None:
    found = look(SEGMENT, until_seq=until_seq)
    assert (found.offset, found.next_seq, found.fault) == (OFFSETS[place], next_seq, Fault.NONE)


def test_a_scan_stops_before_the_first_frame_of_a_time(look: Look) -> None:
    for until_ns, offset in {1: 4, RECEIVED_NS: 4, RECEIVED_NS + 1: 5, BEAT_NS: 8}.items():
        found = look(SEGMENT, until_ns=until_ns)
        assert (found.offset, found.fault) == (OFFSETS[offset], Fault.NONE)
    assert look(SEGMENT, until_ns=0).offset == 0
    assert look(SEGMENT, until_ns=BEAT_NS + 1).offset == len(SEGMENT)


def test_a_scan_goes_on_where_one_stopped(look: Look) -> None:
    whole = look(SEGMENT)
    for begin, stop in pairwise(OFFSETS):
        first = look(SEGMENT, stop=begin)
        assert first.offset == begin
        assert look(SEGMENT, begin, first.next_seq, first.time_ns, stop=begin).frames == 0
        second = look(SEGMENT, begin, first.next_seq, first.time_ns)
        assert first.marks + second.marks == whole.marks
        assert second == Scan(
            len(SEGMENT), 2_006, BEAT_NS, whole.frames - first.frames, second.marks, Fault.NONE
        )
        assert look(SEGMENT, stop=stop - 1).offset == stop  # it begins before


def test_the_time_goes_on_where_the_clock_goes_back(look: Look) -> None:
    data = beat(5, 300) + beat(5, 200) + beat(5, 400)
    assert look(data, stop=len(data) - 1).time_ns == 400
    assert look(data, stop=30).time_ns == 300
    assert look(data, time_ns=1_000).time_ns == 1_000


def test_data_that_end_within_a_frame_are_cut(look: Look) -> None:
    for size in range(len(SEGMENT)):
        found = look(SEGMENT[:size])
        whole = max(each for each in OFFSETS if each <= size)
        assert found.offset == whole
        assert found.fault is (Fault.NONE if size == whole else Fault.CUT)


def test_no_flipped_bit_is_accepted_in_silence(look: Look) -> None:
    for bit in range(8 * len(SEGMENT)):
        damaged = bytearray(SEGMENT)
        damaged[bit // 8] ^= 1 << bit % 8
        found = look(damaged)
        assert found.fault is not Fault.NONE
        assert found.offset == max(each for each in OFFSETS if each <= bit // 8)


def test_anything_with_bytes_can_be_looked_through(look: Look) -> None:
    padded = memoryview(b"x" + SEGMENT)
    with mmap.mmap(-1, len(SEGMENT)) as mapped:
        mapped[:] = SEGMENT
        for data in (bytearray(SEGMENT), memoryview(SEGMENT), padded[1:], mapped):
            assert look(data) == look(SEGMENT)
    words = memoryview(SEGMENT + bytes(-len(SEGMENT) % 8)).cast("Q")
    assert look(words, stop=len(SEGMENT)) == look(SEGMENT)


@pytest.mark.parametrize("data", [None, "text", 7, memoryview(SEGMENT)[::2]])
def test_other_things_are_refused(look: Look, data: Any) -> None:
    with pytest.raises(TypeError):
        look(data, stop=1)


def test_numbers_beyond_64_bits_are_taken(look: Look) -> None:
    for number in (2**64, 2**70):
        assert look(SEGMENT, until_seq=number, until_ns=number) == look(SEGMENT)
        found = look(SEGMENT, stop=number)  # behind the data, where no frame begins
        assert (found.offset, found.fault) == (len(SEGMENT), Fault.CUT)
    assert look(SEGMENT, until_ns=-1).offset == 0


def test_a_long_scan_is_as_a_short_one(look: Look) -> None:
    """From 64 KiB on the compiled one lets other threads run."""
    count = 3_000
    data = FRAMES[1] + b"".join(beat(1_001, each) for each in range(count)) + FRAMES[7]
    found = look(data)
    assert (found.fault, found.frames, found.time_ns) == (Fault.AHEAD, count + 1, count - 1)


def test_the_next_right_frame_is_found_behind_a_damaged_one() -> None:
    for place, (begin, end) in enumerate(pairwise(OFFSETS)):
        following = OFFSETS[place + 1] if place + 1 < len(FRAMES) else -1
        damaged = bytearray(SEGMENT)
        damaged[begin : begin + 4] = b"\xff" * 4
        assert find_frame(damaged, begin, stop=len(damaged)) == following
        assert find_frame(damaged, begin + 1, stop=end) == -1
        if place:
            assert find_frame(SEGMENT, begin, stop=len(SEGMENT)) == begin
            assert find_frame(SEGMENT[: end - 1], begin, stop=end) == -1
    assert find_frame(frame(bytes([0x10]) + bytes(65_531)), 0, stop=99) == -1
    assert find_frame(sealed(b"\x10" + bytes(65_531)) + FRAMES[8], 0, stop=10**6) == 65_540


def test_the_longest_frame_is_found() -> None:
    data = b"junk" + sealed(b"\x25" + bytes(65_531))
    assert find_frame(data, 0, stop=len(data)) == 4


def test_a_search_gives_up_where_everything_looks_like_a_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"\x20\x01\0\0" * 500 + FRAMES[8]
    assert find_frame(data, 0, stop=len(data)) == 2_000
    monkeypatch.setattr(journal_scan, "MOST_SUMMED_BYTES", 1_000)
    assert find_frame(data, 0, stop=len(data)) == -1


ODD = st.sampled_from([0, 1, 1_001, 1_004, 2_006, MAX_SEQ, MAX_SEQ + 1, 2**64 - 1, 2**64])


@settings(max_examples=examples(60))
@given(st.data())
def test_both_scans_find_the_same_whatever_is_there(chance: st.DataObject) -> None:
    draw = chance.draw
    pieces = draw(st.lists(st.sampled_from([*FRAMES, beat(1_004, 2**64 - 1)]), max_size=8))
    kinds = st.sampled_from([*FrameKind, 0x14, 0x30])
    for kind in draw(st.lists(kinds, max_size=3)):
        pieces.append(sealed(bytes((kind,)) + draw(st.binary(max_size=24))))
    data = bytearray(b"".join(pieces))
    for _ in range(draw(st.integers(0, 2)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    asked = [draw(st.integers(0, len(data) + 1)) if draw(st.booleans()) else 0]
    asked += [draw(ODD | st.integers(-1, 3)), draw(ODD)]
    more = {"stop": draw(st.just(len(data)) | st.integers(-1, len(data) + 9))}
    if draw(st.booleans()):
        more |= {"until_seq": draw(ODD), "until_ns": draw(ODD | st.just(RECEIVED_NS))}
    compiled = twins_of("fanout.protocol._speedups").scan
    ours, reference = (
        outcome(lambda scan=scan: scan(data, *asked, **more)) for scan in (compiled, PLAIN["scan"])
    )
    assert ours == reference
    assert repr(ours) == repr(reference)


def test_both_ways_to_a_crc_are_zlibs() -> None:
    crc32s = twins_of("fanout.protocol._speedups").crc32s
    noise = b"".join(
        zlib.crc32(bytes((each % 256, each // 256))).to_bytes(4, "little") for each in range(600)
    )
    for size in (*range(330), 1_023, 2_000, 2_400):
        for begin in (0, 1):
            data = noise[begin : begin + size]
            assert crc32s(data) == (zlib.crc32(data),) * 2
