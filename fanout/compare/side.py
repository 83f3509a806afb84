"""What one stream brought and reported, as far as the other one's trades are judged by it.

A *position* orders the trades of a symbol: the trade id where ids ascend, else the venue's time in
ns. A stream saw a symbol from the position of its first trade to that of its last one. A *hole* is
the range between two trades that follow each other in the stream, if it reported a loss in
between: a LOSS, a STATUS other than LIVE, a restart. A GAP names its trade ids itself.

Holes are found without touching every symbol at each LOSS: a side counts what it reported, and a
symbol remembers the count at its last trade.
"""

from collections import deque
from enum import IntFlag
from typing import Final

from fanout.compare.values import SideReport
from fanout.protocol.constants import FeedState, GapState
from fanout.protocol.records import Gap, Status

MOST_RANGES: Final = 200
"""Holes, and lost ranges of trade ids, that are kept of a symbol: the newest."""


class Reported(IntFlag):
    """Why trades may be missing in a hole."""

    NOTHING = 0
    LOSS = 1
    """So many records of the stream were lost, of any symbol."""
    AWAY = 2
    """The venue's feed, or the service, was away for a while."""


class Seen:
    """One symbol in one stream."""

    __slots__ = (
        "away",
        "first",
        "first_ms",
        "gone",
        "holes",
        "is_live",
        "last",
        "last_ms",
        "losses",
        "open",
        "rank",
        "settled_ns",
    )

    def __init__(self) -> None:
        self.first: int | None = None
        """The position that the window begins at. None before the first trade."""
        self.last: int = -1
        """The highest position so far."""
        self.first_ms = self.last_ms = 0
        """The venue's times there, unix ms."""
        self.rank = 0
        """How many trades came, doubles among them."""
        self.is_live = True
        self.settled_ns = 0
        """When the newest interruption ended, or the newest gap was closed."""
        self.holes: deque[tuple[int, int, Reported]] = deque(maxlen=MOST_RANGES)
        self.open: list[tuple[int, int]] = []
        """Ranges of trade ids whose GAP is open."""
        self.gone: deque[tuple[int, int]] = deque(maxlen=MOST_RANGES)
        """Ranges of trade ids that are unrecoverable."""
        self.losses = 0
        self.away = 0

    def awaits(self, trade_id: int) -> bool:
        """Whether an open gap has this trade id."""
        return any(first <= trade_id <= last for first, last in self.open)

    def close(self, first_id: int, last_id: int) -> None:
        """Take these trade ids out of the open gaps."""
        left: list[tuple[int, int]] = []
        for first, last in self.open:
            left += [(first, min(last, first_id - 1)), (max(first, last_id + 1), last)]
        self.open = [(first, last) for first, last in left if first <= last]


class Side:
    """One stream."""

    def __init__(self) -> None:
        self.report = SideReport()
        self.symbols: frozenset[str] = frozenset()
        """The instruments of its header."""
        self.begun_ns: int | None = None
        """Its time, by the clock of the comparison, when it joined."""
        self.now_ns = 0
        """Up to which time it has brought everything."""
        self.is_away = False
        """Whether the connection is lost."""
        self.has_ended = False
        self.excused = 0
        """Trades that are missing in holes of LOSS alone."""
        self._is_live = True
        self._settled_ns = 0
        self._losses = 0
        self._away = 0

    def advance(self, now_ns: int) -> None:
        """The stream has brought everything up to this time."""
        if self.begun_ns is None:
            self.begun_ns = now_ns
        self.now_ns = max(self.now_ns, now_ns)

    def lose(self, count: int) -> None:
        """So many records are lost."""
        self.report.lost_records += count
        self._losses += 1

    def leave(self) -> None:
        """The connection is lost. Nothing is missing unless a LOSS or a restart follows."""
        self.report.disconnects += not self.is_away
        self.is_away = True

    def come_back(self) -> None:
        """A record came."""
        if self.is_away:
            self.is_away = False
            self._settled_ns = self.now_ns

    def restart(self) -> None:
        """The service was started anew."""
        self.report.restarts += 1
        self._away += 1

    def turn(self, status: Status, seen: Seen | None) -> None:
        """Note the state of a symbol, or of the whole feed if `seen` is None."""
        is_live = status.state is FeedState.LIVE
        self.report.interruptions += not is_live
        if seen is not None:
            if is_live and not seen.is_live:
                seen.settled_ns = self.now_ns
            seen.is_live = is_live
            seen.away = seen.away if is_live else -1
            return
        if is_live and not self._is_live:
            self._settled_ns = self.now_ns
        self._is_live = is_live
        self._away += not is_live

    def note_gap(self, gap: Gap, seen: Seen) -> None:
        """Note the trade ids of a GAP."""
        ids = gap.last_id - gap.first_id + 1
        if gap.state is GapState.OPEN:
            seen.open.append((gap.first_id, gap.last_id))
            return
        seen.close(gap.first_id, gap.last_id)
        seen.settled_ns = self.now_ns
        if gap.state is GapState.UNRECOVERABLE:
            self.report.lost_ids += ids
            seen.gone.append((gap.first_id, gap.last_id))

    def move(self, seen: Seen, position: int, time_ms: int) -> None:
        """A trade came in its turn: not back-filled."""
        if position < seen.last:
            return
        reported = self._reported(seen)
        if reported:
            seen.holes.append((seen.last, position, reported))
        if seen.first is None:
            seen.first, seen.first_ms = position, time_ms
        seen.last, seen.last_ms = position, time_ms
        seen.losses, seen.away = self._losses, self._away if seen.is_live else -1

    def show(self, seen: Seen, position: int) -> None:
        """A snapshot has this trade, from before the stream was joined. The window cannot begin
        earlier."""
        if seen.first is None:
            seen.last = max(seen.last, position)

    def reported(self, seen: Seen, position: int, trade_id: int) -> Reported:
        """What the stream reported about a trade that it does not have."""
        if seen.awaits(trade_id) or any(low <= trade_id <= high for low, high in seen.gone):
            return Reported.AWAY
        found = Reported.NOTHING
        for low, high, reported in seen.holes:
            if low <= position <= high:
                found |= reported
        return found | self._reported(seen) if position >= seen.last else found

    def _reported(self, seen: Seen) -> Reported:
        """What was reported since the last trade of a symbol."""
        reported = Reported.LOSS if seen.losses != self._losses else Reported.NOTHING
        if seen.away != self._away or not self._is_live:
            reported |= Reported.AWAY
        return reported

    def may_bring(self, seen: Seen, trade_id: int) -> bool:
        """Whether a trade that is missing may still come, whatever the time."""
        if self.has_ended:
            return False
        return self.is_away or not self._is_live or not seen.is_live or seen.awaits(trade_id)

    def settled_ns(self, seen: Seen) -> int:
        """When the newest interruption of a symbol, or of the stream, was over."""
        return max(self._settled_ns, seen.settled_ns)
