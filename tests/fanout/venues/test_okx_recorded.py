"""Recorded sessions with OKX of 2022 pass the dialogue, and end in the same trades and books as
code that shares nothing with the project makes of the raw file. Single frames of other channels
come from tests of other libraries."""

import gzip
import json
from binascii import crc32
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, zip_longest
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Instrument, OrderBook
from fanout.protocol.constants import BookFlags
from fanout.venues import VenueDepth, VenueItem, VenueQuote, VenueTrade
from fanout.venues.okx import Okx
from tests.captures import capture_path

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
RECORDINGS = ["okx_books_trades_20220513.gz", "okx_booksl2tbt_trades_20220227.gz"]
WHOLE_EVERY = 100
"""Changes between comparisons of whole books."""

CHECKED_LEVELS = 25


def recorded(name: str) -> Iterator[bytes]:
    """What the venue sent. A book for subscribers who pay has the form of `books`."""
    with gzip.open(capture_path(f"venues/{name}")) as lines:
        for line in lines:
            text = line.partition(b" ")[2].strip()
            if not text.startswith(b"> "):
                yield text.replace(b'"books-l2-tbt"', b'"books"')


def places(texts: list[str]) -> int:
    return max((len(each.partition(".")[2]) for each in texts), default=0)


def units_of(frames: list[Any]) -> dict[str, Instrument]:
    """Instruments whose exponents are as fine as the values that occur."""
    prices: dict[str, list[str]] = {}
    quantities: dict[str, list[str]] = {}
    for frame in frames:
        symbol = frame["arg"]["instId"]
        for row in frame.get("data", ()):
            levels = row.get("asks", []) + row.get("bids", [])
            prices.setdefault(symbol, []).extend(each[0] for each in levels)
            quantities.setdefault(symbol, []).extend(each[1] for each in levels)
            prices[symbol] += [row["px"]] if "px" in row else []
            quantities[symbol] += [row["sz"]] if "sz" in row else []
    return {
        symbol: Instrument(
            index=index,
            symbol=symbol,
            price_exponent=-places(prices[symbol]),
            quantity_exponent=-places(quantities[symbol]),
        )
        for index, symbol in enumerate(prices)
    }


class Dicts:
    """A book as anybody would write it, with the text of each level as sent."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {}

    def change(self, frame: Any) -> None:
        (row,) = frame["data"]
        if frame["action"] == "snapshot":
            self.sides = {"bids": {}, "asks": {}}
        for name, side in self.sides.items():
            for price, quantity, _, _ in row[name]:
                side.pop(Decimal(price), None)
                if Decimal(quantity):
                    side[Decimal(price)] = price, quantity

    def levels(self) -> list[list[tuple[str, str]]]:
        bids, asks = (self.sides[name] for name in ("bids", "asks"))
        return [
            [bids[each] for each in sorted(bids, reverse=True)],
            [asks[each] for each in sorted(asks)],
        ]

    def checksum(self) -> int:
        """The venue's, as it was documented until 2026: of the best 25 levels, side by side."""
        bids, asks = (side[:CHECKED_LEVELS] for side in self.levels())
        rows = [each for pair in zip_longest(bids, asks) for each in pair if each]
        number = crc32(":".join(chain(*rows)).encode())
        return number - 2**32 if number >= 2**31 else number


def decimals(book: OrderBook, instrument: Instrument) -> list[list[tuple[Decimal, Decimal]]]:
    return [
        [
            (instrument.price_decimal(price), instrument.quantity_decimal(quantity))
            for price, quantity in side
        ]
        for side in book.levels()
    ]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_gives_its_trades_and_its_books(name: str) -> None:
    texts = list(recorded(name))
    frames = [json.loads(each) for each in texts]
    units = units_of(frames)
    dialogue = Okx(stream="aggTrade", data=ALL).dialogue(tuple(units), units)
    dialogue.opening()
    books = {symbol: OrderBook(each) for symbol, each in units.items()}
    dicts = {symbol: Dicts() for symbol in units}
    trades: list[VenueTrade] = []
    changes = 0
    for text, frame in zip(texts, frames, strict=True):
        items: list[VenueItem] = []
        channel, symbol = frame["arg"]["channel"], frame["arg"]["instId"]
        if channel == "tickers" and "data" in frame:
            with pytest.raises(VenueMessageError, match="unexpected channel"):
                dialogue.receive(text, items)
            continue
        outcome = dialogue.receive(text, items)
        assert outcome is None or "event" in frame
        assert len(items) == len(frame.get("data", ()))
        trades += [each for each in items if isinstance(each, VenueTrade)]
        for depth in (each for each in items if isinstance(each, VenueDepth)):
            book, expected = books[symbol], dicts[symbol]
            if not depth.update.is_whole:
                assert depth.previous_id == book.update_id
            book.apply(depth.update)
            expected.change(frame)
            assert not book.is_crossed
            assert max(book.bid_count, book.ask_count) <= 400
            if changes % WHOLE_EVERY == 0 or depth.update.is_whole:
                assert expected.checksum() == frame["data"][0]["checksum"]
                same_levels(book, expected, units[symbol])
            changes += 1
    assert dialogue.unanswered == set(units), "bbo-tbt was not recorded"
    assert [raw_trade(each) for each in trades] == [
        each["data"][0] for each in frames if each["arg"]["channel"] == "trades" and "data" in each
    ]
    assert {each.symbol for each in trades if each.is_past} == {each.symbol for each in trades}
    for symbol in units:
        same_levels(books[symbol], dicts[symbol], units[symbol])
    assert changes > 280


def same_levels(book: OrderBook, expected: Dicts, instrument: Instrument) -> None:
    assert decimals(book, instrument) == [
        [(Decimal(price), Decimal(quantity)) for price, quantity in side]
        for side in expected.levels()
    ]


def raw_trade(trade: VenueTrade) -> dict[str, str]:
    assert trade.first_fill == trade.trade_id
    return {
        "instId": trade.symbol,
        "tradeId": str(trade.trade_id),
        "px": trade.price,
        "sz": trade.quantity,
        "side": "sell" if trade.buyer_is_maker else "buy",
        "ts": str(trade.time),
    }


def test_single_frames_pass_the_dialogue() -> None:
    rows = json.loads(capture_path("venues/single_frames.json").read_text())
    kinds: dict[str, int] = {}
    for row in rows:
        if row["venue"] != "okx":
            continue
        text = row["frame"].replace('"books-l2-tbt"', '"books"')
        frame = json.loads(text)
        channel, symbol = frame["arg"]["channel"], frame["arg"]["instId"]
        units = units_of([frame])
        dialogue = Okx(stream="aggTrade", data=ALL).dialogue((symbol,), units)
        items: list[VenueItem] = []
        if channel not in ("trades", "bbo-tbt", "books"):
            with pytest.raises(VenueMessageError, match="unexpected channel"):
                dialogue.receive(text.encode(), items)
            continue
        assert dialogue.receive(text.encode(), items) is None
        (item,) = items
        kinds[channel] = kinds.get(channel, 0) + 1
        (raw,) = frame["data"]
        if isinstance(item, VenueQuote):
            best = [side[0][:2] if side else ["0", "0"] for side in (raw["bids"], raw["asks"])]
            assert [item.bid_price, item.bid_quantity] == best[0]
            assert [item.ask_price, item.ask_quantity] == best[1]
        elif isinstance(item, VenueDepth):
            assert (item.update.flags & BookFlags.WHOLE > 0) == (frame["action"] == "snapshot")
            assert len(item.update.bids) == len(raw["bids"])
            assert len(item.update.asks) == len(raw["asks"])
        else:
            assert isinstance(item, VenueTrade)
            raw.pop("count", None)
            assert raw_trade(item) == raw
    assert set(kinds) == {"trades", "bbo-tbt", "books"}
