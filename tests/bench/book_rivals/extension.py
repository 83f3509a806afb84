"""A rival: `order-book` from PyPI, a C extension. It sorts a side anew when its best is asked for.

It is under the GPL, so it is measured here and used nowhere.
https://github.com/bmoscon/orderbook
"""

from typing import Any, Final

from order_book import OrderBook

from tests.bench.book_rivals.held import Levels, Pairs, Way


class Extension:
    def __init__(self) -> None:
        self._book = OrderBook()

    def apply(self, bids: Pairs, asks: Pairs) -> None:
        for side, changes in ((self._book.bids, bids), (self._book.asks, asks)):
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                elif price in side:
                    del side[price]

    def best(self) -> tuple[Any, Any]:
        return self._book.bids.index(0), self._book.asks.index(0)

    def levels(self) -> tuple[Levels, Levels]:
        book = self._book.to_dict()
        return list(book["bid"].items()), list(book["ask"].items())


WAYS: Final = (Way("order-book", Extension),)
