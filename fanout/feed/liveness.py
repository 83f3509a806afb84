"""The state of each instrument: CONNECTING, LIVE, STALE, HALTED or DOWN.

    DOWN --subscribed--> CONNECTING --first trade--> LIVE --quiet too long--> STALE
                              '-- no trade in time --> STALE <--'   STALE --trade--> LIVE

Where quotes or books are taken too, they count like trades: an instrument whose book changes is not
silent because nothing trades. An instrument that *lacks* a kind of data is not LIVE: its book is
unknown, or one of its streams is silent while the others prove that it should not be.

Only a trade proves a subscription, or a sign of life on it: the venue says that nothing happened,
or sends its last trades as the answer to the subscription. Neither an acknowledgement nor an open
connection does.

Instruments differ: some trade a hundred times a second, some once a minute. So the limit of silence
is a multiple of the instrument's recent times between trades, and at least the venue's `silence_s`.

Pure: seconds in, changes out.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

import msgspec

from fanout.protocol.constants import DataKinds, FeedState

FLOOR_S: Final = 12.0
"""Shortest silence before an instrument is stale, at most venues. The feed notices a dead
connection sooner, and reports that instead."""

FACTOR: Final = 10.0
"""Limit of silence as a multiple of the usual pause. Were trades independent, a pause would exceed
it once in twenty thousand."""

LONGEST_FACTOR: Final = 2.0
"""Limit of silence as a multiple of the longest recent pause, for instruments that trade in
bursts. The larger limit counts."""

_WEIGHT: Final = 1 / 16
"""Weight of the newest pause in the usual one, which is a moving average."""

_FADING: Final = 0.999
"""Factor by which the longest pause shrinks after each shorter one."""

_NAMES: Final = {
    DataKinds.TRADES: "trades",
    DataKinds.QUOTES: "quotes",
    DataKinds.BOOK_BY_PRICE: "order book",
    DataKinds.BOOK_BY_ORDER: "order book",
}


class Change(msgspec.Struct, frozen=True):
    """A new state of an instrument, and the reason."""

    index: int
    state: FeedState
    why: str


class _Pulse(msgspec.Struct):
    usual_s: float
    floor_s: float
    """Shortest silence that counts."""
    longest_s: float = 0.0
    """Longest recent pause between two trades."""
    state: FeedState = FeedState.DOWN
    since_s: float = 0.0
    """Time of the last trade, or of the subscription if there was no trade since."""
    heard_s: float = 0.0
    """Time of the last sign of life that was no trade."""
    scheduled_s: float = inf
    """Time of the next check, never later than `due_s`."""
    has_traded: bool = False
    has_ever_traded: bool = False
    lacks: int = 0
    """Kinds of data that LIVE has to wait for, as a number: the operators of an enumeration are
    slow."""
    stale_count: int = 0

    @property
    def limit_s(self) -> float:
        return max(self.floor_s, FACTOR * self.usual_s, LONGEST_FACTOR * self.longest_s)

    @property
    def quiet_since_s(self) -> float:
        return max(self.since_s, self.heard_s)

    def due_s(self, first_trade_timeout_s: float) -> float:
        """When it becomes stale without a trade; infinite in states in which silence is normal."""
        match self.state:
            case FeedState.CONNECTING if self.lacks and self.has_traded:
                return self.quiet_since_s + max(first_trade_timeout_s, self.limit_s)
            case FeedState.CONNECTING if self.has_ever_traded:
                return self.quiet_since_s + max(first_trade_timeout_s, self.limit_s)
            case FeedState.CONNECTING:
                return self.quiet_since_s + first_trade_timeout_s
            case FeedState.LIVE:
                return self.quiet_since_s + self.limit_s
            case _:
                return inf


class Liveness:
    """The instruments of one feed, by index.

    A heap holds the times of the next checks. A trade postpones the check of its instrument. The
    heap notices that only at the old time, so a trade costs the same with any number of
    instruments.
    """

    def __init__(
        self,
        usual_s: Sequence[float],
        longest_s: Sequence[float],
        *,
        first_trade_timeout_s: float,
        lacks: DataKinds = DataKinds.NONE,
        silence_s: float = FLOOR_S,
    ) -> None:
        """Mean and longest seconds between recent trades of each instrument; 0 if unknown. `lacks`
        are kinds of data that each instrument has to get after each subscription. `silence_s` is
        the shortest silence after which an instrument may be stale."""
        self._lacks = lacks.value
        self._silence_s = silence_s
        self._first_trade_timeout_s = first_trade_timeout_s
        self._pulses: list[_Pulse] = []
        self._schedule: list[tuple[float, int]] = []
        for usual, longest in zip(usual_s, longest_s, strict=True):
            self.add(usual, longest)

    @property
    def trades(self) -> "Liveness":
        """The same of trades alone."""
        return self

    def add(self, usual_s: float, longest_s: float) -> None:
        """Add an instrument with the next index."""
        pulse = _Pulse(usual_s=usual_s, floor_s=self._silence_s, longest_s=longest_s)
        self._pulses.append(pulse)

    def expect(self, index: int, usual_s: float, longest_s: float) -> None:
        """Learn from REST how often an instrument trades."""
        pulse = self._pulses[index]
        pulse.usual_s = max(pulse.usual_s, usual_s)
        pulse.longest_s = max(pulse.longest_s, longest_s)

    def state(self, index: int) -> FeedState:
        return self._pulses[index].state

    def has_traded(self, index: int) -> bool:
        """Whether a trade has arrived since the subscription."""
        return self._pulses[index].has_traded

    def has_traded_since(self, index: int, since_s: float) -> bool:
        """Whether a trade has arrived after this time and since the subscription."""
        pulse = self._pulses[index]
        return pulse.has_traded and pulse.since_s > since_s

    def has_ever_traded(self, index: int) -> bool:
        return self._pulses[index].has_ever_traded

    def stale_count(self, index: int) -> int:
        """How often it has become stale."""
        return self._pulses[index].stale_count

    @property
    def next_due_s(self) -> float:
        """When `check` has a change to report, unless trades arrive before."""
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

    def subscribed(
        self, indexes: Iterable[int], now_s: float, how: str, missing: DataKinds = DataKinds.NONE
    ) -> list[Change]:
        """Note the subscription to instruments on a new connection. `missing` are kinds of data
        that come on another one, which is not open."""
        changes = []
        for index in indexes:
            pulse = self._pulses[index]
            pulse.since_s, pulse.has_traded = now_s, False
            pulse.lacks = self._lacks | missing.value
            changes += self._turn(index, FeedState.CONNECTING, how)
            self._look_at(index, pulse.due_s(self._first_trade_timeout_s))
        return changes

    def down(self, indexes: Iterable[int], why: str) -> list[Change]:
        """Note that instruments have no connection, so that their silence is normal."""
        changes: list[Change] = []
        for index in indexes:
            self._pulses[index].lacks |= self._lacks
            changes += self._turn(index, FeedState.DOWN, why)
        return changes

    def part_up(self, index: int, kinds: DataKinds, now_s: float) -> list[Change]:
        """Note the subscription to these kinds of data on a new connection, while another is open
        for the rest. Books are back once they are whole."""
        kinds &= ~DataKinds(self._lacks)
        if not self.lacks(index, kinds):
            return []
        return self.back(index, kinds, f"its {_named(kinds)} are subscribed again")

    def part_down(self, index: int, kinds: DataKinds, why: str) -> list[Change]:
        """Note that an instrument has no connection for these kinds of data, and one for the
        rest. That is reported once, although each further attempt to connect may fail."""
        if self._pulses[index].lacks & kinds == kinds:
            return []
        return self.lost(index, kinds, f"no connection for its {_named(kinds)}: {why}")

    def halted(self, index: int, why: str, *, lacks: DataKinds = DataKinds.NONE) -> list[Change]:
        """Note that the venue has halted an instrument, or refuses these kinds of its data."""
        return self._turn(index, FeedState.HALTED, why)

    def resumed(self, index: int, why: str) -> list[Change]:
        """Note that the venue trades an instrument again. It is STALE until its first trade."""
        return self._turn(index, FeedState.STALE, why)

    def paused(self, indexes: Iterable[int], why: str) -> list[Change]:
        """Note that the venue pauses. Instruments are STALE until they trade again.

        That is reported of STALE instruments too, since `why` is news of them.
        """
        changes: list[Change] = []
        for index in indexes:
            if self.state(index) is FeedState.STALE:
                changes.append(Change(index, FeedState.STALE, why))
            elif self.state(index) in (FeedState.CONNECTING, FeedState.LIVE):
                changes += self._turn(index, FeedState.STALE, why)
        return changes

    def traded(self, index: int, now_s: float) -> list[Change]:
        """Note that a read at `now_s` had trades of an instrument."""
        pulse = self._pulses[index]
        pause_s = now_s - pulse.since_s
        if pulse.has_traded and pause_s > 0:  # trades of one read are one sign of life
            # What is longer than plausible was no pause of its own, or is learnt bit by bit.
            usual_s, longest_s = pulse.usual_s, pulse.longest_s
            most_s = max(pulse.floor_s, FACTOR * usual_s, LONGEST_FACTOR * longest_s)
            counted_s = min(pause_s, most_s)
            pulse.usual_s = usual_s + (counted_s - usual_s) * _WEIGHT
            pulse.longest_s = max(counted_s, longest_s * _FADING)
        pulse.since_s, pulse.has_traded, pulse.has_ever_traded = now_s, True, True
        if pulse.state is FeedState.LIVE:
            if now_s + pulse.floor_s < pulse.scheduled_s:  # the limit may have shrunk
                self._look_at(index, now_s + pulse.limit_s)
            return []
        if pulse.lacks:
            self._look_at(index, pulse.due_s(self._first_trade_timeout_s))
            return []
        is_back = pulse.state in (FeedState.STALE, FeedState.HALTED)
        why = f"recovered after {pause_s:.0f} s" if is_back else "first trade"
        changes = self._turn(index, FeedState.LIVE, why)
        self._look_at(index, now_s + pulse.limit_s)
        return changes

    def heard(self, index: int, now_s: float) -> list[Change]:
        """Note a sign of life that is no new trade. It postpones STALE, and changes no usual pause:
        the silence of trades goes on."""
        pulse = self._pulses[index]
        pulse.heard_s = now_s
        if pulse.lacks or pulse.state not in (FeedState.CONNECTING, FeedState.STALE):
            return []
        changes = self._turn(index, FeedState.LIVE, "the venue says that its stream works")
        self._look_at(index, now_s + pulse.limit_s)
        return changes

    def lacks(self, index: int, kind: DataKinds) -> bool:
        """Whether LIVE waits for this kind of data."""
        return bool(self._pulses[index].lacks & kind.value)

    def lost(self, index: int, kind: DataKinds, why: str) -> list[Change]:
        """Note that an instrument lacks a kind of data. It is STALE until it has it again.

        That is reported of a STALE instrument too: a reader that joined meanwhile was not told.
        """
        pulse = self._pulses[index]
        pulse.lacks |= kind.value
        if pulse.state is FeedState.STALE:
            return [Change(index, FeedState.STALE, why)]
        return self._turn(index, FeedState.STALE, why) if pulse.state is FeedState.LIVE else []

    def back(self, index: int, kind: DataKinds, why: str) -> list[Change]:
        """Note that an instrument has a kind of data again."""
        pulse = self._pulses[index]
        pulse.lacks &= ~kind.value
        is_waiting = pulse.state is not FeedState.DOWN
        if pulse.lacks or not (is_waiting and pulse.has_traded):
            return []
        changes = self._turn(index, FeedState.LIVE, why)
        self._look_at(index, pulse.since_s + pulse.limit_s)
        return changes

    def check(self, now_s: float) -> list[Change]:
        """Report instruments that have been quiet for too long."""
        changes: list[Change] = []
        while self.next_due_s <= now_s:
            _, index = heappop(self._schedule)
            pulse = self._pulses[index]
            pulse.scheduled_s = inf
            quiet_s = now_s - pulse.quiet_since_s
            why = f"quiet for {quiet_s:.0f} s"
            if pulse.usual_s:
                why += f", usually for {pulse.usual_s:.3g} s"
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


class LivenessOfKinds(Liveness):
    """Liveness of instruments that bring more than trades. That of trades alone is kept beside it,
    and not published."""

    def __init__(
        self,
        usual_s: Sequence[float],
        longest_s: Sequence[float],
        *,
        first_trade_timeout_s: float,
        lacks: DataKinds,
        silence_s: float = FLOOR_S,
    ) -> None:
        self._trades = Liveness(
            (), (), first_trade_timeout_s=first_trade_timeout_s, silence_s=silence_s
        )
        super().__init__(
            usual_s,
            longest_s,
            first_trade_timeout_s=first_trade_timeout_s,
            lacks=lacks,
            silence_s=silence_s,
        )

    @property
    def trades(self) -> Liveness:
        return self._trades

    def add(self, usual_s: float, longest_s: float) -> None:
        super().add(0.0, 0.0)  # how often it trades says nothing of the other kinds
        self._trades.add(usual_s, longest_s)

    def expect(self, index: int, usual_s: float, longest_s: float) -> None:
        self._trades.expect(index, usual_s, longest_s)

    def subscribed(
        self, indexes: Iterable[int], now_s: float, how: str, missing: DataKinds = DataKinds.NONE
    ) -> list[Change]:
        indexes = tuple(indexes)
        if DataKinds.TRADES not in missing:
            self._trades.subscribed(indexes, now_s, how)
        return super().subscribed(indexes, now_s, how, missing)

    def part_up(self, index: int, kinds: DataKinds, now_s: float) -> list[Change]:
        if DataKinds.TRADES in kinds:
            self._trades.subscribed((index,), now_s, "")
        return super().part_up(index, kinds, now_s)

    def part_down(self, index: int, kinds: DataKinds, why: str) -> list[Change]:
        if DataKinds.TRADES in kinds:
            self._trades.down((index,), why)
        return super().part_down(index, kinds, why)

    def down(self, indexes: Iterable[int], why: str) -> list[Change]:
        indexes = tuple(indexes)
        self._trades.down(indexes, why)
        return super().down(indexes, why)

    def paused(self, indexes: Iterable[int], why: str) -> list[Change]:
        indexes = tuple(indexes)
        self._trades.paused(indexes, why)
        return super().paused(indexes, why)

    def halted(self, index: int, why: str, *, lacks: DataKinds = DataKinds.NONE) -> list[Change]:
        if not lacks or DataKinds.TRADES in lacks:
            self._trades.halted(index, why)
        self._pulses[index].lacks |= lacks.value  # the others may go on
        return super().halted(index, why)

    def resumed(self, index: int, why: str) -> list[Change]:
        if self._trades.state(index) is FeedState.HALTED:
            self._trades.resumed(index, why)
        return super().resumed(index, why)


def _named(kinds: DataKinds) -> str:
    return " and ".join(name for kind, name in _NAMES.items() if kind in kinds)
