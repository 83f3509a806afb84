"""The one place where trades come together, of several connections and of REST. Each goes out
once, and what is missing is told.

An instrument takes its trades from one kind of stream at a time; each kind numbers in its own way.
Trade ids follow each other without a hole, those that the venue spent without a trade included, so
whatever is seen twice is dropped, whoever brought it first, and whatever is skipped is noticed.
Where another kind of stream takes over, its first trade says up to where the old one is missing.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

import msgspec

from fanout.anomalies import Anomalies
from fanout.feed.continuity import Continuity, Range
from fanout.feed.continuity import Gap as Told
from fanout.normalise import to_trade
from fanout.venues.base import SpentId, VenueTrade
from protocol.constants import U64_MAX, GapState
from protocol.errors import NotRepresentableError
from protocol.records import Gap, Instrument, Trade

_LOG = logging.getLogger("fanout")

MAX_JUMP: Final = 100_000_000
"""Ids that may be missing in one go: weeks of the busiest symbol."""

STRANGE_IDS: Final = 3
"""So many ids in a row that cannot follow from the numbering, but follow each other, make another
numbering. Fewer are somebody's mistake, and dropped."""

STRANGE_STEP: Final = 1_000
"""Most by which one of them may be further on than the one before."""

_LOST: Final = GapState.UNRECOVERABLE
_WHY: Final = {
    GapState.OPEN: "not in the stream",
    GapState.BACK_FILLED: "arrived late",
    GapState.UNRECOVERABLE: "too many gaps at once",
    GapState.NO_TRADE: "no trade in the venue's records",
}
_FROM_RECORDS: Final = {GapState.BACK_FILLED: "from the venue's records"}


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
    """Ids of gaps that are no trade's, as the venue's records show."""


class _Line(msgspec.Struct):
    """One instrument in one kind of stream: its units, and its ids."""

    instrument: Instrument
    continuity: Continuity
    tally: Tally
    before: "_Line | None" = None
    """The line that this one takes over from, until it does."""
    after: str | None = None
    """The kind of stream that is to take over from this one, until it does."""
    is_over: bool = False
    """Another has taken over, or goes on after all."""
    newest_time: int = 0
    """Of all trades that were taken, in the venue's units."""
    strange: list[int] = []
    """Ids in a row that cannot follow from the numbering, but follow each other."""


class Merge:
    """Venue trades in, trades and gaps out, in the order in which a reader should see them.

    Gaps have the number 0 until they are published.
    """

    def __init__(
        self, instruments: Iterable[Instrument], stream: str, anomalies: Anomalies
    ) -> None:
        self._lines: dict[str, dict[str, _Line]] = {
            stream: {each.symbol: _Line(each, Continuity(), Tally()) for each in instruments}
        }
        """By kind of stream and symbol."""
        self._anomalies = anomalies
        self.is_alone = True
        """Whether a trade that comes twice is odd: there is only one connection to bring it."""
        self.misfits: set[str] = set()
        """Symbols of which a trade did not fit the units, since this was last cleared."""
        self.has_new_holes = False
        """Whether ids were skipped since this was last cleared: `due` may be due sooner."""
        self.turned: list[tuple[str, str]] = []
        """Symbols whose kind of stream was open and is decided, with that, since this was last
        cleared."""

    @property
    def next_due_s(self) -> float:
        """When `due` has something to tell, unless what is missing comes before."""
        return min(each.continuity.next_due_s for each in self._all())

    def next_id(self, stream: str, symbol: str) -> int | None:
        """The id that comes next; None before the first."""
        return self._lines[stream][symbol].continuity.next_id

    def tally(self, stream: str, symbol: str) -> Tally:
        """Counts, of the streams that came before included."""
        return self._lines[stream][symbol].tally

    def open_gaps(self, symbol: str) -> int:
        """How many gaps are open, those that another stream left included."""
        return sum(
            len(each.continuity.gaps) for each in self._all() if each.instrument.symbol == symbol
        )

    def gaps(self, stream: str, symbol: str) -> list[Range]:
        """Gaps that were told and are open."""
        return self._lines[stream][symbol].continuity.gaps

    def renew(self, instruments: Iterable[Instrument]) -> None:
        """Go on in other units."""
        renewed = {each.symbol: each for each in instruments}
        for line in self._all():
            line.instrument = renewed[line.instrument.symbol]

    def miss(self, stream: str, symbol: str, trade_id: int, now_s: float) -> list[Gap]:
        """Note that the venue made a trade which the stream did not bring."""
        line = self._lines[stream][symbol]
        return self._told(line, line.continuity.miss(trade_id, now_s))

    def end(self) -> list[Gap]:
        """Nothing more will come: tell what is missing, and that what is open is lost."""
        gaps: list[Gap] = []
        for line in self._all():
            gaps += self._told(line, line.continuity.end(), {_LOST: "the service ended before"})
        return gaps

    def turn_to(self, symbol: str, old: str, new: str) -> None:
        """Take an instrument's trades from another kind of stream, from its first trade on, unless
        the old one brings some before."""
        before = self._lines[old][symbol]
        before.after = new
        line = _Line(before.instrument, Continuity(), before.tally, before=before)
        self._lines.setdefault(new, {})[symbol] = line

    def _all(self) -> Iterator[_Line]:
        for lines in self._lines.values():
            yield from lines.values()

    def take(
        self, item: VenueTrade | SpentId, stream: str, now_s: float, out: list[Trade | Gap]
    ) -> None:
        """Append what `item` means to `out`: nothing, a trade, a gap, or both.

        A value that cannot be represented is refused: said in the log, counted, and its id left
        as a hole.
        """
        line = self._lines[stream].get(item.symbol)
        if line is None:
            self._anomalies.note("trade of a symbol that was not subscribed", item.symbol)
            return
        if line.is_over:
            return
        trade_id = item.trade_id
        if not 0 <= trade_id <= U64_MAX:
            self._anomalies.note("trade id out of range", f"{item.symbol} {trade_id}")
            return
        if not self._fits(line, item, out):
            return
        told = None
        if type(item) is VenueTrade:
            trade = self._trade(line, item)
            if trade is None:
                out += self._told(line, line.continuity.miss(trade_id, now_s))
                self.has_new_holes = True
                return
            if line.before is not None:
                out += self._take_over(line, line.before, item, now_s)
                self.turned.append((item.symbol, stream))
            elif line.after is not None:
                # It stays, over: who fills its gaps, or looks into why it is quiet, may still ask.
                self._lines[line.after][item.symbol].is_over = True
                line.after = None
                self.turned.append((item.symbol, stream))
            told = line.continuity.take(trade_id, now_s)
            if item.time > line.newest_time:
                line.newest_time = item.time
            line.tally.trades += 1
            out.append(trade)
        else:
            told = line.continuity.take(trade_id, now_s)
            line.tally.spent += 1
        if line.strange:
            line.strange = []
        if told:
            out += self._told(line, told)

    def due(self, now_s: float) -> list[Gap]:
        """The gaps to be told now: holes that have stood for long enough."""
        gaps: list[Gap] = []
        for line in self._all():
            gaps += self._told(line, line.continuity.due(now_s))
        return gaps

    def back_fill(
        self, stream: str, gap: Range, rows: Sequence[VenueTrade], now_s: float
    ) -> tuple[list[Trade], list[int], list[Gap]]:
        """Take what the venue's records have of a gap's missing ids.

        Gives the trades, the ids of rows that are refused, and the gap as filled if nothing is
        missing any more.
        """
        trades: list[Trade] = []
        refused: list[int] = []
        told: list[Gap] = []
        for row in rows:
            line = self._lines[stream][row.symbol]
            if not line.continuity.is_missing(row.trade_id, gap):
                continue
            trade = self._trade(line, row)
            if trade is None:
                refused.append(row.trade_id)
                continue
            done = line.continuity.take(row.trade_id, now_s)
            told += self._told(line, done, _FROM_RECORDS)
            line.tally.trades += 1
            line.tally.back_filled += 1
            trades.append(trade)
        return trades, refused, told

    def settle(
        self, stream: str, symbol: str, gap: Range, spent: Sequence[Range], why_lost: str
    ) -> list[Gap]:
        """Close a gap of which nothing more will come. Missing ids in `spent` are no trade's."""
        line = self._lines[stream][symbol]
        told = line.continuity.settle(gap, spent)
        return self._told(line, told, _FROM_RECORDS | {_LOST: why_lost})

    def _take_over(self, line: _Line, before: _Line, item: VenueTrade, now_s: float) -> list[Gap]:
        """The first trade of a line: the one before it is missing up to there."""
        line.before, before.after, before.is_over = None, None, True
        next_id, first = before.continuity.next_id, item.first_fill
        if next_id is None or first is None or not next_id < first <= next_id + MAX_JUMP:
            return []
        before.continuity.miss(first - 1, now_s)
        return self._told(before, before.continuity.due(inf))

    def _fits(self, line: _Line, item: VenueTrade | SpentId, out: list[Trade | Gap]) -> bool:
        """Whether an id is news. One that cannot follow from the numbering is, when several of its
        kind follow each other: then the venue has begun to number anew."""
        continuity, trade_id = line.continuity, item.trade_id
        next_id = continuity.next_id
        if next_id is None or trade_id == next_id:
            return True
        is_new = continuity.is_new(trade_id)
        if is_new and trade_id - next_id <= MAX_JUMP:
            self.has_new_holes = True
            return True
        if not is_new:
            line.tally.duplicates += 1
            if self.is_alone:
                self._anomalies.note("trade id seen before", f"{item.symbol} {trade_id}")
            if type(item) is not VenueTrade or item.time <= line.newest_time:
                return False
        if line.strange and not 0 < trade_id - line.strange[-1] <= STRANGE_STEP:
            line.strange = []
        line.strange = [*line.strange, trade_id]
        if len(line.strange) < STRANGE_IDS:
            return False
        _LOG.error("%s: the venue numbers anew, from %d on", item.symbol, line.strange[0])
        self.has_new_holes = True  # those of its kind that came before this one
        told = continuity.begin_anew(line.strange[0])
        out += self._told(line, told, {_LOST: "the venue numbers anew"})
        return True

    def _trade(self, line: _Line, item: VenueTrade) -> Trade | None:
        try:
            return to_trade(item, line.instrument)
        except NotRepresentableError as error:
            line.tally.refused += 1
            self.misfits.add(item.symbol)
            self._anomalies.note("trade refused", error, level=logging.ERROR)
            return None

    def _told(
        self, line: _Line, told: Sequence[Told], why: dict[GapState, str] | None = None
    ) -> list[Gap]:
        """Records of what is to be told of an instrument's ids, counted."""
        words = _WHY | (why or {})
        tally = line.tally
        for each in told:
            count = each.last_id - each.first_id + 1
            tally.missing += count * (each.state is GapState.OPEN)
            tally.lost += count * (each.state is _LOST)
            tally.no_trade += count * (each.state is GapState.NO_TRADE)
        return [
            Gap(
                seq=0,
                instrument=line.instrument,
                first_id=each.first_id,
                last_id=each.last_id,
                state=each.state,
                why=words[each.state],
            )
            for each in told
        ]
