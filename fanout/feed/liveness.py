"""Whether each instrument is alive: connecting when subscribed, live at its first trade, stale when
it has been quiet for longer than is plausible for it, and live again.

An acknowledgement proves nothing, and a connection that is up proves nothing about one symbol on
it. What proves a subscription is a trade. How long an instrument may be quiet is its own affair:
some trade a hundred times a second, some once a minute. So the limit is a multiple of its recent
times between trades, with a floor below which silence says nothing.

Pure: seconds in, changes out.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

import msgspec

from fanout.protocol.constants import FeedState

FLOOR_S: Final = 12.0
"""No instrument is stale before it has been quiet for this long: longer than it takes to notice
that a connection is dead, which says more."""

FACTOR: Final = 10.0
"""So many times its usual pause is not plausible: were trades independent, it would happen once in
twenty thousand pauses."""

LONGEST_FACTOR: Final = 2.0
"""So many times its longest pause of late is not plausible either: some trade in bursts."""

_WEIGHT: Final = 1 / 16
"""Of the newest pause in the usual one, a moving average."""

_FADING: Final = 0.999
"""What is left of the longest pause after another one that is shorter."""


class Change(msgspec.Struct, frozen=True):
    """An instrument, by its index, is in another state, and why."""

    index: int
    state: FeedState
    why: str


class _Pulse(msgspec.Struct):
    usual_s: float
    longest_s: float = 0.0
    """Pause of late, between two trades."""
    state: FeedState = FeedState.DOWN
    since_s: float = 0.0
    """Of the last trade, or of the subscription if there was none since."""
    scheduled_s: float = inf
    """When it is looked at next; never later than it is due."""
    has_traded: bool = False
    has_ever_traded: bool = False
    stale_count: int = 0

    @property
    def limit_s(self) -> float:
        return max(FLOOR_S, FACTOR * self.usual_s, LONGEST_FACTOR * self.longest_s)

    def due_s(self, first_trade_timeout_s: float) -> float:
        """When it has been quiet for too long, if nothing comes; never, if silence is expected."""
        match self.state:
            case FeedState.CONNECTING if self.has_ever_traded:
                return self.since_s + max(first_trade_timeout_s, self.limit_s)
            case FeedState.CONNECTING:
                return self.since_s + first_trade_timeout_s
            case FeedState.LIVE:
                return self.since_s + self.limit_s
            case _:
                return inf


class Liveness:
    """The instruments of one feed, by index.

    A heap holds the moments at which to look at them. A trade only moves the moment away, which is
    noticed when the old one comes; so a trade costs the same however many instruments there are.
    """

    def __init__(
        self,
        usual_s: Sequence[float],
        longest_s: Sequence[float],
        *,
        first_trade_timeout_s: float,
    ) -> None:
        """Of each instrument: seconds between recent trades, on average and at the most; 0 if
        unknown."""
        self._first_trade_timeout_s = first_trade_timeout_s
        self._pulses: list[_Pulse] = []
        self._schedule: list[tuple[float, int]] = []
        for usual, longest in zip(usual_s, longest_s, strict=True):
            self.add(usual, longest)

    def add(self, usual_s: float, longest_s: float) -> None:
        """One more instrument, with the next index."""
        self._pulses.append(_Pulse(usual_s=usual_s, longest_s=longest_s))

    def expect(self, index: int, usual_s: float, longest_s: float) -> None:
        """The venue's records say how often an instrument trades."""
        pulse = self._pulses[index]
        pulse.usual_s = max(pulse.usual_s, usual_s)
        pulse.longest_s = max(pulse.longest_s, longest_s)

    def state(self, index: int) -> FeedState:
        return self._pulses[index].state

    def has_traded(self, index: int) -> bool:
        """Whether a trade has come since the subscription."""
        return self._pulses[index].has_traded

    def has_ever_traded(self, index: int) -> bool:
        return self._pulses[index].has_ever_traded

    def stale_count(self, index: int) -> int:
        """How often it has become stale."""
        return self._pulses[index].stale_count

    @property
    def next_due_s(self) -> float:
        """When `check` has something to report, unless trades come before."""
        while self._schedule:
            at_s, index = self._schedule[0]
            pulse = self._pulses[index]
            due_s = pulse.due_s(self._first_trade_timeout_s)
            if at_s == due_s:
                return due_s
            heappop(self._schedule)
            if at_s == pulse.scheduled_s:
                pulse.scheduled_s = inf
                self._look_at(index, due_s)
        return inf

    def _look_at(self, index: int, due_s: float) -> None:
        pulse = self._pulses[index]
        if due_s < pulse.scheduled_s:
            pulse.scheduled_s = due_s
            heappush(self._schedule, (due_s, index))

    def subscribed(self, indexes: Iterable[int], now_s: float, how: str) -> list[Change]:
        """These instruments have been asked for, on a connection that is new."""
        changes = []
        for index in indexes:
            pulse = self._pulses[index]
            pulse.since_s, pulse.has_traded = now_s, False
            changes += self._turn(index, FeedState.CONNECTING, how)
            self._look_at(index, pulse.due_s(self._first_trade_timeout_s))
        return changes

    def down(self, indexes: Iterable[int], why: str) -> list[Change]:
        """There is no connection for these: silence says nothing now."""
        return [each for index in indexes for each in self._turn(index, FeedState.DOWN, why)]

    def halted(self, index: int, why: str) -> list[Change]:
        """The venue says that it does not trade this one now."""
        return self._turn(index, FeedState.HALTED, why)

    def resumed(self, index: int, why: str) -> list[Change]:
        """The venue says that it trades again, and there is no trade yet."""
        return self._turn(index, FeedState.STALE, why)

    def traded(self, index: int, now_s: float) -> list[Change]:
        """A trade has come, in the read of this moment."""
        pulse = self._pulses[index]
        pause_s = now_s - pulse.since_s
        if pulse.has_traded and pause_s > 0:  # trades of one read are one sign of life
            # What is longer than plausible was no pause of its own, or is learnt bit by bit.
            usual_s, longest_s = pulse.usual_s, pulse.longest_s
            counted_s = min(pause_s, max(FLOOR_S, FACTOR * usual_s, LONGEST_FACTOR * longest_s))
            pulse.usual_s = usual_s + (counted_s - usual_s) * _WEIGHT
            pulse.longest_s = max(counted_s, longest_s * _FADING)
        pulse.since_s, pulse.has_traded, pulse.has_ever_traded = now_s, True, True
        if pulse.state is FeedState.LIVE:
            if now_s + FLOOR_S < pulse.scheduled_s:  # its limit may have become shorter
                self._look_at(index, now_s + pulse.limit_s)
            return []
        is_back = pulse.state in (FeedState.STALE, FeedState.HALTED)
        why = f"recovered after {pause_s:.0f} s" if is_back else "first trade"
        changes = self._turn(index, FeedState.LIVE, why)
        self._look_at(index, now_s + pulse.limit_s)
        return changes

    def check(self, now_s: float) -> list[Change]:
        """Those that have been quiet for too long by now."""
        changes: list[Change] = []
        while self.next_due_s <= now_s:
            _, index = heappop(self._schedule)
            pulse = self._pulses[index]
            pulse.scheduled_s = inf
            quiet_s = now_s - pulse.since_s
            why = f"quiet for {quiet_s:.0f} s, usually for {pulse.usual_s:.3g} s"
            if pulse.state is FeedState.CONNECTING:
                why = f"no trade within {quiet_s:.0f} s"
            changes += self._turn(index, FeedState.STALE, why)
        return sorted(changes, key=lambda each: each.index)

    def _turn(self, index: int, state: FeedState, why: str) -> list[Change]:
        pulse = self._pulses[index]
        if pulse.state is state:
            return []
        pulse.state = state
        pulse.stale_count += state is FeedState.STALE
        return [Change(index, state, why)]
