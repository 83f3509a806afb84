"""A run of any length has a bounded number of points, evenly spread."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from fanout.trading.report.points import FIRST_INTERVAL_NS, Points


class At(NamedTuple):
    time_ns: int


@given(st.lists(st.integers(0, 10**12), max_size=200))
def test_there_are_never_more_than_the_limit_and_never_two_in_an_interval(
    steps: list[int],
) -> None:
    points: Points[At] = Points(8)
    time_ns, times = 0, []
    for step in steps:
        time_ns += step
        times.append(time_ns)
        points.add(At(time_ns))
        assert len(points.kept) <= 8
    kept = [each.time_ns for each in points.kept]
    assert kept == sorted(set(kept))
    assert set(kept) <= set(times)
    assert kept[:1] == times[:1]


def test_a_point_is_kept_only_if_it_is_the_first_in_its_interval() -> None:
    points: Points[At] = Points()
    points.add(At(0))
    assert not points.is_due(FIRST_INTERVAL_NS - 1)
    points.add(At(FIRST_INTERVAL_NS - 1))
    points.add(At(FIRST_INTERVAL_NS))
    assert points.kept == [At(0), At(FIRST_INTERVAL_NS)]


def test_a_long_run_has_points_all_over() -> None:
    points: Points[At] = Points(100)
    for second in range(10_000):
        points.add(At(second * 10**9))
    assert 50 <= len(points.kept) <= 100
    steps = {b.time_ns - a.time_ns for a, b in zip(points.kept, points.kept[1:], strict=False)}
    assert max(steps) <= 2 * min(steps)
