"""The Exchange feed: the documented messages, and a recording of April 2021."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Instrument, Level, OrderBook
from fanout.protocol.constants import BookFlags
from fanout.venues import Outcome, VenueDepth, VenueItem, VenueTrade
from fanout.venues.coinbase import Coinbase
from fanout.venues.coinbase.exchange_dialogue import ExchangeDialogue
from fanout.venues.values import TOO_LONG, Alive, DepthLost, NewestId
from tests.captures import capture_path
from tests.fanout.venues.test_coinbase import ALL, MATCH, MATCHED

RECORDING = "venues/coinbase_exchange_matches_level2_20210417.gz"
UNITS = {
    symbol: Instrument(
        index=index, symbol=symbol, price_exponent=-2, quantity_exponent=-8, time_exponent=-6
    )
    for index, symbol in enumerate(("BTC-USD", "ETH-USD"))
}
SNAPSHOT = (
    b'{"type":"snapshot","product_id":"BTC-USD","asks":[["10102.55","0.57753524"],["10103.00","1.0'
    b'"]],"bids":[["10101.10","0.45054140"],["10101.00","2"]]}'
)
UPDATE = (
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","10101.10","0.00000000"],["sell"'
    b',"10102.55","0.5"],["sell","10102.00","1.5"]],"time":"2022-08-04T15:25:05.010758Z"}'
)
HEARTBEAT = (
    b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-'
    b'07T08:19:28.464459Z"}'
)


def dialogue_of(*symbols: str, data: DataKinds = ALL) -> ExchangeDialogue:
    return Coinbase(data=data).dialogue(symbols or ("BTC-USD",), UNITS)


def received(*messages: bytes, data: DataKinds = ALL) -> list[VenueItem]:
    dialogue, items = dialogue_of(data=data), list[VenueItem]()
    for message in messages:
        assert dialogue.receive(message, items) is None
    return items


def depths(*messages: bytes) -> list[VenueDepth]:
    return [each for each in received(*messages) if isinstance(each, VenueDepth)]


def changed(message: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(message), **changes}, separators=(",", ":")).encode()


def listed(**channels: list[str]) -> bytes:
    rows = [{"name": name, "product_ids": found} for name, found in channels.items()]
    return json.dumps({"type": "subscriptions", "channels": rows}).encode()


def refusal(reason: str) -> bytes:
    words = {"type": "error", "message": "Failed to subscribe", "reason": reason}
    return json.dumps(words).encode()


# Trades.


def test_the_side_of_a_match_is_the_makers() -> None:
    bought, sold = received(MATCH, changed(MATCH, side="buy"))
    assert bought == MATCHED
    assert isinstance(bought, VenueTrade)
    assert isinstance(sold, VenueTrade)
    assert (bought.buyer_is_maker, sold.buyer_is_maker) == (False, True)


def test_the_last_match_is_past() -> None:
    (trade,) = received(changed(MATCH, type="last_match"))
    assert isinstance(trade, VenueTrade)
    assert (trade.is_past, trade.trade_id) == (True, 881613)


def test_a_heartbeat_names_the_newest_trade() -> None:
    assert received(HEARTBEAT) == [NewestId("BTC-USD", 20)]
    assert received(changed(HEARTBEAT, last_trade_id=0)) == [Alive("BTC-USD")]
    assert received(HEARTBEAT, data=DataKinds.BOOK_BY_PRICE) == [Alive("BTC-USD")]


@pytest.mark.parametrize(
    ("message", "bad"),
    [
        (MATCH, {"price": 14.7775}),
        (MATCH, {"size": None}),
        (MATCH, {"side": "SELL"}),
        (MATCH, {"trade_id": "881613"}),
        (MATCH, {"trade_id": -1}),
        (MATCH, {"trade_id": 2**64}),
        (MATCH, {"time": "yesterday"}),
        (MATCH, {"product_id": ["BTC-USD"]}),
        (HEARTBEAT, {"last_trade_id": None}),
        (HEARTBEAT, {"last_trade_id": -1}),
    ],
    ids=str,
)
def test_an_unreadable_message_is_refused_in_words(message: bytes, bad: dict[str, object]) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match=r"wrong shape|no time"):
        dialogue_of().receive(changed(message, **bad), items)
    assert items == []


def test_an_unknown_type_is_ignored() -> None:
    assert received(b'{"type":"status","products":[],"currencies":[]}') == []


# Books.


def test_a_snapshot_is_the_whole_book_and_changes_are_counted_behind_it() -> None:
    whole, change, other = depths(SNAPSHOT, UPDATE, changed(UPDATE, changes=[]))
    assert whole.update.flags == BookFlags.WHOLE
    assert (whole.update.update_id, whole.previous_id, whole.update.time) == (1, None, 0)
    assert whole.update.bids == [Level(1_010_110, 45_054_140), Level(1_010_100, 200_000_000)]
    assert whole.update.asks == [Level(1_010_255, 57_753_524), Level(1_010_300, 100_000_000)]
    assert change.update.flags == BookFlags.NONE
    assert (change.first_id, change.update.update_id, change.previous_id) == (2, 2, 1)
    assert change.update.time == 1659626705010758
    assert change.update.bids == [Level(1_010_110, 0)]
    assert change.update.asks == [Level(1_010_200, 150_000_000), Level(1_010_255, 50_000_000)]
    assert (other.update.update_id, other.previous_id, other.update.asks) == (3, 2, [])


@pytest.mark.parametrize("message", [SNAPSHOT, UPDATE, MATCH, HEARTBEAT])
def test_white_space_and_the_order_of_the_keys_make_no_difference(message: bytes) -> None:
    whole = json.loads(message)
    for each in (dict(reversed(whole.items())), whole):
        assert received(json.dumps(each, indent=1).encode()) == received(message)
        assert received(json.dumps(each, separators=(",", ":")).encode()) == received(message)


def test_a_snapshot_in_no_order_or_with_a_time_is_read_too() -> None:
    time = "2022-08-04T15:25:05.010758Z"
    bids = [["10101.00", "2"], ["10101.10", "0.45054140"]]
    (again,) = depths(changed(SNAPSHOT, bids=[*bids, ["10100.00", "1"], bids[0]], time=time))
    assert [each.price for each in again.update.bids] == [1_010_110, 1_010_100, 1_010_000]
    assert again.update.time == 1659626705010758
    (empty,) = depths(changed(SNAPSHOT, bids=[], asks=[]))
    assert (empty.update.bids, empty.update.asks) == ([], [])


@pytest.mark.parametrize(
    ("message", "bad", "kind"),
    [
        (SNAPSHOT, {"asks": [["10102.555", "1"]]}, "depth with a level that cannot be"),
        (SNAPSHOT, {"bids": [["1e5", "1"]]}, "depth with a level that cannot be"),
        (SNAPSHOT, {"bids": [["1", "-1"]]}, "depth with a level that cannot be"),
        (SNAPSHOT, {"asks": [[10102.55, 1]]}, "depth of the wrong shape"),
        (SNAPSHOT, {"asks": 0}, "depth of the wrong shape"),
        (SNAPSHOT, {"time": "noon"}, "text that is no time"),
        (SNAPSHOT, {"time": 7}, "depth of the wrong shape"),
        (UPDATE, {"changes": [["bid", "1", "1"]]}, "depth of the wrong shape"),
        (UPDATE, {"changes": [["buy", "1"]]}, "depth of the wrong shape"),
        (UPDATE, {"changes": [["buy", "1.234", "1"]]}, "depth with a level that cannot be"),
        (UPDATE, {"time": None}, "depth of the wrong shape"),
    ],
    ids=str,
)
def test_an_unreadable_change_loses_the_book_and_breaks_the_chain(
    message: bytes, bad: dict[str, object], kind: str
) -> None:
    dialogue, items = dialogue_of(), list[VenueItem]()
    dialogue.receive(SNAPSHOT, items)
    with pytest.raises(VenueMessageError) as caught:
        dialogue.receive(changed(message, **bad), items)
    assert (caught.value.kind, len(str(caught.value)) < 300) == (kind, True)
    dialogue.receive(UPDATE, items)
    assert items[1] == DepthLost("BTC-USD", 0, kind)
    last = items[2]
    assert isinstance(last, VenueDepth)
    assert last.previous_id == 2, "and 1 was the last that was read"


def test_a_book_of_a_symbol_that_was_not_subscribed_is_refused() -> None:
    items: list[VenueItem] = []
    for message in (SNAPSHOT, UPDATE):
        with pytest.raises(VenueMessageError, match="depth of a symbol that was not subscribed"):
            dialogue_of().receive(changed(message, product_id="DOGE-USD"), items)
    assert items == []


@pytest.mark.parametrize("message", [SNAPSHOT, UPDATE, HEARTBEAT])
def test_every_truncation_is_refused(message: bytes) -> None:
    for length in range(len(message)):
        items: list[VenueItem] = []
        with pytest.raises(VenueMessageError):
            dialogue_of().receive(message[:length], items)
        assert all(isinstance(each, DepthLost) for each in items)


def test_a_message_that_is_too_long_loses_its_book() -> None:
    dialogue, items = dialogue_of(), list[VenueItem]()
    for message in (SNAPSHOT, changed(SNAPSHOT, product_id="DOGE-USD"), MATCH):
        dialogue.skip(message, items)
    assert items == [DepthLost("BTC-USD", 0, TOO_LONG)]


# Subscriptions.


def test_one_request_has_all_channels_of_its_products() -> None:
    (words,) = dialogue_of("BTC-USD", "ETH-USD").opening()
    assert words == (
        '{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["matches","heartbeat",'
        '"level2_batch"]}'
    )
    (words,) = dialogue_of(data=DataKinds.QUOTES).opening()
    assert json.loads(words)["channels"] == ["heartbeat", "level2_batch"]
    (words,) = dialogue_of(data=DataKinds.TRADES).opening()
    assert json.loads(words)["channels"] == ["matches", "heartbeat"]


def test_a_symbol_is_subscribed_when_each_of_its_channels_lists_it() -> None:
    dialogue = dialogue_of("BTC-USD", "ETH-USD")
    dialogue.opening()
    both, one = ["BTC-USD", "ETH-USD"], ["ETH-USD"]
    outcome = dialogue.receive(listed(matches=both, heartbeat=both, level2_50=one), [])
    assert outcome == Outcome(confirmed=("ETH-USD",))
    assert dialogue.unanswered == {"BTC-USD"}
    outcome = dialogue.receive(listed(matches=both, heartbeat=both, level2=both), [])
    assert outcome == Outcome(confirmed=("BTC-USD",))
    assert dialogue.receive(listed(matches=both, heartbeat=both, level2_batch=both), []) is None


def test_a_refused_request_is_repeated_without_the_product_that_is_named() -> None:
    dialogue = dialogue_of("BTC-USD", "FOO-USD", "ETH-USD")
    dialogue.opening()
    outcome = dialogue.receive(refusal("FOO-USD is not a valid product"), [])
    assert outcome is not None
    why = "Failed to subscribe: FOO-USD is not a valid product"
    assert outcome.refused == {"FOO-USD": why}
    (again,) = outcome.answers
    assert json.loads(again)["product_ids"] == ["BTC-USD", "ETH-USD"]
    assert dialogue.unanswered == {"BTC-USD", "ETH-USD"}
    repeated = dialogue.receive(refusal("FOO-USD is not a valid product"), [])
    assert repeated == Outcome(notice=f"the venue refuses a request: {why}")


def test_a_refused_request_without_a_name_is_repeated_in_halves() -> None:
    dialogue = dialogue_of("BTC-USD", "FOO-USD")
    dialogue.opening()
    outcome = dialogue.receive(refusal("Invalid product ID provided"), [])
    assert outcome is not None
    assert [json.loads(each)["product_ids"] for each in outcome.answers] == [
        ["BTC-USD"],
        ["FOO-USD"],
    ]
    good = ["BTC-USD"]
    dialogue.receive(listed(matches=good, heartbeat=good, level2=good), [])
    outcome = dialogue.receive(refusal("Invalid product ID provided"), [])
    assert outcome is not None
    assert set(outcome.refused) == {"FOO-USD"}
    assert dialogue.unanswered == frozenset()
    notice = dialogue.receive(b'{"type":"error","message":"","reason":""}', [])
    assert notice == Outcome(notice="the venue refuses a request: no reason given")


def test_an_error_for_a_request_that_was_left_is_a_notice() -> None:
    dialogue = dialogue_of("BTC-USD")
    dialogue.opening()
    dialogue.unsubscribe(("BTC-USD",))
    outcome = dialogue.receive(refusal("BTC-USD is not a valid product"), [])
    assert outcome is not None
    assert outcome.notice
    assert not outcome.refused


def test_a_slow_reader_learns_that_the_venue_closes() -> None:
    outcome = dialogue_of().receive(b'{"type":"error","message":"ErrSlowConsume"}', [])
    assert outcome == Outcome(closes="ErrSlowConsume")


def test_a_book_is_asked_for_anew_by_itself() -> None:
    assert dialogue_of().refresh("BTC-USD") == (
        '{"type":"unsubscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}',
        '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}',
    )
    assert dialogue_of(data=DataKinds.TRADES).refresh("BTC-USD") == ()


# The recording.


def recorded() -> Iterator[bytes]:
    with gzip.open(capture_path(RECORDING), "rb") as file:
        for line in file:
            text = line.partition(b" ")[2].strip()
            if not text.startswith(b"> "):
                yield text


def places(texts: list[str]) -> int:
    return max(len(each.partition(".")[2]) for each in texts)


def units_of(frames: list[Any]) -> dict[str, Instrument]:
    """Instruments whose exponents are as fine as the values of their snapshots and changes."""
    rows: dict[str, list[list[str]]] = {}
    for frame in frames:
        found = rows.setdefault(frame.get("product_id", ""), [])
        found += frame.get("bids", []) + frame.get("asks", [])
        found += [each[1:] for each in frame.get("changes", [])]
    del rows[""]
    return {
        symbol: Instrument(
            index=index,
            symbol=symbol,
            price_exponent=-places([price for price, _ in found]),
            quantity_exponent=-places([size for _, size in found]),
            time_exponent=-6,
        )
        for index, (symbol, found) in enumerate(rows.items())
    }


class Dicts:
    """A book as anybody would write it."""

    def __init__(self, frame: Any) -> None:
        self.buy, self.sell = (
            {Decimal(price): Decimal(size) for price, size in frame[side]}
            for side in ("bids", "asks")
        )

    def change(self, frame: Any) -> None:
        for side, price, size in frame["changes"]:
            levels = getattr(self, side)
            levels[Decimal(price)] = Decimal(size)
            if not levels[Decimal(price)]:
                del levels[Decimal(price)]


def test_the_recording_gives_its_trades_and_its_books() -> None:
    texts = list(recorded())
    frames = [json.loads(each) for each in texts]
    units = units_of(frames)
    dialogue = Coinbase(data=ALL).dialogue(tuple(units), units)
    dialogue.opening()
    books = {symbol: OrderBook(each) for symbol, each in units.items()}
    dicts: dict[str, Dicts] = {}
    counts: dict[str, int] = {}
    last_ids: dict[str, int] = {}
    for text, frame in zip(texts, frames, strict=True):
        items: list[VenueItem] = []
        outcome = dialogue.receive(text, items)
        kind, symbol = frame["type"], frame.get("product_id", "")
        counts[kind] = counts.get(kind, 0) + 1
        if kind in ("ticker", "subscriptions"):
            assert (outcome, items) == (None, []), "heartbeat was not recorded"
            continue
        (item,) = items
        if isinstance(item, VenueTrade):
            assert raw_of(item) == [
                frame[each] for each in ("product_id", "trade_id", "price", "size", "side")
            ]
            assert item.is_past == (kind == "last_match")
            assert item.is_past or item.trade_id == last_ids[symbol] + 1
            last_ids[symbol] = item.trade_id
            continue
        assert isinstance(item, VenueDepth)
        books[symbol].apply(item.update)
        if kind == "snapshot":
            dicts[symbol] = Dicts(frame)
        else:
            dicts[symbol].change(frame)
            assert item.previous_id == item.update.update_id - 1
        assert not books[symbol].is_crossed
        assert books[symbol].bid_count == len(dicts[symbol].buy)
        assert books[symbol].ask_count == len(dicts[symbol].sell)
    assert counts == {
        "subscriptions": 3,
        "snapshot": 10,
        "ticker": 107,
        "last_match": 10,
        "match": 97,
        "l2update": 9719,
    }
    for symbol, unit in units.items():
        bids, asks = (
            {unit.price_decimal(price): unit.quantity_decimal(size) for price, size in side}
            for side in books[symbol].levels()
        )
        assert (bids, asks) == (dicts[symbol].buy, dicts[symbol].sell)


def raw_of(trade: VenueTrade) -> list[object]:
    side = "buy" if trade.buyer_is_maker else "sell"
    return [trade.symbol, trade.trade_id, trade.price, trade.quantity, side]
