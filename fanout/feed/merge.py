"""The one place where trades come together, of several connections and of REST. Each goes out
once, and what is missing is told.

An instrument takes its trades from one kind of stream at a time; each kind numbers in its own way.
Trade ids follow each other without a hole, those that the venue spent without a trade included, so
whatever is seen twice is dropped, whoever brought it first, and whatever is skipped is noticed.
Where another kind of stream takes over, its first trade says up to where the old one is missing.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

from fanout.feed.continuity import Range
from fanout.feed.line import MAX_JUMP, Line, Tally
from fanout.protocol.constants import U64_MAX, GapState
from fanout.protocol.records import Gap, Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import SpentId, VenueTrade

_LOST: Final = GapState.UNRECOVERABLE
_FROM_RECORDS: Final = {
    GapState.BACK_FILLED: "from the venue's records",
    GapState.NO_TRADE: "no trade in the venue's records",
}


class Merge:
    """Venue trades in, trades and gaps out, in the order in which a reader should see them.

    Gaps have the number 0 until they are published.
    """

    def __init__(
        self, instruments: Iterable[Instrument], stream: str, anomalies: Anomalies
    ) -> None:
        self._lines: dict[str, dict[str, Line]] = {
            stream: {each.symbol: Line(each, Tally(), anomalies) for each in instruments}
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
        return self._lines[stream][symbol].miss(trade_id, now_s)

    def end(self) -> list[Gap]:
        """Nothing more will come: tell what is missing, and that what is open is lost."""
        gaps: list[Gap] = []
        for line in self._all():
            gaps += line.told(line.continuity.end(), {_LOST: "the service ended before"})
        return gaps

    def turn_to(self, symbol: str, old: str, new: str) -> None:
        """Take an instrument's trades from another kind of stream, from its first trade on, unless
        the old one brings some before."""
        before = self._lines[old][symbol]
        line = Line(before.instrument, before.tally, self._anomalies, before=before)
        before.after = line
        self._lines.setdefault(new, {})[symbol] = line

    def _all(self) -> Iterator[Line]:
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
        if trade_id != line.continuity.next_id:
            if not line.is_news(item, out, is_alone=self.is_alone):
                return
            self.has_new_holes = True
        if type(item) is not VenueTrade:
            line.spend(trade_id, now_s, out)
            return
        trade = line.trade(item)
        if trade is None:
            self.misfits.add(item.symbol)
            out += line.miss(trade_id, now_s)
            self.has_new_holes = True
            return
        if line.before is not None or line.after is not None:
            self._decide(line, item, stream, now_s, out)
        line.take(trade, item, now_s, out)

    def due(self, now_s: float) -> list[Gap]:
        """The gaps to be told now: holes that have stood for long enough."""
        gaps: list[Gap] = []
        for line in self._all():
            gaps += line.told(line.continuity.due(now_s))
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
            trade = line.trade(row)
            if trade is None:
                self.misfits.add(row.symbol)
                refused.append(row.trade_id)
                continue
            done = line.continuity.take(row.trade_id, now_s)
            told += line.told(done, _FROM_RECORDS)
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
        return line.told(told, _FROM_RECORDS | {_LOST: why_lost})

    def _decide(
        self, line: Line, item: VenueTrade, stream: str, now_s: float, out: list[Trade | Gap]
    ) -> None:
        """Of two lines of an instrument one brings a trade: the other is over. That stays: who
        fills its gaps, or looks into why it is quiet, may still ask."""
        if line.before is not None:
            out += _take_over(line, line.before, item, now_s)
        elif line.after is not None:
            line.after.is_over, line.after = True, None
        self.turned.append((item.symbol, stream))


def _take_over(line: Line, before: Line, item: VenueTrade, now_s: float) -> list[Gap]:
    """The first trade of a line: the one before it is missing up to there."""
    line.before, before.after, before.is_over = None, None, True
    next_id, first = before.continuity.next_id, item.first_fill
    if next_id is None or first is None or not next_id < first <= next_id + MAX_JUMP:
        return []
    before.continuity.miss(first - 1, now_s)
    return before.told(before.continuity.due(inf))
