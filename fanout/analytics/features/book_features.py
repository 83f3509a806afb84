"""The features that follow from an order book alone, as it is at one moment.

The bands of all features lie within each other, and each of them is summed up once, by the book
itself. `FeatureSettings.book_columns` names the values; `features` defines them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fanout.analytics.features.formulas import BPS, Best, band
from fanout.analytics.features.settings import FIXED_COLUMNS, FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.features.units import Units
from fanout.protocol.book import OrderBook
from fanout.protocol.constants import I64_MAX, I64_MIN, Absence, Side
from fanout.protocol.instrument import Instrument

_BID: Final = Side.BID
_ASK: Final = Side.ASK

_ONE_SIDED: Final = int(Absence.ONE_SIDED)
_CROSSED: Final = int(Absence.CROSSED)
_TOO_SHALLOW: Final = int(Absence.TOO_SHALLOW)
_EMPTY: Final = int(Absence.EMPTY)
_NOT_FITTED: Final = int(Absence.NOT_FITTED)


class InBand(NamedTuple):
    """What a band has of a book: quantities and sums of price times quantity, as integers.
    `is_whole` is False if the book does not know all of it."""

    bids: int
    asks: int
    notional: int
    low: int
    high: int
    is_whole: bool


def in_band(prices: OrderBook, best: Best, depth_bps: int) -> InBand:
    """Sum up the band B(d) of a book with these best prices, whose mid is positive."""
    low, high = band(best.bid, best.ask, depth_bps)
    low, high = max(low, I64_MIN), min(high, I64_MAX)
    bids, asks = prices.depth_to(_BID, low), prices.depth_to(_ASK, high)
    is_whole = not prices.is_top_only or not (
        (bids.price is not None and bids.price > low and _is_all(prices, _BID, low))
        or (asks.price is not None and asks.price < high and _is_all(prices, _ASK, high))
    )
    return InBand(bids.quantity, asks.quantity, bids.notional + asks.notional, low, high, is_whole)


def _is_all(prices: OrderBook, side: Side, price: int) -> bool:
    count = prices.ask_count if side else prices.bid_count
    return prices.count_to(side, price) == count


class BookFeatures:
    """The values of the columns `FeatureSettings.book_columns`, and why some are absent.

    `values` and `absences` are those of the newest book that `take` was given. `best` are its best
    prices, None if a side is empty. `why` says why all values are absent, or is 0.
    """

    __slots__ = (
        "_depths",
        "_fit",
        "_settings",
        "absences",
        "best",
        "units",
        "values",
        "waps",
        "why",
    )

    def __init__(
        self, settings: FeatureSettings, instrument: Instrument, fit: MicropriceFit | None
    ) -> None:
        self._settings = settings
        self.units = Units(instrument)
        self._fit = fit.for_instrument(instrument) if fit is not None else None
        its = settings
        self._depths = sorted({*its.quantity_bps, *its.wap_bps, *its.liquidity_bps, *its.level_bps})
        self.values: list[float | None] = []
        self.absences = bytearray()
        self.best: Best | None = None
        self.waps: list[tuple[float | None, int]] = []
        """For each of `wap_bps` its value, and why it is absent, or 0."""
        self.why = 0
        self.lose(int(Absence.NO_BOOK))

    def lose(self, why: int) -> None:
        """All values are absent from now on."""
        count = len(self._settings.book_columns)
        self.values = [None] * count
        self.absences = bytearray([why]) * count
        self.waps = [(None, why)] * len(self._settings.wap_bps)
        self.best = None
        self.why = why

    def take(self, prices: OrderBook) -> None:
        """Take a book that is known and consistent, as it is now."""
        bid, ask = prices.best_bid, prices.best_ask
        if bid is None or ask is None:
            self.lose(_ONE_SIDED)
            return
        best = Best(*bid, *ask)
        if best.bid >= best.ask:
            self.lose(_CROSSED)
        else:
            self.why = 0
            self.values, self.absences, self.waps = [], bytearray(), []
            self._compute(prices, best)
        self.best = best

    def _compute(self, prices: OrderBook, best: Best) -> None:
        bid, bid_quantity, ask, ask_quantity = best
        units = self.units
        twice = bid + ask
        both = bid_quantity + ask_quantity
        self._put(twice * units.price, 2 * units.price_per)
        self._put((ask - bid) * units.price, units.price_per)
        self._put(2 * BPS * (ask - bid), max(twice, 0))
        self._put(bid_quantity - ask_quantity, both)
        crosswise = bid * ask_quantity + ask * bid_quantity
        self._put(crosswise * units.price, both * units.price_per)
        self._put_stoikov(best)
        self._put_imbalance(prices.bid_count, prices.ask_count, not prices.is_top_only)
        self._put_bands(prices, best)
        for count in self._settings.queue_levels:
            bids, asks = prices.depth(_BID, count), prices.depth(_ASK, count)
            is_whole = not prices.is_top_only or min(prices.bid_count, prices.ask_count) >= count
            self._put_imbalance(bids.quantity, asks.quantity, is_whole)

    def _put_bands(self, prices: OrderBook, best: Best) -> None:
        settings, units = self._settings, self.units
        if best.bid + best.ask <= 0:  # no band without a positive mid
            others = len(FIXED_COLUMNS) + len(settings.queue_levels)
            self._put_nothing(len(settings.book_columns) - others, _EMPTY)
            self.waps = [(None, _EMPTY)] * len(settings.wap_bps)
            return
        bands = {depth: in_band(prices, best, depth) for depth in self._depths}
        for depth in settings.quantity_bps:
            for quantity in bands[depth][:2]:
                self._put_known(
                    quantity * units.quantity, units.quantity_per, bands[depth].is_whole
                )
        for depth in settings.wap_bps:
            self._put_wap(bands[depth])
        for depth in settings.liquidity_bps:
            self._put_imbalance(*bands[depth][:2], bands[depth].is_whole)
        for depth in settings.level_bps:
            each = bands[depth]
            bids, asks = prices.count_to(_BID, each.low), prices.count_to(_ASK, each.high)
            self._put_imbalance(bids, asks, each.is_whole)

    def _put_wap(self, of: InBand) -> None:
        numerator = of.notional * self.units.price
        denominator = (of.bids + of.asks) * self.units.price_per
        self._put_known(numerator, denominator, of.is_whole)
        self.waps.append((self.values[-1], self.absences[-1]))

    def _put_stoikov(self, best: Best) -> None:
        fit, units = self._fit, self.units
        adjustment = fit.adjustment_of(best) if fit is not None else None
        if fit is None or adjustment is None:
            self._put_nothing(1, _NOT_FITTED)
            return
        mid = (best.bid + best.ask) * units.price / (2 * units.price_per)
        self.values.append(mid + adjustment * (fit.tick * units.price / units.price_per))
        self.absences.append(0)

    def _put_imbalance(self, bids: int, asks: int, is_known: bool) -> None:
        self._put_known(bids - asks, bids + asks, is_known)

    def _put_known(self, numerator: int, denominator: int, is_known: bool) -> None:
        if is_known:
            self._put(numerator, denominator)
        else:
            self._put_nothing(1, _TOO_SHALLOW)

    def _put(self, numerator: int, denominator: int) -> None:
        if denominator:
            self.values.append(numerator / denominator)
            self.absences.append(0)
        else:
            self._put_nothing(1, _EMPTY)

    def _put_nothing(self, count: int, why: int) -> None:
        self.values += [None] * count
        self.absences += bytes([why]) * count
