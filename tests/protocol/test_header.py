"""The session header: what comes back, what is refused, and its instruments put together."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    DataKinds,
    Header,
    Instrument,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
    Reference,
    decode_header,
    decode_opening,
    encode_header,
    frame,
    opening,
)
from fanout.protocol.constants import MAX_FRAME_BYTES, MAX_SEQ
from fanout.protocol.framing import payloads_of, seal, unseal
from fanout.protocol.header import Gathering, Opener, with_next_seq
from tests.protocol.golden import HEADER, ROWS_HEADER
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
    assert decode_opening(opening(header)) == header


@given(headers(), st.integers(1, MAX_SEQ))
def test_another_number_is_due_in_the_same_header(header: Header, seq: int) -> None:
    other = encode_header(replace(header, next_seq=seq))
    assert with_next_seq(encode_header(header), seq) == other


@pytest.mark.parametrize("count", [0, 1, 1_024])
def test_up_to_1024_instruments_with_the_longest_symbols_come_back(count: int) -> None:
    header = of_size(count)
    assert decode_opening(opening(header)) == header
    assert all(len(each) <= MAX_FRAME_BYTES for each in payloads_of(opening(header)))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(of_size(1_025), id="too many instruments"),
        pytest.param(replace(HEADER, references=(ZERO,)), id="a reference is missing"),
        pytest.param(replace(HEADER, epoch_ns=-1), id="negative epoch"),
        pytest.param(replace(HEADER, next_seq=2**64), id="next_seq over 64 bits"),
        pytest.param(replace(HEADER, next_seq=0), id="next_seq 0"),
        pytest.param(replace(HEADER, next_seq=2**63), id="next_seq over its limit"),
        pytest.param(replace(HEADER, venue=""), id="no venue"),
        pytest.param(replace(HEADER, venue="\x1b[31m"), id="venue with an escape sequence"),
        pytest.param(replace(HEADER, venue="v" * 33), id="venue too long"),
        pytest.param(replace(HEADER, venue="\ud800"), id="venue not UTF-8"),
        pytest.param(replace(HEADER, channel="c" * 33), id="channel too long"),
        pytest.param(replace(HEADER, channel="Perps"), id="channel with a capital"),
        pytest.param(replace(HEADER, channel="-perps"), id="channel with a sign first"),
        pytest.param(replace(HEADER, channel="perps\n"), id="channel with a line break"),
        pytest.param(replace(HEADER, channels=("spot", "a b")), id="other channel with a blank"),
        pytest.param(replace(HEADER, channels=("spot", "spot")), id="other channel twice"),
        pytest.param(replace(HEADER, channels=("perps",)), id="its own among the others"),
        pytest.param(replace(HEADER, channels=tuple(map(str, range(256)))), id="too many channels"),
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
        pytest.param(with_instrument(contract_exponent=-19), id="contract exponent too small"),
        pytest.param(with_instrument(contract_mantissa=2**63), id="contract over 63 bits"),
        pytest.param(with_instrument(tick=-1), id="negative tick"),
        pytest.param(with_instrument(lot=2**64), id="lot over 64 bits"),
        pytest.param(with_instrument(base="B" * 33), id="base too long"),
        pytest.param(with_instrument(quote="US DT"), id="quote with a space"),
        pytest.param(
            replace(HEADER, references=(replace(ZERO, price=2**63), ZERO)), id="price over 63 bits"
        ),
        pytest.param(
            replace(HEADER, references=(replace(ZERO, time=-1), ZERO)), id="negative time"
        ),
        pytest.param(
            replace(HEADER, references=(replace(ZERO, update_id=2**64), ZERO)),
            id="update id over 64 bits",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: Header) -> None:
    with pytest.raises(NotRepresentableError):
        opening(header)


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
        pytest.param(set_byte(18, 0), id="no venue"),
        pytest.param(set_byte(31, 0), id="no channel"),
        pytest.param(set_byte(31, 33), id="channel over its limit"),
        pytest.param(set_byte(32, ord("P")), id="channel with a capital"),
        pytest.param(set_byte(39, 0x05), id="too many instruments"),
        pytest.param(set_byte(40, 2), id="more channels than names"),
        pytest.param(set_byte(41, 255), id="other channel longer than the body"),
        pytest.param(set_byte(42, ord(" ")), id="other channel with a blank"),
    ],
)
def test_a_damaged_header_with_a_right_crc_is_refused(damage: Callable[[bytearray], None]) -> None:
    body = bytearray(unseal(encode_header(HEADER)))
    damage(body)
    with pytest.raises(PeerError):
        decode_header(seal(body))


@pytest.mark.parametrize(
    ("venue", "channel"),
    [("binance-usdm", "binance-usdm"), ("Bï", "main"), ("v" * 33, "main")],
)
def test_a_channel_without_a_name_gets_the_venues_or_main(venue: str, channel: str) -> None:
    assert replace(HEADER, venue=venue, channel="").channel == channel


def test_the_limit_of_instruments_is_named() -> None:
    body = bytearray(unseal(encode_header(HEADER)))
    body[38:40] = (1_025).to_bytes(2, "little")
    with pytest.raises(LimitExceededError, match="1,025 instruments: at most 1,024 allowed"):
        decode_header(seal(body))


def test_unknown_kinds_of_data_are_ignored() -> None:
    body = bytearray(unseal(encode_header(HEADER)))
    body[37] |= 0xE0
    assert decode_header(seal(body))[0].data == DataKinds.TRADES | DataKinds.QUOTES
    reserved = replace(HEADER, data=DataKinds(0xE1))
    assert decode_opening(opening(reserved)).data == DataKinds.TRADES


@pytest.mark.parametrize("count", [1, 2, 256])
def test_the_names_of_columns_come_back(count: int) -> None:
    columns = tuple(f"{place:064}" for place in range(count))
    header = replace(ROWS_HEADER, columns=columns, channels=("perps", "spot"))
    assert decode_opening(opening(header)) == header


def test_a_header_without_columns_has_the_bytes_it_had_before_there_were_any() -> None:
    body = unseal(encode_header(ROWS_HEADER))
    named = b"".join(bytes([len(each)]) + each.encode() for each in ROWS_HEADER.columns)
    without = replace(ROWS_HEADER, data=DataKinds.TRADES, columns=())
    assert body == unseal(encode_header(without)).replace(b"\x01\2\0\0", b"\x10\2\0\0") + (
        b"\3\0" + named
    )


def test_a_reader_from_before_there_were_columns_ignores_them() -> None:
    """It masks the kinds of data, and takes the names for bytes of a later version."""
    body = bytearray(unseal(encode_header(ROWS_HEADER)))
    body[body.index(b"features") + 8] = DataKinds.TRADES
    header, _ = decode_header(seal(body))
    assert (header.data, header.columns) == (DataKinds.TRADES, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ()}, "0 columns in a channel with rows of features: 1 to 256 with rows"),
        ({"data": DataKinds.TRADES}, "3 columns in a channel without rows of features"),
        ({"columns": tuple(f"c{i}" for i in range(257))}, "257 columns in a channel with rows"),
        ({"columns": ("a", "b", "a")}, "column 'a' stands twice"),
        *(
            ({"columns": (name,)}, f"column name '{name}': 1 to 64 characters of a-z 0-9 _ are")
            for name in ("", "Mid", "a-b", "a b", "é")
        ),
        ({"columns": ("x" * 65,)}, "column name 'x+': 1 to 64"),
    ],
)
def test_columns_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NotRepresentableError, match=message):
        encode_header(replace(ROWS_HEADER, **changes))


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


def test_the_message_about_a_repeated_symbol_is_short() -> None:
    instruments = tuple(
        replace(HEADER.instruments[0], index=index, symbol="X" * 64) for index in range(127)
    )
    header = replace(HEADER, instruments=instruments, references=HEADER.references[:1] * 127)
    with pytest.raises(NotRepresentableError, match=r"^symbol 'X{64}' stands twice$"):
        encode_header(header)


def test_a_header_is_gathered_run_by_run() -> None:
    payload, *runs = payloads_of(opening(of_size(1_024)))
    gathering = Gathering.begin(payload)
    assert len(runs) > 1
    for run in runs:
        assert not gathering.is_complete
        gathering = gathering.add(run)
    assert gathering.is_complete
    assert gathering.header == of_size(1_024)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([1, 0], "from index [0-9]+ on, where 0 are known"),
        ([0, 0], "from index 0 on, where [0-9]+ are known"),
    ],
)
def test_runs_behind_a_header_come_in_order_and_once(order: list[int], message: str) -> None:
    payload, *runs = payloads_of(opening(of_size(1_024)))
    gathering = Gathering.begin(payload)
    first, second = order
    if first == 0:
        gathering = gathering.add(runs[0])
        first = second
    with pytest.raises(MalformedError, match=message):
        gathering.add(runs[first])


def test_instruments_that_the_header_did_not_announce_are_refused() -> None:
    frames = (
        frame(encode_header(of_size(1)))
        + opening(of_size(2))[len(frame(encode_header(of_size(2)))) :]
    )
    with pytest.raises(MalformedError, match="2 instruments: the header announced 1"):
        decode_opening(frames)


def test_an_opening_without_all_its_instruments_is_refused() -> None:
    for frames in (b"", frame(encode_header(HEADER))):
        with pytest.raises(MalformedError):
            decode_opening(frames)


def test_an_opener_makes_the_same_frames_whatever_it_made_before() -> None:
    opener = Opener()
    grown = of_size(5)
    changed = replace(
        grown, instruments=(*grown.instruments[:4], replace(grown.instruments[4], tick=5))
    )
    asked = [HEADER, replace(HEADER, next_seq=5), of_size(3), grown, changed, of_size(0), HEADER]
    for before, header in pairwise([HEADER, *asked]):
        opener(before)
        assert opener(header) == opening(header)
