"""Deribit: its listing, its REST interface and its trades. Messages are as documented, or recorded
by others from 2021 to 2026."""

import json
from typing import Any, ClassVar

import pytest

from fanout.errors import ConfigError, UsageError, VenueMessageError
from fanout.protocol import DataKinds, Instrument, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.venues import Credentials, VenueItem, VenueTrade
from fanout.venues.deribit import Deribit
from fanout.venues.values import History, Refusal, Request
from tests.captures import capture_path
from tests.contracts.venue import VenueContract

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE

TRADE = {
    "timestamp": 1765531356452,
    "price": 92294.5,
    "amount": 10.0,
    "direction": "sell",
    "index_price": 92276.75,
    "instrument_name": "BTC-PERPETUAL",
    "trade_seq": 271252854,
    "mark_price": 92287.11,
    "tick_direction": 2,
    "contracts": 1.0,
    "trade_id": "403691824",
}

PERPETUAL = {
    "price_index": "btc_usd",
    "kind": "future",
    "instrument_name": "BTC-PERPETUAL",
    "instrument_type": "reversed",
    "expiration_timestamp": 32503708800000,
    "is_active": True,
    "state": "open",
    "tick_size": 0.5,
    "contract_size": 10.0,
    "min_trade_amount": 10.0,
    "block_trade_tick_size": 0.01,
    "settlement_currency": "BTC",
    "settlement_period": "perpetual",
    "base_currency": "BTC",
    "counter_currency": "USD",
    "quote_currency": "USD",
    "tick_size_steps": [],
}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def notification(channel: str, data: object) -> bytes:
    params = {"channel": channel, "data": data}
    return compact({"jsonrpc": "2.0", "method": "subscription", "params": params})


def trades(*changes: dict[str, object], interval: str = "100ms") -> bytes:
    rows = [{**TRADE, **each} for each in changes or ({},)]
    return notification(f"trades.BTC-PERPETUAL.{interval}", rows)


def answer(result: object, number: int | None = 1) -> bytes:
    times = {"usIn": 1, "usOut": 2, "usDiff": 1, "testnet": False}
    return compact({"jsonrpc": "2.0", "id": number, "result": result, **times})


def refusal(code: int, message: str, number: int | None = 1, **more: object) -> bytes:
    error = {"code": code, "message": message, **more}
    return compact({"jsonrpc": "2.0", "id": number, "error": error, "usIn": 1, "usOut": 2})


def listing(*changes: dict[str, object]) -> bytes:
    return answer([{**PERPETUAL, **each} for each in changes or ({},)])


def page(*changes: dict[str, object], has_more: bool = False) -> bytes:
    return answer({"trades": [{**TRADE, **each} for each in changes], "has_more": has_more})


class TestDeribit(VenueContract):
    trade_message = trades()
    trade = VenueTrade(
        "BTC-PERPETUAL",
        271_252_854,
        1_765_531_356_452,
        "92294.5",
        "10.0",
        True,
        TradeKind.MARKET,
    )
    symbols: ClassVar[tuple[str, ...]] = (
        "BTC-PERPETUAL",
        "XRP_USDC-30JUN26-0d5-C",
        "BTC-STRG-19MAY26-74000_79000",
    )
    acknowledgement = answer([f"trades.{each}.100ms" for each in reversed(symbols)])
    instruments_body = listing(*({"instrument_name": each} for each in symbols))
    listing_rows = ("result",)
    symbol_column = "instrument_name"
    status_column = "state"
    recent_trades_body = page({"trade_seq": 9}, {"trade_seq": 8}, {"trade_seq": 7})
    recent_rows = ("result", "trades")
    error_body = refusal(-32602, "Invalid params", data={"reason": "wrong", "param": "currency"})
    instrument = Instrument(
        index=7,
        symbol="BTC-PERPETUAL",
        price_exponent=-2,
        quantity_exponent=0,
        tick=50,
        lot=10,
        base="BTC",
        quote="USD",
        type=InstrumentType.INVERSE_PERPETUAL,
    )
    odd_terms = (
        {"base_currency": 7},
        {"base_currency": "B" * 33},
        {"quote_currency": None},
        {"quote_currency": "US\x1bD"},
    )
    odd_row: ClassVar[dict[str, object]] = {"tick_size": "a half"}

    def make(self) -> Deribit:
        return Deribit()


# Trades.


def received(message: bytes) -> list[VenueItem]:
    items: list[VenueItem] = []
    assert Deribit().dialogue(()).receive(message, items) is None
    return items


def test_a_batch_brings_its_trades_in_order() -> None:
    items = received(trades({}, {"trade_seq": 271252855, "direction": "buy", "amount": 750}))
    assert [(each.trade_id, each.buyer_is_maker, each.quantity) for each in items] == [
        (271252854, True, "10.0"),
        (271252855, False, "750"),
    ]


def test_the_side_is_the_takers() -> None:
    (sold,), (bought,) = received(trades()), received(trades({"direction": "buy"}))
    assert (sold.buyer_is_maker, bought.buyer_is_maker) == (True, False)


@pytest.mark.parametrize(
    ("written", "price"),
    [
        (b"8950", "8950"),
        (b"0.00010", "0.00010"),
        (b"5.0e-5", "0.000050"),
        (b"1E3", "1000"),
        (b"-0.0015", "-0.0015"),
        (b"92294.500000000000001", "92294.500000000000001"),
    ],
)
def test_numbers_are_read_by_their_digits(written: bytes, price: str) -> None:
    (item,) = received(trades().replace(b"92294.5", written))
    assert item.price == price


@pytest.mark.parametrize(
    "field",
    [
        {"liquidation": "T"},
        {"block_trade_id": "BLOCK-1"},
        {"block_rfq_id": 7},
        {"combo_id": "BTC-FS-25DEC26_PERP"},
        {"combo_trade_id": "43"},
    ],
)
def test_a_trade_that_is_no_fill_against_the_book_is_of_another_kind(field: dict[str, Any]) -> None:
    assert received(trades(field))[0].kind == TradeKind.OTHER
    assert received(trades(dict.fromkeys(field, None)))[0].kind == TradeKind.MARKET


@pytest.mark.parametrize(
    "odd",
    [
        {"trade_seq": "271252854"},
        {"trade_seq": -1},
        {"trade_seq": 2**64},
        {"trade_seq": None},
        {"timestamp": 1.5},
        {"timestamp": 10**400},
        {"timestamp": 10**13 + 1},
        {"price": "92294.5"},
        {"price": None},
        {"price": [1]},
        {"price": 10**50},
        {"amount": True},
        {"amount": {}},
        {"direction": "none"},
        {"direction": 1},
        {"instrument_name": 7},
    ],
)
def test_a_batch_with_an_unreadable_trade_brings_none(odd: dict[str, object]) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError) as caught:
        Deribit().dialogue(()).receive(trades({}, odd), items)
    assert items == []
    assert len(str(caught.value)) < 300


def test_recorded_trades_are_read() -> None:
    frames = json.loads(capture_path("venues/single_frames.json").read_text())
    count = 0
    for each in frames:
        if each["venue"] != "deribit" or not each["kind"].startswith("trades"):
            continue
        rows = json.loads(each["frame"], parse_float=str)["params"]["data"]
        assert received(each["frame"].encode()) == [
            VenueTrade(
                row["instrument_name"],
                row["trade_seq"],
                row["timestamp"],
                row["price"],
                row["amount"],
                row["direction"] == "sell",
                TradeKind.MARKET,
            )
            for row in rows
        ]
        count += len(rows)
    assert count == 6


# Symbols and the listing.


@pytest.mark.parametrize(
    ("typed", "symbol"),
    [
        ("btc-perpetual", "BTC-PERPETUAL"),
        ("xrp_usdc-30jun26-0d5-c", "XRP_USDC-30JUN26-0d5-C"),
        ("XRP_USDC-30JUN26-2D125-P", "XRP_USDC-30JUN26-2d125-P"),
        ("BTC-3DEC26", "BTC-3DEC26"),
        ("btc-*", "BTC-*"),
        ("eth-[0-9]?", "ETH-[0-9]?"),
    ],
)
def test_a_symbol_is_in_upper_case_but_for_the_point_of_a_strike(typed: str, symbol: str) -> None:
    assert Deribit.spell(typed) == symbol


@pytest.mark.parametrize("typed", ["", "BTC/USD", "BTC USD", "币", "BTC\x1b"])
def test_what_cannot_be_a_symbol_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="cannot be a symbol of Deribit: it looks like"):
        Deribit.spell(typed)


@pytest.mark.parametrize(
    ("changes", "exponents", "steps"),
    [
        ({}, (-2, 0), (50, 10)),
        ({"block_trade_tick_size": ...}, (-1, 0), (5, 10)),
        ({"block_trade_tick_size": "odd"}, (-1, 0), (5, 10)),
        ({"tick_size": 5e-05, "min_trade_amount": 0.1, "contract_size": 1.0}, (-5, -1), (5, 1)),
        ({"tick_size_steps": [{"above_price": 5, "tick_size": 0.0005}]}, (-4, 0), (5, 10)),
        ({"tick_size_steps": [{"above_price": 5, "tick_size": 2.0}]}, (-2, 0), (50, 10)),
        ({"tick_size_steps": {"odd": 1}, "contract_size": None}, (-2, 0), (50, 10)),
        ({"min_trade_amount": 0.001, "contract_size": 0.0001}, (-2, -4), (50, 1)),
    ],
)
def test_exponents_are_those_of_the_finest_steps(
    changes: dict[str, object], exponents: tuple[int, int], steps: tuple[int, int]
) -> None:
    row = {name: value for name, value in {**PERPETUAL, **changes}.items() if value is not ...}
    found = Deribit().parse_listing(answer([row])).instrument("BTC-PERPETUAL", 0)
    assert (found.price_exponent, found.quantity_exponent) == exponents
    assert (found.tick, found.lot) == steps


@pytest.mark.parametrize(
    "changes",
    [
        {"tick_size": 0},
        {"tick_size": -0.5},
        {"tick_size": "0.5"},
        {"tick_size": None},
        {"tick_size": 1e-19},
        {"tick_size": 10**50},
        {"min_trade_amount": None},
        {"is_active": "yes"},
        {"state": 7},
    ],
)
def test_a_row_without_units_is_odd(changes: dict[str, object]) -> None:
    found = Deribit().parse_listing(listing(changes))
    assert list(found.odd) == ["BTC-PERPETUAL"]
    assert found.rows == {}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, InstrumentType.INVERSE_PERPETUAL),
        ({"instrument_type": "linear"}, InstrumentType.LINEAR_PERPETUAL),
        ({"instrument_type": "quanto"}, InstrumentType.OTHER),
        ({"instrument_type": ["linear"]}, InstrumentType.OTHER),
        ({"settlement_period": "month"}, InstrumentType.INVERSE_FUTURE),
        ({"settlement_period": "month", "instrument_type": "linear"}, InstrumentType.FUTURE),
        ({"kind": "option", "settlement_period": "month"}, InstrumentType.OPTION),
        ({"kind": "spot", "settlement_period": None}, InstrumentType.SPOT),
        ({"kind": "future_combo"}, InstrumentType.OTHER),
        ({"kind": None}, InstrumentType.OTHER),
    ],
)
def test_the_kind_and_the_settlement_become_the_type(
    changes: dict[str, object], kind: InstrumentType
) -> None:
    found = Deribit().parse_listing(listing(changes))
    assert found.rows["BTC-PERPETUAL"].type is kind


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_active": False}, "does not trade at deribit now: state not active"),
        ({"state": "closed"}, "does not trade at deribit now: state closed"),
        ({"is_active": False, "state": "settlement"}, "state settlement"),
    ],
)
def test_an_instrument_that_does_not_trade_says_so(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Deribit().parse_listing(listing(changes)).instrument("BTC-PERPETUAL", 0)


def test_a_row_without_a_state_trades() -> None:
    row = {name: value for name, value in PERPETUAL.items() if name != "state"}
    assert Deribit().parse_listing(answer([row])).fault("BTC-PERPETUAL") is None


# REST.


def test_requests_name_what_they_ask_for() -> None:
    venue = Deribit()
    assert venue.listing_requests() == (
        Request(
            path="/api/v2/public/get_instruments",
            query={"currency": "any", "expired": "false"},
            weight=20,
        ),
    )
    history = venue.history_request("BTC-PERPETUAL", 7)
    assert history.path == "/api/v2/public/get_last_trades_by_instrument"
    assert history.query == {
        "instrument_name": "BTC-PERPETUAL",
        "start_seq": "7",
        "count": "1000",
        "sorting": "asc",
    }
    recent = venue.recent_trades_request("BTC-PERPETUAL", since=5)
    assert (recent.path, recent.query["sorting"]) == (history.path, "desc")
    assert venue.time_request().path == "/api/v2/public/get_time"
    assert venue.book_request("BTC-PERPETUAL") is None
    with pytest.raises(AssertionError, match="no request for whole books"):
        venue.parse_book(b"{}", TestDeribit.instrument)


def test_a_page_of_history_covers_its_trades_and_no_id_before_them() -> None:
    body = page({"trade_seq": 7}, {"trade_seq": 8}, has_more=True)
    history = Deribit().parse_history(body, "BTC-PERPETUAL", 5)
    assert isinstance(history, History)
    assert (history.first_id, history.last_id, history.is_newest) == (7, 8, False)
    assert [each.trade_id for each in history.trades] == [7, 8]
    (late,) = Deribit().parse_recent_trades(page({"timestamp": 10**13 + 1}), "BTC-PERPETUAL")
    assert (late.time, late.price) == (0, ""), "a time that cannot be read"
    last = Deribit().parse_history(page({"trade_seq": 9}), "BTC-PERPETUAL", 9)
    assert last is not None
    assert last.is_newest


def test_an_empty_page_is_none() -> None:
    assert Deribit().parse_history(page(), "BTC-PERPETUAL", 5) is None
    assert Deribit().parse_recent_trades(page(), "BTC-PERPETUAL") == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (page({"trade_seq": 7}, {"trade_seq": 7}), "ids out of order"),
        (page({"trade_seq": 7}, {"trade_seq": 9}, {"trade_seq": 8}), "ids out of order"),
        (page({"trade_seq": 2**64}), "ids out of range"),
        (page({"trade_seq": -1}), "not as documented"),
        (page({"trade_seq": "7"}), "not as documented"),
        (page({"instrument_name": "ETH-PERPETUAL"}), "a trade of ETH-PERPETUAL"),
        (answer({"trades": 7}), "not as documented"),
        (answer([]), "not as documented"),
        (refusal(11050, "bad_request"), "not as documented"),
        (page({})[:-1], "not as documented"),
    ],
)
def test_trades_that_make_no_sense_are_refused(body: bytes, said: str) -> None:
    for parse in (Deribit().parse_recent_trades, lambda *of: Deribit().parse_history(*of, 1)):
        with pytest.raises(VenueMessageError, match=said):
            parse(body, "BTC-PERPETUAL")


@pytest.mark.parametrize("odd", [{"amount": "1"}, {"direction": "both"}, {"timestamp": -1}])
def test_a_past_trade_that_cannot_be_read_keeps_its_id(odd: dict[str, object]) -> None:
    body = page({"trade_seq": 9}, {"trade_seq": 8, **odd}, {"trade_seq": 7})
    rows = Deribit().parse_recent_trades(body, "BTC-PERPETUAL")
    assert [(each.trade_id, each.price) for each in rows] == [
        (7, "92294.5"),
        (8, ""),
        (9, "92294.5"),
    ]


def test_the_time_is_in_milliseconds() -> None:
    assert Deribit().parse_time(answer(1733338800000)) == 1733338800000
    for odd in (answer(-1), answer(10**14), answer("1733338800000"), answer(1.5), b"<html>"):
        with pytest.raises(VenueMessageError, match="the venue's time is not as documented"):
            Deribit().parse_time(odd)


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, answer([]), None),
        (200, b"<html>", None),
        (200, refusal(11050, "bad_request"), Refusal.OTHER),
        (200, refusal(10028, "too_many_requests"), Refusal.BUSY),
        (400, refusal(10028, "too_many_requests"), Refusal.BUSY),
        (429, b"", Refusal.BUSY),
        (400, refusal(13004, "invalid_credentials"), Refusal.KEY),
        (401, refusal(13009, "unauthorized"), Refusal.KEY),
        (400, refusal(13888, "timed_out"), Refusal.PASSING),
        (400, refusal(11029, "invalid_arguments"), Refusal.OTHER),
        (400, refusal(-32602, "Invalid params"), Refusal.OTHER),
        (403, b"<html>", Refusal.FORBIDDEN),
        (503, refusal(10000, "down"), Refusal.PASSING),
        (502, b"<html>", Refusal.PASSING),
    ],
)
def test_an_answer_is_judged_by_its_code_and_else_by_its_status(
    status: int, body: bytes, meaning: Refusal | None
) -> None:
    assert Deribit().verdict(status, body) is meaning


def test_the_words_of_an_error_have_its_code_and_its_reason() -> None:
    explain = Deribit().explain
    assert explain(400, TestDeribit.error_body) == "Invalid params (-32602): wrong"
    assert explain(400, refusal(11050, "bad_request", data="x")) == "bad_request (11050)"
    assert explain(400, refusal(11050, "a\x1bb", data={"reason": 7})) == "a?b (11050)"
    assert explain(200, answer([])) == ""


# The venue.


def test_it_is_at_the_exchange_or_where_it_is_told() -> None:
    venue = Deribit()
    assert venue.stream_url() == "wss://www.deribit.com/ws/api/v2"
    assert venue.rest_url == "https://www.deribit.com"
    for ws_url in ("ws://127.0.0.1:9", "ws://127.0.0.1:9/", "ws://127.0.0.1:9/ws/api/v2"):
        other = Deribit(ws_url=ws_url, rest_url="http://127.0.0.1:8/")
        assert other.stream_url() == "ws://127.0.0.1:9/ws/api/v2"
        assert other.rest_url == "http://127.0.0.1:8"


def test_quotes_come_from_the_book_where_it_is_taken() -> None:
    assert Deribit(data=ALL).quotes_from_book
    assert not Deribit(data=DataKinds.QUOTES).quotes_from_book


def test_connections_with_a_key_are_within_its_16_sessions() -> None:
    venue = Deribit(credentials=CREDENTIALS)
    assert (venue.limits.connections, venue.without_key().limits.connections) == (14, 28)
    assert venue.limits.subscriptions == venue.without_key().limits.subscriptions


def test_without_the_key_it_is_the_same_venue() -> None:
    venue = Deribit(ws_url="ws://a", rest_url="http://b", data=ALL, credentials=CREDENTIALS)
    other = venue.without_key()
    assert (other.ws_url, other.rest_url, other.data) == ("ws://a", "http://b", ALL)
    assert "public/auth" in " ".join(venue.dialogue(("BTC-PERPETUAL",)).opening())
    assert "public/auth" not in " ".join(other.dialogue(("BTC-PERPETUAL",)).opening())


CREDENTIALS = Credentials(id="fo7WAPRm4P", secret="W0H6FJW4IRPZ1MOQ8FP6KMC5RZDUUKXS")
