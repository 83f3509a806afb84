"""Recorded depth ends in the same book whatever holds it: plain, compiled, and two dicts.

The dicts are filled from the raw file by code that shares nothing with the project.
"""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fanout.protocol import Instrument, OrderBook, Side
from fanout.protocol.book import twin
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import BookFlags
from fanout.venues.binance.depth import packed_side, read_depth
from tests.captures import capture_path
from tests.twins import twins_of

WHOLE_EVERY = 500
"""Updates between comparisons of whole books."""


class Dicts:
    """The book as anybody would write it: prices as decimals, best prices by search."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.sides = [self.parsed(snapshot["bids"]), self.parsed(snapshot["asks"])]

    @staticmethod
    def parsed(levels: list[list[str]]) -> dict[Decimal, Decimal]:
        return {Decimal(price): Decimal(quantity) for price, quantity in levels}

    def change(self, row: dict[str, Any]) -> None:
        for side, name in zip(self.sides, "ba", strict=True):
            for price, quantity in self.parsed(row[name]).items():
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def best(self) -> list[Decimal]:
        return [max(self.sides[0]), min(self.sides[1])]

    def levels(self) -> list[list[tuple[Decimal, Decimal]]]:
        bids, asks = (sorted(side.items()) for side in self.sides)
        return [bids[::-1], asks]


def recorded(symbol: str) -> tuple[bytes, list[bytes]]:
    """The snapshot, and the messages of the stream that are not older."""
    snapshot, messages = b"", []
    with gzip.open(capture_path(f"{symbol.lower()}_20240808.gz")) as lines:
        for line in lines:
            text = line.partition(b" ")[2].strip()
            if text.startswith(b'{"stream":"%b@depth@0ms"' % symbol.lower().encode()):
                messages.append(text)
            elif text.startswith(b'{"lastUpdateId"'):
                snapshot = text
    last_id = json.loads(snapshot)["lastUpdateId"]
    return snapshot, [each for each in messages if json.loads(each)["data"]["u"] >= last_id]


def decimals(levels: Any, instrument: Instrument) -> list[tuple[Decimal, Decimal]]:
    return [
        (instrument.price_decimal(price), instrument.quantity_decimal(quantity))
        for price, quantity in levels
    ]


def books() -> Iterator[OrderBook]:
    yield twin.plain["OrderBook"]()
    yield twins_of("fanout.protocol._book").OrderBook()


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_recorded_depth_gives_the_same_book_everywhere(symbol: str) -> None:
    instrument = Instrument(index=0, symbol=symbol, price_exponent=-2, quantity_exponent=-3)
    raw, messages = recorded(symbol)
    snapshot = json.loads(raw)
    dicts, held = Dicts(snapshot), list(books())
    for book in held:
        book.apply(
            BookUpdate(
                instrument,
                snapshot["lastUpdateId"],
                snapshot["T"],
                packed_side(snapshot["bids"], instrument, Side.BID),
                packed_side(snapshot["asks"], instrument, Side.ASK),
                BookFlags.WHOLE,
            )
        )
    assert len(messages) > 6_000
    previous = None
    for number, message in enumerate(messages):
        depth = read_depth(message, instrument)
        assert previous in (None, depth.previous_id), "the recording has no hole"
        previous = depth.update.update_id
        dicts.change(json.loads(message)["data"])
        best = dicts.best()
        for book in held:
            book.apply(depth.update)
            assert book.best_bid is not None
            assert book.best_ask is not None
            ours = [book.best_bid.price, book.best_ask.price]
            assert [instrument.price_decimal(price) for price in ours] == best
            assert not book.is_crossed
        if number % WHOLE_EVERY == 0 or number == len(messages) - 1:
            assert len({book.digest() for book in held}) == 1
            for book in held:
                assert [decimals(side, instrument) for side in book.levels()] == dicts.levels()
