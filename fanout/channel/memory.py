"""What the next start of a service has to know of a channel's trades: how far they came, and which
are missing.

While the service runs, the channel gives it at any time. After a start it is made again from what
was saved, and from the records behind that, by `Recollection`.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from fanout.protocol.constants import U64_MAX, GapState, TradeKind
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Gap, Record, Snapshot, Trade

Range = tuple[int, int]
"""First and last id, both included."""

MAX_STEP: Final = 100_000_000
"""Ids that are further apart are of two numberings."""

RECENT_NS: Final = 90_000_000_000
MOST_RECENT: Final = 65_536
"""For so long, and so many of a symbol, trades are remembered one by one. As many as a feed
remembers where ids prove nothing."""

UNTOLD_NS: Final = 2_000_000_000
"""A skipped id is reported as missing within half a second. A service that was killed had no time
for those of the last moments."""


class Remembered(msgspec.Struct, frozen=True):
    """What is remembered of one symbol."""

    newest: Trade | None
    """Its newest trade, with the index and in the units of then; None before the first."""
    next_id: int
    """Behind the highest id that came, or was reported."""
    gaps: tuple[Range, ...] = ()
    """Ids that were reported as missing, without an outcome so far. They ascend."""
    recent: tuple[tuple[int, int], ...] = ()
    """Ids and times in unix ns of the last trades, in the order in which they came."""
    since_ns: int = 0
    """Time of the first trade that was remembered. What came before is of no concern."""

    @property
    def is_aggregate(self) -> bool:
        return self.newest is not None and self.newest.kind is TradeKind.AGGREGATE

    @property
    def time_ns(self) -> int:
        """Time of the newest trade, unix ns; 0 before the first."""
        return time_ns_of(self.newest) if self.newest is not None else 0


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a channel, up to a record."""

    epoch_ns: int
    next_seq: int
    """The number that is due behind everything that is remembered here."""
    time_ns: int
    """When that was, unix ns."""
    symbols: dict[str, Remembered] = {}

    def without_recent(self) -> "Memory":
        """The same without single trades, which may take much memory."""
        symbols = {
            symbol: msgspec.structs.replace(each, recent=())
            for symbol, each in self.symbols.items()
        }
        return msgspec.structs.replace(self, symbols=symbols)


class OpenGaps:
    """The ids of each symbol that were reported as missing, without an outcome so far."""

    def __init__(self, before: Memory | None = None) -> None:
        """`before` has what was open before the first report."""
        symbols = before.symbols.items() if before else ()
        self._open = {symbol: [*each.gaps] for symbol, each in symbols if each.gaps}
        self._last: dict[str, int] = {}
        """The highest id of all reports."""

    def take(self, gap: Gap) -> None:
        """Note a report."""
        symbol, told = gap.instrument.symbol, (gap.first_id, gap.last_id)
        rest = _without(self._open.pop(symbol, []), told)
        if rest:
            self._open[symbol] = rest
        if gap.state is GapState.OPEN:
            self.add(symbol, told)
        self._last[symbol] = max(self._last.get(symbol, 0), gap.last_id)

    def add(self, symbol: str, missing: Range) -> None:
        """Add ids that are missing."""
        rest = _without(self._open.get(symbol, []), missing)
        insort(rest, missing)
        self._open[symbol] = rest

    def of(self, symbol: str) -> tuple[Range, ...]:
        return tuple(self._open.get(symbol, ()))

    def next_id(self, symbol: str, next_id: int | None) -> int | None:
        """The next id behind all that were reported, if `next_id` is the one behind all that
        came. None if there was neither."""
        last = self._last.get(symbol)
        if last is None:
            return next_id
        is_further = next_id is None or next_id <= last <= next_id + MAX_STEP
        return last + 1 if is_further else next_id


class _Symbol(msgspec.Struct):
    """What is known of one symbol, while its records come."""

    newest: Trade | None
    newest_ns: int
    next_id: int | None
    since_ns: int
    instrument: Instrument | None = None
    """That of the last trade, and how long a unit of its time is."""
    ns_per_unit: int = 1
    recent: deque[tuple[int, int]] = msgspec.field(
        default_factory=lambda: deque(maxlen=MOST_RECENT)
    )
    skipped: list[tuple[Range, int]] = []
    """Ids that were skipped lately, with the time at which a later one came."""

    def take(self, trade: Trade, received_ns: int) -> None:
        """Take the next trade. `received_ns` is the latest time so far."""
        if trade.instrument is not self.instrument:
            self.instrument = trade.instrument
            self.ns_per_unit = 10 ** (trade.instrument.time_exponent + 9)
        trade_id, time_ns, recent = trade.trade_id, trade.time * self.ns_per_unit, self.recent
        recent.append((trade_id, time_ns))
        while recent[0][1] < time_ns - RECENT_NS:
            recent.popleft()
        if trade_id == self.next_id and not trade.back_filled:
            self.next_id = trade_id + 1  # the usual case takes a microsecond
        else:
            self._count(trade, received_ns)
        if time_ns < self.since_ns:
            self.since_ns = time_ns
        if time_ns >= self.newest_ns:
            self.newest, self.newest_ns = trade, time_ns

    def _count(self, trade: Trade, received_ns: int) -> None:
        """Follow the ids. Another kind of trades has a numbering of its own, which begins when it
        comes live."""
        trade_id, next_id, newest = trade.trade_id, self.next_id, self.newest
        is_same = newest is None or _is_aggregate(newest) is _is_aggregate(trade)
        if next_id is None or not (is_same and abs(trade_id - next_id) <= MAX_STEP):
            if next_id is None or not trade.back_filled:
                self.next_id, self.skipped = trade_id + 1, []
        elif trade_id >= next_id:
            self.next_id = trade_id + 1
            if trade_id > next_id and not trade.back_filled:
                self.skipped = [
                    *(each for each in self.skipped if each[1] >= received_ns - UNTOLD_NS),
                    ((next_id, trade_id - 1), received_ns),
                ]
        else:
            self.find((trade_id, trade_id))

    def find(self, found: Range) -> None:
        """Note that ids came late, or were reported."""
        if self.skipped:
            skipped = self.skipped
            self.skipped = [(rest, ns) for run, ns in skipped for rest in _without([run], found)]


class Recollection:
    """Makes a `Memory` from a channel's records, in their order."""

    def __init__(self, before: Memory | None = None) -> None:
        """`before` is what is remembered from before the records."""
        known = before.symbols if before else {}
        self._gaps = OpenGaps(before)
        self._symbols = {
            symbol: _Symbol(
                each.newest,
                each.time_ns,
                each.next_id,
                each.since_ns or U64_MAX,
                recent=deque(each.recent, maxlen=MOST_RECENT),
            )
            for symbol, each in known.items()
        }
        self._received_ns = 0

    def take(self, records: Iterable[Record]) -> None:
        for each in records:
            if type(each) is Trade:
                if each.received_ns > self._received_ns:
                    self._received_ns = each.received_ns
                self._of(each.instrument.symbol).take(each, self._received_ns)
            elif type(each) is Gap:
                self._gaps.take(each)
                self._of(each.instrument.symbol).find((each.first_id, each.last_id))
            elif type(each) is Snapshot:
                for trade in each.trades:
                    known = self._of(trade.instrument.symbol)
                    if known.next_id is None:
                        known.take(trade, self._received_ns)

    def end(self, *, is_orderly: bool) -> None:
        """Note the end of an epoch. Where it was not orderly, ids that were skipped shortly before
        are missing."""
        for symbol, known in self._symbols.items():
            for run, received_ns in () if is_orderly else known.skipped:
                if received_ns >= self._received_ns - UNTOLD_NS:
                    self._gaps.add(symbol, run)
            known.skipped = []

    def memory(self, *, epoch_ns: int, next_seq: int, symbols: Iterable[str]) -> Memory:
        """What is remembered of these symbols now."""
        known = {symbol: self._remembered(symbol) for symbol in symbols}
        return Memory(
            epoch_ns=epoch_ns,
            next_seq=next_seq,
            time_ns=self._received_ns,
            symbols={symbol: each for symbol, each in known.items() if each is not None},
        )

    def _remembered(self, symbol: str) -> Remembered | None:
        known = self._of(symbol)
        next_id = self._gaps.next_id(symbol, known.next_id)
        if next_id is None:
            return None
        gaps, since_ns = self._gaps.of(symbol), known.since_ns if known.newest else 0
        return Remembered(known.newest, next_id, gaps, tuple(known.recent), since_ns)

    def _of(self, symbol: str) -> _Symbol:
        known = self._symbols.get(symbol)
        if known is None:
            known = self._symbols[symbol] = _Symbol(None, 0, None, U64_MAX)
        return known


def time_ns_of(trade: Trade) -> int:
    """The venue's time of a trade, unix ns."""
    ns: int = 10 ** (trade.instrument.time_exponent + 9)
    return trade.time * ns


def _is_aggregate(trade: Trade) -> bool:
    return trade.kind is TradeKind.AGGREGATE


def _without(ranges: Iterable[Range], but: Range) -> list[Range]:
    """The ids of ascending ranges that are not in `but`."""
    rest: list[Range] = []
    for first, last in ranges:
        rest += [(first, min(last, but[0] - 1)), (max(first, but[1] + 1), last)]
    return [each for each in rest if each[0] <= each[1]]
