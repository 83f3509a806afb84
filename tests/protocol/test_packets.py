"""Packets as bytes: what is read of them, and what is refused."""

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    Header,
    Line,
    MalformedError,
    NotRepresentableError,
    PeerError,
    decode_packet,
    encode_packet,
    frame,
    on_line,
)
from fanout.protocol.errors import CutShortError
from fanout.protocol.framing import seal
from fanout.protocol.packets import (
    END,
    HEARTBEAT,
    LAST,
    MAX_PACKET_BYTES,
    PACKET_HEADER_BYTES,
    SNAPSHOT,
    ListingSums,
    frames_of,
)
from fanout.protocol.speedups import PLAIN
from tests.protocol.golden import HEADER, payload
from tests.twins import same_outcome, twins_of

FRAMES = [frame(payload("trades")), frame(payload("status")), frame(payload("gap"))]


def packet(
    frames: list[bytes] | None = None,
    *,
    next_seq: int = 1_001,
    number: int = 7,
    listing: int = 5,
    flags: int = 0,
) -> bytes:
    return encode_packet(
        FRAMES if frames is None else frames,
        next_seq=next_seq,
        number=number,
        epoch_ns=3,
        listing=listing,
        sent_ns=4,
        flags=flags,
    )


def test_an_end_needs_a_packet_that_is_flagged_so() -> None:
    due = int.from_bytes(payload("end")[1:9], "little") + 1
    end = frame(payload("end"))
    assert not decode_packet(packet([end], next_seq=due, flags=END)).is_plain
    with pytest.raises(MalformedError, match="END in a packet that is not flagged so"):
        decode_packet(packet([end], next_seq=due))


def test_a_packet_says_which_number_is_due_before_it_and_behind_it() -> None:
    found = decode_packet(packet())
    assert (found.next_seq, found.stop_seq, found.number, found.listing) == (1_001, 1_006, 7, 5)
    assert (found.is_plain, found.is_listing, found.is_snapshot) == (True, False, False)
    assert list(frames_of(found.frames)) == FRAMES


@pytest.mark.parametrize(
    ("name", "flags", "next_seq", "stop_seq"),
    [
        ("loss", 0, 1_006, 2_006),
        ("heartbeat", HEARTBEAT, 2_006, 2_006),
        ("end", END, 2_006, 2_006),
        ("instruments", 0, 50, 50),
        ("header", SNAPSHOT, 50, 50),
        ("instruments", SNAPSHOT, 50, 50),
        ("snapshot", SNAPSHOT | LAST, 50, 50),
    ],
)
def test_a_packet_with_more_than_records_is_not_plain(
    name: str, flags: int, next_seq: int, stop_seq: int
) -> None:
    found = decode_packet(packet([frame(payload(name))], next_seq=next_seq, flags=flags))
    assert (found.stop_seq, found.flags, found.is_plain) == (stop_seq, flags, False)
    assert found.is_listing is (name == "instruments" and not flags)


def test_a_packet_that_was_cut_at_any_place_is_refused() -> None:
    whole = packet()
    for size in range(len(whole)):
        with pytest.raises(PeerError) as error:
            decode_packet(whole[:size])
        if size > 4:
            assert type(error.value) is CutShortError


def test_every_flipped_bit_is_noticed() -> None:
    whole = packet()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            with pytest.raises(PeerError):
                decode_packet(bytes(damaged))


def test_the_other_line_gets_the_same_packet() -> None:
    there = on_line(packet(), Line.B)
    assert decode_packet(there) == replace(decode_packet(packet()), line=1)
    assert on_line(there, Line.A) == packet()


def test_a_packet_over_the_limit_of_udp_is_neither_made_nor_read() -> None:
    large = [FRAMES[1]]
    status = len(FRAMES[1])
    room = MAX_PACKET_BYTES - PACKET_HEADER_BYTES
    unknown = frame(b"\x30" + bytes(room - status - 5)[:60_000])
    large = [FRAMES[1], unknown, frame(bytes(6_000))]
    with pytest.raises(NotRepresentableError, match="bytes: 49 to 65,507 fit"):
        packet(large, next_seq=1_004)
    made = packet([FRAMES[1]], next_seq=1_004)
    with pytest.raises(PeerError, match="exceeds 65,507"):
        decode_packet(made + bytes(MAX_PACKET_BYTES))


@pytest.mark.parametrize("changes", [{"next_seq": -1}, {"number": 2**32}, {"listing": -1}])
def test_a_value_that_does_not_fit_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(NotRepresentableError, match="does not fit its fields"):
        packet(**changes)  # type: ignore[arg-type]


def test_a_packet_without_frames_is_not_made() -> None:
    with pytest.raises(NotRepresentableError):
        packet([])


def test_records_in_a_snapshot_are_refused() -> None:
    with pytest.raises(MalformedError, match="of kind 0x10 in a packet of a snapshot"):
        decode_packet(packet(flags=SNAPSHOT))


BOTH = [frame(payload("trades")), frame(payload("status")), frame(payload("gap"))]
LATEST = frame(payload("snapshot"))


@pytest.mark.parametrize(
    ("frames", "due", "is_snapshot"),
    [
        (BOTH, 1_001, False),
        (BOTH, 1_000, False),
        (BOTH, 1_001, True),
        ([frame(payload("loss")), frame(payload("heartbeat"))], 1_006, False),
        ([frame(payload("loss")), frame(payload("end"))], 1_006, False),
        ([frame(payload("end"))], 2_006, True),
        ([frame(payload("heartbeat"))], 2_006, True),
        ([frame(payload("instruments"))] * 2, 7, False),
        ([frame(payload("instruments")), *BOTH], 1_001, False),
        ([frame(payload("header")), frame(payload("instruments")), LATEST], 9, True),
        ([frame(payload("header"))], 1_001, False),
        ([LATEST, *BOTH], 1_001, False),
        ([frame(seal(b"\x1e\0\0\3\0" + bytes(5)))], 1, False),
        ([frame(seal(b"\x1e\2\0\3\0" + bytes(16)))], 1, True),
        ([frame(seal(b"\x1e\2\0\3\0" + b"\1" + bytes(15)))], 1, True),
        ([frame(seal(b"\x1e\2\0\3\0" + b"\1" + bytes(7)))], 1, True),
        ([frame(seal(b"\x30new"))], 1, False),
        ([frame(b"START")], 1, True),
        ([bytes(4)], 1, False),
    ],
)
def test_the_compiled_check_finds_what_the_plain_one_does(
    frames: list[bytes], due: int, is_snapshot: bool
) -> None:
    compiled = twins_of("fanout.protocol._speedups")
    data = b"head" + b"".join(frames)
    arguments = (4, len(frames), due, is_snapshot)
    same_outcome(compiled, PLAIN, "check_frames", data, *arguments)
    for size in range(len(data)):
        same_outcome(compiled, PLAIN, "check_frames", data[:size], *arguments)
    for place in range(4, len(data)):
        damaged = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
        same_outcome(compiled, PLAIN, "check_frames", damaged, *arguments)
    for count in (len(frames) - 1, len(frames) + 1):
        same_outcome(compiled, PLAIN, "check_frames", data, 4, count, due, is_snapshot)
    same_outcome(compiled, PLAIN, "check_frames", bytearray(data), *arguments)


def changed(header: Header, index: int, **fields: int) -> Header:
    instruments = list(header.instruments)
    instruments[index] = replace(instruments[index], **fields)
    return replace(header, instruments=tuple(instruments))


def test_a_listing_changes_with_what_blocks_need_and_its_sum_costs_only_the_changes() -> None:
    sums = ListingSums()
    before = sums(HEADER)
    assert ListingSums()(HEADER) == before == sums(HEADER)
    other = changed(HEADER, 1, lot=9)
    assert sums(other) == ListingSums()(other) != before
    shifted = replace(
        HEADER, references=(replace(HEADER.references[0], update_id=1), HEADER.references[1])
    )
    assert sums(shifted) == ListingSums()(shifted) not in (before, sums(other))
    assert sums(replace(HEADER, next_seq=5, venue="x", channels=())) == before
    one = replace(HEADER, instruments=HEADER.instruments[:1], references=HEADER.references[:1])
    assert sums(one) == ListingSums()(one) != before
    assert sums(HEADER) == before
