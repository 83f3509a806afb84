"""What OKX's connections say and bring: trades, answers, errors, notices, the keep-alive."""

import json
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, TradeKind
from fanout.venues import Outcome, SpentId, VenueItem, VenueTrade
from fanout.venues.okx import Okx
from fanout.venues.okx.dialogue import OkxDialogue
from tests.contracts.venue import GARBAGE

MISSING = (
    "Wrong URL or channel:{channel},instId:{symbol} doesn't exist. Please use the correct URL, "
    "channel and parameters referring to API document."
)


def fills() -> OkxDialogue:
    return Okx().dialogue(("BTC-USDT", "ETH-USDT"))


def aggregates() -> OkxDialogue:
    data = DataKinds.TRADES | DataKinds.QUOTES
    return Okx(stream="aggTrade", data=data).dialogue(("BTC-USDT", "ETH-USDT"))


def trade(channel: str = "trades-all", **changes: object) -> bytes:
    row = {
        "instId": "BTC-USDT",
        "tradeId": "130639474",
        "px": "42219.9",
        "sz": "0.12060306",
        "side": "buy",
        "ts": "1630048897897",
        **changes,
    }
    return message({"arg": {"channel": channel, "instId": row["instId"]}, "data": [row]})


def message(whole: object) -> bytes:
    return json.dumps(whole, separators=(",", ":")).encode()


def event(name: str, **fields: object) -> bytes:
    return message({"event": name, **fields, "connId": "a4d3ae55"})


def confirmed(symbol: str, channel: str = "trades-all") -> bytes:
    return event("subscribe", arg={"channel": channel, "instId": symbol})


def error(code: str, msg: str) -> bytes:
    return event("error", code=code, msg=msg)


def received(dialogue: OkxDialogue, text: bytes) -> list[VenueItem]:
    items: list[VenueItem] = []
    assert dialogue.receive(text, items) is None
    return items


def told(dialogue: OkxDialogue, text: bytes) -> Outcome:
    items: list[VenueItem] = []
    outcome = dialogue.receive(text, items)
    assert items == []
    assert outcome is not None
    return outcome


def args(text: str) -> list[tuple[str, str]]:
    return [(each["channel"], each["instId"]) for each in json.loads(text)["args"]]


# Trades.


@pytest.mark.parametrize(
    ("changes", "is_maker", "kind"),
    [
        ({}, False, TradeKind.MARKET),
        ({"side": "sell"}, True, TradeKind.MARKET),
        ({"source": "0", "seqId": 5}, False, TradeKind.MARKET),
        ({"source": "1"}, False, TradeKind.RPI),
        ({"source": "2"}, False, TradeKind.OTHER),
        ({"count": "1"}, False, TradeKind.MARKET),
    ],
)
def test_a_fill_has_its_takers_side_and_its_kind(
    changes: dict[str, Any], is_maker: bool, kind: TradeKind
) -> None:
    assert received(fills(), trade(**changes)) == [
        VenueTrade("BTC-USDT", 130639474, 1630048897897, "42219.9", "0.12060306", is_maker, kind)
    ]


def test_an_aggregate_comes_behind_the_ids_of_its_other_fills() -> None:
    items = received(aggregates(), trade("trades", tradeId="123", count="3"))
    spent, (last,) = items[:2], items[2:]
    assert spent == [SpentId("BTC-USDT", 121), SpentId("BTC-USDT", 122)]
    assert isinstance(last, VenueTrade)
    assert (last.trade_id, last.first_fill, last.kind) == (123, 121, TradeKind.AGGREGATE)


def test_an_aggregate_of_one_fill_and_one_without_a_count_are_alone() -> None:
    for changes in ({}, {"count": "1"}):
        (item,) = received(aggregates(), trade("trades", tradeId="123", **changes))
        assert isinstance(item, VenueTrade)
        assert (item.first_fill, item.kind) == (123, TradeKind.AGGREGATE)
    (item,) = received(aggregates(), trade("trades", source="1"))
    assert isinstance(item, VenueTrade)
    assert item.kind == TradeKind.RPI


def test_all_rows_of_a_message_are_taken_in_their_order() -> None:
    whole = json.loads(trade(tradeId="7"))
    whole["data"].append({**whole["data"][0], "tradeId": "8"})
    items = received(fills(), message(whole))
    assert [each.trade_id for each in items if isinstance(each, VenueTrade)] == [7, 8]


def pasts(items: list[VenueItem]) -> list[tuple[str, bool]]:
    return [(each.symbol, each.is_past) for each in items if isinstance(each, VenueTrade)]


def test_the_first_aggregate_behind_the_answer_is_past_and_no_fill() -> None:
    for dialogue, channel in ((fills(), "trades-all"), (aggregates(), "trades")):
        dialogue.opening()
        dialogue.receive(confirmed("BTC-USDT", channel), [])
        items: list[VenueItem] = []
        for number in ("5", "6"):
            items += received(dialogue, trade(channel, tradeId=number))
            items += received(dialogue, trade(channel, instId="ETH-USDT", tradeId=number))
        assert pasts(items) == [
            ("BTC-USDT", channel == "trades"),
            ("ETH-USDT", False),
            ("BTC-USDT", False),
            ("ETH-USDT", False),
        ]


def test_an_aggregate_long_behind_the_answer_is_not_past() -> None:
    for pings in (1, 2):
        dialogue = aggregates()
        dialogue.opening()
        dialogue.receive(confirmed("BTC-USDT", "trades"), [])
        for _ in range(pings):
            dialogue.tick(dialogue.due_s)
        assert pasts(received(dialogue, trade("trades"))) == [("BTC-USDT", pings == 1)]


def test_what_is_left_or_was_not_asked_for_has_no_past() -> None:
    dialogue = aggregates()
    dialogue.opening()
    dialogue.receive(confirmed("BTC-USDT", "trades"), [])
    dialogue.unsubscribe(("BTC-USDT",))
    dialogue.receive(confirmed("BTC-USDT", "trades"), [])
    assert pasts(received(dialogue, trade("trades"))) == [("BTC-USDT", False)]


def test_a_message_in_another_order_is_read_alike() -> None:
    whole = json.loads(trade())
    turned = message({"data": whole["data"], "arg": whole["arg"]})
    spaced = json.dumps(whole).encode()
    assert received(fills(), turned) == received(fills(), spaced) == received(fills(), trade())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (trade(tradeId=None), "trade of the wrong shape"),
        (trade(tradeId="-1"), "trade of the wrong shape"),
        (trade(tradeId="1.5"), "trade of the wrong shape"),
        (trade(tradeId="1_000"), "trade of the wrong shape"),
        (trade(tradeId=" 5"), "trade of the wrong shape"),
        (trade(tradeId=str(2**64)), "trade of the wrong shape"),
        (trade(tradeId="9" * 5_000), "trade of the wrong shape"),
        (trade(ts=str(2**64)), "trade of the wrong shape"),
        (trade(ts=str(10**13 + 1)), "trade of the wrong shape"),
        (trade(ts=""), "trade of the wrong shape"),
        (trade(px=42219.9), "trade of the wrong shape"),
        (trade(sz=None), "trade of the wrong shape"),
        (trade(side="hold"), "trade of the wrong shape"),
        (trade(side=1), "trade of the wrong shape"),
        (trade(count="0"), "trade of the wrong shape"),
        (trade(count="10001"), "trade of the wrong shape"),
        (trade(count="3", tradeId="1"), "trade of the wrong shape"),
        (trade().replace(b"[{", b"{").replace(b"}]", b"}"), "trade of the wrong shape"),
        (message({"arg": {"channel": "trades-all", "instId": "A"}}), "trade of the wrong shape"),
        (message({"arg": {"channel": "trades-all", "instId": "A"}, "data": []}), "trade of"),
        (trade("trades"), "unexpected channel"),
        (trade("tickers"), "unexpected channel"),
        (message({"data": [], "arg": {"channel": "币", "instId": "A"}}), "unexpected channel"),
        (message({"data": [], "arg": {}}), "unexpected channel"),
        (message({"data": [], "arg": 5}), "message of the wrong shape"),
        (b"ping", "message is not JSON"),
        (b"pong ", "message is not JSON"),
        (event("login", code="0", msg=""), "unexpected event"),
        (event("subscribe"), "unexpected event"),
        (event("subscribe", arg=None), "unexpected event"),
        (event("error", code=60018, msg="x"), "message of the wrong shape"),
        (b'{"event":5}', "message of the wrong shape"),
    ],
)
def test_odd_messages_are_refused_in_words(text: bytes, kind: str) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match=kind) as caught:
        fills().receive(text, items)
    assert items == []
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", [*GARBAGE, trade("trades", count="2")[:-1]], ids=lambda each: "")
def test_garbage_is_refused_by_a_dialogue_of_several_kinds(text: bytes) -> None:
    with pytest.raises(VenueMessageError):
        aggregates().receive(text, [])


@pytest.mark.parametrize(
    "text", [confirmed("BTC-USDT"), error("60018", MISSING), event("notice", code="64008", msg="x")]
)
def test_every_truncation_of_an_answer_is_refused(text: bytes) -> None:
    for length in range(len(text)):
        with pytest.raises(VenueMessageError):
            fills().receive(text[:length], [])


# Answers.


def test_a_symbol_is_confirmed_with_the_last_of_its_channels() -> None:
    dialogue = aggregates()
    dialogue.opening()
    assert received(dialogue, confirmed("ETH-USDT", "bbo-tbt")) == []
    assert received(dialogue, confirmed("BTC-USDT", "trades")) == []
    assert told(dialogue, confirmed("ETH-USDT", "trades")) == Outcome(confirmed=("ETH-USDT",))
    assert dialogue.unanswered == {"BTC-USDT"}
    assert received(dialogue, confirmed("ETH-USDT", "trades")) == [], "a second answer"
    assert received(dialogue, confirmed("DOGE-USDT", "trades")) == [], "not asked for"


def test_what_is_left_is_unsubscribed_from_each_channel() -> None:
    dialogue = aggregates()
    dialogue.opening()
    (text,) = dialogue.unsubscribe(("ETH-USDT",))
    assert json.loads(text)["op"] == "unsubscribe"
    assert args(text) == [("trades", "ETH-USDT"), ("bbo-tbt", "ETH-USDT")]
    assert dialogue.unanswered == {"BTC-USDT"}
    arg = {"channel": "trades", "instId": "ETH-USDT"}
    assert received(dialogue, event("unsubscribe", arg=arg)) == []


def test_requests_keep_to_their_length_and_to_three_hundred_arguments() -> None:
    venue = Okx()
    names = tuple(f"BTC-USD-220325-{number}-C" for number in range(1_000))
    requests = venue.dialogue(names).opening()
    assert [len(args(each)) for each in requests] == [300, 300, 300, 100]
    long = tuple(f"{number:0128}" for number in range(1_000))
    requests = venue.dialogue(long).opening()
    sizes = [len(each.encode()) for each in requests]
    assert max(sizes) <= venue.limits.request_bytes < max(sizes) + 180


@pytest.mark.parametrize(
    ("code", "msg"),
    [
        ("60018", MISSING.format(channel="trades-all", symbol="ETH-USDT")),
        (
            "64001",
            "This channel has been migrated to '/business': channel:trades-all,instId:ETH-USDT",
        ),
        ("60029", "Only users who are VIP5 and above: channel:trades-all, instId:ETH-USDT"),
        ("60030", "Only users who are VIP4 and above: channel:trades-all, instId:ETH-USDT"),
        ("64003", "Your trading fee tier doesn't meet: channel:trades-all,instId:ETH-USDT"),
    ],
)
def test_an_error_refuses_the_symbol_that_it_names(code: str, msg: str) -> None:
    dialogue = fills()
    dialogue.opening()
    outcome = told(dialogue, error(code, msg))
    assert outcome == Outcome(refused={"ETH-USDT": f"{msg} ({code})"})
    assert dialogue.unanswered == {"BTC-USDT"}
    assert told(dialogue, error(code, msg)).notice, "refused before"


@pytest.mark.parametrize(
    "words", [MISSING.format(channel="books", symbol="BTC-USDT"), "nothing named"]
)
@pytest.mark.parametrize("is_late", [True, False])
def test_a_symbol_that_is_refused_for_one_channel_is_left_on_the_others(
    words: str, is_late: bool
) -> None:
    data = DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    dialogue: Any = Okx(data=data).dialogue(("BTC-USDT",))
    dialogue.opening()
    quotes = confirmed("BTC-USDT", "bbo-tbt")
    if not is_late:
        assert received(dialogue, quotes) == []
    outcome = told(dialogue, error("60018", words))
    assert set(outcome.refused) == {"BTC-USDT"}
    answers = outcome.answers
    if is_late:
        assert answers == ()
        answers = told(dialogue, quotes).answers
    (text,) = answers
    assert (json.loads(text)["op"], args(text)) == ("unsubscribe", [("bbo-tbt", "BTC-USDT")])
    dialogue.subscribe(("BTC-USDT",))
    assert received(dialogue, quotes) == [], "asked for again"
    dialogue.receive(confirmed("BTC-USDT", "books"), [])
    assert dialogue.unanswered == frozenset()


def test_an_error_may_name_its_symbol_as_an_answer_does() -> None:
    dialogue = fills()
    dialogue.opening()
    arg = {"channel": "trades-all", "instId": "BTC-USDT"}
    outcome = told(dialogue, event("error", code="60018", msg="Wrong URL", arg=arg))
    assert outcome.refused == {"BTC-USDT": "Wrong URL (60018)"}


@pytest.mark.parametrize(
    ("code", "msg"),
    [
        ("60012", 'Invalid request: {"op": "subscribe", "argss":[{ "channel" : "trades"}]}'),
        ("60018", "Wrong URL"),
        ("64001", "This channel has been migrated to the '/business' URL. Please subscribe using"),
        ("64000", "Subscription parameter uly is unavailable anymore."),
        ("60028", ""),
    ],
)
def test_an_error_that_names_no_symbol_is_narrowed_down(code: str, msg: str) -> None:
    dialogue = Okx().dialogue(tuple("ABCD"))
    dialogue.opening()
    waiting, asked = [list("ABCD")], 0
    refused: dict[str, str] = {}
    while waiting:
        run = waiting.pop(0)
        asked += 1
        if "C" not in run:
            for symbol in run:
                dialogue.receive(confirmed(symbol), [])
            continue
        outcome = told(dialogue, error(code, msg))
        refused |= outcome.refused
        waiting += [[symbol for _, symbol in args(each)] for each in outcome.answers]
    assert refused == {"C": f"{msg or 'no reason given'} ({code})"}
    assert dialogue.unanswered == frozenset()
    assert asked == 5
    assert told(dialogue, error(code, msg)).notice, "nothing waits any more"


@pytest.mark.parametrize(("code", "msg"), [("60014", "Requests too frequent"), ("64007", "")])
def test_a_passing_error_refuses_nobody(code: str, msg: str) -> None:
    dialogue = fills()
    dialogue.opening()
    assert told(dialogue, error(code, msg)).notice == f"{msg or 'no reason given'} ({code})"
    assert dialogue.unanswered == {"BTC-USDT", "ETH-USDT"}


def test_an_error_about_what_was_not_asked_for_is_told() -> None:
    outcome = told(fills(), error("60018", MISSING.format(channel="books", symbol="BTC-USDT")))
    assert "doesn't exist" in str(outcome.notice)


def test_words_are_made_safe_for_a_terminal() -> None:
    outcome = told(fills(), event("notice", code="6\x1b", msg="\x1b[31m" + "x" * 1_000))
    assert outcome.notice is not None
    assert outcome.notice.isprintable()
    assert len(outcome.notice) < 300


# Notices and the keep-alive.


def test_an_announced_close_is_told_in_the_venues_words() -> None:
    msg = "The connection will soon be closed for a service upgrade. Please reconnect."
    assert told(fills(), event("notice", code="64008", msg=msg)) == Outcome(closes=f"{msg} (64008)")
    assert told(fills(), event("notice", code="1", msg="x")) == Outcome(notice="x (1)")


def test_a_ping_of_text_is_due_every_twenty_seconds() -> None:
    dialogue = fills()
    assert dialogue.due_s == 20
    assert dialogue.tick(19.9) == ()
    assert dialogue.tick(20.5) == ("ping",)
    assert dialogue.due_s == 40.5
    assert dialogue.tick(21) == ()
    assert received(dialogue, b"pong") == []


def test_only_a_book_can_be_asked_for_anew() -> None:
    assert fills().refresh("BTC-USDT") == ()
    dialogue: Any = Okx(data=DataKinds.BOOK_BY_PRICE).dialogue(("BTC-USDT",))
    dialogue.opening()
    (text,) = dialogue.refresh("BTC-USDT")
    assert json.loads(text)["op"] == "subscribe"
    assert args(text) == [("books", "BTC-USDT")]
    assert told(dialogue, confirmed("BTC-USDT", "books")).confirmed == ("BTC-USDT",)
    assert received(dialogue, confirmed("BTC-USDT", "books")) == []


def test_a_connection_keeps_to_the_480_requests_of_an_hour() -> None:
    """Five books, each asked for anew every 30 s, would be 600 an hour."""
    dialogue = Okx(data=DataKinds.BOOK_BY_PRICE).dialogue(tuple("ABCDE"))
    sent = len(dialogue.opening())
    dialogue.tick(20)
    for symbol in "AB":
        sent += len(dialogue.unsubscribe((symbol,)) + dialogue.subscribe((symbol,)))
    while (words := dialogue.refresh("A")) and sent < 480:
        sent += len(words)
    assert sent == 400
    assert dialogue.subscribe(("F",)) != (), "only books are left to a new connection"
