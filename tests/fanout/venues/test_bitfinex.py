"""Bitfinex as every venue: the contract, URLs and kinds of data, the listing and REST. Messages are
the documented ones, or recorded by others from 2017 to 2021."""

import json
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from fanout.errors import ConfigError, UsageError, VenueMessageError
from fanout.protocol import DataKinds, Instrument, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.venues import VenueTrade
from fanout.venues.bitfinex import Bitfinex
from fanout.venues.bitfinex.rows import price_exponent
from fanout.venues.values import History, Refusal, Request
from tests.contracts.venue import VenueContract

BOOK = DataKinds.BOOK_BY_PRICE
ALL = DataKinds.TRADES | DataKinds.QUOTES | BOOK

TE = b'[17470,"te",[401597395,1574694478808,0.005,7245.3]]'


def subscribed(channel: str, number: int, symbol: str) -> bytes:
    fields = {"channel": channel, "chanId": number, "symbol": symbol, "pair": symbol[1:]}
    return json.dumps({"event": "subscribed", **fields}).encode()


def pairs(*exchange: object, futures: tuple[object, ...] = ()) -> bytes:
    return json.dumps([exchange, futures]).encode()


def ticker(symbol: str, price: str) -> str:
    return f'["{symbol}",1,30.1,2,27.4,-5,-0.0007,{price},1287.3,3,4]'


class TestBitfinex(VenueContract):
    """A row of the listing is a name. Pairs that do not trade are not listed."""

    trade_message = TE
    trade = VenueTrade(
        "tBTCUSD", 401597395, 1574694478808, "7245.3", "0.005", False, TradeKind.MARKET
    )
    symbols: ClassVar[tuple[str, ...]] = ("tBTCUSD", "tTESTBTC:TESTUSD", "tBTCF0:USTF0")
    preamble: ClassVar[tuple[bytes, ...]] = (subscribed("trades", 17470, "tBTCUSD"),)
    acknowledgement = subscribed("trades", 19111, "tBTCUSD")
    instruments_body = pairs("BTCUSD", "TESTBTC:TESTUSD", futures=("BTCF0:USTF0",))
    recent_trades_body = (
        b"[[401597395,1574694478808,0.005,7245.3],[401597393,1574694475039,-0.005,7244.9]]"
    )
    recent_rows = ()
    error_body = b'["error",10020,"symbol: invalid"]'
    odd_row: ClassVar[dict[str, object]] = {}
    odd_terms = ()
    instrument = Instrument(
        index=7,
        symbol="tBTCUSD",
        price_exponent=-8,
        quantity_exponent=-8,
        base="BTC",
        quote="USD",
        type=InstrumentType.SPOT,
    )

    def make(self) -> Bitfinex:
        return Bitfinex()

    def acknowledgements(self) -> tuple[bytes, ...]:
        return tuple(subscribed("trades", n, each) for n, each in enumerate(self.symbols))

    def listing(self, *more: dict[str, object]) -> bytes:
        """A row with a status of its own stands among the futures."""
        exchange, futures = json.loads(self.instruments_body)
        for each in more:
            rows = futures if "status" in each else exchange
            rows.append(each.get("symbol", "BTCUSD"))
        return pairs(*exchange, futures=futures)

    def empty_listing(self) -> bytes:
        return pairs()

    def spoil(self, row: Any) -> None:
        row[3] = None

    def unsubscribed(self, symbol: str) -> str:
        return "17470"

    def test_an_odd_row_is_named_and_hides_no_other(self) -> None:
        for odd in (7, None, "", ["BTCUSD"]):
            listing = self.make().parse_listing(self.listing({"symbol": odd}))
            assert listing.odd.keys() == {"row 2"}
            assert [each for each in self.symbols if listing.fault(each)] == []

    def test_an_odd_row_that_was_asked_for_is_named_in_the_error(self) -> None:
        symbol = "t" + "S" * 64
        listing = self.make().parse_listing(self.listing({"symbol": symbol[1:]}))
        with pytest.raises(VenueMessageError, match="a symbol of 65 bytes"):
            listing.instrument(symbol, 0)

    def test_a_row_with_an_unknown_status_does_not_trade(self) -> None:
        listing = self.make().parse_listing(self.instruments_body)
        with pytest.raises(ConfigError, match="NEWUSD is not listed"):
            listing.instrument("tNEWUSD", 0)


# URLs, kinds of data, symbols.


def test_it_is_at_one_url_for_all_data() -> None:
    assert Bitfinex().stream_url() == "wss://api-pub.bitfinex.com/ws/2"
    venue = Bitfinex(ws_url="ws://[::1]:9/", rest_url="http://[::1]:8/", data=ALL)
    assert (venue.stream_url(), venue.rest_url) == ("ws://[::1]:9/ws/2", "http://[::1]:8")


@pytest.mark.parametrize(
    ("data", "symbols"),
    [(DataKinds.TRADES, 25), (BOOK, 25), (DataKinds.QUOTES | BOOK, 25), (ALL, 12)],
)
def test_a_connection_has_25_channels(data: DataKinds, symbols: int) -> None:
    assert Bitfinex(data=data).limits.subscriptions == symbols


@pytest.mark.parametrize(
    ("typed", "symbol"),
    [
        ("btcusd", "tBTCUSD"),
        ("BTCUSD", "tBTCUSD"),
        ("tBTCUSD", "tBTCUSD"),
        ("trxusd", "tTRXUSD"),
        ("TRXUSD", "tTRXUSD"),
        ("tTRXUSD", "tTRXUSD"),
        ("testbtc:testusd", "tTESTBTC:TESTUSD"),
        ("t1INCH:USD", "t1INCH:USD"),
        ("btcf0:ustf0", "tBTCF0:USTF0"),
        ("*usd", "*USD"),
        ("t*usd", "t*USD"),
        ("btc*", "tBTC*"),
        ("[bt]tc?", "[BT]TC?"),
    ],
)
def test_a_symbol_is_t_and_a_pair_in_upper_case(typed: str, symbol: str) -> None:
    assert Bitfinex.spell(typed) == symbol
    assert Bitfinex.spell(symbol) == symbol


@pytest.mark.parametrize("typed", ["", "BTC/USD", "BTC USD", "币", "BTC\x1b"])
def test_what_cannot_be_a_symbol_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="cannot be a symbol of Bitfinex: it looks like tBTCUSD"):
        Bitfinex.spell(typed)


# The listing.


@pytest.mark.parametrize(
    ("price", "exponent"),
    [
        ("93452", -8),
        ("6443.06516425", -8),
        ("0.10000", -8),
        ("0.0010269", -8),
        ("0.00099999", -9),
        ("0.00005767", -10),
        ("0.00000001", -13),
        ("0.00000000000000001", -18),
        ("0", -8),
        ("0.0", -8),
    ],
)
def test_prices_have_eight_decimals_or_six_digits(price: str, exponent: int) -> None:
    assert price_exponent(price) == exponent


def test_the_last_price_gives_the_exponent_and_a_bad_ticker_gives_none() -> None:
    rows = [
        ticker("tPEPE:USD", "4.45e-6"),
        ticker("tBTCUSD", "null"),
        ticker("tETHUSD", '"0.1"'),
        '["tLTCUSD",1]',
        "7",
        ticker("fUSD", "0.0001"),
    ]
    names = ("PEPE:USD", "BTCUSD", "ETHUSD", "LTCUSD", "XRPUSD")
    body = f"[{','.join(rows)}]".encode()
    listing = Bitfinex().parse_listing(pairs(*names), body)
    assert listing.odd == {}
    assert [listing.rows[f"t{each}"].price_exponent for each in names] == [-11, -8, -8, -8, -8]
    assert {each.quantity_exponent for each in listing.rows.values()} == {-8}


@pytest.mark.parametrize(
    ("pair", "assets"),
    [
        ("BTCUSD", ("BTC", "USD")),
        ("1INCH:USD", ("1INCH", "USD")),
        ("BTCF0:USTF0", ("BTCF0", "USTF0")),
        ("ABCDE", ("", "")),
        ("A:", ("A", "")),
        ("A B:USD", ("", "USD")),
        ("B" * 33 + ":USD", ("", "USD")),
    ],
)
def test_a_pair_names_its_assets(pair: str, assets: tuple[str, str]) -> None:
    row = Bitfinex().parse_listing(pairs(pair)).rows[f"t{pair}"]
    assert (row.base, row.quote, row.type) == (*assets, InstrumentType.SPOT)


def test_a_future_is_a_linear_perpetual_of_the_assets_without_its_mark() -> None:
    row = Bitfinex().parse_listing(pairs(futures=("BTCF0:USTF0",))).rows["tBTCF0:USTF0"]
    assert (row.base, row.quote, row.type) == ("BTC", "UST", InstrumentType.LINEAR_PERPETUAL)


@pytest.mark.parametrize(
    "body", [b"[[]]", b'[["BTCUSD"],{}]', b"[[],[],[]]", b'["error",11010,"ratelimit: error"]']
)
def test_a_listing_without_its_two_lists_is_refused(body: bytes) -> None:
    with pytest.raises(VenueMessageError, match="listing is not as documented"):
        Bitfinex().parse_listing(body)


def test_an_instrument_may_be_somewhat_finer_than_its_row() -> None:
    venue = Bitfinex()
    row = venue.parse_listing(pairs("BTCUSD")).rows["tBTCUSD"]
    finer = {
        exponent: venue.still_fits(replace(row, price_exponent=exponent).instrument(0), row)
        for exponent in (-7, -8, -9, -11, -12)
    }
    assert finer == {-7: False, -8: True, -9: True, -11: True, -12: False}
    assert not venue.still_fits(replace(row, quantity_exponent=-9).instrument(0), row)
    assert not venue.still_fits(replace(row, time_exponent=-6).instrument(0), row)


# REST.


def test_requests_name_what_they_ask_for() -> None:
    venue = Bitfinex()
    assert venue.listing_requests() == (
        Request(path="/v2/conf/pub:list:pair:exchange,pub:list:pair:futures"),
        Request(path="/v2/tickers", query={"symbols": "ALL"}, weight=3),
    )
    path = "/v2/trades/tBTCUSD/hist"
    asked = [
        venue.recent_trades_request("tBTCUSD"),
        venue.recent_trades_request("tBTCUSD", since=1574694475039),
        venue.history_request("tBTCUSD", 7),
    ]
    assert {(each.path, each.weight) for each in asked} == {(path, 6)}
    assert [each.query for each in asked] == [
        {"limit": "100"},
        {"start": "1574694475039", "sort": "1", "limit": "10000"},
        {"limit": "10000"},
    ]
    assert (venue.time_request(), venue.book_request("tBTCUSD")) == (None, None)
    with pytest.raises(AssertionError, match="no request for whole books"):
        venue.parse_book(b"[]", TestBitfinex.instrument)


@pytest.mark.parametrize(
    ("place", "odd"), [(1, -1), (1, None), (2, "0.005"), (2, 0), (2, 1e-9), (3, None)]
)
def test_a_past_trade_with_any_odd_value_keeps_its_id(place: int, odd: object) -> None:
    good = [7, 1574694475039, 0.005, 7244.9]
    bad: list[object] = [8, *good[1:]]
    bad[place] = odd
    body = json.dumps([[9, *good[1:]], bad, good]).encode()
    trades = Bitfinex().parse_recent_trades(body, "tBTCUSD")
    assert [(each.trade_id, each.price) for each in trades] == [
        (7, "7244.9"),
        (8, ""),
        (9, "7244.9"),
    ]
    assert trades[1].time == (0 if place == 1 else 1574694475039), "it is reported by its time"


def test_history_is_the_newest_trades() -> None:
    history = Bitfinex().parse_history(TestBitfinex.recent_trades_body, "tBTCUSD", 5)
    assert isinstance(history, History)
    assert (history.first_id, history.last_id, history.is_newest) == (401597393, 401597395, True)
    assert [each.buyer_is_maker for each in history.trades] == [True, False]
    assert Bitfinex().parse_history(b"[]", "tBTCUSD", 5) is None


@pytest.mark.parametrize("body", [b"[[]]", b'[["7",1,1,1]]', b"[[-1,1,1,1]]", b"[7]", b'[{"a":1}]'])
def test_trades_without_a_readable_id_are_refused(body: bytes) -> None:
    with pytest.raises(VenueMessageError, match="trades of tBTCUSD are not as documented"):
        Bitfinex().parse_recent_trades(body, "tBTCUSD")


@pytest.mark.parametrize(
    ("status", "body", "refusal", "words"),
    [
        (200, b"[[1,2,3,4]]", None, ""),
        (200, b"[]", None, ""),
        (500, b'["error",10020,"symbol: invalid"]', Refusal.OTHER, "symbol: invalid (10020)"),
        (429, b'["error",11010,"ratelimit: error"]', Refusal.BUSY, "ratelimit: error (11010)"),
        (500, b'["error",11010,"ratelimit: error"]', Refusal.BUSY, "ratelimit: error (11010)"),
        (429, b'{"error":"ERR_RATE_LIMIT"}', Refusal.BUSY, "ERR_RATE_LIMIT"),
        (200, b'{"error":"ERR_RATE_LIMIT"}', Refusal.BUSY, "ERR_RATE_LIMIT"),
        (503, b'["error",20060,"maintenance"]', Refusal.PASSING, "maintenance (20060)"),
        (500, b'["error",null,"ERR"]', Refusal.PASSING, "ERR"),
        (200, b'["error",1,"\\u001b[2J"]', Refusal.OTHER, "?[2J (1)"),
        (500, b'["error",1,["odd"]]', Refusal.PASSING, "['odd'] (1)"),
        (403, b"<html>", Refusal.FORBIDDEN, ""),
        (502, b"", Refusal.PASSING, ""),
        (404, b'["error"]', Refusal.OTHER, ""),
    ],
)
def test_refusals_have_a_code(
    status: int, body: bytes, refusal: Refusal | None, words: str
) -> None:
    venue = Bitfinex()
    assert venue.verdict(status, body) is refusal
    assert venue.explain(status, body) == words
