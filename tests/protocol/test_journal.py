"""The bytes around the frames of a journal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.errors import MalformedError, NotRepresentableError, PeerError
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX,
    INDEX_MAGIC,
    PACKED,
    PART,
    PLACE_BYTES,
    SEGMENT,
    FileHeader,
    Place,
    PlaceKind,
    decode_file_header,
    decode_places,
    encode_file_header,
    encode_places,
    number_in,
    numbered,
    segments_in,
)

HEADER = FileHeader(epoch_ns=1795219200000000000, first_seq=1001, created_ns=1795219260000000000)
GOLDEN = bytes.fromhex(
    "66616e6f7574464a 0100 4000 00000000 0000f6d559e6e918 e903000000000000 00583dce67e6e918"
    + 20 * "00"
    + "a0f2d96b"
)

u64 = st.integers(0, U64_MAX)
headers = st.builds(FileHeader, epoch_ns=u64, first_seq=st.integers(1, MAX_SEQ), created_ns=u64)


def test_a_segment_begins_with_these_bytes() -> None:
    assert encode_file_header(HEADER) == GOLDEN
    assert decode_file_header(GOLDEN) == HEADER


@given(headers, st.sampled_from([b"fanoutFJ", INDEX_MAGIC]))
def test_each_header_comes_back(header: FileHeader, magic: bytes) -> None:
    data = encode_file_header(header, magic)
    assert len(data) == FILE_HEADER_BYTES
    assert decode_file_header(data + b"frames", magic) == header


@given(st.integers(0, 8 * FILE_HEADER_BYTES - 1))
def test_each_flipped_bit_of_a_header_is_noticed(bit: int) -> None:
    data = bytearray(GOLDEN)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerError):
        decode_file_header(bytes(data))


def test_a_header_that_is_cut_short_or_of_another_file_is_refused() -> None:
    for size in range(FILE_HEADER_BYTES):
        with pytest.raises(MalformedError, match="64 stand before"):
            decode_file_header(GOLDEN[:size])
    with pytest.raises(MalformedError, match="and not with b'fanoutFI'"):
        decode_file_header(GOLDEN, INDEX_MAGIC)
    with pytest.raises(MalformedError, match="version 2"):
        decode_file_header(GOLDEN[:8] + b"\x02" + GOLDEN[9:])


@pytest.mark.parametrize(
    "header",
    [
        FileHeader(epoch_ns=-1, first_seq=1, created_ns=0),
        FileHeader(epoch_ns=0, first_seq=0, created_ns=0),
        FileHeader(epoch_ns=0, first_seq=MAX_SEQ + 1, created_ns=0),
        FileHeader(epoch_ns=0, first_seq=1, created_ns=U64_MAX + 1),
    ],
)
def test_a_header_that_does_not_fit_is_not_written(header: FileHeader) -> None:
    with pytest.raises(NotRepresentableError):
        encode_file_header(header)


def place(number: int, **changes: int) -> Place:
    values = {
        "seq": 10 * number + 1,
        "time_ns": 1000 * number,
        "offset": 100 * number + 200,
        "opening": 73,
    } | changes
    return Place(**values, kind=PlaceKind.FRAME)


PLACES = [place(number) for number in range(5)]


def test_places_come_back_as_far_as_they_are_whole_and_right() -> None:
    data = encode_places(PLACES)
    assert len(data) == 5 * PLACE_BYTES
    assert decode_places(data) == PLACES
    for cut in range(len(data)):
        assert decode_places(data[:cut]) == PLACES[: cut // PLACE_BYTES]
        damaged = data[:cut] + bytes([data[cut] ^ 1]) + data[cut + 1 :]
        assert decode_places(damaged) == PLACES[: cut // PLACE_BYTES]


@pytest.mark.parametrize(
    "wrong",
    [
        place(2, seq=1),
        place(2, time_ns=999),
        place(2, offset=299),
        place(2, opening=63),
        place(2, opening=401),
    ],
)
def test_places_that_go_back_are_of_no_use(wrong: Place) -> None:
    assert decode_places(encode_places([*PLACES[:2], wrong, *PLACES[3:]])) == PLACES[:2]


def test_an_unknown_kind_of_place_is_a_frame() -> None:
    data = encode_places([Place(seq=1, time_ns=0, offset=73, opening=73, kind=PlaceKind.CHANGE)])
    assert decode_places(data)[0].kind is PlaceKind.CHANGE
    newer = Place(seq=1, time_ns=0, offset=73, opening=73, kind=77)  # type: ignore[arg-type]
    assert decode_places(encode_places([newer]))[0].kind is PlaceKind.FRAME


@given(u64)
def test_names_sort_as_numbers_do(number: int) -> None:
    assert number_in(numbered(number)) == number
    assert number_in(numbered(number, SEGMENT), SEGMENT) == number
    assert (numbered(number) < numbered(number // 2 + 1)) == (number < number // 2 + 1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1.fj",
        "00000000000000000001",
        "00000000000000000001.fi",
        "0000000000000000000x.fj",
        "\u0660" * 20 + ".fj",
        "lock",
        f"{2**64}.fj",
    ],
)
def test_other_names_are_no_segments(name: str) -> None:
    assert number_in(name, SEGMENT) is None
    assert INDEX != SEGMENT


def test_of_a_segment_with_two_files_the_uncompressed_one_counts() -> None:
    names = [numbered(3, PACKED), numbered(2, PACKED), numbered(2, SEGMENT), numbered(1, SEGMENT)]
    others = [numbered(9, INDEX), numbered(0, SEGMENT), "lock", numbered(9, PACKED + PART)]
    expected = {1: SEGMENT, 2: SEGMENT, 3: PACKED}
    for each in (names, names[::-1]):
        found = segments_in([*each, *others])
        assert found == expected
        assert list(found) == [1, 2, 3]
