import itertools
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol.constants import MAX_FRAME_BYTES
from fanout.protocol.errors import ChecksumError, LimitExceededError, MalformedError
from fanout.protocol.framing import FrameReader, frame, payloads_of, seal, unseal

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def drain(reader: FrameReader) -> list[bytes]:
    return list(iter(reader.next_payload, None))


@given(PAYLOADS, st.lists(st.integers(0, 400), max_size=10))
def test_any_split_of_the_stream_gives_the_same_payloads(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(frame, payloads))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader, got = FrameReader(), []
    for start, end in itertools.pairwise(edges):
        reader.feed(stream[start:end])
        got += drain(reader)
    assert got == payloads
    reader.feed(frame(b"next"))
    assert drain(reader) == [b"next"], "nothing was left over"


def test_byte_by_byte_a_payload_comes_with_its_last_byte_and_not_before() -> None:
    reader = FrameReader()
    stream = frame(b"abc")
    for byte in stream[:-1]:
        reader.feed(bytes([byte]))
        assert reader.next_payload() is None
    reader.feed(stream[-1:])
    assert reader.next_payload() == b"abc"


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_at_once(length: int) -> None:
    reader = FrameReader()
    reader.feed(frame(b"good") + pack("<I", length))
    assert reader.next_payload() == b"good"
    with pytest.raises(LimitExceededError, match=f"{length:,}"):
        reader.next_payload()


def test_a_reader_begins_with_nothing() -> None:
    reader = FrameReader()
    assert reader.next_payload() is None
    assert payloads_of(b"") == []


def test_the_longest_payload_passes() -> None:
    reader = FrameReader()
    reader.feed(frame(bytes(MAX_FRAME_BYTES)))
    assert reader.next_payload() == bytes(MAX_FRAME_BYTES)


@pytest.mark.parametrize("size", [0, MAX_FRAME_BYTES + 1])
def test_a_payload_out_of_bounds_is_not_framed(size: int) -> None:
    with pytest.raises(LimitExceededError):
        frame(bytes(size))


def test_memory_of_payloads_that_were_taken_is_given_back() -> None:
    reader = FrameReader()
    for _ in range(100):
        reader.feed(frame(bytes(60_000)))
        drain(reader)
    assert len(reader._buffer) <= 60_004


@given(st.binary(min_size=1, max_size=100))
def test_unseal_undoes_seal(body: bytes) -> None:
    assert unseal(seal(body)) == body


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_flipped_bit_breaks_the_seal(body: bytes, data: st.DataObject) -> None:
    payload = bytearray(seal(body))
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ChecksumError):
        unseal(bytes(payload))


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\0", b"abc"])
def test_a_payload_without_a_body_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        unseal(payload)


def test_payloads_of_whole_frames_are_taken_at_once() -> None:
    assert payloads_of(frame(b"one") + frame(b"two") + b"\3\0\0\0t") == [b"one", b"two"]
    with pytest.raises(LimitExceededError):
        payloads_of(frame(b"one") + bytes(4))
