"""The messages are recordings of the live exchange, 2021 to 2026."""

import json
from typing import ClassVar

import msgspec
import pytest

from fanout.errors import ConfigError, VenueMessageError, VenueRefusalError
from fanout.protocol import Instrument, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.venues import BinanceUsdm, SpentId, VenueTrade
from tests.captures import capture_path
from tests.contracts.venue import VenueContract

MARKET = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1790370834849,"T":1790370834848,'
    b'"s":"BTCUSDT","t":8121136411,"p":"83680.00","q":"0.001","X":"MARKET","m":true,"st":1}}'
)
RPI = (
    b'{"stream":"1000pepeusdt@trade","data":{"e":"trade","E":1790371723022,"T":1790371723021,'
    b'"s":"1000PEPEUSDT","t":2804511605,"p":"0.0044478","q":"10403","X":"RPI","m":false,"st":1}}'
)
NOT_A_TRADE = (
    b'{"stream":"dogeusdt@trade","data":{"e":"trade","E":1790371725749,"T":1790371725748,'
    b'"s":"DOGEUSDT","t":3488255295,"p":"0","q":"0","X":"NA","m":true,"st":1}}'
)
AGGREGATE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1791382992488,"a":3477868433,'
    b'"s":"BTCUSDT","p":"83091.70","q":"0.022","nq":"0.022","f":8153634393,"l":8153634394,'
    b'"T":1791382992338,"m":false,"st":1}}'
)


def filters(tick: object, step: object) -> list[dict[str, object]]:
    return [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
    ]


def listed(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "pricePrecision": 2,
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "quantityPrecision": 3,
        "filters": filters("0.10", "0.001"),
    }
    return {**row, **changes}


def info(*rows: dict[str, object]) -> bytes:
    return json.dumps({"symbols": list(rows), "timezone": "UTC"}).encode()


class TestBinanceUsdm(VenueContract):
    trade_message = MARKET
    trade = VenueTrade(
        "BTCUSDT", 8_121_136_411, 1_790_370_834_848, "83680.00", "0.001", True, TradeKind.MARKET
    )
    acknowledgement = b'{"result":null,"id":1}'
    instruments_body = info(
        listed(),
        listed(symbol="ETHUSDT"),
        listed(symbol="币安人生USDT", pricePrecision=5, quantityPrecision=0),
    )
    symbols: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
    recent_trades_body = (
        b'[{"id":28457,"price":"4.00","qty":"12.000","quoteQty":"48.00","time":1499865549590,'
        b'"isBuyerMaker":true,"isRPITrade":true},{"id":28458,"price":"4.10","qty":"1.000",'
        b'"quoteQty":"4.1","time":1499865549591,"isBuyerMaker":false}]'
    )
    listing_rows: ClassVar[tuple[str, ...]] = ("symbols",)
    symbol_column = "symbol"
    status_column = "status"
    recent_rows = ()
    error_body = b'{"code":-1121,"msg":"Invalid symbol."}'
    instrument = Instrument(
        index=7,
        symbol="BTCUSDT",
        price_exponent=-2,
        quantity_exponent=-3,
        tick=10,
        lot=1,
        base="BTC",
        quote="USDT",
        type=InstrumentType.LINEAR_PERPETUAL,
    )
    odd_terms = (
        {"filters": filters("a tenth", "0.001")},
        {"filters": filters("0.001", "0.001")},
        {"filters": filters(0.1, "0.001")},
        {"filters": filters("0.10", "1e-3")},
        {"filters": filters("9" * 40, "0")},
        {"filters": None},
        {"filters": ["LOT_SIZE", None]},
        {"filters": {"tickSize": "0.10"}},
        {"baseAsset": None},
        {"baseAsset": "B" * 33},
        {"quoteAsset": ["USDT"]},
        {"quoteAsset": "US\x1bDT"},
    )
    odd_row: ClassVar[dict[str, object]] = {"contractType": None}

    def make(self) -> BinanceUsdm:
        return BinanceUsdm()


@pytest.mark.parametrize(
    ("tick", "precision", "expected"),
    [
        ("0.10", 2, 10),
        ("0.1", 2, 10),
        ("0.01000000", 2, 1),
        ("5", 0, 5),
        ("0.00000100", 8, 100),
        ("0.005", 2, 0),
        ("-0.10", 2, 0),
        ("", 2, 0),
        ("\u0661", 0, 0),
    ],
)
def test_a_tick_is_a_whole_number_of_price_units_or_unknown(
    tick: str, precision: int, expected: int
) -> None:
    body = info(listed(pricePrecision=precision, filters=filters(tick, "0.001")))
    (instrument,) = BinanceUsdm().parse_instruments(body, ("BTCUSDT",))
    assert (instrument.tick, instrument.price_exponent) == (expected, -precision)


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        ("PERPETUAL", InstrumentType.LINEAR_PERPETUAL),
        ("TRADIFI_PERPETUAL", InstrumentType.LINEAR_PERPETUAL),
        ("CURRENT_QUARTER", InstrumentType.FUTURE),
        ("NEVER_HEARD_OF", InstrumentType.OTHER),
    ],
)
def test_the_contract_type_becomes_the_type(contract: str, expected: InstrumentType) -> None:
    listing = BinanceUsdm().parse_listing(info(listed(contractType=contract)))
    assert listing.rows["BTCUSDT"].instrument(0).type is expected


def test_raw_trades_and_aggregates_each_have_the_route_that_delivers_them() -> None:
    assert BinanceUsdm().stream_url() == "wss://fstream.binance.com/public/stream"
    assert BinanceUsdm(stream="aggTrade").stream_url() == "wss://fstream.binance.com/market/stream"


def test_the_urls_can_point_elsewhere() -> None:
    venue = BinanceUsdm(ws_url="ws://127.0.0.1:9/", rest_url="http://127.0.0.1:8/")
    assert venue.stream_url() == "ws://127.0.0.1:9/public/stream"
    assert venue.rest_url == "http://127.0.0.1:8"


def test_symbols_are_subscribed_in_lower_case_and_in_utf_8() -> None:
    (message,) = BinanceUsdm().subscriptions(("BTCUSDT", "币安人生USDT"))
    assert msgspec.json.decode(message) == {
        "method": "SUBSCRIBE",
        "params": ["btcusdt@trade", "币安人生usdt@trade"],
        "id": 1,
    }
    assert "币安人生" in message


@pytest.mark.parametrize(
    ("execution", "kind"),
    [
        ("MARKET", TradeKind.MARKET),
        ("RPI", TradeKind.RPI),
        ("INSURANCE_FUND", TradeKind.INSURANCE_FUND),
        ("ADL", TradeKind.ADL),
        ("SOMETHING_NEW", TradeKind.OTHER),
    ],
)
def test_the_execution_type_becomes_the_kind(execution: str, kind: TradeKind) -> None:
    item = BinanceUsdm().parse(RPI.replace(b'"RPI"', f'"{execution}"'.encode()))
    assert item == VenueTrade(
        "1000PEPEUSDT", 2_804_511_605, 1_790_371_723_021, "0.0044478", "10403", False, kind
    )


def test_a_row_that_is_no_trade_uses_an_id() -> None:
    assert BinanceUsdm().parse(NOT_A_TRADE) == SpentId("DOGEUSDT", 3_488_255_295)


def test_messages_without_a_universe_as_before_june_2026_are_accepted() -> None:
    assert BinanceUsdm().parse(MARKET.replace(b',"st":1', b"")) == TestBinanceUsdm.trade


def test_a_trade_of_the_coin_margined_universe_is_refused() -> None:
    with pytest.raises(VenueMessageError, match="st 2"):
        BinanceUsdm().parse(MARKET.replace(b'"st":1', b'"st":2'))


def test_an_aggregate_has_its_own_id_and_the_kind_aggregate() -> None:
    assert BinanceUsdm(stream="aggTrade").parse(AGGREGATE) == VenueTrade(
        "BTCUSDT",
        3_477_868_433,
        1_791_382_992_338,
        "83091.70",
        "0.022",
        False,
        TradeKind.AGGREGATE,
        first_fill=8_153_634_393,
    )


def test_an_event_of_the_other_stream_is_unexpected() -> None:
    with pytest.raises(VenueMessageError):
        BinanceUsdm().parse(AGGREGATE)
    with pytest.raises(VenueMessageError):
        BinanceUsdm(stream="aggTrade").parse(MARKET)


@pytest.mark.parametrize(
    "message",
    [
        b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}',
        b'{"error":{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}}',
    ],
)
def test_an_error_answer_is_a_refusal_in_the_venues_words(message: bytes) -> None:
    with pytest.raises(VenueRefusalError, match=r"refuses: .* \(\d\)"):
        BinanceUsdm().parse(message)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"p": 83680.0}, "wrong shape"),
        ({"t": "8121136411"}, "wrong shape"),
        ({"m": 1}, "wrong shape"),
        ({"X": None}, "wrong shape"),
        ({"e": "bookTicker"}, "unexpected event"),
    ],
)
def test_fields_of_another_type_are_refused(changes: dict[str, object], kind: str) -> None:
    message = json.loads(MARKET)
    message["data"].update(changes)
    with pytest.raises(VenueMessageError, match=kind):
        BinanceUsdm().parse(json.dumps(message).encode())


def test_exponents_are_the_precision_and_not_the_tick_size() -> None:
    (instrument,) = BinanceUsdm().parse_instruments(info(listed()), ("BTCUSDT",))
    assert (instrument.price_exponent, instrument.quantity_exponent) == (-2, -3)
    assert instrument.time_exponent == -3


def test_perpetuals_on_stocks_and_metals_are_perpetuals() -> None:
    body = info(listed(symbol="XAUUSDT", contractType="TRADIFI_PERPETUAL"))
    assert BinanceUsdm().parse_instruments(body, ("XAUUSDT",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contractType": "CURRENT_QUARTER"}, "not a perpetual .* but CURRENT_QUARTER"),
        ({"contractType": ""}, "not a perpetual .* but not open yet"),
        ({"status": "SETTLING"}, "does not trade .* status SETTLING"),
        ({"status": "PENDING_TRADING"}, "does not trade"),
    ],
)
def test_a_symbol_that_cannot_be_subscribed_to_is_refused_with_the_reason(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        BinanceUsdm().parse_instruments(info(listed(**changes)), ("BTCUSDT",))


@pytest.mark.parametrize("precision", [-9, 19, 10**9])
def test_an_impossible_precision_is_refused(precision: int) -> None:
    with pytest.raises(VenueMessageError, match=f"precision {precision}"):
        BinanceUsdm().parse_instruments(info(listed(pricePrecision=precision)), ("BTCUSDT",))


def test_a_recorded_exchange_info_of_2021_is_understood() -> None:
    body = capture_path("fapi_exchange_info_20210721.json").read_bytes()
    instruments = BinanceUsdm().parse_instruments(body, ("BTCUSDT", "ETHUSDT", "XRPUSDT"))
    assert [(each.price_exponent, each.quantity_exponent) for each in instruments] == [
        (-2, -3),
        (-2, -3),
        (-4, -1),
    ]
    with pytest.raises(ConfigError, match="did you mean BTCUSDT"):
        BinanceUsdm().parse_instruments(body, ("BTCUSD",))


def test_recent_trades_have_the_kind_of_hidden_fills() -> None:
    trades = BinanceUsdm().parse_recent_trades(TestBinanceUsdm.recent_trades_body, "BTCUSDT")
    assert [each.kind for each in trades] == [TradeKind.RPI, TradeKind.MARKET]


def test_no_recent_trades_are_no_error() -> None:
    assert BinanceUsdm().parse_recent_trades(b"[]", "BTCUSDT") == ()


@pytest.mark.parametrize("trade_id", [-1, 2**64, 10**400])
@pytest.mark.parametrize("stream", ["trade", "aggTrade"])
def test_records_whose_ids_are_out_of_range_are_refused(stream: str, trade_id: int) -> None:
    row = {"id": trade_id, "price": "1", "qty": "1", "time": 1, "isBuyerMaker": True}
    row |= {"a": trade_id, "f": 1, "p": "1", "q": "1", "T": 1, "m": True}
    venue = BinanceUsdm(stream=stream)
    for parse in (venue.parse_recent_trades, lambda *of: venue.parse_history(*of, 1)):
        with pytest.raises(VenueMessageError, match="ids out of range"):
            parse(json.dumps([row]).encode(), "BTCUSDT")


@pytest.mark.parametrize("time_ms", [-1, 10**14, 10**400])
def test_an_impossible_time_is_refused(time_ms: int) -> None:
    with pytest.raises(VenueMessageError, match="the venue's time is not as documented"):
        BinanceUsdm().parse_time(json.dumps({"serverTime": time_ms}).encode())


def test_errors_quote_a_listing_safely_for_a_terminal() -> None:
    body = info(listed(status="\x1b[31m" + "x" * 1_000))
    with pytest.raises(ConfigError, match=r"status \?\[31mx+\.\.\.$") as caught:
        BinanceUsdm().parse_instruments(body, ("BTCUSDT",))
    assert len(str(caught.value)) < 300
