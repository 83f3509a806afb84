import io
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from fanout.clients.columns import to_arrow, trades_in, write_parquet
from tests.protocol.golden import BTC, HEADER, TRADES

parquet: Any = pytest.importorskip("pyarrow.parquet")

ROWS = trades_in(TRADES.trades, HEADER)


def written(*batches: NDArray[np.void]) -> Any:
    file = io.BytesIO()
    write_parquet(file, lambda: batches)
    return parquet.ParquetFile(io.BytesIO(file.getvalue()))


def test_a_batch_is_a_row_group_and_nothing_is_lost() -> None:
    file = written(ROWS[:1], ROWS[1:])
    assert file.num_row_groups == 2
    assert file.read().to_pylist() == to_arrow(ROWS).to_pylist()


def test_one_unit_holds_the_times_of_all_batches() -> None:
    finer = replace(BTC, time_exponent=-9)
    trade = replace(TRADES.trades[0], instrument=finer, time=1_791_382_992_838_000_001)
    file = written(ROWS, trades_in([trade], HEADER))
    assert str(file.schema_arrow.field("time").type) == "timestamp[ns, tz=UTC]"
    assert file.read()["time"].cast("int64").to_pylist() == [
        *(each.time * 10**6 for each in TRADES.trades),
        trade.time,
    ]


def test_no_trades_are_a_file_with_columns() -> None:
    assert written().read().schema == to_arrow(ROWS[:0]).schema


def test_who_knows_the_unit_is_asked_for_the_batches_once() -> None:
    file, asked = io.BytesIO(), iter([[ROWS]])
    write_parquet(file, lambda: next(asked), time_unit="ns")
    table = parquet.read_table(io.BytesIO(file.getvalue()))
    assert table.schema == to_arrow(ROWS, time_unit="ns").schema
    assert table["symbol"].to_pylist() == ROWS["symbol"].tolist()
