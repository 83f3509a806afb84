"""Books and quotes of Deribit: the documented messages, and two recordings of options of 2021. The
books of the recordings are built a second time here, from the raw file."""

import contextlib
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Instrument, Level
from fanout.protocol.book import OrderBook
from fanout.protocol.constants import BookFlags, Side
from fanout.venues import VenueDepth, VenueItem, VenueQuote
from fanout.venues.deribit import Deribit, book
from fanout.venues.values import DepthLost
from tests.captures import capture_path
from tests.contracts.venue import GARBAGE
from tests.fanout.venues.test_deribit import CREDENTIALS, answer, notification, trades

BOOK = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
BTC = Instrument(index=3, symbol="BTC-PERPETUAL", price_exponent=-2, quantity_exponent=0)
RECORDINGS = ("deribit_book_raw_options_20210405", "deribit_book_raw_options_20210417")

SNAPSHOT: dict[str, Any] = {
    "type": "snapshot",
    "timestamp": 1554373962454,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 297217,
    "bids": [["new", 5042.34, 30], ["new", 5041.94, 20.0]],
    "asks": [["new", 5042.64, 40], ["new", 5043.3, 40]],
}
CHANGE: dict[str, Any] = {
    "type": "change",
    "timestamp": 1554373911330,
    "prev_change_id": 297217,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 297218,
    "bids": [["delete", 5041.94, 0.0], ["change", 5042.34, 7], ["new", 5042.5, 1]],
    "asks": [],
}
BEST: dict[str, Any] = {
    "timestamp": 1653983481909,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 45176552517,
    "bids": [[31523.5, 128780.0]],
    "asks": [[31524.0, 30.0]],
}


def depth(row: dict[str, Any], **changes: object) -> bytes:
    fields = {name: value for name, value in {**row, **changes}.items() if value is not ...}
    return notification("book.BTC-PERPETUAL.raw", fields)


def best(**changes: object) -> bytes:
    return notification("book.BTC-PERPETUAL.none.1.100ms", {**BEST, **changes})


def received(
    message: bytes, data: DataKinds = BOOK, units: tuple[Instrument, ...] = (BTC,)
) -> list[VenueItem]:
    items: list[VenueItem] = []
    names = {each.symbol: each for each in units}
    assert Deribit(data=data).dialogue((), names).receive(message, items) is None
    return items


def update_of(message: bytes, **more: Any) -> VenueDepth:
    (item,) = received(message, **more)
    assert isinstance(item, VenueDepth)
    return item


def test_a_snapshot_is_the_whole_book() -> None:
    found = update_of(depth(SNAPSHOT))
    assert (found.first_id, found.previous_id, found.resets) == (297217, None, False)
    assert found.update.flags == BookFlags.WHOLE
    assert (found.update.update_id, found.update.time) == (297217, 1554373962454)
    assert found.update.bids == [Level(504234, 30), Level(504194, 20)]
    assert found.update.asks == [Level(504264, 40), Level(504330, 40)]


def test_a_change_has_absolute_amounts_and_names_its_predecessor() -> None:
    found = update_of(depth(CHANGE))
    assert (found.first_id, found.previous_id) == (297218, 297217)
    assert found.update.flags == BookFlags.NONE
    assert found.update.bids == [Level(504250, 1), Level(504234, 7), Level(504194, 0)]
    assert found.update.asks == []


def test_a_deleted_level_is_gone_whatever_amount_it_names() -> None:
    found = update_of(depth(CHANGE, bids=[["delete", 5041.94, 20.0]]))
    assert found.update.bids == [Level(504194, 0)]


def test_the_book_of_an_instrument_without_orders_is_empty_and_has_id_0() -> None:
    found = update_of(depth(SNAPSHOT, change_id=0, bids=[], asks=[]))
    assert (found.update.is_whole, found.update.update_id) == (True, 0)
    assert (found.update.bids, found.update.asks) == ([], [])
    assert update_of(depth(CHANGE, prev_change_id=0)).previous_id == 0


def test_prices_of_combos_may_be_negative() -> None:
    found = update_of(depth(SNAPSHOT, bids=[["new", -1.5, 2], ["new", 0.25, 3]]))
    assert found.update.bids == [Level(25, 3), Level(-150, 2)]


def test_numbers_in_exponent_form_are_exact() -> None:
    fine = Instrument(index=0, symbol="BTC-PERPETUAL", price_exponent=-5, quantity_exponent=-1)
    text = depth(SNAPSHOT, bids=[["new", 5e-05, 1e2]])
    assert b"5e-05" in text
    assert update_of(text, units=(fine,)).update.bids == [Level(5, 1_000)]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (depth(SNAPSHOT)[:-1], "depth of the wrong shape"),
        (depth(SNAPSHOT) + b"x", "depth of the wrong shape"),
        (depth(SNAPSHOT, type="replace"), "depth of the wrong shape"),
        (depth(SNAPSHOT, change_id="297217"), "depth of the wrong shape"),
        (depth(SNAPSHOT, change_id=-1), "depth of the wrong shape"),
        (depth(SNAPSHOT, change_id=2**64), "depth of the wrong shape"),
        (depth(SNAPSHOT, timestamp=-1), "depth of the wrong shape"),
        (depth(SNAPSHOT, timestamp=2**64), "depth of the wrong shape"),
        (depth(SNAPSHOT, timestamp=10**13 + 1), "depth of the wrong shape"),
        (depth(SNAPSHOT, asks=...), "depth of the wrong shape"),
        (depth(SNAPSHOT, asks=None), "depth of the wrong shape"),
        (depth(SNAPSHOT, asks=[["new", 1]]), "depth of the wrong shape"),
        (depth(SNAPSHOT, asks=[["old", 1, 1]]), "depth of the wrong shape"),
        (depth(SNAPSHOT, asks=[["delete", 1, 0]]), "depth of the wrong shape"),
        (depth(CHANGE, prev_change_id=...), "depth of the wrong shape"),
        (depth(CHANGE, prev_change_id=2**64), "depth of the wrong shape"),
        (depth(CHANGE, prev_change_id=1.5), "depth of the wrong shape"),
        (depth(SNAPSHOT, instrument_name="ETH-PERPETUAL"), "unexpected event"),
        (depth(SNAPSHOT, asks=[["new", "1", 1]]), "value that is no number"),
        (depth(SNAPSHOT, asks=[["new", None, 1]]), "value that is no number"),
        (depth(SNAPSHOT, asks=[["new", 1, True]]), "value that is no number"),
        (depth(SNAPSHOT, asks=[["new", 1e300, 1]]), "number that is too long"),
        (depth(SNAPSHOT, asks=[["new", 1.001, 1]]), "depth with a level that cannot be"),
        (depth(SNAPSHOT, asks=[["new", 1, -1]]), "depth with a level that cannot be"),
        (depth(SNAPSHOT, asks=[["new", 10**20, 1]]), "depth with a level that cannot be"),
    ],
)
def test_a_book_that_cannot_be_read_is_lost(message: bytes, kind: str) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError) as caught:
        Deribit(data=BOOK).dialogue((), {BTC.symbol: BTC}).receive(message, items)
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 300
    assert items == [DepthLost("BTC-PERPETUAL", 3, kind)]


@pytest.mark.parametrize(
    ("beginning", "symbols"),
    [
        (depth(SNAPSHOT), ["BTC-PERPETUAL"]),
        (b'{"params":{"channel": "book.BTC-PERPETUAL.raw",', ["BTC-PERPETUAL"]),
        (b'{"params":{"channel":"book.OTHER.raw",', []),
        (trades(), []),
    ],
)
def test_a_book_is_lost_with_a_message_that_is_too_long(
    beginning: bytes, symbols: list[str]
) -> None:
    items: list[VenueItem] = []
    message = beginning[:150] + b" " * Deribit.limits.message_bytes
    Deribit(data=BOOK).dialogue((), {BTC.symbol: BTC}).skip(message, items)
    assert items == [DepthLost(each, 3, "message too long") for each in symbols]
    Deribit().dialogue((), {BTC.symbol: BTC}).skip(message, items)
    assert len(items) == len(symbols)


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_what_the_fast_reader_takes_is_read_alike_one_by_one(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte of the levels is removed, or replaced by each that has a meaning in them."""
    levels = [["delete", 5041.94, 7.0], ["change", 5042.3, 7], ["new", 5042.55, 10]]
    text = json.dumps(levels, separators=(",", ":")).encode()
    others = [b"", *(bytes([each]) for each in b'[]",|. 0-en')]
    changed = {
        text[:place] + other + text[place + 1 :] for place in range(len(text)) for other in others
    }
    mark = b"41.25"
    frame = depth(CHANGE, **{side: 41.25})

    def results() -> list[list[VenueItem]]:
        found: list[list[VenueItem]] = []
        for each in changed:
            items: list[VenueItem] = []
            talk = Deribit(data=BOOK).dialogue((), {BTC.symbol: BTC})
            with contextlib.suppress(VenueMessageError):
                talk.receive(frame.replace(mark, each), items)
            found.append(items)
        return found

    fast = results()
    monkeypatch.setattr(book, "_packed_fast", lambda *of: None)
    assert fast == results()
    assert sum(isinstance(each[0], VenueDepth) for each in fast) > 30


def test_a_book_of_no_symbol_of_ours_is_nobodys() -> None:
    for message in (depth(SNAPSHOT), b'{"jsonrpc":"2.0","method":"subscription","params":{"ch'):
        items: list[VenueItem] = []
        with pytest.raises(VenueMessageError):
            Deribit(data=BOOK).dialogue(()).receive(message, items)
        assert items == []


def test_the_channel_may_be_named_behind_the_book() -> None:
    params = {"data": SNAPSHOT, "channel": "book.BTC-PERPETUAL.raw"}
    turned = json.dumps({"method": "subscription", "params": params}).encode()
    assert received(turned) == received(depth(SNAPSHOT))
    with pytest.raises(VenueMessageError, match="depth of the wrong shape"):
        received(turned.replace(b'"snapshot"', b'"replace"'))


@pytest.mark.parametrize("message", [depth(SNAPSHOT), depth(CHANGE), best()])
def test_every_truncation_is_refused(message: bytes) -> None:
    data = DataKinds.QUOTES if message == best() else BOOK
    for length in range(len(message)):
        with pytest.raises(VenueMessageError):
            received(message[:length], data)


@pytest.mark.parametrize("message", GARBAGE, ids=lambda each: repr(each[:20]))
def test_garbage_is_refused(message: bytes) -> None:
    with pytest.raises(VenueMessageError):
        received(message, DataKinds.QUOTES)


# Quotes.


def test_a_book_of_one_level_is_a_quote() -> None:
    assert received(best(), DataKinds.QUOTES) == [
        VenueQuote(
            "BTC-PERPETUAL", 45176552517, 1653983481909, "31523.5", "128780.0", "31524.0", "30.0"
        )
    ]


def test_an_empty_side_of_a_quote_has_no_quantity() -> None:
    (quote,) = received(best(bids=[]), DataKinds.QUOTES)
    assert (quote.bid_price, quote.bid_quantity) == ("0", "0")
    (quote,) = received(best(asks=[]), DataKinds.QUOTES)
    assert (quote.ask_price, quote.ask_quantity) == ("0", "0")


@pytest.mark.parametrize(
    "odd",
    [
        {"bids": None},
        {"bids": [[1]]},
        {"bids": [["new", 1, 1]]},
        {"asks": [["1", 1]]},
        {"asks": [[1, None]]},
        {"change_id": -1},
        {"change_id": 2**64},
        {"timestamp": "1"},
        {"timestamp": 10**13 + 1},
        {"instrument_name": None},
    ],
)
def test_a_quote_that_cannot_be_read_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(VenueMessageError):
        received(best(**odd), DataKinds.QUOTES)


# Recordings.


def test_single_recorded_frames_are_read() -> None:
    frames = json.loads(capture_path("venues/single_frames.json").read_text())
    count = 0
    for each in frames:
        if each["venue"] != "deribit" or not each["kind"].startswith("book"):
            continue
        row = json.loads(each["frame"], parse_float=Decimal)["params"]["data"]
        unit = Instrument(
            index=0, symbol=row["instrument_name"], price_exponent=-4, quantity_exponent=-1
        )
        count += 1
        if "none" in each["kind"]:
            (quote,) = received(each["frame"].encode(), DataKinds.QUOTES)
            assert quote.update_id == row["change_id"]
            assert (Decimal(quote.bid_price), Decimal(quote.bid_quantity)) == tuple(row["bids"][0])
            assert (Decimal(quote.ask_price), Decimal(quote.ask_quantity)) == tuple(row["asks"][0])
            continue
        found = update_of(each["frame"].encode(), units=(unit,))
        assert found.previous_id == row.get("prev_change_id")
        for side, levels in (("bids", found.update.bids), ("asks", found.update.asks)):
            expected = {int(price * 10**4): int(amount * 10) for _, price, amount in row[side]}
            assert dict(levels) == expected
    assert count == 8


def recorded(name: str) -> Iterator[bytes]:
    with gzip.open(capture_path(f"venues/{name}.gz"), "rb") as file:
        for line in file:
            yield line.split(b" ", 1)[1].rstrip(b"\n")


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_books_are_those_built_from_the_raw_file(name: str) -> None:
    """Every frame passes but those of tickers, which are not asked for here."""
    frames = recorded(name)
    request = json.loads(next(frames).removeprefix(b"> "))
    wanted = [each for each in request["params"]["channels"] if not each.startswith("ticker.")]
    symbols = tuple(dict.fromkeys(each.split(".")[1] for each in wanted))
    assert len(symbols) == 10
    units = {
        symbol: Instrument(index=index, symbol=symbol, price_exponent=-4, quantity_exponent=-1)
        for index, symbol in enumerate(symbols)
    }
    dialogue = Deribit(data=BOOK, credentials=CREDENTIALS).dialogue(symbols, units)
    dialogue.opening()
    subscribed = dialogue.receive(answer({"expires_in": 900}, 1_000_000_002), [])
    assert subscribed is not None
    (said,) = subscribed.answers
    assert set(json.loads(said)["params"]["channels"]) == set(wanted)
    acknowledged = dialogue.receive(next(frames).replace(b'"id":0', b'"id":1'), [])
    assert acknowledged is not None
    assert set(acknowledged.confirmed) == set(symbols)
    ours = {symbol: OrderBook() for symbol in symbols}
    theirs: dict[str, dict[str, dict[Decimal, Decimal]]] = {}
    tickers = 0
    for frame in frames:
        params = json.loads(frame, parse_float=Decimal)["params"]
        items: list[VenueItem] = []
        if params["channel"].startswith("ticker."):
            tickers += 1
            with pytest.raises(VenueMessageError, match="unexpected event: channel ticker"):
                dialogue.receive(frame, items)
            continue
        assert dialogue.receive(frame, items) is None
        (item,) = items
        assert isinstance(item, VenueDepth)
        row, book = params["data"], ours[item.symbol]
        assert item.update.is_whole or item.previous_id == book.update_id
        book.apply(item.update)
        build(theirs, row)
        assert (book.update_id, book.is_crossed) == (row["change_id"], False)
        assert sides(book) == theirs[row["instrument_name"]]
    assert tickers > 50
    assert len(theirs) == 10


def build(books: dict[str, dict[str, dict[Decimal, Decimal]]], row: dict[str, Any]) -> None:
    """Apply a raw message to a book of dicts."""
    if row["type"] == "snapshot":
        books[row["instrument_name"]] = {"bids": {}, "asks": {}}
    for side in ("bids", "asks"):
        levels = books[row["instrument_name"]][side]
        for action, price, amount in row[side]:
            if action == "delete":
                del levels[price]
            else:
                levels[price] = amount


def sides(book: OrderBook) -> dict[str, dict[Decimal, Decimal]]:
    return {
        name: {Decimal(price).scaleb(-4): Decimal(size).scaleb(-1) for price, size in levels}
        for name, levels in zip(("bids", "asks"), book.levels(), strict=True)
    }


def test_levels_stand_from_the_best_outwards() -> None:
    book = OrderBook()
    book.apply(update_of(depth(SNAPSHOT)).update)
    book.apply(update_of(depth(CHANGE)).update)
    assert book.levels() == (
        [Level(504250, 1), Level(504234, 7)],
        [Level(504264, 40), Level(504330, 40)],
    )
    assert book.quantity_at(Side.BID, 504194) == 0
