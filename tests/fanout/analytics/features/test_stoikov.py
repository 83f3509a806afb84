"""Stoikov's microprice: the worked example, fits, and what is refused."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from fanout.analytics import Features, FeatureSettings, MicropriceEstimator, MicropriceFit
from fanout.analytics.errors import FitError
from fanout.analytics.features.formulas import Best
from fanout.analytics.features.stoikov import adjustments, state_of
from fanout.analytics.fits.fit_errors import FitFileError
from fanout.clients.outcomes import Received
from fanout.protocol import FeedState, Instrument, Quote
from tests.fanout.analytics.market import BTC, LOSS, WHOLE, Scene, Why, book, quote, status, trade
from tests.fanout.analytics.recording import records_of

FIT = MicropriceFit(
    symbol="BTCUSDT",
    venue="binance",
    price_exponent=-2,
    tick=1,
    epochs_ns=(1, 2),
    first_ns=3,
    last_ns=4,
    fitted_ns=5,
    observations=6,
    ticks=((-0.25, 0.25), (None, 0.5)),
)


def test_the_worked_example() -> None:
    found = adjustments([[0.5, 0.3], [0.3, 0.5]], [[0.1, 0.1], [0.1, 0.1]], [-0.1, 0.1])
    assert found == pytest.approx([-0.125, 0.125], abs=1e-12)


def test_the_sum_is_that_of_numpy_over_many_states() -> None:
    numbers = np.random.default_rng(1)
    half = numbers.random((3, 12))
    rows = half / half.sum(axis=1, keepdims=True)
    # State 5 - i mirrors state i, so the changes cancel out.
    shares = np.vstack([rows, rows[::-1].reshape(3, 2, 6)[:, :, ::-1].reshape(3, 12)])
    q, t = shares[:, :6], shares[:, 6:]
    rk = np.concatenate([half := numbers.random(3) - 0.5, -half[::-1]])
    term = np.linalg.solve(np.eye(6) - q, rk)
    b = np.linalg.solve(np.eye(6) - q, t)
    total = sum(np.linalg.matrix_power(b, k) @ term for k in range(200))
    assert adjustments(q.tolist(), t.tolist(), rk.tolist()) == pytest.approx(total, abs=1e-9)


def test_a_state_whose_mid_never_changes_is_refused() -> None:
    with pytest.raises(FitError, match="the mid never changes"):
        adjustments([[1.0]], [[0.0]], [0.0])


def test_changes_that_do_not_cancel_out_have_no_limit() -> None:
    with pytest.raises(FitError, match="no limit"):
        adjustments([[0.5]], [[0.5]], [0.1])


@pytest.mark.parametrize(
    ("best", "state"),
    [
        (Best(100, 1, 101, 1), (0, 1)),
        (Best(100, 1, 101, 99), (0, 0)),
        (Best(100, 9, 101, 0), (0, 1)),
        (Best(100, 1, 103, 9), (1, 0)),
    ],
)
def test_a_state_is_a_spread_and_a_bucket(best: Best, state: tuple[int, int]) -> None:
    assert state_of(best, 1, 2, 2) == state


def test_a_stream_shows_the_microprice_of_its_fit() -> None:
    scene = Scene(fits={"BTCUSDT": FIT})
    row = scene.after(book(0, [(10_000, 3)], [(10_001, 1)], WHOLE))
    assert row["stoikov_microprice"] == 100.005 + 0.25 * 0.01
    row = scene.after(book(1, [], [(10_001, 0), (10_002, 9)]))
    assert row["stoikov_microprice"] is Why.NOT_FITTED, "no such state was observed"


@pytest.mark.parametrize(
    "changes", [{"symbol": "ETHUSDT"}, {"tick": 5}, {"price_exponent": -1}, {"price_exponent": -3}]
)
def test_a_fit_for_another_instrument_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FitError, match="fitted for"):
        Scene(fits={"BTCUSDT": replace(FIT, **changes)}).take(trade(0, 1))
    with pytest.raises(FitError, match="fit it for this one"):
        Features(FeatureSettings(), BTC, fit=replace(FIT, **changes))


def test_a_fit_takes_an_instrument_with_the_same_tick_in_other_units() -> None:
    FIT.require(replace(BTC, price_exponent=-4, tick=100))
    FIT.require(replace(BTC, tick=0))
    with pytest.raises(FitError, match="fit it for this one"):
        FIT.require(replace(BTC, tick=0, price_exponent=-1))


def test_a_venue_that_changes_its_tick_ends_the_microprice_and_not_the_stream() -> None:
    scene = Scene(fits={"BTCUSDT": FIT})
    bids, asks = [(10_000, 3)], [(10_001, 1)]
    assert scene.after(book(0, bids, asks, WHOLE))["stoikov_microprice"] == 100.0075
    row = scene.after(book(1, bids, asks, WHOLE, of=replace(BTC, tick=5)))
    assert (row["mid"], row["stoikov_microprice"]) == (100.005, Why.NOT_FITTED)
    assert scene.after(book(2, bids, asks, WHOLE))["stoikov_microprice"] == 100.0075


@pytest.mark.parametrize("of", [replace(BTC, tick=0), replace(BTC, tick=100, price_exponent=-4)])
def test_the_adjustment_is_in_ticks_of_the_fit_whatever_the_units(of: Instrument) -> None:
    shift = 10 ** (-2 - of.price_exponent)
    row = Scene(fits={"BTCUSDT": FIT}).after(
        book(0, [(10_000 * shift, 3)], [(10_001 * shift, 1)], WHOLE, of=of)
    )
    assert row["stoikov_microprice"] == 100.005 + 0.25 * 0.01


def test_a_fit_is_read_as_it_was_written() -> None:
    assert MicropriceFit.from_json(FIT.to_json()) == FIT


GOOD = msgspec.json.decode(FIT.to_json())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        b"{}",
        msgspec.json.encode(GOOD | {"kind": "linear"}),
        msgspec.json.encode(GOOD | {"more": 1}),
        msgspec.json.encode(GOOD | {"tick": 0}),
        msgspec.json.encode(GOOD | {"tick": 2**63}),
        msgspec.json.encode(GOOD | {"price_exponent": 9}),
        msgspec.json.encode(GOOD | {"ticks": [[0.0, 1e10]]}),
        msgspec.json.encode(GOOD | {"ticks": [[0.0, -1e300]]}),
        msgspec.json.encode(GOOD | {"ticks": []}),
        msgspec.json.encode(GOOD | {"ticks": [[]]}),
        msgspec.json.encode(GOOD | {"ticks": [[1], [1, 2]]}),
        FIT.to_json()[:-9],
    ],
)
def test_what_is_no_fit_is_refused(text: bytes) -> None:
    with pytest.raises(FitFileError, match=r"^m\.json is no fit of a microprice, or is damaged: "):
        MicropriceFit.from_json(text, "m.json")


def test_a_file_of_another_version_is_named_as_that() -> None:
    text = msgspec.json.encode(GOOD | {"version": 2, "more": 1})
    with pytest.raises(FitFileError, match="version 2 of the layout, and only 1 is known"):
        MicropriceFit.from_json(text)


def test_a_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(FitFileError, match="exceed 1,048,576: no fit"):
        MicropriceFit.from_json(b" " * (1 << 20) + FIT.to_json())


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_fit_is_made_of_finite_numbers(value: float) -> None:
    with pytest.raises(FitError, match="ticks above the mid"):
        replace(FIT, ticks=((0.0, value),))


def market(count: int) -> Iterator[Received]:
    """The side with less quantity is more likely to be taken, and the mid moves there."""
    numbers = random.Random(3)
    price = 10_000
    for at in range(count):
        bid, ask = numbers.randint(1, 9), numbers.randint(1, 9)
        yield quote(at, (price, bid), (price + 1, ask))
        if numbers.random() < 0.3:
            price += 1 if numbers.random() < bid / (bid + ask) else -1


def fitted(estimator: MicropriceEstimator) -> MicropriceFit:
    return estimator.fit(venue="binance", epochs_ns=(1,), fitted_ns=7)


def test_a_fit_follows_the_market_and_is_symmetric() -> None:
    estimator = MicropriceEstimator("BTCUSDT", spreads=1, buckets=4)
    for record in market(4_000):
        estimator.take(record)
    fit = fitted(estimator)
    (ticks,) = fit.ticks
    known = [each for each in ticks if each is not None]
    assert len(known) == 4
    assert known == sorted(known)
    assert known == pytest.approx([-each for each in reversed(known)], abs=1e-9)
    assert 0.02 < known[-1] < 0.5
    assert fit.observations == estimator.observations > 3_900
    assert (fit.symbol, fit.tick, fit.price_exponent) == ("BTCUSDT", 1, -2)
    assert fit.first_ns < fit.last_ns


def test_steps_over_a_hole_do_not_count() -> None:
    first, second = [(10_000, 2)], [(10_001, 1)]
    estimator = MicropriceEstimator("BTCUSDT")
    estimator.take(book(0, first, second, WHOLE))
    estimator.take(book(1, [(10_000, 3)]))
    assert estimator.observations == 1
    for hole in (LOSS, status(FeedState.STALE)):
        estimator.take(hole)
        estimator.take(status(FeedState.LIVE))
        estimator.take(book(2, [(10_000, 5)], second, WHOLE))
    estimator.take(book(3, [(10_002, 5)]))
    estimator.take(book(4, [(10_002, 0)]))
    assert estimator.observations == 1, "crossed in between"
    estimator.take(trade(5, 1))
    estimator.take(book(6, [(10_000, 6)]))
    assert estimator.observations == 2


def test_a_state_that_is_never_left_has_no_fit() -> None:
    estimator = MicropriceEstimator("BTCUSDT", spreads=2, buckets=2)
    for record in market(500):
        estimator.take(record)
    estimator.take(quote(501, (9_000, 1), (9_005, 1)))
    assert fitted(estimator).ticks[1] == (None, None)


@pytest.mark.parametrize(("spreads", "buckets"), [(0, 10), (1, 1), (101, 5), (26, 20)])
def test_too_many_states_or_too_few_are_refused(spreads: int, buckets: int) -> None:
    with pytest.raises(FitError, match="states"):
        MicropriceEstimator("BTCUSDT", spreads=spreads, buckets=buckets)


def test_a_fit_needs_observations_and_a_tick() -> None:
    estimator = MicropriceEstimator("BTCUSDT")
    with pytest.raises(FitError, match="no change of its best prices"):
        fitted(estimator)
    unknown = replace(BTC, tick=0)
    for at in range(2):
        record = quote(at, (10_000, 1 + at), (10_001, 1), of=unknown)
        if at:
            with pytest.raises(FitError, match="tick of BTCUSDT is not known"):
                estimator.take(record)
        else:
            estimator.take(record)


@pytest.mark.parametrize("changes", [{"tick": 5}, {"price_exponent": -3}])
def test_steps_in_other_units_are_not_counted_together(changes: dict[str, int]) -> None:
    estimator = MicropriceEstimator("BTCUSDT")
    estimator.take(quote(0, (10_000, 1), (10_001, 1)))
    with pytest.raises(FitError, match="the tick of BTCUSDT was 1e-2 and is"):
        estimator.take(quote(1, (10_000, 2), (10_001, 1), of=replace(BTC, **changes)))


def test_the_fit_to_a_recording_is_symmetric_and_leans_to_the_smaller_side() -> None:
    estimator = MicropriceEstimator("BTCUSDT", spreads=2, buckets=5, tick=10)
    for record in records_of("BTCUSDT", seconds=20, quotes=True):
        if isinstance(record, Quote):
            estimator.take(record)
    fit = fitted(estimator)
    narrow = fit.ticks[0]
    assert fit.observations > 1_000
    assert None not in narrow
    assert narrow[2] == pytest.approx(0, abs=1e-9)
    assert narrow[0] == pytest.approx(-narrow[4])  # type: ignore[operator]
    assert 0 < narrow[3] < narrow[4]  # type: ignore[operator]
