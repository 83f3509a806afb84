"""A histogram of durations. Adding one costs a table lookup.

Each power of ten has twenty ranges, so a quantile is accurate to a seventh. Negative durations
have as many ranges as positive ones: if our clock is behind, delays are negative, and the operator
must see that.
"""

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from typing import Final

from fanout.stats.snapshots import Quantiles

SLICE_S: Final = 10.0
SLICES: Final = 6
"""Quantiles cover the last `SLICES` slices, including the current one."""

_STEPS: Final = (100, 112, 125, 140, 160, 180, 200, 224, 250, 280)
_STEPS_ABOVE: Final = (315, 355, 400, 450, 500, 560, 630, 710, 800, 900)
_FIRST_NS: Final = 10  # times a step: a microsecond
_DECADES: Final = 8  # to a hundred seconds

_POSITIVE: Final[list[int]] = [
    step * _FIRST_NS * 10**decade for decade in range(_DECADES) for step in _STEPS + _STEPS_ABOVE
]

BOUNDS_NS: Final[list[int]] = [-each for each in reversed(_POSITIVE)] + [0, *_POSITIVE]
"""Inclusive upper ends of the ranges. One more range holds longer durations."""


class Histogram:
    """Durations by range since the start, and quantiles of the last minute. The owner must call
    `turn` every `SLICE_S`."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.count = 0
        self.sum_ns = 0
        """Sum of the positive durations."""
        self._longest_ns: int | None = None
        self._recent: dict[int, int] = {}
        """Counts of the last minute by range, from which the quantiles are computed."""
        self._slice: dict[int, int] = {}
        self._past: deque[tuple[dict[int, int], int | None]] = deque(maxlen=SLICES - 1)
        """Counts by range and longest duration of each completed slice."""

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
        """Begin a new slice."""
        if len(self._past) == self._past.maxlen:
            self._forget(self._past[0][0])
        self._past.append((self._slice, self._longest_ns))
        self._slice, self._longest_ns = {}, None

    def quantiles(self) -> Quantiles | None:
        """Quantiles of the last minute; None without durations."""
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
        """Subtract the counts of a slice that is more than a minute old."""
        for place, count in counts.items():
            self._recent[place] -= count
            if not self._recent[place]:
                del self._recent[place]

    def cumulative(self) -> list[int]:
        """Cumulative counts since the start, for each of `BOUNDS_NS` and in total."""
        return list(accumulate(self.counts))


def _quantile(counts: list[tuple[int, int]], due: float) -> int:
    """The upper end of the range with the duration of rank `due`. `counts` are sorted by range."""
    seen = 0
    for place, count in counts:
        seen += count
        if seen >= due and place < len(BOUNDS_NS):
            return BOUNDS_NS[place]
    return BOUNDS_NS[-1]
