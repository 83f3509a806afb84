"""The queue models, against the figures of the definition."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.trading.exchange.own_level import MAX_TRADED, OwnLevel
from fanout.trading.exchange.queues import (
    MAX_CREDITS,
    PARTS,
    Place,
    ProbabilisticQueue,
    Queue,
    Times,
    Weight,
    share_of,
)

THEN, NOW = Times(1, 0), Times(2, 0)


def queue_behind(front: int, displayed: int, weight: Weight) -> ProbabilisticQueue:
    queue = ProbabilisticQueue(1, share_of(weight, 0))
    queue.join(1, 5, front, THEN)
    queue.change(front, displayed, 0, 0)
    return queue


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (Weight.LINEAR, 48.0),
        (Weight.SQUARE, 46.153846),
        (Weight.LOGARITHM, 49.492230),
    ],
)
def test_a_decrease_that_no_trade_explains_is_shared_out(weight: Weight, expected: float) -> None:
    """60 in front, 40 behind; the level goes from 100 to 80."""
    queue = queue_behind(60, 100, weight)
    queue.change(100, 80, 0, 0)
    front = queue.places[0].front
    assert front is not None
    assert front / PARTS == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("weight", list(Weight))
@pytest.mark.parametrize("exponent", [-3, -18, 2])
def test_the_share_depends_on_the_quantity_and_not_on_its_unit(
    weight: Weight, exponent: int
) -> None:
    """60, 40 and 20 of the base, written at another exponent."""
    unit = Fraction(10) ** -exponent * PARTS
    front, back, decrease = (int(each * unit) for each in (60, 40, 20))
    share = share_of(weight, exponent)(decrease, front, back) / unit
    whole = share_of(weight, 0)(20 * PARTS, 60 * PARTS, 40 * PARTS) / PARTS
    assert float(share) == pytest.approx(whole, abs=5e-7)


def test_what_was_traded_is_not_shared_out() -> None:
    """The same, and 10 of the 20 were traded."""
    queue = queue_behind(60, 100, Weight.LINEAR)
    queue.trade(10, NOW, is_through=False)
    queue.change(100, 80, 10, 0)
    assert queue.places[0].front == 45 * PARTS


@pytest.mark.parametrize("weight", list(Weight))
def test_no_more_goes_from_behind_than_was_there(weight: Weight) -> None:
    queue = queue_behind(60, 100, weight)
    queue.change(100, 5, 0, 0)
    assert queue.front_of(1) is not None
    assert queue.places[0].front <= 5 * PARTS  # type: ignore[operator]


@pytest.mark.parametrize("weight", list(Weight))
def test_an_order_stays_behind_one_that_came_earlier(weight: Weight) -> None:
    queue = ProbabilisticQueue(1, share_of(weight, 0))
    queue.join(1, 5, 50, THEN)
    queue.change(50, 60, 0, 0)
    queue.join(2, 5, 60, THEN)
    queue.change(60, 100, 0, 0)
    queue.change(100, 20, 0, 0)
    first, second = (each.front for each in queue.places)
    assert first <= second  # type: ignore[operator]


FUNCTIONS = {
    Weight.LINEAR: lambda x: x,
    Weight.SQUARE: lambda x: x * x,
    Weight.LOGARITHM: math.log1p,
}


class Theirs:
    """The front of an order as hftbacktest has it (`ProbQueueModel` in `queue.rs`), in doubles."""

    def __init__(self, front: float, weight: Weight) -> None:
        self.front, self.quantity, self.traded = front, front, 0.0
        self.f = FUNCTIONS[weight]

    def trade(self, quantity: float) -> None:
        self.front -= quantity
        self.traded += quantity

    def depth(self, new: float) -> None:
        change = self.quantity - new - self.traded
        previous, self.quantity, self.traded = self.quantity, new, 0.0
        if change < 0:
            self.front = min(self.front, new)
            return
        back = previous - self.front
        both = self.f(back) + self.f(self.front)
        p = self.f(back) / both if both else 1.0
        front = self.front - (1 - p) * change + min(back - p * change, 0.0)
        self.front = min(front, new)


@given(
    st.sampled_from(Weight),
    st.integers(1, 500),
    st.lists(st.tuples(st.booleans(), st.integers(0, 600)), max_size=30),
)
def test_the_front_is_that_of_hftbacktest(
    weight: Weight, front: int, steps: list[tuple[bool, int]]
) -> None:
    theirs = Theirs(front, weight)
    queue = ProbabilisticQueue(1, share_of(weight, 0))
    queue.join(1, 10**9, front, THEN)
    level = OwnLevel(100, front, [queue])
    for time, (is_trade, quantity) in enumerate(steps, 1):
        if is_trade and quantity > theirs.front:
            return  # from here on it is filled
        if is_trade:
            theirs.trade(quantity)
            queue.trade(quantity, Times(10, time), is_through=False)
            level.note_trade(quantity, time, 0)
        elif quantity != level.displayed:
            theirs.depth(quantity)
            level.change(quantity, time)
        ours = queue.places[0].front
        assert ours is not None
        assert ours / PARTS == pytest.approx(max(theirs.front, 0), abs=1e-6)
        if theirs.front <= 0:
            return


def test_fills_are_whole_lots() -> None:
    queue = Queue(10)
    queue.join(1, 50, 3, THEN)
    fills = queue.trade(28, NOW, is_through=False)
    assert [each.quantity for each in fills] == [20]


def test_many_credits_are_kept_as_few_and_their_sum_stays() -> None:
    place = Place(1, 5, 1000, THEN)
    for time in range(1, 101):
        place.note(time, 1)
    assert len(place.credits) == MAX_CREDITS
    assert place.spend(1, 150) == 50


def test_credits_without_a_time_stay_among_many() -> None:
    place = Place(1, 5, 1000, THEN)
    for time in range(MAX_CREDITS + 1):
        place.note(time, 1)
    assert place.credits[0] == (0, 2)
    assert place.spend(10**6, 5) == 3


def test_credits_at_one_time_are_one() -> None:
    place = Place(1, 5, 1000, THEN)
    place.note(1, 2)
    place.note(1, 3)
    assert place.credits == [(1, 5)]


def test_many_trades_are_kept_as_few_and_explain_as_much() -> None:
    queue = ProbabilisticQueue(1, share_of(Weight.LINEAR, 0))
    queue.join(1, 5, 500, THEN)
    level = OwnLevel(100, 1000, [queue])
    for time in range(1, 201):
        level.note_trade(1, time, 0)
    assert len(level.traded) == MAX_TRADED
    level.change(800, 200)
    assert queue.front_of(1) == 500


def test_what_is_left_of_a_credit_stays() -> None:
    place = Place(1, 5, 1000, THEN)
    place.note(7, 10)
    assert place.spend(5, 4) == 0
    assert place.spend(5, 9) == 3
    assert place.credits == []


def test_an_order_that_is_not_there_has_no_front_and_leaves_nothing() -> None:
    queue = Queue(1)
    queue.leave(3)
    assert queue.front_of(3) is None
