"""Own orders in the queue of one price: how much is in front of each, and what a trade fills.

A queue belongs to one price, one side and one fill model. Its orders stand in the order of their
acknowledgements. `Place.front` is the displayed quantity in front of an order that is not our own;
own earlier orders are in front of it too. A trade goes through all of that from the front:

    front 10 of others | own A, 5 | own B, 5        a trade of 14: 10 others, 4 of A, none of B

so the volume of a trade is spent once.

A trade through the price shows that nobody is in front any more: all at the price came first. It
fills what is left of an order, up to its own volume. An aggressor that had 1 to sell below our bid
would have met the bid first, and sold it 1.

The models differ in one thing: what a decrease of the displayed quantity does that no trade
explains. *Conservative*: nothing was in front, unless less is displayed now than was in front.
*Probabilistic*: a part was behind, p = f(back) / (f(back) + f(front)); the rest was in front. That
is the model of Rigtorp as hftbacktest has it, where f is x, x squared, ln(1 + x).

A lone order is filled by the probabilistic model no later than by the conservative one. With
several own orders at a price that need not hold for each of them: volume that an earlier one gets
sooner is missing for a later one.

The book and the trades report the same fill in any order, and it must count once:

- A trade comes first. `OwnLevel` keeps its volume, which explains the decrease that follows.
- The book comes first, and moves the front. The front's move is a `credit` of the place, with the
  book's time. A later trade that is not newer than this uses up the credit before it moves the
  front again.

Quantities are integers. The front of the probabilistic model is one too, at `PARTS` parts a unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

PARTS: Final = 2**32
"""Parts of a unit in which the probabilistic front is counted. The front is rounded up to them."""

MAX_CREDITS: Final = 16
"""Credits that a place keeps apart. Beyond that the two oldest become one, at the later time: the
front moves less by that, never more."""


class Model(IntEnum):
    """A fill model."""

    CONSERVATIVE = 0
    PROBABILISTIC = 1


class Weight(IntEnum):
    """The f of the probabilistic model."""

    LINEAR = 0
    SQUARE = 1
    LOGARITHM = 2


Share = Callable[[int, int, int], int]
"""Of a decrease, the part that was in front: decrease, front and back, all in parts of a unit. It
is rounded down. Front and back are not both 0."""


def _linear(decrease: int, front: int, back: int) -> int:
    return decrease * front // (front + back)


def _square(decrease: int, front: int, back: int) -> int:
    return decrease * front * front // (front * front + back * back)


def _logarithm(quantity_exponent: int) -> Share:
    """ln(1 + x) is the one f for which the unit of x matters: x is a decimal quantity, as in
    hftbacktest, and not a number of the smallest units."""
    times, parts = 10 ** max(quantity_exponent, 0), PARTS * 10 ** max(-quantity_exponent, 0)

    def logarithm(decrease: int, front: int, back: int) -> int:
        near, far = math.log1p(front * times / parts), math.log1p(back * times / parts)
        # As a quotient of integers the share keeps its 53 bits at any size of the decrease.
        share, of = (near / (near + far)).as_integer_ratio()
        return decrease * share // of

    return logarithm


def share_of(weight: Weight, quantity_exponent: int) -> Share:
    """The share of a weight, for an instrument of this exponent."""
    match weight:
        case Weight.LINEAR:
            return _linear
        case Weight.SQUARE:
            return _square
        case Weight.LOGARITHM:
            return _logarithm(quantity_exponent)


class Times(NamedTuple):
    """A time by both clocks: ours, when the socket read returned, and the venue's, in units of the
    instrument's `time_exponent`, 0 where it gives none."""

    received_ns: int
    venue_time: int

    def is_older_than(self, acknowledged: Times) -> bool:
        """Whether a trade of this moment may have come before an acknowledgement. The clocks have
        different errors, so either of them is enough. A trade at the very time of the newest book
        may be in that book: what it took is not in front of an order that joined behind the rest.
        """
        if self.received_ns <= acknowledged.received_ns:
            return True
        return 0 < self.venue_time <= acknowledged.venue_time


class Place:
    """An own order in a queue.

    `front` is at `Queue.parts` parts a unit, None while nobody knows it: the price was beyond
    the levels that the book shows. `remaining` is in units.
    """

    __slots__ = ("acknowledged", "credits", "front", "order_id", "remaining")

    def __init__(self, order_id: int, remaining: int, front: int | None, at: Times) -> None:
        self.order_id = order_id
        self.remaining = remaining
        self.front = front
        self.acknowledged = at
        """Trades that are older by either clock are not for this order."""
        self.credits: list[tuple[int, int]] = []
        """Times of the book, 0 where it has none, and what the front lost then, oldest first."""

    def note(self, time: int, amount: int) -> None:
        """Remember that the book of this time has moved the front."""
        entries = self.credits
        if entries and entries[-1][0] == time:
            entries[-1] = (time, entries[-1][1] + amount)
            return
        entries.append((time, amount))
        if len(entries) > MAX_CREDITS:
            (at, oldest), (later, other) = entries[:2]
            entries[:2] = [(later if at else 0, oldest + other)]

    def spend(self, time: int, volume: int) -> int:
        """What is left of the volume of a trade after the credits that may be the same fill."""
        kept = []
        for at, amount in self.credits:
            if 0 < at < time:
                continue  # the book was older than the trade, and later trades are newer still
            used = min(amount, volume)
            volume -= used
            if amount > used:
                kept.append((at, amount - used))
        self.credits = kept
        return volume


class QueueFill(NamedTuple):
    """What a trade gave an order, in units."""

    order_id: int
    quantity: int
    remaining: int


class Queue:
    """The conservative queue, and what both models share."""

    __slots__ = ("lot", "places")
    parts = 1
    """Parts of a unit in which fronts are counted."""

    def __init__(self, lot: int) -> None:
        self.lot = lot or 1
        self.places: list[Place] = []

    def join(self, order_id: int, quantity: int, displayed: int | None, at: Times) -> None:
        """Put an order behind all that is displayed, and behind the own orders."""
        front = None if displayed is None else displayed * self.parts
        self.places.append(Place(order_id, quantity, front, at))

    def leave(self, order_id: int) -> None:
        """Take an order out, if it is there."""
        self.places = [each for each in self.places if each.order_id != order_id]

    def front_of(self, order_id: int) -> int | None:
        """What is in front of an order, with own earlier orders, in units rounded up. None if
        it is unknown, or there is no such order."""
        own = 0
        for place in self.places:
            if place.order_id == order_id:
                return None if place.front is None else own - (-place.front // self.parts)
            own += place.remaining
        return None

    def trade(self, volume: int, at: Times, *, is_through: bool) -> list[QueueFill]:
        """A trade of the opposite aggressor, at the price or through it.

        `volume` is what no other own order was filled with. Through the price, nothing is in front
        any more. The fills add up to `volume` at the most.
        """
        fills: list[QueueFill] = []
        parts, lot, own = self.parts, self.lot, 0
        for place in self.places:
            if at.is_older_than(place.acknowledged):
                continue
            reach = (volume - own) * parts
            if is_through:
                place.front = 0
            elif place.credits:
                reach = place.spend(at.venue_time, reach)
            front = place.front
            if front is None:
                continue
            if reach <= front:
                place.front = front - reach
                continue
            place.front = 0
            quantity = min((reach - front) // (parts * lot) * lot, place.remaining)
            if quantity:
                place.remaining -= quantity
                own += quantity
                fills.append(QueueFill(place.order_id, quantity, place.remaining))
        if fills:
            self.places = [each for each in self.places if each.remaining]
        return fills

    def change(self, before: int, after: int, explained: int, time: int) -> None:
        """The displayed quantity changed. Trades `explained` as much of it."""
        after *= self.parts
        for place in self.places:
            front = place.front
            if front is None or front > after:
                self._move(place, after, time)

    def _move(self, place: Place, front: int, time: int) -> None:
        if place.front is not None:
            place.note(time, place.front - front)
        place.front = front

    def resume(self, displayed: int, time: int) -> None:
        """The book is known again after a freeze: no more is in front than is displayed."""
        Queue.change(self, displayed, displayed, 0, time)


class ProbabilisticQueue(Queue):
    """The probabilistic queue."""

    __slots__ = ("_share",)
    parts = PARTS

    def __init__(self, lot: int, share: Share) -> None:
        super().__init__(lot)
        self._share = share

    def change(self, before: int, after: int, explained: int, time: int) -> None:
        """The displayed quantity changed. A decrease that no trade explains is shared out."""
        decrease = (before - after - explained) * PARTS
        if decrease <= 0:
            super().change(before, after, explained, time)
            return
        most, least = after * PARTS, 0
        for place in self.places:
            front = most if place.front is None else self._after(place.front, before, decrease)
            # An order is never in front of one that came before it.
            least = max(least, min(front, most))
            if place.front is None or least < place.front:
                self._move(place, least, time)

    def _after(self, front: int, before: int, decrease: int) -> int:
        back = max(before * PARTS - front, 0)
        # Where more would have gone from behind than was there, the caller takes the new quantity.
        return front - self._share(decrease, front, back) if front else 0
