"""The features of all instruments of a stream, from its records alone.

    stream = StreamFeatures(FeatureSettings())
    for record in client:
        for row in stream.take(record):
            ...

Every record counts, so the client must not drop any. The rows are the same whether the records come
from a live service or from a journal: time is the `received_ns` of the records. It does not go back
for records that the service held for a moment: they count at the newest time so far. If a record is
older than that by more than `MAX_BACK_NS`, the service's clock was set back. Then the stream begins
anew at its time: books stay, and windows and lags have to fill again.

Rows come after each update of a book, quote or trade, or at each multiple of `every_ns` of record
time: then a row has all records up to that moment, and comes once a later record shows that there
are no more. Records without a time (statuses, losses, snapshots) cause no row.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from fanout.analytics.errors import FitError, SettingsError
from fanout.analytics.features.features import Features
from fanout.analytics.features.followed import Followed
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.clients.books import Books
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.clients.wanted import MARKET_KINDS
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import BookFlags
from fanout.protocol.errors import PeerError
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Gap, Loss, Snapshot, Status, Trade

MAX_TICK_ROWS: Final = 262_144
"""Most rows that one record may cause. Where more multiples of `every_ns` lie between two records,
only the newest of them gives rows: the stream stood still, or its clock has jumped."""

MAX_BACK_NS: Final = 1_000_000_000
"""How far the time of a record may be behind the newest. Services hold records for half a second at
the most, to put them in order."""

MAX_TIME_NS: Final = 2**62
"""The latest time, in the year 2116. A later one counts as this one: a clock that is so far off is
wrong, and the times that are computed from it have to fit 64 bits."""

_UPDATES: Final = (BookUpdate, OrderUpdate)

_NONE: Final = BookFlags.NONE
"""A name of its own, since an enumeration's members are slow to look up."""


class StreamFeatures:
    """The features of a stream. See the module.

    `symbols` are those wanted, all if empty. `every_ns` is the interval of the rows; None gives one
    for each update. `fits` are Stoikov's microprices, by symbol. Raises `SettingsError` for an
    interval below 1 ns and for `symbols` that are one string, and `FitError` for a fit of another
    symbol. `take` raises `FitError` for one of another tick than the instrument has when it first
    comes. If the venue changes the tick later, the microprice is absent from then on.
    """

    def __init__(
        self,
        settings: FeatureSettings,
        *,
        symbols: Collection[str] = (),
        every_ns: int | None = None,
        fits: Mapping[str, MicropriceFit] | None = None,
    ) -> None:
        if every_ns is not None and every_ns < 1:
            raise SettingsError(f"an interval of {every_ns} ns: it has to be 1 or more")
        if isinstance(symbols, str):
            raise SettingsError(f"symbols={symbols!r}: pass a collection, such as [{symbols!r}]")
        for symbol, fit in (fits or {}).items():
            if fit.symbol != symbol:
                raise FitError(f"the microprice given for {symbol} was fitted for {fit.symbol}")
        self.settings = settings
        self.now_ns = 0
        """The time of the stream, unix ns: the newest of its records. 0 before the first."""
        self._symbols = frozenset(symbols)
        self._every_ns = every_ns
        self._fits = dict(fits or {})
        self._books = Books()
        self._followed: dict[str, Followed] = {}
        self._ordered: list[str] = []
        """The symbols that are followed, sorted, which is the order of the rows of one moment."""
        self._unsettled: dict[str, Followed] = {}
        self._start_ns = 0
        """The time of the first record that has one."""
        self._away_ns = -1
        """The time of the stream when its connection was lost."""
        self._has_trades = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values of every row."""
        return self.settings.columns

    def take(self, record: Received) -> Sequence[FeatureRow]:
        """Take the next record of the stream, and give the rows that it causes."""
        if isinstance(record, _UPDATES):
            return self._take_update(record)
        if isinstance(record, Trade):
            return self._take_trade(record)
        if isinstance(record, Quote):
            return self._take_quote(record)
        self._take_event(record)
        return ()

    def advance(self, time_ns: int) -> Sequence[FeatureRow]:
        """It is this time, as another stream shows: windows let go of what is over, and rows of
        `every_ns` come. An earlier time than that of the stream changes nothing. Neither does a
        later one while the connection is lost: the newest values would look fresh."""
        is_away = self._away_ns == self.now_ns
        return self._move(time_ns) if 0 < self.now_ns < time_ns and not is_away else ()

    def features(self, symbol: str) -> Features | None:
        """The features of a symbol. None if nothing of it has come."""
        followed = self._followed.get(symbol)
        return followed.features if followed is not None else None

    def row(self, symbol: str) -> FeatureRow | None:
        """The values of a symbol at the time of the stream. None if nothing of it has come."""
        features = self.features(symbol)
        return features.row(self.now_ns) if features is not None and self.now_ns else None

    def _take_update(self, update: BookUpdate | OrderUpdate) -> Sequence[FeatureRow]:
        rows = self._move(update.received_ns)
        followed = self._following(update.instrument)
        if followed is None:
            return rows
        followed.note(update)
        # A broken update leaves the book unknown, as its features will be. `suppress` takes 0.2 us.
        try:  # noqa: SIM105
            self._books.apply(update)
        except PeerError:
            pass
        is_over = update.flags is _NONE or not update.has_more
        return self._rows(rows, followed, update.received_ns, is_over=is_over)

    def _take_quote(self, quote: Quote) -> Sequence[FeatureRow]:
        rows = self._move(quote.received_ns)
        followed = self._following(quote.instrument)
        if followed is None:
            return rows
        counts = followed.quote(quote)
        return self._rows(rows, followed, quote.received_ns, is_of_book=counts)

    def _take_trade(self, trade: Trade) -> Sequence[FeatureRow]:
        rows = self._move(trade.received_ns)
        self._expect_trades()
        followed = self._following(trade.instrument)
        if followed is None or trade.received_ns <= 0:
            return rows
        if trade.back_filled:
            followed.holes.fill(trade.trade_id)
            self._unsettled[trade.symbol] = followed
        elif trade.kind in MARKET_KINDS:
            followed.features.take_trade(self.now_ns, trade)
        return self._rows(rows, followed, trade.received_ns, is_of_book=False)

    def _rows(
        self,
        rows: list[FeatureRow],
        followed: Followed,
        received_ns: int,
        *,
        is_of_book: bool = True,
        is_over: bool = True,
    ) -> list[FeatureRow]:
        """The rows so far and the one of this instrument, once all that is known is told."""
        if received_ns <= 0:
            self._unsettled[followed.instrument.symbol] = followed
            return rows
        if self._unsettled:
            self._settle()
        if is_of_book:
            followed.show(self.now_ns)
        if self._every_ns is None and is_over:
            rows.append(followed.features.row(self.now_ns))
        return rows

    def _take_event(self, record: Received) -> None:
        # A lost connection costs nothing by itself: what is lost by it has a Loss. So the books are
        # not told of it, and a journal, which has none, gives the same rows. Time stands still.
        match record:
            case Snapshot():
                self._expect_trades()
            case Loss() | Restarted():
                self._books.apply(record)
                self._lose()
            case Status(instrument=instrument):
                self._books.apply(record)
                self._turn(instrument)
            case Gap():
                self._note(record)
            case Disconnected() | End():
                self._away_ns = self.now_ns

    def _move(self, time_ns: int) -> list[FeatureRow]:
        """The time of the stream is this one, unless it is later already."""
        if time_ns <= self.now_ns:
            if 0 < time_ns < self.now_ns - MAX_BACK_NS:
                self._go_back(time_ns)
            return []
        if time_ns > MAX_TIME_NS:
            return self._move(MAX_TIME_NS)
        rows = [] if self._every_ns is None else self._ticks(time_ns, self._every_ns)
        if not self.now_ns:
            self._begin(time_ns)
        self.now_ns = time_ns
        return rows

    def _go_back(self, time_ns: int) -> None:
        """The clock was set back to this time."""
        self.now_ns = self._start_ns = time_ns
        for each in self._followed.values():
            each.begin_anew(time_ns)
            if self._has_trades:
                each.features.expect_trades()
        self._unsettled.update(self._followed)

    def _begin(self, time_ns: int) -> None:
        self._start_ns = time_ns
        for each in self._followed.values():
            each.begin(time_ns, time_ns)

    def _ticks(self, time_ns: int, every_ns: int) -> list[FeatureRow]:
        """The rows of the multiples from the time of the stream on, and before the new one."""
        if not self.now_ns:
            return []
        first = -(-self.now_ns // every_ns)
        last = -(-time_ns // every_ns) - 1
        if (last - first + 1) * len(self._ordered) > MAX_TICK_ROWS:
            first = last
        return [
            self._followed[symbol].features.row(tick * every_ns)
            for tick in range(first, last + 1)
            for symbol in self._ordered
        ]

    def _following(self, instrument: Instrument) -> Followed | None:
        """The instrument of a record, if it is wanted. In other units it starts anew."""
        followed = self._followed.get(instrument.symbol)
        if followed is None:
            if self._symbols and instrument.symbol not in self._symbols:
                return None
            return self._follow(instrument)
        if instrument is not followed.instrument and instrument != followed.instrument:
            if _units(instrument) != _units(followed.instrument):
                return self._follow(instrument)
            followed.features.instrument = instrument
        return followed

    def _follow(self, instrument: Instrument) -> Followed:
        symbol = instrument.symbol
        fit = self._fit_for(instrument)
        followed = Followed(self.settings, instrument, self._books[symbol], fit)
        if symbol not in self._followed:
            insort(self._ordered, symbol)
        self._followed[symbol] = self._unsettled[symbol] = followed
        if self._has_trades:
            followed.features.expect_trades()
        if self.now_ns:
            followed.begin(self._start_ns, self.now_ns)
        return followed

    def _fit_for(self, instrument: Instrument) -> MicropriceFit | None:
        """The fit, unless the instrument came in other units before, for which it was made."""
        fit = self._fits.get(instrument.symbol)
        if fit is not None and instrument.symbol in self._followed:
            try:
                fit.require(instrument)
            except FitError:
                return None
        return fit

    def _expect_trades(self) -> None:
        if not self._has_trades:
            self._has_trades = True
            for each in self._followed.values():
                each.features.expect_trades()

    def _settle(self) -> None:
        for each in self._unsettled.values():
            each.settle(self.now_ns)
        self._unsettled.clear()

    def _lose(self) -> None:
        for each in self._followed.values():
            each.lose(self.now_ns)
        self._unsettled.update(self._followed)

    def _turn(self, instrument: Instrument | None) -> None:
        followed = self._followed.values() if instrument is None else [self._following(instrument)]
        for each in followed:
            if each is not None:
                each.turn(self.now_ns)
                self._unsettled[each.instrument.symbol] = each

    def _note(self, gap: Gap) -> None:
        followed = self._following(gap.instrument)
        if followed is not None:
            followed.holes.take(gap)
            followed.tell_holes()
            self._unsettled[gap.instrument.symbol] = followed


def _units(instrument: Instrument) -> tuple[int, ...]:
    return (
        instrument.price_exponent,
        instrument.quantity_exponent,
        instrument.tick,
        instrument.contract_mantissa,
        instrument.contract_exponent,
    )


def rows_in(
    records: Iterable[Received],
    settings: FeatureSettings,
    *,
    symbols: Collection[str] = (),
    every_ns: int | None = None,
    fits: Mapping[str, MicropriceFit] | None = None,
) -> Iterator[FeatureRow]:
    """The rows of a stream that `StreamFeatures` gives, as they come."""
    stream = StreamFeatures(settings, symbols=symbols, every_ns=every_ns, fits=fits)
    for record in records:
        yield from stream.take(record)
