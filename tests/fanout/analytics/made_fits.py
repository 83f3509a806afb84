"""A fit, written by hand."""

from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.fits.linear import LinearFit
from fanout.analytics.fits.made import MadeFor, MadeFrom
from fanout.analytics.fits.walk_forward import Fold, Score
from tests.fanout.analytics.rows import BTC, OFI, S

SETTINGS = FeatureSettings()

SCORE = Score(
    r2_in_sample=0.04,
    r2=0.02,
    r2_error=0.01,
    r2_folds_error=0.015,
    folds=(
        Fold(fit_rows=100, test_rows=100, first_ns=S, last_ns=2 * S, r2=0.03),
        Fold(fit_rows=200, test_rows=100, first_ns=3 * S, last_ns=4 * S, r2=None),
    ),
)

FIT = LinearFit(
    made_for=MadeFor.of("binance", BTC),
    settings=SETTINGS,
    columns=("order_book_imbalance", OFI),
    horizon_ns=15 * S,
    every_ns=S,
    intercept=0.0001,
    coefficients=(0.0002, -0.0001),
    errors=(0.00005, 0.00002),
    means=(0.1, 2.0),
    deviations=(0.5, 4.0),
    label_deviation=0.002,
    prediction_deviation=0.0004,
    score=SCORE,
    made_from=MadeFrom(
        journal="journal:///data",
        channel="binance",
        epochs_ns=(5, 6),
        fitted_ns=9 * S,
        fanout="0.1.0",
        first_ns=S,
        last_ns=300 * S,
        rows=300,
        left_out={"mid is absent: LOST": 3},
    ),
)
