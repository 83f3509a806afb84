"""Signals, by examples that were computed by hand."""

from math import erf, inf, nan, sqrt

import pytest
from msgspec.structs import replace

from fanout.analytics.features.column import Column, UnknownColumnError, WrongRowError
from fanout.analytics.signals.models import (
    Combination,
    LinearPredictor,
    OrderFlowThreshold,
    Signal,
    SignalError,
    SignalModel,
    flat,
)
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from tests.fanout.analytics.made_fits import FIT
from tests.fanout.analytics.rows import COLUMNS, ETH, OFI, row

OFI_10 = OrderFlowThreshold(COLUMNS, threshold=10.0)


class Fixed:
    """A model that always gives one signal."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def signal(self, row: FeatureRow) -> Signal:
        return self._signal


@pytest.mark.parametrize(
    ("direction", "strength", "confidence"),
    [(2, 0.5, 0.5), (1, 1.1, 0.5), (1, 0.5, -0.1), (1, nan, 0.5), (1, 0.5, nan)],
)
def test_a_signal_out_of_range_is_refused(
    direction: int, strength: float, confidence: float
) -> None:
    with pytest.raises(SignalError, match=r": (-1, 0 or 1|0 to 1)"):
        Signal(direction, strength, confidence, "")


def test_a_column_that_the_rows_lack_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownColumnError, match="no column ofi: the rows have mid, order_book"):
        Column(COLUMNS, "ofi")
    with pytest.raises(UnknownColumnError, match="no column order_flow"):
        OrderFlowThreshold(("mid",), threshold=1.0)


def test_a_row_of_another_channel_is_refused() -> None:
    short = FeatureRow(instrument=ETH, time_ns=1, values=(1.0,), absences=b"\0")
    with pytest.raises(WrongRowError, match="a row of 1 values, and 3 columns"):
        OFI_10.signal(short)


@pytest.mark.parametrize(
    ("flow", "direction", "strength"),
    [
        (9.999, 0, 0.0),
        (10.0, 1, 0.5),
        (15.0, 1, 0.75),
        (20.0, 1, 1.0),
        (1e9, 1, 1.0),
        (-9.999, 0, 0.0),
        (-10.0, -1, 0.5),
        (0.0, 0, 0.0),
    ],
)
def test_a_flow_beyond_the_threshold_has_a_direction(
    flow: float, direction: int, strength: float
) -> None:
    signal = OFI_10.signal(row(**{OFI: flow}))
    assert (signal.direction, signal.strength, signal.confidence) == (direction, strength, 0.5)
    assert signal.reason == f"{OFI} {flow:.6g}, threshold 10"


def test_a_flow_that_is_absent_is_no_flow_of_zero() -> None:
    signal = OFI_10.signal(row(**{OFI: Absence.LOST}))
    assert signal == flat(f"{OFI} is absent: LOST")
    assert signal.confidence == 0


def test_a_flow_that_comes_back_is_judged_anew() -> None:
    assert OFI_10.signal(row(**{OFI: 30.0})).direction == 1
    assert OFI_10.signal(row(**{OFI: Absence.NOT_LIVE})).direction == 0
    assert OFI_10.signal(row(**{OFI: 1.0})).direction == 0


@pytest.mark.parametrize(
    ("threshold", "full", "confidence"),
    [
        (0.0, None, 0.5),
        (-1.0, None, 0.5),
        (2.0, 1.0, 0.5),
        (nan, None, 0.5),
        (1.0, inf, 0.5),
        (1.0, None, 2.0),
    ],
)
def test_options_of_a_threshold_out_of_range_are_refused(
    threshold: float, full: float | None, confidence: float
) -> None:
    with pytest.raises(SignalError, match=r"above 0|0 to 1"):
        OrderFlowThreshold(COLUMNS, threshold=threshold, full=full, confidence=confidence)


# The fit: 0.0001 + 0.0002·(imbalance - 0.1)/0.5 - 0.0001·(flow - 2)/4, R2 0.02 ± 0.01, and
# predictions with a deviation of 0.0004.


def test_a_prediction_is_the_line_of_the_fit() -> None:
    signal = LinearPredictor(COLUMNS, FIT).signal(row(order_book_imbalance=0.6, **{OFI: -2.0}))
    assert signal.direction == 1
    assert signal.strength == pytest.approx(0.0004 / 0.0008)
    assert signal.confidence == pytest.approx(erf(2 / sqrt(2)))  # two standard errors: 0.954
    assert signal.reason == "+4 bps predicted in 15 s"


def test_a_prediction_below_the_costs_has_no_direction() -> None:
    predictor = LinearPredictor(COLUMNS, FIT, least_return=0.0005)
    signal = predictor.signal(row(order_book_imbalance=0.6, **{OFI: -2.0}))
    assert (signal.direction, signal.strength) == (0, 0.0)
    assert signal.confidence > 0.9


def test_the_strength_of_a_prediction_is_bounded() -> None:
    signal = LinearPredictor(COLUMNS, FIT).signal(row(order_book_imbalance=-1e6, **{OFI: 2.0}))
    assert (signal.direction, signal.strength) == (-1, 1.0)


def test_a_prediction_needs_all_its_features() -> None:
    signal = LinearPredictor(COLUMNS, FIT).signal(row(**{OFI: 1.0}))
    assert signal == flat("order_book_imbalance is absent: WARMING_UP")


def test_a_prediction_that_overflows_is_none() -> None:
    wide = replace(FIT, coefficients=(1e300, 1.0))
    signal = LinearPredictor(COLUMNS, wide).signal(row(order_book_imbalance=1e300, **{OFI: 1.0}))
    assert (signal.direction, signal.confidence) == (0, 0.0)
    assert "finite" in signal.reason


def test_a_fit_that_does_not_predict_has_no_direction() -> None:
    useless = replace(FIT, score=replace(FIT.score, r2=-0.001))
    signal = LinearPredictor(COLUMNS, useless).signal(row(order_book_imbalance=0.6, **{OFI: 1.0}))
    assert signal == flat("the fit does not predict: out-of-sample R2 -0.0010 ± 0.0100")


def test_a_row_of_another_instrument_is_refused() -> None:
    predictor = LinearPredictor(COLUMNS, FIT)
    with pytest.raises(WrongRowError, match="a row of ETHUSDT, and a fit for BTCUSDT"):
        predictor.signal(row(instrument=ETH, order_book_imbalance=0.6, **{OFI: 1.0}))


def test_rows_without_a_column_of_the_fit_are_refused() -> None:
    with pytest.raises(UnknownColumnError, match="no column order_book_imbalance"):
        LinearPredictor(("mid", OFI), FIT)
    with pytest.raises(SignalError, match="least_return"):
        LinearPredictor(COLUMNS, FIT, least_return=-1)


def combined(*signals: Signal, threshold: float = 0.0) -> Signal:
    return Combination([Fixed(each) for each in signals], threshold=threshold).signal(row())


def test_a_combination_is_the_mean_by_confidence() -> None:
    signal = combined(Signal(1, 0.5, 0.6, "up"), Signal(-1, 1.0, 0.2, "down"))
    assert signal.direction == 1
    assert signal.strength == pytest.approx((0.6 * 0.5 - 0.2 * 1.0) / 0.8)  # 0.125
    assert signal.confidence == pytest.approx(0.4)
    assert signal.reason == "+1 for up; -1 for down"


def test_an_absent_part_has_no_vote_and_costs_confidence() -> None:
    signal = combined(Signal(-1, 0.5, 0.6, "down"), flat("mid is absent: LOST"))
    assert (signal.direction, signal.strength, signal.confidence) == (-1, 0.5, 0.3)
    assert "+0 for mid is absent: LOST" in signal.reason


def test_a_part_that_sees_nothing_votes_for_nothing() -> None:
    signal = combined(Signal(1, 1.0, 0.5, "up"), flat("quiet", 0.5), threshold=0.6)
    assert (signal.direction, signal.strength, signal.confidence) == (0, 0.0, 0.5)


def test_parts_that_cancel_have_no_direction() -> None:
    assert combined(Signal(1, 0.5, 0.5, ""), Signal(-1, 0.5, 0.5, "")).direction == 0


def test_only_absent_parts_have_no_confidence() -> None:
    assert combined(flat("a"), flat("b")) == flat("+0 for a; +0 for b")


def test_a_combination_of_nothing_is_refused() -> None:
    with pytest.raises(SignalError, match="at least one"):
        Combination([])
    with pytest.raises(SignalError, match="threshold"):
        Combination([OFI_10], threshold=1.5)


def test_all_three_are_models() -> None:
    models = [OFI_10, LinearPredictor(COLUMNS, FIT), Combination([OFI_10])]
    assert all(isinstance(each, SignalModel) for each in models)
