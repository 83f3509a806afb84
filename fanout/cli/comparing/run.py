"""Runs a comparison: reads both streams until the end, and lets late trades find their partners.

Where both streams are live, one is later than the other by the time at which its records come here.
Where one is on disk, that would compare a disk with a network. The times at which each service
had the records are taken instead. A stream on disk that is ahead of the other one waits for it, so
that little has to be kept.
"""

import time
from collections.abc import Callable
from typing import Final

import trio

from fanout.cli.comparing.sources import Opened
from fanout.cli.outcome import say
from fanout.cli.source import told
from fanout.cli.termination import end_on_signals
from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Received,
    Restarted,
    UnknownSymbolError,
)
from fanout.compare import Clock, Comparison

HOLD_S: Final = 0.05
"""How often a stream on disk that is ahead looks where the other stream is, at the least."""

LEAD_NS: Final = 10**9
"""How far a stream on disk may be ahead of the other one: what it brings meanwhile is kept."""

QUIET_S: Final = 0.5
"""A stream that brought nothing for so long, and is connected, has brought everything until now. A
service sends at least once a second."""


class Comparing:
    """Two open streams and their comparison."""

    def __init__(
        self,
        opened: tuple[Opened, Opened],
        comparison: Comparison,
        *,
        clock: Clock,
        within_s: float,
        save: Callable[[], None],
        received_unit_ns: int = 1,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`save` writes what was found since its last call. The times at which services had their
        records are compared in units of `received_unit_ns`."""
        self._opened = opened
        self._comparison = comparison
        self._clock = clock
        self._within_s = within_s
        self._lead_ns = min(int(within_s * 1e9) // 2, LEAD_NS)
        self._save = save
        self._received_unit_ns = received_unit_ns
        self._wall_ns = wall_ns
        self._has_ended = [False, False]
        self._is_held = [False, False]
        """Whether a stream on disk waits for the other one."""
        self._newest: list[tuple[int, float] | None] = [None, None]
        """The time of each stream's newest record, by the comparison's clock and by trio's."""
        self._is_closed = False
        self._over, self._settled = trio.Event(), trio.Event()
        self._moved = trio.Event()
        """Set, and replaced, when a stream's time has moved."""

    async def run(self, for_s: float) -> None:
        """Compare for `for_s`, until a signal, or until a stream ends. Then wait for trades that
        only one stream has, at most as long as one may be later."""
        ending = trio.CancelScope()
        waiting = trio.CancelScope()
        for side in (0, 1):
            self._comparison.serve(side, self._opened[side].header)
            if self._clock is Clock.ARRIVAL:
                self._reach(side, _now_ns())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_on_signals, ending, waiting)
            for side in (0, 1):
                nursery.start_soon(self._read, side)
            nursery.start_soon(self._tick)
            ending.deadline = trio.current_time() + for_s
            with ending:
                await self._over.wait()
            self._close()
            waiting.deadline = trio.current_time() + self._within_s
            with waiting:
                await self._settled.wait()
            nursery.cancel_scope.cancel()

    def _close(self) -> None:
        self._comparison.close()
        self._is_closed = True
        self._look()

    def _look(self) -> None:
        """Find out whether nothing can be compared any more, and nothing waits."""
        if self._is_closed:
            if not self._comparison.is_waiting:
                self._settled.set()
        elif any(self._has_ended) and (all(self._has_ended) or not self._comparison.is_waiting):
            self._over.set()

    async def _read(self, side: int) -> None:
        opened = self._opened[side]
        stream, header = opened.stream, opened.header
        try:
            async for record in stream:
                if stream.header is not None and stream.header is not header:
                    header = stream.header
                    self._comparison.serve(side, header)
                self._take(side, record)
                self._look()
                if opened.is_kept:
                    await self._hold(side)
        except (DisconnectedError, UnknownSymbolError) as error:
            say(f"{'AB'[side]} is over: {error}")
        self._has_ended[side] = True
        self._comparison.end(side)
        self._look()

    def _take(self, side: int, record: Received) -> None:
        if isinstance(record, Disconnected | Restarted):
            say(told(self._opened[side].stream.url, record))
            self._comparison.take(side, record, 0)
            return
        newest = self._newest[side]
        if self._clock is Clock.ARRIVAL:
            at_ns = _now_ns()
        else:
            at_ns = getattr(record, "received_ns", 0) or (newest[0] if newest else 0)
            # No service has a record of tomorrow: its clock was wrong for a moment.
            at_ns = min(at_ns, self._wall_ns())
            at_ns -= at_ns % self._received_unit_ns
        if at_ns:
            self._newest[side] = at_ns, trio.current_time()
        before_ns = self._comparison.now_ns(side)
        self._comparison.take(side, record, at_ns)
        if any(self._is_held) and self._comparison.now_ns(side) != before_ns:
            self._moved.set()
            self._moved = trio.Event()

    def _reach(self, side: int, now_ns: int) -> None:
        self._newest[side] = now_ns, trio.current_time()
        self._comparison.advance(side, now_ns)

    async def _hold(self, side: int) -> None:
        """Wait while this stream is ahead of the other one."""
        while not self._has_ended[1 - side] and self._is_ahead(side):
            self._is_held[side] = True
            with trio.move_on_after(HOLD_S):
                await self._moved.wait()
        self._is_held[side] = False

    def _is_ahead(self, side: int) -> bool:
        own, other = self._comparison.now_ns(side), self._comparison.now_ns(1 - side)
        return own is not None and (other is None or own - other > self._lead_ns)

    async def _tick(self) -> None:
        """Let the time of a quiet stream go on, and write what was found."""
        while True:
            await trio.sleep(QUIET_S)
            self._save()
            for side in (0, 1):
                newest = self._newest[side]
                if newest is None or self._has_ended[side] or self._is_held[side]:
                    continue
                at_ns, at_s = newest
                quiet_s = trio.current_time() - at_s
                if quiet_s >= QUIET_S:
                    self._comparison.advance(side, at_ns + int(quiet_s * 1e9))
            self._look()


def _now_ns() -> int:
    return int(trio.current_time() * 1e9)
