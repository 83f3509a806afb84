"""Sums over windows of time, and values as of some time ago, kept step by step.

Time is that of the records, in unix ns, and never goes back: the caller sees to it. Each call takes
the time of the moment, `now_ns`. An entry costs a constant amount of work for each window or lag,
however long that is: it moves from the stage of one window to that of the next longer one, and its
amounts leave the sum of the window that it leaves.

    newest -> stage 0: (now - w0, now] -> stage 1: (now - w1, now - w0] -> ... -> gone

The sums are integers, so they are the same as if they had been added up anew.

A *hole* is a time of which something is unknown. A window that reaches into it has no value. So a
series keeps the end of the newest hole and the reason of it; the start of the stream is the end of
the first one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from fanout.analytics.features.settings import MAX_ENTRIES
from fanout.protocol.constants import Absence

NEVER: Final = 2**63 - 1
"""The end of a hole that has not ended."""

_OTHER: Final = int(Absence.OTHER)


class Windows:
    """Sums of `width` amounts over (now - w, now], for each w of `lengths_ns`, which rise.

    `sums[i][j]` is the sum of amount j in window i, once `move` was called. At most `MAX_ENTRIES`
    changes are kept, those of one moment as one. Beyond it the oldest is dropped, and the windows
    that would need it are absent, with the reason OTHER.
    """

    __slots__ = ("_count", "_cut_ns", "_stages", "lengths_ns", "sums", "whole_ns", "why")

    def __init__(self, lengths_ns: Sequence[int], width: int) -> None:
        self.lengths_ns = list(lengths_ns)
        self.sums = [[0] * width for _ in lengths_ns]
        self.whole_ns = NEVER
        """Everything after this moment is in the series."""
        self.why = int(Absence.WARMING_UP)
        """Why a window that begins before it has no value."""
        self._stages: list[deque[tuple[int, tuple[int, ...]]]] = [deque() for _ in lengths_ns]
        self._count = 0
        self._cut_ns = 0
        """The time of the newest entry that was dropped for want of room."""

    def add(self, now_ns: int, amounts: tuple[int, ...]) -> None:
        """Count these amounts from this moment on."""
        self.move(now_ns)
        if not self._stages:
            return
        for total in self.sums:
            for at, amount in enumerate(amounts):
                total[at] += amount
        newest = self._stages[0]
        if newest and newest[-1][0] == now_ns:
            amounts = tuple(map(sum, zip(newest.pop()[1], amounts, strict=True)))
        elif self._count == MAX_ENTRIES:
            self._drop_oldest()
        else:
            self._count += 1
        newest.append((now_ns, amounts))

    def move(self, now_ns: int) -> None:
        """Let go of what is no longer in its window."""
        stages = self._stages
        last = len(stages) - 1
        for at, stage in enumerate(stages):
            start_ns = now_ns - self.lengths_ns[at]
            while stage and stage[0][0] <= start_ns:
                entry = stage.popleft()
                self._subtract(at, entry[1])
                if at < last:
                    stages[at + 1].append(entry)
                else:
                    self._count -= 1

    def absence(self, at: int, now_ns: int) -> int:
        """Why window `at` has no value at this moment; 0 if it has one."""
        start_ns = now_ns - self.lengths_ns[at]
        if start_ns < self.whole_ns:
            return self.why
        return _OTHER if start_ns < self._cut_ns else 0

    def _subtract(self, at: int, amounts: tuple[int, ...]) -> None:
        total = self.sums[at]
        for which, amount in enumerate(amounts):
            total[which] -= amount

    def _drop_oldest(self) -> None:
        oldest = max(at for at, stage in enumerate(self._stages) if stage)
        self._cut_ns, amounts = self._stages[oldest].popleft()
        for at in range(oldest, len(self._stages)):
            self._subtract(at, amounts)


class Sample(NamedTuple):
    """A value since a moment. It is None where it is absent, and then `why` is the code of the
    `Absence`."""

    time_ns: int
    value: float | None
    why: int


class Lagged:
    """A value as it was some time ago, for each lag of `lags_ns`, which rise.

    `shown[i]` is the newest sample at or before now - lag i, once `move` was called. A sample of
    the same moment replaces the one before it. At most `MAX_ENTRIES` samples are kept. Those for
    which there is no room become one that is absent, with the reason OTHER.
    """

    __slots__ = ("_count", "_lags_ns", "_newest", "_stages", "shown")

    def __init__(self, lags_ns: Sequence[int]) -> None:
        self._lags_ns = list(lags_ns)
        nothing = Sample(0, None, int(Absence.WARMING_UP))
        self.shown = [nothing for _ in lags_ns]
        self._stages: list[deque[Sample]] = [deque() for _ in lags_ns]
        """Stage i has the samples that lag i will show, and lag i - 1 has shown or shows."""
        self._newest = nothing
        self._count = 0

    def add(self, now_ns: int, value: float | None, why: int) -> None:
        """Take a value, which holds from this moment on."""
        newest = self._newest
        if newest.value == value and newest.why == why:
            return
        self.move(now_ns)
        if not self._stages:
            return
        stage = self._stages[0]
        sample = Sample(now_ns, value, why)
        if stage and stage[-1].time_ns == now_ns:
            stage[-1] = sample
        else:
            if self._count >= MAX_ENTRIES:
                if newest.why == _OTHER:
                    return
                sample = Sample(now_ns, None, _OTHER)
            stage.append(sample)
            self._count += 1
        self._newest = sample

    def move(self, now_ns: int) -> None:
        """Bring `shown` to this moment."""
        stages, shown = self._stages, self.shown
        last = len(stages) - 1
        for at, stage in enumerate(stages):
            until_ns = now_ns - self._lags_ns[at]
            while stage and stage[0].time_ns <= until_ns:
                sample = shown[at] = stage.popleft()
                if at < last:
                    stages[at + 1].append(sample)
                else:
                    self._count -= 1
