"""Coinbase's two venues: listings, REST and limits. Their messages are in `test_coinbase_exchange`
and `test_coinbase_advanced`."""

import json
from typing import Any, ClassVar

import pytest

from fanout.errors import ConfigError, UsageError, VenueMessageError
from fanout.protocol import DataKinds, Instrument, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.venues import VenueTrade
from fanout.venues.coinbase import Coinbase, CoinbaseAdvanced
from fanout.venues.coinbase.venue import CoinbaseVenue
from fanout.venues.values import BookSource, Refusal
from tests.contracts.venue import VenueContract

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE

MATCH = (
    b'{"type":"match","trade_id":881613,"maker_order_id":"27fff20b-af29-4f45-8744-56dd1ef57dc0","t'
    b'aker_order_id":"1da6ce16-c8da-4732-9f71-6049f4c6aaf8","side":"sell","size":"0.04","price":"1'
    b'4.7775","product_id":"BAND-GBP","sequence":333938798,"time":"2021-04-17T16:43:30.244075Z"}'
)
MATCHED = VenueTrade(
    "BAND-GBP", 881613, 1618677810244075, "14.7775", "0.04", False, TradeKind.MARKET
)
MARKET_TRADES = (
    b'{"channel":"market_trades","client_id":"","timestamp":"2026-04-07T14:30:02.789012Z","sequenc'
    b'e_num":5,"events":[{"type":"update","trades":[{"trade_id":"995098700","product_id":"BTC-USD"'
    b',"price":"68900.50","size":"0.00150000","side":"BUY","time":"2026-04-07T14:30:02.789012Z"}]}'
    b"]}"
)
MARKET_TRADE = VenueTrade(
    "BTC-USD", 995098700, 1775572202789012, "68900.50", "0.00150000", True, TradeKind.MARKET
)
BTC = Instrument(
    index=7,
    symbol="BTC-USD",
    price_exponent=-2,
    quantity_exponent=-8,
    time_exponent=-6,
    tick=1,
    lot=1,
    base="BTC",
    quote="USD",
    type=InstrumentType.SPOT,
)
SYMBOLS = ("BTC-USD", "ETH-USD", "BAND-GBP")
NO_MILLIS = b'{"iso":"2026-04-07T14:30:00Z","epochMillis":"soon"}'


def exchange_row(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": "BTC-USD",
        "base_currency": "BTC",
        "quote_currency": "USD",
        "quote_increment": "0.01",
        "base_increment": "0.00000001",
        "display_name": "BTC-USD",
        "min_market_funds": "1",
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "auction_mode": False,
    }
    return {**row, **changes}


def advanced_row(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "product_id": "BTC-USD",
        "price": "68925.98",
        "base_increment": "0.00000001",
        "quote_increment": "0.01",
        "price_increment": "0.01",
        "is_disabled": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": "USD",
        "base_currency_id": "BTC",
        "alias": "",
        "alias_to": ["BTC-USDC"],
        "fcm_trading_session_details": None,
    }
    return {**row, **changes}


def past(number: object, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "trade_id": number,
        "side": "sell",
        "size": "0.00064",
        "price": "68923.67",
        "time": "2026-04-07T00:28:58.544778Z",
    }
    return {**row, **changes}


def ticked(number: object, **changes: object) -> dict[str, object]:
    more = {"product_id": "BTC-USD", "side": "SELL", "bid": "", "ask": ""}
    return past(number, **{**more, **changes})


def products(rows: list[Any]) -> bytes:
    return json.dumps({"products": rows, "num_products": len(rows), "pagination": None}).encode()


def ticker(rows: list[Any]) -> bytes:
    return json.dumps({"trades": rows, "best_bid": "68923.66", "best_ask": "68923.67"}).encode()


class TestCoinbase(VenueContract):
    trade_message = MATCH
    trade = MATCHED
    acknowledgement = json.dumps(
        {
            "type": "subscriptions",
            "channels": [
                {"name": each, "product_ids": SYMBOLS} for each in ("heartbeat", "matches")
            ],
        }
    ).encode()
    instruments_body = json.dumps([exchange_row(id=each) for each in SYMBOLS]).encode()
    symbols = SYMBOLS
    recent_trades_body = json.dumps([past(1001), past(1000)]).encode()
    listing_rows = ()
    symbol_column = "id"
    status_column = "status"
    recent_rows = ()
    error_body = b'{"message":"NotFound"}'
    odd_row: ClassVar[dict[str, object]] = {"quote_increment": "a hundredth"}
    odd_terms = ({"base_currency": None}, {"base_currency": "B" * 33}, {"quote_currency": ""})
    instrument = BTC

    def make(self) -> Coinbase:
        return Coinbase()

    def test_its_limits_and_its_continuity_are_stated(self) -> None:
        check_limits(Coinbase(data=ALL), 8)


class TestCoinbaseAdvanced(VenueContract):
    trade_message = MARKET_TRADES
    trade = MARKET_TRADE
    acknowledgement = json.dumps(
        {
            "channel": "subscriptions",
            "timestamp": "2026-04-07T14:30:00.000000Z",
            "sequence_num": 0,
            "events": [{"subscriptions": {"market_trades": SYMBOLS}}],
        }
    ).encode()
    instruments_body = products([advanced_row(product_id=each) for each in SYMBOLS])
    symbols = SYMBOLS
    recent_trades_body = ticker([ticked("995098663"), ticked("995098662")])
    listing_rows = ("products",)
    symbol_column = "product_id"
    status_column = "status"
    recent_rows = ("trades",)
    error_body = (
        b'{"error":"INVALID_ARGUMENT","error_details":"valid product_id is required","message":"val'
        b'id product_id is required"}'
    )
    odd_row: ClassVar[dict[str, object]] = {"base_increment": "0"}
    odd_terms = ({"base_currency_id": 7}, {"quote_currency_id": None})
    instrument = BTC

    def make(self) -> CoinbaseAdvanced:
        return CoinbaseAdvanced()

    def next_trade_message(self) -> bytes:
        return MARKET_TRADES.replace(b'"sequence_num":5', b'"sequence_num":6')

    def test_its_limits_and_its_continuity_are_stated(self) -> None:
        check_limits(CoinbaseAdvanced(data=ALL), 16)


def check_limits(venue: CoinbaseVenue, megabytes: int) -> None:
    limits = venue.limits
    assert limits.message_bytes == megabytes * 1024 * 1024, "a whole book is one message"
    assert (limits.weight, limits.window_s) == (5, 1.0)
    assert limits.messages_a_second <= 8
    assert (limits.subscriptions, type(venue)().limits.subscriptions) == (50, 200)


# The venues.


@pytest.mark.parametrize("venue", [Coinbase, CoinbaseAdvanced])
def test_the_urls_can_be_a_simulators(venue: type[CoinbaseVenue]) -> None:
    made = venue(ws_url="ws://127.0.0.1:9/", rest_url="http://127.0.0.1:8/")
    assert (made.stream_url(), made.rest_url) == ("ws://127.0.0.1:9", "http://127.0.0.1:8")
    assert (made.book_source, made.has_book_ids) == (BookSource.STREAM, False)
    assert made.quotes_from_book
    assert made.brings_signs
    assert made.book_request("BTC-USD") is None
    with pytest.raises(AssertionError):
        made.parse_book(b"{}", BTC)


def test_each_has_its_own_hosts() -> None:
    assert Coinbase().stream_url() == "wss://ws-feed.exchange.coinbase.com"
    assert Coinbase().rest_url == "https://api.exchange.coinbase.com"
    assert CoinbaseAdvanced().stream_url() == "wss://advanced-trade-ws.coinbase.com"
    assert CoinbaseAdvanced().rest_url == "https://api.coinbase.com"
    assert [each.path for each in Coinbase().listing_requests()] == ["/products"]
    spot, future = CoinbaseAdvanced().listing_requests()
    assert {spot.path, future.path} == {"/api/v3/brokerage/market/products"}
    assert (spot.query, spot.is_optional) == ({"product_type": "SPOT"}, False)
    assert (future.query, future.is_optional) == ({"product_type": "FUTURE"}, True)


@pytest.mark.parametrize("text", ["BTC/USD", "BTC USD", "币", "BTC:USD"])
def test_a_text_that_can_be_no_symbol_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be a symbol of Coinbase"):
        Coinbase.spell(text)
    assert Coinbase.spell("btc-*") == "BTC-*"


def test_the_time_is_in_the_answers_text() -> None:
    for venue, path, body in (
        (Coinbase(), "/time", b'{"iso":"2026-04-07T14:30:00.123Z","epoch":1775572200.123}'),
        (
            CoinbaseAdvanced(),
            "/api/v3/brokerage/time",
            b'{"iso":"2026-04-07T14:30:00Z","epochMillis":"1775572200123"}',
        ),
    ):
        assert venue.time_request().path == path
        assert venue.parse_time(body) == 1775572200123
    for bad in (
        b"",
        b"{}",
        b'{"iso":7}',
        b'{"iso":"now"}',
        b'{"iso":"9999-01-01T00:00:00Z"}',
        NO_MILLIS,
    ):
        with pytest.raises(VenueMessageError, match="the venue's time is not as documented"):
            Coinbase().parse_time(bad)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, None),
        (403, Refusal.FORBIDDEN),
        (404, Refusal.OTHER),
        (429, Refusal.BUSY),
        (503, Refusal.PASSING),
    ],
)
def test_a_status_says_whether_a_request_was_refused(status: int, meaning: Refusal | None) -> None:
    assert Coinbase().verdict(status, b'{"message":"x"}') == meaning
    assert CoinbaseAdvanced().verdict(status, b'{"message":"x"}') == meaning


# The listings.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "delisted"}, "does not trade at coinbase now: status delisted"),
        ({"trading_disabled": True}, "does not trade at coinbase now: trading_disabled"),
        ({"cancel_only": True}, "does not trade at coinbase now: cancel_only"),
        ({"post_only": True}, "does not trade at coinbase now: post_only"),
        ({"auction_mode": True}, "does not trade at coinbase now: auction_mode"),
    ],
)
def test_what_does_not_trade_is_refused_with_its_switch(
    changes: dict[str, object], words: str
) -> None:
    exchange = Coinbase().parse_listing(json.dumps([exchange_row(**changes)]).encode())
    assert exchange.fault("BTC-USD") == f"BTC-USD {words}"
    advanced = CoinbaseAdvanced().parse_listing(products([advanced_row(**changes)]))
    assert str(advanced.fault("BTC-USD")).startswith("BTC-USD does not trade")


def test_an_alias_is_refused_with_the_name_that_the_stream_uses() -> None:
    body = products([advanced_row(), advanced_row(product_id="BTC-USDC", alias="BTC-USD")])
    with pytest.raises(ConfigError, match=r"BTC-USDC is an alias of BTC-USD .*: use that"):
        CoinbaseAdvanced().parse_listing(body).instrument("BTC-USDC", 0)


@pytest.mark.parametrize(
    ("expiry", "kind"),
    [("EXPIRING", InstrumentType.FUTURE), ("PERPETUAL", InstrumentType.LINEAR_PERPETUAL)],
)
def test_a_future_has_contracts_and_no_status(expiry: str, kind: InstrumentType) -> None:
    terms: dict[str, object] = {
        "contract_size": "0.01",
        "contract_root_unit": "BTC",
        "contract_expiry_type": expiry,
    }
    row = advanced_row(
        product_id="BIT-24APR26-CDE",
        product_type="FUTURE",
        status="",
        base_currency_id="",
        base_increment="1",
        price_increment="5",
        future_product_details=terms,
    )
    found = CoinbaseAdvanced().parse_listing(products([row])).instrument("BIT-24APR26-CDE", 0)
    assert (found.type, found.base, found.quote) == (kind, "BTC", "USD")
    assert (found.contract_mantissa, found.contract_exponent) == (1, -2)
    assert (found.tick, found.price_exponent, found.lot, found.quantity_exponent) == (5, 0, 1, 0)
    row["future_product_details"] = {**terms, "contract_size": 0.01}
    odd = CoinbaseAdvanced().parse_listing(products([row])).instrument("BIT-24APR26-CDE", 0)
    assert (odd.contract_mantissa, odd.contract_exponent, odd.base) == (1, 0, "")
    row["product_type"] = "SOMETHING_NEW"
    listing = CoinbaseAdvanced().parse_listing(products([{**row, "status": "online"}]))
    assert listing.rows["BIT-24APR26-CDE"].type is InstrumentType.OTHER


def test_a_page_of_a_listing_names_the_next_one_and_all_pages_are_joined() -> None:
    venue = CoinbaseAdvanced()
    spot, future = venue.listing_requests()
    row = advanced_row(product_id="BIT-24APR26-CDE", product_type="FUTURE", status="")
    page = json.loads(products([row]))
    page["pagination"] = {"next_cursor": "QklU=", "has_next": True, "prev_cursor": ""}
    body = json.dumps(page).encode()
    (more,) = venue.more_listing(future, body)
    assert (more.path, more.is_optional) == (future.path, True)
    assert more.query == {"product_type": "FUTURE", "cursor": "QklU="}
    assert venue.more_listing(more, body) == (), "the same cursor again is no next page"
    page["pagination"]["has_next"] = False
    assert venue.more_listing(future, json.dumps(page).encode()) == ()
    assert venue.more_listing(spot, products([])) == ()
    listing = venue.parse_listing(products([advanced_row()]), products([]), body, body)
    assert (set(listing.rows), listing.odd) == ({"BTC-USD", "BIT-24APR26-CDE"}, {})
    page["pagination"] = 7
    with pytest.raises(VenueMessageError, match="listing is not as documented"):
        venue.more_listing(future, json.dumps(page).encode())


# History.


def test_the_exchange_has_all_trades_by_id() -> None:
    venue = Coinbase()
    request = venue.history_request("BTC-USD", 7_000)
    assert request.path == "/products/BTC-USD/trades"
    assert request.query == {"after": "8000", "limit": "1000"}
    assert venue.recent_trades_request("BTC-USD").query == {"limit": "1000"}
    page = venue.parse_history(body_of(range(6_999, 8_000)), "BTC-USD", 7_000)
    assert page is not None
    assert (page.first_id, page.last_id, page.is_newest, len(page.trades)) == (
        7_000,
        7_999,
        False,
        1_000,
    )
    last = venue.parse_history(body_of(range(6_500, 7_100)), "BTC-USD", 7_000)
    assert last is not None
    assert (last.first_id, last.last_id, last.is_newest) == (7_000, 7_099, True)
    late = venue.parse_history(body_of(range(7_050, 7_100)), "BTC-USD", 7_000)
    assert late is not None
    assert late.first_id == 7_050, "where the history begins"
    assert venue.parse_history(body_of(range(6_000, 7_000)), "BTC-USD", 7_000) is None
    assert venue.parse_history(b"[]", "BTC-USD", 7_000) is None
    with pytest.raises(VenueMessageError, match="id 8000, asked for those below 8000"):
        venue.parse_history(body_of(range(7_900, 8_001)), "BTC-USD", 7_000)
    with pytest.raises(VenueMessageError, match="an id comes twice"):
        venue.parse_history(body_of((7_001, 7_001)), "BTC-USD", 7_000)


def body_of(numbers: Any) -> bytes:
    return json.dumps([past(number) for number in reversed(numbers)]).encode()


def test_a_past_trade_without_a_time_keeps_its_id() -> None:
    body = json.dumps([past(1001, time="yesterday"), past(1000)]).encode()
    trades = Coinbase().parse_recent_trades(body, "BTC-USD")
    assert [(each.trade_id, each.price) for each in trades] == [(1000, "68923.67"), (1001, "")]
    trades = CoinbaseAdvanced().parse_recent_trades(ticker([ticked("7", time="")]), "BTC-USD")
    assert [(each.trade_id, each.price) for each in trades] == [(7, "")]


def test_a_past_trade_has_the_side_of_the_aggressor() -> None:
    body = json.dumps([past(2, side="buy"), past(1, side="sell")]).encode()
    assert [each.buyer_is_maker for each in Coinbase().parse_recent_trades(body, "X")] == [
        False,
        True,
    ]
    body = ticker([ticked("2", side="BUY"), ticked("1", side="SELL")])
    trades = CoinbaseAdvanced().parse_recent_trades(body, "BTC-USD")
    assert [each.buyer_is_maker for each in trades] == [False, True]


def test_advanced_trade_has_the_newest_trades_only() -> None:
    venue = CoinbaseAdvanced()
    request = venue.history_request("BTC-USD", 7_000)
    assert request.path == "/api/v3/brokerage/market/products/BTC-USD/ticker"
    assert request.query == {"limit": "1000"}
    page = venue.parse_history(ticker([ticked("12"), ticked("9")]), "BTC-USD", 7_000)
    assert page is not None
    assert (page.first_id, page.last_id, page.is_newest) == (9, 12, True)
    assert venue.parse_history(ticker([]), "BTC-USD", 7_000) is None
    for bad in (ticked("12", product_id="ETH-USD"), ticked("12b"), ticked(12)):
        with pytest.raises(VenueMessageError, match="trades of BTC-USD are not as documented"):
            venue.parse_recent_trades(ticker([bad]), "BTC-USD")
