"""What a TCP connection brings to a reader of packets, frame by frame."""

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    START,
    Header,
    PeerError,
    UnexpectedFrameError,
    encode_changes,
    frame,
    opening,
)
from fanout.protocol.constants import FrameKind
from fanout.protocol.recovery import RecoveryStream, is_before_stream
from tests.protocol.golden import HEADER, payload


def read(data: bytes, piece_bytes: int) -> list[tuple[int, bool, Header | None]]:
    """The kinds of the payloads, whether each changed the header, and the header."""
    stream, found = RecoveryStream(), []
    for at in range(0, len(data), piece_bytes):
        stream.feed(data[at : at + piece_bytes])
        while (got := stream.next_payload()) is not None:
            found.append((got[0], stream.is_new_header, stream.header))
    return found


@pytest.mark.parametrize("piece_bytes", [1, 50, 10_000])
def test_every_payload_has_the_header_that_is_in_force(piece_bytes: int) -> None:
    later = replace(
        HEADER, references=(replace(HEADER.references[0], price=5), *HEADER.references[1:])
    )
    (change,) = encode_changes(HEADER, later)
    bare = replace(HEADER, instruments=(), references=())
    frames = [frame(START), opening(HEADER), frame(payload("trades")), frame(change)]
    frames += [frame(payload("status")), opening(bare), frame(payload("heartbeat"))]
    assert read(b"".join(frames), piece_bytes) == [
        (START[0], False, None),
        (FrameKind.HEADER, False, None),
        (FrameKind.INSTRUMENTS, True, HEADER),
        (FrameKind.TRADES, False, HEADER),
        (FrameKind.INSTRUMENTS, True, later),
        (FrameKind.STATUS, False, later),
        (FrameKind.HEADER, True, bare),
        (FrameKind.HEARTBEAT, False, bare),
    ]


@pytest.mark.parametrize(
    "data",
    [
        frame(payload("header")),
        frame(START) + frame(payload("trades")),
        frame(START) + frame(payload("header")) + frame(payload("trades")),
        frame(START) + opening(HEADER) + frame(payload("end")) + frame(payload("trades")),
    ],
)
def test_a_frame_out_of_turn_is_refused(data: bytes) -> None:
    with pytest.raises(UnexpectedFrameError):
        read(data, 10_000)


def test_broken_frames_are_refused() -> None:
    with pytest.raises(PeerError):
        read(frame(START) + frame(payload("header")[:-1] + b"\0"), 10_000)


def test_an_opening_and_instruments_are_no_part_of_the_stream() -> None:
    names = ("header", "instruments", "trades", "status", "loss", "heartbeat", "end")
    assert [each for each in names if is_before_stream(payload(each))] == ["header", "instruments"]
    assert is_before_stream(START)
