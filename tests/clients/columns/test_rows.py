import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.columns import TRADE, labelled, labelled_dtype, trades_in, trades_of
from fanout.protocol import (
    Block,
    BlockFlags,
    Header,
    MalformedError,
    Trade,
    decode_block,
    encode_block,
)
from fanout.protocol.rows import ROW
from tests.protocol.golden import HEADER, TRADES
from tests.protocol.strategies import blocks, headers


def as_rows(trades: list[Trade]) -> list[tuple[object, ...]]:
    return [
        (
            each.seq,
            each.trade_id,
            each.time,
            each.price,
            each.quantity,
            each.received_ns,
            each.instrument.index,
            int(each.kind),
            each.buyer_is_maker,
            each.back_filled,
        )
        for each in trades
    ]


def test_a_column_is_where_its_field_is() -> None:
    assert TRADE.itemsize == ROW.size
    assert [TRADE.fields[name][1] for name in TRADE.names] == [0, 8, 16, 24, 32, 40, 48, 50, 51, 52]


def test_arrays_have_every_field_of_a_trade() -> None:
    fields = set(Trade.__struct_fields__)
    assert set(TRADE.names or ()) == fields
    labels = {"symbol", "price_exponent", "quantity_exponent", "time_exponent", "epoch_ns"}
    assert set(labelled_dtype(1).names or ()) == fields - {"instrument"} | labels


def test_labelled_rows_are_laid_out_as_in_files_of_earlier_versions() -> None:
    assert labelled_dtype(9) == np.dtype(
        [
            ("seq", "<u8"),
            ("trade_id", "<u8"),
            ("time", "<u8"),
            ("price", "<i8"),
            ("quantity", "<u8"),
            ("received_ns", "<u8"),
            ("epoch_ns", "<u8"),
            ("price_exponent", "i1"),
            ("quantity_exponent", "i1"),
            ("time_exponent", "i1"),
            ("kind", "u1"),
            ("buyer_is_maker", "?"),
            ("back_filled", "?"),
            ("symbol", "<U9"),
        ]
    )


@given(
    headers().flatmap(
        lambda header: st.tuples(st.just(header), st.lists(blocks(header), max_size=4))
    )
)
def test_columns_hold_the_values_of_the_blocks(both: tuple[Header, list[Block]]) -> None:
    header, many = both
    payloads = [encode_block(each, header) for each in many]
    expected = [trade for each in payloads for trade in decode_block(each, header).trades]
    trades = trades_of(payloads, header)
    assert trades.shape == (len(expected),)
    assert trades.tolist() == as_rows(expected)


def test_trades_of_a_snapshot_have_no_numbers() -> None:
    snapshot = encode_block(replace(TRADES, flags=BlockFlags.SNAPSHOT, received_ns=0), HEADER)
    assert not trades_of([snapshot], HEADER)["seq"].any()


def test_columns_can_be_written_to_and_kept() -> None:
    trades = trades_of([encode_block(TRADES, HEADER)], HEADER)
    trades["price"] -= np.int64(1)
    assert trades["price"].tolist() == [each.price - 1 for each in TRADES.trades]


def test_an_invalid_block_is_refused() -> None:
    with pytest.raises(MalformedError):
        trades_of([encode_block(TRADES, HEADER), b"nothing like it"], HEADER)


@given(headers().flatmap(lambda header: st.tuples(st.just(header), blocks(header))))
def test_rows_of_records_are_those_of_their_blocks_with_labels(both: tuple[Header, Block]) -> None:
    header, block = both
    payload = encode_block(block, header)
    from_records = trades_in(decode_block(payload, header).trades, header)
    from_blocks = labelled(trades_of([payload], header), header)
    assert from_records.dtype == from_blocks.dtype
    assert from_records.tolist() == from_blocks.tolist()


def test_labels_are_the_instruments_own() -> None:
    rows = labelled(trades_of([encode_block(TRADES, HEADER)], HEADER), HEADER)
    assert rows["symbol"].tolist() == ["BTCUSDT", "BTCUSDT", "币安人生USDT"]
    assert rows["price_exponent"].tolist() == [-2, -2, -5]
    assert rows["quantity_exponent"].tolist() == [-3, -3, 0]
    assert rows["time_exponent"].tolist() == [-3, -3, -3]
    assert set(rows["epoch_ns"].tolist()) == {HEADER.epoch_ns}
