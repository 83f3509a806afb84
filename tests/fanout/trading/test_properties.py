"""Any sequence of orders, trades, books, gaps and losses: what has to hold after each of them."""

from collections import defaultdict
from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.outcomes import Disconnected
from fanout.protocol import BookFlags, FeedState, GapState, Side
from fanout.trading.desk import Desk
from fanout.trading.exchange.own_order import MODELS
from fanout.trading.exchange.queues import Model, Weight
from fanout.trading.kill import KillCause
from fanout.trading.money import money_of
from fanout.trading.orders import OrderType, TimeInForce
from fanout.trading.reports import Fill, KillReport, OrderReport, Report, Trust
from fanout.trading.strategies.basic import Basic
from tests.fanout.trading.test_desk import DeskWorld
from tests.fanout.trading.test_risk import OFF
from tests.fanout.trading.world import BUY, CONSERVATIVE, PROBABILISTIC, World, X

Step = Callable[[World], object]

PRICES = st.integers(96, 105)
QUANTITIES = st.integers(1, 30)
SIDES = st.sampled_from(Side)
LAGS = st.integers(0, 3)


def levels(side: Side) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Bids below the middle and asks above it, some of them removed."""
    prices = st.integers(96, 100) if side is BUY else st.integers(101, 105)
    pairs = st.lists(st.tuples(prices, st.integers(0, 40)), max_size=4, unique_by=lambda p: p[0])
    return pairs.map(lambda found: sorted(found, reverse=side is BUY))


BOOKS: st.SearchStrategy[Step] = st.builds(
    lambda bids, asks, lag: lambda world: world.book(bids, asks, time=world.ms + 1 - lag),
    levels(Side.BID),
    levels(Side.ASK),
    LAGS,
)
WHOLES: st.SearchStrategy[Step] = st.builds(
    lambda bids, asks, flags: lambda world: world.whole(bids, asks, flags=flags),
    levels(Side.BID),
    levels(Side.ASK),
    st.sampled_from([0, 0, BookFlags.TOP_ONLY, BookFlags.MORE]),
)
TRADES: st.SearchStrategy[Step] = st.builds(
    lambda price, quantity, side, lag, late: (
        lambda world: world.trade(price, quantity, side, time=world.ms + 1 - lag, back_filled=late)
    ),
    PRICES,
    QUANTITIES,
    SIDES,
    LAGS,
    st.sampled_from([False, False, False, True]),
)
FAULTS: st.SearchStrategy[Step] = st.sampled_from(
    [
        lambda world: world.lose(),
        lambda world: world.gap(1, 9, GapState.OPEN),
        lambda world: world.gap(1, 9, GapState.BACK_FILLED),
        lambda world: world.gap(1, 9, GapState.UNRECOVERABLE),
        lambda world: world.status(FeedState.STALE),
        lambda world: world.status(FeedState.LIVE),
    ]
)
TIME: st.SearchStrategy[Step] = st.integers(1, 9).map(lambda ms: lambda world: world.pass_time(ms))
STREAM = st.one_of(BOOKS, BOOKS, TRADES, TRADES, WHOLES, FAULTS, TIME)

ORDERS: st.SearchStrategy[Step] = st.builds(
    lambda side, price, quantity, kind, force: (
        lambda world: world.send(
            side, None if kind is OrderType.MARKET else price, quantity, kind, force
        )
    ),
    SIDES,
    PRICES,
    QUANTITIES,
    st.sampled_from([*OrderType, OrderType.POST_ONLY]),
    st.sampled_from([*TimeInForce, TimeInForce.GTC, TimeInForce.GTC]),
)
CANCELS: st.SearchStrategy[Step] = st.integers(0, 20).map(
    lambda number: (
        lambda world: [
            world.cancel(each.order_id) for each in world.exchange.orders("X")[number : number + 1]
        ]
    )
)
WORLDS = st.builds(
    lambda ack, cancel, weight, lead: World(
        acknowledge_ms=ack,
        cancel_ms=cancel,
        weight=weight,
        lead=lead,
        maker_fee=-1_234,
        taker_fee=56_789,
    ),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(Weight),
    st.sampled_from(Model),
)
STEPS = st.lists(st.one_of(STREAM, STREAM, ORDERS, CANCELS), max_size=40)


def check_quantities(world: World) -> None:
    """What was filled and what is left of an order are what was sent, and the position is the sum
    of the fills."""
    left: dict[tuple[int, Model], int] = {}
    filled: dict[tuple[int, Model], int] = defaultdict(int)
    held: dict[Model, int] = defaultdict(int)
    sent: dict[int, int] = {}
    for each in world.said:
        if isinstance(each, Fill):
            filled[each.order_id, each.model] += each.quantity
            held[each.model] += each.quantity if each.side is BUY else -each.quantity
            assert each.position == held[each.model]
        if isinstance(each, Fill | OrderReport):
            left[each.order_id, each.model] = each.remaining
        if isinstance(each, OrderReport):
            sent[each.order_id] = each.quantity
    for (order_id, model), remaining in left.items():
        assert remaining >= 0
        assert filled[order_id, model] + remaining == sent[order_id]
    for model in MODELS:
        assert world.held(model) == held[model]


def check_volumes(world: World, volumes: dict[int, int]) -> None:
    """A model gets no more from a trade than its volume, and always at its own limit."""
    spent: dict[tuple[Model, int], int] = defaultdict(int)
    limits = {each.order_id: each.price for each in world.said if isinstance(each, OrderReport)}
    for each in world.said:
        if isinstance(each, Fill):
            limit = limits[each.order_id]
            if each.trade_id is not None:
                assert each.price == limit
                spent[each.model, each.trade_id] += each.quantity
            elif limit is not None:
                assert each.price <= limit if each.side is BUY else each.price >= limit
    for (_, trade_id), quantity in spent.items():
        assert quantity <= volumes[trade_id]


def check_money(world: World) -> None:
    """Profit is what the fills paid and what the position is worth, to the last digit."""
    money, mark = money_of(X), 100
    for model in MODELS:
        held = world.exchange.position("X", model)
        if held is None:
            continue
        fills = [each for each in world.said if isinstance(each, Fill) and each.model is model]
        paid = sum(
            [money.worth(f.price, -f.quantity if f.side is BUY else f.quantity) for f in fills]
        )
        assert held.realised + held.unrealised(mark) == paid + money.worth(mark, held.quantity)
        fees = [money.fee(f.price, f.quantity, -1_234 if f.is_maker else 56_789) for f in fills]
        assert held.fees == sum(fees)


def check_frozen(world: World) -> None:
    """Nothing is filled between a freeze and its end."""
    is_frozen = True
    for each in world.said:
        if isinstance(each, Trust):
            assert each.is_frozen or is_frozen
            is_frozen = each.is_frozen
        assert not (isinstance(each, Fill) and is_frozen)


def check_queues(world: World) -> None:
    """What can be filled stands in the queues, and the fronts are possible ones."""
    open_now = {each.order_id for each in world.exchange.orders("X")}
    assert set(world.exchange.open_orders()) == open_now
    for order in world.exchange.orders("X"):
        assert not order.states[world.exchange.settings.lead].is_over
        for model in MODELS:
            front = world.front(order.order_id, model)
            assert front is None or front >= 0


@settings(max_examples=150, deadline=None)
@given(WORLDS, STEPS)
def test_quantity_and_money_are_conserved_and_fills_never_exceed_trades(
    world: World, steps: list[Step]
) -> None:
    volumes: dict[int, int] = {}
    take = world.exchange.take

    def noting(record: object) -> list[Report]:
        if hasattr(record, "trade_id"):
            volumes[record.trade_id] = record.quantity  # type: ignore[attr-defined]
        return take(record)  # type: ignore[arg-type]

    world.exchange.take = noting  # type: ignore[method-assign]
    for step in steps:
        step(world)
        check_queues(world)
    world.pass_time(50)
    check_quantities(world)
    check_volumes(world, volumes)
    check_money(world)
    check_frozen(world)


def told(steps: list[Step], weight: Weight) -> bytes:
    world = World(acknowledge_ms=2, cancel_ms=1, weight=weight)
    for step in steps:
        step(world)
    return msgspec.json.encode([*world.said, *world.exchange.position_reports("X")])


@settings(max_examples=50, deadline=None)
@given(STEPS, st.sampled_from(Weight))
def test_the_same_input_gives_the_same_bytes(steps: list[Step], weight: Weight) -> None:
    assert told(steps, weight) == told(steps, weight)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Weight), st.lists(st.one_of(BOOKS, TRADES, TIME), max_size=40))
def test_a_lone_order_is_filled_no_later_in_the_probabilistic_model(
    weight: Weight, steps: list[Step]
) -> None:
    world = World(weight=weight)
    order = world.place(BUY, 99, 30)
    for step in steps:
        step(world)
        conservative, probabilistic = world.held(CONSERVATIVE), world.held(PROBABILISTIC)
        assert probabilistic >= conservative
        front, other = world.front(order), world.front(order, PROBABILISTIC)
        assert front is None or other is None or other <= front


BASIC = Basic(
    spread_bps=200, min_spread=1, max_spread=5, skew_bps=100, quantity=9, position_limit=50
)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sampled_from(Model),
    st.lists(STREAM, max_size=40),
)
def test_no_model_ever_exceeds_its_limits_with_working_orders_included(
    limit: int, most: int, latency: int, lead: Model, steps: list[Step]
) -> None:
    limits = replace(OFF, position=limit, open_orders=most, orders_per_second=100)
    world = DeskWorld(BASIC, limits=limits, lead=lead, acknowledge_ms=latency, cancel_ms=latency)
    for step in steps:
        step(world)
        assert len(world.exchange.open_orders()) <= most
        for model in MODELS:
            held = world.held(model)
            assert held + world.exchange.working("X", model, Side.BID) <= limit
            assert held - world.exchange.working("X", model, Side.ASK) >= -limit


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5), st.lists(STREAM, max_size=30), st.lists(STREAM, max_size=30))
def test_after_the_kill_switch_no_order_is_sent_and_none_stays_open(
    latency: int, before: list[Step], later: list[Step]
) -> None:
    world = DeskWorld(BASIC, acknowledge_ms=latency, cancel_ms=latency)
    for step in before:
        step(world)
    assert isinstance(world.desk, Desk)
    world.said += world.desk.pull(KillCause.COMMAND, "at random")
    last_id = world.send(BUY, 99, 0)  # refused, it only tells the newest number
    for step in later:
        step(world)
    world.pass_time(20)
    world.take(Disconnected(why="the end", pause_s=1.0))
    assert world.exchange.open_orders() == ()
    assert world.send(BUY, 99, 0) == last_id + 1
    assert [each.state for each in world.of(KillReport)][-1] == "latched"
