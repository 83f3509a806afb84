"""Rows of features as arrays and tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.columns import (
    feature_dtype,
    features_in,
    to_arrow,
    to_pandas,
    to_polars,
    write_parquet,
)
from fanout.clients.columns.features import RESERVED
from fanout.clients.columns.npy import batches_of, npy_header
from fanout.protocol import Absence, CallerError, FeatureRow, Header, NotRepresentableError
from tests.protocol.golden import FEATURES, QUOTES, ROWS_HEADER
from tests.protocol.strategies import feature_rows, row_headers

ROWS = FEATURES.rows


def as_row(row: FeatureRow, header: Header) -> list[Any]:
    """What the array has of a row, field by field, with the nan of an absent value as None."""
    return [
        *(row.seq, row.time_ns, *row.values, row.received_ns, header.epoch_ns),
        *(list(row.absences), row.symbol),
    ]


def as_lists(rows: Any) -> list[list[Any]]:
    return [
        [*(None if each != each else each for each in row[:-2]), list(row[-2]), row[-1]]
        for row in rows.tolist()
    ]


def test_rows_are_laid_out_as_documented() -> None:
    assert feature_dtype(("mid", "wap"), 9) == np.dtype(
        [
            *(("seq", "<u8"), ("time_ns", "<u8"), ("mid", "<f8"), ("wap", "<f8")),
            *(("received_ns", "<u8"), ("epoch_ns", "<u8")),
            *(("absences", "u1", (2,)), ("symbol", "<U9")),
        ]
    )


@pytest.mark.parametrize("name", RESERVED)
def test_a_column_with_the_name_of_a_field_is_refused(name: str) -> None:
    with pytest.raises(CallerError, match=f"column {name} has the name of a field"):
        feature_dtype(("mid", name), 9)


@given(
    row_headers()
    .filter(lambda header: not {*header.columns} & {*RESERVED})
    .flatmap(lambda h: st.tuples(st.just(h), st.lists(feature_rows(h), max_size=5)))
)
def test_a_row_has_every_value_and_every_reason(both: tuple[Header, list[FeatureRow]]) -> None:
    header, many = both
    rows = features_in(many, header)
    assert as_lists(rows) == [as_row(each, header) for each in many]


def test_rows_are_found_among_other_records() -> None:
    rows = features_in([*QUOTES.quotes, *ROWS], ROWS_HEADER)
    assert rows["seq"].tolist() == [1_001, 1_002, 1_003]
    assert rows["absences"].shape == (3, 3)
    assert len(features_in(QUOTES.quotes, ROWS_HEADER)) == 0
    nobody = replace(ROWS_HEADER, instruments=(), references=())
    assert features_in([], nobody).dtype["symbol"] == np.dtype("<U1")


def test_rows_of_another_header_are_refused() -> None:
    other = replace(ROWS_HEADER, columns=("mid",))
    with pytest.raises(CallerError, match="row 1001 of BTCUSDT has 3 values, and the header 1"):
        features_in(ROWS, other)


def test_arrow_has_null_where_there_is_no_value_and_says_why() -> None:
    pytest.importorskip("pyarrow")
    table = to_arrow(features_in(ROWS, ROWS_HEADER))
    assert table.column_names == [
        *("seq", "symbol", "time", *ROWS_HEADER.columns, "absences", "received_ns", "epoch_ns")
    ]
    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    assert table["time"].cast("int64").to_pylist() == [each.time_ns for each in ROWS]
    for place, name in enumerate(ROWS_HEADER.columns):
        assert table[name].to_pylist() == [each.values[place] for each in ROWS]
    nothing = dict.fromkeys(ROWS_HEADER.columns)
    assert table["absences"].to_pylist() == [
        nothing,
        {**nothing, "mid": "ONE_SIDED", "spread_bps": "ONE_SIDED"},
        {**nothing, "order_flow_imbalance_1000ms": "WARMING_UP"},
    ]


def test_columns_may_have_the_names_that_fields_of_other_rows_have() -> None:
    pytest.importorskip("pyarrow")
    header = replace(ROWS_HEADER, columns=("price", "kind", "time_exponent"))
    table = to_arrow(features_in(ROWS[:1], header), values="float")
    assert [table[name].to_pylist() for name in header.columns] == [
        [83_091.65],
        [0.125],
        [-1_478.0],
    ]


def test_a_reason_that_nobody_knows_is_another() -> None:
    pytest.importorskip("pyarrow")
    rows = features_in(ROWS, ROWS_HEADER)
    rows["absences"][0] = [77, Absence.EMPTY, 0]
    assert list(to_arrow(rows)["absences"].to_pylist()[0].values()) == ["OTHER", "EMPTY", None]


def test_times_that_do_not_fit_a_unit_are_refused() -> None:
    pytest.importorskip("pyarrow")
    rows = features_in(ROWS, ROWS_HEADER)
    whole = to_arrow(rows[:2], time_unit="ms")
    assert whole["time"].cast("int64").to_pylist() == [1_791_382_992_840] * 2
    with pytest.raises(NotRepresentableError, match=r"no timestamps\[us\]"):
        to_arrow(rows, time_unit="us")
    rows["time_ns"][0] = 2**63
    with pytest.raises(NotRepresentableError, match=r"9223372036854775808 ns are no timestamps"):
        to_arrow(rows)
    assert to_arrow(rows[:0])["time"].to_pylist() == []


def test_frames_of_polars_and_pandas_have_them_too() -> None:
    pytest.importorskip("polars")
    pytest.importorskip("pandas")
    frame = to_polars(features_in(ROWS, ROWS_HEADER))
    assert frame["mid"].to_list() == [83_091.65, None, 83_091.65]
    assert frame["absences"].struct.field("mid").to_list() == [None, "ONE_SIDED", None]
    table = to_pandas(features_in(ROWS, ROWS_HEADER))
    assert table["mid"].isna().tolist() == [False, True, False]


def test_rows_become_parquet_in_batches(tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    rows, path = features_in(ROWS, ROWS_HEADER), str(tmp_path / "features.parquet")
    write_parquet(path, lambda: [rows[:2], rows[2:]], rows.dtype)
    assert parquet.read_table(path).to_pylist() == to_arrow(rows).to_pylist()
    # This reader of pyarrow's does not take dictionaries in a struct.
    file = parquet.ParquetFile(path)
    assert file.num_row_groups == 2
    assert file.read().to_pylist() == to_arrow(rows).to_pylist()
    write_parquet(path, list, rows.dtype)
    assert parquet.read_table(path).schema == to_arrow(rows).schema


def test_a_file_may_have_as_many_columns_as_a_channel(tmp_path: Path) -> None:
    columns = tuple(f"c{place:063}" for place in range(256))
    header = replace(ROWS_HEADER, columns=columns)
    row = replace(ROWS[0], values=(0.5,) * 256, absences=bytes(256))
    rows = features_in([row], header)
    path = tmp_path / "features.npy"
    path.write_bytes(npy_header(rows.dtype, 1) + rows.tobytes())
    (batch,) = batches_of(path)
    assert batch.tolist()[0][:258] == rows.tolist()[0][:258]
