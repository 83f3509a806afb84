"""A rival: numpy. Two sorted arrays a side, and all levels of an update at once.

Its best: the update becomes arrays, one search finds all places, known levels are overwritten in
one step, and new and removed ones cost a copy of the side each, if there are any.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.bench.book_rivals.held import Levels, Pairs, Way


class _Side:
    def __init__(self) -> None:
        self.prices: NDArray[np.int64] = np.empty(0, np.int64)
        self.quantities: NDArray[np.int64] = np.empty(0, np.int64)

    def apply(self, changes: Pairs) -> None:
        if not len(changes):
            return
        prices, quantities = np.array(changes, np.int64).T
        places = np.searchsorted(self.prices, prices)
        known = np.zeros(len(prices), bool)
        inside = places < len(self.prices)
        known[inside] = self.prices[places[inside]] == prices[inside]
        self.quantities[places[known]] = quantities[known]
        new = ~known & (quantities > 0)
        if new.any():
            order = np.argsort(prices[new])
            at = places[new][order]
            self.prices = np.insert(self.prices, at, prices[new][order])
            self.quantities = np.insert(self.quantities, at, quantities[new][order])
        if (known & (quantities == 0)).any():
            kept = self.quantities > 0
            self.prices, self.quantities = self.prices[kept], self.quantities[kept]

    def levels(self) -> Levels:
        return list(zip(self.prices.tolist(), self.quantities.tolist(), strict=True))


class Arrays:
    def __init__(self) -> None:
        self.bids, self.asks = _Side(), _Side()

    def apply(self, bids: Pairs, asks: Pairs) -> None:
        self.bids.apply(bids)
        self.asks.apply(asks)

    def best(self) -> tuple[Any, Any]:
        bids, asks = self.bids, self.asks
        return (bids.prices[-1], bids.quantities[-1]), (asks.prices[0], asks.quantities[0])

    def levels(self) -> tuple[Levels, Levels]:
        return self.bids.levels()[::-1], self.asks.levels()


WAYS: Final = (Way("numpy", Arrays),)
