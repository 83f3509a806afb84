"""Sizes of positions, by hand and by properties."""

from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.analytics.signals.models import Signal, SignalError, flat
from fanout.analytics.signals.sizing import PositionSize
from fanout.protocol.constants import InstrumentType
from tests.fanout.analytics.rows import BTC, S

UP = Signal(1, 1.0, 1.0, "up")

CALM = 1 / 8_192
"""A volatility that is exact as a double."""

SIZE = PositionSize(
    instrument=BTC, risk_budget=Decimal("122.0703125"), max_quantity=10_000, horizon_ns=16 * S
)


def test_the_budget_is_one_standard_deviation_of_the_value() -> None:
    # 1 BTC of 50,000 moves by 50,000 / 8,192 * 4 = 24.4140625 in 16 s.
    size = SIZE.of(UP, CALM, 50_000.0)
    assert (size.quantity, size.quantity_decimal, size.reason) == (5_000, Decimal("5.000"), "up")


def test_a_weak_signal_takes_its_share() -> None:
    assert SIZE.of(Signal(-1, 0.5, 0.5, "down"), CALM, 50_000.0).quantity == -1_250


def test_a_size_is_rounded_down_to_the_lot() -> None:
    # 122.0703125 / (50,000 * 0.000131 * 4) = 4.6591...; the lot is 0.005.
    assert SIZE.of(UP, 0.000131, 50_000.0).quantity == 4_655
    assert replace(SIZE, lot=1_000).of(UP, 0.000131, 50_000.0).quantity == 4_000
    whole = replace(SIZE, instrument=replace(BTC, lot=0))
    assert whole.of(UP, 0.000131, 50_000.0).quantity == 4_659


def test_a_size_is_held_at_the_limit() -> None:
    size = replace(SIZE, max_quantity=1_004).of(UP, CALM, 50_000.0)
    assert (size.quantity, size.reason) == (1_000, "up, at the limit")
    assert replace(SIZE, max_quantity=0).of(UP, CALM, 50_000.0).quantity == 0


def test_contracts_count_by_their_size() -> None:
    linear = replace(BTC, quantity_exponent=0, lot=1, contract_mantissa=1, contract_exponent=-2)
    size = replace(SIZE, instrument=linear).of(UP, CALM, 50_000.0)
    assert size.quantity == 500  # of 0.01 BTC
    inverse = replace(
        linear,
        type=InstrumentType.INVERSE_PERPETUAL,
        contract_mantissa=10,
        contract_exponent=0,
    )
    # 250,000 of the quote move by as much in 16 s: contracts of 10.
    size = replace(SIZE, instrument=inverse, max_quantity=10**6).of(UP, CALM, 50_000.0)
    assert size.quantity == 25_000


@pytest.mark.parametrize(
    ("volatility", "price", "why"),
    [
        (None, 1.0, "volatility is absent"),
        (0.0, 1.0, "volatility is 0"),
        (-1.0, 1.0, "volatility is -1"),
        (nan, 1.0, "volatility is nan"),
        (inf, 1.0, "volatility is inf"),
        (0.1, None, "price is absent"),
        (0.1, 0.0, "price is 0"),
        (0.1, inf, "price is inf"),
    ],
)
def test_without_a_volatility_or_a_price_there_is_no_position(
    volatility: float | None, price: float | None, why: str
) -> None:
    size = SIZE.of(UP, volatility, price)
    assert (size.quantity, size.reason) == (0, why)


def test_without_a_direction_there_is_no_position() -> None:
    size = SIZE.of(flat("mid is absent: LOST"), CALM, 50_000.0)
    assert (size.quantity, size.reason) == (0, "no direction: mid is absent: LOST")


def test_less_than_a_lot_is_no_position() -> None:
    size = SIZE.of(Signal(1, 1e-9, 1.0, "up"), CALM, 50_000.0)
    assert (size.quantity, size.reason) == (0, "less than a lot of 0.005")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("risk_budget", Decimal(0)),
        ("risk_budget", Decimal(-1)),
        ("risk_budget", 100),
        ("risk_budget", 100.0),
        ("risk_budget", Decimal("NaN")),
        ("risk_budget", Decimal("Infinity")),
        ("horizon_ns", 0),
        ("max_quantity", -1),
        ("lot", -1),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(SignalError, match=r"above 0|not below 0"):
        replace(SIZE, **{name: value})


@pytest.mark.parametrize("contract", [0, -1])
def test_an_instrument_without_a_contract_size_has_no_sizes(contract: int) -> None:
    """The wire takes any number there, and the sign of a size is its side."""
    odd = replace(SIZE.instrument, contract_mantissa=contract)
    with pytest.raises(SignalError, match=f"BTCUSDT has contracts of {contract}: no size"):
        replace(SIZE, instrument=odd)


doubles = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
shares = st.floats(min_value=0, max_value=1)
limits = st.integers(min_value=0, max_value=2**63 - 1)


@given(doubles, doubles, doubles, shares, shares, limits, st.integers(0, 10_000))
def test_a_size_is_within_its_limits_and_falls_with_the_volatility(
    first: float,
    second: float,
    price: float,
    strength: float,
    confidence: float,
    limit: int,
    lot: int,
) -> None:
    size = replace(SIZE, max_quantity=limit, lot=lot)
    signal = Signal(-1, strength, confidence, "down")
    low, high = sorted((first, second))
    calm, wild = (size.of(signal, each, price).quantity for each in (low, high))
    for quantity in (calm, wild):
        assert -limit <= quantity <= 0
        assert quantity % (lot or BTC.lot) == 0
    assert wild >= calm or low == 0


@given(doubles, shares, shares)
def test_long_and_short_are_of_one_size(volatility: float, strength: float, sure: float) -> None:
    up, down = (SIZE.of(Signal(d, strength, sure, ""), volatility, 100.0) for d in (1, -1))
    assert up.quantity == -down.quantity
