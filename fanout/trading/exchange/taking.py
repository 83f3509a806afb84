"""What an order takes at once from the levels that the book displays.

A paper order changes no book. So what it took is still displayed, and would be taken again by the
next order. `Taken` remembers it, for each price, until the level is gone or holds less than that.
"""

from __future__ import annotations

from typing import Final

from fanout.protocol.book import OrderBook
from fanout.protocol.constants import Side

_FIRST_LEVELS: Final = 16
"""Levels looked at first. An order seldom takes more, and a book may have 100,000."""


EXACT_LEVELS: Final = 20
"""Levels that a book has without a hole, where the venue sends no more than its top: what `Books`
promises."""


_ASK: Final = Side.ASK
"""A name of its own, since an enumeration's members are slow to look up."""


class Taken:
    """The quantities that own orders took from one side of a book, by price."""

    __slots__ = ("_quantities", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self._quantities: dict[int, int] = {}

    def offers(self, book: OrderBook, quantity: int, limit: int | None) -> list[tuple[int, int]]:
        """Prices and quantities that an order of `quantity` gets, up to its limit. They add up to
        less where the book does not hold more."""
        self._prune(book)
        got: list[tuple[int, int]] = []
        for price, displayed in self._within(book, quantity, limit):
            free = min(displayed - self._quantities.get(price, 0), quantity)
            if free > 0:
                got.append((price, free))
                quantity -= free
            if not quantity:
                break
        return got

    def take(self, offers: list[tuple[int, int]]) -> None:
        """Remember that these were taken."""
        for price, quantity in offers:
            self._quantities[price] = self._quantities.get(price, 0) + quantity

    def _prune(self, book: OrderBook) -> None:
        for price, taken in list(self._quantities.items()):
            displayed = shown_at(book, self.side, price)
            if displayed == 0:
                del self._quantities[price]
            elif displayed is not None:
                self._quantities[price] = min(taken, displayed)

    def _within(self, book: OrderBook, quantity: int, limit: int | None) -> list[tuple[int, int]]:
        """The levels from the best to the limit, at least as many as the quantity needs."""
        best = book.best_ask if self.side is Side.ASK else book.best_bid
        if best is None or not self._is_within(best.price, limit):
            return []
        wanted, count = quantity + sum(self._quantities.values()), _FIRST_LEVELS
        while True:
            levels = book.levels(count)[self.side]
            levels = [level for level in levels if self._is_within(level.price, limit)]
            if len(levels) < count or sum(q for _, q in levels) >= wanted:
                return [(level.price, level.quantity) for level in levels]
            count *= 4

    def _is_within(self, price: int, limit: int | None) -> bool:
        if limit is None:
            return True
        return price <= limit if self.side is Side.ASK else price >= limit


def shown_at(book: OrderBook, side: Side, price: int) -> int | None:
    """The quantity displayed at a price; None where the book does not reach to it.

    A book that is cut off has its first levels, and beyond them what has changed since. There a
    level that it has is right, and one that it lacks may be missing.
    """
    displayed = book.quantity_at(side, price)
    if displayed or not book.is_top_only:
        return displayed
    return 0 if reaches(book, side, price) else None


def reaches(book: OrderBook, side: Side, price: int) -> bool:
    """Whether a book that is cut off reaches to a price at which it has nothing."""
    count = book.count_to(side, price)
    return count < EXACT_LEVELS and count < (book.ask_count if side is _ASK else book.bid_count)
