import random
from itertools import pairwise
from statistics import quantiles

import pytest

from fanout.stats.histogram import BOUNDS_NS, SLICES, Histogram
from fanout.stats.snapshots import Quantiles


def test_adjacent_ranges_differ_by_a_seventh() -> None:
    assert sorted(set(BOUNDS_NS)) == BOUNDS_NS
    positive = [each for each in BOUNDS_NS if each > 0]
    assert positive[0] == 1_000
    assert positive[-1] == 90_000_000_000
    assert all(high / low <= 1.15 for low, high in pairwise(positive))
    assert BOUNDS_NS[: BOUNDS_NS.index(0)] == [-each for each in reversed(positive)]


def test_an_empty_histogram_has_no_quantiles() -> None:
    histogram = Histogram()
    assert histogram.quantiles() is None
    for _ in range(2 * SLICES):
        histogram.turn()
    assert histogram.quantiles() is None


@pytest.mark.parametrize("sign", [1, -1])
def test_quantiles_are_accurate_to_a_seventh_and_the_maximum_is_exact(sign: int) -> None:
    rng = random.Random(5)
    values = [sign * int(10 ** rng.uniform(4, 10)) for _ in range(5_000)]
    histogram = Histogram()
    for each in values:
        histogram.add(each)
    found = histogram.quantiles()
    assert found is not None
    exact = quantiles(values, n=100)
    assert found.count == len(values)
    assert found.p50_ns == pytest.approx(exact[49], rel=0.15)
    assert found.p99_ns == pytest.approx(exact[98], rel=0.15)
    assert found.max_ns == max(values)


def test_durations_beyond_all_ranges_are_counted() -> None:
    histogram = Histogram()
    histogram.add(10**12)
    histogram.add(-(10**12))
    assert histogram.quantiles() == Quantiles(
        count=2, p50_ns=BOUNDS_NS[0], p99_ns=BOUNDS_NS[-1], max_ns=10**12
    )
    assert histogram.sum_ns == 10**12


def test_no_quantile_exceeds_the_maximum() -> None:
    histogram = Histogram()
    histogram.add(1_001)
    found = histogram.quantiles()
    assert found == Quantiles(count=1, p50_ns=1_001, p99_ns=1_001, max_ns=1_001)


def test_old_slices_leave_the_quantiles_but_not_the_counts() -> None:
    histogram = Histogram()
    histogram.add(5_000)
    for _ in range(SLICES - 1):
        histogram.turn()
        assert histogram.quantiles() is not None
    histogram.turn()
    assert histogram.quantiles() is None
    counts = dict(zip(BOUNDS_NS, histogram.cumulative(), strict=False))
    assert (histogram.count, counts[5_000], counts[4_500]) == (1, 1, 0)
    assert histogram.cumulative()[-1] == histogram.count
    histogram.add(7_100)
    found = histogram.quantiles()
    assert found is not None
    assert (found.count, found.max_ns) == (1, 7_100)
