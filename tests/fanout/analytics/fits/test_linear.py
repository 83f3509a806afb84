"""Linear fits: made, saved, read, and refused."""

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.analytics.errors import FitError
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.fits.fit_errors import FitFileError, TooFewRowsError, WrongFitError
from fanout.analytics.fits.linear import LinearFit, fit_linear
from fanout.analytics.fits.made import MadeFor, Origin
from fanout.analytics.fits.samples import Samples
from fanout.analytics.signals.models import LinearPredictor
from fanout.protocol.constants import Absence
from tests.fanout.analytics.made_fits import FIT, SCORE, SETTINGS
from tests.fanout.analytics.rows import BTC, COLUMNS, ETH, OFI, S, row

ORIGIN = Origin(journal="journal:///x", channel="x", epochs_ns=(1,), fitted_ns=2, fanout="0.1.0")


def market(count: int, *, slope: float, seed: int = 1) -> Samples:
    """A mid that follows the imbalance of a second before, with noise. Every hundredth row has no
    flow."""
    rng = np.random.default_rng(seed)
    imbalance, flow, noise = (
        rng.uniform(-1, 1, count),
        rng.normal(0, 5, count),
        rng.normal(0, 1, count),
    )
    steps = 1e-4 * (slope * imbalance + noise)
    mids = 100 * np.cumprod(1 + steps)
    samples = Samples(COLUMNS, ("order_book_imbalance", OFI), horizon_ns=S, every_ns=S)
    for each in range(count - 1):
        samples.add(
            row(
                (each + 1) * S,
                mid=float(mids[each]),
                order_book_imbalance=float(imbalance[each + 1]),
                **{OFI: Absence.LOST if each % 100 == 99 else float(flow[each])},
            )
        )
    samples.end()
    return samples


def fit_of(samples: Samples) -> LinearFit:
    return fit_linear(
        samples, settings=SETTINGS, made_for=MadeFor.of("binance", BTC), origin=ORIGIN
    )


def test_a_planted_relation_is_found_and_predicts() -> None:
    fit = fit_of(market(3_000, slope=1.0))
    slope = fit.coefficients[0] / fit.deviations[0]
    assert abs(slope - 1e-4) < 3 * fit.errors[0] / fit.deviations[0]
    assert abs(fit.coefficients[1]) < 3 * fit.errors[1]
    assert fit.score.r2 > 3 * fit.score.r2_error
    assert fit.confidence > 0.99
    signal = LinearPredictor(COLUMNS, fit).signal(row(order_book_imbalance=0.9, **{OFI: 0.0}))
    assert (signal.direction, signal.confidence) == (1, fit.confidence)
    assert "+0.9" in signal.reason


def test_noise_is_fitted_and_told_to_be_noise() -> None:
    fit = fit_of(market(3_000, slope=0.0, seed=2))
    assert fit.score.r2_in_sample > 0
    assert fit.score.r2 < 2 * fit.score.r2_error


def test_a_fit_says_what_it_was_made_from() -> None:
    fit = fit_of(market(1_000, slope=1.0))
    made = fit.made_from
    assert (made.journal, made.epochs_ns, made.fitted_ns, made.fanout) == (
        "journal:///x",
        (1,),
        2,
        "0.1.0",
    )
    assert (made.first_ns, made.last_ns) == (S, 998 * S)
    assert made.rows == 999 - 9 - 1
    assert made.left_out == {f"{OFI} is absent: LOST": 9, "no row at the end of the horizon": 1}
    assert fit.made_for == MadeFor(
        venue="binance", symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3
    )
    assert (fit.columns, fit.horizon_ns, fit.every_ns) == (("order_book_imbalance", OFI), S, S)


def test_a_consumer_of_a_fit_needs_no_numpy() -> None:
    code = """if True:
        import sys
        from fanout.analytics.fits import linear
        from fanout.analytics.signals import loading, sizing
        print([each for each in ("numpy", "trio", "typer") if each in sys.modules])"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(TooFewRowsError, match="are needed for 2 columns and 5 folds"):
        fit_of(market(50, slope=1.0))


def test_a_fit_comes_back_from_its_file() -> None:
    assert LinearFit.from_json(FIT.to_json()) == FIT
    fit = fit_of(market(1_000, slope=1.0))
    assert LinearFit.from_json(fit.to_json()) == fit
    assert FIT.to_json().endswith(b"}\n")


def changed(**values: Any) -> bytes:
    """The file of the fit with other values, by names with double underscores for dots."""
    fit = msgspec.json.decode(FIT.to_json())
    for path, value in values.items():
        *names, last = path.split("__")
        place = fit
        for name in names:
            place = place[name]
        place[last] = value
    return msgspec.json.encode(fit)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "invalid"),
        (b"[" * 100_000, "no linear fit"),
        (changed(version=2, colour="red"), "version 2 of the layout, and only 1 is known"),
        (changed(kind="microprice"), "Invalid value 'microprice'"),
        (changed(colour="red"), "unknown field `colour`"),
        (changed(columns=[]), "0 columns, and not as many"),
        (changed(columns=["mid"]), "1 columns, and not as many"),
        (changed(coefficients=[1.0, "2"]), "Expected `float`, got `str`"),
        (changed(coefficients=[1.0, None]), "Expected `float`, got `null`"),
        (changed(deviations=[1.0, 0.0]), "a deviation is not above 0"),
        (changed(label_deviation=-1.0), "a deviation is not above 0"),
        (changed(score__r2_error=-1.0), "is not above 0"),
        (changed(horizon_ns=0), "is not above 0"),
        (changed(horizon_ns=10**18, every_ns=10**20), "is no multiple of 100000000000000000000 ns"),
        (changed(horizon_ns=10**19, every_ns=1), "a horizon of 10000000000000000000 ns"),
        (changed(horizon_ns=10**9, every_ns=3), "1000000000 ns is no multiple of 3 ns"),
        (changed(columns=["mid", "mid"]), "a column stands twice"),
        (changed(columns=["mid", "vwap_7ms"]), "column 'vwap_7ms' is none of its settings"),
        (changed(columns=["mid", "x" * 900]), "xxx' is none of its settings"),
        (changed(score__r2=1.5), "an R2 is above 1"),
        (changed(made_from__last_ns=2**63), "$.made_from.last_ns"),
        (changed(made_from__rows=-1), "$.made_from.rows"),
        (changed(score__folds=[{"fit_rows": -1}]), "fit_rows"),
        (changed(score__folds=[{}]), "missing required field"),
        (changed(settings__windows=[]), "unknown field `windows`"),
        (changed(made_from__rows="many"), "Expected `int`, got `str`"),
        (FIT.to_json().replace(b"0.0004", b"NaN"), "malformed"),
        (FIT.to_json().replace(b"0.0004", b"Infinity"), "malformed"),
        (FIT.to_json().replace(b"0.0004", b"1e999"), "out of range"),
        (b" " * (1 << 20) + FIT.to_json(), "exceed 1,048,576"),
    ],
)
def test_a_file_that_is_no_fit_is_refused_in_a_line(data: bytes, why: str) -> None:
    with pytest.raises(FitFileError) as refused:
        LinearFit.from_json(data, "fit.json")
    assert why in str(refused.value)
    assert str(refused.value).startswith("fit.json")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_cut_short_is_refused_at_every_length() -> None:
    data = FIT.to_json().rstrip()
    for length in range(len(data)):
        with pytest.raises(FitFileError):
            LinearFit.from_json(data[:length])


@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_file_with_a_bit_flipped_is_refused_or_a_fit(place: int, bit: int) -> None:
    data = bytearray(FIT.to_json())
    data[place % len(data)] ^= 1 << bit
    try:
        fit = LinearFit.from_json(bytes(data))
    except FitFileError:
        return
    assert fit.predicted([0.0] * len(fit.columns)) is not None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_no_fit(bad: float) -> None:
    for change in (
        {"intercept": bad},
        {"means": (0.0, bad)},
        {"score": replace(SCORE, r2=bad)},
        {"score": replace(SCORE, r2_folds_error=bad)},
        {"score": replace(SCORE, folds=(replace(SCORE.folds[0], r2=bad),))},
    ):
        with pytest.raises(FitError, match="not finite"):
            replace(FIT, **change)


def test_a_fit_is_for_one_instrument() -> None:
    FIT.require("binance", BTC, SETTINGS)
    for venue, instrument, why in (
        ("binance", ETH, "the fit is for symbol BTCUSDT .binance BTCUSDT., and this is ETHUSDT"),
        ("okx", BTC, "the fit is for venue binance .binance BTCUSDT., and this is okx"),
        ("binance", replace(BTC, price_exponent=-1), "for price_exponent -2 .* and this is -1"),
        ("binance", replace(BTC, quantity_exponent=0), "for quantity_exponent -3"),
    ):
        with pytest.raises(WrongFitError, match=why):
            FIT.require(venue, instrument, SETTINGS)


def test_a_fit_is_for_its_features() -> None:
    wider = FeatureSettings(order_flow_ms=(1_000, 5_000), vwap_ms=())
    FIT.require("binance", BTC, wider)
    other = FeatureSettings(order_flow_ms=(500,))
    with pytest.raises(
        WrongFitError,
        match=rf"made with order_flow_ms \(1000,\), and the features have \(500,\), without {OFI}",
    ):
        FIT.require("binance", BTC, other)
    with pytest.raises(WrongFitError, match="volatility_sample_ms 1000, and the features have 500"):
        FIT.require("binance", BTC, FeatureSettings(volatility_sample_ms=500))


def test_the_confidence_is_that_of_the_score_out_of_sample() -> None:
    def confidence(r2: float, error: float) -> float:
        return replace(FIT, score=replace(SCORE, r2=r2, r2_error=error)).confidence

    assert confidence(0.01, 0.01) == pytest.approx(0.6827, abs=1e-4)
    assert confidence(0.1, 0.01) == pytest.approx(1.0)
    assert confidence(0.0, 0.01) == confidence(-0.1, 0.01) == confidence(0.1, 0.0) == 0.0
