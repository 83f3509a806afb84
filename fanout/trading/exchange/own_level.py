"""One price with own orders: what the book displays there, and the queue of each fill model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fanout.trading.exchange.queues import Queue

MAX_TRADED: Final = 64
"""Trades that a level keeps apart until the book shows them. Beyond that the two oldest become one,
at the later time."""


class OwnLevel:
    """A price and a side with own orders.

    `displayed` is the quantity that the book shows, None while it does not reach to the price.
    `traded` are trades at the price that the book need not show yet: venue time and volume.
    """

    __slots__ = ("displayed", "price", "queues", "traded")

    def __init__(self, price: int, displayed: int | None, queues: Sequence[Queue]) -> None:
        self.price = price
        self.displayed = displayed
        self.queues = queues
        self.traded: list[tuple[int, int]] = []

    @property
    def is_empty(self) -> bool:
        """Whether no model has an order here."""
        return not any(queue.places for queue in self.queues)

    def note_trade(self, volume: int, trade_time: int, book_time: int) -> None:
        """Remember a trade until the book shows it. Times of the venue, 0 where it gives none.

        At the same time as the book it may be in it or not. It is kept then, and uses up credits
        too: whichever holds, the front moves too little and not too much.
        """
        if not trade_time or trade_time >= book_time:
            traded = self.traded
            traded.append((trade_time, volume))
            if len(traded) > MAX_TRADED:
                (_, oldest), (later, other) = traded[:2]
                traded[:2] = [(later, oldest + other)]

    def change(self, displayed: int | None, time: int) -> None:
        """The book shows another quantity, as of the venue's time."""
        before, self.displayed = self.displayed, displayed
        if displayed is None:
            return  # the price is beyond the levels shown: nothing is known of it
        explained = self._explained(time) if self.traded else 0
        if before is None:
            before = displayed
        elif displayed >= before:
            return  # what was added stands behind every order
        for queue in self.queues:
            queue.change(before, displayed, explained, time)

    def _explained(self, time: int) -> int:
        if not time:
            explained = sum([volume for _, volume in self.traded])
            self.traded.clear()
            return explained
        explained = sum([volume for at, volume in self.traded if at <= time])
        self.traded = [each for each in self.traded if each[0] > time]
        return explained

    def resume(self, displayed: int | None, time: int) -> None:
        """The book is known again after a freeze, in which trades may have been missed."""
        self.displayed = displayed
        if displayed is not None:
            for queue in self.queues:
                queue.resume(displayed, time)
