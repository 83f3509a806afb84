"""How well a fit predicts what it has not seen: walk-forward evaluation.

The rows are cut into K + 1 parts in the order of time. Fold k is fitted on the parts before part k,
and predicts part k:

    fold 1   fit | test
    fold 2   fit   fit | test
    fold 3   fit   fit   fit | test
                      ^ purged: the last horizon before the test

A label of the time t tells of t to t + h. So rows whose label ends behind the first moment of the
test are left out of the fit: no label of a fit shares a moment with one of its test. No fit comes
after its test, so no embargo is needed there.

R² out of sample is 1 - sum((y - p)²) / sum((y - m)²) over all tests, where p is the prediction and
m the mean label of the fit, which is what one would predict without features. It is below 0 if
the features do harm. Its standard error is by the delta method, with Newey-West variances, since
labels overlap. The spread over the folds is a second, rougher one.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import stdev
from typing import TYPE_CHECKING, Final

import msgspec

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_errors import ColumnFaultError, TooFewRowsError
from fanout.analytics.fits.least_squares import Line, least_squares, mean_variance, r_squared
from fanout.analytics.fits.made import Natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy import int64
    from numpy.typing import NDArray

    from fanout.analytics.fits.least_squares import Floats

FOLDS: Final = 5

ROWS_PER_COLUMN: Final = 10
"""A fit has at least so many rows for each coefficient."""

LEAST_HORIZONS: Final = 5
"""A test is at least so many horizons long: fewer would be one observation or two."""


class Fold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fit, and the test behind it. Times are unix ns, of rows."""

    fit_rows: Natural
    test_rows: Natural
    first_ns: Natural
    last_ns: Natural
    r2: float | None
    """None if the mid did not move in the test."""


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In sample and out of sample, never one without the other."""

    r2_in_sample: float
    r2: float
    """Out of sample, over all folds."""
    r2_error: float
    """Its standard error, of Newey and West."""
    r2_folds_error: float | None
    """Standard deviation of the folds' R², divided by the root of their number. None if fewer than
    two have one."""
    folds: tuple[Fold, ...]

    @property
    def told(self) -> str:
        """R² out of sample and its error, in words."""
        return f"{self.r2:.4f} ± {self.r2_error:.4f}"

    @property
    def numbers(self) -> list[float]:
        """All that are there."""
        folds = [each.r2 for each in self.folds]
        found = [self.r2_in_sample, self.r2, self.r2_error, self.r2_folds_error, *folds]
        return [each for each in found if each is not None]


def least_rows(columns: int, overlap: int, folds: int) -> int:
    """How many rows an evaluation needs, of so many columns, and labels that overlap so often."""
    fit = ROWS_PER_COLUMN * (columns + 1) + overlap
    return (folds + 1) * max(fit, LEAST_HORIZONS * overlap)


def require_rows(count: int, columns: int, overlap: int, folds: int) -> None:
    """Raises `TooFewRowsError` if there are fewer than `least_rows`."""
    needed = least_rows(columns, overlap, folds)
    if count < needed:
        raise TooFewRowsError(
            f"{count:,} rows, and {needed:,} are needed for {columns} columns and {folds} folds: "
            "take a longer time, a shorter horizon, fewer columns or fewer folds"
        )


def walk_forward(
    times: NDArray[int64],
    features: Floats,
    labels: Floats,
    columns: Sequence[str],
    *,
    horizon_ns: int,
    overlap: int,
    folds: int = FOLDS,
) -> Score:
    """The score of a fit on these rows, which are in the order of time.

    Shapes are (rows,), (rows, columns) and (rows,); times are unix ns. Raises as `least_squares`
    and `require_rows`, and `FitError` if the mid never moved.
    """
    import numpy as np

    require_rows(len(times), len(columns), overlap, folds)
    line = least_squares(features, labels, columns, overlap=overlap)
    in_sample = r_squared(labels, line.predicted(features), line.intercept)
    if in_sample is None:
        raise FitError(f"the mid did not move in {len(times):,} rows: take a longer time")
    made, pairs = [], []
    for fit, test in splits(times, horizon_ns, folds):
        fitted = _fitted(features[fit], labels[fit], columns, overlap)
        predicted = fitted.predicted(features[test])
        made.append(_fold(times, fit, test, r_squared(labels[test], predicted, fitted.intercept)))
        errors = (labels[test] - predicted) ** 2, (labels[test] - fitted.intercept) ** 2
        pairs.append(np.column_stack(errors))
    of_folds = [each.r2 for each in made if each.r2 is not None]
    if not of_folds:
        raise FitError("the mid did not move in any test: take a longer time")
    r2, error = _pooled(np.concatenate(pairs), overlap)
    return Score(
        r2_in_sample=in_sample,
        r2=r2,
        r2_error=error,
        r2_folds_error=_spread(of_folds),
        folds=tuple(made),
    )


def splits(times: NDArray[int64], horizon_ns: int, folds: int) -> Iterator[tuple[slice, slice]]:
    """The rows of each fit and of its test. The last row of a fit has its label before the first
    row of the test, or just there."""
    import numpy as np

    edges = [len(times) * each // (folds + 1) for each in range(folds + 2)]
    for first, stop in pairwise(edges[1:]):
        purged = int(np.searchsorted(times, times[first] - horizon_ns, side="right"))
        yield slice(0, purged), slice(first, stop)


def _fitted(features: Floats, labels: Floats, columns: Sequence[str], overlap: int) -> Line:
    try:
        return least_squares(features, labels, columns, overlap=overlap)
    except ColumnFaultError as error:
        raise ColumnFaultError(f"in one of the folds: {error}; or take fewer folds") from error


def _fold(times: NDArray[int64], fit: slice, test: slice, r2: float | None) -> Fold:
    return Fold(
        fit_rows=fit.stop,
        test_rows=test.stop - test.start,
        first_ns=int(times[test.start]),
        last_ns=int(times[test.stop - 1]),
        r2=r2,
    )


def _pooled(pairs: Floats, overlap: int) -> tuple[float, float]:
    """R² over squared errors with and without features, of shape (rows, 2), and its error."""
    with_features, without = (float(each) for each in pairs.mean(axis=0))
    ratio = with_features / without
    influence = (pairs[:, :1] - ratio * pairs[:, 1:]) / without
    variance = float(mean_variance(influence, overlap)[0, 0])
    return 1 - ratio, max(0.0, variance) ** 0.5


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
