"""Least squares of labels on features, and how certain the result is.

numpy is imported where it is used, so that a live consumer of a fit does not need it.

Labels of a horizon h, taken every e, overlap: h/e of them share each moment. So their errors are
correlated, and the naive standard error is too small by up to sqrt(h/e). The errors here are those
of Newey and West (1987), with the weights of Bartlett and lags up to twice the overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_errors import ColumnFaultError, TooFewRowsError

if TYPE_CHECKING:
    from array import array

    from numpy import float64, int64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

COLLINEAR: Final = 1e-6
"""A column, standardised, of which others explain all but this part, is not a column of its own."""

_TOLD: Final = 1e-3
"""Least coefficient with which one of these others is named."""

MAX_LABEL: Final = 1e60
"""Limit of a label. Sums of squares beyond 1e308 are infinite, and those of squares too."""

OVERLAPS: Final = 2
"""Lags of the Newey-West errors, in overlaps."""


def rows_of(values: array[float], columns: int) -> Floats:
    """Features that stand row after row, as an array of shape (rows, columns)."""
    import numpy as np

    return np.array(values, np.float64).reshape(-1, columns)


def numbers_of(values: array[float]) -> Floats:
    """Labels, as an array of shape (rows,)."""
    import numpy as np

    return np.array(values, np.float64)


def times_of(values: array[int]) -> NDArray[int64]:
    """Times in unix ns, as an array of shape (rows,)."""
    import numpy as np

    return np.array(values, np.int64)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What least squares found: label = intercept + sum(coefficient · (x - mean) / deviation)."""

    intercept: float
    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    """Standard errors of the coefficients, of Newey and West."""
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    """Of the features, with which they are standardised. Population deviations."""

    def predicted(self, features: Floats) -> Floats:
        """The predictions for an array of shape (rows, columns), of shape (rows,)."""
        import numpy as np

        standard = (features - np.array(self.means)) / np.array(self.deviations)
        predicted: Floats = self.intercept + standard @ np.array(self.coefficients)
        return predicted


def least_squares(
    features: Floats, labels: Floats, columns: Sequence[str], *, overlap: int
) -> Line:
    """The line through rows of shape (rows, columns) and their labels, of shape (rows,).

    `overlap` is how many labels share a moment, 1 for none. Raises `ColumnFaultError` for a column
    that is constant or follows from those before it, `TooFewRowsError` for fewer rows than
    unknowns, and `FitError` for what is not finite or a label beyond `MAX_LABEL`.
    """
    import numpy as np

    if not (np.isfinite(features).all() and np.isfinite(labels).all()):
        raise FitError("a feature or a label is not finite: a fit takes finite numbers only")
    if np.abs(labels).max(initial=0) > MAX_LABEL:
        raise FitError(
            f"a label of {np.abs(labels).max():.3g}: at most {MAX_LABEL:g} can be fitted"
        )
    if len(labels) <= len(columns):
        raise TooFewRowsError(f"{len(labels)} rows, and {len(columns)} columns: give more rows")
    with np.errstate(over="ignore", invalid="ignore"):
        means, deviations = features.mean(axis=0), features.std(axis=0)
    _require_varied(features, deviations, columns)
    standard = (features - means) / deviations
    _require_independent(standard, columns)
    intercept = float(labels.mean())
    coefficients = np.linalg.lstsq(standard, labels - intercept, rcond=None)[0]
    residuals = labels - intercept - standard @ coefficients
    return Line(
        intercept=intercept,
        coefficients=_numbers(coefficients),
        errors=_numbers(_errors(standard, residuals, overlap)),
        means=_numbers(means),
        deviations=_numbers(deviations),
    )


def r_squared(labels: Floats, predicted: Floats, mean: float) -> float | None:
    """1 - sum((y - p)²) / sum((y - mean)²); None if all labels are the same, or all near `mean`."""
    total = float(((labels - mean) ** 2).sum())
    if not total or labels.max() == labels.min():
        return None
    return 1 - float(((labels - predicted) ** 2).sum()) / total


def mean_variance(values: Floats, overlap: int) -> Floats:
    """The covariance of the means of values of shape (rows, columns), of Newey and West, of shape
    (columns, columns)."""
    count = len(values)
    centred = values - values.mean(axis=0)
    total = centred.T @ centred
    lags = min(OVERLAPS * (overlap - 1), count - 1)
    for lag in range(1, lags + 1):
        product = centred[lag:].T @ centred[:-lag]
        total += (1 - lag / (lags + 1)) * (product + product.T)
    variance: Floats = total / count**2
    return variance


def _errors(standard: Floats, residuals: Floats, overlap: int) -> Floats:
    import numpy as np

    inverse = np.linalg.inv(standard.T @ standard / len(standard))
    scores = standard * residuals[:, None]
    variance = inverse @ mean_variance(scores, overlap) @ inverse
    errors: Floats = np.sqrt(np.maximum(np.diag(variance), 0.0))
    return errors


def _require_varied(features: Floats, deviations: Floats, columns: Sequence[str]) -> None:
    import numpy as np

    # Not by the deviation: that of a constant is not always 0 after rounding.
    is_constant = features.max(axis=0) == features.min(axis=0)
    constant = [name for name, each in zip(columns, is_constant, strict=True) if each]
    if constant:
        raise ColumnFaultError(
            f"{', '.join(constant)}: the same in all {len(features):,} rows: leave it out"
        )
    # Squares of numbers beyond 1e154 are no doubles any more, and those of 1e-170 are 0.
    for name, each in zip(columns, deviations, strict=True):
        if not (np.isfinite(each) and each > 0):
            raise ColumnFaultError(f"{name}: too large or too small for doubles: scale it")


def _require_independent(standard: Floats, columns: Sequence[str]) -> None:
    import numpy as np

    # On the diagonal of R stands what the columns before do not explain of each.
    own = np.abs(np.diag(np.linalg.qr(standard, mode="r"))) / len(standard) ** 0.5
    for index in np.flatnonzero(own < COLLINEAR)[:1]:
        shares = np.linalg.lstsq(standard[:, :index], standard[:, index], rcond=None)[0]
        pairs = zip(columns[:index], shares, strict=True)
        others = [name for name, share in pairs if abs(share) > _TOLD]
        raise ColumnFaultError(
            f"{columns[index]} follows from {', '.join(others)}: leave one of them out"
        )


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(each) for each in values)
