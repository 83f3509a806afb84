"""What a comparison finds: values, and the tallies that they are made of."""

from bisect import bisect_left
from collections import Counter
from enum import Enum, StrEnum, auto
from typing import Final

import msgspec

from fanout.stats.histogram import BOUNDS_NS

A: Final = 0
B: Final = 1
NAMES: Final = ("A", "B")
"""The sides, by their index."""


class Identity(Enum):
    """What makes two trades the same one."""

    ASCENDING = auto()
    """The trade id. Ids of an instrument ascend, so they also show what lies between two trades."""
    UNORDERED = auto()
    """The trade id. Any id may follow any other; the venue's time shows what lies between."""
    CONTENT = auto()
    """The venue's time, price, quantity and side: the nth such trade of one stream is the nth of
    the other."""


class Clock(StrEnum):
    """The times by which one stream is later than the other."""

    ARRIVAL = "arrival"
    """When this process had the record, by one clock."""
    RECEIVED = "received"
    """When the stream's own service had it from the venue, by the clock of each."""


class What(StrEnum):
    """The kind of a finding. All but the last two are differences."""

    ONLY_A = "only-a"
    ONLY_B = "only-b"
    UNEQUAL = "unequal"
    """A field of a matched trade differs."""
    DOUBLE_A = "double-a"
    DOUBLE_B = "double-b"
    ORDER = "order"
    """A matched trade stands before an earlier pair in one stream, and behind it in the other."""
    QUOTE = "quote"
    BOOK = "book"
    """Quotes, or order books, differ at an update id."""
    UNDECIDED = "undecided"
    """More trades waited for their partner than are kept."""
    LOST_A = "lost-a"
    LOST_B = "lost-b"
    """A trade is missing in a stream that reported a loss."""

    @property
    def is_reported(self) -> bool:
        """Whether the stream announced it, so that it is no difference."""
        return self in (What.LOST_A, What.LOST_B)


ONLY: Final = (What.ONLY_A, What.ONLY_B)
DOUBLE: Final = (What.DOUBLE_A, What.DOUBLE_B)
LOST: Final = (What.LOST_A, What.LOST_B)


class Finding(msgspec.Struct, frozen=True):
    """One difference, or one trade that a side reported as lost.

    `number` is the trade id, or the update id of a quote or book; `time_ms` the venue's time, unix
    ms. `field` says what differs, and `a` and `b` how, as text.
    """

    symbol: str
    what: What
    number: int
    time_ms: int
    field: str = ""
    a: str = ""
    b: str = ""


class Delays:
    """How much later one side was: a distribution, accurate to a seventh, and the longest."""

    def __init__(self) -> None:
        self.count = 0
        self.max_ns = 0
        self._counts: Counter[int] = Counter()

    def add(self, delay_ns: int) -> None:
        """Count one delay, which is positive."""
        self.count += 1
        self.max_ns = max(self.max_ns, delay_ns)
        self._counts[bisect_left(BOUNDS_NS, delay_ns)] += 1

    def spread(self) -> "Spread | None":
        """None without delays."""
        if not self.count:
            return None
        return Spread(
            count=self.count,
            p50_ns=self._quantile(0.5),
            p90_ns=self._quantile(0.9),
            p99_ns=self._quantile(0.99),
            max_ns=self.max_ns,
        )

    def _quantile(self, part: float) -> int:
        seen, due = 0, part * self.count
        for place in sorted(self._counts):
            seen += self._counts[place]
            if seen >= due and place < len(BOUNDS_NS):
                return min(BOUNDS_NS[place], self.max_ns)
        return self.max_ns


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """By how much one side was later, over the pairs in which it was."""

    count: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


class States(msgspec.Struct, kw_only=True):
    """Quotes, or order books, of one symbol. Ids that only one side has are no difference: a
    service may join several changes into one."""

    matched: int = 0
    unequal: int = 0
    undecided: int = 0
    only_a: int = 0
    only_b: int = 0


class SymbolReport(msgspec.Struct, kw_only=True):
    """What was found of one symbol. It is complete once the comparison is finished."""

    symbol: str
    trades_a: int = 0
    """Trades that A brought, doubles among them."""
    trades_b: int = 0
    matched: int = 0
    """Pairs of trades, those with a field that differs among them."""
    only_a: int = 0
    only_b: int = 0
    unequal: dict[str, int] = {}
    """Pairs with a difference, by the field."""
    double_a: int = 0
    double_b: int = 0
    order: int = 0
    lost_a: int = 0
    """Trades that only B has, where A reported a loss."""
    lost_b: int = 0
    again_a: int = 0
    """Trades that A brought again after its service was started anew, which it is allowed to."""
    again_b: int = 0
    outside: int = 0
    """Trades that only one side has, from before the other came or after it left."""
    undecided: int = 0
    first_ms: int | None = None
    """The window that both saw, by the venue's time, unix ms. None without one."""
    last_ms: int | None = None
    first_id: int | None = None
    """The same by trade ids, where they ascend."""
    last_id: int | None = None
    a_later: Spread | None = None
    b_later: Spread | None = None
    quotes: States = msgspec.field(default_factory=States)
    books: States = msgspec.field(default_factory=States)

    @property
    def differences(self) -> int:
        """How many differences there are."""
        return (
            self.only_a
            + self.only_b
            + sum(self.unequal.values())
            + self.double_a
            + self.double_b
            + self.order
            + self.undecided
            + self.quotes.unequal
            + self.quotes.undecided
            + self.books.unequal
            + self.books.undecided
        )

    @property
    def compared(self) -> int:
        """How many trades, quotes and books could be compared."""
        return self.matched + self.only_a + self.only_b + self.quotes.matched + self.books.matched


class SideReport(msgspec.Struct, kw_only=True):
    """What one stream reported about itself."""

    trades: int = 0
    """Trades received, of the symbols that both have."""
    lost_records: int = 0
    """By LOSS, and in frames of kinds that this version cannot read."""
    lost_ids: int = 0
    """Trade ids that GAP called unrecoverable."""
    open_ids: int = 0
    """Trade ids whose GAP was still open at the end."""
    interruptions: int = 0
    """How often STATUS said that a symbol, or the feed, was not LIVE."""
    disconnects: int = 0
    restarts: int = 0
    excess: int = 0
    """Trades that are missing around losses, beyond the number of records that were lost."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a comparison."""

    a: SideReport
    b: SideReport
    symbols: tuple[SymbolReport, ...]
    only_served_by_a: tuple[str, ...]
    only_served_by_b: tuple[str, ...]

    @property
    def differences(self) -> int:
        """How many differences there are."""
        return sum(each.differences for each in self.symbols) + self.a.excess + self.b.excess

    @property
    def compared(self) -> int:
        """How many trades, quotes and books could be compared."""
        return sum(each.compared for each in self.symbols)
