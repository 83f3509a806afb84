"""Merges the trades of all connections and of REST. Each trade is published once, and every missing
id becomes a gap.

An instrument takes its trades from one kind of stream at a time, and each kind has a numbering of
its own. Trade ids are consecutive, including ids that the venue used without a trade. So a repeated
id is dropped, no matter which connection delivered it first, and a skipped id is detected. When
another kind of stream takes over, its first trade shows how many ids of the old one are missing.

A step takes the items of one read and returns the outcome as a value.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

import msgspec

from fanout.channel.memory import Remembered
from fanout.feed.continuity import Range
from fanout.feed.sequence import MAX_JUMP, IdSequence, Tally, Unproven
from fanout.protocol.constants import U64_MAX, GapState
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Gap, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.values import Continuity, NewestId, SpentId, VenueTrade

_LOST: Final = GapState.UNRECOVERABLE
_FROM_RECORDS: Final = {
    GapState.BACK_FILLED: "from the venue's records",
    GapState.NO_TRADE: "no trade in the venue's records",
}


class Taken(msgspec.Struct):
    """The outcome of one read: trades and gaps in the order to publish.

    `has_misfits`: a value does not fit the units. `has_holes`: ids were skipped. `turned`: symbols
    that two kinds of stream competed for, with the kind that won. `refused`: symbols of trades that
    were not taken, since a value fits no field.
    """

    records: list[Trade | Gap]
    has_misfits: bool = False
    has_holes: bool = False
    turned: list[tuple[str, str]] = []
    refused: tuple[str, ...] = ()


class Filled(msgspec.Struct, frozen=True):
    """The outcome of one page of back-fill. `refused` has the ids of trades that fit no field."""

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
        """Sequences that may have holes which are not reported yet."""
        self.is_alone = True
        """Whether there is only one connection, so that a repeated trade is an anomaly."""
        for each in instruments:
            self.add(each)

    def add(self, instrument: Instrument) -> None:
        """Add an instrument, or take it again after it was dropped."""
        known = self._all[self._stream].get(instrument.symbol)
        if known is None:
            self._all[self._stream][instrument.symbol] = self._new(instrument, Tally())
        else:
            known.instrument, known.is_over = instrument, False

    def give_up(self, symbol: str) -> None:
        """Drop an instrument. Recovery still closes its open gaps."""
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
        """The next expected id; None before the first."""
        return self._all[stream][symbol].continuity.next_id

    def tally(self, stream: str, symbol: str) -> Tally:
        """The counts of an instrument, including those of earlier streams."""
        return self._all[stream][symbol].tally

    def continuity(self, stream: str) -> Continuity:
        return self._kinds[stream]

    def open_gaps(self, symbol: str) -> int:
        """Number of open gaps in all kinds of stream."""
        return sum(len(each.continuity.gaps) for each in self._of(symbol))

    def gaps(self, stream: str, symbol: str) -> list[Range]:
        """The open gaps."""
        sequence = self._all[stream].get(symbol)
        return sequence.continuity.gaps if sequence else []

    def renew(self, instruments: Iterable[Instrument]) -> None:
        """Switch instruments to new units."""
        for instrument in instruments:
            for each in self._of(instrument.symbol):
                each.instrument = instrument

    def miss(self, stream: str, symbol: str, trade_id: int, now_s: float) -> list[Gap]:
        """Note that the venue has a trade which the stream did not deliver."""
        sequence = self._all[stream][symbol]
        self._holed[stream, symbol] = sequence
        return sequence.miss(trade_id, now_s)

    def undelivered(
        self,
        stream: str,
        symbol: str,
        rows: Sequence[VenueTrade],
        since: int,
        looked_at: VenueTrade | None = None,
    ) -> int:
        """How many of REST's trades, oldest first, the stream did not deliver, of those made after
        `since` and not before `looked_at`, the newest one at the last look."""
        return self._all[stream][symbol].undelivered(rows, since, looked_at)

    def unproven(self, stream: str, symbol: str) -> Unproven | None:
        """The sequence of an instrument whose ids do not tell what is missing. None if they do."""
        sequence = self._all.get(stream, {}).get(symbol)
        return sequence if isinstance(sequence, Unproven) else None

    def all_unproven(self) -> Iterator[tuple[str, Unproven]]:
        """All of these, with the kind of stream."""
        for stream, sequences in self._all.items():
            for each in sequences.values():
                if isinstance(each, Unproven):
                    yield stream, each

    def heed_newest(self, item: NewestId, stream: str, now_s: float) -> tuple[bool, list[Gap]]:
        """Take the venue's word for which trade is the newest.

        If ids up to it have not come, they have half a second to do so, and are a gap then. Returns
        whether all have come, and the gaps that follow at once: of too many holes.
        """
        sequence = self._all[stream].get(item.symbol)
        if sequence is None or sequence.is_over:
            return False, []
        next_id = sequence.continuity.next_id
        if next_id is None:
            return sequence.has_begun, []
        if item.trade_id < next_id:
            return True, []
        if item.trade_id - next_id > MAX_JUMP:
            self._anomalies.note("newest trade id implausible", f"{item.symbol} {item.trade_id}")
            return False, []
        return False, self.miss(stream, item.symbol, item.trade_id, now_s)

    def resume(
        self, stream: str, symbol: str, known: Remembered, newest_id: int | None
    ) -> list[Gap]:
        """Go on behind the trades of an earlier start, before anything else has come. `newest_id`
        is the venue's newest trade, None if that is unknown.

        Returns the gaps that are open since then."""
        return self._all[stream][symbol].resume(known, newest_id)

    def begin_anew(self, stream: str, symbol: str, next_id: int | None, why: str) -> list[Gap]:
        """Go on in another numbering, at `next_id` if that is known. Returns the gaps that this
        closes."""
        return self._all[stream][symbol].begin_anew(next_id, why)

    def end(self, *, keeps_gaps: bool = False) -> list[Gap]:
        """Report all missing ids, since the feed ends. All gaps are closed as lost, unless the next
        start goes on with them."""
        gaps: list[Gap] = []
        for each in self._every():
            told = each.continuity.due(inf) if keeps_gaps else each.continuity.end()
            gaps += each.told(told, {_LOST: "the service ended first"})
        return gaps

    def turn_to(
        self, symbol: str, old: str, new: str, continuity: Continuity = Continuity.IDS
    ) -> None:
        """Let two kinds of stream compete for an instrument. The first to deliver a trade wins."""
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
        """Process the items of one read in order.

        A trade with a value that fits no field is logged, counted and dropped. Its id is missing.
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
                taken.refused += (item.symbol,)
                self._holed[stream, item.symbol] = sequence
                out += sequence.miss(trade_id, now_s)
                continue
            if sequence.before is not None or sequence.after is not None:
                _decide(sequence, item, now_s, out)
                taken.turned.append((item.symbol, stream))
            sequence.take(trade, item, now_s, out)
        return taken

    def take_past(self, items: Sequence[VenueTrade | SpentId], stream: str, now_s: float) -> Taken:
        """Process past ids, which the venue sends as the answer to a subscription.

        An instrument's sequence begins behind the first answer. In a later one, known ids are
        dropped. The others are missing: the result has their trades, which count as back-filled.
        """
        sequences = self._all[stream]
        begun = {each.symbol for each in items if _has_begun(sequences.get(each.symbol))}
        missing: list[VenueTrade | SpentId] = []
        for item in items:
            sequence = sequences.get(item.symbol)
            if sequence is None or not 0 <= item.trade_id <= U64_MAX or sequence.is_over:
                missing.append(item)  # which is noted as of any trade
            elif item.symbol not in begun:
                sequence.begin_behind(item)
            elif sequence.misses(item):
                missing.append(item)
            elif isinstance(sequence, Unproven) and type(item) is VenueTrade:
                sequence.bridges += sequence.is_bridge(item)
        taken = self.take(missing, stream, now_s)
        for each in taken.records:
            if type(each) is Trade:
                sequences[each.instrument.symbol].tally.back_filled += 1
        return taken

    def due(self, now_s: float) -> list[Gap]:
        """Report holes older than `WINDOW_S` as open gaps."""
        gaps: list[Gap] = []
        for key, each in list(self._holed.items()):
            gaps += each.told(each.continuity.due(now_s))
            if each.continuity.next_due_s == inf:
                del self._holed[key]
        return gaps

    def back_fill(
        self, stream: str, gap: Range, rows: Sequence[VenueTrade], now_s: float
    ) -> Filled:
        """Take the missing trades of a gap from a page of history.

        The result ends with the closed gap, if nothing is missing any more.
        """
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
            sequence.newest_time = max(sequence.newest_time, row.time)
            trades.append(trade)
        return Filled([*trades, *told] if trades else [], refused, bool(refused))

    def settle(
        self, stream: str, symbol: str, gap: Range, spent: Sequence[Range], why_lost: str
    ) -> list[Gap]:
        """Close a gap after its back-fill. Missing ids in `spent` were never trades."""
        sequence = self._all[stream][symbol]
        told = sequence.continuity.settle(gap, spent)
        return sequence.told(told, _FROM_RECORDS | {_LOST: why_lost})


def _has_begun(sequence: IdSequence | None) -> bool:
    return sequence is not None and sequence.has_begun


def _decide(sequence: IdSequence, item: VenueTrade, now_s: float, out: list[Trade | Gap]) -> None:
    """Let the sequence that delivered a trade win over its competitor.

    The loser stays, so that recovery can close its gaps.
    """
    if sequence.before is not None:
        out += _take_over(sequence, sequence.before, item, now_s)
    elif sequence.after is not None:
        sequence.after.is_over, sequence.after = True, None


def _take_over(
    sequence: IdSequence, before: IdSequence, item: VenueTrade, now_s: float
) -> list[Gap]:
    """Replace the earlier sequence. Its ids up to the first trade of the new one are missing."""
    sequence.before, before.after, before.is_over = None, None, True
    next_id, first = before.continuity.next_id, item.first_fill
    if next_id is None or first is None or not next_id < first <= next_id + MAX_JUMP:
        return []
    before.continuity.miss(first - 1, now_s)
    return before.told(before.continuity.due(inf))
