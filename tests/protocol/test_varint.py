import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol.errors import MalformedError, NotRepresentableError
from fanout.protocol.varint import append_varint, read_varint, unzigzag, zigzag

U64 = st.integers(0, 2**64 - 1)


def spelled(value: int) -> bytes:
    out = bytearray()
    append_varint(out, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (2**64 - 1, "ffffffffffffffffff01"),
    ],
)
def test_a_value_has_the_published_spelling(value: int, data: str) -> None:
    assert spelled(value).hex() == data


@given(U64, st.binary(max_size=3), st.binary(max_size=3))
def test_a_value_comes_back_wherever_it_stands(value: int, before: bytes, after: bytes) -> None:
    data = before + spelled(value) + after
    assert read_varint(data, len(before)) == (value, len(data) - len(after))


@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_value_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(NotRepresentableError):
        append_varint(bytearray(), value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param("", "cut short", id="nothing"),
        pytest.param("80", "cut short", id="cut short"),
        pytest.param("ffffffffffffffffff", "cut short", id="cut short before the tenth byte"),
        pytest.param("8000", "longer than it needs to be", id="longer than it needs to be"),
        pytest.param("ffffffffffffffffff02", "exceeds 64 bits", id="over 64 bits"),
        pytest.param("8080808080808080808000", "exceeds 10 bytes", id="eleven bytes"),
        pytest.param("ffffffffffffffffffff", "exceeds 10 bytes", id="no end within ten bytes"),
        pytest.param("80" * 1_000, "exceeds 10 bytes", id="no end at all"),
    ],
)
def test_a_varint_without_an_end_is_refused_after_ten_bytes(data: str, said: str) -> None:
    for before in (b"", b"\x01\x80"):
        with pytest.raises(MalformedError, match=said):
            read_varint(before + bytes.fromhex(data), len(before))


@pytest.mark.parametrize(
    ("value", "folded"),
    [(0, 0), (-1, 1), (1, 2), (-2, 3), (2**63 - 1, 2**64 - 2), (-(2**63), 2**64 - 1)],
)
def test_zigzag_folds_small_values_of_either_sign_into_small_ones(value: int, folded: int) -> None:
    assert zigzag(value) == folded
    assert unzigzag(folded) == value


@given(U64, U64)
def test_every_value_can_follow_every_other(before: int, after: int) -> None:
    assert (before + unzigzag(zigzag(after - before))) % 2**64 == after
