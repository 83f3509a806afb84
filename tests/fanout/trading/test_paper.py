"""The paper exchange: the queue, what fills, and what freezes."""

import msgspec
import pytest

from fanout.clients.outcomes import Disconnected, Restarted, UnknownSymbolError
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    End,
    EndReason,
    FeedState,
    GapState,
    OrderUpdate,
    Position,
    Quote,
    Status,
    TradeKind,
    pack_orders,
)
from fanout.trading.errors import LimitsError, UnknownOrderError
from fanout.trading.exchange.trust import FeedTrust
from fanout.trading.orders import OrderRequest, OrderType, TimeInForce
from fanout.trading.reports import OrderReport, Trust
from tests.fanout.trading.world import BUY, CONSERVATIVE, MS, PROBABILISTIC, SELL, World, X

POST_ONLY, MARKET, LIMIT = OrderType.POST_ONLY, OrderType.MARKET, OrderType.LIMIT
IOC, FOK, GTC = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC

BOTH = pytest.mark.parametrize("model", [CONSERVATIVE, PROBABILISTIC])


def test_trades_and_the_level_move_the_front_and_a_trade_through_fills_the_rest() -> None:
    world = World(bids=[(1000, 10)], asks=[(1010, 10)])
    order = world.place(BUY, 1000, 5)
    assert world.front(order) == 10
    world.trade(1000, 4)
    assert world.front(order) == 6
    world.book([(1000, 6)])
    assert world.front(order) == 6
    world.book([(1000, 3)])
    assert world.front(order) == 3
    world.trade(1000, 5)
    assert world.fills() == [(order, 1000, 2)]
    world.trade(999, 3)
    assert world.fills() == [(order, 1000, 2), (order, 1000, 3)]
    assert world.states(order) == ["SENT", "OPEN", "OPEN", "FILLED"]


def test_a_trade_through_the_price_fills_no_more_than_its_volume() -> None:
    """The worked example does not say how much is traded at 99.9. An aggressor that reaches through
    the price would have met our order first, with all that it had: so much is filled, and no more.
    """
    world = World(bids=[(1000, 10)], asks=[(1010, 10)])
    order = world.place(BUY, 1000, 5)
    world.trade(999, 1)
    assert world.fills() == [(order, 1000, 1)]
    assert world.front(order) == 0  # nobody is in front where trades are through
    world.trade(999, 100)
    assert world.fills() == [(order, 1000, 1), (order, 1000, 4)]


def test_two_own_orders_share_the_volume_of_a_trade() -> None:
    world = World(bids=[(100, 10)])
    first, second = world.place(BUY, 100, 5), world.place(BUY, 100, 5)
    assert (world.front(first), world.front(second)) == (10, 15)
    world.trade(100, 14)
    assert world.fills() == [(first, 100, 4)]
    assert world.front(second) == 1
    world.trade(100, 3)
    assert world.fills() == [(first, 100, 4), (first, 100, 1), (second, 100, 2)]


def test_a_trade_through_several_own_prices_is_spent_from_the_best_one_on() -> None:
    world = World(bids=[(100, 10), (99, 10), (98, 10)])
    worse, better = world.place(BUY, 99, 5), world.place(BUY, 100, 5)
    world.trade(98, 7)
    assert world.fills() == [(better, 100, 5), (worse, 99, 2)]


def test_both_models_fill_the_same_order_and_each_has_its_own_position() -> None:
    world = World(bids=[(100, 100)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 150)])  # 50 more behind
    world.book([(100, 75)])
    assert (world.front(order), world.front(order, PROBABILISTIC)) == (75, 50)
    world.trade(100, 52)
    assert (world.held(), world.held(PROBABILISTIC)) == (0, 2)
    assert [each.quantity for each in world.exchange.position_reports("X")] == [0, 2]


@BOTH
def test_a_touch_is_no_fill_and_a_small_trade_fills_no_more_than_itself(model: int) -> None:
    """hummingbot #4877 and the like: the whole order was filled when the price touched it."""
    world = World(bids=[(100, 10)])
    world.place(BUY, 100, 50)
    world.trade(100, 10)
    world.book([(100, 0)], [(100, 7)])  # the ask touches the price
    assert world.fills(PROBABILISTIC if model else CONSERVATIVE) == []
    world.trade(100, 1)
    assert [each[2] for each in world.fills(PROBABILISTIC if model else CONSERVATIVE)] == [1]


def test_a_taker_gets_the_prices_and_the_quantities_of_the_book_once() -> None:
    """hummingbot #4877: a limit that crosses was filled whole and at its limit, and the rest would
    be filled again from the ask that a paper order cannot remove."""
    world = World(asks=[(101, 3), (102, 4)])
    first = world.place(BUY, 102, 10)
    assert world.fills() == [(first, 101, 3), (first, 102, 4)]
    world.book([(99, 11)])
    second = world.place(BUY, 102, 2, LIMIT, IOC)
    assert world.fills() == [(first, 101, 3), (first, 102, 4)]
    assert world.states(second)[-1] == "EXPIRED"


def test_a_fill_is_applied_once_to_an_order() -> None:
    """nautilus_trader #1639: fills were applied again and again to one limit order, beyond its
    quantity."""
    world = World(bids=[(100, 0), (99, 1)])
    order = world.place(BUY, 100, 5)
    for _ in range(10):
        world.trade(100, 2)
    assert [each[2] for each in world.fills()] == [2, 2, 1]
    assert world.held() == 5
    assert world.exchange.order(order) is None


@BOTH
def test_one_trade_never_fills_two_orders_with_the_same_volume(model: int) -> None:
    """nautilus_trader #2564: each order at the price was filled with the whole trade."""
    world = World(bids=[(99, 1)])
    for price in (100, 100, 99):
        world.place(BUY, price, 5)
    world.trade(98, 6)
    fills = world.fills(PROBABILISTIC if model else CONSERVATIVE)
    assert sum(quantity for _, _, quantity in fills) == 6


def test_data_older_than_the_acknowledgement_fills_nothing() -> None:
    """Lean #2547: orders were filled from data that was older than they."""
    world = World(bids=[(99, 1)], acknowledge_ms=10)
    old = world.ms
    order = world.send(BUY, 100, 5)
    world.trade(100, 5)  # received before the acknowledgement
    world.pass_time(20)
    assert world.states(order) == ["SENT", "OPEN"]
    world.trade(100, 5, time=old)  # executed before it
    world.trade(100, 5, back_filled=True)
    world.trade(100, 5, received_ms=old + 10)  # received as it was acknowledged
    assert world.fills() == []
    world.trade(100, 5)
    assert world.held() == 5


def test_a_partial_fill_is_in_the_position_at_once() -> None:
    """hftbacktest #316: a partial fill of a resting order changed neither position nor balance."""
    world = World(bids=[(99, 1)], maker_fee=1_000_000)
    order = world.place(BUY, 100, 5)
    world.trade(100, 2)
    (report, _) = world.exchange.position_reports("X")
    assert (report.quantity, report.bought, report.fees) == (2, 2, "2")
    world.cancel(order)
    world.pass_time()
    (report, _) = world.exchange.position_reports("X")
    assert (report.quantity, report.bought, report.fees) == (2, 2, "2")


def test_a_trade_and_the_update_that_shows_it_count_once_whichever_comes_first() -> None:
    """100 displayed, an own order behind 60 of it, a trade of 20."""

    def fronts(*, book_first: bool) -> list[int | None]:
        world = World(bids=[(100, 60)])
        order = world.place(BUY, 100, 5)
        world.book([(100, 100)])
        now = world.ms + 10
        steps = [
            lambda: world.book([(100, 80)], time=now),
            lambda: world.trade(100, 20, time=now),
        ]
        for step in steps if book_first else steps[::-1]:
            step()
        return [world.front(order, model) for model in (CONSERVATIVE, PROBABILISTIC)]

    assert fronts(book_first=False) == [40, 40]
    assert fronts(book_first=True) == [40, 40]


def test_a_trade_beyond_the_level_fills_though_the_book_showed_it_first() -> None:
    world = World(bids=[(100, 10), (99, 5)])
    order = world.place(BUY, 100, 5)
    now = world.ms + 10
    world.book([(100, 0)], time=now)
    world.trade(100, 14, time=now)
    assert world.fills() == [(order, 100, 4)]


def test_credits_of_a_book_that_is_older_than_the_trade_are_void() -> None:
    world = World(bids=[(100, 10)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 3)])  # seven were cancelled
    world.trade(100, 4)
    assert world.fills() == [(order, 100, 1)]


def test_a_book_without_a_time_may_show_the_trade_already() -> None:
    """Snapshots have none at some venues. The front moves once, whatever was in the book."""
    world = World(bids=[(100, 100)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 60)], time=0)
    world.trade(100, 40)
    assert world.front(order) == world.front(order, PROBABILISTIC) == 60


def test_a_book_that_is_older_than_the_trade_does_not_explain_it() -> None:
    world = World(bids=[(100, 100)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 200)])
    then = world.ms
    world.trade(100, 50, time=then + 50)
    assert world.front(order, PROBABILISTIC) == 50
    world.book([(100, 160)], time=then + 20)  # cancels: a quarter of them was in front
    assert world.front(order, PROBABILISTIC) == 40
    world.book([(100, 110)], time=then + 60)  # the trade
    assert world.front(order, PROBABILISTIC) == 40


def test_a_trade_at_the_very_time_of_the_book_explains_the_next_decrease() -> None:
    """It may have been in that book or not; the front moves once."""
    world = World(bids=[(100, 100)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 200)])
    world.trade(100, 50, time=world.ms)
    world.book([(100, 150)])
    assert world.front(order, PROBABILISTIC) == 50


def test_a_whole_book_without_the_level_leaves_nothing_in_front() -> None:
    world = World(bids=[(100, 10)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 9)])
    world.whole([(99, 1)], [(101, 1)])
    assert world.front(order) == 0


def test_a_book_in_other_units_freezes_fills_for_good() -> None:
    world = World(bids=[(100, 10)])
    order = world.place(BUY, 100, 5)
    world.instrument = msgspec.structs.replace(X, price_exponent=-1)
    world.book([(100, 0)])
    assert world.front(order) == 10
    world.whole([(1000, 3)], [(1010, 3)])
    why = "the units of X have changed: start a new run"
    assert world.exchange.frozen_why("X") == why
    refused = world.place(BUY, 100, 5)
    assert world.why(refused) == why
    world.trade(99, 50)
    assert world.fills() == []


def test_a_trade_in_other_units_freezes_fills_before_the_book_does() -> None:
    """Its price is ten times as high only in digits."""
    world = World()
    order = world.place(SELL, 101, 5)
    world.instrument = msgspec.structs.replace(X, price_exponent=-1)
    world.trade(1005, 50, BUY)
    assert world.fills() == []
    assert world.exchange.frozen_why("X") == "the units of X have changed: start a new run"
    world.instrument = X
    world.book([(99, 11)])
    world.trade(110, 50, BUY)
    assert world.fills() == []
    assert world.exchange.order(order) is not None


@pytest.mark.parametrize("kind", [TradeKind.RPI, TradeKind.INSURANCE_FUND, TradeKind.ADL])
def test_trades_that_take_from_no_displayed_order_fill_nothing(kind: TradeKind) -> None:
    world = World(bids=[(99, 1)])
    world.place(BUY, 100, 5)
    world.trade(100, 50, kind=kind)
    assert world.fills() == world.fills(PROBABILISTIC) == []


def test_only_the_opposite_aggressor_fills() -> None:
    world = World(bids=[(99, 1)], asks=[(102, 1)])
    buy, sell = world.place(BUY, 100, 5), world.place(SELL, 101, 5)
    world.trade(100, 5, BUY)
    world.trade(101, 5, SELL)
    assert world.fills() == []
    world.trade(101, 2, BUY)
    world.trade(100, 1, SELL)
    assert world.fills() == [(sell, 101, 2), (buy, 100, 1)]


def test_post_only_that_would_take_is_refused() -> None:
    world = World()
    order = world.place(BUY, 101, 5, POST_ONLY)
    assert world.states(order) == ["SENT", "REFUSED"]
    assert world.why(order) == "post-only would take at 101"
    assert world.exchange.open_orders() == ()


def test_post_only_does_not_rest_against_what_we_took_ourselves() -> None:
    world = World(asks=[(101, 3)])
    world.place(BUY, 101, 3)
    order = world.place(BUY, 101, 5, POST_ONLY)
    assert world.why(order) == "post-only would take at 101"


def test_post_only_that_rests_is_open() -> None:
    world = World()
    assert world.states(world.place(SELL, 101, 5, POST_ONLY)) == ["SENT", "OPEN"]


def test_a_limit_takes_what_it_can_and_rests_with_what_is_left() -> None:
    world = World(asks=[(101, 3), (103, 9)], maker_fee=0, taker_fee=10_000_000)
    order = world.place(BUY, 102, 5)
    assert world.fills() == [(order, 101, 3)]
    assert world.front(order) == 0
    world.trade(102, 2)
    assert world.fills() == [(order, 101, 3), (order, 102, 2)]
    assert world.exchange.position_reports("X")[0].fees == "30.3"


def test_a_market_order_takes_what_there_is_and_its_rest_expires() -> None:
    world = World(asks=[(101, 3), (105, 4)])
    order = world.place(BUY, None, 10, MARKET)
    assert world.fills() == [(order, 101, 3), (order, 105, 4)]
    assert world.states(order) == ["SENT", "OPEN", "OPEN", "OPEN", "EXPIRED"]
    assert world.why(order) == "3 of 10 could not be taken at once"


def test_fill_or_kill_takes_all_or_nothing() -> None:
    world = World(asks=[(101, 3), (102, 4)])
    short, whole = world.place(BUY, 102, 8, LIMIT, FOK), world.place(BUY, 102, 7, LIMIT, FOK)
    assert world.states(short) == ["SENT", "OPEN", "EXPIRED"]
    assert world.states(whole)[-1] == "FILLED"
    assert world.held() == 7


def test_an_order_may_not_trade_with_our_own() -> None:
    world = World(bids=[(98, 1)], asks=[(105, 1)])
    world.place(BUY, 100, 5)
    order = world.place(SELL, 99, 5)
    assert world.why(order) == "it would trade with our own order at 100"
    ioc = world.place(SELL, 97, 1, LIMIT, IOC)
    assert world.why(ioc) == "it would trade with our own order at 100"


@pytest.mark.parametrize(
    ("quantity", "price", "how", "why"),
    [
        (0, 100, (), "the quantity is 0; it has to be above 0"),
        (5, 0, (), "the price is 0; a limit has to be above 0"),
        (5, None, (), "the price is None; a limit has to be above 0"),
        (5, 100, (MARKET,), "a market order has a price, 100"),
        (5, 100, (POST_ONLY, IOC), "post-only rests, and IOC does not"),
        (3, 100, (), "the quantity 3 is no multiple of the lot, 5"),
        (5, 101, (), "the price 101 is no multiple of the tick, 2"),
        (5, 2**63, (), f"5 at {2**63} exceed 64 bits, {2**63 - 1:,}"),
        (2**63, None, (MARKET,), f"{2**63} at None exceed 64 bits, {2**63 - 1:,}"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_the_reason(
    quantity: int, price: int | None, how: tuple[object, ...], why: str
) -> None:
    world = World(msgspec.structs.replace(X, tick=2, lot=5))
    order = world.send(BUY, price, quantity, *how)  # type: ignore[arg-type]
    assert world.states(order) == ["REFUSED"]
    assert world.why(order) == why
    assert world.exchange.open_orders() == ()


def test_reasons_are_in_decimals() -> None:
    cents = msgspec.structs.replace(X, price_exponent=-2, quantity_exponent=-3, lot=10, tick=5)
    world = World(cents, bids=[(995, 9)], asks=[(1000, 30)])
    orders = [
        world.place(BUY, 1000, 15),
        world.place(BUY, 1001, 10),
        world.place(BUY, 1000, 10, POST_ONLY),
        world.place(BUY, None, 50, MARKET),
        world.place(BUY, 995, 10),
        world.place(SELL, 995, 10),
    ]
    assert [world.why(each) for each in orders] == [
        "the quantity 0.015 is no multiple of the lot, 0.010",
        "the price 10.01 is no multiple of the tick, 0.05",
        "post-only would take at 10.00",
        "0.020 of 0.050 could not be taken at once",
        "",
        "it would trade with our own order at 9.95",
    ]


def test_an_order_is_acknowledged_after_its_latency_and_cancelled_after_another() -> None:
    world = World(acknowledge_ms=5, cancel_ms=3)
    order = world.send(BUY, 100, 5)
    world.pass_time(5)
    assert world.states(order) == ["SENT"]
    world.pass_time(1)
    assert world.states(order) == ["SENT", "OPEN"]
    world.cancel(order)
    world.trade(100, 12)  # it can still be filled
    world.pass_time(5)
    assert world.states(order) == ["SENT", "OPEN", "CANCELLING", "CANCELLING", "CANCELLED"]
    assert world.fills() == [(order, 100, 2)]


def test_a_cancel_that_overtakes_the_acknowledgement_waits_for_it() -> None:
    world = World(acknowledge_ms=10, cancel_ms=1)
    order = world.send(BUY, 100, 5)
    world.cancel(order)
    world.pass_time(20)
    assert world.states(order) == ["SENT", "CANCELLING", "CANCELLING", "CANCELLED"]
    assert world.exchange.open_orders() == ()


def test_a_cancel_comes_too_late_for_a_filled_order_and_twice_is_once() -> None:
    world = World(bids=[(99, 1)], cancel_ms=5)
    order = world.place(BUY, 100, 5)
    world.cancel(order)
    world.cancel(order)
    world.trade(100, 5)
    world.pass_time(9)
    assert world.states(order) == ["SENT", "OPEN", "CANCELLING", "FILLED"]
    assert world.exchange.cancel(order) == []


def test_a_number_that_no_order_had_is_a_mistake_of_the_caller() -> None:
    world = World()
    with pytest.raises(UnknownOrderError, match="there was never an order 7"):
        world.exchange.cancel(7)
    with pytest.raises(UnknownSymbolError, match="Y is not traded here: X"):
        world.exchange.position("Y", CONSERVATIVE)


def test_a_loss_freezes_fills_until_a_whole_book_comes() -> None:
    world = World(bids=[(100, 10)])
    order = world.place(BUY, 100, 5)
    assert world.lose() == [
        Trust(
            time_ns=world.exchange.now_ns,
            symbol="X",
            is_frozen=True,
            why="records 2 to 4 were lost (UNANNOUNCED)",
        )
    ]
    world.trade(99, 50)
    assert world.fills() == []
    assert world.front(order) == 10
    refused = world.place(BUY, 100, 5)
    assert world.why(refused) == "records 2 to 4 were lost (UNANNOUNCED)"
    (thaw,) = world.whole([(100, 4)], [(101, 5)])
    assert isinstance(thaw, Trust)
    assert not thaw.is_frozen
    assert world.front(order) == world.front(order, PROBABILISTIC) == 4


@pytest.mark.parametrize("state", [FeedState.STALE, FeedState.DOWN, FeedState.HALTED])
def test_a_feed_that_is_not_live_freezes_fills_until_it_is(state: FeedState) -> None:
    world = World(bids=[(99, 10)])
    world.place(BUY, 100, 5)
    (report,) = world.status(state)
    assert isinstance(report, Trust)
    assert report.why == f"the feed is {state.name}: a test"
    world.trade(100, 5)
    assert world.fills() == []
    world.status(FeedState.LIVE)
    if state is FeedState.DOWN:
        world.whole([(99, 10)], [(101, 1)])
        assert world.exchange.frozen_why("X")  # the symbol has to say that it is live
        return
    world.trade(100, 5)
    assert world.held() == 5


def test_missing_trades_freeze_fills_until_all_of_them_are_accounted_for() -> None:
    world = World(bids=[(99, 10)])
    world.place(BUY, 100, 5)
    world.gap(5, 9, GapState.OPEN)
    assert world.exchange.frozen_why("X") == "trades 5 to 9 are missing"
    world.gap(5, 6, GapState.BACK_FILLED)
    world.trade(100, 5)
    assert world.exchange.frozen_why("X") == "trades 7 to 9 are missing"
    world.gap(1, 2, GapState.NO_TRADE)
    world.gap(7, 9, GapState.UNRECOVERABLE)
    assert world.exchange.frozen_why("X") == ""
    assert world.fills() == []
    world.trade(100, 5)
    assert world.held() == 5


def test_after_a_loss_nothing_waits_for_the_end_of_a_gap() -> None:
    """Its end may be among what was lost."""
    world = World()
    world.gap(5, 9, GapState.OPEN)
    world.lose()
    world.whole([(99, 10)], [(101, 1)])
    assert world.exchange.frozen_why("X") == ""


def test_trades_that_are_lost_for_good_are_said_at_once() -> None:
    world = World()
    reports = world.gap(5, 9, GapState.UNRECOVERABLE)
    assert [each.is_frozen for each in reports if isinstance(each, Trust)] == [True, False]


def test_a_gap_that_closes_within_an_update_thaws_when_the_update_is_whole() -> None:
    world = World(bids=[(100, 10)])
    order = world.place(BUY, 100, 5)
    world.gap(5, 9, GapState.OPEN)
    world.book([(100, 8)], flags=BookFlags.MORE)
    world.gap(5, 9, GapState.NO_TRADE)
    assert world.exchange.frozen_why("X")
    assert world.front(order) == 10
    world.book([(99, 1)])
    assert world.exchange.frozen_why("X") == ""
    assert world.front(order) == 8


def test_a_lost_connection_freezes_until_it_is_certain_that_nothing_was_lost() -> None:
    world = World(bids=[(99, 10)])
    world.place(BUY, 100, 5)
    world.take(Disconnected(why="cut", pause_s=1.0))
    assert world.exchange.frozen_why("X") == "the connection was lost: cut"
    world.book([(98, 1)])
    assert world.exchange.frozen_why("X") == ""


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (
            End(reason=EndReason.SHUTDOWN, last_seq=1, retry_ms=None),
            "the service has ended the stream (SHUTDOWN)",
        ),
        (
            Restarted(before=Position(epoch_ns=1, seq=2), epoch_ns=2),
            "the service was restarted",
        ),
        (
            Status(seq=2, instrument=X, state=FeedState.HALTED, since_ns=1),
            "X is HALTED",
        ),
    ],
    ids=["end", "restart", "status"],
)
def test_a_freeze_says_why(record: object, why: str) -> None:
    world = World()
    world.take(record)
    assert world.exchange.frozen_why("X") == why


@pytest.mark.parametrize(
    "state", [FeedState.STALE, FeedState.LIVE, FeedState.DOWN], ids=lambda state: state.name
)
def test_what_happens_to_one_symbol_does_not_freeze_another_between_two_parts(
    state: FeedState,
) -> None:
    world = World(others=("Y",))
    y = msgspec.structs.replace(X, symbol="Y", index=1)
    world.book([(98, 1)], flags=BookFlags.MORE)
    assert world.take(Status(seq=2, instrument=y, state=state, since_ns=1)) == []
    world.take(BookUpdate(y, 9, world.ms, b"short", b"", seq=9, received_ns=world.ms * MS))
    assert world.exchange.frozen_why("X") == ""
    world.book([(97, 1)])
    assert world.exchange.frozen_why("X") == ""


def test_a_feed_that_is_live_again_does_not_freeze_between_two_parts() -> None:
    world = World()
    world.book([(98, 1)], flags=BookFlags.MORE)
    assert world.status(FeedState.LIVE) == []


def test_an_unknown_book_refuses_orders() -> None:
    world = World()
    world.lose()
    order = world.place(BUY, 100, 5)
    assert world.states(order) == ["SENT", "REFUSED"]


def test_a_price_beyond_the_levels_shown_has_an_unknown_front() -> None:
    world = World()
    world.whole([(100, 10), (99, 10)], [(101, 1)], flags=BookFlags.TOP_ONLY)
    order = world.place(BUY, 98, 5)
    assert world.front(order) is None
    world.trade(98, 100)
    assert world.fills() == []
    world.book([(100, 0), (99, 10), (98, 7)], flags=BookFlags.TOP_ONLY)
    assert world.front(order) == 7
    world.book([(100, 10), (99, 10)], flags=BookFlags.TOP_ONLY)
    assert world.front(order) == 7  # it is out of sight, not gone
    world.trade(97, 3)
    assert world.fills() == [(order, 98, 3)]


def test_a_book_that_is_cut_off_is_known_for_twenty_levels() -> None:
    """Beyond them a level may be missing though one further out is there (docs/clients.md)."""
    world = World()
    bids = [(1000 - each, 10) for each in range(0, 60, 2)]
    world.whole(bids, [(1001, 10)], flags=BookFlags.TOP_ONLY)
    near, far, seen = (world.place(BUY, price, 5) for price in (963, 961, 960))
    assert (world.front(near), world.front(far), world.front(seen)) == (0, None, 10)
    world.trade(961, 50)
    assert world.fills() == [(near, 963, 5)]
    world.book([(price, 0) for price, _ in bids[:2]])
    assert world.front(far) == 0


def test_what_was_taken_stays_taken_while_its_level_is_out_of_sight() -> None:
    world = World(asks=[(101, 5)])
    world.whole([(99, 1)], [(101, 5)], flags=BookFlags.TOP_ONLY)
    world.place(BUY, 101, 5, LIMIT, IOC)
    world.book([], [(100, 1)], flags=BookFlags.TOP_ONLY)
    world.place(BUY, 101, 1, LIMIT, IOC)
    world.book([], [(100, 0), (101, 5)], flags=BookFlags.TOP_ONLY)
    world.place(BUY, 101, 9, LIMIT, IOC)
    assert world.fills() == [(1, 101, 5), (2, 100, 1)]


def test_an_order_that_the_lead_has_filled_ends_in_the_other_model_too() -> None:
    world = World(bids=[(100, 100)], lead=PROBABILISTIC)
    order = world.place(BUY, 100, 5)
    world.book([(100, 200)])
    world.book([(100, 100)])
    world.trade(100, 55)
    assert world.states(order, PROBABILISTIC)[-1] == "FILLED"
    assert world.states(order)[-1] == "CANCELLED"
    assert world.why(order) == "it is FILLED in the PROBABILISTIC model"
    assert world.exchange.open_orders() == ()


def test_an_order_that_is_refused_in_one_model_works_in_the_other() -> None:
    world = World(bids=[(99, 1)])

    request = OrderRequest(symbol="X", side=BUY, price=100, quantity=5)
    order, reports = world.exchange.submit(request, refused={PROBABILISTIC: "its limit"})
    assert [each.state.name for each in reports if isinstance(each, OrderReport)] == [
        "SENT",
        "REFUSED",
    ]
    world.pass_time()
    world.trade(100, 5)
    assert (world.held(), world.held(PROBABILISTIC)) == (5, 0)
    assert world.exchange.order(order) is None


def test_before_the_first_book_an_order_is_refused_at_once() -> None:
    world = World(others=("Y",))
    world.instrument = msgspec.structs.replace(X, symbol="Y")
    order = world.send(BUY, 100, 5)
    assert world.states(order) == ["REFUSED"]
    assert world.why(order) == "no book of Y has come yet"
    assert world.exchange.position_reports("Y") == []


def test_records_of_other_symbols_and_quotes_change_nothing() -> None:
    world = World(bids=[(100, 10)])
    order = world.place(BUY, 100, 5)
    world.instrument = msgspec.structs.replace(X, symbol="Z")
    world.whole([(100, 1)], [(101, 1)])
    world.trade(100, 50)
    world.gap(1, 2, GapState.OPEN)
    world.take(Quote(X, 9, world.ms, 100, 1, 101, 1, world.seq + 1, (world.ms + 1) * MS))
    assert world.front(order) == 10
    assert world.exchange.frozen_why("X") == ""


def test_an_update_that_cannot_be_read_freezes_its_book_and_nothing_else() -> None:
    world = World()
    good = world.exchange.books["X"].instrument
    assert good is not None
    world.take(BookUpdate(good, 9, world.ms, b"short", b"", seq=9, received_ns=world.ms * MS))
    assert "short" in world.exchange.frozen_why("X") or "16" in world.exchange.frozen_why("X")
    world.whole([(100, 1)], [(101, 1)])
    assert world.exchange.frozen_why("X") == ""


def test_time_does_not_go_back() -> None:
    world = World()
    now_ns = world.exchange.now_ns
    assert world.exchange.advance(now_ns - 1) == []
    world.trade(100, 1, received_ms=5)
    assert world.exchange.now_ns == now_ns


def test_every_order_can_be_cancelled_at_once() -> None:
    world = World()
    for price in (98, 99, 100):
        world.place(BUY, price, 5)
    world.exchange.cancel_all()
    world.pass_time()
    assert world.exchange.open_orders() == ()


def test_without_times_of_the_venue_a_trade_and_an_update_count_once() -> None:
    """Nobody knows which of them came first, so a trade uses up what the book moved, and explains
    the next decrease too."""
    world = World(bids=[(100, 100)])
    order = world.place(BUY, 100, 5)
    world.book([(100, 60)], time=0)
    world.trade(100, 50, time=0)
    assert world.front(order) == 50
    world.book([(100, 90)], time=0)
    world.trade(100, 10, time=0)
    world.book([(100, 80)], time=0)
    assert world.front(order, PROBABILISTIC) == 40


def test_a_large_order_walks_deep_into_the_book() -> None:
    asks = [(101 + each, 1) for each in range(100)]
    world = World(asks=asks)
    world.place(BUY, 180, 90)
    assert world.fills() == [(1, price, 1) for price, _ in asks[:80]]


def test_what_was_taken_is_there_again_when_the_level_has_gone_and_come_back() -> None:
    world = World(asks=[(101, 5), (110, 5)])
    world.place(BUY, 101, 5, LIMIT, IOC)
    world.book([], [(101, 0)])
    world.place(BUY, 101, 1, LIMIT, IOC)
    world.book([], [(101, 3)])
    world.place(BUY, 101, 9, LIMIT, IOC)
    assert [quantity for _, _, quantity in world.fills()] == [5, 3]


def test_a_trade_of_less_than_a_lot_fills_nothing() -> None:
    world = World(msgspec.structs.replace(X, lot=5), bids=[(99, 1)])
    world.place(BUY, 100, 5)
    world.trade(100, 4)
    assert world.fills() == []


def test_a_book_by_order_gives_the_same_fronts() -> None:
    world = World(others=("Y",))
    y = world.instrument = msgspec.structs.replace(X, symbol="Y")
    orders = [(1, 100, 6), (2, 100, 4)], [(3, 101, 5)]

    def update(
        bids: list[tuple[int, int, int]], asks: list[tuple[int, int, int]], seq: int
    ) -> None:
        world.ms += 1
        flags = BookFlags.WHOLE if seq == 1 else BookFlags.NONE
        world.take(
            OrderUpdate(
                y, seq, world.ms, pack_orders(bids), pack_orders(asks), flags, seq, world.ms * MS
            )
        )

    update(*orders, 1)
    order = world.place(BUY, 100, 5)
    assert world.front(order) == 10
    update([(1, 100, 0)], [], 2)
    assert world.front(order) == 4


@pytest.mark.parametrize("name", ["maker_fee", "taker_fee"])
def test_a_fee_above_the_value_is_refused(name: str) -> None:
    with pytest.raises(LimitsError, match=f"the {name[:5]} fee of 100,000,001 exceeds"):
        World(**{name: 10**8 + 1})


def test_trust_keeps_the_first_reason() -> None:
    trust = FeedTrust()
    trust.trust()
    trust.distrust("first")
    trust.distrust("second")
    assert trust.why == "first"
