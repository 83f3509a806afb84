"""The dialogue with Bitfinex: subscriptions, numbers of messages, numbers as text, trades, errors
and maintenance."""

import json
from typing import Any

import pytest

from fanout.errors import VenueBusyError, VenueMessageError, VenueRefusalError
from fanout.protocol import DataKinds, Instrument, TradeKind
from fanout.venues import VenueItem, VenueTrade
from fanout.venues.bitfinex import Bitfinex
from fanout.venues.bitfinex.dialogue import BitfinexDialogue
from fanout.venues.values import Alive, BookChecksum, DepthLost, Outcome, VenueDepth
from tests.fanout.venues.test_bitfinex import ALL, BOOK, TE, subscribed

BTC = Instrument(index=3, symbol="tBTCUSD", price_exponent=-8, quantity_exponent=-8)
UNITS = {"tBTCUSD": BTC}
ORDERS = DataKinds.BOOK_BY_ORDER
TRADES, DEPTH = 17470, 10092
CONF = b'{"event":"conf","status":"OK","flags":98304}'


def opened(data: DataKinds = ALL, *, numbered: bool = False) -> BitfinexDialogue:
    """A dialogue with its channels of tBTCUSD."""
    dialogue = Bitfinex(data=data).dialogue(("tBTCUSD",), UNITS)
    dialogue.opening()
    if numbered:
        assert dialogue.receive(CONF, []) is None
    dialogue.receive(subscribed("trades", TRADES, "tBTCUSD"), [])
    dialogue.receive(subscribed("book", DEPTH, "tBTCUSD"), [])
    return dialogue


def received(dialogue: BitfinexDialogue, *messages: bytes | str) -> list[VenueItem]:
    items: list[VenueItem] = []
    for message in messages:
        raw = message.encode() if isinstance(message, str) else message
        assert dialogue.receive(raw, items) is None
    return items


def event(name: str, **fields: object) -> bytes:
    return json.dumps({"event": name, **fields}).encode()


def refusal(code: int, **fields: object) -> bytes:
    return event("error", **{"msg": "no", "code": code, **fields})


def missed(number: int, time: int) -> VenueTrade:
    return VenueTrade("tBTCUSD", number, time, "", "", False, TradeKind.OTHER)


def outcome(dialogue: BitfinexDialogue, message: bytes) -> Outcome:
    found = dialogue.receive(message, [])
    assert found is not None
    return found


# Subscriptions.


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        (DataKinds.TRADES, [("trades", None)]),
        (BOOK, [("book", "100")]),
        (DataKinds.QUOTES, [("book", "25")]),
        (DataKinds.QUOTES | ORDERS, [("book", "100")]),
        (ALL, [("trades", None), ("book", "100")]),
    ],
)
def test_the_opening_asks_for_numbers_and_for_each_channel(
    data: DataKinds, channels: list[tuple[str, str | None]]
) -> None:
    conf, *asked = map(json.loads, Bitfinex(data=data).dialogue(("tBTCUSD",)).opening())
    assert conf == {"event": "conf", "flags": 32768 | 65536}
    assert [(each["channel"], each.get("len")) for each in asked] == channels
    assert {each["symbol"] for each in asked} == {"tBTCUSD"}
    forms = [each["prec"] + each.get("freq", "") for each in asked if each["channel"] == "book"]
    assert set(forms) <= {"R0" if ORDERS in data else "P0F0"}


def test_checksums_are_asked_for_with_a_flag() -> None:
    conf = Bitfinex(data=ALL).with_checksums().dialogue(("tBTCUSD",)).opening()[0]
    assert json.loads(conf)["flags"] == 32768 | 65536 | 131072
    by_order = Bitfinex(data=ORDERS).with_checksums().dialogue(("tBTCUSD",)).opening()[0]
    assert json.loads(by_order)["flags"] == 32768 | 65536, "what they are of is unknown"


def test_a_symbol_is_confirmed_with_its_last_channel() -> None:
    dialogue = Bitfinex(data=ALL).dialogue(("tBTCUSD",), UNITS)
    dialogue.opening()
    assert dialogue.receive(subscribed("book", DEPTH, "tBTCUSD"), []) is None
    assert dialogue.unanswered == {"tBTCUSD"}
    assert outcome(dialogue, subscribed("trades", TRADES, "tBTCUSD")).confirmed == ("tBTCUSD",)


def test_a_channel_that_was_left_before_its_answer_is_left_with_the_answer() -> None:
    dialogue = Bitfinex().dialogue(("tBTCUSD",))
    dialogue.opening()
    assert dialogue.unsubscribe(("tBTCUSD",)) == ()
    (answer,) = outcome(dialogue, subscribed("trades", TRADES, "tBTCUSD")).answers
    assert json.loads(answer) == {"event": "unsubscribe", "chanId": TRADES}
    assert received(dialogue, TE) == []


def test_messages_of_unknown_channels_are_ignored() -> None:
    dialogue = opened()
    assert (
        received(dialogue, '[1,"hb"]', "[1,[[1,2,3]]]", '[1,"te",[1,2,3,4]]', '[1,{"a":1}]') == []
    )
    dialogue.unsubscribe(("tBTCUSD",))
    assert received(dialogue, TE, '{"event":"unsubscribed","status":"OK","chanId":17470}') == []


def test_a_book_is_asked_for_anew_by_leaving_its_channel() -> None:
    dialogue = opened()
    left, asked = map(json.loads, dialogue.refresh("tBTCUSD"))
    assert left == {"event": "unsubscribe", "chanId": DEPTH}
    assert asked["channel"] == "book"
    assert dialogue.refresh("tBTCUSD") == (), "the answer has not come"
    assert received(dialogue, f"[{DEPTH},[7254.7,1,1]]") == []
    assert received(dialogue, subscribed("book", DEPTH, "tBTCUSD"), f"[{DEPTH},[]]")
    assert opened(DataKinds.TRADES).refresh("tBTCUSD") == ()


def test_a_ping_is_due_every_15_s() -> None:
    dialogue = opened()
    assert dialogue.due_s == 15
    assert dialogue.tick(14.9) == ()
    assert [json.loads(each) for each in dialogue.tick(16)] == [{"event": "ping", "cid": 1}]
    assert dialogue.due_s == 31
    assert received(dialogue, '{"event":"pong","ts":1511545528111,"cid":1}') == []


# Numbers of messages.


def numbered(number: int, *, time: int | None = 1_700_000_000_000) -> bytes:
    tail = [number] if time is None else [number, time]
    return json.dumps([TRADES, "hb", *tail]).encode()


def test_a_number_that_does_not_follow_is_a_loss() -> None:
    dialogue = opened(numbered=True)
    assert received(dialogue, numbered(1), numbered(2)) == [Alive("tBTCUSD")] * 2
    items: list[VenueItem] = []
    found = dialogue.receive(TE[:-1] + b",5,1574694478810]", items)
    assert found == Outcome(lost="message 5 came after message 2")
    assert len(items) == 1, "the message itself is read"
    received(dialogue, numbered(6))
    assert outcome(dialogue, numbered(4)).lost == "message 4 came after message 6"
    assert outcome(dialogue, numbered(4)).lost == "message 4 came after message 4"


def test_a_loss_before_an_unreadable_message_is_told_with_the_next_one() -> None:
    dialogue = opened(numbered=True)
    received(dialogue, numbered(1))
    with pytest.raises(VenueMessageError):
        dialogue.receive(b'[17470,"te",7,4,1574694478810]', [])
    assert outcome(dialogue, numbered(5)).lost == "message 4 came after message 1"


def test_messages_of_unknown_channels_are_numbered_too() -> None:
    dialogue = opened(numbered=True)
    received(dialogue, numbered(1), '[5,"hb",2,1700000000000]', numbered(3))
    assert outcome(dialogue, b'[5,"hb",9,1700000000000]').lost


def test_messages_before_the_first_one_are_missed() -> None:
    items: list[VenueItem] = []
    dialogue = opened(numbered=True)
    assert dialogue.receive(numbered(127), items) == Outcome(lost="message 127 came first")
    assert items == [Alive("tBTCUSD")]
    assert received(dialogue, numbered(128))


def test_without_times_the_number_is_the_last_element() -> None:
    dialogue = opened()
    received(dialogue, b'{"event":"conf","status":"OK","flags":65536}', numbered(1, time=None))
    assert outcome(dialogue, numbered(3, time=None)).lost


def test_the_number_may_stand_on_either_side_of_the_time() -> None:
    dialogue = opened(numbered=True)
    (whole,) = received(dialogue, f"[{DEPTH},[],1574694478810,1]")
    assert isinstance(whole, VenueDepth)
    assert whole.update.time == 1574694478810
    received(dialogue, numbered(2))


@pytest.mark.parametrize(
    "answer",
    [{"status": "FAILED"}, {"status": "OK", "flags": 32768}, {"status": "OK", "flags": None}, {}],
)
def test_without_numbers_the_operator_is_told_and_nothing_is_checked(answer: Any) -> None:
    dialogue = opened()
    found = outcome(dialogue, event("conf", **answer))
    assert found.notice == (
        "Bitfinex does not number this connection's messages: a loss is not noticed"
    )
    assert received(dialogue, numbered(5), numbered(9))


@pytest.mark.parametrize(
    "tail", ["", ",1", ",1,null", ',"1",1574694478810', ",-1,1574694478810", ",1,99999999999999"]
)
def test_a_message_without_its_number_is_refused(tail: str) -> None:
    with pytest.raises(VenueMessageError, match="message without its"):
        opened(numbered=True).receive(f'[{TRADES},"hb"{tail}]'.encode(), [])


# Trades.


def test_the_trades_of_the_subscription_are_past_and_come_oldest_first() -> None:
    rows = "[401597395,1574694478808,0.005,7245.3],[401597393,1574694475039,-0.5,7244.9]"
    items = received(opened(), f"[{TRADES},[{rows}]]", TE)
    trades = [each for each in items if isinstance(each, VenueTrade)]
    assert [(each.trade_id, each.is_past, each.buyer_is_maker) for each in trades] == [
        (401597393, True, True),
        (401597395, True, False),
        (401597395, False, False),
    ]
    assert [each.quantity for each in trades] == ["0.5", "0.005", "0.005"]


def test_a_trade_that_comes_again_and_those_of_funding_are_ignored() -> None:
    assert received(opened(), TE.replace(b'"te"', b'"tu"'), f'[{TRADES},"fte",[1,2,3,4,5]]') == []


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("7245", "7245"),
        ("7245.30", "7245.30"),
        ("5e-7", "0.0000005"),
        ("4.45E-6", "0.00000445"),
        ("1e3", "1000"),
        ("230802.51800581", "230802.51800581"),
        ("0.000000012345", "0.000000012345"),
        ("-1.5", "-1.5"),
    ],
)
def test_numbers_are_read_by_their_digits(written: str, price: str) -> None:
    (item,) = received(opened(), TE.decode().replace("7245.3", written))
    assert isinstance(item, VenueTrade)
    assert item.price == price


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("[1,2,0.005]", "trade of the wrong shape"),
        ("{}", "trade of the wrong shape"),
        ('["1",2,0.005,7245.3]', "trade of the wrong shape"),
        ("[-1,2,0.005,7245.3]", "trade of the wrong shape"),
        ("[18446744073709551616,2,0.005,7245.3]", "trade of the wrong shape"),
        ("[1,2.5,0.005,7245.3]", "trade of the wrong shape"),
        ("[1,10000000000001,0.005,7245.3]", "trade of the wrong shape"),
        ("[1,2,0,7245.3]", "amount 0"),
        ("[1,2,-0.0,7245.3]", "amount 0"),
        ('[1,2,"0.005",7245.3]', "value that is no number"),
        ("[1,2,true,7245.3]", "value that is no number"),
        ("[1,2,0.005,null]", "value that is no number"),
        ("[1,2,0.005,1000000000000000000]", "value that is no number"),
        ("[1,2,0.005,1e99]", "number that is too long"),
        ("[1,2,1.7023900800000002,7245.3]", "amount with more than eight decimals"),
        ("[1,2,86.2067634199999,7245.3]", "amount with more than eight decimals"),
        ("[1,2,1e-9,7245.3]", "amount with more than eight decimals"),
        ("[1,2,0.005,0.07698900000000001]", "price with the digits of a double"),
    ],
)
def test_an_unreadable_trade_is_refused_in_words_and_missed(row: str, said: str) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match=said) as caught:
        opened().receive(f'[{TRADES},"te",{row}]'.encode(), items)
    time = 2 if row.startswith("[1,2,") else 0
    assert items == ([missed(1, time)] if row.startswith("[1,") else [])
    assert len(str(caught.value)) < 300


def test_an_unreadable_trade_hides_no_other() -> None:
    rows = "[9,5,0.005,7245.3],[8,4,0.30000000000000004,7245.3],[7,3,0.005,7245.3],[]"
    dialogue, items = opened(numbered=True), list[VenueItem]()
    with pytest.raises(VenueMessageError, match="trade of the wrong shape"):
        dialogue.receive(f"[{TRADES},[{rows}],1,1574694478810]".encode(), items)
    found = [each for each in items if isinstance(each, VenueTrade)]
    assert [(each.trade_id, each.is_past, each.price) for each in found] == [
        (7, True, "7245.3"),
        (8, True, ""),
        (9, True, "7245.3"),
    ]
    assert received(dialogue, numbered(2)), "its number is known"


@pytest.mark.parametrize(
    "message",
    [
        f'[{TRADES},"te"]',
        f'[{TRADES},"xx",[1]]',
        f"[{TRADES},7]",
        f'[{TRADES},{{"a":1}}]',
        f"[{TRADES}]",
        '["17470","hb"]',
        "7",
        '{"event":"somethingNew"}',
        '{"event":7}',
        '{"event":"subscribed","channel":"trades","symbol":"tBTCUSD"}',
        '{"event":"subscribed","channel":"trades","symbol":"tBTCUSD","chanId":"7"}',
    ],
)
def test_an_unexpected_message_is_refused(message: str) -> None:
    with pytest.raises(VenueMessageError):
        opened().receive(message.encode(), [])


def test_heartbeats_of_a_book_do_not_stand_for_trades() -> None:
    assert received(opened(), f'[{DEPTH},"hb"]', f'[{TRADES},"hb"]') == [Alive("tBTCUSD")]
    dialogue = Bitfinex(data=BOOK).dialogue(("tBTCUSD",), UNITS)
    dialogue.opening()
    dialogue.receive(subscribed("book", DEPTH, "tBTCUSD"), [])
    assert received(dialogue, f'[{DEPTH},"hb"]') == [Alive("tBTCUSD")]


# Errors and maintenance.


@pytest.mark.parametrize("code", [10000, 10001, 10020, 10300, 10302])
@pytest.mark.parametrize("named", [{"symbol": "tBTCUSD"}, {"pair": "BTCUSD"}])
def test_a_refused_channel_refuses_its_symbol_and_leaves_its_other_channel(
    code: int, named: dict[str, str]
) -> None:
    dialogue = Bitfinex(data=ALL).dialogue(("tBTCUSD",), UNITS)
    dialogue.opening()
    dialogue.receive(subscribed("trades", TRADES, "tBTCUSD"), [])
    found = outcome(dialogue, refusal(code, channel="book", **named))
    assert found.refused == {"tBTCUSD": f"no ({code})"}
    assert [json.loads(each)["chanId"] for each in found.answers] == [TRADES]
    assert dialogue.unanswered == frozenset()


@pytest.mark.parametrize("code", [10000, 10300, 10301, 10999])
def test_an_error_that_names_nothing_of_ours_is_a_notice(code: int) -> None:
    dialogue = opened()
    for fields in ({}, {"channel": "trades", "symbol": "tXRPUSD"}):
        found = outcome(dialogue, refusal(code, **fields))
        assert found == Outcome(notice=f"Bitfinex refuses a request: no ({code})")


def test_a_refused_refresh_is_a_notice_and_leaves_the_trades_alone() -> None:
    dialogue = opened()
    dialogue.refresh("tBTCUSD")
    found = outcome(dialogue, refusal(10300, channel="book", symbol="tBTCUSD"))
    assert found.notice == "Bitfinex refuses a request: no (10300)"
    assert received(dialogue, TE)


def test_a_second_subscription_of_an_open_channel_is_nothing() -> None:
    message = refusal(10301, channel="trades", symbol="tBTCUSD")
    assert opened().receive(message, []) is None
    asked = Bitfinex().dialogue(("tBTCUSD",))
    asked.opening()
    assert "refuses" in str(outcome(asked, message).notice), "its number is unknown"
    assert asked.unanswered == {"tBTCUSD"}


def test_the_26th_channel_makes_the_connection_useless() -> None:
    with pytest.raises(VenueRefusalError, match="refuses one more channel: no"):
        opened().receive(refusal(10305, channel="trades", symbol="tBTCUSD"), [])


def test_a_venue_that_is_not_ready_is_left_alone_for_10_s() -> None:
    with pytest.raises(VenueBusyError, match="is not ready") as caught:
        opened().receive(refusal(11000), [])
    assert caught.value.pause_s == 10


@pytest.mark.parametrize("code", [10400, 10401])
def test_a_failed_unsubscription_is_nothing(code: int) -> None:
    assert opened().receive(refusal(code, chanId=7), []) is None


def info(**fields: object) -> bytes:
    return event("info", **fields)


def test_maintenance_pauses_and_its_end_closes() -> None:
    dialogue = opened()
    assert dialogue.receive(info(version=2, serverId="x", platform={"status": 1}), []) is None
    assert dialogue.receive(info(), []) is None
    assert outcome(dialogue, info(version=2, platform={"status": 0})).pauses == (
        "Bitfinex is in maintenance"
    )
    begins = outcome(dialogue, info(code=20060, msg="Entering"))
    ends = outcome(dialogue, info(code=20061, msg="Ended"))
    restarts = outcome(dialogue, info(code=20051, msg="Stop\x1b"))
    other = outcome(dialogue, info(code=20099))
    assert begins == Outcome(pauses="Bitfinex began its maintenance: Entering (20060)")
    assert ends == Outcome(closes="Bitfinex ended its maintenance: Ended (20061)")
    assert restarts == Outcome(closes="Bitfinex restarts: Stop? (20051)")
    assert other == Outcome(notice="no reason given (20099)")


def test_books_of_before_the_maintenance_are_lost() -> None:
    dialogue, items = opened(), list[VenueItem]()
    received(dialogue, f"[{DEPTH},[[7254.7,1,1]]]")
    dialogue.receive(info(code=20060), items)
    dialogue.receive(info(code=20060), items)
    why = "Bitfinex began its maintenance: no reason given (20060)"
    assert items == [DepthLost("tBTCUSD", 3, why)]
    dialogue.receive(info(code=20061), [])
    change, whole = f"[{DEPTH},[7254.7,2,5]]", f"[{DEPTH},[]]"
    assert len(received(dialogue, change, whole, change)) == 2, "the first change follows no book"


@pytest.mark.parametrize("version", [3, 1.1, "2"])
def test_another_version_is_refused(version: object) -> None:
    with pytest.raises(VenueRefusalError, match=f"speaks version {version}, not 2"):
        opened().receive(info(version=version), [])


@pytest.mark.parametrize(
    ("msg", "words"), [(None, "no reason given"), (7, "7"), ({"a": "b"}, "{'a': 'b'}")]
)
def test_an_announcement_counts_whatever_its_words_are(msg: object, words: str) -> None:
    found = outcome(opened(), info(code=20051, msg=msg, platform=7))
    assert found == Outcome(closes=f"Bitfinex restarts: {words} (20051)")
    assert outcome(opened(), refusal(10999, msg=msg)).notice == (
        f"Bitfinex refuses a request: {words} (10999)"
    )


def test_a_book_is_lost_with_a_message_that_is_too_long_and_trades_are_not() -> None:
    dialogue, items = opened(), list[VenueItem]()
    for head in (f"[{DEPTH},[[", f"[{TRADES},[[", "[7,[[", "[x", ""):
        dialogue.skip(head.encode(), items)
    assert items == [DepthLost("tBTCUSD", 3, "message too long")]


def test_a_checksum_follows_the_book() -> None:
    whole, cs = f"[{DEPTH},[[1,1,1],[2,1,-1]]]", f'[{DEPTH},"cs",-1175357890]'
    dialogue = opened()
    assert received(dialogue, cs) == []
    items = received(dialogue, whole, cs)
    assert items[1:] == [BookChecksum("tBTCUSD", 3, -1175357890)]
    for value in ("1.5", "2147483648", "null", '"1"'):
        with pytest.raises(VenueMessageError, match="checksum of the wrong shape"):
            dialogue.receive(f'[{DEPTH},"cs",{value}]'.encode(), [])
    with pytest.raises(VenueMessageError, match="checksum of the wrong shape"):
        dialogue.receive(f'[{DEPTH},"cs"]'.encode(), [])
