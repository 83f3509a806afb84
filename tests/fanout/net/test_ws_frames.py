"""The fast path yields the same messages as the protocol core, however the stream is cut and for
all kinds of frames in between."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from fanout.errors import VenueUnreachableError
from fanout.net.websocket import MAX_MESSAGE_BYTES, WebSocket
from fanout.net.ws_frames import frame_bytes, take_texts
from tests.thoroughness import examples

URI = parse_uri("ws://venue/")


def header(first: int, length: int, masked: int = 0) -> bytes:
    if length < 126:
        return bytes((first, masked | length))
    if length < 2**16:
        return bytes((first, masked | 126)) + length.to_bytes(2, "big")
    return bytes((first, masked | 127)) + length.to_bytes(8, "big")


def text(length: int) -> bytes:
    return header(0x81, length) + b"t" * length


TEXTS = st.sampled_from([0, 1, 125, 126, 170, 65_535, 65_536, 70_000]).map(text)
WIDE = st.binary(max_size=9).map(lambda data: bytes((0x81, 126)) + len(data).to_bytes(2) + data)
FRAGMENTED = st.lists(st.binary(max_size=200), min_size=2, max_size=4).map(
    lambda parts: b"".join(
        header((0x80 if place == len(parts) - 1 else 0) | (0 if place else 1), len(part)) + part
        for place, part in enumerate(parts)
    )
)
PINGED = st.binary(max_size=125).map(lambda data: header(0x89, len(data)) + data)
CLOSE = st.just(header(0x88, 5) + b"\x03\xe8bye")
WRONG = st.sampled_from(
    [
        header(0x81, 3, masked=0x80) + b"maskabc",
        header(0xC1, 3) + b"rsv",
        header(0x83, 1) + b"?",
        header(0x80, 1) + b"c",
        header(0x01, 1) + b"f" + text(3),
        header(0x82, 4) + b"bina",
        header(0x81, MAX_MESSAGE_BYTES + 1),
        b"\x81\x7f" + b"\xff" * 8,
        b"\x09\x00",
    ]
) | st.binary(min_size=1, max_size=20)
USUAL = TEXTS | TEXTS | WIDE | FRAGMENTED | PINGED
STREAMS = st.tuples(
    st.lists(USUAL, max_size=8), st.just(b"") | CLOSE | WRONG, st.lists(USUAL, max_size=2)
).map(lambda parts: b"".join((*parts[0], parts[1], *parts[2])))


class Script(trio.abc.Stream):
    """A venue that accepts, sends pieces, and ends."""

    def __init__(self, pieces: Sequence[bytes], *, in_one: bool) -> None:
        self._pieces = list(pieces)
        self._in_one = in_one

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if bytes(data).startswith(b"GET"):
            accepted = answer(bytes(data))
            first = self._pieces.pop(0) if self._in_one and self._pieces else b""
            self._pieces.insert(0, accepted + first)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    async def wait_send_all_might_not_block(self) -> None: ...
    async def aclose(self) -> None: ...


def answer(request: bytes) -> bytes:
    server = ServerProtocol()
    server.receive_data(request)
    (parsed,) = server.events_received()
    server.send_response(server.accept(parsed))  # type: ignore[arg-type]
    return b"".join(server.data_to_send())


async def heard(stream: Script) -> tuple[list[bytes], str]:
    """All messages, and how the connection ended."""
    messages: list[bytes] = []
    client = WebSocket(stream, ClientProtocol(URI, max_size=MAX_MESSAGE_BYTES))
    await client.open()
    while True:
        try:
            messages += (await client.receive()).messages
        except VenueUnreachableError as error:
            return messages, str(error)


def heard_by_the_core(data: bytes) -> list[bytes]:
    core = ClientProtocol(URI, max_size=MAX_MESSAGE_BYTES)
    core.send_request(core.connect())
    core.receive_data(answer(b"".join(core.data_to_send())))
    core.events_received()
    core.receive_data(data)
    messages: list[bytes] = []
    parts: list[bytes] = []
    for event in core.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            parts.append(bytes(event.data))
            if event.fin:
                messages.append(b"".join(parts))
                parts.clear()
    return messages


@settings(max_examples=examples(70), deadline=None)
@given(STREAMS, st.data(), st.booleans())
def test_the_fast_path_yields_the_cores_messages_however_the_stream_is_cut(
    data: bytes, chance: st.DataObject, in_one: bool
) -> None:
    near = st.integers(0, min(len(data), 300)) | st.integers(0, len(data))
    cuts = sorted({0, len(data), *chance.draw(st.lists(near, max_size=8))})
    pieces = [data[start:end] for start, end in pairwise(cuts)]
    messages, why = trio.run(heard, Script(pieces, in_one=in_one))
    assert messages == heard_by_the_core(data)
    assert (messages, why) == trio.run(heard, Script([data] if data else [], in_one=False))


@pytest.mark.parametrize("in_one", [True, False])
async def test_a_stream_fed_byte_by_byte_is_decoded(in_one: bool) -> None:
    data = text(3) + header(0x89, 2) + b"pi" + text(200) + header(0x01, 1) + b"a"
    data += header(0x89, 0) + header(0x80, 1) + b"b" + text(0)
    pieces = [bytes((byte,)) for byte in data]
    messages, _ = await heard(Script(pieces, in_one=in_one))
    assert messages == [b"ttt", b"t" * 200, b"ab", b""]


def test_the_fast_path_stops_at_the_first_other_frame() -> None:
    messages: list[bytes] = []
    data = text(2) + text(130) + header(0x89, 0) + text(2)
    assert take_texts(data, 0, messages) == len(text(2) + text(130))
    assert messages == [b"tt", b"t" * 130]


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 2**62])
@pytest.mark.parametrize("masked", [0, 0x80])
def test_the_length_of_a_frame_follows_from_its_header(length: int, masked: int) -> None:
    head = header(0x82, length, masked)
    for end in range(len(head)):
        assert frame_bytes(b"x" + head[:end], 1) is None
    size = len(head) + (4 if masked else 0) + length
    assert frame_bytes(b"x" + head + b"more", 1) == size
