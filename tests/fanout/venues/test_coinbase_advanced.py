"""Advanced Trade: the documented messages, and what live ones showed. No recording exists."""

import json
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Level
from fanout.protocol.constants import BookFlags
from fanout.venues import Outcome, VenueDepth, VenueItem, VenueTrade
from fanout.venues.coinbase import CoinbaseAdvanced
from fanout.venues.coinbase.advanced_dialogue import AdvancedDialogue
from fanout.venues.values import TOO_LONG, DepthLost
from tests.fanout.venues.test_coinbase import ALL, MARKET_TRADE, MARKET_TRADES
from tests.fanout.venues.test_coinbase_exchange import UNITS

HEARTBEAT = (
    b'{"channel":"heartbeats","timestamp":"2026-08-09T21:05:48.854919000Z","sequence_num":7,"event'
    b's":[{"current_time":"2026-08-09 21:05:48.854840045 +0000 UTC m=+41691.260485341","heartbeat_'
    b'counter":42}]}'
)


def numbered(number: int, channel: str, *events: object) -> bytes:
    head: dict[str, Any] = {
        "channel": channel,
        "client_id": "",
        "timestamp": "2026-04-07T14:30:01.456789012Z",
        "sequence_num": number,
    }
    return json.dumps({**head, "events": events}, separators=(",", ":")).encode()


def row(number: str, **changes: object) -> dict[str, object]:
    (event,) = json.loads(MARKET_TRADES)["events"]
    return {**event["trades"][0], "trade_id": number, **changes}


def level(side: str, price: object, quantity: str, second: int = 1) -> dict[str, object]:
    time = f"2026-04-07T14:30:{second:02}.456789Z"
    return {"side": side, "event_time": time, "price_level": price, "new_quantity": quantity}


def depth(kind: str, *levels: object, symbol: str = "BTC-USD") -> dict[str, object]:
    return {"type": kind, "product_id": symbol, "updates": levels}


SNAPSHOT = depth(
    "snapshot",
    level("bid", "68900.00", "1.50000000"),
    level("bid", "68899.50", "0.75000000"),
    level("offer", "68901.00", "0.50000000", second=2),
)
UPDATE = depth("update", level("bid", "68900.00", "2"), level("offer", "68901.00", "0.00000000"))


def dialogue_of(*symbols: str, data: DataKinds = ALL) -> AdvancedDialogue:
    return CoinbaseAdvanced(data=data).dialogue(symbols or ("BTC-USD",), UNITS)


def received(*messages: bytes) -> list[VenueItem]:
    dialogue, items = dialogue_of(), list[VenueItem]()
    for message in messages:
        assert dialogue.receive(message, items) is None
    return items


# Trades.


def test_the_newest_trade_comes_first_and_the_side_is_the_makers() -> None:
    events = {"type": "update", "trades": [row("9", side="SELL"), row("8"), row("7")]}
    found = [
        (each.trade_id, each.buyer_is_maker, each.is_past)
        for each in received(numbered(3, "market_trades", events))
        if isinstance(each, VenueTrade)
    ]
    assert found == [(7, True, False), (8, True, False), (9, False, False)]
    assert received(MARKET_TRADES) == [MARKET_TRADE]


def test_the_trades_of_a_snapshot_are_past() -> None:
    events = {"type": "snapshot", "trades": [row("8"), row("7", product_id="ETH-USD")]}
    ethereum, bitcoin = received(numbered(3, "market_trades", events))
    assert isinstance(bitcoin, VenueTrade)
    assert isinstance(ethereum, VenueTrade)
    assert (ethereum.symbol, ethereum.is_past) == ("ETH-USD", True)
    assert (bitcoin.trade_id, bitcoin.is_past) == (8, True)


@pytest.mark.parametrize(
    "bad",
    [
        {"price": 68900.5},
        {"size": None},
        {"side": "buy"},
        {"time": "now"},
        {"trade_id": 7},
        {"trade_id": "7e2"},
        {"trade_id": "-7"},
        {"trade_id": ""},
        {"trade_id": "9" * 20},
        {"trade_id": "\u0661"},
    ],
    ids=str,
)
def test_an_unreadable_trade_is_refused_in_words_and_hides_no_other(bad: dict[str, object]) -> None:
    events = {"type": "update", "trades": [row("9"), {**row("8"), **bad}, row("7")]}
    dialogue, items = dialogue_of(), list[VenueItem]()
    with pytest.raises(VenueMessageError, match="trade of the wrong shape: 1 of 3 in a message"):
        dialogue.receive(numbered(3, "market_trades", events), items)
    ids = [each.trade_id for each in items if isinstance(each, VenueTrade)]
    assert ids == ([7, 9] if "trade_id" in bad else [7, 8, 9])
    if "trade_id" not in bad:
        assert isinstance(items[1], VenueTrade)
        assert (items[1].symbol, items[1].price, items[1].quantity) == (
            "BTC-USD",
            "",
            "",
        ), "it is missed"
    assert dialogue.receive(numbered(4, "heartbeats"), items) is None, "its number is known"


# Books.


def test_a_snapshot_is_the_whole_book_and_changes_are_counted_behind_it() -> None:
    whole, change, empty = received(
        numbered(0, "l2_data", SNAPSHOT),
        numbered(1, "l2_data", UPDATE, depth("update")),
    )
    assert isinstance(whole, VenueDepth)
    assert isinstance(change, VenueDepth)
    assert isinstance(empty, VenueDepth)
    assert whole.update.flags == BookFlags.WHOLE
    assert (whole.update.update_id, whole.previous_id) == (1, None)
    assert whole.update.time == 1775572202456789, "of its last level"
    assert whole.update.bids == [Level(6_890_000, 150_000_000), Level(6_889_950, 75_000_000)]
    assert whole.update.asks == [Level(6_890_100, 50_000_000)]
    assert (change.update.update_id, change.previous_id) == (2, 1)
    assert change.update.bids == [Level(6_890_000, 200_000_000)]
    assert change.update.asks == [Level(6_890_100, 0)]
    assert (empty.update.update_id, empty.update.time, empty.update.bids) == (3, 0, [])


@pytest.mark.parametrize(
    ("times", "microseconds"),
    [
        (["2026-04-07T14:30:01Z", "2026-04-07T14:30:01.9Z"], 1775572201900000),
        (["2026-04-07T14:30:01.123456789Z", "2026-04-07T14:30:01.2Z"], 1775572201200000),
        (["0001-01-01T00:00:00Z", "2026-04-07T14:30:01Z"], 1775572201000000),
        (["0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"], 0),
    ],
)
def test_the_time_of_a_book_is_its_newest_whatever_its_decimals(
    times: list[str], microseconds: int
) -> None:
    levels = [{**level("bid", "1", "1"), "event_time": time} for time in times]
    (whole,) = received(numbered(0, "l2_data", depth("snapshot", *levels)))
    assert isinstance(whole, VenueDepth)
    assert whole.update.time == microseconds


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (depth("update", level("ask", "1", "1")), "depth of the wrong shape"),
        (depth("update", level("bid", 1, "1")), "depth of the wrong shape"),
        (depth("update", level("bid", "1.234", "1")), "depth with a level that cannot be"),
        (depth("update", {**level("bid", "1", "1"), "event_time": "x"}), "text that is no time"),
        (depth("partial"), "depth of the wrong shape"),
    ],
    ids=str,
)
def test_an_unreadable_change_loses_its_book_and_no_other(
    bad: dict[str, object], kind: str
) -> None:
    dialogue, items = dialogue_of("BTC-USD", "ETH-USD"), list[VenueItem]()
    dialogue.receive(numbered(0, "l2_data", SNAPSHOT), items)
    other = depth("update", level("bid", "1.5", "1"), symbol="ETH-USD")
    with pytest.raises(VenueMessageError) as caught:
        dialogue.receive(numbered(1, "l2_data", bad, other), items)
    assert caught.value.kind == kind
    assert dialogue.receive(numbered(2, "l2_data", UPDATE), items) is None
    _, lost, ethereum, after = items
    assert lost == DepthLost("BTC-USD", 0, kind)
    assert isinstance(ethereum, VenueDepth)
    assert ethereum.symbol == "ETH-USD"
    assert isinstance(after, VenueDepth)
    assert after.previous_id == 2, "and 1 was the last that was read"


def test_a_book_of_a_symbol_that_was_not_subscribed_is_refused() -> None:
    message = numbered(0, "l2_data", depth("update", symbol="DOGE-USD"))
    with pytest.raises(VenueMessageError, match="depth of a symbol that was not subscribed"):
        dialogue_of().receive(message, [])


@pytest.mark.parametrize(
    "message",
    [
        numbered(0, "l2_data", {"type": "update"}),
        numbered(0, "market_trades", {"type": "partial", "trades": []}),
        numbered(0, "subscriptions", {"subscriptions": {"level2": "BTC-USD"}}),
        numbered(0, "ticker"),
        b'{"channel":"heartbeats","events":[]}',
        b'{"channel":"heartbeats","sequence_num":"7","events":[]}',
    ],
)
def test_an_undocumented_message_is_refused_in_words(message: bytes) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match=r"wrong shape|unexpected channel|without a number"):
        dialogue_of().receive(message, items)
    assert items == []


def test_every_truncation_is_refused() -> None:
    message = numbered(0, "l2_data", SNAPSHOT)
    for length in range(len(message)):
        with pytest.raises(VenueMessageError):
            dialogue_of().receive(message[:length], [])


# The numbers.


def test_a_hole_means_that_messages_are_lost_and_hides_no_item() -> None:
    dialogue, items = dialogue_of(), list[VenueItem]()
    assert dialogue.receive(HEARTBEAT, items) is None, "a connection may begin with any number"
    trades = {"type": "update", "trades": [row("7")]}
    assert dialogue.receive(numbered(8, "market_trades", trades), items) is None
    outcome = dialogue.receive(numbered(10, "market_trades", trades), items)
    assert outcome == Outcome(lost="sequence_num 10 came after 8")
    assert len(items) == 2
    assert dialogue.receive(numbered(11, "heartbeats"), items) is None
    outcome = dialogue.receive(numbered(11, "heartbeats"), items)
    assert outcome == Outcome(lost="sequence_num 11 came after 11")


def test_a_hole_before_an_unreadable_message_is_reported_with_the_next() -> None:
    dialogue = dialogue_of()
    dialogue.receive(numbered(1, "heartbeats"), [])
    with pytest.raises(VenueMessageError, match="unexpected channel"):
        dialogue.receive(numbered(3, "candles"), [])
    outcome = dialogue.receive(numbered(4, "heartbeats"), [])
    assert outcome == Outcome(lost="sequence_num 3 came after 1")


@pytest.mark.parametrize("channel", ["market_trades", "l2_data"])
def test_a_numbered_message_that_cannot_be_read_at_all_is_lost(channel: str) -> None:
    dialogue = dialogue_of()
    with pytest.raises(VenueMessageError, match="wrong shape"):
        dialogue.receive(numbered(7, channel, {"product_id": 7, "trades": 7}), [])
    trades = {"type": "update", "trades": [row("7")]}
    outcome = dialogue.receive(numbered(8, "market_trades", trades), [])
    assert outcome == Outcome(lost="sequence_num 7 cannot be read")


def test_a_message_that_is_too_long_loses_its_book_and_keeps_its_number() -> None:
    dialogue, items = dialogue_of(), list[VenueItem]()
    dialogue.receive(numbered(1, "heartbeats"), items)
    dialogue.skip(numbered(2, "l2_data", SNAPSHOT), items)
    assert items == [DepthLost("BTC-USD", 0, TOO_LONG)]
    assert dialogue.receive(numbered(3, "heartbeats"), items) is None


def test_trades_in_a_message_that_is_too_long_are_missed() -> None:
    dialogue, items = dialogue_of(), list[VenueItem]()
    dialogue.receive(numbered(1, "heartbeats"), items)
    dialogue.skip(MARKET_TRADES.replace(b":5,", b":2,"), items)
    assert items == []
    outcome = dialogue.receive(numbered(3, "heartbeats"), items)
    assert outcome == Outcome(lost="sequence_num 3 came after 1")


# Subscriptions.


def subscribed(number: int, **channels: list[str]) -> bytes:
    return numbered(number, "subscriptions", {"subscriptions": channels})


def failure(words: str) -> bytes:
    return json.dumps({"type": "error", "message": words}).encode()


def test_heartbeats_come_first_and_each_channel_has_a_request_of_its_own() -> None:
    assert dialogue_of("BTC-USD", "ETH-USD").opening() == (
        '{"type":"subscribe","channel":"heartbeats"}',
        '{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"market_trades"}',
        '{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"level2"}',
    )
    later = CoinbaseAdvanced(data=DataKinds.TRADES).dialogue((), UNITS)
    assert later.opening() == ()
    heartbeats, _ = later.subscribe(("BTC-USD",))
    assert heartbeats == '{"type":"subscribe","channel":"heartbeats"}'
    assert len(later.subscribe(("ETH-USD",))) == 1, "once is enough"
    _, words = dialogue_of(data=DataKinds.QUOTES).opening()
    assert json.loads(words)["channel"] == "level2"


def test_a_symbol_is_subscribed_when_each_channel_has_listed_it() -> None:
    dialogue = dialogue_of("BTC-USD", "ETH-USD")
    dialogue.opening()
    both = ["BTC-USD", "ETH-USD"]
    assert dialogue.receive(subscribed(0, heartbeats=["heartbeats"]), []) is None
    assert dialogue.receive(subscribed(1, market_trades=both), []) is None
    outcome = dialogue.receive(subscribed(2, level2=["ETH-USD"]), [])
    assert outcome == Outcome(confirmed=("ETH-USD",))
    outcome = dialogue.receive(subscribed(3, market_trades=both, level2=both), [])
    assert outcome == Outcome(confirmed=("BTC-USD",))
    assert dialogue.unanswered == frozenset()


def test_a_product_that_both_channels_refuse_is_refused_once_and_costs_no_other() -> None:
    dialogue = dialogue_of("BTC-USD", "FOO-USD")
    dialogue.opening()
    why = "no such product: FOO-USD"
    first = dialogue.receive(failure(why), [])
    assert first is not None
    assert first.refused == {"FOO-USD": why}
    second = dialogue.receive(failure(why), [])
    assert second is not None
    assert second.refused == {}
    again = [json.loads(each) for each in first.answers + second.answers]
    assert [(each["channel"], each["product_ids"]) for each in again] == [
        ("market_trades", ["BTC-USD"]),
        ("level2", ["BTC-USD"]),
    ]
    good = ["BTC-USD"]
    outcome = dialogue.receive(subscribed(0, market_trades=good, level2=good), [])
    assert outcome == Outcome(confirmed=("BTC-USD",))
    last = dialogue.receive(failure(""), [])
    assert last == Outcome(notice="the venue refuses a request: no reason given")


@pytest.mark.parametrize("step", [1, -1], ids=["listed-first", "refused-first"])
def test_a_product_that_one_channel_refuses_is_left_on_the_other(step: int) -> None:
    dialogue = dialogue_of("BTC-USD", "ETH-USD")
    dialogue.opening()
    listing = subscribed(0, market_trades=["BTC-USD", "ETH-USD"])
    messages = [listing, failure("ETH-USD is not a valid product for level2")][::step]
    outcomes = [dialogue.receive(each, []) or Outcome() for each in messages]
    assert [set(each.refused) for each in outcomes][::step] == [set(), {"ETH-USD"}]
    answers = [words for each in outcomes for words in each.answers]
    left = '{"type":"unsubscribe","product_ids":["ETH-USD"],"channel":"market_trades"}'
    assert answers.count(left) == 1
    outcome = dialogue.receive(subscribed(1, market_trades=["BTC-USD"], level2=["BTC-USD"]), [])
    assert outcome == Outcome(confirmed=("BTC-USD",)), "it is left once"


def test_a_book_is_asked_for_anew_by_itself() -> None:
    assert dialogue_of().refresh("BTC-USD") == (
        '{"type":"unsubscribe","product_ids":["BTC-USD"],"channel":"level2"}',
        '{"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}',
    )
    assert dialogue_of(data=DataKinds.TRADES).refresh("BTC-USD") == ()
