"""The limits: each refuses with its reason, none switches off, zero does not."""

import pytest
from msgspec.structs import replace

from fanout.protocol import InstrumentType
from fanout.trading.bucket import TokenBucket
from fanout.trading.errors import LimitsError
from fanout.trading.limits import Check, Limits
from fanout.trading.money import money_of
from fanout.trading.orders import OrderRequest, OrderType
from fanout.trading.risk import Breach, Exposure, Risk, Touch
from tests.fanout.trading.world import BUY, SELL, X

OFF = Limits(
    order_quantity=None,
    order_value=None,
    position=None,
    notional=None,
    orders_per_second=None,
    open_orders=None,
    price_deviation_bps=None,
    daily_loss=None,
    drawdown=None,
    stale_ms=None,
)
FLAT = Exposure(position=0, buying=0, selling=0, open_orders=0)
SHOWN = Touch(bid=99, ask=101, updated_ns=0)
BLIND = Touch(bid=None, ask=101, updated_ns=0)
ORDER = OrderRequest(symbol="X", side=BUY, quantity=10, price=100)
ONE = money_of(X).worth(1, 1)
"""One unit of the quote currency."""


def asked(
    limits: Limits,
    order: OrderRequest = ORDER,
    exposure: Exposure = FLAT,
    touch: Touch = SHOWN,
    now_ns: int = 0,
) -> Breach | None:
    return Risk(limits, X).check(order, exposure, touch, now_ns)


def test_without_limits_everything_passes() -> None:
    assert asked(OFF, replace(ORDER, quantity=10**30)) is None


LONG = Exposure(position=5, buying=3, selling=0, open_orders=4)


@pytest.mark.parametrize(
    ("name", "fits", "value", "limit"),
    [
        (Check.ORDER_QUANTITY, 10, "10", "9"),
        (Check.ORDER_VALUE, 1000 * ONE, "1000", "999.999999999999"),
        (Check.POSITION, 18, "18", "17"),
        (Check.NOTIONAL, 1800 * ONE, "1800", "1799.999999999999"),
        (Check.OPEN_ORDERS, 5, "5", "4"),
    ],
)
def test_a_limit_holds_with_what_works_already(
    name: Check, fits: int, value: str, limit: str
) -> None:
    assert asked(replace(OFF, **{name: fits}), exposure=LONG) is None
    breach = asked(replace(OFF, **{name: fits - 1}), exposure=LONG)
    assert breach == Breach(check=name, value=value, limit=limit)
    assert breach.why == f"{name} is {value}, above the limit of {limit}"


@pytest.mark.parametrize(
    "name",
    [
        Check.ORDER_VALUE,
        Check.NOTIONAL,
        Check.ORDERS_PER_SECOND,
        Check.OPEN_ORDERS,
    ],
)
def test_zero_allows_nothing(name: Check) -> None:
    breach = asked(replace(OFF, **{name: 0}))
    assert breach is not None
    assert breach.check is name


def test_a_zero_for_losses_allows_no_loss_and_for_age_no_age() -> None:
    risk = Risk(replace(OFF, daily_loss=0, drawdown=0, stale_ms=0), X)
    risk.mark(0, 0)
    assert risk.check(ORDER, FLAT, SHOWN, 0) is None
    risk.mark(-1, 0)
    assert [each.check for each in risk.check_now(SHOWN, 1)] == [
        Check.DAILY_LOSS,
        Check.DRAWDOWN,
        Check.STALE_DATA,
    ]


def test_an_order_that_reduces_the_position_passes_its_limit() -> None:
    limits = replace(OFF, position=10, notional=1000 * ONE)
    short = Exposure(position=-10, buying=0, selling=0, open_orders=0)
    assert asked(limits, ORDER, short) is None
    assert asked(limits, replace(ORDER, quantity=20), short) is None
    assert asked(limits, replace(ORDER, quantity=21), short) is not None
    assert asked(limits, replace(ORDER, side=SELL, quantity=1), short) is not None


def test_what_is_being_sold_counts_on_the_other_side() -> None:
    limits = replace(OFF, position=10)
    selling = Exposure(position=2, buying=9, selling=7, open_orders=2)
    assert asked(limits, replace(ORDER, side=SELL, quantity=5), selling) is None
    assert asked(limits, replace(ORDER, side=SELL, quantity=6), selling) is not None


def test_the_price_may_be_so_far_from_the_mid_on_either_side() -> None:
    limits = replace(OFF, price_deviation_bps=100)
    assert asked(limits, replace(ORDER, price=101)) is None
    assert asked(limits, replace(ORDER, price=99)) is None
    breach = asked(limits, replace(ORDER, price=98))
    assert breach is not None
    assert (breach.value, breach.limit) == ("200", "100")


def test_a_market_order_has_no_price_to_deviate_and_is_worth_the_mid() -> None:
    order = OrderRequest(symbol="X", side=BUY, quantity=10, type=OrderType.MARKET)
    assert asked(replace(OFF, price_deviation_bps=0), order) is None
    assert asked(replace(OFF, order_value=1000 * ONE), order) is None
    assert asked(replace(OFF, order_value=1000 * ONE - 1), order) is not None


@pytest.mark.parametrize("name", [Check.NOTIONAL, Check.PRICE_DEVIATION])
def test_what_needs_a_mid_refuses_without_one(name: Check) -> None:
    breach = asked(replace(OFF, **{name: 10**30}), touch=BLIND)
    assert breach is not None
    assert breach.value == "unknown, without a best bid and ask"


def test_an_inverse_contract_has_no_value_at_a_mid_of_nothing() -> None:
    inverse = replace(X, type=InstrumentType.INVERSE_PERPETUAL)
    risk = Risk(replace(OFF, notional=10**60), inverse)
    breach = risk.check(ORDER, FLAT, Touch(bid=-1, ask=1, updated_ns=0), 0)
    assert breach is not None
    assert breach.value == "unknown, without a best bid and ask"


def test_stale_data_refuses_and_a_part_of_a_millisecond_counts() -> None:
    limits = replace(OFF, stale_ms=5)
    assert asked(limits, now_ns=5_000_000) is None
    breach = asked(limits, now_ns=5_000_001)
    assert breach is not None
    assert breach.value == "6"


def test_the_daily_loss_starts_anew_at_midnight_and_the_drawdown_does_not() -> None:
    day = 86_400 * 10**9
    risk = Risk(replace(OFF, daily_loss=10 * ONE, drawdown=15 * ONE), X)
    risk.mark(5 * ONE, day)
    risk.mark(-8 * ONE, day + 1)
    assert (risk.lost_today, risk.drawdown) == (8 * ONE, 13 * ONE)
    risk.mark(-12 * ONE, 2 * day)
    assert (risk.lost_today, risk.drawdown) == (4 * ONE, 17 * ONE)
    assert [each.check for each in risk.check_now(SHOWN, 0)] == [Check.DRAWDOWN]


def test_a_restart_allows_no_new_loss() -> None:
    risk = Risk(replace(OFF, daily_loss=10), X)
    risk.mark(50, 0)
    risk.mark(-8, 1)
    again = Risk(replace(OFF, daily_loss=10), X, risk.export())
    again.mark(-12, 2)
    assert (again.lost_today, again.drawdown) == (12, 62)


def test_the_checks_come_in_their_order() -> None:
    nothing = replace(
        OFF,
        order_quantity=1,
        order_value=0,
        position=1,
        notional=0,
        orders_per_second=0,
        open_orders=0,
        price_deviation_bps=0,
        daily_loss=0,
        drawdown=0,
        stale_ms=0,
    )
    seen = []
    order = replace(ORDER, price=50)
    for check in Check:
        risk = Risk(nothing, X)
        risk.mark(-ONE, 0)
        breach = risk.check(order, FLAT, SHOWN, 10**9)
        assert breach is not None
        seen.append(breach.check)
        nothing = replace(nothing, **{check: None})
    assert seen == list(Check)


def test_a_refused_order_takes_no_token() -> None:
    risk = Risk(replace(OFF, orders_per_second=1, open_orders=1), X)
    busy = replace(FLAT, open_orders=1)
    for _ in range(5):
        breach = risk.check(ORDER, busy, SHOWN, 0)
        assert breach is not None
        assert breach.check is Check.OPEN_ORDERS
    assert risk.check(ORDER, FLAT, SHOWN, 0) is None
    breach = risk.check(ORDER, FLAT, SHOWN, 0)
    assert breach is not None
    assert breach.check is Check.ORDERS_PER_SECOND


def test_the_bucket_fills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(2, 3)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(499_999_999)
    assert bucket.take(500_000_000)
    assert not bucket.take(500_000_000)
    assert [bucket.take(10**12) for _ in range(4)] == [True, True, True, False]


def test_the_bucket_tells_when_a_token_will_be_there() -> None:
    bucket = TokenBucket(3, 1)
    assert bucket.ready_ns(5) == 5
    assert bucket.take(5)
    ready_ns = bucket.ready_ns(5)
    assert ready_ns == 5 + 333_333_334
    assert not bucket.take(ready_ns - 1)
    assert bucket.take(ready_ns)
    assert TokenBucket(0, 5).ready_ns(1) is TokenBucket(5, 0).ready_ns(1) is None


def test_a_bucket_gains_nothing_when_time_goes_back() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(10**9)
    assert not bucket.take(0)
    assert not bucket.take(10**9 + 1)


@pytest.mark.parametrize("value", [-1, 1.5, True, "7", float("nan")])
def test_a_limit_that_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(LimitsError, match="position is"):
        replace(OFF, position=value)


def test_limits_below_the_lot_are_refused() -> None:
    for name in (Check.ORDER_QUANTITY, Check.POSITION):
        with pytest.raises(LimitsError, match=f"{name} is 9, below the smallest order of X, 10"):
            Risk(replace(OFF, **{name: 9}), replace(X, lot=10))


def test_a_limit_that_is_off_cannot_kill() -> None:
    with pytest.raises(LimitsError, match="drawdown is none, so it cannot pull the kill switch"):
        replace(OFF, kills=frozenset({Check.DRAWDOWN}))


def test_a_burst_needs_a_rate() -> None:
    with pytest.raises(LimitsError, match="order_burst is 5 without orders_per_second"):
        replace(OFF, order_burst=5)
