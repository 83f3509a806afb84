import json

from msgspec.structs import replace

from fanout.cli.formats import (
    COLUMNS,
    CSV_HEADER,
    KINDS,
    csv_line,
    is_new,
    json_line,
    table_of,
    text_line,
)
from fanout.protocol import (
    BookUpdate,
    DataKinds,
    FeatureRow,
    Loss,
    LossReason,
    OrderUpdate,
    Quote,
    Trade,
)
from tests.protocol.golden import BOOK, FEATURES, HEADER, ORDERS, QUOTES, ROWS_HEADER, TRADES


def test_text_has_every_field_of_a_trade() -> None:
    shown_as = {"instrument": "symbol", "time": "time_ms"}
    fields = {shown_as.get(each, each) for each in Trade.__struct_fields__}
    assert set(COLUMNS) == fields | {"epoch_ns"}


def test_the_columns_of_a_csv_file_keep_their_order() -> None:
    assert CSV_HEADER == (
        "seq,symbol,trade_id,time_ms,price,quantity,buyer_is_maker,kind,received_ns,back_filled,"
        "epoch_ns"
    )
    assert csv_line(TRADES.trades[0], 7) == (
        "1001,BTCUSDT,8153634394,1791382992838,83091.70,0.022,false,MARKET,0,false,7"
    )


QUOTE = (
    "1001,BTCUSDT,9007199254741093,1791382992838,83091.60,1.500,83091.70,0.022,"
    "1791382992840123456,7"
)
UPDATE = "BTCUSDT,9007199254741093,1791382992838"
FLAGS = "false,false,false,1791382992840123456,7"


def test_a_quote_is_a_row_of_its_own_table() -> None:
    quote = QUOTES.quotes[0]
    assert KINDS[Quote].csv_header == (
        "seq,symbol,update_id,time_ms,bid_price,bid_quantity,ask_price,ask_quantity,"
        "received_ns,epoch_ns"
    )
    assert csv_line(quote, 7, table=Quote) == QUOTE
    assert csv_line(quote, 7) is None
    assert csv_line(TRADES.trades[0], 7, table=Quote) is None


def test_a_book_update_is_a_row_for_each_level() -> None:
    assert KINDS[BookUpdate].csv_header == (
        "seq,symbol,update_id,time_ms,side,price,quantity,is_whole,has_more,is_top_only,"
        "received_ns,epoch_ns"
    )
    assert csv_line(BOOK.updates[0], 7, table=BookUpdate) == (
        f"1001,{UPDATE},BID,83091.60,1.500,{FLAGS}\n"
        f"1001,{UPDATE},BID,83091.50,0.000,{FLAGS}\n"
        f"1001,{UPDATE},ASK,83091.70,0.022,{FLAGS}"
    )
    emptied = replace(BOOK.updates[0], packed_bids=b"", packed_asks=b"")
    assert csv_line(emptied, 7, table=BookUpdate) == f"1001,{UPDATE},NONE,,,{FLAGS}"


def test_an_update_by_order_is_a_row_for_each_order() -> None:
    columns = KINDS[OrderUpdate].csv_header.split(",")
    line = csv_line(ORDERS.updates[1], 7, table=OrderUpdate)
    assert line is not None
    row = dict(zip(columns, line.split(","), strict=True))
    assert (row["side"], row["order_id"], row["price"]) == ("BID", "31", "0.12300")
    assert (row["is_whole"], row["has_more"], row["is_top_only"]) == ("true", "true", "false")


def test_a_quote_of_a_venue_that_says_no_time_has_none_in_text() -> None:
    line = text_line(replace(QUOTES.quotes[0], time=0), 7)
    assert line is not None
    assert line.startswith("--:--:--.---  BTCUSDT      quote")


def test_json_has_a_quote_in_fields_and_an_update_with_its_levels() -> None:
    names, values = KINDS[Quote].csv_header.split(","), QUOTE.split(",")
    quote = json.loads(json_line(QUOTES.quotes[0], 7))
    assert quote.pop("record") == "quote"
    assert {name: str(value) for name, value in quote.items()} == dict(
        zip(names, values, strict=True)
    )
    assert json.loads(json_line(BOOK.updates[0], 7)) == {
        "record": "book",
        "seq": 1001,
        "symbol": "BTCUSDT",
        "update_id": 9007199254741093,
        "time_ms": 1791382992838,
        "bids": [["83091.60", "1.500"], ["83091.50", "0.000"]],
        "asks": [["83091.70", "0.022"]],
        "is_whole": False,
        "has_more": False,
        "is_top_only": False,
        "received_ns": 1791382992840123456,
        "epoch_ns": 7,
    }
    orders = json.loads(json_line(ORDERS.updates[0], 7))
    assert orders["record"] == "orders"
    assert orders["bids"] == [[700001, "83091.60", "0.500"], [699990, "83091.60", "0.000"]]


COLUMNS_OF_ROWS = ROWS_HEADER.columns
LABELS = "1791382992840123456,7"
WARMING_UP = "order_flow_imbalance_1000ms:WARMING_UP"


def test_a_row_of_features_has_the_columns_of_its_channel_last() -> None:
    kind = KINDS[FeatureRow]
    assert kind.csv_header_with(COLUMNS_OF_ROWS) == (
        "seq,symbol,time_ns,received_ns,epoch_ns,absences,mid,spread_bps,order_flow_imbalance_1000ms"
    )
    assert KINDS[Quote].csv_header_with(COLUMNS_OF_ROWS) == KINDS[Quote].csv_header
    lines = [csv_line(each, 7, COLUMNS_OF_ROWS, table=FeatureRow) for each in FEATURES.rows]
    assert lines == [
        f"1001,BTCUSDT,1791382992840000000,{LABELS},,83091.65,0.125,-1478.0",
        f"1002,币安人生USDT,1791382992840000000,{LABELS},mid:ONE_SIDED spread_bps:ONE_SIDED,,,2.5",
        f"1003,BTCUSDT,1791382992840123456,{LABELS},{WARMING_UP},83091.65,0.125,",
    ]
    assert csv_line(FEATURES.rows[0], 7, COLUMNS_OF_ROWS) is None


def test_json_has_the_values_of_a_row_by_the_names_of_their_columns() -> None:
    assert json.loads(json_line(FEATURES.rows[1], 7, COLUMNS_OF_ROWS)) == {
        "record": "row",
        "seq": 1002,
        "symbol": "币安人生USDT",
        "time_ns": 1791382992840000000,
        "received_ns": 1791382992840123456,
        "epoch_ns": 7,
        "values": {"mid": None, "spread_bps": None, "order_flow_imbalance_1000ms": 2.5},
        "absences": {"mid": "ONE_SIDED", "spread_bps": "ONE_SIDED"},
    }


def test_text_has_the_reason_in_the_place_of_a_value() -> None:
    first, second = (text_line(each, 7, COLUMNS_OF_ROWS) for each in FEATURES.rows[:2])
    assert first == (
        "14:23:12.840  BTCUSDT      row     mid 83091.65  spread_bps 0.125"
        "  order_flow_imbalance_1000ms -1478"
    )
    assert "mid ONE_SIDED  spread_bps ONE_SIDED  order_flow_imbalance_1000ms 2.5" in second
    joined = replace(FEATURES.rows[0], seq=0)
    assert text_line(joined, 7, COLUMNS_OF_ROWS).endswith("-1478  before joining")


def test_text_says_how_much_an_update_changes() -> None:
    joined = replace(BOOK.updates[2], seq=0)
    ask = "ask 0.022 @ 83091.70"
    bids, asks = "2 bid levels from 1.500 @ 83091.60", "1 ask level from 0.022 @ 83091.70"
    others = "1 bid level from 900 @ 0.12300  1 ask level from 70 @ 0.12350"
    flags = "whole book  top only"
    assert [text_line(each, 7) for each in (QUOTES.quotes[0], BOOK.updates[0], joined)] == [
        f"14:23:12.838  BTCUSDT      quote  bid 1.500 @ 83091.60  {ask}  #9007199254741093",
        f"14:23:12.838  BTCUSDT      book   {bids}  {asks}  #9007199254741093",
        f"14:23:12.839  币安人生USDT     book   {others}  #52  {flags}  before joining",
    ]
    emptied = replace(BOOK.updates[0], packed_bids=b"", packed_asks=b"")
    assert text_line(emptied, 7).endswith("book   no levels  #9007199254741093")
    assert "2 bid orders from 0.500 @ 83091.60" in text_line(ORDERS.updates[0], 7)
    assert text_line(ORDERS.updates[1], 7).endswith("#52  whole book  to be continued")


def test_the_table_of_a_channel_is_that_of_its_first_kind() -> None:
    kinds = {
        DataKinds.TRADES | DataKinds.BOOK_BY_PRICE: Trade,
        DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE: Quote,
        DataKinds.BOOK_BY_PRICE: BookUpdate,
        DataKinds.BOOK_BY_ORDER: OrderUpdate,
        DataKinds.FEATURES: FeatureRow,
        DataKinds.NONE: Trade,
    }
    for data, kind in kinds.items():
        assert table_of(replace(HEADER, data=data)) is kind


def test_records_of_before_joining_are_not_new() -> None:
    records = [
        TRADES.trades[0],
        QUOTES.quotes[0],
        BOOK.updates[0],
        ORDERS.updates[0],
        FEATURES.rows[0],
    ]
    assert all(map(is_new, records))
    assert not any(is_new(replace(each, seq=0)) for each in records)
    assert not is_new(Loss(first_seq=1, last_seq=2, reason=LossReason.SLOW))
