"""Positions: the worked example, flips, inverse contracts, and money to the last digit."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import InstrumentType, Side
from fanout.trading.money import FINER_DIGITS, money_of, nearest
from fanout.trading.position import Position
from tests.fanout.trading.world import BUY, SELL, X

BTC = replace(X, price_exponent=-1, quantity_exponent=-3)
INVERSE = replace(
    X, price_exponent=-1, type=InstrumentType.INVERSE_PERPETUAL, contract_mantissa=100
)

FILLS = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 10**6), st.integers(1, 10**6)), max_size=30
)


def test_the_worked_example() -> None:
    held = Position(X)
    text = held.money.text
    held.fill(BUY, 100, 10)
    held.fill(BUY, 110, 10)
    assert (held.quantity, held.average) == (20, 105)
    assert text(held.fill(SELL, 120, 5)) == "75"
    held.fill(SELL, 100, 25)
    assert (text(held.realised), held.quantity, held.average) == ("0", -10, 100)
    assert text(held.fill(BUY, 90, 4)) == "40"
    assert (held.quantity, text(held.unrealised(95))) == (-6, "30")
    assert text(held.equity(190, parts=2)) == "70"


def test_fees_are_kept_apart_from_profit() -> None:
    held = Position(X)
    held.fill(BUY, 100, 10, fee=held.money.fee(100, 10, 10_000))
    assert held.money.text(held.fees) == "0.1"
    assert held.realised == held.unrealised(100) == 0
    assert held.money.text(held.equity(100)) == "-0.1"


def test_a_fee_is_rounded_up_and_a_rebate_down() -> None:
    """Fees of linear contracts are exact. The value of an inverse one is rounded."""
    assert money_of(X).fee(1, 1, 1) == 10 ** (FINER_DIGITS - 8)
    money = money_of(INVERSE)
    value = money.value(7, 1)
    assert value % 10**8
    assert money.fee(7, 1, 1) == value // 10**8 + 1
    assert money.fee(7, 1, -1) == -(value // 10**8)


def test_an_inverse_contract_earns_the_base() -> None:
    """10 contracts of 100 USD bought at 50,000 and half of them sold at 62,500."""
    held = Position(INVERSE)
    text = held.money.text
    held.fill(BUY, 500_000, 10)
    assert text(held.fill(SELL, 625_000, 5)) == "0.002"
    assert (held.average, text(held.unrealised(400_000))) == (500_000, "-0.0025")
    assert held.money.currency == "BASE"


def test_products_beyond_64_bits_are_exact() -> None:
    held = Position(X)
    held.fill(BUY, 2**62, 2**62)
    held.fill(SELL, 2**62 + 1, 2**62)
    assert held.realised == 2**62 * 10**FINER_DIGITS


def test_flat_there_is_no_average_and_nothing_unrealised() -> None:
    held = Position(X)
    held.fill(BUY, 100, 3)
    held.fill(SELL, 103, 3)
    assert (held.quantity, held.average, held.unrealised(500)) == (0, None, 0)
    assert repr(held) == "<Position 0 X>"


def test_a_third_is_rounded_but_nothing_is_lost() -> None:
    held = Position(X)
    held.fill(BUY, 1, 1)
    held.fill(BUY, 2, 2)
    for _ in range(3):
        held.fill(SELL, 2, 1)
    assert held.money.text(held.realised) == "1"


def test_halves_are_rounded_away_from_zero() -> None:
    assert [nearest(each, 2) for each in (1, -1, 3, -3, 4)] == [1, -1, 2, -2, 2]
    assert nearest(1, -2) == -1


@given(FILLS, st.integers(1, 10**6))
def test_realised_and_unrealised_are_what_was_paid_and_what_is_held(
    fills: list[tuple[Side, int, int]], mark: int
) -> None:
    held = Position(BTC)
    for side, price, quantity in fills:
        held.fill(side, price, quantity)
    signed = [(quantity if side is BUY else -quantity, price) for side, price, quantity in fills]
    expected = sum([quantity * (mark - price) for quantity, price in signed])
    assert held.realised + held.unrealised(mark) == expected * 10**FINER_DIGITS
    assert held.quantity == sum([quantity for quantity, _ in signed]) == held.bought - held.sold


@given(FILLS, st.integers(1, 10**6))
def test_an_inverse_contract_is_off_by_less_than_a_unit_for_each_rounding(
    fills: list[tuple[Side, int, int]], mark: int
) -> None:
    held = Position(INVERSE)
    for side, price, quantity in fills:
        held.fill(side, price, quantity)
    unit = Fraction(10) ** held.money.exponent
    exact = sum(
        (
            (1 if side is BUY else -1) * quantity * 100 * (Fraction(10, price) - Fraction(10, mark))
            for side, price, quantity in fills
        ),
        Fraction(0),
    )
    ours = (held.realised + held.unrealised(mark)) * unit
    assert abs(ours - exact) <= (2 * len(fills) + 1) * unit


@given(FILLS)
def test_what_is_realised_is_that_of_the_average_cost(fills: list[tuple[Side, int, int]]) -> None:
    held, quantity, average, realised = Position(X), 0, Fraction(0), Fraction(0)
    for side, price, size in fills:
        held.fill(side, price, size)
        signed = size if side is BUY else -size
        if quantity * signed >= 0:
            average = (average * quantity + price * signed) / (quantity + signed)
        else:
            closed = min(abs(signed), abs(quantity)) * (1 if quantity > 0 else -1)
            realised += closed * (price - average)
            if abs(signed) > abs(quantity):
                average = Fraction(price)
        quantity += signed
    assert abs(held.realised - realised * 10**FINER_DIGITS) <= len(fills)
