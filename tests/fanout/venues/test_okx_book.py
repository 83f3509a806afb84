"""OKX's quotes, changes of books, and whole books over REST."""

import json
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Instrument, Level
from fanout.protocol.constants import BookFlags
from fanout.venues import VenueDepth, VenueItem, VenueQuote
from fanout.venues.okx import Okx
from fanout.venues.okx.book import LEVELS
from fanout.venues.okx.dialogue import OkxDialogue
from fanout.venues.values import Alive, DepthLost

BTC = Instrument(index=3, symbol="BTC-USDT", price_exponent=-2, quantity_exponent=-1)
DATA = DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
WHOLE = BookFlags.WHOLE | BookFlags.TOP_ONLY

ROW: dict[str, Any] = {
    "asks": [["8476.98", "415", "0", "13"], ["8477", "7", "0", "2"]],
    "bids": [["8476.97", "256.5", "0", "12"], ["8475.55", "101", "0", "1"]],
    "ts": "1597026383085",
    "checksum": 0,
    "prevSeqId": -1,
    "seqId": 123456,
}


def dialogue() -> OkxDialogue:
    return Okx(data=DATA).dialogue(("BTC-USDT",), {"BTC-USDT": BTC})


def message(
    action: str = "snapshot", channel: str = "books", symbol: str = "BTC-USDT", **changes: Any
) -> bytes:
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not ...}
    whole = {"arg": {"channel": channel, "instId": symbol}, "action": action, "data": [row]}
    return json.dumps(whole, separators=(",", ":")).encode()


def update(previous: Any, last: Any, **changes: Any) -> bytes:
    levels = {"asks": [["8476.98", "0", "0", "0"]], "bids": [["8475.54", "3", "0", "1"]]}
    return message("update", prevSeqId=previous, seqId=last, **{**levels, **changes})


def items_of(*texts: bytes) -> list[VenueItem]:
    one, items = dialogue(), list[VenueItem]()
    for text in texts:
        assert one.receive(text, items) is None
    return items


def depth_of(text: bytes) -> VenueDepth:
    (item,) = items_of(text)
    assert isinstance(item, VenueDepth)
    return item


# Books.


def test_a_snapshot_replaces_the_book() -> None:
    depth = depth_of(message())
    assert depth.update.instrument is BTC
    assert depth.update.flags == WHOLE
    assert (depth.update.update_id, depth.update.time) == (123456, 1597026383085)
    assert (depth.first_id, depth.previous_id, depth.resets) == (123456, None, False)
    assert depth.update.bids == [Level(847697, 2565), Level(847555, 1010)]
    assert depth.update.asks == [Level(847698, 4150), Level(847700, 70)]


def test_an_update_names_the_one_before_it() -> None:
    depth = depth_of(update(123456, 123470))
    assert depth.update.flags == BookFlags.NONE
    assert (depth.first_id, depth.update.update_id) == (123457, 123470)
    assert (depth.previous_id, depth.resets) == (123456, False)
    assert depth.update.asks == [Level(847698, 0)]
    assert depth.update.bids == [Level(847554, 30)]


def test_an_update_without_levels_moves_the_chain_on() -> None:
    depth = depth_of(update(5, 7, asks=[], bids=[]))
    assert (depth.previous_id, depth.update.update_id) == (5, 7)
    assert depth.update.bids == depth.update.asks == []


def test_an_update_that_follows_itself_is_a_sign_of_life() -> None:
    assert items_of(update(7, 7, asks=[], bids=[])) == [Alive("BTC-USDT")]


def test_ids_may_begin_anew() -> None:
    depth = depth_of(update(123456, 3))
    assert (depth.previous_id, depth.update.update_id) == (123456, 3)
    assert (depth.first_id, depth.resets) == (3, True)


def test_ids_may_come_as_text_and_levels_in_any_order() -> None:
    assert depth_of(update("5", "7")) == depth_of(update(5, 7))
    turned = depth_of(message(asks=ROW["asks"][::-1], bids=ROW["bids"][::-1]))
    assert turned == depth_of(message())
    assert depth_of(message(bids=[["8476.97", "256.5"], ["8475.55", "101"]])) == turned


def test_messages_without_ids_are_numbered() -> None:
    none: dict[str, Any] = {"seqId": ..., "prevSeqId": ...}
    texts = [message(**none), message("update", **none), message(**none), message("update", **none)]
    depths = [each for each in items_of(*texts) if isinstance(each, VenueDepth)]
    assert [each.update.update_id for each in depths] == [1, 2, 3, 4]
    assert [each.previous_id for each in depths] == [None, 1, None, 3]


def test_a_refused_message_without_ids_leaves_a_hole() -> None:
    one, items = dialogue(), list[VenueItem]()
    none: dict[str, Any] = {"seqId": ..., "prevSeqId": ...}
    one.receive(message(**none), items)
    with pytest.raises(VenueMessageError):
        one.receive(message("update", asks=[["x", "1"]], **none), items)
    one.receive(message("update", **none), items)
    ids = [
        (each.previous_id, each.update.update_id) for each in items if isinstance(each, VenueDepth)
    ]
    assert ids == [(None, 1), (2, 3)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (message("delta"), "depth of the wrong shape"),
        (message(asks=...), "depth of the wrong shape"),
        (message(bids=None), "depth of the wrong shape"),
        (message(bids=[["8476.97"]]), "depth of the wrong shape"),
        (message(bids=[[8476.97, 1]]), "depth of the wrong shape"),
        (message(bids={}), "depth of the wrong shape"),
        (message(ts="-1"), "depth of the wrong shape"),
        (message(ts=str(2**64)), "depth of the wrong shape"),
        (message(ts=str(10**13 + 1)), "depth of the wrong shape"),
        (message(seqId=-1), "depth of the wrong shape"),
        (message(seqId=2**64), "depth of the wrong shape"),
        (message(seqId="1.5"), "depth of the wrong shape"),
        (update(-1, 7), "depth of the wrong shape"),
        (update(..., 7), "depth of the wrong shape"),
        (update(7, 7), "depth of the wrong shape"),
        (update(2**64, 7), "depth of the wrong shape"),
        (message(bids=[["8476.971", "1"]]), "depth with a level that cannot be"),
        (message(bids=[["8476.97", "0.05"]]), "depth with a level that cannot be"),
        (message(asks=[["8476.97", "-1"]]), "depth with a level that cannot be"),
        (message(asks=[["NaN", "1"]]), "depth with a level that cannot be"),
        (message(asks=[["8e3", "1"]]), "depth with a level that cannot be"),
        (message(asks=[["9" * 30, "1"]]), "depth with a level that cannot be"),
    ],
)
def test_a_change_that_cannot_be_read_puts_the_book_in_doubt(text: bytes, kind: str) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError) as caught:
        dialogue().receive(text, items)
    assert caught.value.kind == kind
    assert items == [DepthLost("BTC-USDT", 3, kind)]
    assert len(str(caught.value)) < 300


def test_every_truncation_puts_the_book_in_doubt_once_the_symbol_is_known() -> None:
    text = message()
    known = text.index(b'"},') + 1
    for length in range(len(text)):
        items: list[VenueItem] = []
        with pytest.raises(VenueMessageError):
            dialogue().receive(text[:length], items)
        assert [type(each) for each in items] == [DepthLost] * (length >= known)


def test_depth_of_a_symbol_that_was_not_subscribed_is_refused() -> None:
    with pytest.raises(VenueMessageError, match="not subscribed: ETH-USDT"):
        dialogue().receive(message(symbol="ETH-USDT"), [])


# Quotes.


@pytest.mark.parametrize(
    "levels",
    [
        [["2", "3", "0", "1"], ["1", "0", "0", "0"]],
        [["1", "0", "0", "0"], ["2", "3", "0", "1"]],
        [["2", "3"], ["1", "0"]],
        [["2", "3", "0"], ["1", "0", "0"]],
        [["2", "3", "0", "1", "new"], ["1", "0", "0", "1", "new"]],
        [["2", "3", "x", ""], ["1", "0", "-1", "1.5"]],
        [["2.0", "3.000", "0", "1"], ["1", "0.0", "0", "0"]],
        [["2", "9", "0", "1"], ["1", "0", "0", "0"], ["2", "3", "0", "1"]],
    ],
    ids=str,
)
def test_levels_in_any_order_and_with_any_fields_behind_them_are_read_alike(
    levels: list[list[str]],
) -> None:
    """Only the first form is read in one pass."""
    assert depth_of(update(1, 2, bids=levels)).update.bids == [Level(200, 30), Level(100, 0)]


def quote(**changes: Any) -> bytes:
    levels = {"asks": [["111.06", "5", "0", "2"]], "bids": [["111.05", "7", "0", "2"]]}
    whole = json.loads(message(channel="bbo-tbt", **{"prevSeqId": ..., **levels, **changes}))
    del whole["action"]
    return json.dumps(whole, separators=(",", ":")).encode()


def test_a_quote_has_the_id_of_its_book() -> None:
    assert items_of(quote()) == [
        VenueQuote("BTC-USDT", 123456, 1597026383085, "111.05", "7", "111.06", "5")
    ]


def test_a_later_quote_with_a_lower_id_begins_the_ids_anew() -> None:
    connection = dialogue()
    resets = []
    for seq_id, ts in ((9, 5), (8, 5), (2, 6), (3, 6), (1, 7)):
        items: list[VenueItem] = []
        connection.receive(quote(seqId=seq_id, ts=str(ts)), items)
        resets += [each.resets for each in items if isinstance(each, VenueQuote)]
    assert resets == [False, False, True, False, True]


def test_a_quote_without_an_id_has_its_time() -> None:
    (item,) = items_of(quote(seqId=...))
    assert isinstance(item, VenueQuote)
    assert item.update_id == item.time == 1597026383085


def test_an_empty_side_has_no_quantity() -> None:
    (item,) = items_of(quote(bids=[]))
    assert isinstance(item, VenueQuote)
    assert (item.bid_price, item.bid_quantity, item.ask_price) == ("0", "0", "111.06")


@pytest.mark.parametrize(
    "changes",
    [
        {"asks": ...},
        {"asks": None},
        {"asks": [["111.06"]]},
        {"asks": [[111.06, 5]]},
        {"asks": [["1", "1"], ["2", "1"]]},
        {"ts": ...},
        {"ts": str(2**64)},
        {"ts": str(10**13 + 1)},
        {"seqId": -1},
        {"seqId": 2**64},
    ],
)
def test_odd_quotes_are_refused(changes: dict[str, Any]) -> None:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match="quote of the wrong shape"):
        dialogue().receive(quote(**changes), items)
    assert items == []


def test_every_truncation_of_a_quote_is_refused() -> None:
    text = quote()
    for length in range(len(text)):
        with pytest.raises(VenueMessageError):
            dialogue().receive(text[:length], [])


# Whole books over REST.


def body(code: str = "0", **changes: Any) -> bytes:
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not ...}
    return json.dumps({"code": code, "msg": "", "data": [row]}).encode()


def test_the_request_for_a_whole_book() -> None:
    request = Okx().book_request("BTC-USDT")
    assert (request.path, request.weight) == ("/api/v5/market/books", 1)
    assert request.query == {"instId": "BTC-USDT", "sz": "400"}


def test_a_whole_book_is_read() -> None:
    found = Okx().parse_book(body(), BTC)
    assert (found.update_id, found.time, found.flags) == (123456, 1597026383085, BookFlags.WHOLE)
    assert found.bids == depth_of(message()).update.bids
    assert found.asks == depth_of(message()).update.asks


def test_a_book_with_as_many_levels_as_were_asked_for_may_have_more() -> None:
    bids = [[str(8476 - each), "1", "0", "1"] for each in range(LEVELS)]
    assert Okx().parse_book(body(bids=bids), BTC).flags == WHOLE
    assert Okx().parse_book(body(bids=bids[1:]), BTC).flags == BookFlags.WHOLE


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (b"", "whole book of the wrong shape"),
        (b"[]", "whole book of the wrong shape"),
        (body()[:-1], "whole book of the wrong shape"),
        (b'{"code":"0","data":[]}', "whole book of the wrong shape"),
        (body().replace(b'"0", "msg"', b'"51001", "msg"'), r"\(51001\)"),
        (body(seqId=...), "seqId"),
        (body(seqId=-1), "seqId"),
        (body(seqId=2**64), "update 18446744073709551616"),
        (body(ts=...), "ts"),
        (body(ts=str(10**13 + 1)), "ts"),
        (body(asks=5), "asks"),
        (body(bids=[["8476.97"]]), "bids"),
        (body(bids=[["8476.97", "-1"]]), "depth with a level that cannot be"),
        (body(asks=[["x", "1"]]), "depth with a level that cannot be"),
    ],
)
def test_odd_whole_books_are_refused_in_words(odd: bytes, words: str) -> None:
    with pytest.raises(VenueMessageError, match=words):
        Okx().parse_book(odd, BTC)
