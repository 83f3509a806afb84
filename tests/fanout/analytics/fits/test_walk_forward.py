"""Scores out of sample: of what was planted, of noise, and of what would need the future."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_errors import ColumnFaultError, TooFewRowsError
from fanout.analytics.fits.walk_forward import Score, least_rows, splits, walk_forward
from tests.fanout.analytics.rows import S

if TYPE_CHECKING:
    from fanout.analytics.fits.least_squares import Floats

ROWS = 3_000


def score(features: "Floats", labels: "Floats", *, overlap: int = 1, folds: int = 5) -> Score:
    times = np.arange(len(labels), dtype=np.int64) * S
    names = [f"c{each}" for each in range(features.shape[1])]
    return walk_forward(
        times, features, labels, names, horizon_ns=overlap * S, overlap=overlap, folds=folds
    )


def test_a_planted_relation_is_found_out_of_sample() -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((ROWS, 2))
    labels = 0.3 * features[:, 0] + rng.standard_normal(ROWS)
    found = score(features, labels)
    true = 0.09 / 1.09
    assert abs(found.r2 - true) < 3 * found.r2_error
    assert found.r2 > 4 * found.r2_error > 0
    assert found.r2_in_sample > 0
    assert found.r2_folds_error == pytest.approx(found.r2_error, rel=1.0)
    assert [each.fit_rows for each in found.folds] == [500, 1000, 1500, 2000, 2500]
    assert {each.test_rows for each in found.folds} == {500}
    assert (found.folds[0].first_ns, found.folds[-1].last_ns) == (500 * S, 2_999 * S)


def test_noise_looks_good_in_sample_and_not_out_of_it() -> None:
    """In each of several worlds of noise."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = score(rng.standard_normal((ROWS, 10)), rng.standard_normal(ROWS))
        assert found.r2_in_sample > 0
        assert found.r2 < 2 * found.r2_error
        assert found.r2 < found.r2_in_sample


def test_a_future_that_is_shuffled_cannot_be_predicted() -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((ROWS, 2))
    labels = features[:, 0] + 0.1 * rng.standard_normal(ROWS)
    assert score(features, labels).r2 > 0.9
    shuffled = score(features, rng.permutation(labels))
    assert shuffled.r2 < 2 * shuffled.r2_error


def test_a_label_that_reaches_into_the_test_is_not_fitted() -> None:
    """A feature that is 0 but within the last horizon before the first test. There alone it shows
    the label's future, so a fit without a purge would take it."""
    rng = np.random.default_rng(3)
    first, overlap = ROWS // 6, 15
    features = np.column_stack([rng.standard_normal(ROWS), np.zeros(ROWS)])
    features[first - overlap + 1 : first, 1] = 1.0
    with pytest.raises(ColumnFaultError, match="in one of the folds: c1: the same in all 486 rows"):
        score(features, rng.standard_normal(ROWS), overlap=overlap)


def test_overlapping_labels_have_a_larger_error() -> None:
    """Slow features and overlapping labels: the folds differ more than independent rows would, and
    the error knows."""
    rng = np.random.default_rng(4)
    steps = rng.standard_normal(ROWS + 50)
    labels = np.convolve(steps, np.ones(30), "valid")[:ROWS]
    slow = np.convolve(rng.standard_normal(ROWS + 99), np.ones(100), "valid")[:ROWS, None]
    times = np.arange(ROWS, dtype=np.int64) * S
    aware = walk_forward(times, slow, labels, ["slow"], horizon_ns=30 * S, overlap=30)
    naive = walk_forward(times, slow, labels, ["slow"], horizon_ns=30 * S, overlap=1)
    assert aware.r2 == naive.r2
    assert aware.r2_error > 2 * naive.r2_error
    assert aware.r2 < 2 * aware.r2_error


def slow_world(seed: int, slope: float) -> tuple[Score, Score]:
    """The score of overlapping labels that a slow feature explains, and the one that takes them for
    independent."""
    rng = np.random.default_rng(seed)
    feature = np.convolve(rng.standard_normal(ROWS + 20), np.ones(10) / 10**0.5, "valid")
    paths = np.concatenate([[0.0], np.cumsum(slope * feature + rng.standard_normal(len(feature)))])
    count = len(feature) - 15
    labels, times = paths[15 : 15 + count] - paths[:count], np.arange(count, dtype=np.int64) * S
    features = feature[:count, None]
    aware, naive = (
        walk_forward(times, features, labels, ["slow"], horizon_ns=15 * S, overlap=each)
        for each in (15, 1)
    )
    return aware, naive


@pytest.mark.parametrize("slope", [0.0, 0.15])
def test_the_error_is_how_much_the_score_differs_between_worlds(slope: float) -> None:
    scores = [slow_world(seed, slope) for seed in range(40)]
    spread = float(np.std([aware.r2 for aware, _ in scores]))
    errors, naive_errors = (np.mean([each[at].r2_error for each in scores]) for at in (0, 1))
    assert errors == pytest.approx(spread, rel=0.4)
    assert naive_errors < 0.5 * spread


@given(
    steps=st.lists(st.integers(1, 30), min_size=30, max_size=100),
    horizon=st.integers(1, 40),
    folds=st.integers(1, 8),
)
def test_no_label_of_a_fit_reaches_into_its_test(
    steps: list[int], horizon: int, folds: int
) -> None:
    times = np.cumsum(np.array(steps, np.int64)) * S
    parts = list(splits(times, horizon * S, folds))
    assert len(parts) == folds
    assert parts[-1][1].stop == len(times)
    for fit, test in parts:
        assert fit.start == 0
        assert all(times[fit] + horizon * S <= times[test.start])
        assert all(times[fit.stop : test.start] + horizon * S > times[test.start])
    for (_, before), (_, after) in pairwise(parts):
        assert before.stop == after.start


def test_too_few_rows_are_refused_with_the_number_that_is_needed() -> None:
    rng = np.random.default_rng(5)
    needed = least_rows(columns=2, overlap=15, folds=5)
    assert needed == 6 * 75
    features, labels = rng.standard_normal((needed, 2)), rng.standard_normal(needed)
    assert score(features, labels, overlap=15).folds[0].fit_rows >= 30
    with pytest.raises(TooFewRowsError, match=r"^449 rows, and 450 are needed for 2 columns and 5"):
        score(features[1:], labels[1:], overlap=15)
    assert least_rows(columns=20, overlap=15, folds=5) == 6 * 225


def test_a_mid_that_does_not_move_is_refused() -> None:
    features = np.random.default_rng(6).standard_normal((ROWS, 1))
    with pytest.raises(FitError, match="did not move in 3,000 rows"):
        score(features, np.zeros(ROWS))
    early = np.zeros(ROWS)
    early[:100] = features[:100, 0]
    with pytest.raises(FitError, match="did not move in any test"):
        score(features, early)


def test_a_fold_without_a_move_has_no_r_squared() -> None:
    features = np.random.default_rng(7).standard_normal((ROWS, 1))
    labels = features[:, 0].copy()
    labels[1_000:] = 0.0
    found = score(features, labels)
    assert found.folds[0].r2 == pytest.approx(1)
    assert [each.r2 for each in found.folds[1:]] == [None] * 4
    assert found.r2 < found.folds[0].r2
    assert found.r2_folds_error is None
