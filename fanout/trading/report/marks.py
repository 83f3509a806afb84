"""Marks: the best prices that a run saw, as far as its report needs them.

A report has to know the mid at each fill, and some seconds after it. So a `Mark` is reported

    before a fill             the best prices that the record with the fill met,
    a horizon after a fill    the best prices of that moment, as soon as it is over,
    when they change          at most every `EVERY_NS`, and at once when they are lost or back

and says since when the prices are those. Between the first two the mid is exact. In between it is
at most `EVERY_NS` old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from fanout.protocol.book_records import Level
from fanout.trading.reports import Fill, Mark, Report

HORIZONS_NS: Final = (1_000_000_000, 5_000_000_000, 30_000_000_000)
"""How long after a fill the mid is looked at. They rise."""

EVERY_NS: Final = 100_000_000

NEVER: Final = float("inf")

_Prices = tuple[int | None, int | None]

_UNKNOWN: Final[_Prices] = (None, None)


class Marks:
    """The marks of one symbol. One may come with the first record that is later than `due_ns`."""

    __slots__ = (
        "_due",
        "_horizon_ns",
        "_marked",
        "_marked_ns",
        "_prices",
        "_since_ns",
        "_symbol",
        "due_ns",
    )

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._prices = _UNKNOWN
        self._since_ns = 0
        self._marked: tuple[_Prices, int] = (_UNKNOWN, 0)
        """The prices of the newest mark, and since when they were those."""
        self._marked_ns = 0
        self._due: list[deque[int]] = [deque() for _ in HORIZONS_NS]
        self._horizon_ns: float = NEVER
        """The end of the next horizon."""
        self.due_ns: float = NEVER

    def before(self, reports: Sequence[Report]) -> list[Report]:
        """The mark in front of the reports of a record, where there are fills among them."""
        times = {
            each.time_ns for each in reports if type(each) is Fill and each.symbol == self._symbol
        }
        if not times:
            return []
        for time_ns in sorted(times):
            for due, horizon_ns in zip(self._due, HORIZONS_NS, strict=True):
                due.append(time_ns + horizon_ns)
        self._find_horizon()
        return [self._mark(reports[0].time_ns)] if self._is_behind else []

    def after(
        self,
        top: tuple[Level | None, Level | None, int, str],
        now_ns: int,
    ) -> list[Report]:
        """The marks behind a record. `top` are the best levels after it, the position, and why
        fills are frozen."""
        said: list[Report] = []
        if now_ns > self._horizon_ns:
            self._end_horizons(now_ns)
            said.append(self._mark(now_ns))
        bid, ask, _, frozen_why = top
        prices = _UNKNOWN
        if bid is not None and ask is not None and not frozen_why:
            prices = (bid.price, ask.price)
        if prices != self._prices:
            self._prices, self._since_ns = prices, now_ns
        if self._prices != self._marked[0]:
            is_lost_or_known = _UNKNOWN in (self._prices, self._marked[0])
            if is_lost_or_known or now_ns - self._marked_ns >= EVERY_NS:
                said.append(self._mark(now_ns))
        self._look()
        return said

    @property
    def _is_behind(self) -> bool:
        return self._marked != (self._prices, self._since_ns)

    def _mark(self, now_ns: int) -> Mark:
        self._marked, self._marked_ns = (self._prices, self._since_ns), now_ns
        bid, ask = self._prices
        return Mark(time_ns=now_ns, symbol=self._symbol, bid=bid, ask=ask, since_ns=self._since_ns)

    def _end_horizons(self, now_ns: int) -> None:
        for due in self._due:
            while due and due[0] < now_ns:
                due.popleft()
        self._find_horizon()

    def _find_horizon(self) -> None:
        self._horizon_ns = min([due[0] for due in self._due if due], default=NEVER)

    def _look(self) -> None:
        self.due_ns = self._horizon_ns
        if self._prices != self._marked[0]:
            self.due_ns = min(self.due_ns, self._marked_ns + EVERY_NS - 1)
