"""Where the trades of several connections and of REST come together. Each trade goes out once, and
every id that is missing becomes a gap.

An instrument takes its trades from one kind of stream at a time; each kind numbers in its own way.
Trade ids follow each other without a hole, ids that the venue spent without a trade included. So an
id that was seen before is dropped, whichever connection brought it first, and a skipped one is
noticed. Where another kind of stream takes over, its first trade shows up to where the old one is
missing.

A step takes what one read brought and returns what came of it, as a value.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

import msgspec

from fanout.feed.continuity import Range
from fanout.feed.sequence import MAX_JUMP, IdSequence, Tally, Unproven
from fanout.protocol.constants import U64_MAX, GapState
from fanout.protocol.records import Gap, Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import Continuity, SpentId, VenueTrade

_LOST: Final = GapState.UNRECOVERABLE
_FROM_RECORDS: Final = {
    GapState.BACK_FILLED: "from the venue's records",
    GapState.NO_TRADE: "no trade in the venue's records",
}


class Taken(msgspec.Struct):
    """What came of the items of one read: trades and gaps in the order in which a reader should see
    them. `has_misfits`: some trade does not fit the units. `has_holes`: ids were skipped. `turned`:
    symbols for which one of two kinds of stream was decided on, with that."""

    records: list[Trade | Gap]
    has_misfits: bool = False
    has_holes: bool = False
    turned: list[tuple[str, str]] = []


class Filled(msgspec.Struct, frozen=True):
    """What the venue's records had of a gap, and ids of rows that fit no field."""

    records: list[Trade | Gap]
    refused: list[int]
    has_misfits: bool


class Sequences:
    """The sequences of one feed, by kind of stream and symbol."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        stream: str,
        anomalies: Anomalies,
        continuity: Continuity = Continuity.IDS,
    ) -> None:
        self._anomalies = anomalies
        self._stream = stream
        self._kinds = {stream: continuity}
        self._all: dict[str, dict[str, IdSequence]] = {stream: {}}
        self._holed: dict[tuple[str, str], IdSequence] = {}
        """Those that may have holes that are not gaps yet."""
        self.is_alone = True
        """Whether a trade that comes twice is odd: there is only one connection to bring it."""
        for each in instruments:
            self.add(each)

    def add(self, instrument: Instrument) -> None:
        """Take an instrument from now on; again, if it was given up."""
        known = self._all[self._stream].get(instrument.symbol)
        if known is None:
            self._all[self._stream][instrument.symbol] = self._new(instrument, Tally())
        else:
            known.instrument, known.is_over = instrument, False

    def give_up(self, symbol: str) -> None:
        """Take an instrument no more. Its gaps stay open until they are closed."""
        for each in self._of(symbol):
            each.is_over, each.before, each.after = True, None, None

    def _new(self, instrument: Instrument, tally: Tally, stream: str | None = None) -> IdSequence:
        is_proven = self._kinds[stream or self._stream] is Continuity.IDS
        return (IdSequence if is_proven else Unproven)(instrument, tally, self._anomalies)

    @property
    def next_due_s(self) -> float:
        """When `due` has a gap to report, unless the missing ids come before."""
        return min((each.continuity.next_due_s for each in self._holed.values()), default=inf)

    def next_id(self, stream: str, symbol: str) -> int | None:
        """The id that comes next; None before the first."""
        return self._all[stream][symbol].continuity.next_id

    def tally(self, stream: str, symbol: str) -> Tally:
        """Counts, of the streams that came before included."""
        return self._all[stream][symbol].tally

    def continuity(self, stream: str) -> Continuity:
        return self._kinds[stream]

    def open_gaps(self, symbol: str) -> int:
        """How many gaps are open, in all kinds of stream."""
        return sum(len(each.continuity.gaps) for each in self._of(symbol))

    def gaps(self, stream: str, symbol: str) -> list[Range]:
        """Gaps that were reported and are open."""
        sequence = self._all[stream].get(symbol)
        return sequence.continuity.gaps if sequence else []

    def renew(self, instruments: Iterable[Instrument]) -> None:
        """Go on in other units."""
        for instrument in instruments:
            for each in self._of(instrument.symbol):
                each.instrument = instrument

    def miss(self, stream: str, symbol: str, trade_id: int, now_s: float) -> list[Gap]:
        """Note that the venue made a trade which the stream did not bring."""
        sequence = self._all[stream][symbol]
        self._holed[stream, symbol] = sequence
        return sequence.miss(trade_id, now_s)

    def end(self) -> list[Gap]:
        """Nothing more will come: report what is missing, and that what is open is lost."""
        gaps: list[Gap] = []
        for each in self._every():
            gaps += each.told(each.continuity.end(), {_LOST: "the service ended before"})
        return gaps

    def turn_to(
        self, symbol: str, old: str, new: str, continuity: Continuity = Continuity.IDS
    ) -> None:
        """Take an instrument's trades from another kind of stream, from its first trade on, unless
        the old one brings some before."""
        before = self._all[old][symbol]
        self._kinds.setdefault(new, continuity)
        sequence = self._new(before.instrument, before.tally, new)
        sequence.before, before.after = before, sequence
        self._all.setdefault(new, {})[symbol] = sequence

    def _every(self) -> Iterator[IdSequence]:
        for sequences in self._all.values():
            yield from sequences.values()

    def _of(self, symbol: str) -> Iterator[IdSequence]:
        for sequences in self._all.values():
            if symbol in sequences:
                yield sequences[symbol]

    def take(self, items: Iterable[VenueTrade | SpentId], stream: str, now_s: float) -> Taken:
        """What the items of one read mean, in their order.

        A value that cannot be represented is refused: logged, counted, and its id left as a hole.
        """
        taken = Taken([])
        out, sequences = taken.records, self._all[stream]
        for item in items:
            sequence, trade_id = sequences.get(item.symbol), item.trade_id
            if sequence is None:
                self._anomalies.note("trade of a symbol that was not subscribed", item.symbol)
                continue
            if sequence.is_over:
                continue
            if not 0 <= trade_id <= U64_MAX:
                self._anomalies.note("trade id out of range", f"{item.symbol} {trade_id}")
                continue
            if trade_id != sequence.continuity.next_id:
                if not sequence.is_news(item, out, is_alone=self.is_alone):
                    continue
                if sequence.continuity.next_id is not None:
                    taken.has_holes = True
                    self._holed[stream, item.symbol] = sequence
            if type(item) is not VenueTrade:
                sequence.spend(trade_id, now_s, out)
                continue
            trade = sequence.trade(item)
            if trade is None:
                taken.has_misfits = taken.has_holes = True
                self._holed[stream, item.symbol] = sequence
                out += sequence.miss(trade_id, now_s)
                continue
            if sequence.before is not None or sequence.after is not None:
                _decide(sequence, item, now_s, out)
                taken.turned.append((item.symbol, stream))
            sequence.take(trade, item, now_s, out)
        return taken

    def due(self, now_s: float) -> list[Gap]:
        """The gaps to report now: holes that have stood for long enough."""
        gaps: list[Gap] = []
        for key, each in list(self._holed.items()):
            gaps += each.told(each.continuity.due(now_s))
            if each.continuity.next_due_s == inf:
                del self._holed[key]
        return gaps

    def back_fill(
        self, stream: str, gap: Range, rows: Sequence[VenueTrade], now_s: float
    ) -> Filled:
        """Take what the venue's records have of a gap's missing ids: trades, and behind them the
        gap as filled if nothing is missing any more."""
        trades: list[Trade | Gap] = []
        refused: list[int] = []
        told: list[Gap] = []
        for row in rows:
            sequence = self._all[stream][row.symbol]
            if not sequence.continuity.is_missing(row.trade_id, gap):
                continue
            trade = sequence.trade(row)
            if trade is None:
                refused.append(row.trade_id)
                continue
            done = sequence.continuity.take(row.trade_id, now_s)
            told += sequence.told(done, _FROM_RECORDS)
            sequence.tally.trades += 1
            sequence.tally.back_filled += 1
            trades.append(trade)
        return Filled([*trades, *told] if trades else [], refused, bool(refused))

    def settle(
        self, stream: str, symbol: str, gap: Range, spent: Sequence[Range], why_lost: str
    ) -> list[Gap]:
        """Close a gap of which nothing more will come. Missing ids in `spent` were never trades."""
        sequence = self._all[stream][symbol]
        told = sequence.continuity.settle(gap, spent)
        return sequence.told(told, _FROM_RECORDS | {_LOST: why_lost})


def _decide(sequence: IdSequence, item: VenueTrade, now_s: float, out: list[Trade | Gap]) -> None:
    """Of two sequences of an instrument one brings a trade: the other is over. It stays, for those
    who fill its gaps."""
    if sequence.before is not None:
        out += _take_over(sequence, sequence.before, item, now_s)
    elif sequence.after is not None:
        sequence.after.is_over, sequence.after = True, None


def _take_over(
    sequence: IdSequence, before: IdSequence, item: VenueTrade, now_s: float
) -> list[Gap]:
    """The first trade of a sequence: the one before it is missing up to there."""
    sequence.before, before.after, before.is_over = None, None, True
    next_id, first = before.continuity.next_id, item.first_fill
    if next_id is None or first is None or not next_id < first <= next_id + MAX_JUMP:
        return []
    before.continuity.miss(first - 1, now_s)
    return before.told(before.continuity.due(inf))
