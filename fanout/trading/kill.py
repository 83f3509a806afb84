"""The kill switch: pulled once, it stays pulled until a person resets it.

             PULL               CLEARED
    ARMED ---------> CANCELLING ---------> LATCHED
      ^                                       |
      '---------------- RESET ----------------'

While it is CANCELLING, every order has been sent its cancel, and no new one is sent. It is LATCHED
once the exchange shows that nothing is open. There is no way from CANCELLING to ARMED: what is open
has to end first. `export` gives the state for a file, so that it outlives a restart; who reads that
file again makes the switch from it, and it is as it was.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from fanout.trading.errors import TransitionError
from fanout.trading.reports import KillReport


class KillState(StrEnum):
    """Where the switch is. See the module."""

    ARMED = "armed"
    CANCELLING = "cancelling"
    LATCHED = "latched"


class KillEvent(StrEnum):
    """What can happen to it."""

    PULL = "pull"
    CLEARED = "cleared"
    RESET = "reset"


class KillCause(StrEnum):
    """Who or what pulled it."""

    NONE = ""
    LIMIT = "limit"
    STRATEGY = "strategy"
    FEED = "feed"
    FILE = "file"
    SIGNAL = "signal"
    COMMAND = "command"


TRANSITIONS: Final[dict[tuple[KillState, KillEvent], KillState]] = {
    (KillState.ARMED, KillEvent.PULL): KillState.CANCELLING,
    (KillState.CANCELLING, KillEvent.PULL): KillState.CANCELLING,
    (KillState.LATCHED, KillEvent.PULL): KillState.LATCHED,
    (KillState.CANCELLING, KillEvent.CLEARED): KillState.LATCHED,
    (KillState.LATCHED, KillEvent.RESET): KillState.ARMED,
}


class KillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a switch, as it outlives a restart."""

    state: KillState = KillState.ARMED
    cause: KillCause = KillCause.NONE
    why: str = ""
    since_ns: int = 0


class KillSwitch:
    """A kill switch. See the module. Without a `record` it is armed. `symbol` is the one whose
    orders it stops, for its reports."""

    def __init__(self, record: KillRecord | None = None, *, symbol: str = "") -> None:
        self._symbol = symbol
        self._record = KillRecord() if record is None else record

    @property
    def is_armed(self) -> bool:
        """Whether orders may be sent."""
        return self._record.state is KillState.ARMED

    @property
    def state(self) -> KillState:
        """Where the switch is."""
        return self._record.state

    @property
    def why(self) -> str:
        """Why it was pulled first."""
        return self._record.why

    def export(self) -> KillRecord:
        """The state, for a file."""
        return self._record

    def pull(
        self, cause: KillCause, why: str, now_ns: int, open_orders: tuple[int, ...]
    ) -> KillReport | None:
        """Pull it. The caller cancels `open_orders` next. None if it was pulled before: the first
        reason is kept."""
        was_armed = self.is_armed
        state = self._after(KillEvent.PULL)
        if not was_armed:
            return None
        self._record = KillRecord(state=state, cause=cause, why=why, since_ns=now_ns)
        return self._report(now_ns, open_orders)

    def prove(self, open_orders: tuple[int, ...], now_ns: int) -> KillReport | None:
        """Latch if it was pulled and nothing is open any more."""
        if self.state is not KillState.CANCELLING or open_orders:
            return None
        self._record = msgspec.structs.replace(self._record, state=self._after(KillEvent.CLEARED))
        return self._report(now_ns, ())

    def require_latched(self) -> None:
        """Raises `TransitionError` unless a reset is possible."""
        self._after(KillEvent.RESET)

    def reset(self, who: str, now_ns: int) -> KillReport:
        """Arm it again, for a person who is named. Raises `TransitionError` unless it is
        latched."""
        state = self._after(KillEvent.RESET)
        self._record = KillRecord(state=state, why=f"reset by {who}", since_ns=now_ns)
        return self._report(now_ns, ())

    def _after(self, event: KillEvent) -> KillState:
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise TransitionError(f"the kill switch is {self.state}, so {event} cannot happen")
        return following

    def _report(self, now_ns: int, open_orders: tuple[int, ...]) -> KillReport:
        record = self._record
        return KillReport(
            time_ns=now_ns,
            symbol=self._symbol,
            state=record.state,
            cause=record.cause,
            why=record.why,
            open_orders=open_orders,
        )
