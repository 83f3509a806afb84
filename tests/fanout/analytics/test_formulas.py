"""The formulas alone: the worked examples of their definitions."""

from itertools import pairwise

from fanout.analytics.formulas import Best, band, imbalance, order_flow

BESTS = [
    Best(100, 5, 101, 4),
    Best(100, 8, 101, 4),
    Best(100, 8, 101, 1),
    Best(100, 8, 102, 6),
    Best(101, 2, 102, 6),
    Best(100, 8, 102, 6),
    Best(100, 8, 101, 3),
]


def test_each_change_of_the_best_prices_adds_its_step_to_the_order_flow() -> None:
    steps = [order_flow(before, after) for before, after in pairwise(BESTS)]
    assert steps == [3, 3, 1, 2, -2, -3]
    assert sum(steps) == 4


def test_a_band_has_the_prices_at_its_edges() -> None:
    assert band(99, 101, 100) == (99, 101)
    assert band(99, 102, 100) == (100, 101)


def test_an_imbalance_of_nothing_is_none() -> None:
    assert imbalance(0, 0) is None
    assert (imbalance(3, 1), imbalance(0, 2)) == (0.5, -1.0)
