"""Looks, when it is time, for ids that are missing and instruments that are quiet. Nothing else is
done on a timer: it sleeps until the earliest of what could be due."""

from collections.abc import Callable, Sequence
from math import inf

import trio

from fanout.feed.liveness import Change, Liveness
from fanout.feed.merge import Merge
from fanout.protocol.records import Gap


class Watch:
    """Of one feed."""

    def __init__(self, merge: Merge, liveness: Liveness) -> None:
        self._merge = merge
        self._liveness = liveness
        self._look_at_s = inf
        self._sooner = trio.Event()

    def wake(self) -> None:
        """Something changed: see to it that it looks in time."""
        if self._next_due_s() < self._look_at_s:
            self._sooner.set()

    async def run(
        self,
        tell_gaps: Callable[[Sequence[Gap]], None],
        tell_quiet: Callable[[Sequence[Change]], None],
    ) -> None:
        """Hand on what is found, until cancelled."""
        while True:
            self._look_at_s = self._next_due_s()
            with trio.move_on_at(self._look_at_s):
                await self._sooner.wait()
            self._sooner = trio.Event()
            now_s = trio.current_time()
            tell_gaps(self._merge.due(now_s))
            tell_quiet(self._liveness.check(now_s))

    def _next_due_s(self) -> float:
        return min(self._merge.next_due_s, self._liveness.next_due_s)
