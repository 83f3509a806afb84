"""Least squares, against closed forms and against what was planted."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_errors import ColumnFaultError, TooFewRowsError
from fanout.analytics.fits.least_squares import least_squares, mean_variance, r_squared

if TYPE_CHECKING:
    from fanout.analytics.fits.least_squares import Floats


def normal(seed: int, *shape: int) -> "Floats":
    return np.random.default_rng(seed).standard_normal(shape)


def test_a_line_of_one_feature_is_the_closed_form() -> None:
    x, y = np.array([1.0, 2.0, 4.0, 5.0]), np.array([1.0, 3.0, 2.0, 6.0])
    # Means 3 and 3, sum of (x - 3)² = 10, sum of (x - 3)(y - 3) = 4 + 0 - 1 + 6 = 9: slope 0.9.
    line = least_squares(x[:, None], y, ["x"], overlap=1)
    assert line.means == (3.0,)
    assert line.deviations[0] == pytest.approx(2.5**0.5)
    assert line.coefficients[0] / line.deviations[0] == pytest.approx(0.9)
    assert line.intercept == 3.0
    assert list(line.predicted(x[:, None])) == pytest.approx([1.2, 2.1, 3.9, 4.8])
    # Residuals -0.2, 0.9, -1.9, 1.2: 6.3 of 14 are left.
    assert r_squared(y, line.predicted(x[:, None]), line.intercept) == pytest.approx(1 - 5.9 / 14)


def test_several_features_are_those_of_numpy() -> None:
    features = normal(1, 500, 3) * [1.0, 100.0, 0.01] + [0.0, 5e4, 1.0]
    labels = normal(2, 500) + features @ np.array([0.5, -0.01, 3.0])
    line = least_squares(features, labels, ["a", "b", "c"], overlap=1)
    with_ones = np.column_stack([np.ones(500), features])
    expected = np.linalg.lstsq(with_ones, labels, rcond=None)[0]
    slopes = np.array(line.coefficients) / np.array(line.deviations)
    assert slopes == pytest.approx(expected[1:])
    assert line.predicted(features) == pytest.approx(with_ones @ expected)


def test_a_planted_relation_is_found_within_its_error() -> None:
    features = normal(3, 5_000, 2)
    labels = 0.25 + features @ np.array([0.5, -0.2]) + normal(4, 5_000)
    line = least_squares(features, labels, ["a", "b"], overlap=1)
    for found, error, true in zip(line.coefficients, line.errors, (0.5, -0.2), strict=True):
        assert error == pytest.approx(5_000**-0.5, rel=0.1)
        assert abs(found - true) < 4 * error


def test_the_error_without_overlap_is_whites() -> None:
    features, labels = normal(5, 50, 1), normal(6, 50)
    line = least_squares(features, labels, ["a"], overlap=1)
    standard = (features[:, 0] - features.mean()) / features.std()
    residuals = labels - line.predicted(features)
    scores = standard * residuals
    assert line.errors[0] == pytest.approx(((scores - scores.mean()) ** 2).sum() ** 0.5 / 50)


def test_overlapping_labels_have_larger_errors() -> None:
    """Sums of ten neighbours have ten times the variance of the mean that independence suggests;
    Bartlett's weights find most of it."""
    noise = normal(7, 20_000)
    sums = np.convolve(noise, np.ones(10), "valid")[:, None]
    naive = float(mean_variance(sums, 1)[0, 0])
    aware = float(mean_variance(sums, 10)[0, 0])
    assert naive == pytest.approx(10 / len(sums), rel=0.1)
    assert 0.7 * 100 / len(sums) < aware < 1.1 * 100 / len(sums)


def test_a_constant_column_is_named() -> None:
    features = np.column_stack([normal(8, 100), np.full(100, 0.1), np.full(100, 3.0)])
    with pytest.raises(ColumnFaultError, match=r"^b, c: the same in all 100 rows: leave it out"):
        least_squares(features, normal(9, 100), ["a", "b", "c"], overlap=1)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_column_beyond_doubles_is_named(scale: float) -> None:
    features = np.column_stack([normal(16, 100), normal(17, 100) * scale])
    with pytest.raises(ColumnFaultError, match=r"^b: too large or too small for doubles: scale it"):
        least_squares(features, normal(18, 100), ["a", "b"], overlap=1)


def test_fewer_rows_than_unknowns_are_refused() -> None:
    with pytest.raises(TooFewRowsError, match="2 rows, and 2 columns: give more rows"):
        least_squares(normal(19, 2, 2), normal(20, 2), ["a", "b"], overlap=1)


def test_a_column_that_follows_from_others_is_named_with_them() -> None:
    a, b, c = normal(10, 3, 100)
    features = np.column_stack([a, b, c, 2 * a - 3 * c + 5])
    with pytest.raises(ColumnFaultError, match=r"^d follows from a, c: leave one of them out"):
        least_squares(features, normal(11, 100), ["a", "b", "c", "d"], overlap=1)


def test_columns_that_are_only_alike_are_taken() -> None:
    a, noise = normal(12, 2, 100)
    features = np.column_stack([a, a + 0.001 * noise])
    assert least_squares(features, normal(13, 100), ["a", "b"], overlap=1).errors[0] > 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_label", [True, False])
def test_what_is_not_finite_is_refused(bad: float, is_label: bool) -> None:
    features, labels = normal(14, 100, 1), normal(15, 100)
    (labels if is_label else features[:, 0])[50] = bad
    with pytest.raises(FitError, match="not finite"):
        least_squares(features, labels, ["a"], overlap=1)


def test_a_mid_that_does_not_move_has_no_r_squared() -> None:
    still = np.full(10, 0.1)
    assert r_squared(still, still, float(still.mean())) is None
    assert r_squared(np.zeros(10), np.ones(10), 0.0) is None


@pytest.mark.parametrize(("largest", "is_fitted"), [(1e59, True), (1e61, False), (-1e200, False)])
def test_labels_whose_squares_are_no_doubles_are_refused(largest: float, is_fitted: bool) -> None:
    features, labels = normal(14, 100, 1), normal(15, 100)
    labels[50] = largest
    if is_fitted:
        assert np.isfinite(least_squares(features, labels, ["a"], overlap=3).errors[0])
        return
    with pytest.raises(FitError, match=r"a label of .*e\+.*: at most 1e\+60 can be fitted"):
        least_squares(features, labels, ["a"], overlap=3)
