"""The formulas alone: the worked examples of their definitions."""

from itertools import pairwise

import pytest

from fanout.analytics.features.formulas import (
    Best,
    band,
    imbalance,
    is_in_band,
    microprice,
    mid,
    order_flow,
    spread_bps,
    vwap,
    wap,
)

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


def test_the_prices_of_the_worked_example() -> None:
    bids, asks = [(10_000, 2), (9_995, 3), (9_980, 9)], [(10_002, 1), (10_010, 4), (10_020, 7)]
    low, high = band(10_000, 10_002, 10)
    inside = [level for level in bids + asks if low <= level[0] <= high]
    assert inside == [level for level in bids + asks if is_in_band(level[0], 10_000, 10_002, 10)]
    assert wap(inside) == vwap(inside) == 10_002.7
    assert mid(10_000, 10_002) == 10_001
    assert spread_bps(10_000, 10_002) == pytest.approx(1.99980, abs=5e-6)
    assert microprice(Best(10_000, 2, 10_002, 1)) == pytest.approx(10_001.33333, abs=1e-5)


def test_nothing_to_divide_by_is_none() -> None:
    assert (wap([]), spread_bps(-1, 1), microprice(Best(1, 0, 2, 0))) == (None, None, None)


@pytest.mark.parametrize("bps", [1, 7, 10, 10_000])
@pytest.mark.parametrize(("bid", "ask"), [(1, 2), (9_999, 10_002), (100_000, 100_001)])
def test_a_band_ends_where_the_definition_does(bid: int, ask: int, bps: int) -> None:
    low, high = band(bid, ask, bps)
    edges = [is_in_band(price, bid, ask, bps) for price in (low - 1, low, high, high + 1)]
    if low <= high:
        assert edges == [False, True, True, False]
    else:
        assert not any(is_in_band(price, bid, ask, bps) for price in range(high - 1, low + 2))
