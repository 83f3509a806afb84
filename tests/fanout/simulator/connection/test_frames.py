"""Frames, read back by a library that shares no code with us."""

import json

import pytest
from wsproto.frame_protocol import Frame, FrameProtocol, Opcode

from fanout.simulator.connection.frames import binary_frame, event_frame, text_frame


def read(data: bytes) -> Frame:
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(data)
    (frame,) = protocol.received_frames()
    return frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_frame_is_read_back_whole_at_every_kind_of_length(size: int) -> None:
    frame = read(text_frame(b"x" * size))
    assert (frame.opcode, frame.payload) == (Opcode.TEXT, "x" * size)
    assert frame.message_finished
    frame = read(binary_frame(b"\xff" * size))
    assert (frame.opcode, frame.payload) == (Opcode.BINARY, b"\xff" * size)


def test_golden_bytes() -> None:
    assert text_frame(b"hi") == bytes.fromhex("81 02 6869")
    assert binary_frame(b"\0" * 126) == bytes.fromhex("82 7e 007e") + b"\0" * 126
    assert text_frame(b"x" * 65_536)[:10] == bytes.fromhex("81 7f 0000000000010000")


def test_an_event_is_spelled_as_the_documented_one_is() -> None:
    frame = read(event_frame("serverShutdown", {}, 1_770_123_456_789, combined=True))
    assert json.loads(frame.payload) == {
        "stream": "!serverShutdown",
        "data": {"e": "serverShutdown", "E": 1_770_123_456_789},
    }
