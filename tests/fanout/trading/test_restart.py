"""A run that is cut off anywhere goes on with the same money, and never with a better place."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.trading.exchange.own_order import MODELS
from fanout.trading.orders import OrderEvent, OrderType
from fanout.trading.position import Position
from fanout.trading.reports import Fill, OrderReport, Report
from tests.fanout.trading.test_properties import STEPS, WORLDS, Step
from tests.fanout.trading.world import BUY, CONSERVATIVE, PROBABILISTIC, World, X


def again(said: list[Report]) -> World:
    """A new run that goes on after these reports, as they were read from a file."""
    read = msgspec.json.decode(msgspec.json.encode(said), type=list[Report])
    assert read == said
    world = World()
    world.exchange = type(world.exchange)(world.exchange.settings, ["X"])
    world.said = [*read, *world.exchange.restore(X, read)]
    return world


def test_an_open_order_works_again_behind_all_that_is_displayed() -> None:
    old = World(bids=[(100, 10)])
    order = old.place(BUY, 100, 5)
    old.trade(100, 12)
    world = again(old.said)
    assert world.held() == 2
    assert world.front(order) is None
    world.ms = old.ms
    world.whole([(100, 7)], [(101, 1)])
    assert world.front(order) == world.front(order, PROBABILISTIC) == 7
    world.trade(100, 30)
    assert world.fills() == [(order, 100, 2), (order, 100, 3)]


def test_what_was_on_its_way_ends_with_its_reason() -> None:
    old = World(acknowledge_ms=5, cancel_ms=5)
    leaving = old.send(BUY, 99, 5)
    old.pass_time(9)
    old.cancel(leaving)
    arriving = old.send(BUY, 98, 5)
    world = again(old.said)
    assert world.why(leaving) == "the run ended before it was cancelled"
    assert world.why(arriving) == "the run ended before it was acknowledged"
    assert world.exchange.open_orders() == ()
    assert world.send(BUY, 97, 5) == arriving + 1


def test_a_model_whose_report_was_cut_off_never_had_the_order() -> None:
    old = World()
    order = old.place(BUY, 100, 5)
    lead = [each for each in old.history(order) if isinstance(each, OrderReport)]
    world = again(list(lead))
    assert world.states(order, PROBABILISTIC) == ["REFUSED"]
    assert world.exchange.open_orders() == (order,)


def test_an_order_that_may_not_rest_does_not_after_a_restart() -> None:
    old = World(asks=[(101, 3)])
    order = old.place(BUY, None, 10, OrderType.MARKET)
    cut = [each for each in old.said if getattr(each, "event", None) is not OrderEvent.EXPIRE]
    world = again(cut)
    assert world.why(order) == "the run ended before it was taken whole"
    assert world.held() == 3


def test_a_book_in_other_units_than_the_positions_freezes_fills() -> None:
    old = World()
    old.place(BUY, 100, 5)
    world = again(old.said)
    world.instrument = msgspec.structs.replace(X, quantity_exponent=-3)
    world.ms = old.ms
    world.whole([(100, 10)], [(101, 10)])
    assert world.exchange.frozen_why("X").startswith("the units of X have changed")


def money_of_run(position: Position | None) -> tuple[int, ...]:
    if position is None:
        return (0,) * 6
    figures = position.realised, position.fees, position.bought, position.sold
    return (*figures, position.quantity, position.unrealised(97))


@settings(max_examples=60, deadline=None)
@given(WORLDS, STEPS)
def test_positions_come_back_to_the_last_digit(old: World, steps: list[Step]) -> None:
    for step in steps:
        step(old)
    world = again(old.said)
    for model in MODELS:
        before = old.exchange.position("X", model)
        assert money_of_run(world.exchange.position("X", model)) == money_of_run(before)
    open_before = set(old.exchange.open_orders())
    assert set(world.exchange.open_orders()) <= open_before
    for order in world.exchange.orders("X"):
        was = old.exchange.order(order.order_id)
        assert was is not None
        assert order.remaining == was.remaining


@settings(max_examples=60, deadline=None)
@given(WORLDS, STEPS, st.integers(0, 200), STEPS)
def test_a_run_that_is_cut_off_anywhere_can_go_on(
    old: World, steps: list[Step], cut: int, later: list[Step]
) -> None:
    for step in steps:
        step(old)
    world = again(old.said[:cut])
    world.ms = old.ms
    world.whole([(100, 10)], [(101, 10)])
    for step in later:
        step(world)
    held = sum(
        each.quantity if each.side is BUY else -each.quantity
        for each in world.said
        if isinstance(each, Fill) and each.model is CONSERVATIVE
    )
    assert world.held() == held
