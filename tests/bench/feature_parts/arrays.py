"""Contenders: the columns of a row from numpy arrays, anew at each update.

It is what a notebook does, with the same results. What windows need is appended to arrays, and
found there by `searchsorted`. A column that has no value is NaN. The book is one of two:

- `ArrayBook`: numpy's own, the rival `numpy` of the stage book, which gets each update as an array.
- `PackedBook`: our compiled book, which packs the levels of the widest band. So the contender gets
  its book for next to nothing.
"""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fanout.analytics.features.formulas import Best, band, order_flow
from fanout.analytics.features.settings import NS_PER_MS, FeatureSettings
from fanout.clients.outcomes import Received
from fanout.protocol import BookUpdate, Instrument, OrderBook, Side, Trade
from tests.bench.book_rivals.arrays import Arrays

_LEVEL: Final = np.dtype([("price", "<i8"), ("quantity", "<i8")])
_NS_PER_S: Final = 1_000_000_000
_NAN: Final = float("nan")

Ints = NDArray[np.int64]
Levels = tuple[Ints, Ints]
"""Prices and quantities of a side, from the best outwards."""


class Held(Protocol):
    """A book that gives its levels as arrays."""

    def apply(self, update: BookUpdate) -> None: ...
    def best(self) -> Best: ...
    def counts(self) -> tuple[int, int]:
        """How many levels each side has."""

    def within(self, low: int, high: int, least: int) -> tuple[Levels, Levels]:
        """The bids down to `low` and the asks up to `high`, at least so many of each."""


class ArrayBook:
    """Numpy's."""

    def __init__(self) -> None:
        self._arrays = Arrays()

    def apply(self, update: BookUpdate) -> None:
        packed = update.packed_bids, update.packed_asks
        self._arrays.apply(*(np.frombuffer(each, "<i8").reshape(-1, 2) for each in packed))

    def best(self) -> Best:
        bid, ask = self._arrays.best()
        return Best(*map(int, bid), *map(int, ask))

    def counts(self) -> tuple[int, int]:
        bids, asks = self._arrays.bids, self._arrays.asks
        return len(bids.prices), len(asks.prices)

    def within(self, low: int, high: int, least: int) -> tuple[Levels, Levels]:
        bids, asks = self._arrays.bids, self._arrays.asks
        first = max(0, min(bids.prices.searchsorted(low), len(bids.prices) - least))
        end = max(asks.prices.searchsorted(high, "right"), least)
        return (
            (bids.prices[first:][::-1], bids.quantities[first:][::-1]),
            (asks.prices[:end], asks.quantities[:end]),
        )


class PackedBook:
    """Ours."""

    def __init__(self) -> None:
        self._book = OrderBook()

    def apply(self, update: BookUpdate) -> None:
        self._book.apply(update)

    def best(self) -> Best:
        bid, ask = self._book.best_bid, self._book.best_ask
        if bid is None or ask is None:
            raise ValueError("a side of the recorded book is empty")
        return Best(*bid, *ask)

    def counts(self) -> tuple[int, int]:
        return self._book.bid_count, self._book.ask_count

    def within(self, low: int, high: int, least: int) -> tuple[Levels, Levels]:
        book = self._book
        count = max(book.count_to(Side.BID, low), book.count_to(Side.ASK, high), least)
        bids, asks = (np.frombuffer(side, _LEVEL) for side in book.packed(count))
        return (bids["price"], bids["quantity"]), (asks["price"], asks["quantity"])


class _Series:
    """Rows of integers or doubles in the order of time, in an array that doubles when it is full.
    The first column is the time."""

    def __init__(self, *types: str) -> None:
        self._arrays = [np.empty(1_024, each) for each in types]
        self.count = 0

    def append(self, *values: float) -> None:
        if self.count == len(self._arrays[0]):
            self._arrays = [np.concatenate((each, each)) for each in self._arrays]
        for array, value in zip(self._arrays, values, strict=True):
            array[self.count] = value
        self.count += 1

    def column(self, which: int) -> NDArray[np.generic]:
        return self._arrays[which][: self.count]


class Recomputed:
    """The columns of `settings` for one instrument, whose stream has no losses."""

    def __init__(
        self, settings: FeatureSettings, instrument: Instrument, book: Callable[[], Held]
    ) -> None:
        self._its = settings
        self._price = 10.0**instrument.price_exponent
        self._quantity = 10.0**instrument.quantity_exponent
        self._widest_bps = max(*settings.quantity_bps, *settings.wap_bps)
        self._depths = {
            *settings.quantity_bps,
            *settings.wap_bps,
            *settings.liquidity_bps,
            *settings.level_bps,
        }
        self._book = book()
        self._is_top_only = False
        self._begin_ns = 0
        self._best: Best | None = None
        self._shown = _Series("i8", "f8", "f8", "f8")
        """Time, mid, wap of the first depth, and order flow."""
        self._traded = _Series("i8", "f8", "f8", "f8")
        """Time, price, quantity, and the sign of the aggressor."""

    def take(self, record: Received) -> list[float]:
        """The row after an update. Trades are noted only."""
        if isinstance(record, BookUpdate):
            if not self._begin_ns:
                self._begin_ns, self._is_top_only = record.received_ns, record.is_top_only
            self._book.apply(record)
            return self._row(record.received_ns)
        assert isinstance(record, Trade), "the records are updates and trades"
        sign = -1 if record.buyer_is_maker else 1
        self._traded.append(record.received_ns, record.price, record.quantity, sign)
        return []

    def _row(self, now_ns: int) -> list[float]:
        best = self._book.best()
        before, self._best = self._best or best, best
        values, wap = self._book_values(best)
        flow = 0 if best == before else order_flow(before, best)
        self._shown.append(now_ns, (best.bid + best.ask) / 2, wap, flow)
        return [*values, *self._shown_values(now_ns), *self._trade_values(now_ns)]

    def _book_values(self, best: Best) -> tuple[list[float], float]:
        """The values of the book, and its wap of the first depth."""
        its = self._its
        b, qb, a, qa = best
        bids, asks = self._book.within(*band(b, a, self._widest_bps), its.queue_levels[-1])
        mid = (a + b) / 2
        micro = (b * qa + a * qb) / (qa + qb)
        values = [
            mid * self._price,
            (a - b) * self._price,
            10_000 * (a - b) / mid,
            (qb - qa) / (qb + qa),
            micro * self._price,
            _NAN,  # no fit
            _NAN if self._is_top_only else _imbalance(*self._book.counts()),
        ]
        in_band = {depth: _in_band(bids, asks, *band(b, a, depth)) for depth in self._depths}
        for depth in its.quantity_bps:
            values += [float(side[1].sum()) * self._quantity for side in in_band[depth]]
        waps = [_wap(*in_band[depth]) * self._price for depth in its.wap_bps]
        values += waps
        values += [_liquidity(*(side[1] for side in in_band[depth])) for depth in its.liquidity_bps]
        values += [
            _imbalance(*(len(side[1]) for side in in_band[depth])) for depth in its.level_bps
        ]
        values += [_liquidity(bids[1][:count], asks[1][:count]) for count in its.queue_levels]
        return values, waps[0]

    def _shown_values(self, now_ns: int) -> list[float]:
        its, times = self._its, self._shown.column(0)
        mids, waps, flows = (self._shown.column(which) for which in (1, 2, 3))
        values = []
        for lag_ms in its.wap_lags_ms:
            place = times.searchsorted(now_ns - lag_ms * NS_PER_MS, "right") - 1
            values.append(float(waps[place]) if place >= 0 else _NAN)
        for window_ms in its.order_flow_ms:
            start_ns = now_ns - window_ms * NS_PER_MS
            flow = flows[times.searchsorted(start_ns, "right") :].sum() * self._quantity
            values.append(float(flow) if start_ns >= self._begin_ns else _NAN)
        step_ns = its.volatility_sample_ms * NS_PER_MS
        for window_ms in its.volatility_ms:
            first = -(-(now_ns - window_ms * NS_PER_MS) // step_ns)
            if first * step_ns < self._begin_ns:
                values.append(_NAN)
                continue
            at_ns = np.arange(first * step_ns, now_ns, step_ns)
            sampled = mids[times.searchsorted(at_ns, "right") - 1]
            returns = np.log1p(np.diff(sampled) / sampled[:-1])
            spent_s = len(returns) * step_ns / _NS_PER_S
            values.append(float(np.sqrt(np.square(returns).sum() / spent_s)))
        return values

    def _trade_values(self, now_ns: int) -> list[float]:
        its, times = self._its, self._traded.column(0)
        columns = [self._traded.column(which) for which in (1, 2, 3)]
        flows, ticks, vwaps, rates = [], [], [], []
        for window_ms in its.trade_flow_ms:  # the others have the same windows
            start_ns = now_ns - window_ms * NS_PER_MS
            if start_ns < self._begin_ns or not len(times):
                flows.append(_NAN), ticks.append(_NAN), vwaps.append(_NAN), rates.append(_NAN)
                continue
            first = times.searchsorted(start_ns, "right")
            prices, quantities, signs = (each[first:] for each in columns)
            total = quantities.sum()
            flows.append(float(np.dot(signs, quantities) / total) if total else _NAN)
            ticks.append(float(signs.mean()) if total else _NAN)
            vwap = np.dot(prices, quantities) / total * self._price if total else _NAN
            vwaps.append(float(vwap))
            rates.append(len(prices) * 1_000 / window_ms)
        return [*flows, *ticks, *vwaps, *rates]


def _imbalance(bids: float, asks: float) -> float:
    return (bids - asks) / (bids + asks)


def _in_band(bids: Levels, asks: Levels, low: int, high: int) -> tuple[Levels, Levels]:
    of_bids, of_asks = np.count_nonzero(bids[0] >= low), np.count_nonzero(asks[0] <= high)
    return (bids[0][:of_bids], bids[1][:of_bids]), (asks[0][:of_asks], asks[1][:of_asks])


def _liquidity(bids: Ints, asks: Ints) -> float:
    return _imbalance(float(bids.sum()), float(asks.sum()))


def _wap(bids: Levels, asks: Levels) -> float:
    notional = np.dot(*bids) + np.dot(*asks)
    return float(notional / (bids[1].sum() + asks[1].sum()))
