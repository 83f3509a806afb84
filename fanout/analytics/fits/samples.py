"""Features and their labels: what the mid did within a horizon after each row.

Rows come at every multiple of `every_ns`. The label of the row at t is mid(t + h) / mid(t) - 1. A
row is used if

    all features and the mid are there at t,
    the mid is there at t + h, and at every row between,
    no row is missing from t to t + h, and
    no hole was reported meanwhile: a Loss, a restart, an instrument that was not LIVE.

The last condition is for holes between two rows, which the rows do not show. `Samples.hole` reports
one. Rows that are left out are counted by reason: a label over a hole would be a return that nobody
could have held a position through with these features.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from fanout.analytics.errors import FitError
from fanout.analytics.features.column import Column
from fanout.protocol.feature_rows import FeatureRow

HORIZON_NS: Final = 15_000_000_000
EVERY_NS: Final = 1_000_000_000

NO_END: Final = "no row at the end of the horizon"
HOLE: Final = "a hole within the horizon"
BACK: Final = "not later than a row before"


class _Waiting(NamedTuple):
    """A row whose label is not known yet."""

    time_ns: int
    mid: float
    values: list[float]
    holes: int


class Samples:
    """Rows of one instrument, and their labels, in the order of time.

    `columns` are the names of the rows' columns, `features` those of the fit. Raises
    `UnknownColumnError`, and `FitError` for no feature, one that is named twice, and a horizon that
    is no multiple of `every_ns`, at least one.
    """

    def __init__(
        self,
        columns: Sequence[str],
        features: Sequence[str],
        *,
        horizon_ns: int = HORIZON_NS,
        every_ns: int = EVERY_NS,
    ) -> None:
        if horizon_ns <= 0 or every_ns <= 0 or horizon_ns % every_ns:
            raise FitError(
                f"a horizon of {horizon_ns / 1e9:g} s and rows every {every_ns / 1e9:g} s: both "
                "above 0, and the horizon a multiple"
            )
        if not features or len(set(features)) < len(features):
            raise FitError(f"columns {', '.join(features) or 'none'}: name each once, at least one")
        self.features = tuple(features)
        self.horizon_ns = horizon_ns
        self.every_ns = every_ns
        self.left_out: Counter[str] = Counter()
        self._columns = [Column(columns, each) for each in features]
        self._mid = Column(columns, "mid")
        self._waiting: deque[_Waiting] = deque()
        self._holes = 0
        self._last_ns: int | None = None
        self.times = array("q")
        """Of the rows that are used, in unix ns."""
        self.values = array("d")
        """Their features, row after row."""
        self.labels = array("d")
        """Their returns. 0.0001 is a basis point."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def overlap(self) -> int:
        """How many labels share a moment."""
        return self.horizon_ns // self.every_ns

    def hole(self) -> None:
        """Something is missing between the row before and the next one."""
        self._holes += 1

    def add(self, row: FeatureRow) -> None:
        """Take the next row. Raises `FitError` for a time that is no multiple of `every_ns`."""
        if row.time_ns % self.every_ns:
            raise FitError(
                f"a row at {row.time_ns} ns is at no multiple of {self.every_ns} ns: take the "
                "features at that interval"
            )
        if not self._is_next(row.time_ns):
            return
        mid = self._mid.value(row)
        if mid is None or mid <= 0:
            self._holes += 1
            why = self._mid.why(row) if mid is None else "mid is not above 0"
            self.left_out[why] += 1
            return
        self._label(row.time_ns, mid)
        self._wait(row, mid)

    def add_all(self, rows: Iterable[FeatureRow]) -> None:
        """Take rows, and end."""
        for each in rows:
            self.add(each)
        self.end()

    def end(self) -> None:
        """No more rows will come: those without a label are left out."""
        self.left_out[NO_END] += len(self._waiting)
        self._waiting.clear()
        self.left_out = +self.left_out

    def _is_next(self, time_ns: int) -> bool:
        """Note the time of a row. A row that is missing before it is a hole. One that is not later
        than a row before, since a clock was set back, is left out."""
        last_ns = time_ns - self.every_ns if self._last_ns is None else self._last_ns
        if time_ns != last_ns + self.every_ns:
            self._holes += 1
        if time_ns <= last_ns:
            self.left_out[BACK] += 1
            return False
        self._last_ns = time_ns
        return True

    def _label(self, time_ns: int, mid: float) -> None:
        """Give the row of a horizon ago its label, and leave out those that will get none."""
        waiting, begin_ns = self._waiting, time_ns - self.horizon_ns
        while waiting and waiting[0].time_ns <= begin_ns:
            row = waiting.popleft()
            if row.holes == self._holes:
                self.times.append(row.time_ns)
                self.values.extend(row.values)
                self.labels.append(mid / row.mid - 1)
            else:
                self.left_out[HOLE] += 1

    def _wait(self, row: FeatureRow, mid: float) -> None:
        values = []
        for column in self._columns:
            value = column.value(row)
            if value is None:
                self.left_out[column.why(row)] += 1
                return
            values.append(value)
        self._waiting.append(_Waiting(row.time_ns, mid, values, self._holes))
