"""Planted intensities are found within their error, and what is too little is refused."""

from math import exp, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_errors import FitFileError, TooFewRowsError, WrongFitError
from fanout.analytics.fits.made import MadeFor, Origin
from fanout.trading.calibrating.arrivals import Arrivals
from fanout.trading.calibrating.calibration import Calibration
from fanout.trading.calibrating.intensity import calibrate
from tests.fanout.trading.planted import TICKED, Planted
from tests.fanout.trading.world import MS

ORIGIN = Origin(journal="journal:///data", channel="x", epochs_ns=(1,), fitted_ns=2, fanout="0.1")


def fit(world: Planted, **options: int) -> Calibration:
    made_for = MadeFor.of("test", TICKED)
    return calibrate(world.arrivals, made_for=made_for, origin=ORIGIN, **options)


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from([1.0, 3.0]),
    st.sampled_from([0.5, 1.2]),
    st.sampled_from([0.3, 1.0]),
    st.integers(0, 10**6),
)
def test_planted_intensities_are_found_within_their_error(
    a: float, k: float, sigma: float, seed: int
) -> None:
    made = fit(Planted(a, k, sigma, seed).seconds(600))
    assert made.k == pytest.approx(k, abs=5 * made.k_error)
    # The gaps at the ends of the seconds cost some hundredths of the orders.
    assert made.a == pytest.approx(a, rel=0.08, abs=5 * made.a_error)
    assert made.sigma == pytest.approx(sqrt(sigma**2 + 0.2**2 / 12), abs=5 * made.sigma_error)
    assert made.k_error < 0.2 * k
    assert made.a_error < 0.3 * a
    assert made.a_error_poisson < 3 * made.a_error


def test_an_exponential_is_likely_and_what_is_none_is_not() -> None:
    made = fit(Planted(3.0, 0.8, 0.5).seconds(600))
    assert made.probability is not None
    assert made.probability > 1e-4
    world = Planted(3.0, 0.8, 0.5).seconds(600)
    for at in range(600, 1_000):
        world.arrivals.reaches[at] = 2 * 400  # many stop at the same distance
    other = fit(world)
    assert other.probability is not None
    assert other.probability < 1e-6


def test_levels_begin_a_tick_behind_the_touch_and_show_the_fit() -> None:
    made = fit(Planted(3.0, 0.8, 0.5).seconds(300))
    first = made.levels[0]
    assert first.distance == pytest.approx(0.20)
    assert (
        first.per_second
        == pytest.approx(first.fitted)
        == pytest.approx(made.a * exp(-made.k * first.distance))
    )
    assert len(made.levels) <= 21
    assert made.levels[-1].orders >= first.orders // 20
    assert made.touch_per_second > first.per_second
    assert made.spread == pytest.approx(0.2)
    assert made.observed_s == pytest.approx(300, abs=1)
    assert made.made_from.rows == len(Planted(3.0, 0.8, 0.5).seconds(300).arrivals.reaches)


def test_k_follows_from_the_counts_by_hand() -> None:
    """Of three levels: p = (N1 + N2) / (N0 + N1)."""
    world = Planted(1.0, 0.5, 0.5).seconds(60)
    del world.arrivals.reaches[:], world.arrivals.times[:]
    for reach, count in ((20, 300), (40, 150), (60, 50)):
        for at in range(count):
            world.arrivals.reaches.append(2 * reach)
            world.arrivals.times.append(world.arrivals.observed_ns * at // count)
    made = fit(world, nearest=2 * 20, farthest=2 * 60)
    steps = [round(each.distance * 100) for each in made.levels]
    assert (steps[0], steps[-1], steps[1] - steps[0]) == (20, 60, 10)
    orders = [each.orders for each in made.levels]
    assert orders[0] == 500
    assert orders[-1] == 50
    assert made.k == pytest.approx(log(sum(orders[:-1]) / sum(orders[1:])) / 0.1)
    rate = 500 / (2 * made.observed_s)
    assert made.a == pytest.approx(rate * exp(made.k * 0.2))


def test_too_few_orders_are_refused_with_what_is_needed() -> None:
    words = r"taker orders reached 0\.2 from the mid, and 200 are needed"
    with pytest.raises(TooFewRowsError, match=words):
        fit(Planted(0.5, 0.5, 0.5).seconds(40))


def test_too_few_moves_are_refused() -> None:
    with pytest.raises(TooFewRowsError, match="19 moves of the mid over 1 s, and 30 are needed"):
        fit(Planted(1.0, 0.5, 0.5).seconds(20))


def test_a_mid_that_never_moves_is_refused() -> None:
    with pytest.raises(FitError, match="the mid never moved"):
        fit(Planted(1.0, 0.5).seconds(60))


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(TooFewRowsError, match="no time with a known book"):
        calibrate(Arrivals("X", MS), made_for=MadeFor.of("test", TICKED), origin=ORIGIN)


def test_orders_that_all_reach_as_far_are_refused() -> None:
    world = Planted(3.0, 0.5, 0.5).seconds(120)
    for at in range(len(world.arrivals.reaches)):
        world.arrivals.reaches[at] = 2 * 50
    with pytest.raises(FitError, match="no decay can be fitted"):
        fit(world)
    with pytest.raises(FitError, match="there are 0 distances"):
        fit(world, nearest=2 * 50)


def test_a_file_comes_back_as_it_was() -> None:
    made = fit(Planted(3.0, 0.8, 0.5).seconds(120))
    assert Calibration.from_json(made.to_json()) == made
    assert made.parameters == {"a": made.a, "k": made.k, "sigma": made.sigma}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "f.json is no calibration"),
        (b"[]", "f.json is no calibration"),
        (b'{"version": 7}', "version 7 of the layout"),
        (b'{"version": 1, "kind": "linear"}', "f.json is no calibration"),
        (b" " * (1 << 20) + b"{}", "exceed 1,048,576"),
    ],
)
def test_what_is_no_calibration_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(FitError, match=words):
        Calibration.from_json(text, "f.json")


def test_a_file_with_impossible_numbers_is_refused() -> None:
    made = fit(Planted(3.0, 0.8, 0.5).seconds(120))
    text = made.to_json().replace(f'"k": {made.k!r}'.encode(), b'"k": -1.0')
    assert text != made.to_json()
    with pytest.raises(FitFileError, match=r"k is -1\.0 ± .*: it has to be finite and above 0"):
        Calibration.from_json(text)


def test_a_calibration_is_for_its_instrument_only() -> None:
    made = fit(Planted(3.0, 0.8, 0.5).seconds(120))
    made.require("test", TICKED)
    for venue, other in (
        ("else", TICKED),
        ("test", replace(TICKED, symbol="Y")),
        ("test", replace(TICKED, price_exponent=-3)),
    ):
        with pytest.raises(WrongFitError, match="fit one for each instrument"):
            made.require(venue, other)


def test_bands_with_few_orders_are_put_together_for_chi_square() -> None:
    world = Planted(3.0, 0.8, 0.5).seconds(120)
    made = fit(world, nearest=2 * 20, farthest=2 * 1_200)
    assert len(made.levels) > 15
    assert 0 < made.freedom < len(made.levels) - 2


def test_two_bands_leave_no_freedom() -> None:
    world = Planted(3.0, 0.5, 0.5).seconds(60)
    for at in range(len(world.arrivals.reaches)):
        world.arrivals.reaches[at] = 2 * (20 if at % 100 else 40)
    made = fit(world, nearest=2 * 20, farthest=2 * 40)
    assert (made.freedom, made.probability) == (0, None)
