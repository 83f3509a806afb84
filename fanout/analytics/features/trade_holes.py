"""Until when trades of one instrument may be missing.

A hole ends at the first record with a time behind what was lost. A gap of trade ids is a hole, too,
until each of its ids turns out to have been no trade: then it never was one.
"""

from __future__ import annotations

from typing import Final

from fanout.analytics.features.windows import NEVER
from fanout.protocol.constants import Absence, GapState
from fanout.protocol.records import Gap

_LOST: Final = int(Absence.LOST)
_WARMING_UP: Final = int(Absence.WARMING_UP)

MAX_GAPS: Final = 64
"""Most open gaps remembered. Beyond it, the oldest counts as lost for good."""


class _Open:
    """An open gap: the runs of its ids that may be trades, and when it ended."""

    __slots__ = ("end_ns", "runs")

    def __init__(self, first_id: int, last_id: int) -> None:
        self.runs = [(first_id, last_id)]
        self.end_ns = NEVER

    def has(self, first_id: int, last_id: int) -> bool:
        return any(first <= last_id and first_id <= last for first, last in self.runs)

    def take_out(self, first_id: int, last_id: int) -> None:
        parts = [
            part
            for first, last in self.runs
            for part in ((first, min(last, first_id - 1)), (max(first, last_id + 1), last))
        ]
        self.runs = [(first, last) for first, last in parts if first <= last]


class TradeHoles:
    """The holes in the trades of one instrument. Before the stream has begun, there is one."""

    __slots__ = ("_end_ns", "_gaps", "_why")

    def __init__(self) -> None:
        self._end_ns = NEVER
        self._why = _WARMING_UP
        self._gaps: list[_Open] = []

    @property
    def is_open(self) -> bool:
        """Whether the newest hole has not ended yet."""
        return self.end_ns == NEVER

    @property
    def end_ns(self) -> int:
        """When the newest hole ended, `NEVER` before."""
        return max([self._end_ns, *(each.end_ns for each in self._gaps)])

    @property
    def why(self) -> int:
        """What the newest hole makes of a window that reaches into it."""
        return self._why if self.end_ns == self._end_ns else _LOST

    def lose(self) -> None:
        """Trades may be missing."""
        if self._end_ns != NEVER:
            self._end_ns, self._why = NEVER, _LOST

    def settle(self, now_ns: int) -> None:
        """A record with a time has come: the holes are over."""
        self._end_ns = min(self._end_ns, now_ns)
        for each in self._gaps:
            each.end_ns = min(each.end_ns, now_ns)

    def take(self, gap: Gap) -> None:
        """A report on trade ids has come."""
        if gap.state is GapState.OPEN:
            self._gaps.append(_Open(gap.first_id, gap.last_id))
            if len(self._gaps) > MAX_GAPS:
                self._give_up(self._gaps[0])
            return
        found = [each for each in self._gaps if each.has(gap.first_id, gap.last_id)]
        for each in found:
            if gap.state is GapState.NO_TRADE:
                each.take_out(gap.first_id, gap.last_id)
            else:
                self._give_up(each)
        self._gaps = [each for each in self._gaps if each.runs]
        if not found and gap.state is GapState.UNRECOVERABLE:
            self.lose()

    def fill(self, trade_id: int) -> None:
        """A trade was back-filled. If no open gap has it, nothing has told that it was missing."""
        if not any(each.has(trade_id, trade_id) for each in self._gaps):
            self.lose()

    def _give_up(self, gap: _Open) -> None:
        self._gaps.remove(gap)
        if gap.end_ns > self._end_ns:
            self._end_ns, self._why = gap.end_ns, _LOST
