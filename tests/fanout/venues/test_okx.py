"""OKX as every venue: the contract, the URLs and kinds of data, the listing and REST. The messages
are OKX's own examples."""

import json
from typing import Any, ClassVar

import pytest

from fanout.errors import ConfigError, UsageError, VenueMessageError
from fanout.protocol import DataKinds, Instrument, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.venues import VenueTrade
from fanout.venues.okx import Okx
from fanout.venues.values import Refusal, Request
from tests.contracts.venue import VenueContract

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
NOT_TRADES = DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE

TRADE = (
    b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
    b'"tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897"}]}'
)
SPOT: dict[str, object] = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "instFamily": "",
    "baseCcy": "BTC",
    "quoteCcy": "USDT",
    "settleCcy": "",
    "ctVal": "",
    "ctMult": "",
    "ctValCcy": "",
    "ctType": "",
    "tickSz": "0.1",
    "lotSz": "0.00000001",
    "state": "live",
}
INVERSE: dict[str, object] = {
    "instType": "SWAP",
    "instId": "BTC-USD-SWAP",
    "instFamily": "BTC-USD",
    "baseCcy": "",
    "quoteCcy": "",
    "settleCcy": "BTC",
    "ctVal": "100",
    "ctMult": "1",
    "ctValCcy": "USD",
    "ctType": "inverse",
    "tickSz": "0.1",
    "lotSz": "1",
    "state": "live",
}
OPTION: dict[str, object] = {
    **INVERSE,
    "instType": "OPTION",
    "instId": "BTC-USD-220325-40000-C",
    "ctVal": "1",
    "ctMult": "0.01",
    "ctValCcy": "BTC",
    "ctType": "",
    "tickSz": "0.0001",
}
UNDERLYING = b'{"code":"0","msg":"","data":[["BTC-USD","ETH-USD","BTC-USD"]]}'


def answer(*rows: object, code: str = "0", msg: str = "") -> bytes:
    return json.dumps({"code": code, "msg": msg, "data": rows}).encode()


def record(trade_id: int, **changes: object) -> dict[str, object]:
    row = {"instId": "BTC-USDT", "side": "sell", "sz": "0.00001", "px": "29963.2", "source": "0"}
    return {**row, "tradeId": str(trade_id), "ts": "1654161646974", **changes}


def acknowledgement(symbol: str, channel: str = "trades-all") -> bytes:
    arg = {"channel": channel, "instId": symbol}
    return json.dumps({"event": "subscribe", "arg": arg, "connId": "a4d3ae55"}).encode()


class TestOkx(VenueContract):
    trade_message = TRADE
    trade = VenueTrade(
        "BTC-USDT", 130639474, 1630048897897, "42219.9", "0.12060306", False, TradeKind.MARKET
    )
    acknowledgement = acknowledgement("BTC-USDT")
    instruments_body = answer(SPOT, INVERSE, OPTION)
    listing_rows: ClassVar[tuple[str, ...]] = ("data",)
    symbol_column = "instId"
    status_column = "state"
    symbols: ClassVar[tuple[str, ...]] = ("BTC-USDT", "BTC-USD-SWAP", "BTC-USD-220325-40000-C")
    recent_trades_body = answer(record(242720720), record(242720719, ts="1654161641568"))
    recent_rows = ("data",)
    bad_trade: ClassVar[dict[str, object]] = {"px": None}
    error_body = b'{"code":"51001","msg":"Instrument ID doesn\'t exist.","data":[]}'
    odd_row: ClassVar[dict[str, object]] = {"tickSz": "a tenth"}
    instrument = Instrument(
        index=7,
        symbol="BTC-USDT",
        price_exponent=-1,
        quantity_exponent=-8,
        tick=1,
        lot=1,
        base="BTC",
        quote="USDT",
        type=InstrumentType.SPOT,
    )
    odd_terms = (
        {"tickSz": "9" * 20 + ".1"},
        {"baseCcy": None},
        {"baseCcy": "B" * 33},
        {"quoteCcy": ["USDT"]},
        {"quoteCcy": "US\x1bDT"},
    )

    def make(self) -> Okx:
        return Okx()

    def acknowledgements(self) -> tuple[bytes, ...]:
        return tuple(map(acknowledgement, self.symbols))

    def test_a_listing_without_underlyings_is_one(self) -> None:
        assert self.make().parse_listing(answer(), answer([])).rows == {}

    def test_a_dialogue_knows_what_was_not_answered(self) -> None:
        dialogue = self.make().dialogue(self.symbols)
        assert dialogue.unanswered == frozenset()
        dialogue.opening()
        waiting = set(self.symbols)
        for symbol in self.symbols:
            assert dialogue.unanswered == waiting
            outcome = dialogue.receive(acknowledgement(symbol), [])
            assert outcome is not None
            assert outcome.confirmed == (symbol,)
            waiting.remove(symbol)
        assert dialogue.unanswered == frozenset()


# URLs and kinds of data.


def test_trades_one_by_one_are_at_another_url_than_all_else() -> None:
    assert Okx().stream_url() == "wss://ws.okx.com:8443/ws/v5/business"
    assert Okx(stream="aggTrade", data=ALL).stream_url() == "wss://ws.okx.com:8443/ws/v5/public"
    assert Okx(data=NOT_TRADES).stream_url() == "wss://ws.okx.com:8443/ws/v5/public"
    assert Okx(ws_url="ws://[::1]:9/").stream_url() == "ws://[::1]:9/business"
    assert Okx(rest_url="http://[::1]:8/").rest_url == "http://[::1]:8"


def test_with_trades_one_by_one_it_has_two_parts() -> None:
    trades, others = Okx(data=ALL, ws_url="ws://[::1]:9", rest_url="http://[::1]:8").parts()
    assert (trades.data, others.data) == (DataKinds.TRADES, NOT_TRADES)
    assert trades.stream_url() == "ws://[::1]:9/business"
    assert others.stream_url() == "ws://[::1]:9/public"
    assert {trades.rest_url, others.rest_url} == {"http://[::1]:8"}
    for data in (DataKinds.TRADES, NOT_TRADES):
        assert [each.data for each in Okx(data=data).parts()] == [data]
    assert [each.data for each in Okx(stream="aggTrade", data=ALL).parts()] == [ALL]


def test_a_venue_of_two_parts_has_no_connection_of_its_own() -> None:
    with pytest.raises(AssertionError, match="two parts"):
        Okx(data=ALL).stream_url()
    with pytest.raises(AssertionError, match="two parts"):
        Okx(data=ALL).dialogue(())


def test_aggregates_take_the_place_of_silent_trades() -> None:
    other = Okx(data=ALL, ws_url="ws://[::1]:9").fallback()
    assert other is not None
    assert (other.stream, other.data, other.ws_url) == ("aggTrade", ALL, "ws://[::1]:9")
    assert other.fallback() is None
    assert Okx(data=NOT_TRADES).fallback() is None


@pytest.mark.parametrize(
    ("stream", "data", "channels"),
    [
        ("trade", DataKinds.TRADES, ["trades-all"]),
        ("aggTrade", ALL, ["trades", "bbo-tbt", "books"]),
        ("trade", DataKinds.QUOTES, ["bbo-tbt"]),
        ("trade", DataKinds.BOOK_BY_PRICE, ["books"]),
    ],
)
def test_a_connection_subscribes_to_the_channels_of_its_kinds(
    stream: str, data: DataKinds, channels: list[str]
) -> None:
    (opening,) = Okx(stream=stream, data=data).dialogue(("BTC-USDT",)).opening()
    args = [{"channel": each, "instId": "BTC-USDT"} for each in channels]
    assert json.loads(opening) == {"op": "subscribe", "args": args}


def test_a_connection_has_fewer_than_thirty_books_and_longer_messages_with_them() -> None:
    trades, others = (each.limits for each in Okx(data=ALL).parts())
    assert (trades.subscriptions, others.subscriptions) == (300, 29)
    assert trades.message_bytes < 2**20 == others.message_bytes


@pytest.mark.parametrize("text", ["BTC/USDT", "BTC:USDT", "币-USDT", "BTC USDT"])
def test_a_symbol_of_other_letters_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be a symbol of OKX"):
        Okx.spell(text)


# The listing.


def test_options_are_listed_by_their_underlyings() -> None:
    requests = Okx().listing_requests()
    assert [each.query["instType"] for each in requests] == ["SPOT", "SWAP", "FUTURES", "OPTION"]
    instruments, underlying = requests[0], requests[-1]
    assert instruments.path == "/api/v5/public/instruments"
    assert underlying.path == "/api/v5/public/underlying"
    assert Okx().more_listing(instruments, answer(SPOT)) == ()
    assert Okx().more_listing(underlying, UNDERLYING) == tuple(
        Request(path=instruments.path, query={"instType": "OPTION", "uly": each}, is_optional=True)
        for each in ("BTC-USD", "ETH-USD")
    )
    assert Okx().more_listing(underlying, answer()) == ()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", answer("BTC-USD"), answer([1]), answer(code="50011"), b'{"code":"0"}']
)
def test_underlyings_that_cannot_be_read_are_a_message_error(body: bytes) -> None:
    underlying = Okx().listing_requests()[-1]
    with pytest.raises(VenueMessageError, match="listing is not as documented"):
        Okx().more_listing(underlying, body)


def test_a_listing_is_parsed_from_all_answers() -> None:
    listing = Okx().parse_listing(answer(SPOT), answer(INVERSE), UNDERLYING, answer(OPTION))
    assert list(listing.rows) == list(TestOkx.symbols)
    assert listing.odd == {}


def listed(row: dict[str, object], **changes: object) -> Instrument:
    row = {**row, **changes}
    return Okx().parse_listing(answer(row)).instrument(str(row["instId"]), 0)


LINEAR: dict[str, object] = {
    **INVERSE,
    "instId": "BTC-USDT-SWAP",
    "instFamily": "BTC-USDT",
    "ctVal": "0.01",
    "ctValCcy": "BTC",
    "ctType": "linear",
    "lotSz": "0.01",
}


@pytest.mark.parametrize(
    ("row", "kind", "assets", "contract"),
    [
        (SPOT, InstrumentType.SPOT, ("BTC", "USDT"), (1, 0)),
        (LINEAR, InstrumentType.LINEAR_PERPETUAL, ("BTC", "USDT"), (1, -2)),
        (INVERSE, InstrumentType.INVERSE_PERPETUAL, ("BTC", "USD"), (100, 0)),
        ({**LINEAR, "instType": "FUTURES"}, InstrumentType.FUTURE, ("BTC", "USDT"), (1, -2)),
        ({**INVERSE, "instType": "FUTURES"}, InstrumentType(5), ("BTC", "USD"), (100, 0)),
        (OPTION, InstrumentType.OPTION, ("BTC", "USD"), (1, -2)),
        ({**LINEAR, "instFamily": "BTC-USD_UM"}, InstrumentType(1), ("BTC", "USD"), (1, -2)),
        ({**LINEAR, "ctVal": "0.10", "ctMult": "10"}, InstrumentType(1), ("BTC", "USDT"), (1, 0)),
        ({**LINEAR, "ctVal": "0"}, InstrumentType(1), ("BTC", "USDT"), (1, 0)),
        ({**LINEAR, "ctVal": "1e3"}, InstrumentType(1), ("BTC", "USDT"), (1, 0)),
        ({**LINEAR, "ctVal": 5, "ctType": None}, InstrumentType.OTHER, ("BTC", "USDT"), (1, 0)),
        ({**LINEAR, "ctVal": "9" * 19, "ctMult": "9"}, InstrumentType(1), ("BTC", "USDT"), (1, 0)),
        ({**LINEAR, "instType": "EVENTS"}, InstrumentType.OTHER, ("BTC", "USDT"), (1, -2)),
        ({**LINEAR, "instFamily": 7}, InstrumentType(1), ("", ""), (1, -2)),
    ],
)
def test_terms_of_each_type(
    row: dict[str, object],
    kind: InstrumentType,
    assets: tuple[str, str],
    contract: tuple[int, int],
) -> None:
    found = listed(row)
    assert (found.type, (found.base, found.quote)) == (kind, assets)
    assert (found.contract_mantissa, found.contract_exponent) == contract


def test_exponents_and_steps_are_those_of_the_tick_and_the_lot() -> None:
    found = listed(OPTION, tickSz="0.0005", lotSz="1")
    assert (found.price_exponent, found.tick) == (-4, 5)
    assert (found.quantity_exponent, found.lot) == (0, 1)
    assert found.time_exponent == -3


@pytest.mark.parametrize("state", ["suspend", "preopen", "test", "post_only"])
def test_an_instrument_that_does_not_trade_is_refused_with_its_state(state: str) -> None:
    with pytest.raises(ConfigError, match=f"does not trade at okx now: state {state}"):
        listed(LINEAR, state=state)


def test_an_announced_instrument_may_lack_its_steps() -> None:
    with pytest.raises(ConfigError, match="state preopen"):
        listed(LINEAR, state="preopen", tickSz="", lotSz="")
    with pytest.raises(VenueMessageError, match="BTC-USDT-SWAP has step"):
        listed(LINEAR, tickSz="")


# Errors and the time.


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (200, answer(), None, ""),
        (200, b"<html>", None, ""),
        (200, answer(code="50011", msg="Too Many Requests"), Refusal.BUSY, "Too Many Requests"),
        (429, answer(code="50011", msg="Too Many Requests"), Refusal.BUSY, "(50011)"),
        (429, b"<html>", Refusal.BUSY, ""),
        (400, answer(code="51001", msg="no such"), Refusal.OTHER, "no such (51001)"),
        (200, answer(code="51001"), Refusal.OTHER, "no reason given (51001)"),
        (503, answer(code="50001", msg="unavailable"), Refusal.PASSING, "unavailable"),
        (400, answer(code="50004", msg="timeout"), Refusal.PASSING, "timeout"),
        (429, answer(code="50013", msg="busy"), Refusal.PASSING, "busy"),
        (500, answer(code="50026", msg="system"), Refusal.PASSING, "system"),
        (403, b"<html>", Refusal.FORBIDDEN, ""),
        (503, answer(), Refusal.PASSING, ""),
        (451, b"", Refusal.FORBIDDEN, ""),
    ],
)
def test_each_error_has_its_meaning_and_its_words(
    status: int, body: bytes, expected: Refusal | None, words: str
) -> None:
    assert Okx().verdict(status, body) == expected
    said = Okx().explain(status, body)
    assert words in said
    assert bool(words) == bool(said)


def test_the_time_is_read() -> None:
    request = Okx().time_request()
    assert (request.path, request.weight) == ("/api/v5/public/time", 2)
    assert Okx().parse_time(answer({"ts": "1597026383085"})) == 1597026383085


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        answer(),
        answer({}),
        answer({"ts": "-1"}),
        answer({"ts": "1.5"}),
        answer({"ts": "1" + "0" * 14}),
        answer({"ts": "1"}, {"ts": "2"}),
        answer({"ts": "1597026383085"}, code="50026"),
    ],
)
def test_a_time_that_cannot_be_is_refused(body: bytes) -> None:
    with pytest.raises(VenueMessageError, match="the venue's time is not as documented"):
        Okx().parse_time(body)


# Trades over REST.


def ids(body: bytes) -> list[int]:
    return [each.trade_id for each in Okx().parse_recent_trades(body, "BTC-USDT")]


def test_recent_trades_are_asked_for_and_read() -> None:
    request = Okx().recent_trades_request("BTC-USDT")
    assert request.path == "/api/v5/market/trades"
    assert request.query == {"instId": "BTC-USDT", "limit": "500"}
    body = answer(record(9, side="buy", source="1"), record(8, source="x"), record(7))
    assert Okx().parse_recent_trades(body, "BTC-USDT") == tuple(
        VenueTrade("BTC-USDT", number, 1654161646974, "29963.2", "0.00001", is_maker, kind)
        for number, is_maker, kind in (
            (7, True, TradeKind.MARKET),
            (8, True, TradeKind.OTHER),
            (9, False, TradeKind.RPI),
        )
    )
    (late,) = Okx().parse_recent_trades(answer(record(7, ts=str(10**13 + 1))), "BTC-USDT")
    assert (late.trade_id, late.time, late.price) == (7, 0, ""), "a time that cannot be read"
    assert ids(answer()) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "truncated"),
        (b"<html>", "malformed"),
        (b'{"code":"0","msg":""}', "array"),
        (answer(code="51001", msg="no such"), r"no such \(51001\)"),
        (answer(record(5), record(5)), "an id comes twice"),
        (answer(record(-1)), "out of range"),
        (answer(record(2**64)), "out of range"),
        (answer({"instId": "BTC-USDT"}), "tradeId"),
        (answer({"tradeId": "1_0"}), "tradeId"),
        (answer(record(5, instId="ETH-USDT")), "a row of ETH-USDT"),
        (answer([]), "object"),
    ],
)
def test_trades_that_cannot_be_read_are_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(VenueMessageError, match=f"trades of BTC-USDT are not.*{words}"):
        Okx().parse_recent_trades(body, "BTC-USDT")
    with pytest.raises(VenueMessageError, match=f"trades of BTC-USDT are not.*{words}"):
        Okx().parse_history(body, "BTC-USDT", 1)


def page(*trade_ids: int, first_id: int) -> Any:
    body = answer(*(record(each) for each in reversed(trade_ids)))
    return Okx().parse_history(body, "BTC-USDT", first_id)


def test_history_is_asked_for_below_the_end_of_a_page() -> None:
    request = Okx().history_request("BTC-USDT", 1_000)
    assert request.path == "/api/v5/market/history-trades"
    assert request.query == {"instId": "BTC-USDT", "type": "1", "after": "1100", "limit": "100"}


def test_a_full_page_is_not_the_end() -> None:
    history = page(*range(1_000, 1_100), first_id=1_000)
    assert (history.first_id, history.last_id, history.is_newest) == (1_000, 1_099, False)
    assert [each.trade_id for each in history.trades] == list(range(1_000, 1_100))


def test_a_page_up_to_the_newest_trade_is_the_end_and_reaches_below() -> None:
    history = page(*range(905, 1_005), first_id=1_000)
    assert (history.first_id, history.last_id, history.is_newest) == (1_000, 1_004, True)
    assert len(history.trades) == 5


def test_a_page_that_begins_later_says_where_the_history_begins() -> None:
    history = page(1_050, 1_051, first_id=1_000)
    assert (history.first_id, history.last_id, history.is_newest) == (1_050, 1_051, True)


def test_a_page_without_trades_from_the_first_id_on_is_empty() -> None:
    assert page(first_id=1_000) is None
    assert page(998, 999, first_id=1_000) is None


def test_a_page_beyond_what_was_asked_for_is_refused() -> None:
    with pytest.raises(VenueMessageError, match="id 1100, asked for those below 1100"):
        page(1_100, first_id=1_000)
