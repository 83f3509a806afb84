"""Bitfinex's books: levels, orders, checksums, and recorded sessions of 2018 and 2021, whose books
equal those that code of the test's own makes of the raw files."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fanout.errors import VenueMessageError, VenueUnitsError
from fanout.protocol import DataKinds, Instrument, OrderBook, OrdersBook
from fanout.protocol.book_records import Order
from fanout.protocol.constants import BookFlags, Side
from fanout.venues import VenueDepth, VenueItem, VenueTrade
from fanout.venues.bitfinex import Bitfinex
from fanout.venues.bitfinex.book import checksum, read_change, read_orders, script_text
from fanout.venues.bitfinex.messages import decode
from fanout.venues.values import BookChecksum, DepthLost, VenueOrders
from tests.captures import capture_path
from tests.fanout.venues.test_bitfinex import ALL, subscribed
from tests.fanout.venues.test_bitfinex_dialogue import BTC, DEPTH, TRADES, opened, received

WHOLE = f"[{DEPTH},[[7254.7,3,3.3],[7254.6,1,0.5],[7254.8,2,-1.25]]]"


def depths(*messages: str, numbered: bool = False) -> list[VenueDepth]:
    items = received(opened(numbered=numbered), *messages)
    return [each for each in items if isinstance(each, VenueDepth)]


def test_changes_are_counted_behind_the_whole_book_and_have_the_messages_time() -> None:
    whole, change = depths(
        WHOLE[:-1] + ",1,1574694478810]",
        f"[{DEPTH},[7254.8,0,-1],2,1574694478811]",
        numbered=True,
    )
    assert (whole.first_id, whole.previous_id, whole.update.time) == (1, 0, 1574694478810)
    assert whole.update.flags == BookFlags.WHOLE | BookFlags.TOP_ONLY
    assert (change.first_id, change.previous_id, change.update.time) == (2, 1, 1574694478811)
    assert (change.update.update_id, change.update.flags) == (2, BookFlags.NONE)


def test_the_sign_is_the_side_and_a_count_of_zero_removes() -> None:
    book = OrderBook(BTC)
    rows = ["[7254.6,0,1]", "[7254.8,0,-1]", "[7254.9,1,-2e-7]", "[7254.7,2,4]"]
    for each in depths(WHOLE, *(f"[{DEPTH},{row}]" for row in rows)):
        book.apply(each.update)
    assert decimals(book, BTC) == [
        [(Decimal("7254.7"), Decimal(4))],
        [(Decimal("7254.9"), Decimal("2e-7"))],
    ]


def test_an_empty_book_is_whole_and_changes_before_it_are_ignored() -> None:
    (whole,) = depths(f"[{DEPTH},[7254.8,1,1]]", f"[{DEPTH},[]]")
    assert whole.update.is_whole
    assert (whole.update.packed_bids, whole.update.packed_asks) == (b"", b"")


@pytest.mark.parametrize(
    "rows",
    [
        "[7254.7,1]",
        "[7254.7,-1,1]",
        "[7254.7,1.5,1]",
        "[7254.7,1,0]",
        "[7254.7,1,null]",
        '["7254.7",1,1]',
        "[7254.7,1,-184467440737.09551617]",
        "[7254.7,1,1.7023900800000002]",
        "[0.0000000012345,1,1]",
        "[92233720368547758,1,1]",
        "[[7254.7,1,1],7]",
        "[[7254.7,0,1]]",
        "[[0.0000000012345,1,1]]",
        "7",
        '"xx"',
        "{}",
    ],
)
def test_levels_that_cannot_be_read_lose_the_book_and_no_trade(rows: str) -> None:
    dialogue, items = opened(), list[VenueItem]()
    received(dialogue, WHOLE)
    with pytest.raises(VenueMessageError) as caught:
        dialogue.receive(f"[{DEPTH},{rows}]".encode(), items)
    assert items == [DepthLost("tBTCUSD", 3, caught.value.kind)]
    assert received(dialogue, f'[{TRADES},"te",[1,2,3,4]]')


def test_a_level_that_does_not_fit_the_units_says_so() -> None:
    with pytest.raises(VenueUnitsError, match=r"tBTCUSD: '0\.0000000012345' has digits below"):
        read_change(decode(b"[1.2345e-9,1,1]"), BTC, 1, 0)


def test_a_book_without_units_is_refused() -> None:
    dialogue = Bitfinex(data=ALL).dialogue(("tBTCUSD",))
    dialogue.opening()
    dialogue.receive(subscribed("book", DEPTH, "tBTCUSD"), [])
    with pytest.raises(VenueMessageError, match="was not subscribed: tBTCUSD"):
        dialogue.receive(WHOLE.encode(), [])
    items: list[VenueItem] = []
    dialogue.skip(WHOLE.encode(), items)
    assert items == []


# Books by order.


def test_orders_make_a_book_and_a_price_of_zero_removes_one() -> None:
    rows: Any = decode(b"[[34753002978,7294.7,1.5],[34753002979,7294.7,0.5],[7,7294.8,-2]]")
    book = OrdersBook(BTC)
    book.apply(read_orders(rows, BTC, 1, 5, whole=True))
    for number, row in enumerate((b"[34753002978,0,1]", b"[7,7294.9,-3]", b"[8,0,-1]"), 2):
        book.apply(read_orders([decode(row)], BTC, number, 6, whole=False))
    unit = 10**8
    assert book.orders(Side.BID) == [Order(34753002979, 729470000000, unit // 2)]
    assert book.orders(Side.ASK) == [Order(7, 729490000000, 3 * unit)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"[1,2]", "depth of the wrong shape"),
        (b"7", "depth of the wrong shape"),
        (b"[1.5,7294.7,1]", "depth of the wrong shape"),
        (b"[-1,7294.7,1]", "depth of the wrong shape"),
        (b"[18446744073709551616,7294.7,1]", "depth of the wrong shape"),
        (b"[1,7294.7,0]", "on neither side"),
        (b"[1,0,1]", "a removal in a whole book"),
        (b'[1,"7294.7",1]', "value that is no number"),
        (b"[1,1.2345e-9,1]", "depth with an order that cannot be"),
        (b"[1,92233720368547758,1]", "depth with an order that cannot be"),
    ],
)
def test_orders_that_cannot_be_read_are_refused(row: bytes, said: str) -> None:
    with pytest.raises(VenueMessageError, match=said):
        read_orders([decode(row)], BTC, 1, 5, whole=True)


def test_a_dialogue_brings_a_book_by_order() -> None:
    dialogue, book = opened(DataKinds.BOOK_BY_ORDER), OrdersBook(BTC)
    whole, gone = f"[{DEPTH},[[7,7294.7,1.5],[9,7294.8,-2]]]", f"[{DEPTH},[7,0,1]]"
    for number, each in enumerate(received(dialogue, gone, whole, gone), 1):
        assert isinstance(each, VenueOrders)
        assert (each.symbol, each.first_id, each.previous_id) == ("tBTCUSD", number, number - 1)
        book.apply(each.update)
    assert book.orders(Side.BID) == []
    assert book.orders(Side.ASK) == [Order(9, 729480000000, 200000000)]
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError, match="depth of the wrong shape"):
        dialogue.receive(f"[{DEPTH},[7,7294.7]]".encode(), items)
    assert items == [DepthLost("tBTCUSD", 3, "depth of the wrong shape")]


@pytest.mark.parametrize("rows", [b"[[1,7294.7,1],[2,1.2345e-9,1]]", b"[2,1.2345e-9,1]"])
@pytest.mark.parametrize("data", [DataKinds.BOOK_BY_PRICE, DataKinds.BOOK_BY_ORDER])
def test_a_value_that_is_too_fine_comes_with_the_error(data: DataKinds, rows: bytes) -> None:
    """The feed makes the units finer by these."""
    dialogue = opened(data)
    if data is DataKinds.BOOK_BY_PRICE:
        rows = rows.replace(b"[1,7294.7,1]", b"[7294.7,1,1]").replace(
            b"[2,1.2345e-9", b"[1.2345e-9,2"
        )
    if not rows.startswith(b"[["):
        received(dialogue, f"[{DEPTH},[]]")
    with pytest.raises(VenueUnitsError) as caught:
        dialogue.receive(b"[%d,%b]" % (DEPTH, rows), [])
    assert caught.value.symbol == "tBTCUSD"
    assert ("0.0000000012345", "1") in caught.value.values


# Checksums.


@pytest.mark.parametrize(
    ("mantissa", "exponent", "text"),
    [
        (0, -8, "0"),
        (100, -8, "0.000001"),
        (10, -8, "1e-7"),
        (66, -8, "6.6e-7"),
        (109, -8, "0.00000109"),
        (27151049000000, -8, "271510.49"),
        (5, -1, "0.5"),
        (725470, -1, "72547"),
        (72547, 2, "7254700"),
        (-12345, -12, "-1.2345e-8"),
        (-15, -1, "-1.5"),
    ],
)
def test_numbers_are_written_as_javascript_does(mantissa: int, exponent: int, text: str) -> None:
    assert script_text(mantissa, exponent) == text


def frames_of(kind: str) -> list[str]:
    rows = json.loads(capture_path("venues/single_frames.json").read_text())
    return [each["frame"] for each in rows if each["venue"] == "bitfinex" and kind in each["kind"]]


def test_the_checksum_of_a_book_is_the_venues() -> None:
    whole, change, cs = frames_of("with checksum")
    dialogue = Bitfinex(data=ALL).with_checksums().dialogue(("tBTCUSD",), {"tBTCUSD": BTC})
    dialogue.opening()
    dialogue.receive(subscribed("book", 81757, "tBTCUSD"), [])
    first, second, sum_ = received(dialogue, whole, change, cs)
    assert isinstance(first, VenueDepth)
    assert isinstance(second, VenueDepth)
    assert isinstance(sum_, BookChecksum)
    book = OrderBook(BTC)
    book.apply(first.update)
    assert Bitfinex().checksum(book) != sum_.value
    book.apply(second.update)
    assert Bitfinex().checksum(book) == sum_.value == -1175357890
    assert checksum(OrderBook(BTC)) == 0


# Recordings.


def test_single_frames_pass_the_dialogue() -> None:
    """The recorder put the subscription in place of the channel's number."""
    kinds: list[str] = []
    for text in [*frames_of("trades"), *frames_of("book P0")]:
        dialogue = opened()
        channel, *content = json.loads(text)
        name = channel["channel"] if isinstance(channel, dict) else "book"
        number = TRADES if name == "trades" else DEPTH
        if content[0] == "tu" or isinstance(channel, int):
            continue
        if name == "book" and not isinstance(content[0][0], list):
            received(dialogue, WHOLE)
        body = text[text.index("},") + 2 :]
        items = received(dialogue, f"[{number},{body}")
        assert len(items) == (len(content[0]) if content[0] != "te" and name == "trades" else 1)
        kinds.append(name)
    assert (kinds.count("trades"), kinds.count("book")) == (4, 4)
    whole, change = frames_of("book R0")[:2]
    for text, is_whole in ((whole, True), (change, False)):
        rows = decode(text.encode())[1]
        update = read_orders(rows if is_whole else [rows], BTC, 1, 0, whole=is_whole)
        assert len(update.bids) + len(update.asks) == (6 if is_whole else 1)


class Dicts:
    """A book as anybody would write it."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}

    def change(self, content: Any) -> None:
        is_whole = not content or isinstance(content[0], list)
        if is_whole:
            self.bids, self.asks = {}, {}
        for price, count, amount in content if is_whole else [content]:
            side = self.bids if amount > 0 else self.asks
            side.pop(price, None)
            if count:
                side[price] = abs(amount)

    def levels(self) -> list[list[tuple[Decimal, Decimal]]]:
        return [sorted(self.bids.items(), reverse=True), sorted(self.asks.items())]


def decimals(book: OrderBook, instrument: Instrument) -> list[list[tuple[Decimal, Decimal]]]:
    return [
        [
            (instrument.price_decimal(price), instrument.quantity_decimal(quantity))
            for price, quantity in side
        ]
        for side in book.levels()
    ]


def unit(symbol: str, index: int) -> Instrument:
    return Instrument(index=index, symbol=symbol, price_exponent=-8, quantity_exponent=-8)


def recorded(name: str, most: int) -> Iterator[bytes]:
    """What the venue sent, up to a number of messages."""
    with gzip.open(capture_path(f"venues/{name}")) as lines:
        for line, _ in zip(lines, range(most), strict=False):
            text = line.partition(b" ")[2].strip()
            if not text.startswith(b"> "):
                yield text


@pytest.mark.parametrize(
    ("name", "most", "counts"),
    [
        ("bitfinex_p0_trades_7pairs_seq_20210417.gz", 10**6, (1_600, 210)),
        ("bitfinex_p0_trades_8pairs_seq_20210405.gz", 10_000, (9_865, 245)),
        ("bitfinex_p0_trades_btcusd_20181112.gz", 8_000, (7_918, 47)),
    ],
)
def test_a_recording_gives_its_trades_and_its_books(
    name: str, most: int, counts: tuple[int, int]
) -> None:
    texts = list(recorded(name, most))
    symbols: dict[int, tuple[str, str]] = {}
    expected: dict[str, Dicts] = {}
    trades: list[list[Any]] = []
    units: dict[str, Instrument] = {}
    for text in texts:
        if b'"subscribed"' in text:
            row = json.loads(text)
            symbols[row["chanId"]] = (row["channel"], row["symbol"])
            units.setdefault(row["symbol"], unit(row["symbol"], len(units)))
    dialogue = Bitfinex(data=ALL).dialogue(tuple(units), units)
    dialogue.opening()
    books = {symbol: OrderBook(each) for symbol, each in units.items()}
    found: list[VenueTrade] = []
    changes = 0
    for number, text in enumerate(texts):
        items: list[VenueItem] = []
        outcome = dialogue.receive(text, items)
        assert outcome is None or outcome.lost is None
        channel, symbol = ("", "")
        if text.startswith(b"["):
            frame = json.loads(text, parse_float=Decimal, parse_int=Decimal)
            channel, symbol = symbols.get(int(frame[0]), ("", ""))
        for item in items:
            if isinstance(item, VenueTrade):
                found.append(item)
            elif isinstance(item, VenueDepth):
                book = books[symbol]
                book.apply(item.update)
                assert not book.is_crossed
                changes += 1
        if channel == "trades" and frame[1] != "hb" and frame[1] != "tu":
            trades += [frame[2]] if frame[1] == "te" else reversed(frame[1])
        if channel == "book" and frame[1] != "hb":
            expected.setdefault(symbol, Dicts()).change(frame[1])
            if number % 200 == 0:
                assert decimals(books[symbol], units[symbol]) == expected[symbol].levels()
    assert dialogue.unanswered == frozenset()
    assert (changes, len(found)) == counts
    for symbol, book in books.items():
        assert decimals(book, units[symbol]) == expected[symbol].levels()
    assert [raw_trade(each) for each in found] == trades


def raw_trade(trade: VenueTrade) -> list[Decimal]:
    amount = Decimal(trade.quantity)
    signed = -amount if trade.buyer_is_maker else amount
    return [Decimal(trade.trade_id), Decimal(trade.time), signed, Decimal(trade.price)]
