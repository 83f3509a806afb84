"""A book as plainly as it can be written, and everything that a book shows, for comparisons."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from fanout.protocol import Instrument, Side
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import BookFlags
from fanout.protocol.errors import FanoutError
from tests.twins import outcome

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3, tick=10)

Pairs = Iterable[tuple[int, int]]


def update(
    bids: Pairs = (),
    asks: Pairs = (),
    flags: BookFlags = BookFlags.NONE,
    update_id: int = 1,
    time: int = 2,
    instrument: Instrument = BTC,
) -> BookUpdate:
    return BookUpdate(instrument, update_id, time, pack_levels(bids), pack_levels(asks), flags)


class Model:
    """Two dicts. It shares nothing with the books."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.known = self.begun = self.more = self.top_only = False
        self.update_id = self.time = 0

    def apply(self, change: BookUpdate) -> None:
        if change.is_whole:
            self.clear()
            self.begun = True
        if not self.begun:
            return
        for levels, changes in ((self.bids, change.bids), (self.asks, change.asks)):
            for price, quantity in changes:
                levels[price] = quantity
        if change.is_top_only:
            self.top_only = True
            if change.bids:
                self.bids = {k: v for k, v in self.bids.items() if k >= change.bids[-1].price}
            if change.asks:
                self.asks = {k: v for k, v in self.asks.items() if k <= change.asks[-1].price}
        self.more = change.has_more
        self.known = self.known or not self.more
        self.update_id, self.time = change.update_id, change.time

    def replace(self, bids: Pairs, asks: Pairs, update_id: int, time: int) -> None:
        self.clear()
        self.bids, self.asks = dict(bids), dict(asks)
        self.begun = self.known = True
        self.update_id, self.time = update_id, time

    def side(self, side: Side) -> list[tuple[int, int]]:
        if not self.known:
            return []
        levels = self.bids if side == Side.BID else self.asks
        return sorted(
            ((price, quantity) for price, quantity in levels.items() if quantity),
            reverse=side == Side.BID,
        )

    def shown(self) -> dict[str, Any]:
        """As far as `what_it_shows` gives the same."""
        bids, asks = self.side(Side.BID), self.side(Side.ASK)
        return {
            "known": self.known,
            "consistent": self.known and not self.more,
            "top only": self.top_only,
            "update id": self.update_id,
            "time": self.time,
            "counts": (len(bids), len(asks)),
            "levels": (bids, asks),
            "best": (bids[0] if bids else None, asks[0] if asks else None),
            "crossed": bool(bids and asks) and bids[0][0] >= asks[0][0],
        }

    def vwap(self, side: Side, quantity: int) -> float | None:
        cost, left = 0, quantity
        for price, there in self.side(side):
            cost += price * min(left, there)
            left -= min(left, there)
        return None if left or not quantity else float(Fraction(cost, quantity))


def what_it_shows(book: Any) -> dict[str, Any]:
    return {
        "known": book.is_known,
        "consistent": book.is_consistent,
        "top only": book.is_top_only,
        "update id": book.update_id,
        "time": book.time,
        "counts": (book.bid_count, book.ask_count),
        "levels": book.levels(),
        "best": (book.best_bid, book.best_ask),
        "crossed": book.is_crossed,
    }


def answers(book: Any) -> list[object]:
    """What the book says to many questions, errors included."""
    prices = {-(2**70), -(2**63), -1, 0, 1, 2**63 - 1, 2**70}
    for levels in book.levels():
        prices |= {price + step for price, _ in levels[::17] for step in (-1, 0, 1)}
    counts = (0, 1, 2, 3, 63, 64, 65, 100, 10**5, 10**6, 2**70, -1)
    quantities = (-1, 0, 1, 5, 1_000, 2**64 - 1, 2**64, 2**70)
    said: list[object] = [repr(book), outcome(book.digest), outcome(book.whole), book.instrument]
    for side in Side:
        said += [outcome(book.depth, side, count) for count in counts]
        for method in (book.quantity_at, book.count_to, book.quantity_to, book.depth_to):
            said += [outcome(method, side, price) for price in sorted(prices)]
        said += [outcome(book.sweep, side, quantity) for quantity in quantities]
        said += [outcome(book.vwap, side, quantity) for quantity in quantities]
    for method in (book.levels, book.packed, book.imbalance):
        said += [outcome(method, count) for count in counts]
    return said


def refusal(book: Any, change: BookUpdate) -> FanoutError | None:
    try:
        book.apply(change)
    except FanoutError as error:
        return error
    return None
