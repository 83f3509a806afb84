"""The features as they are defined, from all that has come, anew for each row.

The history of a stream is kept whole: every state of the book with all its levels, and every trade.
A value is a `Fraction`, or the absence. numpy adds up 64-bit integers, which do not overflow here.
Nothing is shared with the project but the names of the settings.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanout.analytics import FeatureSettings
from fanout.protocol import BookUpdate, Trade
from fanout.protocol.constants import Absence

Levels = NDArray[np.int64]
"""Rows of price and quantity, from the best outwards."""

Value = Fraction | float | Absence

MS = 1_000_000


class Side:
    def __init__(self, sign: int) -> None:
        self._levels: dict[int, int] = {}
        self._sign = sign

    def change(self, packed: bytes, *, is_whole: bool) -> Levels:
        if is_whole:
            self._levels.clear()
        for price, quantity in np.frombuffer(packed, dtype=np.int64).reshape(-1, 2).tolist():
            self._levels[price] = quantity
            if not quantity:
                del self._levels[price]
        ordered = sorted(self._levels.items(), key=lambda level: self._sign * level[0])
        return np.array(ordered, dtype=np.int64).reshape(-1, 2)


class State(NamedTuple):
    """A book from a moment on; `absence` says why there is none."""

    time_ns: int
    bids: Levels
    asks: Levels
    is_top_only: bool = False
    absence: Absence = Absence.PRESENT

    @property
    def fault(self) -> Absence:
        if self.absence or not (len(self.bids) and len(self.asks)):
            return self.absence or Absence.ONE_SIDED
        return Absence.CROSSED if self.bids[0, 0] >= self.asks[0, 0] else Absence.PRESENT

    @property
    def best(self) -> tuple[int, int, int, int]:
        (bid, bid_quantity), (ask, ask_quantity) = self.bids[0].tolist(), self.asks[0].tolist()
        return bid, bid_quantity, ask, ask_quantity

    @property
    def twice_mid(self) -> int:
        return self.best[0] + self.best[2]

    def band(self, bps: int) -> tuple[Levels, Levels] | Absence:
        twice = self.twice_mid
        if twice <= 0:
            return Absence.EMPTY
        found = []
        for side in (self.bids, self.asks):
            inside = side[np.abs(2 * side[:, 0] - twice) * 10_000 <= twice * bps]
            # Nothing is known beyond the last level. So all between it and the edge may be missing.
            edge = Fraction(twice * (10_000 + (bps if side is self.asks else -bps)), 20_000)
            last = int(side[-1, 0])
            reaches = math.ceil(edge) < last if side is self.bids else math.floor(edge) > last
            if self.is_top_only and len(inside) == len(side) and reaches:
                return Absence.TOO_SHALLOW
            found.append(inside)
        return found[0], found[1]


def ratio(numerator: int, denominator: int) -> Value:
    return Fraction(int(numerator), int(denominator)) if denominator else Absence.EMPTY


def imbalance(bids: int, asks: int) -> Value:
    return ratio(bids - asks, bids + asks)


class Slow:
    """The history of one instrument in a stream that loses nothing."""

    def __init__(self, settings: FeatureSettings, price_exponent: int, quantity_exponent: int):
        self.settings = settings
        self.price = Fraction(10) ** price_exponent
        self.quantity = Fraction(10) ** quantity_exponent
        self.start_ns = 0
        self.states: list[State] = []
        self._sides = Side(-1), Side(1)
        self._is_top_only = False
        self.flows: list[tuple[int, int]] = []
        """When the best prices changed, and the step of the order flow."""
        self.trades: list[tuple[int, int, int, int]] = []
        """Time, whether the aggressor bought, quantity and price."""

    def take(self, record: BookUpdate | Trade) -> None:
        self.start_ns = self.start_ns or record.received_ns
        if isinstance(record, Trade):
            bought = int(not record.buyer_is_maker)
            self.trades.append((record.received_ns, bought, record.quantity, record.price))
            return
        if record.is_whole:
            self._is_top_only = record.is_top_only
        bids, asks = (
            side.change(packed, is_whole=record.is_whole)
            for side, packed in zip(
                self._sides, (record.packed_bids, record.packed_asks), strict=True
            )
        )
        state = State(record.received_ns, bids, asks, self._is_top_only)
        if self.states:
            self.flows.append((state.time_ns, flow_step(self.states[-1].best, state.best)))
        self.states.append(state)

    def row(self, now_ns: int) -> Iterator[Value]:
        """In the order of `FeatureSettings.columns`."""
        yield from self.of_book(self.states[-1])
        for bps in self.settings.wap_bps:
            for lag in self.settings.wap_lags_ms:
                yield self.lagged_wap(now_ns - lag * MS, bps)
        for window in self.settings.order_flow_ms:
            yield self.order_flow(now_ns, window * MS)
        for window in self.settings.volatility_ms:
            yield self.volatility(now_ns, window * MS)
        yield from self.of_trades(now_ns)

    def of_book(self, state: State) -> Iterator[Value]:
        settings = self.settings
        if state.fault:
            yield from [state.fault] * len(settings.book_columns)
            return
        bid, bid_quantity, ask, ask_quantity = state.best
        mid = Fraction(bid + ask, 2)
        yield mid * self.price
        yield (ask - bid) * self.price
        yield 10_000 * (ask - bid) / mid if mid > 0 else Absence.EMPTY
        yield imbalance(bid_quantity, ask_quantity)
        crosswise = Fraction(bid * ask_quantity + ask * bid_quantity, bid_quantity + ask_quantity)
        yield crosswise * self.price
        yield Absence.NOT_FITTED
        shallow = Absence.TOO_SHALLOW if state.is_top_only else None
        yield shallow or imbalance(len(state.bids), len(state.asks))
        for bps in settings.quantity_bps:
            both = state.band(bps)
            for side in (0, 1):
                is_none = isinstance(both, Absence)
                yield both if is_none else int(both[side][:, 1].sum()) * self.quantity
        for bps in settings.wap_bps:
            yield self.wap(state, bps)
        for bps in settings.liquidity_bps:
            both = state.band(bps)
            is_none = isinstance(both, Absence)
            yield both if is_none else imbalance(*(int(each[:, 1].sum()) for each in both))
        for bps in settings.level_bps:
            both = state.band(bps)
            yield both if isinstance(both, Absence) else imbalance(*map(len, both))
        for count in settings.queue_levels:
            is_short = state.is_top_only and min(len(state.bids), len(state.asks)) < count
            firsts = [int(side[:count, 1].sum()) for side in (state.bids, state.asks)]
            yield Absence.TOO_SHALLOW if is_short else imbalance(*firsts)

    def wap(self, state: State, bps: int) -> Value:
        if state.fault:
            return state.fault
        both = state.band(bps)
        if isinstance(both, Absence):
            return both
        levels = np.concatenate(both)
        value = ratio((levels[:, 0] * levels[:, 1]).sum(), levels[:, 1].sum())
        return value if isinstance(value, Absence) else value * self.price

    def lagged_wap(self, then_ns: int, bps: int) -> Value:
        if then_ns < self.start_ns:
            return Absence.WARMING_UP
        state = self.state_at(then_ns)
        return self.wap(state, bps) if state else Absence.NO_BOOK

    def state_at(self, then_ns: int) -> State | None:
        at = bisect_right(self.states, then_ns, key=lambda state: state.time_ns)
        return self.states[at - 1] if at else None

    def order_flow(self, now_ns: int, window_ns: int) -> Value:
        start_ns = now_ns - window_ns
        if self.states[-1].fault:
            return self.states[-1].fault
        if start_ns < self.states[0].time_ns:
            return Absence.WARMING_UP
        return sum(e for time_ns, e in self._last(self.flows, start_ns)) * self.quantity

    def volatility(self, now_ns: int, window_ns: int) -> Value:
        step_ns = self.settings.volatility_sample_ms * MS
        instants = [
            step * step_ns
            for step in range((now_ns - window_ns) // step_ns, now_ns // step_ns + 1)
            if now_ns - window_ns <= step * step_ns < now_ns
        ]
        states = [self.state_at(each) for each in instants]
        for each in [self.states[-1], *reversed(states)]:
            if each is None or each.fault:
                return Absence.WARMING_UP if each is None else each.fault
        mids = np.array([each.twice_mid for each in states if each], dtype=float)
        returns = np.log(mids[1:] / mids[:-1])
        return math.sqrt(math.fsum(returns**2) / (len(returns) * step_ns / 1e9))

    def of_trades(self, now_ns: int) -> Iterator[Value]:
        settings = self.settings
        for of_counts in (False, True):
            for window in settings.trade_flow_ms:
                yield self._of_window(now_ns, window, lambda x, by=of_counts: trade_flow(x, by))
        for window in settings.vwap_ms:
            yield self._of_window(now_ns, window, self._vwap)
        for window in settings.intensity_ms:
            yield self._of_window(now_ns, window, lambda x, w=window: Fraction(len(x) * 1_000, w))

    def _vwap(self, trades: list[Any]) -> Value:
        value = ratio(sum(q * p for _, _, q, p in trades), sum(q for _, _, q, _ in trades))
        return value if isinstance(value, Absence) else value * self.price

    def _of_window(self, now_ns: int, window_ms: int, formula: Any) -> Value:
        start_ns = now_ns - window_ms * MS
        if start_ns < self.start_ns or not self.trades:
            return Absence.WARMING_UP
        value: Value = formula(self._last(self.trades, start_ns))
        return value

    @staticmethod
    def _last(entries: list[Any], start_ns: int) -> list[Any]:
        return entries[bisect_right(entries, start_ns, key=lambda entry: entry[0]) :]


def flow_step(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    b0, qb0, a0, qa0 = before
    b, qb, a, qa = after
    return (b >= b0) * qb - (b <= b0) * qb0 - (a <= a0) * qa + (a >= a0) * qa0


def trade_flow(trades: list[Any], of_counts: bool) -> Value:
    sizes = [(bought, 1 if of_counts else quantity) for _, bought, quantity, _ in trades]
    return imbalance(
        sum(size for bought, size in sizes if bought),
        sum(size for bought, size in sizes if not bought),
    )
