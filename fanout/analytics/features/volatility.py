"""The realised volatility of the mid, per square root of a second, over windows.

The mid is sampled at each multiple of `sample_ms` of record time: the mid after all records up to
that moment. A return is r = ln(m / m'), of a sample and the one before. Over a window,

    volatility = sqrt(sum of r^2 / (n * sample_ms / 1000))

where n is the number of returns that lie in it whole, from the first to the second sample. It is
that of a mid with independent increments, and its unit is 1 / sqrt(s): times the square root of a
horizon in seconds, it is the standard deviation of the relative change over that horizon. Samples
of a fixed distance make it independent of how often a venue sends, which a sum over all changes is
not.

A square is kept as an integer: r^2 times 2^96, cut off. For a double r^2 of 2^-44 or more that is
exact, and of a smaller one it loses less than 2^-96. So sums never drift, and fit 128 bits. The
logarithm is log1p of one correctly rounded quotient, of the distance of the mids and the lower one.
Its square has no sign, and a quotient by the higher one could be rounded to -1, of which there is
no logarithm.

A sample is absent where the mid is. A window that needs an absent sample is absent, for its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p, sqrt
from typing import Final

from fanout.analytics.features.windows import Windows
from fanout.protocol.constants import Absence

SCALE: Final = 2**96

_SCALE: Final = 2.0**96

NS_PER_S: Final = 1_000_000_000


def squared_return(twice_mid: int, twice_before: int) -> int:
    """The square of ln(m / m'), times `SCALE`, from twice the mids. They are positive."""
    size = log1p(abs(twice_mid - twice_before) / min(twice_mid, twice_before))
    return int(size * size * _SCALE)


class Volatility:
    """The volatility of one instrument, over each window of `windows_ns`, which rise.

    `show` says what the mid is from a moment on; a sample is taken once the time is beyond it. So a
    window of k samples' distances has k - 1 returns.
    """

    __slots__ = ("_before", "_mid", "_next_ns", "_step_ns", "_why", "_windows", "_windows_ns")

    def __init__(self, windows_ns: Sequence[int], sample_ns: int) -> None:
        # A return lies in a window if it begins there. So its end is in one that is shorter.
        self._windows = Windows([each - sample_ns + 1 for each in windows_ns], 1)
        self._windows_ns = list(windows_ns)
        self._step_ns = sample_ns
        self._next_ns = 0
        """When the next sample is due."""
        self._mid = 0
        """Twice the mid, 0 where it is absent."""
        self._why = int(Absence.NO_BOOK)
        self._before = 0
        """Twice the mid at the newest sample, likewise."""

    def begin(self, now_ns: int) -> None:
        """The first sample is the first from now on."""
        self._next_ns = self._windows.whole_ns = -(-now_ns // self._step_ns) * self._step_ns

    def show(self, now_ns: int, twice_mid: int, why: int) -> None:
        """From now on the mid is this one, or absent (0), and why."""
        if now_ns > self._next_ns:
            self.move(now_ns)
        self._mid = twice_mid
        self._why = why

    def move(self, now_ns: int) -> None:
        """Take the samples that are due before this moment. All but the first are like it."""
        if now_ns > self._next_ns and self._windows.lengths_ns:
            due_ns = self._next_ns
            self._next_ns = -(-now_ns // self._step_ns) * self._step_ns
            self._sample(due_ns)
        self._windows.move(now_ns)

    def _sample(self, due_ns: int) -> None:
        mid, before = self._mid, self._before
        if not mid:
            self._windows.whole_ns = self._next_ns
            self._windows.why = self._why
        elif before and mid != before:
            self._windows.add(due_ns, (squared_return(mid, before),))
        self._before = mid

    def absence(self, at: int, now_ns: int) -> int:
        """Why window `at` has no value; 0 if it has one."""
        return self._windows.absence(at, now_ns)

    def value(self, at: int, now_ns: int) -> float:
        """The volatility over window `at`, in 1 / sqrt(s). `move` has been called, and `absence` is
        0."""
        step_ns = self._step_ns
        first = -(-(now_ns - self._windows_ns[at]) // step_ns)
        returns = self._next_ns // step_ns - 1 - first
        return sqrt(self._windows.sums[at][0] * NS_PER_S / (SCALE * returns * step_ns))
