"""A rival: `sortedcontainers.SortedDict`, one a side."""

from typing import Any, Final

from sortedcontainers import SortedDict

from tests.bench.book_rivals.held import Levels, Pairs, Way


class Containers:
    def __init__(self) -> None:
        self._bids, self._asks = SortedDict(), SortedDict()

    def apply(self, bids: Pairs, asks: Pairs) -> None:
        for side, changes in ((self._bids, bids), (self._asks, asks)):
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def best(self) -> tuple[Any, Any]:
        return self._bids.peekitem(-1), self._asks.peekitem(0)

    def levels(self) -> tuple[Levels, Levels]:
        return list(reversed(self._bids.items())), list(self._asks.items())


WAYS: Final = (Way("sortedcontainers", Containers),)
