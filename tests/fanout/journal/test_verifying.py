"""Checking segments: what is right passes, and what is wrong is found with its exact range."""

from typing import Any

import pytest
from msgspec.structs import replace

from fanout.journal import verifying
from fanout.journal.findings import MOST_UNCOVERED_BYTES, Finding, FindingKind
from fanout.journal.verifying import Checked, check_segment, follow
from fanout.protocol import Heartbeat, Loss, LossReason, encode_event, encode_header
from fanout.protocol.constants import START
from fanout.protocol.framing import frame, seal
from fanout.protocol.header import opening
from fanout.protocol.instruments import encode_instruments
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX_MAGIC,
    PLACE_BYTES,
    FileHeader,
    Place,
    PlaceKind,
    encode_file_header,
    encode_places,
)
from tests.protocol.golden import HEADER, payload

BEGUN = FileHeader(epoch_ns=HEADER.epoch_ns, first_seq=1_001, created_ns=7)
TRADES, STATUS, GAP, LOST = (frame(payload(each)) for each in ("trades", "status", "gap", "loss"))
BEAT, END = frame(payload("heartbeat")), frame(payload("end"))
HEAD = frame(START) + opening(HEADER)
BODY = [TRADES, STATUS, GAP, LOST, BEAT]
"""Numbers 1,001 to 1,005, and 1,006 to 2,005 in a LOSS."""
FRAMES = [HEAD, *BODY]
OPENING = FILE_HEADER_BYTES + len(frame(START))


def at(place: int, frames: list[bytes] = FRAMES) -> int:
    """The offset of a frame."""
    return FILE_HEADER_BYTES + sum(map(len, frames[:place]))


def index(*places: Place, begun: FileHeader = BEGUN) -> bytes:
    return encode_file_header(begun, INDEX_MAGIC) + encode_places(places)


def place(offset: int, seq: int, time_ns: int = 0, **more: Any) -> Place:
    return Place(seq=seq, time_ns=time_ns, offset=offset, **{"opening": OPENING} | more)


def segment(*frames: bytes) -> bytes:
    return encode_file_header(BEGUN) + b"".join(frames)


def checked(data: bytes, found: bytes = index(), **names: Any) -> Checked:
    where: dict[str, Any] = {"channel": "perps", "epoch_ns": BEGUN.epoch_ns, "first_seq": 1_001}
    return check_segment(
        lambda offset, size: data[offset : offset + size], len(data), found, **where | names
    )


def faults(found: Checked) -> list[Finding]:
    return [each for each in found.findings if each.kind.is_fault]


def only(found: Checked) -> Finding:
    (fault,) = faults(found)
    assert not found.is_right
    return fault


def range_of(finding: Finding) -> tuple[int | None, int | None]:
    return finding.first_seq, finding.last_seq


def test_a_segment_that_is_right_has_no_fault() -> None:
    data = segment(*FRAMES, END)
    found = checked(data)
    lost = Finding(kind=FindingKind.LOST, why="SLOW", offset=at(4), first_seq=1_006, last_seq=2_005)
    assert found == Checked(
        epoch_ns=BEGUN.epoch_ns,
        first_seq=1_001,
        next_seq=2_006,
        size_bytes=len(data),
        frames=9,
        time_ns=1_791_383_001_000_000_000,
        is_ended=True,
        findings=(lost,),
    )
    assert found.is_right


def test_a_segment_is_read_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = checked(segment(*FRAMES))
    for size in (200, 219, 220, 256):
        monkeypatch.setattr(verifying, "WINDOW_BYTES", size)
        assert checked(segment(*FRAMES)) == whole


def test_a_file_that_is_not_what_its_name_says_is_found() -> None:
    data = segment(*FRAMES)
    assert only(checked(b"text", b"")).kind is FindingKind.FILE
    assert "unlike its name" in only(checked(data, first_seq=1_002)).why
    assert "unlike its name" in only(checked(data, epoch_ns=5)).why
    assert only(checked(data, channel="spot")).why.startswith("header of channel perps, epoch")


@pytest.mark.parametrize(("number", "first", "last"), [(1, 1_001, 1_003), (3, 1_005, 1_005)])
def test_a_damaged_frame_is_found_with_its_numbers(number: int, first: int, last: int) -> None:
    frames = [*FRAMES]
    frames[number] = frames[number][:-1] + bytes([frames[number][-1] ^ 1])
    fault = only(checked(segment(*frames)))
    assert fault == Finding(
        kind=FindingKind.DAMAGED,
        why="the CRC of a frame does not match",
        offset=at(number),
        size=len(frames[number]),
        first_seq=first,
        last_seq=last,
    )


def test_a_damaged_frame_without_numbers_is_found() -> None:
    snapshot = bytearray(frame(payload("snapshot")))
    snapshot[0] = 0
    fault = only(checked(segment(HEAD, bytes(snapshot), *BODY)))
    assert (fault.kind, fault.offset, range_of(fault)) == (FindingKind.DAMAGED, at(1), (None, None))


def test_numbers_that_nobody_reports_are_missing() -> None:
    fault = only(checked(segment(HEAD, TRADES, GAP)))
    assert (fault.kind, fault.offset, range_of(fault)) == (FindingKind.MISSING, at(2), (1_004,) * 2)


def test_numbers_that_come_again_are_found() -> None:
    fault = only(checked(segment(HEAD, TRADES, STATUS, TRADES, STATUS)))
    assert (fault.kind, range_of(fault)) == (FindingKind.REPEATED, (1_001, 1_004))


def test_an_end_that_is_not_whole_is_torn() -> None:
    for size in range(1, len(STATUS)):
        fault = only(checked(segment(HEAD, TRADES, STATUS[:size])))
        assert (fault.kind, fault.offset, fault.size) == (FindingKind.TORN, at(2), size)
    assert only(checked(segment(HEAD, TRADES, bytes(100)))).kind is FindingKind.TORN


def test_a_file_that_became_shorter_meanwhile_is_torn() -> None:
    data = segment(*FRAMES)
    found = check_segment(
        lambda offset, size: data[offset : min(offset + size, at(2) + 3)],
        len(data),
        index(),
        channel="perps",
        epoch_ns=BEGUN.epoch_ns,
        first_seq=1_001,
    )
    assert only(found).kind is FindingKind.TORN
    cut = check_segment(
        lambda offset, size: data[offset : min(offset + size, at(2))],
        len(data),
        index(),
        channel="perps",
        epoch_ns=BEGUN.epoch_ns,
        first_seq=1_001,
    )
    assert (cut.next_seq, faults(cut)) == (1_004, [])


LATER = replace(HEADER, next_seq=1_004)
RENAMED = replace(LATER.instruments[1], symbol="OTHER")


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ((TRADES,), "no header with all its instruments"),
        ((frame(START), frame(encode_header(HEADER)), TRADES), "no header with all its"),
        ((HEAD, frame(START), TRADES), "START in mid-stream"),
        ((HEAD, TRADES, opening(replace(LATER, epoch_ns=5))), "header of channel perps, epoch 5"),
        (
            (HEAD, TRADES, opening(replace(LATER, instruments=(LATER.instruments[0], RENAMED)))),
            "index 1 was",
        ),
        ((HEAD, frame(seal(b"\x25\0\0\0\1\0"))), "instrument"),
        ((HEAD, frame(seal(b"\x22" + (1_001).to_bytes(8, "little") * 2))), "cut"),
        ((*FRAMES, END, BEAT), "more bytes behind END"),
    ],
)
def test_headers_that_cannot_be_are_found(frames: tuple[bytes, ...], why: str) -> None:
    found = faults(checked(segment(*frames)))
    of_headers = [each.why for each in found if each.kind is FindingKind.HEADER]
    assert any(why in each for each in of_headers), found


def test_frames_between_a_header_and_its_instruments_are_found() -> None:
    first, second = frame(encode_header(HEADER)), frame(payload("instruments"))
    found = faults(checked(segment(frame(START), first, frame(payload("snapshot")), second)))
    assert [each.why for each in found] == ["frames between a header and its instruments"]


CHANGE = b"".join(map(frame, encode_instruments(HEADER, 1, 2)))
RENEWED = [HEAD, TRADES, CHANGE, opening(LATER), STATUS]
RECEIVED_NS = 1_791_382_992_840_123_456
PLACES = [
    place(at(2, RENEWED), 1_004, RECEIVED_NS, kind=PlaceKind.CHANGE),
    place(at(3, RENEWED), 1_004, RECEIVED_NS, kind=PlaceKind.OPENING),
    place(at(4, RENEWED), 1_004, RECEIVED_NS, opening=at(3, RENEWED)),
]


def test_an_index_that_is_right_has_no_fault() -> None:
    assert checked(segment(*RENEWED), index(*PLACES)).findings == ()
    growing = index(*PLACES) + bytes(PLACE_BYTES - 1)
    assert checked(segment(*RENEWED), growing).findings == ()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"offset": at(4, RENEWED) + 1}, "no frame begins at"),
        ({"offset": at(5, RENEWED) + 9}, "behind the last frame"),
        ({"seq": 1_005}, "number 1005 at"),
        ({"time_ns": RECEIVED_NS + 1}, "where it is"),
        ({"opening": OPENING}, "is in force"),
    ],
)
def test_a_place_that_is_wrong_is_found(changed: dict[str, int], why: str) -> None:
    wrong = replace(PLACES[2], **changed)
    fault = only(checked(segment(*RENEWED), index(*PLACES[:2], wrong)))
    assert (fault.kind, fault.offset) == (
        FindingKind.INDEX,
        FILE_HEADER_BYTES + 2 * PLACE_BYTES,
    )
    assert why in fault.why


@pytest.mark.parametrize(
    ("data", "kind", "why"),
    [
        (b"", FindingKind.SHORT, "there is none"),
        (b"x", FindingKind.INDEX, "1 bytes"),
        (index(*PLACES[1:]), FindingKind.INDEX, "no place for the change"),
        (index(PLACES[0]), FindingKind.SHORT, "no place for the opening"),
        (index(*PLACES[::-1]), FindingKind.INDEX, "damaged, or out of order"),
        (index(*PLACES, begun=replace(BEGUN, first_seq=5)), FindingKind.INDEX, "another segment"),
    ],
)
def test_an_index_that_is_lacking_or_wrong_is_found(
    data: bytes, kind: FindingKind, why: str
) -> None:
    found = faults(checked(segment(*RENEWED), data))
    assert any(each.kind is kind and why in each.why for each in found), found


def test_an_index_that_ends_long_before_its_segment_is_short() -> None:
    beat = frame(encode_event(Heartbeat(next_seq=1_001, time_ns=5)))
    count = MOST_UNCOVERED_BYTES // len(beat) + 1
    fault = only(checked(segment(HEAD, beat * count)))
    assert fault.kind is FindingKind.SHORT


def test_places_in_damaged_bytes_are_passed_over() -> None:
    data = bytearray(segment(*FRAMES))
    data[at(2)] ^= 1
    fault = only(checked(bytes(data), index(place(at(2) + 5, 1_004, RECEIVED_NS))))
    assert fault.kind is FindingKind.DAMAGED


def test_a_segment_full_of_faults_is_not_looked_through_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verifying, "MOST_FINDINGS", 3)
    monkeypatch.setattr(verifying, "WINDOW_BYTES", 220)
    lost = (
        Loss(first_seq=10 * n, last_seq=10 * n, reason=LossReason.SLOW) for n in range(200, 300)
    )
    many = [frame(encode_event(each)) for each in lost]
    found = [each for each in checked(segment(HEAD, *many)).findings if each.kind.is_fault]
    assert 3 <= len(found) < 20
    assert found[-1].why.startswith("too much is wrong")
    assert found[-1].kind is FindingKind.FILE


def one(first: int, after: int, *findings: Finding, epoch_ns: int = 7) -> Checked:
    return Checked(
        epoch_ns=epoch_ns, first_seq=first, next_seq=after, size_bytes=9, findings=findings
    )


TORN = Finding(kind=FindingKind.TORN, why="torn")
SHORT = Finding(kind=FindingKind.SHORT, why="short")


def test_segments_follow_on_each_other() -> None:
    segments = [one(1, 5), one(5, 9), one(1, 3, epoch_ns=8)]
    assert follow(segments) == segments
    assert follow([]) == []


def test_numbers_between_segments_are_missing() -> None:
    first, _ = follow([one(1, 5, TORN), one(9, 9)])
    assert first.findings[0] == TORN
    assert (first.findings[1].kind, range_of(first.findings[1])) == (FindingKind.MISSING, (5, 8))


def test_numbers_that_a_writer_wrote_anew_are_no_fault() -> None:
    first, _ = follow([one(1, 9, TORN), one(6, 12)])
    (anew,) = first.findings
    assert (anew.kind, range_of(anew)) == (FindingKind.ANEW, (6, 8))
    assert first.is_right


def test_the_end_of_a_segment_that_is_being_written_is_no_fault() -> None:
    assert follow([one(1, 5, TORN, SHORT)], is_open=True) == [one(1, 5)]
    assert follow([one(1, 5, TORN, SHORT)]) == [one(1, 5, TORN, SHORT)]
