"""Bybit's quotes and books: the documented messages, and a recording of June 2025."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Instrument, Level, OrderBook
from fanout.protocol.constants import BookFlags
from fanout.venues import Outcome, VenueDepth, VenueItem, VenueQuote
from fanout.venues.bybit import Bybit
from fanout.venues.bybit.dialogue import BybitDialogue
from fanout.venues.values import TOO_LONG, Alive, DepthLost
from tests.captures import capture_path

RECORDING = "venues/bybit_linear_ob1_20250613.gz"
SYMBOLS = ("BANDUSDT", "RADUSDT", "SNTUSDT", "AIOZUSDT")
UNITS = {
    symbol: Instrument(index=index, symbol=symbol, price_exponent=-5, quantity_exponent=-1)
    for index, symbol in enumerate(("BTCUSDT", *SYMBOLS))
}
SNAPSHOT = (
    b'{"topic":"orderbook.200.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT",'
    b'"b":[["16493.50","0.6"],["16493.00","0.1"]],"a":[["16611.00","0.2"],["16612.00","0.3"]],"u":'
    b'18521288,"seq":7961638724},"cts":1672304484976}'
)
DELTA = (
    b'{"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT","b"'
    b':[["30247.20","30.0"],["30240.00","0"]],"a":[["30248.70","0"],["30249.30","0.8"]],"u":177400'
    b'507,"seq":66544703342},"cts":1687940967464}'
)
QUOTE = (
    b'{"topic":"orderbook.1.BTCUSDT","ts":1749833474773,"type":"snapshot","data":{"s":"BTCUSDT","b"'
    b':[["61800.1","17.9"]],"a":[["61800.2","35.4"]],"u":24042997,"seq":209972815373},"cts":174983'
    b"3474768}"
)


def dialogue_of(*symbols: str) -> BybitDialogue:
    data = DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    return Bybit(data=data).dialogue(symbols, UNITS)


def received(*messages: bytes) -> list[VenueItem]:
    dialogue, items = dialogue_of("BTCUSDT"), list[VenueItem]()
    for message in messages:
        assert dialogue.receive(message, items) is None
    return items


def depth_of(message: bytes) -> VenueDepth:
    (item,) = received(message)
    assert isinstance(item, VenueDepth)
    return item


def changed(message: bytes, **data: object) -> bytes:
    whole = json.loads(message)
    whole["data"] |= data
    return json.dumps(whole, separators=(",", ":")).encode()


# Quotes.


def test_a_quote_has_the_time_of_the_matching_engine() -> None:
    quote = VenueQuote("BTCUSDT", 24042997, 1749833474768, "61800.1", "17.9", "61800.2", "35.4")
    assert received(QUOTE) == [quote]
    without = json.loads(QUOTE)
    del without["cts"]
    (item,) = received(json.dumps(without).encode())
    assert isinstance(item, VenueQuote)
    assert item.time == 1749833474773, "that of the message"


def test_a_repeated_quote_is_a_sign_of_life() -> None:
    again = QUOTE.replace(b"1749833474773", b"1749833477773")
    _, alive = received(QUOTE, again)
    assert alive == Alive("BTCUSDT")
    _, _, newer = received(QUOTE, again, changed(QUOTE, u=24042998))
    assert isinstance(newer, VenueQuote)


def test_a_symbol_that_is_subscribed_again_begins_with_its_quote() -> None:
    dialogue, items = dialogue_of("BTCUSDT"), list[VenueItem]()
    dialogue.receive(QUOTE, items)
    dialogue.unsubscribe(("BTCUSDT",))
    dialogue.subscribe(("BTCUSDT",))
    dialogue.receive(QUOTE, items)
    assert items[0] == items[1]
    assert isinstance(items[1], VenueQuote)


def test_a_side_without_an_offer_has_no_quantity() -> None:
    (item,) = received(changed(QUOTE, b=[]))
    assert isinstance(item, VenueQuote)
    assert (item.bid_price, item.bid_quantity, item.ask_quantity) == ("0", "0", "35.4")


@pytest.mark.parametrize(
    "bad",
    [
        {"b": [["61800.1"]]},
        {"b": [[61800.1, 17.9]]},
        {"a": None},
        {"u": "24042997"},
        {"u": -1},
        {"u": 2**64},
        {"s": None},
    ],
    ids=str,
)
def test_an_unreadable_quote_is_refused_in_words(bad: dict[str, object]) -> None:
    with pytest.raises(VenueMessageError, match="quote of the wrong shape"):
        received(changed(QUOTE, **bad))


@pytest.mark.parametrize("message", [QUOTE, SNAPSHOT, DELTA], ids=["quote", "snapshot", "delta"])
@pytest.mark.parametrize("name", ["ts", "cts"])
def test_a_time_that_cannot_be_is_refused(message: bytes, name: str) -> None:
    with pytest.raises(VenueMessageError, match="of the wrong shape"):
        received(json.dumps({**json.loads(message), name: 10**13 + 1}).encode())


def test_a_change_of_a_quote_is_refused() -> None:
    with pytest.raises(VenueMessageError, match="quote that is no snapshot: BTCUSDT, delta"):
        received(QUOTE.replace(b'"snapshot"', b'"delta"'))


# Books.


def test_a_snapshot_is_a_whole_book() -> None:
    depth = depth_of(SNAPSHOT)
    update = depth.update
    assert update.flags == BookFlags.WHOLE | BookFlags.TOP_ONLY
    assert (depth.first_id, depth.previous_id, depth.resets) == (18521288, None, False)
    assert (update.update_id, update.time) == (18521288, 1672304484976)
    assert update.bids == [Level(1_649_350_000, 6), Level(1_649_300_000, 1)]
    assert update.asks == [Level(1_661_100_000, 2), Level(1_661_200_000, 3)]


def test_a_delta_follows_the_id_before_it() -> None:
    depth = depth_of(DELTA)
    assert depth.update.flags == BookFlags.NONE
    assert (depth.first_id, depth.previous_id, depth.resets) == (177400507, 177400506, False)
    assert depth.update.bids == [Level(3_024_720_000, 300), Level(3_024_000_000, 0)]
    assert depth.update.asks == [Level(3_024_870_000, 0), Level(3_024_930_000, 8)]


@pytest.mark.parametrize("message", [SNAPSHOT, DELTA])
def test_an_id_of_1_is_the_whole_book_after_a_restart(message: bytes) -> None:
    depth = depth_of(changed(message, u=1))
    assert depth.update.flags == BookFlags.WHOLE | BookFlags.TOP_ONLY
    assert (depth.update.update_id, depth.resets) == (1, True)


def test_a_quote_with_an_id_of_1_begins_the_ids_anew() -> None:
    restarted, next_one = received(changed(QUOTE, u=1), changed(QUOTE, u=2))
    assert isinstance(restarted, VenueQuote)
    assert isinstance(next_one, VenueQuote)
    assert (restarted.resets, next_one.resets) == (True, False)


def test_a_book_is_lost_with_a_message_that_is_too_long() -> None:
    dialogue, items = dialogue_of("BTCUSDT"), list[VenueItem]()
    for message in (SNAPSHOT, QUOTE, SNAPSHOT.replace(b"200.BTCUSDT", b"200.DOGEUSDT")):
        dialogue.skip(message[:90], items)
    assert items == [DepthLost("BTCUSDT", 0, TOO_LONG)]


@pytest.mark.parametrize("message", [SNAPSHOT, DELTA, QUOTE])
def test_white_space_and_the_order_of_the_keys_make_no_difference(message: bytes) -> None:
    whole = json.loads(message)
    turned = dict(reversed(whole.items())) | {"data": dict(reversed(whole["data"].items()))}
    for each in (turned, whole):
        assert received(json.dumps(each, indent=1).encode()) == received(message)


def test_levels_in_no_order_are_sorted() -> None:
    bids = [["16493.00", "0.1"], ["16494.00", "0.2"], ["16493.50", "0.6"]]
    assert [each.price for each in depth_of(changed(SNAPSHOT, b=bids)).update.bids] == [
        1_649_400_000,
        1_649_350_000,
        1_649_300_000,
    ]
    assert depth_of(changed(SNAPSHOT, b=[], a=[])).update.bids == []


def refused(message: bytes) -> tuple[str, list[VenueItem]]:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError) as caught:
        dialogue_of("BTCUSDT").receive(message, items)
    assert len(str(caught.value)) < 300
    return caught.value.kind, items


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ({"b": [["16493.50", "0.66"]]}, "depth with a level that cannot be"),
        ({"a": [["1e5", "0.6"]]}, "depth with a level that cannot be"),
        ({"a": [["16611.00", "-0.6"]]}, "depth with a level that cannot be"),
        ({"a": [["", "0.6"]]}, "depth with a level that cannot be"),
        ({"a": [["9" * 30, "0.6"]]}, "depth with a level that cannot be"),
        ({"a": [[16611.0, 0.6]]}, "depth of the wrong shape"),
        ({"a": [["16611.00"]]}, "depth of the wrong shape"),
        ({"b": {}}, "depth of the wrong shape"),
        ({"u": "18521288"}, "depth of the wrong shape"),
        ({"u": -1}, "depth of the wrong shape"),
        ({"u": 2**64}, "depth of the wrong shape"),
        ({"s": "ETHUSDT"}, "depth of another symbol"),
    ],
    ids=str,
)
def test_an_unreadable_change_is_refused_in_words_and_loses_the_book(
    bad: dict[str, object], kind: str
) -> None:
    assert refused(changed(SNAPSHOT, **bad)) == (kind, [DepthLost("BTCUSDT", 0, kind)])


def test_another_type_is_refused() -> None:
    kind, items = refused(SNAPSHOT.replace(b'"snapshot"', b'"partial"'))
    assert kind == "depth of the wrong shape"
    assert len(items) == 1


@pytest.mark.parametrize("name", [b"DOGEUSDT", b"", b"\xff\xfe"])
def test_a_book_of_a_symbol_that_was_not_subscribed_is_refused(name: bytes) -> None:
    kind, items = refused(SNAPSHOT.replace(b"200.BTCUSDT", b"200." + name))
    assert (kind, items) == ("depth of a symbol that was not subscribed", [])


@pytest.mark.parametrize("message", [SNAPSHOT, DELTA, QUOTE])
def test_every_truncation_is_refused(message: bytes) -> None:
    for length in range(len(message)):
        _, items = refused(message[:length])
        assert all(isinstance(each, DepthLost) for each in items)


# The recording.


def recorded() -> Iterator[bytes]:
    with gzip.open(capture_path(RECORDING), "rb") as file:
        for line in file:
            text = line.partition(b" ")[2].strip()
            if not text.startswith(b"> "):
                yield text


def test_every_recorded_frame_passes() -> None:
    """Its quotes are those of the frames, and its repeated ones are signs of life."""
    dialogue = Bybit(data=DataKinds.QUOTES).dialogue(SYMBOLS, UNITS)
    dialogue.opening()
    last: dict[str, int] = {}
    confirmed: list[str] = []
    counts = {Alive: 0, VenueQuote: 0}
    for message in recorded():
        items: list[VenueItem] = []
        outcome = dialogue.receive(message, items)
        whole = json.loads(message)
        if "topic" not in whole:
            confirmed += (outcome or Outcome()).confirmed
            assert items == []
            continue
        data = whole["data"]
        (bid,), (ask,) = data["b"], data["a"]
        expected: VenueItem = VenueQuote(data["s"], data["u"], whole["cts"], *bid, *ask)
        if last.get(data["s"]) == data["u"]:
            expected = Alive(data["s"])
        last[data["s"]] = data["u"]
        assert (outcome, items) == (None, [expected])
        counts[type(expected)] += 1
    assert counts == {Alive: 16, VenueQuote: 182}
    assert sorted(confirmed) == sorted(SYMBOLS)
    assert dialogue.unanswered == frozenset()


Sides = tuple[dict[str, str], dict[str, str]]


def sides_of(data: dict[str, Any]) -> Sides:
    return dict(data["b"]), dict(data["a"])


def as_books(frames: Iterator[bytes], window: int) -> Iterator[tuple[bytes, str, Sides]]:
    """The recorded tops as the books of a venue: a book has the last `window` prices of each side
    that were at the top, but for those that are better than the new one. Yields the frame of each
    change, its symbol, and the book after it."""
    books: dict[str, Sides] = {}
    ids: dict[str, int] = {}
    for message in frames:
        whole = json.loads(message)
        if "topic" not in whole:
            continue
        symbol, new = whole["data"]["s"], sides_of(whole["data"])
        old = books.get(symbol, ({}, {}))
        book: Sides = ({}, {})
        for sign, old_side, new_side, side in zip((1, -1), old, new, book, strict=True):
            best = sign * max(sign * Decimal(price) for price in new_side)
            kept = {
                price: size
                for price, size in old_side.items()
                if sign * Decimal(price) < sign * best
            }
            side.update(islice((new_side | kept).items(), window))
        is_first = symbol not in books
        changes = book if is_first else tuple(map(difference, old, book))
        books[symbol] = book
        ids[symbol] = ids.get(symbol, 1_000) + 1
        bids, asks = (
            sorted(map(list, side.items()), key=lambda each: Decimal(each[0])) for side in changes
        )
        whole |= {"topic": f"orderbook.200.{symbol}", "type": "snapshot" if is_first else "delta"}
        whole["data"] |= {"b": bids[::-1], "a": asks, "u": ids[symbol]}
        yield json.dumps(whole, separators=(",", ":")).encode(), symbol, book


def difference(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    gone = {price: "0" for price in old if price not in new}
    return gone | {price: size for price, size in new.items() if old.get(price) != size}


@pytest.mark.parametrize("window", [1, 5])
def test_the_recorded_tops_give_the_same_books(window: int) -> None:
    """No recording of deltas exists, so they are made of the tops, by code of the test's own."""
    dialogue = dialogue_of(*SYMBOLS)
    books = {symbol: OrderBook() for symbol in SYMBOLS}
    last: dict[str, int] = {}
    count = 0
    for message, symbol, sides in as_books(recorded(), window):
        items: list[VenueItem] = []
        assert dialogue.receive(message, items) is None
        (depth,) = items
        assert isinstance(depth, VenueDepth)
        assert depth.previous_id == last.get(symbol)
        last[symbol] = depth.update.update_id
        books[symbol].apply(depth.update)
        unit = UNITS[symbol]
        for ours, theirs in zip(books[symbol].levels(), sides, strict=True):
            assert {
                unit.price_decimal(price): unit.quantity_decimal(size) for price, size in ours
            } == {Decimal(price): Decimal(size) for price, size in theirs.items()}
        count += 1
    assert count == 198


def test_a_snapshot_in_mid_stream_replaces_the_book() -> None:
    dialogue, book = dialogue_of("BTCUSDT"), OrderBook()
    again = changed(SNAPSHOT, b=[["1.0", "0.1"]], a=[["2.0", "0.1"]], u=7)
    for message in (SNAPSHOT, changed(DELTA, u=18521289, b=[], a=[["16613.00", "5.0"]]), again):
        items: list[VenueItem] = []
        dialogue.receive(message, items)
        (depth,) = items
        assert isinstance(depth, VenueDepth)
        book.apply(depth.update)
    assert [list(each) for each in book.levels()] == [
        [Level(100_000, 1)],
        [Level(200_000, 1)],
    ]
    assert book.is_top_only
