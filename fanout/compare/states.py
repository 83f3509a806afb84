"""Quotes and order books of two streams, compared at equal update ids.

An update id names a state of the venue's book. A stream need not show each of them: a service may
join changes, and a venue sends quotes less often than the book changes. So an id that only one
stream has is counted, and is no difference. If both have it, what they show has to be equal.

Of a book the first `LEVELS` levels of each side are compared: those that are exact in every book
that fanout follows (`fanout.feed.book_edges`). Further out a book may lack levels that another one
has, since it began with another snapshot.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fanout.compare.pairs import Sink, same
from fanout.compare.values import A, Finding, States, What
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import Quote
from fanout.protocol.instrument import Instrument

LEVELS: Final = 20

MOST_STATES: Final = 1_000
"""States of one symbol that wait for the other stream to show the same id: the newest."""

Level = tuple[int, int]


class State(NamedTuple):
    """The best levels at an update id, from the best outwards."""

    instrument: Instrument
    time: int
    bids: Sequence[Level]
    asks: Sequence[Level]
    is_cut: bool
    """Whether nothing is known beyond the last level."""

    @classmethod
    def of_book(cls, book: OrderBook) -> "State":
        """The state of a book that is consistent."""
        assert book.instrument is not None, "an update has brought it"
        return cls(book.instrument, book.time, *book.levels(LEVELS), book.is_top_only)

    @classmethod
    def of_quote(cls, quote: Quote) -> "State":
        """A quote, as a book of one level. A side without quantity is empty."""
        bids = [(quote.bid_price, quote.bid_quantity)] if quote.bid_quantity else []
        asks = [(quote.ask_price, quote.ask_quantity)] if quote.ask_quantity else []
        return cls(quote.instrument, quote.time, bids, asks, False)


class StatePairs:
    """The states of one kind, of one symbol, in both streams."""

    def __init__(self, symbol: str, what: What, report: States, sink: Sink) -> None:
        self._symbol = symbol
        self._what = what
        self._report = report
        self._sink = sink
        self._waiting: tuple[dict[int, State], dict[int, State]] = ({}, {})

    def take(self, side: int, update_id: int, state: State) -> None:
        """Take the next state of a stream."""
        own, others = self._waiting[side], self._waiting[1 - side]
        other = others.pop(update_id, None)
        if other is not None:
            pair = (state, other) if side == A else (other, state)
            self._compare(update_id, *pair)
            return
        own[update_id] = state
        if len(own) > MOST_STATES:
            del own[next(iter(own))]
            self._count(side)

    def finish(self) -> None:
        """Count the states that are left."""
        for side, waiting in enumerate(self._waiting):
            for _ in waiting:
                self._count(side)
            waiting.clear()

    def _count(self, side: int) -> None:
        if side == A:
            self._report.only_a += 1
        else:
            self._report.only_b += 1

    def _compare(self, update_id: int, a: State, b: State) -> None:
        self._report.matched += 1
        found = difference(a, b)
        if found is None:
            return
        self._report.unequal += 1
        time_ms = a.time * 10 ** (a.instrument.time_exponent + 9) // 1_000_000
        self._sink(Finding(self._symbol, self._what, update_id, time_ms, *found))


def difference(a: State, b: State) -> tuple[str, str, str] | None:
    """The first level that differs, and what each state has there. None if they are equal."""
    for name, of_a, of_b in (("bid", a.bids, b.bids), ("ask", a.asks, b.asks)):
        most = max(len(of_a), len(of_b))
        if a.is_cut:
            most = min(most, len(of_a))
        if b.is_cut:
            most = min(most, len(of_b))
        for place in range(most):
            level_a = of_a[place] if place < len(of_a) else None
            level_b = of_b[place] if place < len(of_b) else None
            if not _are_same(a.instrument, level_a, b.instrument, level_b):
                words = _words(a.instrument, level_a), _words(b.instrument, level_b)
                return f"{name} {place + 1}", *words
    return None


def _are_same(of_a: Instrument, a: Level | None, of_b: Instrument, b: Level | None) -> bool:
    if a is None or b is None:
        return a is b
    return same(a[0], of_a.price_exponent, b[0], of_b.price_exponent) and same(
        a[1], of_a.quantity_exponent, b[1], of_b.quantity_exponent
    )


def _words(instrument: Instrument, level: Level | None) -> str:
    if level is None:
        return "none"
    price, quantity = level
    return f"{instrument.quantity_text(quantity)} @ {instrument.price_text(price)}"
