from collections.abc import Callable

import pytest
from hypothesis import given
from msgspec.structs import replace

from fanout.protocol import (
    Header,
    Instrument,
    MalformedError,
    NotRepresentableError,
    PeerError,
    Reference,
    decode_header,
    encode_header,
)
from fanout.protocol.constants import MAX_FRAME_BYTES
from fanout.protocol.framing import seal, unseal
from tests.protocol.golden import HEADER
from tests.protocol.strategies import headers

ZERO = Reference(price=0, quantity=0, trade_id=0, time=0)


def with_instrument(**changes: object) -> Header:
    return replace(
        HEADER, instruments=(replace(HEADER.instruments[0], **changes), HEADER.instruments[1])
    )


def of_size(count: int) -> Header:
    instruments = tuple(
        Instrument(index=i, symbol=f"S{i:0>63}", price_exponent=0, quantity_exponent=0)
        for i in range(count)
    )
    return replace(HEADER, instruments=instruments, references=(ZERO,) * count)


@given(headers())
def test_a_header_comes_back(header: Header) -> None:
    assert decode_header(encode_header(header)) == header


def test_127_instruments_with_the_longest_symbols_fit_a_frame() -> None:
    header = of_size(127)
    assert len(encode_header(header)) < MAX_FRAME_BYTES
    assert decode_header(encode_header(header)) == header


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(of_size(0), id="no instrument"),
        pytest.param(of_size(128), id="too many instruments"),
        pytest.param(replace(HEADER, references=(ZERO,)), id="a reference is missing"),
        pytest.param(replace(HEADER, epoch_ns=-1), id="negative epoch"),
        pytest.param(replace(HEADER, next_seq=2**64), id="next_seq over 64 bits"),
        pytest.param(replace(HEADER, next_seq=0), id="next_seq 0"),
        pytest.param(replace(HEADER, next_seq=2**63), id="next_seq over its limit"),
        pytest.param(replace(HEADER, venue=""), id="no venue"),
        pytest.param(replace(HEADER, venue="\x1b[31m"), id="venue with an escape sequence"),
        pytest.param(replace(HEADER, venue="v" * 33), id="venue too long"),
        pytest.param(replace(HEADER, venue="\ud800"), id="venue not UTF-8"),
        pytest.param(with_instrument(symbol=""), id="empty symbol"),
        pytest.param(with_instrument(symbol="币" * 22), id="symbol too long in UTF-8"),
        pytest.param(with_instrument(symbol="A B"), id="symbol with a space"),
        pytest.param(with_instrument(symbol="A\x1b[2J"), id="symbol with an escape sequence"),
        pytest.param(with_instrument(symbol="币安人生USDT"), id="a symbol twice"),
        pytest.param(with_instrument(index=1), id="indices out of order"),
        pytest.param(with_instrument(price_exponent=-19), id="price exponent too small"),
        pytest.param(with_instrument(quantity_exponent=9), id="quantity exponent too large"),
        pytest.param(with_instrument(time_exponent=-10), id="time exponent too small"),
        pytest.param(with_instrument(time_exponent=1), id="time exponent too large"),
        pytest.param(
            replace(HEADER, references=(replace(ZERO, price=2**63), ZERO)), id="price over 63 bits"
        ),
        pytest.param(
            replace(HEADER, references=(replace(ZERO, time=-1), ZERO)), id="negative time"
        ),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: Header) -> None:
    with pytest.raises(NotRepresentableError):
        encode_header(header)


def set_byte(offset: int, value: int) -> Callable[[bytearray], None]:
    def damage(body: bytearray) -> None:
        body[offset] = value

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(set_byte(0, 1), id="wire 1"),
        pytest.param(set_byte(0, 3), id="wire 3"),
        pytest.param(set_byte(18, 33), id="venue over its limit"),
        pytest.param(set_byte(31, 0), id="no instrument"),
        pytest.param(set_byte(31, 128), id="too many instruments"),
        pytest.param(set_byte(31, 3), id="more instruments than entries"),
        pytest.param(set_byte(32, 42), id="entry shorter than its fields"),
        pytest.param(set_byte(32, 255), id="entry longer than the body"),
        pytest.param(set_byte(76, 53), id="last entry a byte longer than the body"),
        pytest.param(set_byte(76, 255), id="last entry longer than the body"),
        pytest.param(set_byte(33, 0), id="empty symbol"),
        pytest.param(set_byte(33, 65), id="symbol over its limit"),
        pytest.param(set_byte(34, 0xFF), id="symbol not UTF-8"),
        pytest.param(set_byte(34, 0x07), id="symbol not printable"),
        pytest.param(set_byte(41, 9), id="price exponent too large"),
        pytest.param(set_byte(43, 1), id="time exponent too large"),
    ],
)
def test_a_damaged_header_with_a_right_crc_is_refused(damage: Callable[[bytearray], None]) -> None:
    body = bytearray(unseal(encode_header(HEADER)))
    damage(body)
    with pytest.raises(PeerError):
        decode_header(seal(body))


@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_another_wire_is_named(version: int) -> None:
    body = bytes([version]) + unseal(encode_header(HEADER))[1:]
    with pytest.raises(MalformedError, match=f"wire version {version}: this reader speaks 2"):
        decode_header(seal(body))


@pytest.mark.parametrize("indices", [(1, 0), (0, 0), (0, 2), (1, 2)])
def test_instruments_stand_in_the_order_of_their_indices(indices: tuple[int, int]) -> None:
    instruments = tuple(
        replace(each, index=index) for each, index in zip(HEADER.instruments, indices, strict=True)
    )
    with pytest.raises(NotRepresentableError, match="indices are not 0, 1, 2"):
        encode_header(replace(HEADER, instruments=instruments))


def test_a_symbol_that_stands_twice_is_refused() -> None:
    body = unseal(encode_header(with_instrument(symbol="币安人生USDX")))
    with pytest.raises(MalformedError, match="twice"):
        decode_header(seal(body.replace(b"USDX", b"USDT")))


def test_a_longer_entry_is_read_as_far_as_it_is_known() -> None:
    body = bytearray(unseal(encode_header(HEADER)))
    entry_end = 33 + body[32]
    body[32] += 5
    body[entry_end:entry_end] = b"later"
    assert decode_header(seal(body)) == HEADER


def test_what_is_said_of_a_symbol_that_stands_twice_is_short() -> None:
    instruments = tuple(
        replace(HEADER.instruments[0], index=index, symbol="X" * 64) for index in range(127)
    )
    header = replace(HEADER, instruments=instruments, references=HEADER.references[:1] * 127)
    with pytest.raises(NotRepresentableError, match=r"^symbol 'X{64}' stands twice$"):
        encode_header(header)
