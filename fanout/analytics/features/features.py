"""The features of one instrument, kept step by step.

With best bid b x qb, best ask a x qa, mid m = (b + a) / 2, and B(d) the levels with
|p - m| <= m d / 10^4:

    mid, spread                        (b + a) / 2 and a - b, in the quote currency
    spread_bps                         10^4 (a - b) / m
    bid_quantity_Dbps, ask_...         quantity in B(D)
    wap_Dbps                           sum of p q / sum of q over both sides of B(D)
    wap_Dbps_lag_Lms                   wap_Dbps as it was at now - L: of the newest book by then
    order_book_imbalance               (qb - qa) / (qb + qa)
    liquidity_imbalance_Dbps           the same over the quantities in B(D)
    level_imbalance, level_..._Dbps    the same over the numbers of levels, of all or in B(D)
    queue_imbalance_N                  the same over the quantities of the first N levels
    order_flow_imbalance_Wms           the sum over (now - W, now] of `formulas.order_flow`, for
                                       each change of the best prices or their quantities
    volatility_Wms                     of the mid, per sqrt(s): see `volatility`
    trade_flow_imbalance_Wms           (bought - sold) / (bought + sold) over (now - W, now]
    tick_flow_imbalance_Wms            the same over the numbers of trades
    vwap_Wms                           sum of p q / sum of q of these trades
    trade_intensity_Wms                trades per second
    microprice                         (b qa + a qb) / (qa + qb)
    stoikov_microprice                 see `fanout.analytics.features.stoikov`

Prices are in the quote currency. Quantities, and the order flow, are in the unit in which the
instrument has them: the base, or a contract. Imbalances have none.

Sums are integers, and every value is one correctly rounded division. The only others are the
volatility, a square root of one, and the sum of the mid and Stoikov's adjustment.

A value is None where it cannot be right, and `Absence` says why. A window has a value only if it
lies behind the newest hole: the start of the stream, or a time when the book or the trades were not
known. A hole ends when the book is known again, or at the first record with a time behind what was
lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fanout.analytics.features.book_features import BookFeatures
from fanout.analytics.features.formulas import Best, order_flow
from fanout.analytics.features.settings import NS_PER_MS, FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.features.trade_features import TradeFeatures
from fanout.analytics.features.volatility import Volatility
from fanout.analytics.features.windows import NEVER, Lagged, Windows
from fanout.protocol.book import OrderBook
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.protocol.speedups import Twins

twin: Final = Twins("fanout.analytics.features._features")

_WARMING_UP: Final = int(Absence.WARMING_UP)
_NO_BOOK: Final = int(Absence.NO_BOOK)
_LOST: Final = int(Absence.LOST)
_NOT_LIVE: Final = int(Absence.NOT_LIVE)
_ONE_SIDED: Final = int(Absence.ONE_SIDED)
_EMPTY: Final = int(Absence.EMPTY)

_AFTER: Final = {_NO_BOOK: _WARMING_UP, _NOT_LIVE: _LOST}
"""Why a window is absent that reaches into a time without a book, once there is a book again."""


@twin
class Features:
    """The features of one instrument. See the module.

    The caller says what it knows: `take_book` after each change of a book, `lose_book` when it is
    not known any more, and likewise for trades. Each call takes the time of the stream, unix ns
    below 2^63, which never goes back, and `row` gives the values as of then. `begin` comes first.
    `StreamFeatures` does all that for the records of a stream.

    The book given has to be consistent, and is read during the call only. Raises `FitError` unless
    `fit` is for this instrument.
    """

    __slots__ = (
        "_best",
        "_book",
        "_flow",
        "_hole",
        "_lagged",
        "_settings",
        "_trades",
        "_volatility",
        "instrument",
        "starts",
    )

    def __init__(
        self,
        settings: FeatureSettings,
        instrument: Instrument,
        *,
        fit: MicropriceFit | None = None,
    ) -> None:
        self.instrument = instrument
        self._settings = settings
        self._book = BookFeatures(settings, instrument, fit)
        self._best: Best | None = None
        """The best prices that the next change is held against."""
        self._hole = _WARMING_UP
        """Why the order flow is not known until there are best prices again."""
        self._flow = Windows(_ns(settings.order_flow_ms), 1)
        self._lagged = [Lagged(_ns(settings.wap_lags_ms)) for _ in settings.wap_bps]
        self._volatility = Volatility(
            _ns(settings.volatility_ms), settings.volatility_sample_ms * NS_PER_MS
        )
        self._trades = TradeFeatures(settings, instrument)
        self.starts = 0
        """How often the best prices were known anew, so that their change is not known."""

    @property
    def best(self) -> Best | None:
        """The best prices, crossed or not. None while they are not known, or a side is empty."""
        return self._best

    def begin(self, now_ns: int) -> None:
        """This is the time of the stream's first record. There is no book yet."""
        self._volatility.begin(now_ns)
        self._show(now_ns)

    def take_book(
        self, now_ns: int, prices: OrderBook, *, is_anew: bool = False, is_ahead: bool = False
    ) -> None:
        """The book is this one from now on. `is_anew` if it does not follow from the one before by
        an update, so that changes between them are not known. `is_ahead` if it has what the next
        updates bring, so that changes from now on are not known either."""
        before = self._best
        self._book.take(prices)
        best = self._book.best
        if best is None:
            self._break(_ONE_SIDED)
        elif before is None or is_anew:
            self._start(now_ns, self._hole if before is None else _LOST)
        elif is_ahead:
            self._start(now_ns, self._flow.why)
        elif best != before:
            self._flow.add(now_ns, (order_flow(before, best),))
        self._best = best
        self._show(now_ns)

    def lose_book(self, now_ns: int, why: int) -> None:
        """The book is not known from now on."""
        self._break(_AFTER.get(why, why))
        self.hide_book(now_ns, why)

    def hide_book(self, now_ns: int, why: int) -> None:
        """Nothing of the book is shown from now on. The next one follows from the one before."""
        self._book.lose(why)
        self._show(now_ns)

    def take_trade(self, now_ns: int, trade: Trade) -> None:
        """Count a trade at a market price, which was received now."""
        self._trades.take(now_ns, trade)

    def lose_trades(self, why: int) -> None:
        """As `TradeFeatures.lose`."""
        self._trades.lose(why)

    def resume_trades(self, since_ns: int, why: int) -> None:
        """As `TradeFeatures.resume`."""
        self._trades.resume(since_ns, why)

    def expect_trades(self) -> None:
        """The stream has trades, so that none in a window means that there was none."""
        self._trades.has_begun = True

    def row(self, now_ns: int) -> FeatureRow:
        """The values at this moment."""
        book = self._book
        values, absences = book.values.copy(), book.absences.copy()
        self._put_lagged(now_ns, values, absences)
        self._put_flow(now_ns, values, absences)
        self._put_volatility(now_ns, values, absences)
        self._trades.put(now_ns, values, absences)
        return FeatureRow(self.instrument, now_ns, tuple(values), bytes(absences))

    def _start(self, now_ns: int, why: int) -> None:
        """The changes of the best prices are known from now on."""
        self.starts += 1
        self._flow.whole_ns = now_ns
        self._flow.why = why

    def _break(self, why: int) -> None:
        if self._best is not None or self._hole != _WARMING_UP:
            self._hole = why
        self._best = None
        self._flow.whole_ns = NEVER

    def _show(self, now_ns: int) -> None:
        """Take samples of the book as it is from now on."""
        book = self._book
        for lagged, (value, absence) in zip(self._lagged, book.waps, strict=True):
            lagged.add(now_ns, value, absence)
        twice = book.best.bid + book.best.ask if book.best and not book.why else 0
        why = _AFTER.get(book.why, book.why) or _EMPTY
        self._volatility.show(now_ns, max(twice, 0), why)

    def _put_lagged(self, now_ns: int, values: list[float | None], absences: bytearray) -> None:
        for lagged in self._lagged:
            lagged.move(now_ns)
            for _, value, why in lagged.shown:
                values.append(value)
                absences.append(why)

    def _put_flow(self, now_ns: int, values: list[float | None], absences: bytearray) -> None:
        flow, units = self._flow, self._book.units
        flow.move(now_ns)
        for at, total in enumerate(flow.sums):
            why = self._book.why or flow.absence(at, now_ns)
            values.append(None if why else total[0] * units.quantity / units.quantity_per)
            absences.append(why)

    def _put_volatility(self, now_ns: int, values: list[float | None], absences: bytearray) -> None:
        volatility = self._volatility
        volatility.move(now_ns)
        for at in range(len(self._settings.volatility_ms)):
            why = self._book.why or volatility.absence(at, now_ns)
            values.append(None if why else volatility.value(at, now_ns))
            absences.append(why)


def _ns(values_ms: Sequence[int]) -> list[int]:
    return [each * NS_PER_MS for each in values_ms]
