"""One side of an order book: quantities by price, and the prices in order.

Prices and quantities are integers, in units of the last decimal. The prices are a sorted list whose
last one is the best, so a change near the touch moves few others.
"""

from bisect import bisect_left, bisect_right, insort
from itertools import islice
from operator import neg
from typing import NamedTuple


class Level(NamedTuple):
    price: int
    quantity: int


class Levels:
    """`sign` is 1 for bids and -1 for asks."""

    __slots__ = ("_keys", "quantities", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.quantities: dict[int, int] = {}
        self._keys: list[int] = []  # sign * price, ascending

    def copy(self) -> "Levels":
        copy = Levels(self.sign)
        copy.quantities, copy._keys = self.quantities.copy(), self._keys.copy()
        return copy

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, price: int, quantity: int) -> None:
        """Set a quantity. Zero removes the level."""
        key = self.sign * price
        if not quantity:
            if self.quantities.pop(price, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if price not in self.quantities:
            insort(self._keys, key)
        self.quantities[price] = quantity

    def best(self) -> Level | None:
        if not self._keys:
            return None
        price = self.sign * self._keys[-1]
        return Level(price, self.quantities[price])

    def price_at(self, number: int) -> int:
        """The price of a level: 0 is the best, -1 the last."""
        return self.sign * self._keys[-1 - number]

    def better_than(self, price: int) -> list[int]:
        """The prices that are better, ascending in `sign * price`."""
        keys = self._keys[bisect_right(self._keys, self.sign * price) :]
        return keys if self.sign > 0 else list(map(neg, keys))

    def first(self, count: int | None = None) -> list[Level]:
        """Levels from the best outwards."""
        sign, quantities = self.sign, self.quantities
        prices = (sign * key for key in islice(reversed(self._keys), count))
        return [Level(price, quantities[price]) for price in prices]
