"""A rival: what many bots do. A dict of quantities a side, and a sorted list of its prices."""

from bisect import bisect_left, insort
from typing import Any, Final

from tests.bench.book_rivals.held import Levels, Pairs, Way


class DictAndList:
    def __init__(self) -> None:
        self._sides: tuple[tuple[dict[int, int], list[int]], ...] = (({}, []), ({}, []))

    def apply(self, bids: Pairs, asks: Pairs) -> None:
        for (quantities, prices), changes in zip(self._sides, (bids, asks), strict=True):
            for price, quantity in changes:
                if quantity:
                    if price not in quantities:
                        insort(prices, price)
                    quantities[price] = quantity
                elif price in quantities:
                    del quantities[price]
                    del prices[bisect_left(prices, price)]

    def best(self) -> tuple[Any, Any]:
        (bids, bid_prices), (asks, ask_prices) = self._sides
        bid, ask = bid_prices[-1], ask_prices[0]
        return (bid, bids[bid]), (ask, asks[ask])

    def levels(self) -> tuple[Levels, Levels]:
        (bids, bid_prices), (asks, ask_prices) = self._sides
        return [(p, bids[p]) for p in reversed(bid_prices)], [(p, asks[p]) for p in ask_prices]


WAYS: Final = (Way("dict and sorted list", DictAndList),)
