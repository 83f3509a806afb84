"""Bybit: the documented messages. Its quotes and books are in `test_bybit_book`."""

import json
from typing import Any, ClassVar

import pytest

from fanout.errors import ConfigError, UsageError, VenueMessageError
from fanout.feed.normalise import to_trade
from fanout.protocol import DataKinds, Instrument, TradeKind
from fanout.protocol.constants import InstrumentType
from fanout.protocol.errors import NotRepresentableError
from fanout.venues import Outcome, VenueItem, VenueTrade
from fanout.venues.bybit import Bybit, BybitSpot
from fanout.venues.bybit.dialogue import PING_S, BybitDialogue
from fanout.venues.bybit.trades import trade_id
from fanout.venues.bybit.venue import BybitVenue
from fanout.venues.values import Limits, Refusal, Request
from tests.contracts.venue import GARBAGE, VenueContract

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE

TRADE = (
    b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":16723044868'
    b'65,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31'
    b'-9112-a178eb6023af","BT":false,"seq":1783284617}]}'
)
ACK = (
    b'{"success":true,"ret_msg":"","conn_id":"cejreaspqfm9se7usbrg-2xh","req_id":"1","op":'
    b'"subscribe"}'
)
INVALID = (
    b'{"success":false,"ret_msg":"Invalid symbol :[NOTACOINUSDT]","conn_id":'
    b'"cejreaspqfm9se7usbrg-2xh","op":"subscribe"}'
)
PONG = (
    b'{"success":true,"ret_msg":"pong","conn_id":"0970e817-426e-429a-a679-ff7f55e0b16a","req_id":"'
    b'","op":"ping"}'
)
LINEAR_TRADE = VenueTrade(
    "BTCUSDT", 0x20F43950D8DD5B31, 1672304486865, "16578.50", "0.001", False, TradeKind.MARKET
)
BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)


def linear_row(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": "BTCUSDT",
        "symbolId": 5,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "deliveryTime": "0",
        "priceScale": "2",
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {"maxOrderQty": "1190.000", "qtyStep": "0.001"},
        "settleCoin": "USDT",
        "preListingInfo": None,
    }
    return {**row, **changes}


def spot_row(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": "BTCUSDT",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.0000001"},
        "priceFilter": {"tickSize": "0.1"},
    }
    return {**row, **changes}


def answer(rows: list[Any], **result: object) -> bytes:
    whole = {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"list": rows, **result},
        "time": 1735809771618,
    }
    return json.dumps(whole).encode()


def past(execution: str, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "execId": execution,
        "symbol": "BTCUSDT",
        "price": "16618.49",
        "size": "0.00012",
        "side": "Buy",
        "time": "1672052955758",
        "isBlockTrade": False,
    }
    return {**row, **changes}


def failure(words: str, **changes: object) -> bytes:
    whole = {"success": False, "ret_msg": words, "conn_id": "c", "op": "subscribe"}
    return json.dumps({**whole, **changes}).encode()


class BybitContract(VenueContract):
    acknowledgement = ACK
    listing_rows = ("result", "list")
    symbol_column = "symbol"
    status_column = "status"
    recent_rows = ("result", "list")
    error_body = b'{"retCode":10001,"retMsg":"params error: Symbol Invalid","result":{},"time":1}'
    odd_row: ClassVar[dict[str, object]] = {"priceFilter": {"tickSize": "a tenth"}}
    odd_terms = (
        {"baseCoin": None},
        {"baseCoin": "B" * 33},
        {"quoteCoin": 7},
        {"quoteCoin": ""},
    )


class TestBybit(BybitContract):
    trade_message = TRADE
    trade = LINEAR_TRADE
    instruments_body = answer(
        [
            linear_row(),
            linear_row(symbol="1000PEPEUSDT"),
            linear_row(symbol="BTC-26DEC25", contractType="LinearFutures"),
        ],
        category="linear",
        nextPageCursor="",
    )
    symbols: ClassVar[tuple[str, ...]] = ("BTCUSDT", "1000PEPEUSDT", "BTC-26DEC25")
    recent_trades_body = answer(
        [
            past("b0f43950-d8dd-5b31-9112-a178eb6023af"),
            past("a0f43950-d8dd-5b31-9112-a178eb6023af"),
        ]
    )
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

    def make(self) -> Bybit:
        return Bybit()


class TestBybitSpot(BybitContract):
    trade_message = TRADE.replace(b"20f43950-d8dd-5b31-9112-a178eb6023af", b"2290000000061666327")
    trade = VenueTrade(
        "BTCUSDT", 2290000000061666327, 1672304486865, "16578.50", "0.001", False, TradeKind.MARKET
    )
    instruments_body = answer(
        [spot_row(), spot_row(symbol="ETHUSDT"), spot_row(symbol="BTCEUR", quoteCoin="EUR")]
    )
    symbols: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT", "BTCEUR")
    recent_trades_body = answer([past("2100000000007764264"), past("2100000000007764263")])
    instrument = Instrument(
        index=7,
        symbol="BTCUSDT",
        price_exponent=-1,
        quantity_exponent=-6,
        tick=1,
        lot=1,
        base="BTC",
        quote="USDT",
        type=InstrumentType.SPOT,
    )

    def make(self) -> BybitSpot:
        return BybitSpot()


# The venues.


def test_each_market_has_its_own_path() -> None:
    assert Bybit().stream_url() == "wss://stream.bybit.com/v5/public/linear"
    assert BybitSpot().stream_url() == "wss://stream.bybit.com/v5/public/spot"
    venue = Bybit(ws_url="ws://127.0.0.1:9/", rest_url="http://127.0.0.1:8/")
    assert venue.stream_url() == "ws://127.0.0.1:9/v5/public/linear"
    assert venue.rest_url == "http://127.0.0.1:8"
    assert Bybit().rest_url == BybitSpot().rest_url == "https://api.bybit.com"


@pytest.mark.parametrize("venue", [Bybit, BybitSpot])
@pytest.mark.parametrize("data", [ALL, DataKinds.TRADES])
def test_the_topics_of_a_connection_have_at_most_21_000_characters(
    venue: type[BybitVenue], data: DataKinds
) -> None:
    made = venue(data=data)
    symbols = tuple(f"{number:04}BABYDOGELONGUSDT" for number in range(made.limits.subscriptions))
    opening = [json.loads(each)["args"] for each in made.dialogue(symbols).opening()]
    assert sum(len(json.dumps(each, separators=(",", ":"))) for each in opening) <= 21_000
    assert max(map(len, opening)) <= made.most_topics


def test_a_spot_request_has_ten_topics() -> None:
    opening = BybitSpot().dialogue(tuple(f"S{number}" for number in range(25))).opening()
    assert [len(json.loads(each)["args"]) for each in opening] == [10, 10, 5]


def test_the_limits_are_those_of_the_venue() -> None:
    limits = Bybit(data=ALL).limits
    assert (limits.weight, limits.window_s, limits.busy_s) == (600, 5.0, 600.0)
    assert limits.connect_every_s >= 300 / 500
    assert (limits.connections, limits.subscriptions) == (1_000, 166)
    assert limits.message_bytes > 160_845, "a documented message of 1,024 trades"


@pytest.mark.parametrize("text", ["BTC/USDT", "BTC USDT", "币", "BTC:USDT"])
def test_a_text_that_can_be_no_symbol_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be a symbol of Bybit"):
        Bybit.spell(text)


def test_symbols_are_spelled_in_upper_case() -> None:
    assert Bybit.spell("btc-26dec25") == "BTC-26DEC25"
    assert Bybit.spell("1000*usdt") == "1000*USDT"


# The listing.


def test_the_listing_comes_in_pages() -> None:
    """A cursor is percent-encoded as it comes, and again by the REST client."""
    venue = Bybit()
    (request,) = venue.listing_requests()
    assert request.path == "/v5/market/instruments-info"
    assert request.query == {"category": "linear", "limit": "1000"}
    body = answer([linear_row()], nextPageCursor="first%3DBTCUSDT%26last%3DETHUSDT")
    (more,) = venue.more_listing(request, body)
    assert more.query == {**request.query, "cursor": "first=BTCUSDT&last=ETHUSDT"}
    assert venue.more_listing(more, body) == (), "the same page again"
    last = answer([linear_row(symbol="ETHUSDT")], nextPageCursor="")
    assert venue.more_listing(more, last) == ()
    assert venue.more_listing(request, answer([spot_row()])) == (), "spot has no cursor"
    assert set(venue.parse_listing(body, last).rows) == {"BTCUSDT", "ETHUSDT"}
    with pytest.raises(VenueMessageError, match="listing is not as documented"):
        venue.more_listing(request, b'{"retCode":0,"result":{}}')


def test_what_does_not_trade_is_refused_with_its_status() -> None:
    body = answer([linear_row(symbol="BIOUSDT", status="PreLaunch")])
    with pytest.raises(ConfigError, match="BIOUSDT does not trade at bybit now: status PreLaunch"):
        Bybit().parse_listing(body).instrument("BIOUSDT", 0)


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        ("LinearPerpetual", InstrumentType.LINEAR_PERPETUAL),
        ("LinearFutures", InstrumentType.FUTURE),
        ("NEVER_HEARD_OF", InstrumentType.OTHER),
    ],
)
def test_the_contract_type_becomes_the_type(contract: str, expected: InstrumentType) -> None:
    listing = Bybit().parse_listing(answer([linear_row(contractType=contract)]))
    assert listing.rows["BTCUSDT"].type is expected


@pytest.mark.parametrize(
    "changes",
    [
        {"priceFilter": {}},
        {"priceFilter": {"tickSize": 0.1}},
        {"priceFilter": {"tickSize": "0.00"}},
        {"priceFilter": {"tickSize": "-0.1"}},
        {"priceFilter": {"tickSize": "1e-1"}},
        {"lotSizeFilter": {"basePrecision": "0.001"}},
        {"lotSizeFilter": None},
        {"status": None},
    ],
    ids=str,
)
def test_a_row_without_readable_steps_is_odd(changes: dict[str, object]) -> None:
    listing = Bybit().parse_listing(answer([linear_row(**changes), linear_row(symbol="ETHUSDT")]))
    assert set(listing.odd) == {"BTCUSDT"}
    assert set(listing.rows) == {"ETHUSDT"}


# Trades.


def received(message: bytes, venue: BybitVenue | None = None) -> list[VenueItem]:
    items: list[VenueItem] = []
    assert (venue or Bybit()).dialogue(("BTCUSDT",)).receive(message, items) is None
    return items


def changed(*changes: dict[str, object]) -> bytes:
    """The message with a trade for each of these, each a change to the documented one."""
    whole = json.loads(TRADE)
    (row,) = whole["data"]
    return json.dumps({**whole, "data": [{**row, **each} for each in changes]}).encode()


def test_the_side_is_the_takers() -> None:
    buy, sell = received(changed({"S": "Buy"}, {"S": "Sell"}))
    assert isinstance(buy, VenueTrade)
    assert isinstance(sell, VenueTrade)
    assert (buy.buyer_is_maker, sell.buyer_is_maker) == (False, True)


def test_block_trades_and_hidden_fills_have_kinds_of_their_own() -> None:
    items = received(
        changed({"BT": True}, {"RPI": True}, {"RPI": False}, {"BT": True, "RPI": True})
    )
    assert [getattr(each, "kind", None) for each in items] == [
        TradeKind.OTHER,
        TradeKind.RPI,
        TradeKind.MARKET,
        TradeKind.OTHER,
    ]


def test_a_message_of_many_trades_is_taken_in_its_order() -> None:
    rows: list[dict[str, object]] = [{"T": 1672304486865 + place} for place in range(1_024)]
    items = received(changed(*rows))
    times = [each.time for each in items if isinstance(each, VenueTrade)]
    assert times == [1672304486865 + place for place in range(1_024)]
    assert received(changed()) == []


def test_white_space_and_the_order_of_the_keys_make_no_difference() -> None:
    whole = json.loads(TRADE)
    turned = dict(reversed(whole.items()))
    assert received(json.dumps(turned).encode()) == [LINEAR_TRADE]
    assert received(json.dumps(whole, indent=4).encode()) == [LINEAR_TRADE]


@pytest.mark.parametrize(
    "bad",
    [
        {"p": 16578.5},
        {"v": None},
        {"T": "1672304486865"},
        {"T": -1},
        {"T": 10**13 + 1},
        {"S": "buy"},
        {"S": "None"},
        {"BT": 0},
        {"s": ["BTCUSDT"]},
        {"i": 7},
        {"i": "20f43950-d8dd-5b31-9112"},
        {"i": "20f43950d8dd5b319112a178eb6023af"},
        {"i": "0x"},
        {"i": ""},
        {"i": str(2**64)},
        {"i": "\u0661"},
    ],
    ids=str,
)
def test_an_unreadable_trade_is_refused_in_words_and_hides_no_other(bad: dict[str, object]) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match="trade of the wrong shape: 1 of 3 in a message"):
        Bybit().dialogue(("BTCUSDT",)).receive(changed({}, bad, {"S": "Sell"}), items)
    assert len(items) == 2
    assert items[0] == LINEAR_TRADE


@pytest.mark.parametrize(
    "bad", [{"p": "1e5"}, {"p": "16578.505"}, {"v": "0"}, {"v": "-1"}], ids=str
)
def test_a_trade_with_a_bad_number_is_refused_with_its_value(bad: dict[str, object]) -> None:
    (item,) = received(changed(bad))
    assert isinstance(item, VenueTrade)
    with pytest.raises(NotRepresentableError, match="BTCUSDT trade"):
        to_trade(item, BTC)


def test_an_id_is_the_first_half_of_a_uuid_or_a_number() -> None:
    assert trade_id("20f43950-d8dd-5b31-9112-a178eb6023af") == 0x20F4_3950_D8DD_5B31
    assert trade_id("FFFFFFFF-FFFF-FFFF-ffff-ffffffffffff") == 2**64 - 1
    assert trade_id("2290000000061666327") == 2290000000061666327


# Subscriptions.


def dialogue_of(*symbols: str, data: DataKinds = ALL, most: int = 100) -> BybitDialogue:
    prefixes = Bybit(data=data)._prefixes
    return BybitDialogue(symbols, prefixes, Limits(), most, {})


def args(*messages: str) -> list[list[str]]:
    return [json.loads(each)["args"] for each in messages]


def test_each_symbol_has_a_topic_for_each_kind() -> None:
    (opening,) = dialogue_of("BTCUSDT").opening()
    assert json.loads(opening) == {
        "req_id": "1",
        "op": "subscribe",
        "args": ["publicTrade.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.200.BTCUSDT"],
    }
    (opening,) = dialogue_of("BTCUSDT", data=DataKinds.BOOK_BY_PRICE).opening()
    assert args(opening) == [["orderbook.200.BTCUSDT"]]


def test_a_symbol_in_two_requests_is_confirmed_with_the_second_answer() -> None:
    dialogue = dialogue_of("BTCUSDT", "ETHUSDT", most=2)
    dialogue.opening()
    assert dialogue.receive(ACK, []) is None
    second = dialogue.receive(ACK.replace(b'"1"', b'"2"'), [])
    assert second == Outcome(confirmed=("BTCUSDT",))
    assert dialogue.receive(ACK.replace(b'"1"', b'""'), []) == Outcome(confirmed=("ETHUSDT",))
    assert dialogue.receive(ACK, []) is None, "answered before"
    assert dialogue.unanswered == frozenset()


def test_a_bad_symbol_is_refused_and_the_others_are_asked_for_again() -> None:
    dialogue = dialogue_of("BTCUSDT", "NOTACOINUSDT", "ETHUSDT", data=DataKinds.TRADES)
    dialogue.opening()
    outcome = dialogue.receive(INVALID, [])
    assert outcome is not None
    assert outcome.refused == {"NOTACOINUSDT": "Invalid symbol :[NOTACOINUSDT]"}
    assert args(*outcome.answers) == [["publicTrade.BTCUSDT", "publicTrade.ETHUSDT"]]
    assert dialogue.unanswered == {"BTCUSDT", "ETHUSDT"}
    assert dialogue.receive(ACK.replace(b'"1"', b'"2"'), []) == Outcome(
        confirmed=("BTCUSDT", "ETHUSDT")
    )


def test_a_refusal_without_a_number_is_about_the_request_that_has_the_name() -> None:
    symbols = tuple(f"A{number}USDT" for number in range(150))
    dialogue = dialogue_of(*symbols, data=DataKinds.TRADES)
    assert [len(each) for each in args(*dialogue.opening())] == [100, 50]
    outcome = dialogue.receive(failure("Invalid symbol :[A120USDT]"), [])
    assert outcome is not None
    assert outcome.refused == {"A120USDT": "Invalid symbol :[A120USDT]"}
    assert [len(each) for each in args(*outcome.answers)] == [49]
    nameless = ACK.replace(b'"1"', b'""')
    for confirmed in (symbols[:100], symbols[100:120] + symbols[121:]):
        assert dialogue.receive(nameless, []) == Outcome(confirmed=confirmed)
    assert dialogue.unanswered == frozenset()


def test_each_request_with_topics_of_a_bad_symbol_is_refused_by_its_name() -> None:
    dialogue = dialogue_of("A", "B", "BAD", most=4)
    assert [len(each) for each in args(*dialogue.opening())] == [4, 4, 1]
    first, second = (dialogue.receive(failure("Invalid symbol :[BAD]"), []) for _ in range(2))
    assert first is not None
    assert first.refused == {"BAD": "Invalid symbol :[BAD]"}
    assert args(*first.answers) == [["orderbook.1.B", "orderbook.200.B"]]
    assert second is not None
    assert (second.refused, second.answers) == ({}, ())
    assert dialogue.receive(ACK, []) == Outcome(confirmed=("A",))


def test_a_bad_topic_refuses_its_symbol() -> None:
    dialogue = dialogue_of("BTCUSDT", "NOPEUSDT")
    dialogue.opening()
    words = "error:handler not found,topic:orderbook.200.NOPEUSDT"
    outcome = dialogue.receive(failure(words, req_id="1"), [])
    assert outcome is not None
    assert outcome.refused == {"NOPEUSDT": words}
    assert [len(each) for each in args(*outcome.answers)] == [3]


def test_a_refusal_that_names_nothing_is_narrowed_down() -> None:
    dialogue = dialogue_of("A", "B", "BAD", "C", data=DataKinds.TRADES)
    waiting, refused, confirmed = list(dialogue.opening()), dict[str, str](), list[str]()
    while waiting:
        asked = json.loads(waiting.pop())
        message = json.loads(ACK) | {"req_id": asked["req_id"]}
        if "publicTrade.BAD" in asked["args"]:
            message |= {"success": False, "ret_msg": "error:handler not found"}
        outcome = dialogue.receive(json.dumps(message).encode(), [])
        assert outcome is not None
        refused |= outcome.refused
        confirmed += outcome.confirmed
        waiting += outcome.answers
    assert refused == {"BAD": "error:handler not found"}
    assert sorted(confirmed) == ["A", "B", "C"]


@pytest.mark.parametrize("survive", [True, False])
@pytest.mark.parametrize("are_named", [True, False])
@pytest.mark.parametrize("are_live_ones_named", [True, False])
def test_the_good_topics_of_a_refused_request_may_be_subscribed_or_not(
    survive: bool, are_named: bool, are_live_ones_named: bool
) -> None:
    """A venue that checks topic by topic, and stops at the first that is bad or there already."""
    good, live = {"BTCUSDT", "ETHUSDT", "XRPUSDT"}, set[str]()
    dialogue = dialogue_of("BTCUSDT", "ETHUSDT", "NOPEUSDT", "XRPUSDT")
    waiting, sent = list(dialogue.opening()), 0
    refused, confirmed = dict[str, str](), list[str]()
    while waiting:
        sent += 1
        asked = json.loads(waiting.pop(0))
        words, new = "", set[str]()
        for topic in asked["args"]:
            if topic in live:
                named = f",topic:{topic}" if are_live_ones_named else ""
                words = f"error:already subscribed{named}"
            elif topic.rpartition(".")[2] not in good:
                words = "error:handler not found" + (f",topic:{topic}" if are_named else "")
            if words:
                break
            new.add(topic)
        if survive or not words:
            live |= new
        outcome = dialogue.receive(failure(words, req_id=asked["req_id"], success=not words), [])
        if outcome is not None:
            waiting += outcome.answers
            refused |= outcome.refused
            confirmed += outcome.confirmed
    assert set(refused) == {"NOPEUSDT"}
    assert sorted(confirmed) == sorted(good)
    assert live >= {prefix + each for prefix in Bybit(data=ALL)._prefixes for each in good}
    assert dialogue.unanswered == frozenset()
    assert sent < 20


def test_a_topic_that_is_subscribed_already_confirms_no_other_of_its_symbol() -> None:
    dialogue = dialogue_of("BTCUSDT")
    dialogue.opening()
    words = "error:already subscribed,topic:publicTrade.BTCUSDT"
    outcome = dialogue.receive(failure(words, req_id="1"), [])
    assert outcome is not None
    assert args(*outcome.answers) == [["orderbook.1.BTCUSDT", "orderbook.200.BTCUSDT"]]
    assert dialogue.unanswered == {"BTCUSDT"}


def test_a_symbol_that_is_left_is_not_waited_for() -> None:
    dialogue = dialogue_of("BTCUSDT", "ETHUSDT")
    dialogue.opening()
    (leave,) = dialogue.unsubscribe(("BTCUSDT",))
    assert json.loads(leave)["op"] == "unsubscribe"
    assert dialogue.unanswered == {"ETHUSDT"}
    left = ACK.replace(b'"1"', b'"2"').replace(b"subscribe", b"unsubscribe")
    assert dialogue.receive(left, []) is None
    assert dialogue.receive(ACK, []) == Outcome(confirmed=("ETHUSDT",))


@pytest.mark.parametrize(
    ("message", "notice"),
    [
        (failure("error:not subscribed", op="unsubscribe"), "refuses unsubscribe: error:not subs"),
        (failure("Request frequency limited", op=""), "refuses a request: Request frequency"),
        (failure("no", req_id="refresh"), "refuses subscribe: no"),
        (failure("error:handler not found", req_id="77"), "refuses subscribe: error:handler"),
        (failure("\x1b[31mred", op="ping"), "refuses ping: ?[31mred"),
    ],
)
def test_a_refusal_without_consequences_is_a_notice(message: bytes, notice: str) -> None:
    dialogue = dialogue_of("BTCUSDT")
    dialogue.opening()
    outcome = dialogue.receive(message, [])
    assert outcome is not None
    assert outcome == Outcome(notice=outcome.notice)
    assert notice in str(outcome.notice)
    assert dialogue.unanswered == {"BTCUSDT"}


def test_a_book_is_asked_for_anew_without_its_trades() -> None:
    dialogue = dialogue_of("BTCUSDT")
    dialogue.opening()
    dialogue.receive(ACK, [])
    words = [json.loads(each) for each in dialogue.refresh("BTCUSDT")]
    assert [(each["op"], each["args"]) for each in words] == [
        ("unsubscribe", ["orderbook.200.BTCUSDT"]),
        ("subscribe", ["orderbook.200.BTCUSDT"]),
    ]
    for each in words:
        done = failure("", success=True, op=each["op"], req_id=each["req_id"])
        assert dialogue.receive(done, []) is None
    assert dialogue_of("BTCUSDT", data=DataKinds.TRADES).refresh("BTCUSDT") == ()


def test_a_ping_is_sent_every_twenty_seconds() -> None:
    dialogue = dialogue_of("BTCUSDT")
    assert dialogue.due_s == PING_S == 20.0
    assert dialogue.tick(19.9) == ()
    (ping,) = dialogue.tick(20.5)
    assert json.loads(ping)["op"] == "ping"
    assert dialogue.due_s == 40.5
    for pong in (PONG, b'{"req_id":"ping","op":"pong","args":["1675418560633"],"conn_id":"c"}'):
        assert dialogue.receive(pong, []) is None


@pytest.mark.parametrize(
    "message",
    [
        *GARBAGE,
        b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{}}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","data":{}}',
        b'{"topic":7}',
        b'{"op":"subscribe"}',
        b'{"op":"somethingNew","success":true}',
        b'{"success":"yes","op":"subscribe"}',
        b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}',
        b"<html><body>Bad Gateway</body></html>",
    ],
    ids=lambda each: repr(each[:50]),
)
def test_what_is_not_documented_is_refused_in_words(message: bytes) -> None:
    with pytest.raises(VenueMessageError) as caught:
        dialogue_of("BTCUSDT").receive(message, [])
    assert len(str(caught.value)) < 300


# REST.


def test_recent_trades_are_asked_for_as_many_as_there_are() -> None:
    request = Bybit().recent_trades_request("BTCUSDT", since=5)
    query = {"category": "linear", "symbol": "BTCUSDT", "limit": "1000"}
    assert request == Request(path="/v5/market/recent-trade", query=query)
    assert Bybit().history_request("BTCUSDT", 7) == request
    assert BybitSpot().recent_trades_request("BTCUSDT").query["limit"] == "60"
    assert (Bybit().reach, BybitSpot().reach) == ("the last 1,000 trades", "the last 60 trades")


def test_recent_trades_have_sides_kinds_and_the_ids_of_the_stream() -> None:
    uuid = "20f43950-d8dd-5b31-9112-a178eb6023af"
    rows = [past("1", isBlockTrade=True), past("2", isRPITrade=True), past(uuid, side="Sell")]
    trades = Bybit().parse_recent_trades(answer(rows), "BTCUSDT")
    assert trades[0] == VenueTrade(
        "BTCUSDT",
        LINEAR_TRADE.trade_id,
        1672052955758,
        "16618.49",
        "0.00012",
        True,
        TradeKind.MARKET,
    )
    assert [each.kind for each in trades[1:]] == [TradeKind.RPI, TradeKind.OTHER]
    assert [each.buyer_is_maker for each in trades[1:]] == [False, False]


def test_history_is_what_is_newest() -> None:
    body = answer([past("9"), past("7")])
    history = Bybit().parse_history(body, "BTCUSDT", 3)
    assert history is not None
    assert [each.trade_id for each in history.trades] == [7, 9]
    assert (history.first_id, history.last_id, history.is_newest) == (7, 9, True)
    assert Bybit().parse_history(answer([]), "BTCUSDT", 3) is None


@pytest.mark.parametrize("changes", [{"execId": None}, {"execId": "x"}, {"execId": 7}], ids=str)
def test_recent_trades_with_an_unreadable_id_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(VenueMessageError, match="trades of BTCUSDT are not as documented"):
        Bybit().parse_recent_trades(answer([past("1"), past("2") | changes]), "BTCUSDT")


@pytest.mark.parametrize("time", ["", "yesterday", "-1", "\u0661", "1" * 14, 1672052955758, None])
def test_a_recent_trade_with_an_unreadable_time_keeps_its_id(time: object) -> None:
    (trade,) = Bybit().parse_recent_trades(answer([past("2", time=time)]), "BTCUSDT")
    assert (trade.trade_id, trade.price) == (2, "")


def test_the_time_is_that_of_the_answer() -> None:
    body = (
        b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1688639403","timeNano":'
        b'"1688639403423213947"},"retExtInfo":{},"time":1688639403423}'
    )
    assert Bybit().time_request().path == "/v5/market/time"
    assert Bybit().parse_time(body) == 1688639403423


@pytest.mark.parametrize("time", [-1, 10**14, "1688639403423", None])
def test_an_impossible_time_is_refused(time: object) -> None:
    with pytest.raises(VenueMessageError, match="the venue's time is not as documented"):
        Bybit().parse_time(json.dumps({"time": time}).encode())


COUNTRY = (
    b"<html><body>The Amazon CloudFront distribution is configured to block access from your "
    b"country.</body></html>"
)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, answer([]), None),
        (200, b"<html>", None),
        (200, b'{"retCode":10000,"retMsg":"Server Timeout"}', Refusal.PASSING),
        (200, b'{"retCode":10001,"retMsg":"params error: Symbol Invalid"}', Refusal.OTHER),
        (200, b'{"retCode":10006,"retMsg":"Too many visits!"}', Refusal.BUSY),
        (200, b'{"retCode":10009,"retMsg":"IP has been banned."}', Refusal.BANNED),
        (200, b'{"retCode":10016,"retMsg":"Internal System Error."}', Refusal.PASSING),
        (200, b'{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit."}', Refusal.BUSY),
        (200, b'{"retCode":99999}', Refusal.OTHER),
        (403, b"access too frequent", Refusal.BUSY),
        (403, b"", Refusal.BUSY),
        (403, COUNTRY, Refusal.FORBIDDEN),
        (404, b"", Refusal.OTHER),
        (429, b"", Refusal.BUSY),
        (451, b"", Refusal.FORBIDDEN),
        (503, b"", Refusal.PASSING),
    ],
)
def test_the_meaning_of_an_answer(status: int, body: bytes, expected: Refusal | None) -> None:
    assert Bybit().verdict(status, body) is expected


def test_a_handshake_that_is_refused_with_403_is_tried_again() -> None:
    assert Bybit().refusal(403) is Refusal.BUSY
    assert Bybit().refusal(451) is Refusal.FORBIDDEN


def test_an_error_has_its_words_and_its_code() -> None:
    body = b'{"retCode":10006,"retMsg":"Too many\\u001b visits!"}'
    assert Bybit().explain(200, body) == "Too many? visits! (10006)"
    assert Bybit().explain(403, COUNTRY) == ""


def test_no_book_comes_over_rest() -> None:
    assert Bybit().book_request("BTCUSDT") is None
    with pytest.raises(AssertionError):
        Bybit().parse_book(b"{}", BTC)
