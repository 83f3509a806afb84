"""The feed's only short timer. It waits until a gap is due for a report, or an instrument has been
quiet for too long."""

from math import inf

import msgspec
import trio

from fanout.feed.liveness import Change, Liveness
from fanout.feed.sequences import Sequences
from fanout.protocol.records import Gap


class Due(msgspec.Struct, frozen=True):
    """Gaps and changes of state that are due now. `quiet` has instruments without a trade for too
    long, whatever else they bring."""

    gaps: list[Gap]
    changes: list[Change]
    quiet: set[int]


class Watch:
    """The timer of one feed."""

    def __init__(self, sequences: Sequences, liveness: Liveness) -> None:
        self._sequences = sequences
        self._liveness = liveness
        self._look_at_s = inf
        self._sooner = trio.Event()

    def wake(self) -> None:
        """Recompute the timer after a change."""
        if self._next_due_s() < self._look_at_s:
            self._sooner.set()

    async def next(self) -> Due:
        """Wait for the next due time, and return the gaps and changes due then.

        Both are empty if the timer was recomputed meanwhile.
        """
        self._look_at_s = self._next_due_s()
        with trio.move_on_at(self._look_at_s):
            await self._sooner.wait()
        self._sooner = trio.Event()
        now_s = trio.current_time()
        changes = self._liveness.check(now_s)
        quiet = changes
        if self._liveness.trades is not self._liveness:
            quiet = changes + self._liveness.trades.check(now_s)
        return Due(self._sequences.due(now_s), changes, {each.index for each in quiet})

    def _next_due_s(self) -> float:
        return min(
            self._sequences.next_due_s,
            self._liveness.next_due_s,
            self._liveness.trades.next_due_s,
        )
