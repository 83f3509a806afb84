"""The trades of one instrument in one kind of stream: units, trade ids, and counts of outcomes.

A sequence begins with the first id that comes. If that is of a *past* trade, which the venue sends
as the answer to the subscription, the sequence begins behind it.

An instrument of a stream whose ids prove nothing has an `Unproven` sequence. It drops trades with
an id that it saw recently, and never opens a gap. After an interruption it takes from REST the
trades that it has not seen.
"""

import logging
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from math import inf
from typing import Final

import msgspec

from fanout.channel.memory import MOST_RECENT, Remembered
from fanout.feed.continuity import Continuity
from fanout.feed.continuity import Gap as Told
from fanout.feed.normalise import to_trade
from fanout.protocol.constants import GapState
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Gap, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.values import SpentId, VenueTrade

_LOG = logging.getLogger("fanout")

MAX_JUMP: Final = 100_000_000
"""Most ids that may be missing at once: weeks of the busiest symbol."""

STRANGE_IDS: Final = 3
"""Number of implausible ids that follow each other after which the venue has restarted its
numbering. Fewer are an error of the venue, and are dropped."""

STRANGE_STEP: Final = 1_000
"""Largest step between two implausible ids that follow each other."""

REMEMBERED_IDS: Final = 4_096
REMEMBERED_S: Final = 90
MOST_IDS: Final = 65_536
"""An `Unproven` sequence remembers ids to detect repeats: so many of them, those of so many seconds
of the venue's time, and never more than the last number. A connection that stalls is closed within
those seconds. Until then it may bring all at once what another one brought long ago. An id takes
some 150 bytes."""

_RESUMED: Final = {
    GapState.OPEN: "missing since before the restart",
    GapState.UNRECOVERABLE: "too many gaps, or ids of another numbering",
}

ANEW: Final = "the venue restarted its trade ids"

_WHY: Final = {
    GapState.OPEN: "not in the stream",
    GapState.BACK_FILLED: "arrived late",
    GapState.UNRECOVERABLE: "too many gaps at once",
    GapState.NO_TRADE: "the venue used the id without a trade",
}


class Tally(msgspec.Struct):
    """Counts of one instrument's ids since the start. Ids are `missing` when a gap opens, and then
    back-filled, `no_trade` or `lost` when it is closed."""

    trades: int = 0
    back_filled: int = 0
    duplicates: int = 0
    spent: int = 0
    """Ids that the venue declared as used without a trade."""
    refused: int = 0
    """Trades with a value that fits no field."""
    missing: int = 0
    lost: int = 0
    no_trade: int = 0
    unproven_s: float = 0.0
    """Seconds of the venue's time in which trades may be missing, where ids do not tell."""


class IdSequence(msgspec.Struct):
    """A sequence of consecutive ids. Its gaps have sequence number 0 until they are published."""

    instrument: Instrument
    tally: Tally
    anomalies: Anomalies
    continuity: Continuity = msgspec.field(default_factory=Continuity)
    before: "IdSequence | None" = None
    """The sequence that this one will replace; None after the takeover."""
    after: "IdSequence | None" = None
    """The sequence that will replace this one; None after the takeover."""
    is_over: bool = False
    """Another sequence has taken over, or the venue delisted the instrument."""
    newest_time: int = 0
    """Time of the newest trade taken, in the venue's units."""
    strange: list[int] = []
    """Implausible ids so far that follow each other."""

    @property
    def has_begun(self) -> bool:
        """Whether an id has come."""
        return self.continuity.next_id is not None

    def begin_behind(self, item: VenueTrade | SpentId) -> None:
        """Begin behind a past id, or behind a later one of the same answer."""
        if type(item) is VenueTrade:
            self.newest_time = max(self.newest_time, item.time)
        self._pass_by(item.trade_id)

    def _pass_by(self, trade_id: int) -> None:
        self.continuity.next_id = max(self.continuity.next_id or 0, trade_id + 1)

    def misses(self, item: VenueTrade | SpentId) -> bool:
        """Whether the stream should have delivered a past id, and did not."""
        next_id = self.continuity.next_id
        assert next_id is not None, "a sequence that has not begun misses nothing"
        return self.continuity.is_new(item.trade_id) and item.trade_id - next_id <= MAX_JUMP

    def is_news(
        self, item: VenueTrade | SpentId, out: list[Trade | Gap], *, is_alone: bool
    ) -> bool:
        """Whether to take an id.

        After `STRANGE_IDS` implausible ids that follow each other, the venue has restarted its
        numbering. Then they are taken, and `out` gets the gaps that this closes. With `is_alone`
        there is only one connection, so that a repeated id is an anomaly.
        """
        continuity, trade_id = self.continuity, item.trade_id
        next_id = continuity.next_id
        if next_id is None:
            return True
        is_new = continuity.is_new(trade_id)
        if is_new and trade_id - next_id <= MAX_JUMP:
            return True
        if not is_new:
            self.tally.duplicates += 1
            if is_alone:
                self.anomalies.note("trade id seen before", f"{item.symbol} {trade_id}")
            if type(item) is not VenueTrade or item.time <= self.newest_time:
                return False
        if self.strange and not 0 < trade_id - self.strange[-1] <= STRANGE_STEP:
            self.strange = []
        self.strange = [*self.strange, trade_id]
        if len(self.strange) < STRANGE_IDS:
            return False
        _LOG.error("%s: the venue restarted its trade ids at %d", item.symbol, self.strange[0])
        out += self.begin_anew(self.strange[0], ANEW)
        return True

    def trade(self, item: VenueTrade) -> Trade | None:
        """Convert a trade. Returns None if a value fits no field, which is counted and logged."""
        try:
            return to_trade(item, self.instrument)
        except NotRepresentableError as error:
            self.tally.refused += 1
            self.anomalies.note("trade refused", error, level=logging.ERROR)
            return None

    def take(self, trade: Trade, item: VenueTrade, now_s: float, out: list[Trade | Gap]) -> None:
        """Append a new trade, and the gap that it completes."""
        told = self.continuity.take(item.trade_id, now_s)
        if item.time > self.newest_time:
            self.newest_time = item.time
        self.tally.trades += 1
        out.append(trade)
        if self.strange:
            self.strange = []
        if told:
            out += self.told(told)

    def spend(self, trade_id: int, now_s: float, out: list[Trade | Gap]) -> None:
        """Note a new id that the venue used without a trade."""
        told = self.continuity.take(trade_id, now_s, is_spent=True)
        self.tally.spent += 1
        if self.strange:
            self.strange = []
        if told:
            out += self.told(told)

    def miss(self, trade_id: int, now_s: float) -> list[Gap]:
        """Note that the venue used an id which the stream did not deliver."""
        return self.told(self.continuity.miss(trade_id, now_s))

    def undelivered(
        self, rows: Sequence[VenueTrade], since: int, looked_at: VenueTrade | None
    ) -> int:
        """How many of REST's trades the stream did not deliver, of those made after `since` and not
        before `looked_at`, the newest one at the last look."""
        due_id = max(self.continuity.next_id or 0, looked_at.trade_id + 1 if looked_at else 0)
        return sum(each.trade_id >= due_id and each.time > since for each in rows)

    def resume(self, known: Remembered, newest_id: int | None) -> list[Gap]:
        """Go on behind the trades of an earlier start. `newest_id` is the newest one that the venue
        has, None if that is unknown. Returns the gaps that are open since then."""
        self.newest_time = known.time_ns // self._ns_per_unit
        told = self.told(self.continuity.resume(known.next_id, known.gaps), _RESUMED)
        if newest_id is not None:
            missed = [*self.continuity.miss(newest_id, 0.0), *self.continuity.due(inf)]
            told += self.told(missed, {GapState.OPEN: "the service was not running"})
        return told

    def begin_anew(self, next_id: int | None, why: str) -> list[Gap]:
        """Go on in another numbering. Returns the gaps that this closes."""
        return self.told(self.continuity.begin_anew(next_id), {GapState.UNRECOVERABLE: why})

    @property
    def _ns_per_unit(self) -> int:
        """How long a unit of the venue's time is."""
        ns: int = 10 ** (self.instrument.time_exponent + 9)
        return ns

    def told(self, told: Sequence[Told], why: dict[GapState, str] | None = None) -> list[Gap]:
        """Count the outcomes of ids, and turn them into gap records."""
        words = _WHY | (why or {})
        tally = self.tally
        for each in told:
            count = each.last_id - each.first_id + 1
            tally.missing += count * (each.state is GapState.OPEN)
            tally.lost += count * (each.state is GapState.UNRECOVERABLE)
            tally.no_trade += count * (each.state is GapState.NO_TRADE)
        return [
            Gap(
                seq=0,
                instrument=self.instrument,
                first_id=each.first_id,
                last_id=each.last_id,
                state=each.state,
                why=words[each.state],
            )
            for each in told
        ]


class Way(IntEnum):
    """The way on which a trade came that an `Unproven` sequence remembers."""

    LIVE = 0
    ANSWER = 1
    """In the answer to a subscription. It may still come live."""
    REST = 2
    """So may this one."""


class Unproven(IdSequence):
    """A sequence of ids that cannot be compared, so that missing trades cannot be detected."""

    seen: dict[int, Way] = {}
    """The newest ids."""
    ages: deque[tuple[int, int]] = msgspec.field(default_factory=deque)
    """The same ids, oldest first, with the times of their trades."""
    was_answered: bool = False
    """Whether the venue answers subscriptions with past trades."""
    began_time: int | None = None
    """Time of the first trade, or of the newest one that answered the first subscription."""
    resumed_time: int | None = None
    """Time of the first trade that the stream delivered since the last interruption."""
    bridges: int = 0
    """How many answers to a subscription reached back to a trade that was known, and from before
    the interruption if there is one."""
    whole_until: tuple[int, int] | None = None
    """Time and id of the newest trade before an interruption that is being healed."""

    def begin_behind(self, item: VenueTrade | SpentId) -> None:
        super().begin_behind(item)
        self.began_time = self.newest_time
        self.was_answered = True

    def resume(self, known: Remembered, newest_id: int | None) -> list[Gap]:
        """Go on behind the trades of an earlier start, of which those of the last seconds are known
        one by one. They opened no gaps."""
        times = {trade_id: ns // self._ns_per_unit for trade_id, ns in known.recent}
        if known.newest is not None:
            times.setdefault(known.newest.trade_id, known.time_ns // self._ns_per_unit)
        self.newest_time = newest = max(times.values(), default=0)
        since_ns = max(known.since_ns, newest * self._ns_per_unit - REMEMBERED_S * 10**9)
        self.began_time = since_ns // self._ns_per_unit
        if len(known.recent) >= MOST_RECENT:  # those before are not known
            self.began_time = min(times.values())
        for trade_id, time in times.items():
            self._note(trade_id, Way.ANSWER, time)
        return []

    def missed(self, rows: Sequence[VenueTrade], since: int) -> list[VenueTrade]:
        """REST's trades that the stream has not delivered, of those made at `since` or later."""
        since = max(since, self.began_time or 0)
        new = {each.trade_id: each for each in rows if each.trade_id not in self.seen}
        return [each for each in new.values() if each.time >= since]

    def is_foreign(self, rows: Sequence[VenueTrade], interrupted: int) -> bool:
        """Whether REST has other ids than the stream: it has trades of a time in which the stream
        delivered all, up to `interrupted` or since it resumed, and none of them is known."""
        resumed = self.resumed_time
        ids = [
            each.trade_id
            for each in rows
            if each.time <= interrupted
            or (resumed is not None and resumed <= each.time <= self.newest_time)
        ]
        return bool(ids) and all(self.seen.get(each, Way.REST) is Way.REST for each in ids)

    def admit(self, row: VenueTrade) -> Trade | None:
        """Convert a trade of REST, and count it. None if a value fits no field."""
        trade = self.trade(row)
        if trade is not None:
            self._note(row.trade_id, Way.REST, row.time)
            self.tally.trades += 1
            self.tally.back_filled += 1
        return trade

    @property
    def has_begun(self) -> bool:
        return bool(self.seen)

    def _pass_by(self, trade_id: int) -> None:
        self._note(trade_id, Way.ANSWER, self.newest_time)

    def interrupt(self) -> None:
        """Note that trades may be missing behind the newest one."""
        self.whole_until = self.newest_time, self.ages[-1][0]

    def misses(self, item: VenueTrade | SpentId) -> bool:
        """Whether a past id may have been missed. A trade that is older than the newest one may be
        of before the beginning, unless the stream was interrupted since."""
        since = self.newest_time if self.whole_until is None else self.whole_until[0]
        is_old = type(item) is VenueTrade and item.time < since
        return item.trade_id not in self.seen and not is_old

    def is_bridge(self, item: VenueTrade) -> bool:
        """Whether an answer to a subscription that has this trade leaves out none that is missed.
        Others of the same time as the newest one may be behind the hole."""
        if self.whole_until is None:
            return item.trade_id in self.seen
        time, trade_id = self.whole_until
        return item.trade_id == trade_id or (item.time < time and item.trade_id in self.seen)

    def _note(self, trade_id: int, way: Way, time: int) -> None:
        if trade_id not in self.seen:
            self.ages.append((trade_id, time))
        self.seen[trade_id] = way
        if len(self.seen) > REMEMBERED_IDS:
            self._forget()

    def _forget(self) -> None:
        """Forget the oldest id, or two of them, unless it is remembered for its time."""
        span = REMEMBERED_S * int(10**-self.instrument.time_exponent)
        for _ in range(2):
            trade_id, time = self.ages[0]
            is_old = len(self.seen) > REMEMBERED_IDS and time < self.newest_time - span
            if not is_old and len(self.seen) <= MOST_IDS:
                return
            self.ages.popleft()
            del self.seen[trade_id]

    def is_news(
        self, item: VenueTrade | SpentId, out: list[Trade | Gap], *, is_alone: bool
    ) -> bool:
        way = self.seen.get(item.trade_id)
        if way is None:
            return True
        if way:
            self.seen[item.trade_id] = Way.LIVE
            return False
        self.tally.duplicates += 1
        if is_alone:
            self.anomalies.note("trade id seen before", f"{item.symbol} {item.trade_id}")
        return False

    def take(self, trade: Trade, item: VenueTrade, now_s: float, out: list[Trade | Gap]) -> None:
        if item.time > self.newest_time:
            self.newest_time = item.time
        self._note(item.trade_id, Way.ANSWER if item.is_past else Way.LIVE, item.time)
        if self.resumed_time is None:
            self.resumed_time = item.time
            if self.began_time is None:
                self.began_time = item.time
        self.tally.trades += 1
        out.append(trade)

    def spend(self, trade_id: int, now_s: float, out: list[Trade | Gap]) -> None:
        self.tally.spent += 1

    def miss(self, trade_id: int, now_s: float) -> list[Gap]:
        return []

    def undelivered(
        self, rows: Sequence[VenueTrade], since: int, looked_at: VenueTrade | None
    ) -> int:
        if looked_at is not None:
            since = max(since, looked_at.time)
        return sum(each.time > since and each.trade_id not in self.seen for each in rows)
