"""A comparison: takes the records of two streams, one by one, and reports."""

from typing import Final

from fanout.clients.books import Books
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.compare.fields import EXACT, Fields
from fanout.compare.pairs import MOST_KEPT, ROOM_PARTS, Pairs, Sink
from fanout.compare.side import Side
from fanout.compare.states import MOST_STATES, State, StatePairs
from fanout.compare.values import A, B, Identity, Report, What
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import DataKinds
from fanout.protocol.records import Gap, Header, Loss, Skipped, Snapshot, Status, Trade

EXPIRES_EVERY: Final = 64
"""Part of the waiting time after which trades are looked through for those that are due."""

BOOKS: Final = DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER


class Comparison:
    """Two streams of the same instruments.

    Times are those of one clock, see `Clock`: ns from any moment on. Each call is for stream `A`
    or `B`, and calls for one stream are in its order.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        identity: Identity,
        within_ns: int,
        compares_books: bool = True,
        most_kept: int = MOST_KEPT,
        most_states: int = MOST_STATES,
        fields: Fields = EXACT,
    ) -> None:
        """`sink` is called with each finding. A trade that is more than `within_ns` later than its
        partner counts as missing, and as one too many. Without `compares_books` the update ids of
        the streams are not the venue's, and quotes and books are left out. `fields` are those
        that both streams have of a trade."""
        self._sides = (Side(), Side())
        self._sink = sink
        self._within_ns = within_ns
        self._compares_books = compares_books
        self._data = [DataKinds.NONE, DataKinds.NONE]
        self._pairs = Pairs(
            self._sides,
            sink,
            identity=identity,
            within_ns=within_ns,
            most_kept=most_kept,
            fields=fields,
        )
        self._identity = identity
        self._books = (Books(), Books())
        self._states: dict[tuple[str, What], StatePairs] = {}
        self._most_states = most_states
        self._waiting_states = 0
        self._looked_ns = 0
        self._is_closed = False
        self._common: frozenset[str] = frozenset()

    @property
    def common(self) -> frozenset[str]:
        """The symbols that both streams have."""
        return self._common

    @property
    def data(self) -> DataKinds:
        """The kinds of data that both streams have."""
        return self._data[A] & self._data[B]

    @property
    def is_waiting(self) -> bool:
        """Whether a trade may still find its partner, if the streams go on."""
        return self._pairs.is_waiting

    @property
    def kept(self) -> int:
        """How many trades are kept."""
        return self._pairs.kept

    def now_ns(self, side: int) -> int | None:
        """The time up to which a stream has brought everything. None before it has begun."""
        of = self._sides[side]
        return None if of.begun_ns is None else of.now_ns

    def serve(self, side: int, header: Header) -> None:
        """A stream has this header from now on. Only symbols that both have are compared."""
        self._sides[side].symbols = frozenset(each.symbol for each in header.instruments)
        self._data[side] = header.data
        self._common = self._sides[A].symbols & self._sides[B].symbols

    def advance(self, side: int, now_ns: int) -> None:
        """A stream has brought everything up to this time. It is connected."""
        if not self._sides[side].is_away:
            self._sides[side].advance(now_ns)
            self._look()

    def take(self, side: int, record: Received, at_ns: int) -> None:
        """Take the next record of a stream, which came at this time; 0 if it has none of its
        own."""
        of = self._sides[side]
        if isinstance(record, Disconnected):
            of.leave()
            self._follow_books(side, record)
            return
        if isinstance(record, Restarted):
            of.restart()
            self._pairs.forget_gaps(side)
            self._follow_books(side, record)
            return
        if at_ns:
            of.advance(at_ns)
        of.come_back()
        if isinstance(record, Trade):
            if record.instrument.symbol in self._common:
                self._pairs.take(side, record, at_ns)
        else:
            self._note(side, of, record)
        self._look()

    def _note(self, side: int, of: Side, record: Received) -> None:
        match record:
            case Loss() | Skipped():
                of.lose(record.count)
            case Status(instrument=None):
                of.turn(record, None)
            case Status(instrument=instrument) if instrument and instrument.symbol in self._common:
                of.turn(record, self._pairs.of(instrument.symbol).seen[side])
            case Gap(instrument=instrument) if instrument.symbol in self._common:
                of.note_gap(record, self._pairs.of(instrument.symbol).seen[side])
            case Snapshot(trades=trades):
                for each in trades:
                    if each.instrument.symbol in self._common:
                        seen = self._pairs.of(each.instrument.symbol).seen[side]
                        of.show(seen, self._pairs.position(each))
            case Quote() if self._compares(DataKinds.QUOTES, record):
                symbol, state = record.instrument.symbol, State.of_quote(record)
                self._take_state(side, symbol, What.QUOTE, record.update_id, state)
        self._follow_books(side, record)

    def _compares(self, kind: DataKinds, record: Quote | BookUpdate | OrderUpdate) -> bool:
        """Whether a record has to be compared: not one of a snapshot, and none without an id."""
        return bool(
            self._compares_books
            and not self._is_closed
            and self.data & kind
            and record.seq
            and record.update_id
            and record.instrument.symbol in self._common
        )

    def _follow_books(self, side: int, record: Received) -> None:
        """Keep the order books of a stream, and compare the one that has changed."""
        if not (self._compares_books and self._data[side] & BOOKS):
            return
        books = self._books[side]
        books.apply(record)
        if not isinstance(record, BookUpdate | OrderUpdate) or not self._compares(BOOKS, record):
            return
        symbol = record.instrument.symbol
        book = books[symbol]
        if book.is_known and book.update_id == record.update_id:
            state = State.of_book(book.prices)
            self._take_state(side, symbol, What.BOOK, record.update_id, state)

    def _states_of(self, symbol: str, what: What) -> StatePairs:
        states = self._states.get((symbol, what))
        if states is None:
            report = self._pairs.of(symbol).report
            counts = report.books if what is What.BOOK else report.quotes
            states = self._states[symbol, what] = StatePairs(symbol, what, counts, self._sink)
        return states

    def _take_state(self, side: int, symbol: str, what: What, update_id: int, state: State) -> None:
        states = self._states_of(symbol, what)
        before = states.waiting
        states.take(side, update_id, state)
        self._waiting_states += states.waiting - before
        if self._waiting_states > self._most_states:
            longest = max(self._states.values(), key=lambda each: each.waiting)
            before = longest.waiting
            longest.give_up(1 + self._most_states // ROOM_PARTS)
            self._waiting_states += longest.waiting - before

    def _look(self) -> None:
        """Decide what is due, now and again."""
        now_ns = max(self._sides[A].now_ns, self._sides[B].now_ns)
        if abs(now_ns - self._looked_ns) * EXPIRES_EVERY > self._within_ns:
            self._looked_ns = now_ns
            self._pairs.expire()

    def end(self, side: int) -> None:
        """A stream is over."""
        self._sides[side].has_ended = True

    def close(self) -> None:
        """End the comparison here. From now on, trades are only taken as partners of those that
        wait."""
        self._is_closed = True
        self._pairs.close()

    def finish(self) -> Report:
        """Judge what is left, and report. Call it once, after `close`."""
        assert self._is_closed, "the window is taken at `close`"
        self._pairs.finish()
        for each in self._states.values():
            each.finish()
        for side in self._sides:
            side.report.excess = max(0, side.excused - side.report.lost_records)
        for pairing in self._pairs.all:
            report = pairing.report
            report.trades_a, report.trades_b = (seen.rank for seen in pairing.seen)
            report.a_later, report.b_later = (each.spread() for each in pairing.later)
            if self._identity is not Identity.ASCENDING:
                report.first_id = report.last_id = None
            for side, seen in zip(self._sides, pairing.seen, strict=True):
                side.report.open_ids += sum(last - first + 1 for first, last in seen.open)
        a, b = self._sides
        reports = {each.report.symbol: each.report for each in self._pairs.all}
        return Report(
            a=a.report,
            b=b.report,
            symbols=tuple(reports[each] for each in sorted(reports)),
            only_served_by_a=tuple(sorted(a.symbols - b.symbols)),
            only_served_by_b=tuple(sorted(b.symbols - a.symbols)),
        )
