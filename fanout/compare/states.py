"""Quotes and order books of two streams, compared at equal update ids.

An update id names a state of the venue's book. A stream need not show each of them: a service may
join changes, and a venue sends quotes less often than the book changes. So an id that only one
stream has is counted, and is no difference. If both have it, what they show has to be equal.

Ids ascend in a stream. So a state waits until the other stream shows its id or a higher one. Where
more wait than are kept, the oldest are counted as undecided, which is a difference.

Of a book the first `LEVELS` levels of each side are compared: those that are exact in every book
that fanout follows (`fanout.feed.book_edges`). Further out a book may lack levels that another one
has, since it began with another snapshot.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fanout.compare.fields import same
from fanout.compare.pairs import Sink
from fanout.compare.values import A, Finding, States, What
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import Quote
from fanout.protocol.instrument import Instrument

LEVELS: Final = 20

MOST_STATES: Final = 50_000
"""States of all symbols that wait for the other stream. A book takes up to 5 KB, a quote 300
bytes."""

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
        self._waiting: tuple[dict[int, list[State]], dict[int, list[State]]] = ({}, {})
        """The states of each side at ids that the other side has not come to."""
        self._newest = [0, 0]

    @property
    def waiting(self) -> int:
        """How many ids wait."""
        return sum(map(len, self._waiting))

    def take(self, side: int, update_id: int, state: State) -> None:
        """Take the next state of a stream."""
        own, others = self._waiting[side], self._waiting[1 - side]
        self._newest[side] = update_id
        same_id = others.get(update_id)
        if same_id:
            # A venue may show one id twice.
            other = next((each for each in same_id if not difference(state, each)), same_id[0])
            same_id.remove(other)
            if not same_id:
                del others[update_id]
            self._compare(update_id, *((state, other) if side == A else (other, state)))
        elif update_id > self._newest[1 - side]:
            own.setdefault(update_id, []).append(state)
        else:
            self._count(side)
        while others and (first := next(iter(others))) < update_id:
            for _ in others.pop(first):
                self._count(1 - side)

    def give_up(self, ids: int) -> None:
        """Count so many ids, the oldest of the side where more wait, as undecided."""
        waiting = max(self._waiting, key=len)
        for _ in range(min(ids, len(waiting))):
            self._report.undecided += len(waiting.pop(next(iter(waiting))))

    def finish(self) -> None:
        """Count the states that are left."""
        for side, waiting in enumerate(self._waiting):
            for states in waiting.values():
                for _ in states:
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
