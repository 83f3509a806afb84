"""A linear fit: predicts the mid's return over a horizon from features, and says what it is worth.

The fit is a value. It keeps what it was made from, when, and its score out of sample, and goes into
a file of JSON with all of that. `LinearFit.require` refuses it for another instrument or other
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, isfinite, sqrt

import msgspec

from fanout.analytics.errors import FitError
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.fits.fit_file import VERSION, fit_in, fit_text, require_version
from fanout.analytics.fits.least_squares import least_squares, numbers_of, rows_of, times_of
from fanout.analytics.fits.made import MadeFor, MadeFrom, Origin, require_made_for, require_settings
from fanout.analytics.fits.samples import Samples
from fanout.analytics.fits.walk_forward import FOLDS, Score, walk_forward
from fanout.protocol.constants import I64_MAX
from fanout.protocol.instrument import Instrument


class LinearFit(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="linear",
    forbid_unknown_fields=True,
):
    """return = intercept + sum(coefficient · (feature - mean) / deviation)

    `columns` are the names of the features. `errors` are the standard errors of the coefficients,
    of Newey and West. `label_deviation` and `prediction_deviation` are those of the returns over
    the horizon, and of the predictions for the same rows. Raises `FitError` for lengths that differ
    and for numbers that are not finite.
    """

    version: int = VERSION
    made_for: MadeFor
    settings: FeatureSettings
    columns: tuple[str, ...]
    horizon_ns: int
    every_ns: int
    intercept: float
    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    label_deviation: float
    prediction_deviation: float
    score: Score
    made_from: MadeFrom

    def __post_init__(self) -> None:
        require_version(self.version)
        fault = self._fault()
        if fault:
            raise FitError(fault)

    def _fault(self) -> str:
        """What no fit can be; empty if nothing is."""
        of_columns = (self.coefficients, self.errors, self.means, self.deviations)
        score = self.score
        numbers = [each for values in of_columns for each in values]
        numbers += [self.intercept, self.label_deviation, self.prediction_deviation]
        numbers += score.numbers
        if not self.columns or any(len(each) != len(self.columns) for each in of_columns):
            return f"{len(self.columns)} columns, and not as many numbers for each kind"
        if not all(isfinite(each) for each in numbers):
            return "a number is not finite"
        if min(self.deviations) <= 0 or min(self.label_deviation, self.prediction_deviation) < 0:
            return "a deviation is not above 0"
        if score.r2_error < 0 or self.horizon_ns <= 0 or self.every_ns <= 0:
            return "an error, the horizon or the interval is not above 0"
        if self.horizon_ns > I64_MAX or self.horizon_ns % self.every_ns:
            return f"a horizon of {self.horizon_ns} ns is no multiple of {self.every_ns} ns"
        if max(score.r2, score.r2_in_sample) > 1:
            return "an R2 is above 1"
        return self._fault_of_columns()

    def _fault_of_columns(self) -> str:
        if len(set(self.columns)) < len(self.columns):
            return "a column stands twice"
        odd = [each for each in self.columns if each not in self.settings.columns]
        return f"column {odd[0][:80]!r} is none of its settings" if odd else ""

    @property
    def confidence(self) -> float:
        """How far to believe that the fit predicts, 0 to 1: 0 for an R² out of sample of 0 or
        less and for one without an error, else the probability that a normal error is nearer to 0
        than R² is."""
        score = self.score
        if score.r2 <= 0 or not score.r2_error:
            return 0.0
        return erf(score.r2 / score.r2_error / sqrt(2))

    def predicted(self, values: Sequence[float]) -> float:
        """The return that is predicted for the values of `columns`. 0.0001 is a basis point."""
        standard = zip(values, self.coefficients, self.means, self.deviations, strict=True)
        return self.intercept + sum(
            coefficient * ((value - mean) / deviation)
            for value, coefficient, mean, deviation in standard
        )

    def require(self, venue: str, instrument: Instrument, settings: FeatureSettings) -> None:
        """Raises `WrongFitError` unless the fit is for this instrument and for these features."""
        require_made_for(self.made_for, MadeFor.of(venue, instrument))
        require_settings(self.settings, settings, self.columns)

    def to_json(self) -> bytes:
        """As a file keeps it, for people too."""
        return fit_text(self)

    @classmethod
    def from_json(cls, text: bytes, name: str = "the file") -> LinearFit:
        """The fit in a file. Raises `FitFileError`, which begins with `name`, for anything else."""
        return fit_in(text, cls, name, "linear fit")


def fit_linear(
    samples: Samples,
    *,
    settings: FeatureSettings,
    made_for: MadeFor,
    origin: Origin,
    folds: int = FOLDS,
) -> LinearFit:
    """The fit of these samples, and its score. Raises `FitError`: see `walk_forward`."""
    features = rows_of(samples.values, len(samples.features))
    labels, times = numbers_of(samples.labels), times_of(samples.times)
    score = walk_forward(
        times,
        features,
        labels,
        samples.features,
        horizon_ns=samples.horizon_ns,
        overlap=samples.overlap,
        folds=folds,
    )
    line = least_squares(features, labels, samples.features, overlap=samples.overlap)
    return LinearFit(
        made_for=made_for,
        settings=settings,
        columns=samples.features,
        horizon_ns=samples.horizon_ns,
        every_ns=samples.every_ns,
        intercept=line.intercept,
        coefficients=line.coefficients,
        errors=line.errors,
        means=line.means,
        deviations=line.deviations,
        label_deviation=float(labels.std()),
        prediction_deviation=float(line.predicted(features).std()),
        score=score,
        made_from=MadeFrom(
            **msgspec.structs.asdict(origin),
            first_ns=int(times[0]),
            last_ns=int(times[-1]),
            rows=len(samples),
            left_out=dict(samples.left_out),
        ),
    )
