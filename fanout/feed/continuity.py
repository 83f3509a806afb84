"""Tracks the trade ids of one instrument: which arrived, which are missing, and the outcome.

Trade ids are consecutive, so an id shows whether earlier trades are missing. A skipped range is a
*hole*. Several connections may deliver the same trades, and a venue may send them out of order, so
a hole is not reported at once. If it persists for `WINDOW_S`, it is reported as an open *gap*.
Every reported id is reported once more when its gap closes: as filled, as never a trade, or as
lost. The reports are exact to the id.

    skipped ids -> hole --WINDOW_S--> gap OPEN -> BACK_FILLED, NO_TRADE, UNRECOVERABLE
                     '-- late trades --> filled, not reported

Pure: ids and seconds in, ranges out.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

import msgspec

from fanout.protocol.constants import GapState

WINDOW_S: Final = 0.5
"""How long late trades may fill a hole: out of order, or from another connection."""

MAX_RUNS: Final = 1_024
"""Most runs of missing ids remembered per instrument. Beyond it, the oldest hole closes as lost. A
late trade that would split a hole into more runs is dropped from the stream, and left to the
back-fill."""

_LOST: Final = GapState.UNRECOVERABLE

Range = tuple[int, int]
"""First and last id, both included."""


class Gap(msgspec.Struct, frozen=True):
    """A report about a range of ids."""

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
    """Ids in it that the venue has since declared to be no trades."""

    def spend(self, trade_id: int) -> bool:
        """Note that an id was no trade. False if that would exceed `MAX_RUNS`."""
        if self.spent and self.spent[-1][1] == trade_id - 1:
            self.spent[-1] = (self.spent[-1][0], trade_id)
        elif len(self.spent) < MAX_RUNS:
            self.spent.append((trade_id, trade_id))
        else:
            return False
        return True


class Continuity:
    """The ids of one instrument."""

    def __init__(self) -> None:
        self.next_id: int | None = None
        """The next expected id; None before the first."""
        self._holes: list[_Hole] = []
        self._run_count = 0

    @property
    def gaps(self) -> list[Range]:
        """The open gaps: reported and not closed yet."""
        return [(each.first_id, each.last_id) for each in self._holes if each.is_told]

    @property
    def next_due_s(self) -> float:
        """When `due` has a gap to report, unless the missing ids arrive before."""
        untold = [each.noticed_s for each in self._holes if not each.is_told]
        return min(untold) + WINDOW_S if untold else inf

    def is_missing(self, trade_id: int, gap: Range) -> bool:
        """Whether an id of the open gap `gap` is still missing."""
        hole = self._hole_of(trade_id)
        if hole is None or not hole.is_told:
            return False
        return (hole.first_id, hole.last_id) == gap

    def is_new(self, trade_id: int) -> bool:
        """Whether an id has not arrived yet and can be taken."""
        if self.next_id is None or trade_id >= self.next_id:
            return True
        return self._hole_of(trade_id) is not None and self._run_count < MAX_RUNS

    def take(self, trade_id: int, now_s: float, *, is_spent: bool = False) -> list[Gap]:
        """Note a new id. `is_spent` if the venue used it without a trade.

        Returns the reports that follow from it, such as a gap that it completes.
        """
        if trade_id == self.next_id:  # the usual case takes a tenth of a microsecond
            self.next_id = trade_id + 1
            return []
        if self.next_id is None or trade_id >= self.next_id:
            told = self._skip_to(trade_id, now_s)
            self.next_id = trade_id + 1
            return told
        hole = self._hole_of(trade_id)
        assert hole is not None, "only new ids are taken"
        if is_spent and not hole.spend(trade_id):
            return []  # it stays missing, and the back-fill will find that it was no trade
        runs = len(hole.missing)
        hole.missing = without(hole.missing, (trade_id,))
        self._run_count += len(hole.missing) - runs
        return [] if hole.missing else self._close(hole, ())

    def due(self, now_s: float) -> list[Gap]:
        """Report the missing ids of holes older than `WINDOW_S` as open gaps."""
        told: list[Gap] = []
        for hole in list(self._holes):
            if not hole.is_told and now_s >= hole.noticed_s + WINDOW_S:
                told += self._tell(hole)
        return told

    def settle(self, gap: Range, spent: Sequence[Range]) -> list[Gap]:
        """Close a gap after its back-fill.

        Returns the outcome of each id: filled, never a trade (ids in `spent`), or lost. Returns
        nothing if the gap is closed already.
        """
        for hole in self._holes:
            if hole.is_told and (hole.first_id, hole.last_id) == gap:
                return self._close(hole, spent)
        return []

    def resume(self, next_id: int, gaps: Sequence[Range]) -> list[Gap]:
        """Go on behind the ids of an earlier start. `gaps`, in ascending order, are open since
        then, and are reported again. Those that are not before `next_id` are of another numbering,
        and close as lost."""
        self.next_id = next_id
        told: list[Gap] = []
        for first_id, last_id in gaps:
            if last_id >= next_id:
                told += [Gap(first_id, last_id, each) for each in (GapState.OPEN, _LOST)]
                continue
            hole = _Hole(first_id, last_id, 0.0, True, [(first_id, last_id)])
            self._holes.append(hole)
            self._run_count += 1
            told.append(Gap(first_id, last_id, GapState.OPEN))
        while self._run_count > MAX_RUNS:
            told += self._give_up_oldest()
        return told

    def begin_anew(self, next_id: int | None) -> list[Gap]:
        """Restart at `next_id`, since the numbering is another one. Missing old ids are lost. With
        None the next id that comes is the first."""
        told = self.end()
        self.next_id = next_id
        return told

    def miss(self, trade_id: int, now_s: float) -> list[Gap]:
        """Note that the trade `trade_id` exists but the stream did not deliver it usably.

        Returns the reports that follow.
        """
        if self.next_id is None or trade_id < self.next_id:
            return []
        told = self._skip_to(trade_id + 1, now_s)
        self.next_id = trade_id + 1
        return told

    def end(self) -> list[Gap]:
        """Report all missing ids and close all gaps, since no more trades will arrive."""
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
        """Turn each run of missing ids in a hole into a gap."""
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
        """The hole in which an id is missing. Holes are sorted by id."""
        place = bisect_right(self._holes, trade_id, key=lambda each: each.first_id) - 1
        if place < 0 or trade_id > self._holes[place].last_id:
            return None
        hole = self._holes[place]
        is_missing = any(first <= trade_id <= last for first, last in hole.missing)
        return hole if is_missing else None


def _filled(first: int, last: int, spent: Sequence[Range]) -> list[Gap]:
    """The outcome of ids that arrived."""
    return _but_for(spent, first, last, GapState.BACK_FILLED)


def _unfilled(first: int, last: int, spent: Sequence[Range]) -> list[Gap]:
    """The outcome of ids that did not arrive."""
    return _but_for(spent, first, last, GapState.UNRECOVERABLE)


def _but_for(spent: Sequence[Range], first: int, last: int, state: GapState) -> list[Gap]:
    """Report ids in `state`, except those in `spent`, which were never trades."""
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
    """The ranges without some ids."""
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
