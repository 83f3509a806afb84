from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.columns import (
    SIDES,
    level_dtype,
    levels_in,
    order_dtype,
    orders_in,
    quote_dtype,
    quotes_in,
    to_arrow,
    to_pandas,
    to_polars,
    write_parquet,
)
from fanout.protocol import BookUpdate, CallerError, Header, OrderUpdate, Quote
from tests.protocol.golden import BOOK, HEADER, ORDERS, QUOTES, TRADES
from tests.protocol.strategies import book_updates, headers, order_updates, quotes

RECORDS = [*TRADES.trades, *QUOTES.quotes, *BOOK.updates, *ORDERS.updates]


def test_rows_are_laid_out_as_documented() -> None:
    before = [("seq", "<u8"), ("update_id", "<u8"), ("time", "<u8")]
    after = [
        *(("received_ns", "<u8"), ("epoch_ns", "<u8"), ("price_exponent", "i1")),
        *(("quantity_exponent", "i1"), ("time_exponent", "i1")),
    ]
    side = [("side", "u1"), ("flags", "u1"), ("symbol", "<U9")]
    level = [("price", "<i8"), ("quantity", "<u8")]
    assert level_dtype(9) == np.dtype([*before, *level, *after, *side])
    assert order_dtype(9) == np.dtype([*before, ("order_id", "<u8"), *level, *after, *side])
    bid = [("bid_price", "<i8"), ("bid_quantity", "<u8")]
    ask = [("ask_price", "<i8"), ("ask_quantity", "<u8")]
    assert quote_dtype(9) == np.dtype([*before, *bid, *ask, *after, ("symbol", "<U9")])


def as_dicts(rows: Any) -> list[dict[str, Any]]:
    return [dict(zip(rows.dtype.names, row, strict=True)) for row in rows.tolist()]


def begun(record: Quote | BookUpdate | OrderUpdate, header: Header) -> dict[str, Any]:
    of = record.instrument
    return {
        "seq": record.seq,
        "update_id": record.update_id,
        "time": record.time,
        "received_ns": record.received_ns,
        "epoch_ns": header.epoch_ns,
        "price_exponent": of.price_exponent,
        "quantity_exponent": of.quantity_exponent,
        "time_exponent": of.time_exponent,
        "symbol": of.symbol,
    }


def items(update: Any, header: Header) -> list[dict[str, Any]]:
    """The rows of an update, one by one."""
    sides = [(0, each) for each in update.bids] + [(1, each) for each in update.asks]
    by_order = isinstance(update, OrderUpdate)
    nothing = (0, 0, 0) if by_order else (0, 0)
    names = ["order_id", "price", "quantity"] if by_order else ["price", "quantity"]
    return [
        {
            **begun(update, header),
            "side": side,
            "flags": int(update.flags),
            **dict(zip(names, each, strict=True)),
        }
        for side, each in sides or [(2, nothing)]
    ]


HEADERS = headers(3)


@given(HEADERS.flatmap(lambda h: st.tuples(st.just(h), st.lists(quotes(h), max_size=5))))
def test_a_quote_is_a_row_with_every_value(both: tuple[Header, list[Quote]]) -> None:
    header, many = both
    expected = [
        {
            **begun(each, header),
            "bid_price": each.bid_price,
            "bid_quantity": each.bid_quantity,
            "ask_price": each.ask_price,
            "ask_quantity": each.ask_quantity,
        }
        for each in many
    ]
    assert as_dicts(quotes_in(many, header)) == expected


@given(
    HEADERS.flatmap(
        lambda h: st.tuples(st.just(h), st.lists(book_updates(h) | order_updates(h), max_size=5))
    )
)
def test_a_level_or_order_is_a_row_with_every_value(both: tuple[Header, list[Any]]) -> None:
    header, many = both
    for kind, rows_in in ((BookUpdate, levels_in), (OrderUpdate, orders_in)):
        expected = [row for each in many if isinstance(each, kind) for row in items(each, header)]
        assert as_dicts(rows_in(many, header)) == expected


def test_each_function_takes_its_own_kind_only() -> None:
    assert len(quotes_in(RECORDS, HEADER)) == len(QUOTES.quotes)
    assert len(levels_in(RECORDS, HEADER)) == 7
    assert len(orders_in(RECORDS, HEADER)) == 4
    assert [len(each([], HEADER)) for each in (quotes_in, levels_in, orders_in)] == [0, 0, 0]


def test_arrow_has_the_columns_of_each_kind() -> None:
    pytest.importorskip("pyarrow")
    first = to_arrow(quotes_in(RECORDS, HEADER)).to_pylist()[0]
    time = first.pop("time")
    assert (time.timestamp(), str(time.tzinfo)) == (1_791_382_992.838, "UTC")
    assert first == {
        "seq": 1_001,
        "symbol": "BTCUSDT",
        "update_id": 9_007_199_254_741_093,
        "bid_price": 8_309_160,
        "ask_price": 8_309_170,
        "price_exponent": -2,
        "bid_quantity": 1_500,
        "ask_quantity": 22,
        "quantity_exponent": -3,
        "received_ns": QUOTES.received_ns,
        "epoch_ns": HEADER.epoch_ns,
    }
    emptied = replace(BOOK.updates[0], packed_bids=b"", packed_asks=b"")
    table = to_arrow(levels_in([*RECORDS, emptied], HEADER))
    assert table["side"].to_pylist() == [SIDES[side] for side in (0, 0, 1, 1, 1, 0, 1, 2)]
    for name, of_last in (("is_whole", True), ("has_more", False), ("is_top_only", True)):
        assert table[name].to_pylist() == [False] * 5 + [of_last] * 2 + [False]
    orders = to_arrow(orders_in(RECORDS, HEADER))
    assert orders["order_id"].to_pylist() == [700_001, 699_990, 700_002, 31]
    assert orders["has_more"].to_pylist() == [False, False, False, True]


def test_values_convert_as_those_of_trades_do() -> None:
    pytest.importorskip("polars")
    pytest.importorskip("pandas")
    decimal = to_pandas(quotes_in(RECORDS, HEADER), values="decimal")
    assert [str(each) for each in decimal["bid_price"][:2]] == ["83091.60000", "83091.50000"]
    rounded = to_polars(levels_in(RECORDS, HEADER), values="float")
    assert rounded["price"].to_list()[:2] == [83091.6, 83091.5]
    assert "price_exponent" not in rounded.columns


def test_levels_become_parquet_in_batches(tmp_path: Any) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    rows = levels_in(RECORDS, HEADER)
    path = str(tmp_path / "book.parquet")
    write_parquet(path, lambda: [rows[:3], rows[3:]], rows.dtype)
    assert parquet.read_table(path).to_pylist() == to_arrow(rows).to_pylist()
    write_parquet(path, list, rows.dtype)
    assert parquet.read_table(path).schema == to_arrow(rows).schema


def test_rows_of_something_else_are_refused() -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(CallerError, match="neither trades, quotes nor levels"):
        to_arrow(np.zeros(1, [("symbol", "<U3"), ("time", "<u8")]))
