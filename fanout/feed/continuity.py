"""The trade ids of one instrument: which were seen, which are missing, and what became of those.

Trade ids follow each other without a hole, so a skipped id is a trade that did not come. Several
connections may bring the same trades, and a venue may send them out of order. So a hole is reported
only when it has stood for a moment. From then on it is a *gap*. Each id of a gap is reported twice:
when the gap opens, and when it is closed as back-filled, as never a trade, or as lost.

    seen ... next_id          skip        0.5 s           late, REST, or given up
    1 2 3    4         --7--> hole 4..6 -------> gap 4..6 ------------------------> closed

Pure: ids and seconds in, ranges out.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

import msgspec

from fanout.protocol.constants import GapState

WINDOW_S: Final = 0.5
"""How long a hole may be filled by what is merely late: out of order, or by another connection."""

MAX_RUNS: Final = 1_024
"""Most runs of missing ids that are remembered, per instrument. Beyond that, the oldest hole is
given up, and an id that would split a hole is not taken from the stream: REST may still have it."""

Range = tuple[int, int]
"""First and last id, both included."""


class Gap(msgspec.Struct, frozen=True):
    """The state of a range of ids, to be reported."""

    first_id: int
    last_id: int
    state: GapState


class _Hole(msgspec.Struct):
    first_id: int
    last_id: int
    noticed_s: float
    is_told: bool
    missing: list[Range]
    spent: list[Range] = []
    """Ids in it that the venue has since said were never trades."""

    def spend(self, trade_id: int) -> bool:
        """Note an id that was never a trade; False if that would be one run too many."""
        if self.spent and self.spent[-1][1] == trade_id - 1:
            self.spent[-1] = (self.spent[-1][0], trade_id)
        elif len(self.spent) < MAX_RUNS:
            self.spent.append((trade_id, trade_id))
        else:
            return False
        return True


class Continuity:
    """What is known of one instrument's ids."""

    def __init__(self) -> None:
        self.next_id: int | None = None
        """The id that comes next; None before the first."""
        self._holes: list[_Hole] = []
        self._run_count = 0

    @property
    def gaps(self) -> list[Range]:
        """The gaps that were reported and are open."""
        return [(each.first_id, each.last_id) for each in self._holes if each.is_told]

    @property
    def next_due_s(self) -> float:
        """When `due` has a gap to report, unless the missing ids come before."""
        untold = [each.noticed_s for each in self._holes if not each.is_told]
        return min(untold) + WINDOW_S if untold else inf

    def is_missing(self, trade_id: int, gap: Range) -> bool:
        """Whether an id is in this gap and has not come since."""
        hole = self._hole_of(trade_id)
        if hole is None or not hole.is_told:
            return False
        return (hole.first_id, hole.last_id) == gap

    def is_new(self, trade_id: int) -> bool:
        """Whether an id has not been seen, and can be taken."""
        if self.next_id is None or trade_id >= self.next_id:
            return True
        return self._hole_of(trade_id) is not None and self._run_count < MAX_RUNS

    def take(self, trade_id: int, now_s: float, *, is_spent: bool = False) -> list[Gap]:
        """Note an id that is new: a trade's, or one that the venue spent without a trade. Gives the
        gap that it completes, if any."""
        if trade_id == self.next_id:  # nearly always, and so it costs a tenth of a microsecond
            self.next_id = trade_id + 1
            return []
        if self.next_id is None or trade_id >= self.next_id:
            told = self._skip_to(trade_id, now_s)
            self.next_id = trade_id + 1
            return told
        hole = self._hole_of(trade_id)
        assert hole is not None, "only new ids are taken"
        if is_spent and not hole.spend(trade_id):
            return []  # it stays missing: the venue's records will say the same of it
        runs = len(hole.missing)
        hole.missing = without(hole.missing, (trade_id,))
        self._run_count += len(hole.missing) - runs
        return [] if hole.missing else self._close(hole, ())

    def due(self, now_s: float) -> list[Gap]:
        """The gaps to report now: what is missing of holes that have stood for long enough."""
        told: list[Gap] = []
        for hole in list(self._holes):
            if not hole.is_told and now_s >= hole.noticed_s + WINDOW_S:
                told += self._tell(hole)
        return told

    def settle(self, gap: Range, spent: Sequence[Range]) -> list[Gap]:
        """Close a gap that nothing more will come for. Gives what became of each of its ids:
        filled, never a trade (those in `spent`), or lost. Nothing if it is closed already."""
        for hole in self._holes:
            if hole.is_told and (hole.first_id, hole.last_id) == gap:
                return self._close(hole, spent)
        return []

    def begin_anew(self, next_id: int) -> list[Gap]:
        """Another numbering begins. Nothing more will come for the old ids."""
        told = self.end()
        self.next_id = next_id
        return told

    def miss(self, trade_id: int, now_s: float) -> list[Gap]:
        """Note a trade that was made and cannot be taken from the stream. Gives the gaps that this
        closes."""
        if self.next_id is None or trade_id < self.next_id:
            return []
        told = self._skip_to(trade_id + 1, now_s)
        self.next_id = trade_id + 1
        return told

    def end(self) -> list[Gap]:
        """Nothing more will come: report what is missing, and close all that is open."""
        told = self.due(inf)
        while self._holes:
            told += self._close(self._holes[0], ())
        return told

    def _skip_to(self, trade_id: int, now_s: float) -> list[Gap]:
        if self.next_id is None or trade_id == self.next_id:
            return []
        first_id, last_id = self.next_id, trade_id - 1
        newest = self._holes[-1] if self._holes else None
        if (
            newest
            and not newest.is_told
            and newest.missing[-1][1] == newest.last_id == first_id - 1
        ):
            newest.missing[-1] = (newest.missing[-1][0], last_id)
            newest.last_id = last_id
            return []
        hole = _Hole(first_id, last_id, now_s, False, [(first_id, last_id)])
        self._holes.append(hole)
        self._run_count += 1
        return self._give_up_oldest() if self._run_count > MAX_RUNS else []

    def _give_up_oldest(self) -> list[Gap]:
        oldest = self._holes[0]
        told = [] if oldest.is_told else self._tell(oldest)
        return told + self._close(self._holes[0], ())

    def _tell(self, hole: _Hole) -> list[Gap]:
        """Make each run of what is missing in a hole a gap of its own."""
        place = self._holes.index(hole)
        gaps = [_Hole(*run, hole.noticed_s, True, [run]) for run in hole.missing]
        self._holes[place : place + 1] = gaps
        return [Gap(each.first_id, each.last_id, GapState.OPEN) for each in gaps]

    def _close(self, hole: _Hole, spent: Sequence[Range]) -> list[Gap]:
        self._holes.remove(hole)
        self._run_count -= len(hole.missing)
        if not hole.is_told:
            return []  # it was filled before it was reported
        told, at = [], hole.first_id
        for first, last in hole.missing:
            told += _filled(at, first - 1, hole.spent) + _unfilled(first, last, spent)
            at = last + 1
        return told + _filled(at, hole.last_id, hole.spent)

    def _hole_of(self, trade_id: int) -> _Hole | None:
        """The hole in which an id is missing. Holes are in the order of their ids."""
        place = bisect_right(self._holes, trade_id, key=lambda each: each.first_id) - 1
        if place < 0 or trade_id > self._holes[place].last_id:
            return None
        hole = self._holes[place]
        is_missing = any(first <= trade_id <= last for first, last in hole.missing)
        return hole if is_missing else None


def _filled(first: int, last: int, spent: Sequence[Range]) -> list[Gap]:
    """What became of ids that came."""
    return _but_for(spent, first, last, GapState.BACK_FILLED)


def _unfilled(first: int, last: int, spent: Sequence[Range]) -> list[Gap]:
    """What became of ids that did not come."""
    return _but_for(spent, first, last, GapState.UNRECOVERABLE)


def _but_for(spent: Sequence[Range], first: int, last: int, state: GapState) -> list[Gap]:
    """Ids in a state, but for those that are no trade's."""
    told, at = [], first
    for spent_first, spent_last in sorted(spent):
        low, high = max(spent_first, at), min(spent_last, last)
        if low <= high:
            told += _run(at, low - 1, state) + _run(low, high, GapState.NO_TRADE)
            at = high + 1
    return told + _run(at, last, state)


def _run(first: int, last: int, state: GapState) -> list[Gap]:
    return [Gap(first, last, state)] if first <= last else []


def without(ranges: Sequence[Range], ids: Iterable[int]) -> list[Range]:
    """Ranges, less some ids in them."""
    rest: list[Range] = []
    in_order = sorted(ids)
    for first, last in ranges:
        at = first
        for each in in_order:
            if at <= each <= last:
                rest.append((at, each - 1))
                at = each + 1
        rest.append((at, last))
    return [each for each in rest if each[0] <= each[1]]
