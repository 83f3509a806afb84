"""One instrument in one kind of stream: its units, its trade ids, and what became of them.

A stream whose ids prove nothing has an `Unproven` sequence: it drops what it has seen of late, and
never opens a gap.
"""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from fanout.feed.continuity import Continuity
from fanout.feed.continuity import Gap as Told
from fanout.feed.normalise import to_trade
from fanout.protocol.constants import GapState
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.records import Gap, Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import SpentId, VenueTrade

_LOG = logging.getLogger("fanout")

MAX_JUMP: Final = 100_000_000
"""Ids that may be missing in one go: weeks of the busiest symbol."""

STRANGE_IDS: Final = 3
"""So many ids in a row that cannot follow from the numbering, but follow each other, begin a new
numbering. Fewer are a mistake of the venue's and are dropped."""

STRANGE_STEP: Final = 1_000
"""Most by which one of them may be further on than the one before."""

REMEMBERED_IDS: Final = 4_096
"""Ids of an instrument that an `Unproven` sequence tells repeats by."""

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
    """Ids that the venue used up without a trade, and said so."""
    refused: int = 0
    """Trades whose values fit no field."""
    missing: int = 0
    lost: int = 0
    no_trade: int = 0


class IdSequence(msgspec.Struct):
    """Its gaps have the sequence number 0 until they are published."""

    instrument: Instrument
    tally: Tally
    anomalies: Anomalies
    continuity: Continuity = msgspec.field(default_factory=Continuity)
    before: "IdSequence | None" = None
    """The sequence that this one takes over from, until it does."""
    after: "IdSequence | None" = None
    """The sequence that is to take over from this one, until it does."""
    is_over: bool = False
    """Another sequence has taken over, or the venue delisted the instrument."""
    newest_time: int = 0
    """Of all trades that were taken, in the venue's units."""
    strange: list[int] = []
    """Ids in a row that cannot follow from the numbering, but follow each other."""

    def is_news(
        self, item: VenueTrade | SpentId, out: list[Trade | Gap], *, is_alone: bool
    ) -> bool:
        """Whether an id is to be taken. Several in a row that cannot follow from the numbering, but
        follow each other, are: then the venue numbers anew, and `out` gets the gaps that this
        closes. `is_alone`: there is only one connection to bring an id."""
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
        _LOG.error("%s: the venue numbers anew, from %d on", item.symbol, self.strange[0])
        told = continuity.begin_anew(self.strange[0])
        out += self.told(told, {GapState.UNRECOVERABLE: "the venue numbers anew"})
        return True

    def trade(self, item: VenueTrade) -> Trade | None:
        """None if its values fit no field; that is counted and logged."""
        try:
            return to_trade(item, self.instrument)
        except NotRepresentableError as error:
            self.tally.refused += 1
            self.anomalies.note("trade refused", error, level=logging.ERROR)
            return None

    def take(self, trade: Trade, item: VenueTrade, now_s: float, out: list[Trade | Gap]) -> None:
        """Append a trade that is news, and the gap that it completes."""
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
        """Note an id that is news, and no trade's."""
        told = self.continuity.take(trade_id, now_s, is_spent=True)
        self.tally.spent += 1
        if self.strange:
            self.strange = []
        if told:
            out += self.told(told)

    def miss(self, trade_id: int, now_s: float) -> list[Gap]:
        """Note that the venue used an id which the stream did not bring."""
        return self.told(self.continuity.miss(trade_id, now_s))

    def told(self, told: Sequence[Told], why: dict[GapState, str] | None = None) -> list[Gap]:
        """Gap records for what became of ids, counted."""
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


class Unproven(IdSequence):
    """A sequence of ids that cannot be compared: what is missing cannot be known."""

    seen: dict[int, None] = {}

    def is_news(
        self, item: VenueTrade | SpentId, out: list[Trade | Gap], *, is_alone: bool
    ) -> bool:
        if item.trade_id not in self.seen:
            return True
        self.tally.duplicates += 1
        if is_alone:
            self.anomalies.note("trade id seen before", f"{item.symbol} {item.trade_id}")
        return False

    def take(self, trade: Trade, item: VenueTrade, now_s: float, out: list[Trade | Gap]) -> None:
        self.seen[item.trade_id] = None
        if len(self.seen) > REMEMBERED_IDS:
            del self.seen[next(iter(self.seen))]
        self.tally.trades += 1
        out.append(trade)

    def spend(self, trade_id: int, now_s: float, out: list[Trade | Gap]) -> None:
        self.tally.spent += 1

    def miss(self, trade_id: int, now_s: float) -> list[Gap]:
        return []
