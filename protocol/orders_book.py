"""The order book of one instrument by order, for venues that give single orders.

It keeps the orders and hands their sums at each price to an `OrderBook`, its `prices`, where all
questions about levels are answered. It is known, filled and refused as that one is (`book.py`), and
what it refuses leaves it unknown too.
"""

from __future__ import annotations

from copy import deepcopy
from struct import Struct
from typing import Final

from fanout.protocol.book import OrderBook
from fanout.protocol.book_common import meet, pieces, require_consistent, unknown
from fanout.protocol.book_records import BookUpdate, Order, OrderUpdate, pack_levels, pack_orders
from fanout.protocol.constants import MAX_BLOCK_ORDERS, MAX_BOOK_ORDERS, BookFlags, Side
from fanout.protocol.errors import FanoutError, LimitExceededError, MalformedError
from fanout.protocol.instrument import Instrument

_ORDER: Final = Struct("<QqQ")


class _Orders:
    """One side: its orders by id, and their sum at each price."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.totals: dict[int, int] = {}

    def clear(self) -> None:
        self.orders.clear()
        self.totals.clear()

    def change(self, packed: bytes, room: int) -> set[int]:
        """Set the quantities of orders; 0 removes one. Gives the prices at which something may have
        changed. Raises `LimitExceededError` for more than `room` orders."""
        if not isinstance(packed, bytes) or len(packed) % _ORDER.size:
            raise MalformedError(
                f"{type(packed).__name__} in place of packed orders, {_ORDER.size} bytes each"
            )
        orders, totals = self.orders, self.totals
        changed: set[int] = set()
        for order_id, price, quantity in _ORDER.iter_unpack(packed):
            before = orders.get(order_id)
            if before is not None:
                totals[before.price] -= before.quantity
                changed.add(before.price)
                if not quantity or before.price != price:
                    del orders[order_id]  # at another price it stands behind the orders there
            if quantity:
                if len(orders) >= room and order_id not in orders:
                    raise LimitExceededError(
                        f"more than {MAX_BOOK_ORDERS:,} orders in a book: MAX_BOOK_ORDERS"
                    )
                orders[order_id] = Order(order_id, price, quantity)
                totals[price] = totals.get(price, 0) + quantity
                changed.add(price)
        return changed

    def packed_totals(self, prices: set[int], side: Side) -> bytes:
        """The sums at these prices as packed levels, from the best outwards."""
        ordered = sorted(prices, reverse=side == Side.BID)
        packed = pack_levels([(price, self.totals[price]) for price in ordered])
        for price in prices:
            if not self.totals[price]:
                del self.totals[price]
        return packed


class OrdersBook:
    """The order book of one instrument by order. See the module.

    `prices` is the book of its prices. It is for reading: only `apply` changes it.
    """

    __slots__ = ("_asks", "_bids", "_has_begun", "instrument", "prices")

    def __init__(self, instrument: Instrument | None = None) -> None:
        self.instrument = instrument
        self.prices = OrderBook(instrument)
        self._bids, self._asks = _Orders(), _Orders()
        self._has_begun = False

    def __copy__(self) -> OrdersBook:
        return deepcopy(self)  # a book of its own, as a copy of an `OrderBook` is

    def clear(self) -> None:
        """Make the book unknown."""
        self._bids.clear()
        self._asks.clear()
        self.prices.clear()
        self._has_begun = False

    def apply(self, update: OrderUpdate) -> BookUpdate:
        """Apply the next update, and give what it changed by price.

        Raises as `OrderBook.apply` does, `LimitExceededError` beyond MAX_BOOK_ORDERS too, and
        `NotRepresentableError` if the orders at a price add up to more than 64 bits.
        """
        if update.instrument is not self.instrument:
            meet(self, update.instrument)
        if int(update.flags) & BookFlags.WHOLE.value:
            self.clear()
            self._has_begun = True
        elif not self._has_begun:
            raise unknown(update)
        try:
            bids = self._bids.change(update.packed_bids, MAX_BOOK_ORDERS - len(self._asks.orders))
            asks = self._asks.change(update.packed_asks, MAX_BOOK_ORDERS - len(self._bids.orders))
            by_price = BookUpdate(
                update.instrument,
                update.update_id,
                update.time,
                self._bids.packed_totals(bids, Side.BID),
                self._asks.packed_totals(asks, Side.ASK),
                BookFlags(int(update.flags) & ~BookFlags.TOP_ONLY.value),
                update.seq,
                update.received_ns,
            )
            self.prices.apply(by_price)
            if int(update.flags) & BookFlags.TOP_ONLY.value:
                self.prices.is_top_only = True
        except FanoutError:
            self.clear()
            raise
        return by_price

    @property
    def is_known(self) -> bool:
        """Whether a whole book has come."""
        return self.prices.is_known

    @property
    def is_consistent(self) -> bool:
        """Whether the book is known, and no update of it is to be continued."""
        return self.prices.is_consistent

    @property
    def order_count(self) -> int:
        """How many orders both sides have."""
        return len(self.orders(Side.BID)) + len(self.orders(Side.ASK))

    def order(self, order_id: int) -> Order | None:
        """An order by its id, None if the book does not have it."""
        if not self.is_known:
            return None
        return self._bids.orders.get(order_id) or self._asks.orders.get(order_id)

    def orders(self, side: Side, price: int | None = None) -> list[Order]:
        """The orders of a side, or those at one price, in the order in which they came."""
        if not self.is_known:
            return []
        orders = (self._asks if side == Side.ASK else self._bids).orders.values()
        return [each for each in orders if price is None or each.price == price]

    def whole(self) -> list[OrderUpdate]:
        """The whole book as updates of at most MAX_BLOCK_ORDERS orders, for `apply` elsewhere.
        Raises `UnknownBookError` unless the book is consistent, or if it has no instrument."""
        require_consistent(self.prices)
        assert self.instrument is not None, "the update that made it known has named it"
        bids, asks = pack_orders(self.orders(Side.BID)), pack_orders(self.orders(Side.ASK))
        return [
            OrderUpdate(self.instrument, self.prices.update_id, self.prices.time, *piece)
            for piece in pieces(
                bids,
                asks,
                MAX_BLOCK_ORDERS * _ORDER.size,
                is_top_only=self.prices.is_top_only,
            )
        ]
