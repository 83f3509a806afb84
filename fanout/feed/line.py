"""One instrument in one kind of stream: its units, its ids, and what came of them, counted."""

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
"""So many ids in a row that cannot follow from the numbering, but follow each other, make another
numbering. Fewer are somebody's mistake, and dropped."""

STRANGE_STEP: Final = 1_000
"""Most by which one of them may be further on than the one before."""

_WHY: Final = {
    GapState.OPEN: "not in the stream",
    GapState.BACK_FILLED: "arrived late",
    GapState.UNRECOVERABLE: "too many gaps at once",
    GapState.NO_TRADE: "the venue used the id without a trade",
}


class Tally(msgspec.Struct):
    """Counts of one instrument's ids since the start."""

    trades: int = 0
    back_filled: int = 0
    duplicates: int = 0
    spent: int = 0
    """Ids that the venue used up without a trade, and said so."""
    refused: int = 0
    """Trades whose values fit no field."""
    missing: int = 0
    """Ids told as an open gap."""
    lost: int = 0
    """Ids told as unrecoverable."""
    no_trade: int = 0
    """Ids of gaps that turned out to be no trade's."""


class Line(msgspec.Struct):
    """Its gaps have the number 0 until they are published."""

    instrument: Instrument
    tally: Tally
    anomalies: Anomalies
    continuity: Continuity = msgspec.field(default_factory=Continuity)
    before: "Line | None" = None
    """The line that this one takes over from, until it does."""
    after: "Line | None" = None
    """The line that is to take over from this one, until it does."""
    is_over: bool = False
    """Another has taken over, or goes on after all."""
    newest_time: int = 0
    """Of all trades that were taken, in the venue's units."""
    strange: list[int] = []
    """Ids in a row that cannot follow from the numbering, but follow each other."""

    def is_news(
        self, item: VenueTrade | SpentId, out: list[Trade | Gap], *, is_alone: bool
    ) -> bool:
        """Whether an id is to be taken. One that cannot follow from the numbering is, when several
        of its kind follow each other: then the venue has begun to number anew, which is said to
        `out`. `is_alone`: there is only one connection to bring an id."""
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
        """None if its values fit no field: that is said in the log, and counted."""
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
        """Note an id that was used, and did not come."""
        return self.told(self.continuity.miss(trade_id, now_s))

    def told(self, told: Sequence[Told], why: dict[GapState, str] | None = None) -> list[Gap]:
        """Records of what is to be told of ids, counted."""
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
