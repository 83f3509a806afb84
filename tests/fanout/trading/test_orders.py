"""The table of states: every way an order goes, and every way that it may not."""

import pytest

from fanout.trading.errors import LimitsError, TransitionError
from fanout.trading.exchange.own_order import OwnOrder
from fanout.trading.orders import (
    TRANSITIONS,
    Latencies,
    OrderEvent,
    OrderRequest,
    OrderState,
    OrderType,
    after,
)
from tests.fanout.trading.world import BUY, CONSERVATIVE


def test_a_state_that_is_over_has_no_way_out() -> None:
    for state, _ in TRANSITIONS:
        assert not state.is_over


def test_every_state_can_be_reached_and_every_event_can_happen() -> None:
    assert {*TRANSITIONS.values(), OrderState.NEW} == set(OrderState)
    assert {event for _, event in TRANSITIONS} == set(OrderEvent)


def test_an_event_that_the_table_does_not_have_names_order_state_and_event() -> None:
    with pytest.raises(TransitionError, match="order 7 is FILLED, so CANCEL cannot happen"):
        after(OrderState.FILLED, OrderEvent.CANCEL, 7)


def test_an_order_shows_its_states() -> None:
    request = OrderRequest(symbol="X", side=BUY, quantity=5, type=OrderType.MARKET)
    order = OwnOrder(3, request, 0)
    order.turn(CONSERVATIVE, OrderEvent.SEND, 0)
    assert repr(order) == "<OwnOrder 3 SENT/NEW BID 5>"


def test_a_latency_below_zero_is_refused() -> None:
    with pytest.raises(LimitsError, match="the cancel latency is -1 ns"):
        Latencies(acknowledge_ns=0, cancel_ns=-1)
