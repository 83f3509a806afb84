"""A run over time, in a bounded number of points.

`Points` keeps the first point in each interval. When there are too many, it drops every second one
and doubles the interval. So the points are spread evenly over the run, however long it is, and the
same run gives the same points.
"""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

MAX_POINTS: Final = 1_024
"""Most points of a run. A picture has as many columns."""

FIRST_INTERVAL_NS: Final = 1_000_000
"""The interval at the start of a run, 1 ms."""


class Timed(Protocol):
    """What is at a time."""

    @property
    def time_ns(self) -> int: ...


Point = TypeVar("Point", bound=Timed)


class Points(Generic[Point]):
    """Points in the order of time. See the module."""

    __slots__ = ("_interval_ns", "_most", "_next_ns", "kept")

    def __init__(self, most: int = MAX_POINTS) -> None:
        self.kept: list[Point] = []
        self._most = most
        self._interval_ns = FIRST_INTERVAL_NS
        self._next_ns = 0

    def is_due(self, time_ns: int) -> bool:
        """Whether a point at this time would be kept."""
        return time_ns >= self._next_ns

    def add(self, point: Point) -> None:
        """Keep a point, if it is the first in its interval."""
        if not self.is_due(point.time_ns):
            return
        self.kept.append(point)
        while len(self.kept) > self._most:
            self._interval_ns *= 2
            self._thin()
        self._next_ns = (self.kept[-1].time_ns // self._interval_ns + 1) * self._interval_ns

    def _thin(self) -> None:
        kept: list[Point] = []
        for each in self.kept:
            if not kept or self._slot(each) != self._slot(kept[-1]):
                kept.append(each)
        self.kept = kept

    def _slot(self, point: Point) -> int:
        return point.time_ns // self._interval_ns
