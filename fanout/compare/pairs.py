"""Trades of two streams, matched one to one.

Each trade is kept from its arrival until both streams are `within` further on. A matched one leaves
only its key, by which doubles are noticed. The entries of a symbol stand in a queue in the order of
their arrival, and are decided from its head. If the head has no partner and the other stream may
still bring it (its connection is lost, its feed is down, its GAP is open), the queue waits, up to
`MOST_KEPT` entries of all symbols.

Two pairs stand in different orders exactly if the one that is completed second has the lower rank
in one of the streams: a pair is completed by the later of its two trades. So the highest ranks of
the pairs so far are enough. Back-filled trades are left out: they are late by their nature.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Final

from fanout.compare.fields import EXACT, Fields
from fanout.compare.side import Reported, Seen, Side
from fanout.compare.values import (
    DOUBLE,
    LOST,
    ONLY,
    A,
    B,
    Delays,
    Finding,
    Identity,
    SymbolReport,
    What,
)
from fanout.protocol.records import Trade

MOST_KEPT: Final = 500_000
"""Trades of all symbols that are kept: those of a minute at 8,000 a second. Each takes some 300
bytes without a partner, and 150 with one."""

ROOM_PARTS: Final = 64
"""So much of what is kept is decided at once where there is too much."""

JOINING_NS: Final = 10**9
"""A trade that comes so soon after the other stream has joined may be from before."""

MOST_EXCUSED: Final = 100_000
"""Trades without a partner whose key is kept, because the other stream reported them as lost. It
may back-fill them later."""

Key = int | tuple[object, ...]
Sink = Callable[[Finding], None]


class _Entry:
    """A trade of one side, or a pair."""

    __slots__ = ("at_ns", "key", "rank", "side", "trade")

    def __init__(self, key: Key, side: int, trade: Trade, rank: int, at_ns: int) -> None:
        self.key = key
        self.side = side
        self.trade: Trade | None = trade
        """None once it is matched."""
        self.rank = rank
        self.at_ns = at_ns


class Pairing:
    """The trades of one symbol."""

    def __init__(self, symbol: str) -> None:
        self.report = SymbolReport(symbol=symbol, unequal={})
        self.seen = (Seen(), Seen())
        self.entries: dict[Key, _Entry] = {}
        self.queue: deque[_Entry] = deque()
        self.tops = [-1, -1]
        """The highest rank of a pair in each stream."""
        self.later = (Delays(), Delays())
        self.occurrences: tuple[Counter[object], Counter[object]] = (Counter(), Counter())
        """How often each content came, for `Identity.CONTENT`."""

    def note_window(self) -> None:
        """Put into the report what both streams have seen by now."""
        a, b = self.seen
        if a.first is None or b.first is None:
            return
        first, first_ms = max((a.first, a.first_ms), (b.first, b.first_ms))
        last, last_ms = min((a.last, a.last_ms), (b.last, b.last_ms))
        if first <= last:
            self.report.first_id, self.report.last_id = first, last
            self.report.first_ms, self.report.last_ms = first_ms, last_ms


class Pairs:
    """The trades of all symbols."""

    def __init__(
        self,
        sides: tuple[Side, Side],
        sink: Sink,
        *,
        identity: Identity,
        within_ns: int,
        most_kept: int = MOST_KEPT,
        fields: Fields = EXACT,
    ) -> None:
        self._sides = sides
        self._sink = sink
        self._identity = identity
        self._within_ns = within_ns
        self._most_kept = most_kept
        self._fields = fields
        self.kept = 0
        """How many trades are kept, matched ones included."""
        self._pairings: dict[str, Pairing] = {}
        self._excused: OrderedDict[tuple[str, int, Key], tuple[Trade, Reported]] = OrderedDict()
        """Trades, and why one side may lack them, by symbol, this side, and key."""
        self._waiting = [0, 0]
        """Trades of each side without a partner."""
        self._awaited: tuple[set[_Entry], set[_Entry]] = (set(), set())
        """The trades of each side that a partner may still come for, once this is closed."""
        self._is_closed = False

    def of(self, symbol: str) -> Pairing:
        """The pairing of a symbol."""
        pairing = self._pairings.get(symbol)
        if pairing is None:
            pairing = self._pairings[symbol] = Pairing(symbol)
        return pairing

    @property
    def all(self) -> list[Pairing]:
        """The pairings so far."""
        return list(self._pairings.values())

    @property
    def is_waiting(self) -> bool:
        """Whether a trade may still find its partner."""
        waiting = self._awaited if self._is_closed else self._waiting
        a, b = self._sides
        return bool((waiting[A] and not b.has_ended) or (waiting[B] and not a.has_ended))

    def position(self, trade: Trade) -> int:
        """Where a trade stands among those of its symbol."""
        if self._identity is Identity.ASCENDING:
            return trade.trade_id
        return self._fields.time(trade)

    def take(self, side: int, trade: Trade, at_ns: int) -> None:
        """Take the next trade of a stream."""
        pairing = self.of(trade.instrument.symbol)
        key = self._key(pairing, side, trade)
        entry = pairing.entries.get(key)
        seen = pairing.seen[side]
        if not trade.back_filled:
            self._sides[side].move(seen, self.position(trade), trade.time_ms)
        self._sides[side].report.trades += not self._is_closed
        if entry is not None:
            if entry.side == side or entry.trade is None:
                self._double(pairing, side, trade)
            else:
                self._match(pairing, entry, side, trade, at_ns)
        elif not self._comes_late(pairing, side, key, trade) and not self._is_closed:
            self._keep(pairing, _Entry(key, side, trade, seen.rank, at_ns))
        seen.rank += 1

    def _key(self, pairing: Pairing, side: int, trade: Trade) -> Key:
        if self._identity is not Identity.CONTENT:
            return trade.trade_id
        content = self._fields.content(trade)
        count = pairing.occurrences[side][content]
        pairing.occurrences[side][content] += 1
        return content, count

    def _keep(self, pairing: Pairing, entry: _Entry) -> None:
        pairing.entries[entry.key] = entry
        pairing.queue.append(entry)
        self._waiting[entry.side] += 1
        self.kept += 1
        if self.kept > self._most_kept:
            self._make_room()

    def _make_room(self) -> None:
        """Decide some of the longest queue, which may be one that waits for a gap to be filled."""
        longest = max(self._pairings.values(), key=lambda each: len(each.queue))
        for _ in range(min(len(longest.queue), 1 + self._most_kept // ROOM_PARTS)):
            self._decide(longest, longest.queue[0], is_forced=True)

    def forget_gaps(self, side: int) -> None:
        """A stream's service was started anew. The new one does not know of gaps that are open."""
        for pairing in self._pairings.values():
            seen = pairing.seen[side]
            seen.gone.extend(seen.open)
            seen.open.clear()

    def _double(self, pairing: Pairing, side: int, trade: Trade) -> None:
        report = pairing.report
        if trade.back_filled and self._sides[side].report.restarts:
            _count(report, "again", side)
            return
        _count(report, "double", side)
        self._find(DOUBLE[side], trade)

    def _match(self, pairing: Pairing, entry: _Entry, side: int, trade: Trade, at_ns: int) -> None:
        first = entry.trade
        assert first is not None, "it waits"
        pairs = (first, trade) if side == B else (trade, first)
        seen = pairing.seen[side]
        ranks = (entry.rank, seen.rank) if side == B else (seen.rank, entry.rank)
        later_ns = at_ns - entry.at_ns
        if later_ns:
            pairing.later[side if later_ns > 0 else 1 - side].add(abs(later_ns))
        entry.trade, entry.at_ns = None, max(entry.at_ns, at_ns)
        self._waiting[entry.side] -= 1
        self._awaited[entry.side].discard(entry)
        self._compare(pairing, *pairs)
        if not (first.back_filled or trade.back_filled):
            self._check_order(pairing, ranks, *pairs)

    def _compare(self, pairing: Pairing, a: Trade, b: Trade) -> None:
        pairing.report.matched += 1
        for field, of_a, of_b in self._fields.differing(a, b):
            unequal = pairing.report.unequal
            unequal[field] = unequal.get(field, 0) + 1
            self._find(What.UNEQUAL, a, field, of_a, of_b)

    def _check_order(self, pairing: Pairing, ranks: tuple[int, int], a: Trade, b: Trade) -> None:
        tops = pairing.tops
        if ranks[A] < tops[A] or ranks[B] < tops[B]:
            pairing.report.order += 1
            self._find(What.ORDER, a, "place", str(ranks[A] + 1), str(ranks[B] + 1))
        tops[A], tops[B] = max(tops[A], ranks[A]), max(tops[B], ranks[B])

    def _comes_late(self, pairing: Pairing, side: int, key: Key, trade: Trade) -> bool:
        """Whether this trade was already counted as lost."""
        found = self._excused.pop((pairing.report.symbol, side, key), None)
        if found is None:
            return False
        other, reported = found
        _count(pairing.report, "lost", side, -1)
        self._sides[side].excused -= reported is Reported.LOSS
        self._compare(pairing, *((trade, other) if side == A else (other, trade)))
        return True

    def expire(self) -> None:
        """Decide the trades for which both streams are far enough."""
        for pairing in self._pairings.values():
            queue = pairing.queue
            while queue and self._is_due(pairing, queue[0]):
                self._decide(pairing, queue[0])

    def _is_due(self, pairing: Pairing, entry: _Entry) -> bool:
        a, b = self._sides
        if entry.trade is None:
            return max(a.now_ns, b.now_ns) > entry.at_ns + self._within_ns
        other, seen = self._sides[1 - entry.side], pairing.seen[1 - entry.side]
        return self._has_passed(pairing, entry) and not other.may_bring(seen, entry.trade.trade_id)

    def _decide(self, pairing: Pairing, entry: _Entry, *, is_forced: bool = False) -> None:
        """Count the entry at the head of the queue, and forget it."""
        pairing.queue.popleft()
        del pairing.entries[entry.key]
        self.kept -= 1
        if isinstance(entry.key, tuple) and entry.key[1] == 0:
            for counts in pairing.occurrences:
                counts.pop(entry.key[0], None)
        if entry.trade is not None:
            self._waiting[entry.side] -= 1
            self._awaited[entry.side].discard(entry)
            self._judge(pairing, entry, entry.trade, is_forced=is_forced)

    def _judge(self, pairing: Pairing, entry: _Entry, trade: Trade, *, is_forced: bool) -> None:
        lacking = 1 - entry.side
        other, seen, report = self._sides[lacking], pairing.seen[lacking], pairing.report
        if is_forced and not self._has_passed(pairing, entry):
            report.undecided += 1
            self._find(What.UNDECIDED, trade)
            return
        position = self.position(trade)
        if not self._is_expected(pairing, entry, position):
            report.outside += 1
            return
        reported = other.reported(seen, position, trade.trade_id)
        if reported:
            self._excuse(pairing, lacking, entry.key, trade, reported)
            return
        _count(report, "only", entry.side)
        self._find(ONLY[entry.side], trade)

    def _is_expected(self, pairing: Pairing, entry: _Entry, position: int) -> bool:
        """Whether the other stream should have brought a trade that it lacks.

        It should if it brought earlier and later ones. Where it brought no later one, or none of
        the symbol at all, the time decides: both streams have to be there, without an interruption,
        for as long as a trade may be late, before and after it.
        """
        own, seen = pairing.seen[entry.side], pairing.seen[1 - entry.side]
        if own.first is None or position < own.first:
            return False
        if seen.first is not None and not seen.first < position:
            return False
        if seen.first is not None and position < seen.last:
            return True
        begun_ns = self._sides[1 - entry.side].begun_ns
        if begun_ns is None or not self._has_passed(pairing, entry):
            return False
        steady_ns = max(begun_ns, self._sides[entry.side].settled_ns(own))
        return entry.at_ns >= steady_ns + self._within_ns

    def _has_passed(self, pairing: Pairing, entry: _Entry) -> bool:
        """Whether the other stream is so far that a trade can hardly come."""
        other, seen = self._sides[1 - entry.side], pairing.seen[1 - entry.side]
        since_ns = max(entry.at_ns, other.settled_ns(seen))
        return other.now_ns > since_ns + self._within_ns

    def _excuse(
        self, pairing: Pairing, lacking: int, key: Key, trade: Trade, reported: Reported
    ) -> None:
        """Count a trade that a stream lacks and reported as lost."""
        _count(pairing.report, "lost", lacking)
        self._sides[lacking].excused += reported is Reported.LOSS
        self._excused[pairing.report.symbol, lacking, key] = trade, reported
        if len(self._excused) > MOST_EXCUSED:
            self._excused.popitem(last=False)
        self._find(LOST[lacking], trade)

    def close(self) -> None:
        """The comparison ends here: later trades are only partners for those that wait."""
        self._is_closed = True
        for pairing in self._pairings.values():
            pairing.note_window()
            for entry in pairing.queue:
                if entry.trade is not None and self._is_awaited(pairing, entry, entry.trade):
                    self._awaited[entry.side].add(entry)

    def _is_awaited(self, pairing: Pairing, entry: _Entry, trade: Trade) -> bool:
        """Whether the other stream had joined when it should have brought a trade."""
        other, seen = self._sides[1 - entry.side], pairing.seen[1 - entry.side]
        if seen.first is not None:
            return self.position(trade) > seen.first
        return other.begun_ns is not None and entry.at_ns >= other.begun_ns + JOINING_NS

    def finish(self) -> None:
        """Decide all that is left."""
        for pairing in self._pairings.values():
            while pairing.queue:
                self._decide(pairing, pairing.queue[0])

    def _find(self, what: What, trade: Trade, field: str = "", a: str = "", b: str = "") -> None:
        symbol = trade.instrument.symbol
        self._sink(Finding(symbol, what, trade.trade_id, trade.time_ms, field, a, b))


def _count(report: SymbolReport, name: str, side: int, by: int = 1) -> None:
    """Count for one side: in `only_a`, say."""
    field = f"{name}_{'ab'[side]}"
    setattr(report, field, getattr(report, field) + by)
