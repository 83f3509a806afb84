"""Every tool is given the same trades, and is asked what it holds."""

import sys
from collections.abc import Callable
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from fanout.clients.columns import (
    MissingPackageError,
    labelled,
    to_arrow,
    to_pandas,
    to_polars,
    trades_in,
    trades_of,
)
from fanout.clients.columns.frames import floats
from fanout.protocol import (
    CallerError,
    FanoutError,
    Header,
    Instrument,
    NotRepresentableError,
    Trade,
    TradeKind,
    encode_block,
    to_float,
)
from tests.protocol.golden import BTC, HEADER, LIFE, TRADES
from tests.protocol.strategies import headers, trades

pyarrow = pytest.importorskip("pyarrow")

GOLDEN: list[Trade] = list(TRADES.trades)
EDGES = [
    Trade(BTC, 2**64 - 1, 2**63 - 1, 2**63 - 1, 2**64 - 1, True, TradeKind.OTHER, 2**63 - 1),
    Trade(LIFE, 0, 0, -(2**63), 0, False, TradeKind.ADL, 1, 2**64 - 1, True),
]
COLUMNS = [
    "seq",
    "symbol",
    "trade_id",
    "time",
    "price",
    "price_exponent",
    "quantity",
    "quantity_exponent",
    "received_ns",
    "kind",
    "buyer_is_maker",
    "back_filled",
    "epoch_ns",
]


def test_a_table_has_every_field_of_a_trade() -> None:
    fields = {*Trade.__struct_fields__} - {"instrument"}
    labels = {"symbol", "price_exponent", "quantity_exponent", "epoch_ns"}
    assert set(to_arrow(trades_in(GOLDEN, HEADER)).column_names) == fields | labels


def arrow_rows(rows: NDArray[np.void], **options: Any) -> list[dict[str, Any]]:
    table = to_arrow(rows, **options)
    return [dict(each) for each in table.to_pylist()]


def polars_rows(rows: NDArray[np.void], **options: Any) -> list[dict[str, Any]]:
    pytest.importorskip("polars")
    return to_polars(rows, **options).to_dicts()


def pandas_rows(rows: NDArray[np.void], **options: Any) -> list[dict[str, Any]]:
    pytest.importorskip("pandas")
    frame = to_pandas(rows, **options)
    return [dict(zip(frame, each, strict=True)) for each in frame.itertuples(index=False)]


every_tool = pytest.mark.parametrize("rows_in", [arrow_rows, polars_rows, pandas_rows])
Tool = Callable[..., list[dict[str, Any]]]


def exact(trade: Trade, epoch_ns: int) -> dict[str, Any]:
    instrument = trade.instrument
    return {
        "seq": trade.seq,
        "symbol": trade.symbol,
        "trade_id": trade.trade_id,
        "price": trade.price,
        "price_exponent": instrument.price_exponent,
        "quantity": trade.quantity,
        "quantity_exponent": instrument.quantity_exponent,
        "received_ns": trade.received_ns,
        "kind": trade.kind.name,
        "buyer_is_maker": trade.buyer_is_maker,
        "back_filled": trade.back_filled,
        "epoch_ns": epoch_ns,
    }


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


@every_tool
def test_integers_names_and_flags_are_those_of_the_trades(rows_in: Tool) -> None:
    many = [*GOLDEN, replace(EDGES[0], time=0), EDGES[1]]
    rows = rows_in(trades_in(many, HEADER))
    assert [*rows[0]] == COLUMNS
    assert without_time(rows) == [exact(each, HEADER.epoch_ns) for each in many]


@every_tool
def test_times_are_timestamps_in_utc(rows_in: Tool) -> None:
    for row, trade in zip(rows_in(trades_in(GOLDEN, HEADER)), GOLDEN, strict=True):
        assert row["time"].utcoffset().total_seconds() == 0
        assert round(row["time"].timestamp() * 1000) == trade.time


def test_a_time_that_the_venue_does_not_give_is_null() -> None:
    rows = trades_in([replace(GOLDEN[0], time=0), GOLDEN[1]], HEADER)
    column = to_arrow(rows)["time"]
    assert [each is None for each in column.to_pylist()] == [True, False]
    for tool, is_null in [(polars_rows, None), (pandas_rows, "NaT")]:
        first, second = (row["time"] for row in tool(rows))
        assert first is None if is_null is None else str(first) == is_null
        assert round(second.timestamp() * 1000) == GOLDEN[1].time


@every_tool
def test_decimals_are_the_numbers_that_the_venue_spelt(rows_in: Tool) -> None:
    for row, trade in zip(
        rows_in(trades_in(GOLDEN, HEADER), values="decimal"), GOLDEN, strict=True
    ):
        assert (row["price"], row["quantity"]) == (trade.price_decimal, trade.quantity_decimal)
        assert isinstance(row["price"], Decimal)
        assert "price_exponent" not in row


@every_tool
def test_floats_are_the_nearest(rows_in: Tool) -> None:
    many = [*GOLDEN, *(replace(each, time=0) for each in EDGES)]
    rows = rows_in(trades_in(many, HEADER), values="float")
    assert [(row["price"], row["quantity"]) for row in rows] == [
        (each.price_float, each.quantity_float) for each in many
    ]


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-18, 8)), max_size=20))
@example([(6_584_734_284_600_048_111, -8), (-6_584_734_284_600_048_111, -8), (2**53 + 1, 0)])
def test_a_float_is_rounded_once(pairs: list[tuple[int, int]]) -> None:
    numbers = np.array([number for number, _ in pairs], np.int64)
    exponents = np.array([exponent for _, exponent in pairs], np.int8)
    assert floats(numbers, exponents).tolist() == [to_float(*each) for each in pairs]


@every_tool
def test_no_trades_are_an_empty_table(rows_in: Tool) -> None:
    for values in ("exact", "decimal", "float"):
        assert rows_in(trades_in([], HEADER), values=values) == []


@every_tool
def test_rows_of_blocks_need_their_header_and_no_label(rows_in: Tool) -> None:
    rows = trades_of([encode_block(TRADES, HEADER)], HEADER)
    assert rows_in(rows, header=HEADER) == rows_in(labelled(rows, HEADER))
    with pytest.raises(CallerError, match="without the header"):
        rows_in(rows)


@given(
    headers().flatmap(
        lambda header: st.tuples(st.just(header), st.lists(trades(header), max_size=20))
    )
)
def test_every_value_of_the_wire_arrives_unchanged(both: tuple[Header, list[Trade]]) -> None:
    header, many = both
    rows = trades_in([replace(each, time=0) for each in many], header)
    assert without_time(arrow_rows(rows)) == [exact(each, header.epoch_ns) for each in many]
    floats = to_arrow(rows, values="float")
    assert floats["price"].to_pylist() == [each.price_float for each in many]
    assert floats["quantity"].to_pylist() == [each.quantity_float for each in many]


@given(
    headers(max_instruments=3).flatmap(
        lambda header: st.tuples(st.just(header), st.lists(trades(header), max_size=8))
    )
)
def test_decimals_are_exact_or_refused(both: tuple[Header, list[Trade]]) -> None:
    header, many = both
    rows = trades_in([replace(each, time=0) for each in many], header)
    pairs = [(each.price_decimal, each.quantity_decimal) for each in many]
    try:
        table = to_arrow(rows, values="decimal")
    except NotRepresentableError:
        assert any(digits_at_one_scale(column) > 38 for column in zip(*pairs, strict=True))
    else:
        found = zip(table["price"].to_pylist(), table["quantity"].to_pylist(), strict=True)
        assert list(found) == pairs
        assert all(digits_at_one_scale(column) <= 38 for column in zip(*pairs, strict=True))


def digits_at_one_scale(numbers: tuple[Decimal, ...]) -> int:
    """How many digits the longest takes with as many decimals as any of them has."""
    scale = max(0, *(-int(each.as_tuple().exponent) for each in numbers))
    scaled = [int(each.as_tuple().exponent) + scale for each in numbers]
    sizes = [
        len(str(int("".join(map(str, each.as_tuple().digits))) * 10**shift))
        for each, shift in zip(numbers, scaled, strict=True)
    ]
    return max(sizes)


@given(st.integers(0, 2**64 - 1), st.integers(-9, 0))
@example(2**63 - 1, -9)
@example(2**63, -9)
@example(2**63 // 1000, 0)
@example(2**63 // 1000 + 1, 0)
def test_a_time_is_exact_or_refused(time: int, exponent: int) -> None:
    instrument = replace(BTC, time_exponent=exponent)
    rows = trades_in([replace(GOLDEN[0], instrument=instrument, time=time)], HEADER)
    places = next(each for each in (3, 6, 9) if each >= -exponent)
    units = time * 10 ** (places + exponent)
    if units < 2**63:
        assert to_arrow(rows)["time"].cast(pyarrow.int64()).to_pylist() == [units or None]
    else:
        with pytest.raises(NotRepresentableError, match=rf"time {time} of 10\*\*{exponent} s"):
            to_arrow(rows)


def test_a_unit_that_is_too_coarse_is_refused() -> None:
    instrument = replace(BTC, time_exponent=-9)
    rows = trades_in([replace(GOLDEN[0], instrument=instrument, time=1_000_000)], HEADER)
    assert to_arrow(rows, time_unit="ns")["time"].type == pyarrow.timestamp("ns", "UTC")
    with pytest.raises(NotRepresentableError, match="is no timestamp"):
        to_arrow(rows, time_unit="ms")


def test_decimals_that_take_too_many_digits_are_refused_in_words() -> None:
    coarse = replace(BTC, price_exponent=8)
    fine = replace(LIFE, price_exponent=-18)
    both = [
        replace(GOLDEN[0], instrument=coarse, price=10**13),
        replace(GOLDEN[2], instrument=fine),
    ]
    with pytest.raises(
        NotRepresentableError, match="price 10000000000000 at exponent 8 takes more"
    ):
        to_arrow(trades_in(both, HEADER), values="decimal")
    both[0] = replace(both[0], price=10**12 - 1)
    prices = to_arrow(trades_in(both, HEADER), values="decimal")["price"]
    assert prices.to_pylist() == [each.price_decimal for each in both]


@every_tool
def test_trades_from_before_and_after_a_change_of_units_stand_in_one_table(rows_in: Tool) -> None:
    renewed = (replace(BTC, price_exponent=-1, time_exponent=-6), LIFE)
    later = replace(HEADER, epoch_ns=HEADER.epoch_ns + 1, instruments=renewed)
    after = [replace(each, instrument=renewed[each.instrument.index]) for each in GOLDEN]
    # The one in ms and the other in µs, at the same moment.
    after = [
        replace(each, time=each.time * 1000) if each.symbol == "BTCUSDT" else each for each in after
    ]
    both = np.concatenate([trades_in(GOLDEN, HEADER), trades_in(after, later)])
    rows = rows_in(both)
    assert without_time(rows) == [
        *(exact(each, HEADER.epoch_ns) for each in GOLDEN),
        *(exact(each, later.epoch_ns) for each in after),
    ]
    times = [row["time"] for row in rows]
    assert times[:3] == times[3:]
    decimals = [row["price"] for row in rows_in(both, values="decimal")]
    assert decimals == [each.price_decimal for each in (*GOLDEN, *after)]


@pytest.mark.parametrize(
    ("convert", "package"),
    [
        (to_arrow, "pyarrow"),
        (to_polars, "polars"),
        (to_polars, "pyarrow"),
        (to_pandas, "pandas"),
        (to_pandas, "pyarrow"),
    ],
)
def test_a_missing_package_is_named_with_how_to_get_it(
    convert: Callable[..., object], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent: ModuleType | None = None
    monkeypatch.setitem(sys.modules, package, absent)
    words = f"{convert.__name__} needs {package}: pip install {package}"
    with pytest.raises(MissingPackageError, match=words) as caught:
        convert(trades_in(GOLDEN, HEADER))
    assert isinstance(caught.value, FanoutError)
    assert isinstance(caught.value, ImportError)


def test_types_are_the_same_whatever_the_trades_are() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = to_pandas(trades_in(GOLDEN, HEADER))
    assert frame["trade_id"].dtype == np.uint64
    assert isinstance(frame["kind"].dtype, pandas.CategoricalDtype)
    assert str(frame["time"].dtype) == "datetime64[ms, UTC]"
    schema = to_polars(trades_in(GOLDEN, HEADER)).schema
    assert schema["quantity"] == polars.UInt64
    assert schema["time"] == polars.Datetime("ms", "UTC")
    assert to_polars(trades_in([], HEADER)).schema == schema


def test_a_symbol_of_any_length_is_kept_whole() -> None:
    longest = Instrument(index=0, symbol="N" * 64, price_exponent=0, quantity_exponent=0)
    of_another_header = replace(GOLDEN[0], instrument=longest)
    rows = trades_in([*GOLDEN, of_another_header], HEADER)
    assert rows["symbol"].tolist() == [*(each.symbol for each in GOLDEN), "N" * 64]


def test_records_other_than_trades_are_left_out() -> None:
    assert len(trades_in(["not a trade", *GOLDEN, None], HEADER)) == len(GOLDEN)
