"""Profit in parts adds up to what the position made, to the last digit."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import InstrumentType, Side
from fanout.protocol.instrument import Instrument
from fanout.trading.report.profit import Profit
from tests.fanout.trading.world import BUY, SELL, X

INVERSE = replace(X, type=InstrumentType.INVERSE_PERPETUAL, contract_mantissa=100)
ONE = Profit(X).position.money.worth(1, 1)
"""One unit of the quote currency."""

PRICES = st.integers(1, 10**12)
STEPS = st.lists(
    st.one_of(
        st.integers(1, 10**12),  # twice a mid
        st.tuples(st.sampled_from(Side), PRICES, st.integers(1, 10**9), st.integers(-9, 10**30)),
    ),
    max_size=30,
)


@given(st.sampled_from([X, INVERSE]), STEPS)
def test_the_parts_add_up_exactly_after_every_step(
    instrument: Instrument, steps: list[int | tuple[Side, int, int, int]]
) -> None:
    profit = Profit(instrument)
    for step in steps:
        if isinstance(step, int):
            profit.mark(step)
        else:
            profit.fill(*step)
        position = profit.position
        assert profit.spread + profit.inventory == position.realised + profit.unrealised
        assert profit.total == position.realised + profit.unrealised - position.fees
        if profit.twice_mid:
            assert profit.total == position.equity(profit.twice_mid, parts=2)


@given(STEPS)
def test_only_the_mids_give_a_profit_of_inventory_and_only_the_fills_one_of_spread(
    steps: list[int | tuple[Side, int, int, int]],
) -> None:
    profit = Profit(X)
    for step in steps:
        before = profit.spread, profit.inventory, profit.position.fees
        if isinstance(step, int):
            profit.mark(step)
            assert (profit.spread, profit.position.fees) == (before[0], before[2])
        else:
            profit.fill(*step)
            assert profit.inventory == before[1]


def test_a_round_trip_at_the_quotes_earns_the_spread() -> None:
    profit = Profit(X)
    profit.mark(2 * 100)
    profit.fill(BUY, 99, 10, 3)
    profit.mark(2 * 104)
    profit.fill(SELL, 105, 10, 4)
    assert (profit.spread, profit.inventory) == (20 * ONE, 40 * ONE)
    assert profit.position.fees == 7
    assert profit.total == 60 * ONE - 7


def test_an_inverse_contract_earns_in_the_base() -> None:
    profit = Profit(INVERSE)
    money = profit.position.money
    profit.mark(2 * 200)
    profit.fill(BUY, 160, 8, 0)
    profit.mark(2 * 250)
    # 8 contracts of 100: 800 (1/160 - 1/200), and 800 (1/200 - 1/250).
    assert money.text(profit.spread) == "1"
    assert money.text(profit.inventory) == "0.8"
    assert money.currency == "BASE"


def test_a_fill_before_any_mid_is_counted_and_earns_no_spread() -> None:
    profit = Profit(X)
    profit.fill(BUY, 99, 10, 0, is_marked=False)
    assert (profit.unmarked, profit.spread, profit.total) == (1, 0, 0)
    profit.mark(2 * 98)
    assert profit.inventory == -10 * ONE
