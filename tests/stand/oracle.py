"""Judges what consumers were told against what the exchange did, promise by promise.

It shares nothing with the code that it judges: it is given the records that each client handed
over, as they came, and keeps the number that is due, and what stands under each number, for itself.

    P1  each trade is the exchange's row, to the digit
    P2  numbers and losses are each number once; each id of the exchange is told once
    P3  whoever joins, loses or reconnects then reads what all others read
    P4  silence is told within seconds
    P5  who is not concerned by a fault loses nothing and is not disconnected
    P6  an orderly end is told, with the last number
    P8  a book that is known is the exchange's; each quote is the exchange's (where it knows them)

P7, that nobody is trusted with a length, shows in memory and in words; tests look at those.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.protocol import (
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Loss,
    LossReason,
    Position,
    Quote,
    Snapshot,
    Status,
    Trade,
)
from fanout.protocol.book_records import BookUpdate
from tests.stand.account import fault_of, spans_of
from tests.stand.exchange import SPENT, Market, StreamKind, stream_of
from tests.stand.exchange_books import BookKeeper, ExchangeBooks

MAX_COMPLAINTS: Final = 50
SILENCE_S: Final = 18.0
"""A symbol that is traded all the time and is quiet for longer is told: after 12 s as stale, or
after 10 as down; and REST may have to be asked first."""

HEALING_S: Final = 180
"""A gap that is older is closed: the venue has been asked for its trades, also where it had banned
the service for a while."""

_WITH_LAST_SEQ: Final = (
    *(EndReason.SHUTDOWN, EndReason.SLOW, EndReason.FEED_FAILED),
    EndReason.EPOCH_OVER,
)
"""Reasons of an END whose last number is that of what came before. Others refuse."""

_UNFILLED: Final = (GapState.UNRECOVERABLE, GapState.NO_TRADE)
Numbered = Trade | Status | Gap | Quote | BookUpdate


class Oracle:
    """Everything that was told, to anybody."""

    def __init__(
        self,
        market: Market,
        exchange_books: ExchangeBooks | None = None,
        *,
        has_ids: bool = True,
    ) -> None:
        """Without `exchange_books` nobody keeps books. `has_ids`: the venue's trade ids prove which
        trades are missing."""
        self.market = market
        self.has_ids = has_ids
        self.exchange_books = exchange_books
        self.books: dict[int, Book] = {}
        self.complaints: list[str] = []

    def complain(self, promise: str, what: str) -> None:
        if len(self.complaints) < MAX_COMPLAINTS:
            self.complaints.append(f"{promise}: {what}")

    def book(self, epoch_ns: int) -> "Book":
        return self.books.setdefault(epoch_ns, Book(self))

    def open_ids(self) -> set[tuple[str, int]]:
        """Symbols and ids of gaps that are open, over all epochs."""
        found: set[tuple[str, int]] = set()
        for _, book in sorted(self.books.items()):
            for gap in sorted(book.gaps, key=lambda gap: gap.seq):
                ids = range(gap.first_id, gap.last_id + 1)
                named = {(gap.instrument.symbol, each) for each in ids}
                found = found | named if gap.state is GapState.OPEN else found - named
        return found

    def account_kept(self, kept: Mapping[int, int]) -> Counter[str]:
        """Hold all epochs together against what was issued, as a journal keeps them: no trade is
        missing between two epochs, and none is kept twice. `kept` has the last number of each
        epoch that the journal has. What consumers got beyond it comes again in the next epoch."""
        records: list[Numbered] = []
        of_newest: list[Numbered] = []
        for epoch_ns, last_seq in sorted(kept.items()):
            found = self.book(epoch_ns).records
            missing = [seq for seq in range(1, last_seq + 1) if seq not in found]
            if missing:
                self.complain("P2", f"epoch {epoch_ns}: {missing[:9]} were not read from it")
            numbered = (found.get(seq) for seq in range(1, last_seq + 1))
            of_newest = [each for each in numbered if isinstance(each, Trade | Status | Gap)]
            records += of_newest
        told: Counter[str] = Counter()
        for symbol in self.market.symbols:
            for stream in ("trade", "aggTrade"):
                told += self.account(symbol, stream, records, recent=of_newest, reopens=True)
        return told

    def account(
        self,
        symbol: str,
        stream: StreamKind,
        records: Sequence[Numbered],
        *,
        is_whole: bool = True,
        recent: Sequence[Numbered] = (),
        reopens: bool = False,
    ) -> Counter[str]:
        """Hold the ids of a symbol's trades and gaps against what was issued. What the
        `recent` ones of them opened may still be open. `reopens`: they are those of several epochs,
        and what one left open, a later one may open again."""
        trades = Counter(
            each.trade_id
            for each in records
            if isinstance(each, Trade) and each.symbol == symbol and stream_of(each) == stream
        )
        gaps = self._gaps(symbol, stream, records)
        opened = _ids(gaps, GapState.OPEN)
        still_open = _ids(self._gaps(symbol, stream, recent), GapState.OPEN)
        if reopens:
            opened = Counter(opened.keys())
        filled, unfilled = _ids(gaps, GapState.BACK_FILLED), _ids(gaps, *_UNFILLED)
        found = {
            "told twice": [i for c in (trades, opened, filled + unfilled) for i in c if c[i] > 1],
            "closed and never opened": list((filled + unfilled) - opened),
            "opened and never closed": [*(opened - filled - unfilled - still_open)] * is_whole,
            "filled, and did not come": list(filled - trades) if is_whole else [],
            "told as missing for good, and came": list(unfilled & trades),
        }
        found |= self._against_issued(symbol, stream, trades.keys() | unfilled.keys(), opened)
        for what, ids in found.items():
            if ids:
                self.complain("P2", f"{symbol} {stream}: {sorted(ids)[:9]} {what}")
        counts = {"trades": trades.total(), "opened": opened.total(), "filled": filled.total()}
        for state in _UNFILLED:
            counts[state.name.lower().replace("_", " ")] = _ids(gaps, state).total()
        return Counter(counts)

    def _gaps(self, symbol: str, stream: StreamKind, records: Iterable[Numbered]) -> list[Gap]:
        return [
            each
            for each in records
            if isinstance(each, Gap)
            and each.instrument.symbol == symbol
            and self.market.stream_of_id(symbol, each.first_id) == stream
        ]

    def _against_issued(
        self, symbol: str, stream: StreamKind, told: set[int], opened: Counter[int]
    ) -> dict[str, list[int]]:
        if not told:
            return {}
        issued = self.market.issued(symbol, stream, told)
        nowhere = (each for each in issued.keys() - told if issued[each] != SPENT)
        return {
            "made up": list(told - issued.keys()),
            "issued and never told": [each for each in nowhere if not opened[each]],
        }

    def check(self) -> None:
        """Fails with all that is wrong so far."""
        assert not self.complaints, "\n".join(self.complaints)


class Book:
    """One epoch: what stands under each number, by whoever had it first."""

    def __init__(self, oracle: Oracle) -> None:
        self.records: dict[int, Numbered | int] = {}
        """Of quotes and updates of books, which are many, the hash alone."""
        self.trades: Counter[str] = Counter()
        """By symbol."""
        self.gaps: list[Gap] = []
        self._oracle = oracle

    @property
    def last_seq(self) -> int:
        return max(self.records, default=0)

    def enter(self, who: str, record: Numbered) -> None:
        kept = hash(record) if isinstance(record, Quote | BookUpdate) else record
        known = self.records.setdefault(record.seq, kept)
        if known is not kept:
            if known != kept:
                self._oracle.complain("P3", f"{who} got {record} where others got {known}")
        elif isinstance(record, Trade):
            self.trades[record.symbol] += 1
            self.judge(who, record)
        elif isinstance(record, Gap):
            self.gaps.append(record)
        elif isinstance(record, Quote):
            self.judge_quote(who, record)

    def judge(self, who: str, trade: Trade) -> None:
        fault = self._oracle.market.fault_of(trade)
        if fault:
            self._oracle.complain("P1", f"{who}: {fault}")

    def judge_quote(self, who: str, quote: Quote) -> None:
        exchange_books = self._oracle.exchange_books
        fault = exchange_books.fault_of_quote(quote) if exchange_books else ""
        if fault:
            self._oracle.complain("P8", f"{who}: {fault}")

    def account(self, *, is_whole: bool = True, goes_on: bool = False) -> Counter[str]:
        """Hold ids against what was issued, and give what became of them. `is_whole`: the service
        ended in good order, so that what it opened is closed. `goes_on`: it kept a journal, so what
        it opened in the last minutes is for its next start to close."""
        told: Counter[str] = Counter()
        kept = (self.records[seq] for seq in sorted(self.records))
        records = [each for each in kept if not isinstance(each, int)]
        recent = _recent(records) if goes_on else ()
        for symbol in self._oracle.market.symbols:
            if not self._oracle.has_ids:
                told += self._hold(symbol, records)
                continue
            for stream in ("trade", "aggTrade"):
                told += self._oracle.account(
                    symbol, stream, records, is_whole=is_whole, recent=recent
                )
        return told

    def _hold(self, symbol: str, records: Sequence[Numbered]) -> Counter[str]:
        """Hold trades whose ids prove nothing against those that were issued."""
        received = [
            each.trade_id for each in records if isinstance(each, Trade) and each.symbol == symbol
        ]
        statuses = (each for each in records if isinstance(each, Status))
        spans = [*spans_of(symbol, statuses)]
        fault = fault_of(self._oracle.market.sent(symbol, received), received, spans)
        if fault:
            self._oracle.complain("P2", f"{symbol}: {fault}")
        return Counter({"trades": len(received), "spans named": len(spans)})

    def reasons(self) -> Counter[str]:
        """Ids that are lost, by what was said of them: the beginning of that, as it fits a line."""
        reasons = Counter[str]()
        for each in self.records.values():
            if isinstance(each, Gap) and each.state is GapState.UNRECOVERABLE:
                reasons[each.why[:70]] += each.last_id - each.first_id + 1
        return reasons


class Reader:
    """One consumer's account."""

    def __init__(
        self,
        oracle: Oracle,
        name: str,
        *,
        is_concerned: bool = True,
        may_miss: bool = False,
        first: Position | None = None,
    ) -> None:
        """`is_concerned`: the faults are meant for this one. `may_miss`: it receives multicast and
        cannot ask for what it missed, so nobody announces its losses, and it joins each epoch
        wherever that is. `first` is where it asked to begin, and None if it takes what comes."""
        self.name = name
        self.losses: Counter[LossReason] = Counter()
        self.got = 0
        self.ends: list[End] = []
        self.disconnects: list[Disconnected] = []
        self.restarts = 0
        self.last_seqs: dict[int, int] = {}
        """The last number of each epoch that it has left behind."""
        self.epoch_ns = first.epoch_ns if first else 0
        self.due = first.seq if first else None
        self.told: list[tuple[float, Received]] = []
        """All but trades, quotes and updates of books, and when it came."""
        self.trades = 0
        self.quotes = 0
        self.updates = 0
        """Of books."""
        self.books = oracle.exchange_books and BookKeeper(oracle.exchange_books)
        self._oracle = oracle
        self._is_concerned = is_concerned
        self._may_miss = may_miss
        self._is_connected = False
        self._heard_s: dict[str, float] = {}
        self._rest_heard_s: dict[str, float] = {}
        """Of trades and quotes."""
        self._book_heard_s: dict[str, float] = {}
        self._live: set[str] = set()

    def take(self, record: Received, epoch_ns: int, now_s: float) -> None:
        """Enter what the client handed over, under the epoch of its header."""
        if not isinstance(record, Trade | Quote | BookUpdate):
            self.told.append((now_s, record))
        match record:
            case Quote(seq=0):
                self._oracle.book(epoch_ns).judge_quote(self.name, record)
            case BookUpdate(seq=0):
                pass  # the book that it makes is judged below
            case Trade() | Status() | Gap() | Quote() | BookUpdate():
                self._take_numbered(record, epoch_ns, now_s)
            case Loss():
                self._take_loss(record, epoch_ns)
            case Snapshot():
                for each in record.trades:
                    self._oracle.book(epoch_ns).judge(self.name, each)
            case End():
                self._take_end(record)
            case Disconnected():
                self._take_disconnected(record)
            case Restarted():
                self._take_restarted(record)
        if self.books is not None:
            for fault in self.books.take(record):
                self._complain("P8", fault)

    def _take_numbered(self, record: Numbered, epoch_ns: int, now_s: float) -> None:
        self._come_to(record.seq, epoch_ns, record)
        self.due = record.seq + 1
        self.got += 1
        self._is_connected = True
        self._oracle.book(epoch_ns).enter(self.name, record)
        if isinstance(record, Trade):
            self.trades += 1
            self._heard_s[record.symbol] = self._rest_heard_s[record.symbol] = now_s
        elif isinstance(record, Quote):
            self.quotes += 1
            self._rest_heard_s[record.symbol] = now_s
        elif isinstance(record, BookUpdate):
            self.updates += 1
            self._book_heard_s[record.symbol] = now_s
        elif isinstance(record, Status):
            self._take_status(record, now_s)

    def _take_loss(self, loss: Loss, epoch_ns: int) -> None:
        self._come_to(loss.first_seq, epoch_ns, loss)
        self.due = loss.last_seq + 1
        self.losses[loss.reason] += loss.count
        if loss.reason is LossReason.UNANNOUNCED and not self._may_miss:
            self._complain("P2", f"{loss} was not announced")
        if not self._is_concerned:
            self._complain("P5", f"{loss}, and nothing was wrong with it")

    def _come_to(self, seq: int, epoch_ns: int, record: Numbered | Loss) -> None:
        if self.due is None or not self.epoch_ns:
            self.epoch_ns, self.due = epoch_ns, self.due or seq
        if epoch_ns != self.epoch_ns:
            self._complain("P2", f"{record} is of epoch {epoch_ns}, not {self.epoch_ns}")
        if seq != self.due:
            self._complain("P2", f"{record} came where {self.due} was due")

    def _take_status(self, status: Status, now_s: float) -> None:
        symbols = [status.instrument.symbol] if status.instrument else list(self._heard_s)
        for symbol in symbols:
            self._heard_s[symbol] = self._rest_heard_s[symbol] = self._book_heard_s[symbol] = now_s
            if status.state is FeedState.LIVE and status.instrument:
                self._live.add(symbol)
            elif status.state is not FeedState.LIVE:
                self._live.discard(symbol)

    def _take_end(self, end: End) -> None:
        self.ends.append(end)
        is_refusal = end.reason not in _WITH_LAST_SEQ
        is_counted = self._is_connected or (self.due and end.reason is EndReason.EPOCH_OVER)
        if not is_refusal and is_counted and end.last_seq + 1 != self.due:
            self._complain("P6", f"{end}, where {self.due} was due")

    def _take_disconnected(self, record: Disconnected) -> None:
        self.disconnects.append(record)
        self._is_connected = False
        # A service waits a tenth of a second for the request, and a loaded machine sends it later.
        is_unheard = not self.got and record.why.startswith("the service began at ")
        if not self._is_concerned and not self.ends and not is_unheard:
            self._complain("P5", f"{record}, and nothing was wrong with it")

    def _take_restarted(self, record: Restarted) -> None:
        if self.due is not None and record.before.seq != self.due:
            self._complain("P2", f"{record}, where {self.due} was due")
        if record.epoch_ns <= record.before.epoch_ns:
            self._complain("P2", f"{record} goes back in time")
        self.last_seqs[record.before.epoch_ns] = record.before.seq - 1
        self.epoch_ns, self.due = record.epoch_ns, None if self._may_miss else 1
        self.restarts += 1

    def watch(
        self, now_s: float, silence_s: Callable[[str], float] = lambda symbol: SILENCE_S
    ) -> None:
        """Look whether anything that is said to be live is quiet: to be asked often. `silence_s`
        says how quiet a symbol may be, for those that are not traded all the time."""
        for symbol in self._live:
            quiet_s = now_s - self._heard_s[symbol]
            if quiet_s > silence_s(symbol):
                self._heard_s[symbol] = now_s
                self._complain("P4", f"{symbol} is quiet for {quiet_s:.0f} s and nobody says so")
            if self.books is None or symbol not in self.books.symbols:
                continue
            quiet_s = self._book_quiet_s(symbol, now_s)
            if quiet_s > SILENCE_S:
                self._book_heard_s[symbol] = self._rest_heard_s[symbol] = now_s
                self._complain("P4", f"the book of {symbol} is quiet for {quiet_s:.0f} s, and LIVE")

    def _book_quiet_s(self, symbol: str, now_s: float) -> float:
        """How long a book has been quiet while the rest went on, or with the rest. One may follow
        the other: while all is quiet, nothing shows that the book should change."""
        rest_s, book_s = self._rest_heard_s[symbol], self._book_heard_s[symbol]
        return max(rest_s - book_s, now_s - max(rest_s, book_s))

    @property
    def place(self) -> tuple[int, int]:
        """The epoch that it is in, and the number that is due."""
        return self.epoch_ns, self.due or 0

    @property
    def unknown_books(self) -> list[str]:
        """Symbols of which it has no book now."""
        return self.books.unknown if self.books else []

    def require_books(self) -> None:
        """Nothing has been wrong for a while, so it has all books."""
        for symbol in self.unknown_books:
            self._complain("P8", f"no book of {symbol}, and nothing goes wrong")

    def require_epochs(self, kept: Mapping[int, int]) -> None:
        """It was sent everything that a journal keeps, of each epoch since it came, and told of the
        end of each. `kept` is as for `Oracle.account_kept`."""
        *before, newest = sorted(kept)
        if list(self.last_seqs) != before:
            self._complain("P2", f"it was in the epochs {list(self.last_seqs)}, and not {before}")
        for epoch_ns, last_seq in self.last_seqs.items():
            if last_seq < kept.get(epoch_ns, 0):
                self._complain(
                    "P2", f"it left {epoch_ns} at {last_seq}, and {kept[epoch_ns]} is kept"
                )
        ends = [each.last_seq for each in self.ends if each.reason is EndReason.EPOCH_OVER]
        if ends != list(self.last_seqs.values()):
            self._complain("P2", f"it was told that epochs are over at {ends}: {self.last_seqs}")
        if self.epoch_ns != newest:
            self._complain("P2", f"it is in {self.epoch_ns}, not in {newest}")

    def require_goodbye(self) -> None:
        """The service has ended in good order while this one was connected."""
        if not self.ends or self.ends[-1].reason is not EndReason.SHUTDOWN:
            self._complain("P6", f"no goodbye, but {self.told[-1:]}")
        elif self.due != self._oracle.book(self.epoch_ns).last_seq + 1:
            self._complain("P2", f"it has come to {self.due}, and others further")

    def _complain(self, promise: str, what: str) -> None:
        self._oracle.complain(promise, f"{self.name}: {what}")


def _recent(records: Sequence[Numbered]) -> Sequence[Numbered]:
    """Those that came in the time that a gap may take to be closed."""
    place, newest_ns = len(records), 0
    for place in range(len(records) - 1, -1, -1):
        record = records[place]
        if isinstance(record, Trade):
            newest_ns = max(newest_ns, record.received_ns)
            if record.received_ns < newest_ns - HEALING_S * 1_000_000_000:
                break
    return records[place:]


def _ids(gaps: Iterable[Gap], *states: GapState) -> Counter[int]:
    return Counter(
        trade_id
        for each in gaps
        if each.state in states
        for trade_id in range(each.first_id, each.last_id + 1)
    )
