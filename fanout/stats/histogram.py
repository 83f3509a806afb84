"""Durations, counted in ranges: to add one costs a look into a table.

There are twenty ranges for each power of ten, so a quantile is right to a seventh. There are as
many below zero as above, since a clock that is behind makes delays negative.
"""

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from typing import Final

from fanout.stats.snapshots import Quantiles

SLICE_S: Final = 10.0
SLICES: Final = 6
"""Quantiles are those of the last `SLICES` slices, the one that has just begun included."""

_STEPS: Final = (100, 112, 125, 140, 160, 180, 200, 224, 250, 280)
_STEPS_ABOVE: Final = (315, 355, 400, 450, 500, 560, 630, 710, 800, 900)
_FIRST_NS: Final = 10  # times a step: a microsecond
_DECADES: Final = 8  # to a hundred seconds

_POSITIVE: Final[list[int]] = [
    step * _FIRST_NS * 10**decade for decade in range(_DECADES) for step in _STEPS + _STEPS_ABOVE
]

BOUNDS_NS: Final[list[int]] = [-each for each in reversed(_POSITIVE)] + [0, *_POSITIVE]
"""The inclusive ends of the ranges. Longer durations have one range more."""


class Histogram:
    """Durations since the start by range, and quantiles of the last minute. The owner calls `turn`
    every `SLICE_S`."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.count = 0
        self.sum_ns = 0
        """Of those above zero."""
        self._longest_ns: int | None = None
        self._recent: dict[int, int] = {}
        """Ranges that have any in the last minute: what quantiles are made of."""
        self._slice: dict[int, int] = {}
        self._past: deque[tuple[dict[int, int], int | None]] = deque(maxlen=SLICES - 1)
        """Of each slice that is over, the ranges that have any, and the longest."""

    def add(self, duration_ns: int) -> None:
        place = bisect_left(BOUNDS_NS, duration_ns)
        self.counts[place] += 1
        self._slice[place] = self._slice.get(place, 0) + 1
        self._recent[place] = self._recent.get(place, 0) + 1
        self.count += 1
        if duration_ns > 0:
            self.sum_ns += duration_ns
        if self._longest_ns is None or duration_ns > self._longest_ns:
            self._longest_ns = duration_ns

    def turn(self) -> None:
        """Begin another slice."""
        if len(self._past) == self._past.maxlen:
            self._forget(self._past[0][0])
        self._past.append((self._slice, self._longest_ns))
        self._slice, self._longest_ns = {}, None

    def quantiles(self) -> Quantiles | None:
        """Of the last minute; None if there was nothing."""
        longest = [*(each for _, each in self._past), self._longest_ns]
        known = [each for each in longest if each is not None]
        if not known:
            return None
        longest_ns, in_order = max(known), sorted(self._recent.items())
        total = sum(self._recent.values())
        return Quantiles(
            count=total,
            p50_ns=min(_quantile(in_order, 0.5 * total), longest_ns),
            p99_ns=min(_quantile(in_order, 0.99 * total), longest_ns),
            max_ns=longest_ns,
        )

    def _forget(self, counts: dict[int, int]) -> None:
        """Take a slice that is over a minute old out of the recent ones."""
        for place, count in counts.items():
            self._recent[place] -= count
            if not self._recent[place]:
                del self._recent[place]

    def cumulative(self) -> list[int]:
        """How many since the start took so long or less: by `BOUNDS_NS`, and in all."""
        return list(accumulate(self.counts))


def _quantile(counts: list[tuple[int, int]], due: float) -> int:
    """The end of the range in which the duration number `due` is. `counts` are by place."""
    seen = 0
    for place, count in counts:
        seen += count
        if seen >= due and place < len(BOUNDS_NS):
            return BOUNDS_NS[place]
    return BOUNDS_NS[-1]
