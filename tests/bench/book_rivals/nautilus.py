"""A rival: the book of nautilus_trader, in Rust behind Cython.

Its best: a message's deltas are made before, as one `OrderBookDeltas`, and applied in one call.
A level that the book does not have must not be deleted, so such deltas are left out.
https://nautilustrader.io/docs/latest/concepts/data
"""

from typing import Any, Final

from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import BookAction, BookType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity

from tests.bench.book_rivals.held import Levels, Pairs, Way

_ID: Final = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
_PRICE_DECIMALS: Final = 2
_QUANTITY_DECIMALS: Final = 3


class Nautilus:
    def __init__(self) -> None:
        self._book = OrderBook(_ID, BookType.L2_MBP)

    def apply(self, deltas: Any) -> None:
        self._book.apply_deltas(deltas)

    def best(self) -> tuple[Any, Any]:
        book = self._book
        bid = book.best_bid_price(), book.best_bid_size()
        return bid, (book.best_ask_price(), book.best_ask_size())

    def levels(self) -> tuple[Levels, Levels]:
        return _levels(self._book.bids()), _levels(self._book.asks())


def _levels(levels: Any) -> Levels:
    return [
        (
            round(float(each.price) * 10**_PRICE_DECIMALS),
            round(each.size() * 10**_QUANTITY_DECIMALS),
        )
        for each in levels
    ]


def given(messages: list[tuple[Pairs, Pairs]]) -> list[tuple[Any, ...]]:
    held: dict[OrderSide, set[int]] = {OrderSide.BUY: set(), OrderSide.SELL: set()}
    runs: list[tuple[Any, ...]] = []
    for message in messages:
        deltas = []
        for side, changes in zip((OrderSide.BUY, OrderSide.SELL), message, strict=True):
            for price, quantity in changes:
                if quantity:
                    held[side].add(price)
                    deltas.append(_delta(side, price, quantity))
                elif price in held[side]:
                    held[side].remove(price)
                    deltas.append(_delta(side, price, quantity))
        runs.append((OrderBookDeltas(_ID, deltas),))
    return runs


def _delta(side: OrderSide, price: int, quantity: int) -> OrderBookDelta:
    order = BookOrder(
        side,
        Price(price / 10**_PRICE_DECIMALS, _PRICE_DECIMALS),
        Quantity(quantity / 10**_QUANTITY_DECIMALS, _QUANTITY_DECIMALS),
        0,
    )
    action = BookAction.UPDATE if quantity else BookAction.DELETE
    return OrderBookDelta(_ID, action, order, 0, 0, 0, 0)


WAYS: Final = (Way("nautilus_trader", Nautilus, given),)
