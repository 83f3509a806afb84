"""How long things take: counted in ranges, so that to note one costs a look into a table.

Twenty ranges for each power of ten, so a quantile is right to a seventh. There are as many below
zero as above: a clock that is behind makes delays negative, and that is to be seen.
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
"""Where a range ends, and that is still in it. What is longer is in one more."""


class Histogram:
    """Durations since the start by range, and quantiles of the last minute. The owner calls `turn`
    every `SLICE_S`."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.count = 0
        self.sum_ns = 0
        """Of those above zero."""
        self._longest_ns: int | None = None
        self._past: deque[tuple[list[int], int | None]] = deque(
            [([0] * len(self.counts), None)], maxlen=SLICES
        )

    def add(self, duration_ns: int) -> None:
        self.counts[bisect_left(BOUNDS_NS, duration_ns)] += 1
        self.count += 1
        if duration_ns > 0:
            self.sum_ns += duration_ns
        if self._longest_ns is None or duration_ns > self._longest_ns:
            self._longest_ns = duration_ns

    def turn(self) -> None:
        """Begin another slice."""
        self._past.append((self.counts.copy(), self._longest_ns))
        self._longest_ns = None

    def quantiles(self) -> Quantiles | None:
        """Of the last minute; None if there was nothing."""
        before, _ = self._past[0]
        counts = [now - then for now, then in zip(self.counts, before, strict=True)]
        longest = [each for _, each in list(self._past)[1:]] + [self._longest_ns]
        known = [each for each in longest if each is not None]
        if not known:
            return None
        longest_ns = max(known)
        return Quantiles(
            count=sum(counts),
            p50_ns=min(_quantile(counts, 0.5), longest_ns),
            p99_ns=min(_quantile(counts, 0.99), longest_ns),
            max_ns=longest_ns,
        )

    def cumulative(self) -> list[int]:
        """How many since the start took so long or less: by `BOUNDS_NS`, and in all."""
        return list(accumulate(self.counts))


def _quantile(counts: list[int], part: float) -> int:
    """The end of the range in which the quantile is."""
    due = part * sum(counts)
    seen = 0
    for bound, count in zip(BOUNDS_NS, counts, strict=False):
        seen += count
        if seen >= due:
            return bound
    return BOUNDS_NS[-1]
