"""Signals: a row of features in, a direction out.

A model is any object with the method of `SignalModel`. It is made with the names of the rows'
columns, finds those it needs once, and then takes row after row of one instrument. If a feature is
absent, the signal has direction 0, and its reason names the column and why it is absent. A model
never carries an old value on.

    strength     how far the features are from neutral, 0 to 1, on a scale of the model
    confidence   how far the model is to be believed, 0 to 1: its weight among others
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, isfinite
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from fanout.analytics.errors import AnalyticsError
from fanout.analytics.features.column import Column, WrongRowError
from fanout.protocol.feature_rows import FeatureRow

if TYPE_CHECKING:
    from fanout.analytics.fits.linear import LinearFit

FULL_DEVIATIONS: Final = 2.0
"""A prediction of so many standard deviations of the fit's own predictions has strength 1."""


class SignalError(AnalyticsError):
    """A signal, or an option of a model, is out of range."""


class Signal(msgspec.Struct, frozen=True):
    """What a model makes of one row.

    `direction` is +1 for a rising mid, -1 for a falling one, 0 for none; `strength` and
    `confidence` are 0 to 1. `reason` is for people. Raises `SignalError` for other numbers.
    """

    direction: int
    strength: float
    confidence: float
    reason: str

    def __post_init__(self) -> None:
        if self.direction not in (-1, 0, 1):
            raise SignalError(f"direction {self.direction}: -1, 0 or 1")
        for name, value in (("strength", self.strength), ("confidence", self.confidence)):
            if not 0 <= value <= 1:
                raise SignalError(f"{name} {value}: 0 to 1")


@runtime_checkable
class SignalModel(Protocol):
    """Makes signals of rows. Its class takes the names of the columns as the first argument."""

    def signal(self, row: FeatureRow) -> Signal:
        """The signal of one row. Raises `WrongRowError` for a row of other columns."""


def flat(reason: str, confidence: float = 0.0) -> Signal:
    """No direction. With a confidence it is a vote for none, without one it is no vote."""
    return Signal(0, 0.0, confidence, reason)


class OrderFlowThreshold:
    """The direction of an order-flow imbalance, once it is large.

    The signal is +1 from `threshold` on and -1 from `-threshold` on, both included, in the
    column's unit. Strength grows in proportion, and is 1 from `full` on, which is twice the
    threshold if not given. A threshold knows nothing of its own success, so `confidence` is
    the caller's. Raises `SignalError` and `UnknownColumnError`.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        threshold: float,
        column: str = "order_flow_imbalance_1000ms",
        full: float | None = None,
        confidence: float = 0.5,
    ) -> None:
        self._column = Column(columns, column)
        self._threshold = threshold
        self._full = 2 * threshold if full is None else full
        self._confidence = confidence
        if not (0 < threshold <= self._full and isfinite(self._full)):
            raise SignalError(
                f"threshold {threshold} and full {self._full}: above 0, and full not below it"
            )
        flat("", confidence)  # refuses a confidence out of range

    def signal(self, row: FeatureRow) -> Signal:
        """As in `SignalModel`."""
        value = self._column.value(row)
        if value is None:
            return flat(self._column.why(row))
        reason = f"{self._column.name} {value:.6g}, threshold {self._threshold:.6g}"
        if abs(value) < self._threshold:
            return flat(reason, self._confidence)
        strength = min(1.0, abs(value) / self._full)
        return Signal(1 if value > 0 else -1, strength, self._confidence, reason)


class LinearPredictor:
    """The direction of the mid's return over the horizon of a fit.

    A predicted return nearer to 0 than `least_return` (costs, for one; 0.0001 is a basis point)
    gives no direction. Strength is 1 from two standard deviations of the fit's own predictions on.
    Confidence is `LinearFit.confidence`: a fit whose out-of-sample R² is not above 0 gives no
    direction at all. Raises `UnknownColumnError` if the rows lack a column of the fit.
    `LinearFit.require` tells whether the fit is for a stream; the rows' instrument is checked here.
    """

    def __init__(
        self, columns: Sequence[str], fit: LinearFit, *, least_return: float = 0.0
    ) -> None:
        if not 0 <= least_return < 1:
            raise SignalError(f"least_return {least_return}: 0 to 1, a return")
        self._fit = fit
        self._columns = [Column(columns, each) for each in fit.columns]
        self._least_return = least_return

    def signal(self, row: FeatureRow) -> Signal:
        """As in `SignalModel`. Raises `WrongRowError` for another instrument, too."""
        fit = self._fit
        if row.instrument.symbol != fit.made_for.symbol:
            raise WrongRowError(
                f"a row of {row.instrument.symbol}, and a fit for {fit.made_for.symbol}: fit one "
                "for each symbol"
            )
        values = []
        for column in self._columns:
            value = column.value(row)
            if value is None:
                return flat(column.why(row))
            values.append(value)
        return self._of(fit.predicted(values))

    def _of(self, predicted: float) -> Signal:
        fit = self._fit
        if not fit.confidence:
            return flat(f"the fit does not predict: out-of-sample R2 {fit.score.told}")
        full = FULL_DEVIATIONS * fit.prediction_deviation
        if not full or not isfinite(predicted):
            return flat("the fit predicts no finite return, or always the same")
        reason = f"{predicted * 1e4:+.3g} bps predicted in {fit.horizon_ns / 1e9:g} s"
        if abs(predicted) < self._least_return or not predicted:
            return flat(reason, fit.confidence)
        strength = min(1.0, abs(predicted) / full)
        return Signal(1 if predicted > 0 else -1, strength, fit.confidence, reason)


class Combination:
    """The mean of several signals, weighted by their confidence.

    With direction d, strength s and confidence c of each: the score is sum(c·d·s) / sum(c). Its
    sign is the direction, if it is at least `threshold` from 0, and its distance from 0 the
    strength. The confidence is the mean of all c, so that an absent part lowers it. With no
    confidence at all there is no direction.
    """

    def __init__(self, models: Sequence[SignalModel], *, threshold: float = 0.0) -> None:
        if not models:
            raise SignalError("a combination of no models: give at least one")
        if not 0 <= threshold <= 1:
            raise SignalError(f"threshold {threshold}: 0 to 1")
        self._models = tuple(models)
        self._threshold = threshold

    def signal(self, row: FeatureRow) -> Signal:
        """As in `SignalModel`."""
        parts = [each.signal(row) for each in self._models]
        reason = "; ".join(f"{each.direction:+d} for {each.reason}" for each in parts)
        total = fsum(each.confidence for each in parts)
        if not total:
            return flat(reason)
        votes = fsum(each.confidence * each.direction * each.strength for each in parts)
        score = max(-1.0, min(1.0, votes / total))
        confidence = min(1.0, total / len(parts))
        if not score or abs(score) < self._threshold:
            return flat(reason, confidence)
        return Signal(1 if score > 0 else -1, abs(score), confidence, reason)
