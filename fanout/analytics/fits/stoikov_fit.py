"""Fits Stoikov's microprice to the records of a stream. See `fanout.analytics.features.stoikov`."""

from __future__ import annotations

from collections import Counter
from typing import Final

from fanout.analytics.errors import FitError
from fanout.analytics.features.features import Features
from fanout.analytics.features.formulas import Best
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.features.stoikov import (
    MAX_STATES,
    MicropriceFit,
    adjustments,
    state_of,
)
from fanout.analytics.features.stream import StreamFeatures
from fanout.clients.outcomes import Received
from fanout.protocol.instrument import Instrument

_NOTHING: Final = FeatureSettings(
    quantity_bps=(),
    wap_bps=(),
    wap_lags_ms=(),
    liquidity_bps=(),
    level_bps=(),
    queue_levels=(),
    order_flow_ms=(),
    trade_flow_ms=(),
    vwap_ms=(),
    intensity_ms=(),
    volatility_ms=(),
)
"""Features are not needed here, only what `StreamFeatures` knows of the book."""

State = tuple[int, int]
"""Spread and bucket, both from 0."""


class MicropriceEstimator:
    """Counts the steps of one symbol in a stream, and makes a fit of them.

    `spreads` is the number of spreads that are told apart, the last one with all that are wider;
    `buckets` the number of those of the imbalance. `tick` is the instrument's unless given, in
    units of the price exponent. Raises `FitError` if there are too many states.

    Time without a book, or with a crossed or a one-sided one, is left out, and so is the step over
    it. `take` raises `FitError` if the instrument's tick or price exponent is another one than
    before.
    """

    def __init__(
        self, symbol: str, *, spreads: int = 4, buckets: int = 10, tick: int | None = None
    ) -> None:
        if spreads < 1 or buckets < 2 or spreads * buckets > MAX_STATES:
            raise FitError(
                f"{spreads} spreads and {buckets} buckets: at least 1 and 2, and at most "
                f"{MAX_STATES} states"
            )
        self.observations = 0
        """The number of steps so far."""
        self.first_ns = self.last_ns = 0
        self._symbol = symbol
        self._spreads, self._buckets = spreads, buckets
        self._tick = tick
        self._units: tuple[int, int] | None = None
        """Price exponent and tick of the instrument, the same for all steps."""
        self._stream = StreamFeatures(_NOTHING, symbols=[symbol], every_ns=2**62)
        self._best: Best | None = None
        self._follows: tuple[Features | None, int] = (None, 0)
        """Which features the best prices are of, and how often those were known anew."""
        self._steps: Counter[tuple[State, State, int]] = Counter()
        """How many steps there were from one state to another, with a change of twice the mid."""

    def take(self, record: Received) -> None:
        """Take the next record of the stream. Every record counts."""
        self._stream.take(record)
        features = self._stream.features(self._symbol)
        if features is None or features.best is self._best:
            return
        if features is not self._follows[0]:
            self._require_units(features.instrument)
        before, self._best = self._best, features.best
        follows, self._follows = self._follows, (features, features.starts)
        after = self._best
        if after is None or after.bid >= after.ask:
            self._best = None
        elif before is not None and follows == self._follows and before != after:
            self._count(before, after)

    def _require_units(self, instrument: Instrument) -> None:
        units = instrument.price_exponent, instrument.tick
        before, self._units = self._units, units
        if before not in (None, units):
            raise FitError(
                f"the tick of {self._symbol} was {before[1]}e{before[0]} and is "
                f"{units[1]}e{units[0]}: fit the records before and after the change separately"
            )

    def _count(self, before: Best, after: Best) -> None:
        change = after.bid + after.ask - before.bid - before.ask
        self._steps[self._state(before), self._state(after), change] += 1
        self.observations += 1
        self.last_ns = self._stream.now_ns
        self.first_ns = self.first_ns or self.last_ns

    def _state(self, best: Best) -> State:
        return state_of(best, self._its_tick(), self._spreads, self._buckets)

    def _its_tick(self) -> int:
        if not self._tick:
            features = self._stream.features(self._symbol)
            self._tick = features.instrument.tick if features is not None else 0
            if not self._tick:
                raise FitError(f"the tick of {self._symbol} is not known: give it")
        return self._tick

    def fit(self, *, venue: str, epochs_ns: tuple[int, ...], fitted_ns: int) -> MicropriceFit:
        """The fit to all steps so far. Raises `FitError` if they are too few."""
        features = self._stream.features(self._symbol)
        if features is None or not self.observations:
            raise FitError(f"{self._symbol} has no change of its best prices: give more records")
        return MicropriceFit(
            symbol=self._symbol,
            venue=venue,
            price_exponent=features.instrument.price_exponent,
            tick=self._its_tick(),
            epochs_ns=epochs_ns,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            fitted_ns=fitted_ns,
            observations=self.observations,
            ticks=self._table(),
        )

    def _table(self) -> tuple[tuple[float | None, ...], ...]:
        states, steps = _connected(self._mirrored())
        at = {state: index for index, state in enumerate(states)}
        q, t = [[0.0] * len(states) for _ in states], [[0.0] * len(states) for _ in states]
        rk = [0.0] * len(states)
        totals = Counter[State]()
        for (before, _, _), count in steps.items():
            totals[before] += count
        for (before, after, change), count in steps.items():
            row, share = at[before], count / totals[before]
            (t if change else q)[row][at[after]] += share
            rk[row] += share * change / (2 * self._its_tick())
        found = dict(zip(states, adjustments(q, t, rk), strict=True))
        return tuple(
            tuple(found.get((spread, bucket)) for bucket in range(self._buckets))
            for spread in range(self._spreads)
        )

    def _mirrored(self) -> Counter[tuple[State, State, int]]:
        """The steps, and each with bids and asks exchanged."""
        both = Counter(self._steps)
        for (before, after, change), count in self._steps.items():
            both[self._mirror(before), self._mirror(after), -change] += count
        return both

    def _mirror(self, state: State) -> State:
        spread, bucket = state
        return spread, self._buckets - 1 - bucket


def _connected(
    steps: Counter[tuple[State, State, int]],
) -> tuple[list[State], Counter[tuple[State, State, int]]]:
    """The states that are left by steps, and the steps between such states."""
    while True:
        left = {before for before, _, _ in steps}
        kept = Counter({step: count for step, count in steps.items() if step[1] in left})
        if len(kept) == len(steps):
            return sorted(left), kept
        steps = kept
