from fanout.cli.formats import COLUMNS, CSV_HEADER, csv_line
from fanout.protocol import Trade
from tests.protocol.golden import TRADES


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
