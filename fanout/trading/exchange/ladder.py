"""The prices of one side at which there are own orders, from the best outwards."""

from __future__ import annotations

from bisect import insort

from fanout.protocol.constants import Side
from fanout.trading.exchange.own_level import OwnLevel


class Ladder:
    """The levels of one side that hold own orders."""

    __slots__ = ("_by_price", "is_bid", "levels", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.is_bid = side is Side.BID
        self._by_price: dict[int, OwnLevel] = {}
        self.levels: list[OwnLevel] = []

    def at(self, price: int) -> OwnLevel | None:
        """The level of a price."""
        return self._by_price.get(price)

    def add(self, level: OwnLevel) -> None:
        """Put in the level of a new price."""
        self._by_price[level.price] = level
        insort(self.levels, level, key=self._outwards)

    def drop(self, level: OwnLevel) -> None:
        """Take a level out."""
        del self._by_price[level.price]
        self.levels.remove(level)

    def reached_by(self, price: int) -> list[OwnLevel]:
        """The levels that a trade at this price reaches, from the best outwards."""
        reached = []
        for level in self.levels:
            if level.price < price if self.is_bid else level.price > price:
                break
            reached.append(level)
        return reached

    def _outwards(self, level: OwnLevel) -> int:
        return -level.price if self.is_bid else level.price
