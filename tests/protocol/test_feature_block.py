"""Blocks of rows of features: what is beside that which holds for all blocks (`test_blocks`)."""

import math
from decimal import Decimal
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    MAX_BLOCK_ROWS,
    MAX_BLOCK_VALUES,
    MAX_COLUMNS,
    MAX_FRAME_BYTES,
    Absence,
    FeatureBlock,
    FeatureRow,
    Header,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    decode_features,
    encode_features,
)
from fanout.protocol.constants import MAX_ROW_BYTES
from fanout.protocol.framing import seal, unseal
from tests.protocol.golden import BTC, FEATURES, HEADER, ROWS_HEADER
from tests.protocol.strategies import feature_blocks, row_headers
from tests.thoroughness import examples

HEAD_AT = 24
"""Where the first row's head is: `held_ns` takes three bytes."""

BITMAP_AT = HEAD_AT + 4
VALUES_AT = BITMAP_AT + 1


def as_received(block: FeatureBlock) -> list[FeatureRow]:
    """The rows as a reader gets them: numbered, and with what the block says."""
    return [
        replace(row, seq=block.first_seq + place, received_ns=block.received_ns)
        for place, row in enumerate(block.rows)
    ]


def row_of(*values: float | None, codes: bytes = b"") -> FeatureRow:
    return FeatureRow(BTC, 5, values, codes or bytes(len(values)))


def one(row: FeatureRow) -> FeatureBlock:
    return FeatureBlock(first_seq=1, rows=[row], received_ns=9)


def header_of(count: int) -> Header:
    return replace(ROWS_HEADER, columns=tuple(f"c{place}" for place in range(count)))


@given(row_headers().flatmap(lambda header: st.tuples(st.just(header), feature_blocks(header))))
def test_any_rows_come_back_exactly(both: tuple[Header, FeatureBlock]) -> None:
    header, block = both
    got = decode_features(encode_features(block, header), header)
    assert got == replace(block, rows=as_received(block))
    assert repr(got.rows) == repr(as_received(block)), "the sign of a zero, too"


@settings(max_examples=examples(25))
@given(
    row_headers().flatmap(
        lambda header: st.tuples(st.just(header), st.lists(feature_blocks(header), min_size=2))
    )
)
def test_any_block_decodes_alone_and_in_any_order(
    both: tuple[Header, list[FeatureBlock]],
) -> None:
    header, many = both
    payloads = [encode_features(each, header) for each in many]
    for block, data in reversed(list(zip(many, payloads, strict=True))):
        assert decode_features(data, header).rows == as_received(block)


@pytest.mark.parametrize("columns", [1, 14, 15, 18, 255, MAX_COLUMNS])
def test_the_worst_block_fits_a_frame(columns: int) -> None:
    instruments = tuple(replace(BTC, index=i, symbol=str(i)) for i in range(33))
    header = replace(
        header_of(columns), instruments=instruments, references=HEADER.references[:1] * 33
    )
    most = min(MAX_BLOCK_ROWS, MAX_BLOCK_VALUES // columns)
    times = (2**63, 0)
    worst = [
        FeatureRow(instruments[32], times[i % 2], (0.5,) * columns, bytes(columns))
        for i in range(most)
    ]
    block = FeatureBlock(first_seq=1, rows=worst, received_ns=0, held_ns=2**64 - 1)
    data = encode_features(block, header)
    assert len(data) <= 35 + most * MAX_ROW_BYTES + most * columns * 8 + most * columns // 8
    assert len(data) <= MAX_FRAME_BYTES
    assert decode_features(data, header).rows == as_received(block)
    with pytest.raises(NotRepresentableError, match="rows"):
        encode_features(replace(block, rows=[*worst, *worst[:1]]), header)


def test_a_block_of_the_most_values_takes_all_but_some_bytes_of_a_frame() -> None:
    """The limits are not lower than they need to be."""
    worst = 35 + MAX_BLOCK_ROWS * MAX_ROW_BYTES + MAX_BLOCK_VALUES * 8 + MAX_BLOCK_VALUES // 8
    assert MAX_FRAME_BYTES - 1_024 < worst <= MAX_FRAME_BYTES


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ((math.nan, 1.0, 1.0), bytes(3)),
        ((1.0, math.inf, 1.0), bytes(3)),
        ((1.0, math.inf, -math.inf), bytes(3)),
        ((1.0, 1.0, -math.inf), bytes(3)),
        ((None, math.nan, 1.0), bytes([1, 0, 0])),
        ((1.0, None, 1.0), bytes(3)),
        ((1.0, 2.0, 1.0), bytes([0, 1, 0])),
        ((None, 2.0, None), bytes([0, 1, 0])),
        ((None, 2.0, 1.0), bytes([10, 0, 0])),
        ((None, 2.0, 1.0), bytes([254, 0, 0])),
        ((1.0, "2", 1.0), bytes(3)),
        ((1.0, 10**400, 1.0), bytes(3)),
        ((1.0, Decimal("NaN"), 1.0), bytes(3)),
        ((1.0, 1j, 1.0), bytes(3)),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_named(
    values: tuple[Any, ...], codes: bytes
) -> None:
    fits = [
        isinstance(v, float) and math.isfinite(v) if not c else v is None and c < 10
        for v, c in zip(values, codes, strict=True)
    ]
    column = ROWS_HEADER.columns[fits.index(False)]
    with pytest.raises(NotRepresentableError, match=f"^BTCUSDT: {column} is .* with absence "):
        encode_features(one(row_of(*values, codes=codes)), ROWS_HEADER)


def test_a_sum_that_overflows_is_no_fault_of_its_terms() -> None:
    row = row_of(1.7e308, 1.7e308, None, codes=bytes([0, 0, Absence.EMPTY]))
    data = encode_features(one(row), ROWS_HEADER)
    assert decode_features(data, ROWS_HEADER).rows[0].values == row.values


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_row_of_another_number_of_values_is_refused(count: int) -> None:
    said = f"row of {count} values and {count} absences, in a channel of 3 columns"
    with pytest.raises(NotRepresentableError, match=said):
        encode_features(one(row_of(*[1.0] * count)), ROWS_HEADER)
    with pytest.raises(NotRepresentableError, match="3 values and 2 absences"):
        encode_features(one(row_of(1.0, 1.0, 1.0, codes=bytes(2))), ROWS_HEADER)


@pytest.mark.parametrize("time_ns", [-1, 2**64])
def test_a_time_that_does_not_fit_is_refused(time_ns: int) -> None:
    row = replace(row_of(1.0, 1.0, 1.0), time_ns=time_ns)
    with pytest.raises(NotRepresentableError, match=f"BTCUSDT: time_ns {time_ns} does not fit"):
        encode_features(one(row), ROWS_HEADER)


def test_a_channel_without_columns_has_no_rows() -> None:
    with pytest.raises(NotRepresentableError, match="in a channel of 0 columns"):
        encode_features(one(row_of()), HEADER)
    with pytest.raises(MalformedError, match="in a channel without columns"):
        decode_features(encode_features(FEATURES, ROWS_HEADER), HEADER)


def test_more_values_than_a_block_has_are_refused_before_anything_is_read() -> None:
    body = bytearray(unseal(encode_features(one(row_of(*[1.0] * 256)), header_of(256))))
    body[3] = 29
    with pytest.raises(LimitExceededError, match="29 rows of 256 columns: at most 7,168 values"):
        decode_features(seal(body), header_of(256))


def test_a_block_that_ends_within_a_row_is_refused() -> None:
    body = unseal(encode_features(FEATURES, ROWS_HEADER))
    for size in range(HEAD_AT, len(body)):
        with pytest.raises(MalformedError, match="cut short"):
            decode_features(seal(body[:size]), ROWS_HEADER)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_value_that_is_not_finite_is_refused(value: str) -> None:
    body = bytearray(unseal(encode_features(FEATURES, ROWS_HEADER)))
    body[VALUES_AT : VALUES_AT + 8] = pack("<d", float(value))
    with pytest.raises(MalformedError, match="row 1001 has a value that is not finite"):
        decode_features(seal(body), ROWS_HEADER)


def test_an_absence_without_a_reason_is_refused_and_an_unknown_one_is_another() -> None:
    row = row_of(None, 1.0, None, codes=bytes([Absence.LOST, 0, Absence.EMPTY]))
    body = bytearray(unseal(encode_features(one(row), ROWS_HEADER)))
    body[-1] = 77
    assert decode_features(seal(body), ROWS_HEADER).rows[0].absences == bytes([3, 0, 255])
    body[-1] = 0
    with pytest.raises(MalformedError, match="row 1 has no reason why value 2 is absent"):
        decode_features(seal(body), ROWS_HEADER)


def test_what_is_reserved_is_ignored() -> None:
    whole = decode_features(encode_features(FEATURES, ROWS_HEADER), ROWS_HEADER)
    body = bytearray(unseal(encode_features(FEATURES, ROWS_HEADER)))
    body[2] = 77
    assert decode_features(seal(body), ROWS_HEADER) == whole
    body[2], body[HEAD_AT], body[BITMAP_AT] = 0, body[HEAD_AT] | 0xC0, body[BITMAP_AT] | 0xF8
    assert decode_features(seal(body), ROWS_HEADER) == whole


def test_a_row_has_the_symbol_of_its_instrument() -> None:
    assert FEATURES.rows[0].symbol == "BTCUSDT"
    assert FEATURES.records is FEATURES.rows
