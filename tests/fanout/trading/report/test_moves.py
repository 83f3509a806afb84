"""Means and their errors, exact until the last division."""

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.trading.report.moves import Horizon, Mean, Moves
from tests.fanout.trading.world import BUY, SELL


@given(st.lists(st.integers(-(10**20), 10**20), min_size=2, max_size=20))
def test_a_mean_and_its_error_are_those_of_the_textbook(values: list[int]) -> None:
    mean = Mean()
    for each in values:
        mean.add(each)
    assert mean.value(Fraction(1)) == float(Fraction(sum(values), len(values)))
    variance = statistics.variance([Fraction(each) for each in values])
    error = mean.error(Fraction(1))
    assert error == pytest.approx(math.sqrt(variance / len(values)))


def test_no_value_is_no_mean_and_one_value_has_no_error() -> None:
    mean = Mean()
    assert (mean.value(Fraction(1)), mean.error(Fraction(1))) == (None, None)
    mean.add(3)
    assert (mean.value(Fraction(1, 2)), mean.error(Fraction(1))) == (1.5, None)


def test_moves_are_in_price_and_in_basis_points_of_the_mid() -> None:
    moves = Moves(-1)
    moves.add(2, 20_000)  # 0.1 of 1,000.0
    assert moves.price[0] == 0.1
    assert moves.bps[0] == pytest.approx(1)


def test_a_move_after_a_buy_is_against_it_if_the_mid_falls() -> None:
    for side, price in ((BUY, 5.0), (SELL, -5.0)):
        horizon = Horizon(10, 0)
        horizon.fill(side, 100, 2 * 100)
        horizon.settle(111, 2 * 95)
        assert horizon.moves.price[0] == price


def test_the_mid_of_the_end_itself_counts() -> None:
    horizon = Horizon(10, 0)
    horizon.fill(BUY, 100, 200)
    horizon.settle(110, 220)  # the mid was 110 until 110, and something else from then on
    assert horizon.moves.count == 0
    horizon.settle(111, 180)
    assert horizon.moves.price[0] == 10.0


def test_a_horizon_that_is_not_observed_is_left_out_and_counted() -> None:
    horizon = Horizon(10, 0)
    horizon.fill(BUY, 100, 0)  # no mid at the fill
    horizon.fill(BUY, 101, 200)
    horizon.settle(112, 0)  # no mid at the end
    horizon.fill(BUY, 120, 200)
    horizon.end()  # no end
    horizon.settle(10**6, 180)
    assert (horizon.moves.count, horizon.unobserved) == (0, 3)
