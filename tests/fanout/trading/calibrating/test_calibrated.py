"""A strategy with the numbers of a calibration."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from fanout.analytics.fits.fit_errors import WrongFitError
from fanout.analytics.fits.made import MadeFor, Origin
from fanout.trading.calibrating.calibrated import calibrated, file_of
from fanout.trading.calibrating.calibration import Calibration
from fanout.trading.calibrating.intensity import calibrate
from fanout.trading.errors import LimitsError
from fanout.trading.running.config import StrategyConfig
from fanout.trading.running.plans import strategy_of
from fanout.trading.strategies.glft import Glft
from tests.fanout.trading.planted import TICKED, Planted


def strategy(name: str = "glft", **parameters: object) -> StrategyConfig:
    return StrategyConfig(
        name=name,
        quantity=Decimal(1),
        position_limit=Decimal(5),
        min_life_ns=0,
        parameters={"gamma": Decimal("0.1"), **parameters},
    )


@pytest.fixture(scope="module")
def fit() -> Calibration:
    origin = Origin(journal="j", channel="c", epochs_ns=(1,), fitted_ns=1, fanout="0")
    arrivals = Planted(3.0, 0.8, 0.5).seconds(120).arrivals
    return calibrate(arrivals, made_for=MadeFor.of("test", TICKED), origin=origin)


def test_a_strategy_gets_the_numbers_of_the_fit_exactly(fit: Calibration) -> None:
    config = calibrated(strategy(calibration="x.json"), fit, "test", TICKED)
    made = strategy_of(config, TICKED, "paper.toml")
    assert isinstance(made, Glft)
    assert (made.a, made.k, made.sigma, made.gamma) == (fit.a, fit.k, fit.sigma, 0.1)


def test_a_number_beside_it_counts_instead(fit: Calibration) -> None:
    config = calibrated(strategy(calibration="x.json", k=Decimal(7)), fit, "test", TICKED)
    assert config.parameters["k"] == 7
    assert "calibration" not in config.parameters


def test_avellaneda_stoikov_takes_no_a_and_an_own_class_takes_all(fit: Calibration) -> None:
    config = calibrated(strategy("avellaneda-stoikov"), fit, "test", TICKED)
    assert set(config.parameters) == {"k", "sigma", "gamma"}
    config = calibrated(strategy("mine:Own"), fit, "test", TICKED)
    assert set(config.parameters) == {"a", "k", "sigma", "gamma"}


def test_a_fit_of_another_instrument_is_refused(fit: Calibration) -> None:
    with pytest.raises(WrongFitError, match="the fit is for symbol X"):
        calibrated(strategy(), fit, "test", replace(TICKED, symbol="Y"))


def test_only_a_name_of_a_file_is_one() -> None:
    assert file_of(strategy(), "p.toml") is None
    assert file_of(strategy(calibration="a.json"), "p.toml") == "a.json"
    for wrong in (7, "", None):
        with pytest.raises(LimitsError, match=r"p\.toml: strategy.calibration = .* the name of a"):
            file_of(strategy(calibration=wrong), "p.toml")
    with pytest.raises(LimitsError, match="basic takes nothing of a calibration"):
        file_of(strategy("basic", calibration="a.json"), "p.toml")
