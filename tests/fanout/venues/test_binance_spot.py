"""Binance spot: the documented messages, and a recording of August 2024."""

import gzip
import json
from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest

from fanout.errors import VenueMessageError, VenueRefusalError
from fanout.feed.sequences import Sequences
from fanout.protocol import Gap, Instrument, Trade, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.stats.anomalies import Anomalies
from fanout.venues import VENUES, BinanceSpot, Credentials, VenueItem, VenueTrade
from tests.captures import capture_path
from tests.contracts.venue import VenueContract

TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT",'
    b'"t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
AGGREGATE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT",'
    b'"a":3077868433,"p":"61837.63000000","q":"0.02000000","f":3735683259,"l":3735683260,'
    b'"T":1723161255342,"m":true,"M":true}}'
)
SHUTDOWN = b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}'
RECORDING = "venues/binance_spot_trade_bookticker_depth_btcusdt_20240808.gz"


def listed(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "stepSize": "0.00001000"},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
        ],
    }
    return {**row, **changes}


def info(*rows: dict[str, object]) -> bytes:
    return json.dumps({"timezone": "UTC", "symbols": list(rows)}).encode()


class TestBinanceSpot(VenueContract):
    trade_message = TRADE
    trade = VenueTrade(
        "BTCUSDT",
        3_735_683_259,
        1_723_161_255_342,
        "61837.63000000",
        "0.02000000",
        True,
        TradeKind.MARKET,
    )
    acknowledgement = b'{"result":null,"id":1}'
    instruments_body = info(listed(), listed(symbol="ETHUSDT"), listed(symbol="BNBBTC"))
    symbols: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT", "BNBBTC")
    recent_trades_body = (
        b'[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",'
        b'"time":1499865549590,"isBuyerMaker":true,"isBestMatch":true},{"id":28458,'
        b'"price":"4.10000000","qty":"1.00000000","quoteQty":"4.1","time":1499865549591,'
        b'"isBuyerMaker":false,"isBestMatch":true}]'
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
        quantity_exponent=-5,
        tick=1,
        lot=1,
        base="BTC",
        quote="USDT",
        type=InstrumentType.SPOT,
    )
    odd_terms = (
        {"baseAsset": 7},
        {"quoteAsset": None},
        {"quoteAsset": ""},
    )
    odd_row: ClassVar[dict[str, object]] = {
        "filters": [{"filterType": "PRICE_FILTER", "tickSize": "a hundredth"}]
    }
    understood = (b'{"e":"serverShutdown","E":1770123456789}',)

    def make(self) -> BinanceSpot:
        return BinanceSpot()


def test_it_is_in_the_registry() -> None:
    venue = VENUES["binance-spot"](stream="trade", ws_url=None, rest_url=None, credentials=None)
    assert (venue.name, venue.short_name) == ("binance-spot", "binance-spot")
    assert venue.stream_url() == "wss://stream.binance.com:9443/stream"
    assert venue.rest_url == "https://api.binance.com"


def test_the_market_data_host_can_be_named() -> None:
    url = "wss://data-stream.binance.vision"
    assert BinanceSpot(ws_url=url).stream_url() == f"{url}/stream"


def test_times_are_in_microseconds_if_the_url_asks_for_them() -> None:
    url = "wss://stream.binance.com:9443"
    venue = BinanceSpot(ws_url=f"{url}?timeUnit=MICROSECOND")
    assert venue.stream_url() == f"{url}/stream?timeUnit=MICROSECOND"
    assert venue.time_exponent == -6
    (instrument,) = venue.parse_instruments(info(listed()), ("BTCUSDT",))
    assert instrument.time_exponent == -6
    assert venue.recent_trades_request("BTCUSDT").headers == {"X-MBX-TIME-UNIT": "MICROSECOND"}
    assert venue.time_request().headers == {}, "the venue's clock is asked for in milliseconds"
    fallback = venue.fallback()
    assert fallback is not None
    assert (fallback.time_exponent, fallback.stream) == (-6, "aggTrade")
    assert BinanceSpot().time_exponent == -3
    assert BinanceSpot().recent_trades_request("BTCUSDT").headers == {}


@pytest.mark.parametrize(
    ("tick", "step", "exponents", "steps"),
    [
        ("0.01000000", "0.00001000", (-2, -5), (1, 1)),
        ("0.05000000", "0.00025000", (-2, -5), (5, 25)),
        ("1.00000000", "10.00000000", (0, 0), (1, 10)),
        ("0.00000001", "1.00000000", (-8, 0), (1, 1)),
        ("0.00000000", "", (-8, -8), (0, 0)),
    ],
)
def test_exponents_come_from_tick_and_step_or_else_from_the_precision(
    tick: str, step: str, exponents: tuple[int, int], steps: tuple[int, int]
) -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": tick},
        {"filterType": "LOT_SIZE", "stepSize": step},
    ]
    body = info(listed(filters=filters))
    (instrument,) = BinanceSpot().parse_instruments(body, ("BTCUSDT",))
    assert (instrument.price_exponent, instrument.quantity_exponent) == exponents
    assert (instrument.tick, instrument.lot) == steps


def test_a_symbol_without_spot_trading_cannot_be_subscribed_to() -> None:
    listing = BinanceSpot().parse_listing(info(listed(isSpotTradingAllowed=False)))
    assert listing.fault("BTCUSDT") == "BTCUSDT has no spot trading at binance-spot"


def test_a_shutdown_is_an_announcement_and_not_a_trade() -> None:
    for message in (SHUTDOWN, b'{"e":"serverShutdown","E":1770123456789}'):
        items: list[VenueItem] = []
        outcome = BinanceSpot().dialogue(("BTCUSDT",)).receive(message, items)
        assert outcome is not None
        assert "will close" in str(outcome.closes)
        assert items == []


def test_an_aggregate_has_its_own_id_and_its_first_fill() -> None:
    item = BinanceSpot(stream="aggTrade").parse(AGGREGATE)
    assert isinstance(item, VenueTrade)
    assert (item.trade_id, item.first_fill, item.kind) == (
        3_077_868_433,
        3_735_683_259,
        TradeKind.AGGREGATE,
    )


def test_an_event_of_another_stream_is_unexpected() -> None:
    with pytest.raises(VenueMessageError):
        BinanceSpot().parse(AGGREGATE)
    with pytest.raises(VenueMessageError):
        BinanceSpot(stream="aggTrade").parse(TRADE)


def test_an_error_answer_is_a_refusal() -> None:
    with pytest.raises(VenueRefusalError, match="Too many subscriptions"):
        BinanceSpot().parse(b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}')


def test_with_a_key_trades_are_asked_for_by_their_ids() -> None:
    request = BinanceSpot(credentials=Credentials(secret="key")).history_request("BTCUSDT", 7)
    assert request.path == "/api/v3/historicalTrades"
    assert request.query["fromId"] == "7"
    assert request.headers == {"X-MBX-APIKEY": "key"}
    assert BinanceSpot().history_request("BTCUSDT", 7).path == "/api/v3/trades"


def recorded() -> Iterator[bytes]:
    with gzip.open(capture_path(RECORDING), "rb") as file:
        for line in file:
            yield line.split(b" ", 1)[1].strip()


def test_the_recording_goes_through_without_a_hole() -> None:
    """Its quotes and books are none of this stream's; its trades are whole, to the id."""
    venue = BinanceSpot()
    instruments = venue.parse_instruments(info(listed()), ("BTCUSDT",))
    anomalies = Anomalies(clock=lambda: 0.0)
    sequences = Sequences(instruments, venue.stream, anomalies)
    dialogue, items = venue.dialogue(("BTCUSDT",)), list[VenueItem]()
    texts: list[tuple[str, str]] = []
    others = 0
    for message in recorded():
        try:
            dialogue.receive(message, items)
        except VenueMessageError:
            others += 1
            continue
        row = msgspec.json.decode(message)["data"]
        texts.append((row["p"], row["q"]))
    taken = sequences.take(items, venue.stream, 0.0)
    trades = [each for each in taken.records if isinstance(each, Trade)]
    assert len(trades) == len(texts) > 5_000
    assert others > 20_000
    assert not [each for each in taken.records if isinstance(each, Gap)]
    assert (taken.has_holes, anomalies.counts) == (False, {})
    ids = [each.trade_id for each in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for trade, (price, quantity) in zip(trades, texts, strict=True):
        assert float(price) == trade.price_float
        assert float(quantity) == trade.quantity_float
