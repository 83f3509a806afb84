"""The desk: quotes become orders, limits hold, and the kill switch ends everything."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from msgspec.structs import replace

from fanout.protocol import BookFlags, FeedState
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.errors import LimitsError, TransitionError
from fanout.trading.kill import KillCause, KillRecord, KillState, KillSwitch
from fanout.trading.limits import Check, Limits
from fanout.trading.money import money_of
from fanout.trading.paper import PaperExchange
from fanout.trading.reports import (
    Fill,
    KillReport,
    OrderReport,
    QuoteReport,
    Report,
    RiskDecision,
)
from fanout.trading.risk import RiskRecord
from fanout.trading.strategies.base import Quoted, Quotes, View
from tests.fanout.trading.test_risk import OFF
from tests.fanout.trading.world import BUY, CONSERVATIVE, MS, PROBABILISTIC, SELL, World, X

LOTS = replace(X, lot=10)


class Fixed:
    """A strategy that wants what the test says."""

    def __init__(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        self.bids, self.asks = bids, asks
        self.fills: list[Fill] = []
        self.stops: list[str] = []

    def quote(self, view: View) -> Quotes | None:
        return Quotes(
            bids=tuple(Quoted(*each) for each in self.bids),
            asks=tuple(Quoted(*each) for each in self.asks),
            fair_value=view.mid,
            skew=0.0,
        )

    def filled(self, fill: Fill) -> None:
        self.fills.append(fill)

    def stopped(self, why: str) -> None:
        self.stops.append(why)


class Given(Fixed):
    """A strategy that returns what it was given, whatever that is, or raises it."""

    def __init__(self, quotes: object) -> None:
        super().__init__([], [])
        self.given = quotes

    def quote(self, view: View) -> Quotes | None:
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given  # type: ignore[return-value]


def wants(**how: object) -> Quotes:
    """Quotes as a strategy may make them: their types are not checked."""
    fields: dict[str, object] = {"bids": (), "asks": (), "fair_value": 1.0, "skew": 0.0, **how}
    return Quotes(**fields)  # type: ignore[arg-type]


class DeskWorld(World):
    """A stream, and a desk that answers it."""

    def __init__(
        self,
        strategy: object,
        *,
        limits: Limits = OFF,
        min_life_ms: int = 0,
        kill_on_feed_loss: bool = False,
        kill: KillSwitch | None = None,
        **how: object,
    ) -> None:
        self.desk: Desk | None = None
        super().__init__(**how)  # type: ignore[arg-type]
        self.desk = Desk(
            self.exchange,
            "X",
            strategy,  # type: ignore[arg-type]
            limits=limits,
            settings=DeskSettings(
                min_life_ns=min_life_ms * MS, kill_on_feed_loss=kill_on_feed_loss
            ),
            kill=kill,
        )
        self.tick()

    def take(self, record: object) -> list:  # type: ignore[type-arg]
        if self.desk is None:
            return super().take(record)
        reports = self.desk.take(record)  # type: ignore[arg-type]
        self.said += reports
        return reports

    def tick(self, count: int = 1) -> None:
        """Updates far from the best prices, which let time pass."""
        for _ in range(count):
            self.book([(1, self.ms)])

    def working(self) -> list[tuple[str, int | None, int]]:
        return [
            (each.request.side.name, each.request.price, each.remaining[CONSERVATIVE])
            for each in self.exchange.orders("X")
        ]

    def of(self, kind: type) -> list:  # type: ignore[type-arg]
        return [each for each in self.said if isinstance(each, kind)]


def test_quotes_become_orders_and_stay_while_they_are_wanted() -> None:
    world = DeskWorld(Fixed([(100, 5)], [(101, 5)]))
    world.tick(5)
    assert world.working() == [("BID", 100, 5), ("ASK", 101, 5)]
    assert world.states(1) == ["SENT", "OPEN"]
    assert len(world.of(QuoteReport)) == 1


def test_a_fill_reaches_the_strategy_once_and_only_from_the_lead() -> None:
    strategy = Fixed([(100, 5)], [])
    world = DeskWorld(strategy, bids=[(99, 1)])
    world.tick()
    world.trade(100, 2)
    assert [(each.model, each.quantity) for each in strategy.fills] == [(CONSERVATIVE, 2)]
    assert world.held(PROBABILISTIC) == 2


def test_a_quote_that_moves_is_cancelled_first_and_sent_when_that_is_done() -> None:
    strategy = Fixed([(99, 5)], [])
    world = DeskWorld(strategy, cancel_ms=2)
    world.tick()
    strategy.bids = [(98, 5)]
    world.book([(100, 11)])
    assert world.states(1)[-1] == "CANCELLING"
    assert world.working() == [("BID", 99, 5)]
    world.tick(4)
    assert world.working() == [("BID", 98, 5)]


def test_a_quote_works_for_its_minimum_life_before_it_moves() -> None:
    strategy = Fixed([(99, 5)], [])
    world = DeskWorld(strategy, min_life_ms=5)
    world.tick()
    strategy.bids = [(98, 5)]
    world.book([(100, 11)])
    assert world.states(1)[-1] == "OPEN"
    world.tick(6)
    assert world.states(1)[-1] == "CANCELLED"
    assert world.working() == [("BID", 98, 5)]


@pytest.mark.parametrize("bids", [[], [(99, 3)]])
def test_a_side_that_is_unwanted_or_too_large_is_cancelled_at_once(
    bids: list[tuple[int, int]],
) -> None:
    strategy = Fixed([(99, 5)], [])
    world = DeskWorld(strategy, min_life_ms=1_000)
    world.tick()
    strategy.bids = bids
    world.book([(100, 11)])
    world.tick(2)
    assert world.working() == [("BID", *each) for each in bids]


def test_several_quotes_a_side_work_beside_each_other() -> None:
    world = DeskWorld(Fixed([(100, 1), (99, 2), (98, 3)], [(101, 1), (102, 2)]))
    world.tick(3)
    assert len(world.working()) == 5


def test_a_limit_refuses_a_quote_and_the_quote_says_so_once() -> None:
    world = DeskWorld(Fixed([(100, 5), (99, 5)], []), limits=replace(OFF, position=8))
    world.tick(9)
    for quantity in (11, 12, 13):
        world.book([(100, quantity)])
    assert world.working() == [("BID", 100, 5)]
    refusals = [each for each in world.of(RiskDecision) if not each.is_allowed]
    assert [(each.check, each.value, each.limit) for each in refusals] == [("position", "10", "8")]
    assert world.of(QuoteReport)[-1].risk == ("BID 5 at 99: position is 10, above the limit of 8",)


def test_a_quote_that_is_refused_is_named_in_decimals() -> None:
    cents = replace(X, price_exponent=-2, quantity_exponent=-3)
    limits = replace(OFF, position=4)
    world = DeskWorld(Fixed([(100, 5)], []), limits=limits, instrument=cents)
    assert world.of(QuoteReport)[-1].risk == (
        "BID 0.005 at 1.00: position is 0.005, above the limit of 0.004",
    )


def test_the_other_model_refuses_what_would_exceed_its_own_position() -> None:
    strategy = Fixed([(100, 5)], [])
    world = DeskWorld(strategy, bids=[(100, 100)], limits=replace(OFF, position=5))
    world.tick()
    world.book([(100, 200)])
    world.book([(100, 100)])
    world.trade(100, 60)  # fills the order in the probabilistic model alone
    assert (world.held(), world.held(PROBABILISTIC)) == (0, 5)
    strategy.bids = [(99, 5)]
    world.book([(100, 30)])
    world.tick(2)
    assert world.states(2) == ["SENT", "OPEN"]
    assert world.why(2, PROBABILISTIC) == "position is 10, above the limit of 5"


def test_a_feed_that_cannot_be_trusted_takes_all_quotes_out() -> None:
    world = DeskWorld(Fixed([(100, 5)], [(101, 5)]))
    world.tick()
    world.status(FeedState.STALE)
    world.pass_time(2)
    assert world.exchange.open_orders() == ()
    world.status(FeedState.LIVE)
    world.tick()
    assert len(world.working()) == 2


@pytest.mark.parametrize(
    "break_it",
    [
        lambda world: world.desk.pull(KillCause.COMMAND, "a person"),
        lambda world: world.status(FeedState.DOWN),
        lambda world: world.trade(100, 1),
    ],
    ids=["command", "feed", "strategy"],
)
def test_the_kill_switch_cancels_everything_and_proves_it(
    break_it: Callable[[DeskWorld], object],
) -> None:
    """hummingbot #2534: the switch raised an error of its own, and orders went on being made."""

    class Fragile(Fixed):
        def filled(self, fill: Fill) -> None:
            raise ZeroDivisionError("no")

        def stopped(self, why: str) -> None:
            raise AttributeError("no such report")

    world = DeskWorld(
        Fragile([(100, 5)], [(105, 5)]), bids=[(99, 9)], cancel_ms=3, kill_on_feed_loss=True
    )
    world.tick()
    reports = break_it(world)
    world.said += reports if isinstance(reports, list) else []
    assert world.desk is not None
    with pytest.raises(TransitionError):
        world.desk.reset("Ada")
    world.status(FeedState.LIVE)
    world.whole([(99, 9)], [(106, 9)])
    world.tick(5)
    assert world.exchange.open_orders() == ()
    kills = world.of(KillReport)
    assert [each.state for each in kills][-1] == "latched"
    assert world.working() == []
    world.status(FeedState.LIVE)
    world.tick(5)
    assert world.working() == []


def test_a_killed_desk_quotes_again_after_a_person_has_reset_it() -> None:
    world = DeskWorld(Fixed([(100, 5)], []))
    assert world.desk is not None
    world.tick()
    world.desk.pull(KillCause.SIGNAL, "SIGUSR1")
    world.tick(2)
    world.said += world.desk.reset("Ada")
    world.tick(2)
    assert world.working() == [("BID", 100, 5)]


def test_a_desk_that_was_killed_before_a_restart_sends_nothing() -> None:
    kill = KillSwitch()
    kill.pull(KillCause.FILE, "kill.txt", 1, (1,))
    world = DeskWorld(Fixed([(100, 5)], []), kill=KillSwitch(kill.export()))
    world.tick(5)
    assert world.working() == []
    assert [each.state for each in world.of(KillReport)] == ["latched"]


@pytest.mark.parametrize(
    ("bids", "asks", "why"),
    [
        ([(102, 1)], [(102, 1)], "the bid of 102 crosses the ask of 102"),
        ([(float("nan"), 1)], [], "1 at nan are not integers above 0"),
        ([(100, 0)], [], "0 at 100 are not integers above 0"),
        ([(100, True)], [], "True at 100 are not integers above 0"),
        ([(each, 1) for each in range(1, 1001)], [], "1,000 bids exceed 50"),
        ([(99, 1)], [], "1 at 99 is off the lot of 1 or the tick of 2"),
        (None, [], "the strategy's quote() raised TypeError: "),
    ],
)
def test_a_strategy_that_makes_no_sense_is_killed_with_the_reason(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], why: str
) -> None:
    world = DeskWorld(Fixed(bids, asks), instrument=replace(X, tick=2, lot=1))
    (pulled, latched) = world.of(KillReport)
    assert (pulled.cause, latched.state) == ("strategy", "latched")
    assert pulled.why.startswith(why)
    assert world.exchange.open_orders() == ()


class Number(int):
    """An integer of another library."""


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    "quotes",
    [
        wants(bids=((100, 1),)),
        wants(bids=[[Number(100), Number(1)]]),
        wants(bids=(Quoted(100, 1),), fair_value=Fraction(1, 2), skew=Decimal(1)),
        wants(bids=(Quoted(100, 1),), clamps=(object(), "\ud800", "long" * 1000)),
    ],
    ids=["pairs", "lists", "numbers", "reasons"],
)
def test_quotes_of_other_types_work_and_fit_the_journal(quotes: Quotes) -> None:
    world = DeskWorld(Given(quotes))
    assert world.working() == [("BID", 100, 1)]
    read = msgspec.json.decode(msgspec.json.encode(world.said), type=list[Report])
    assert read == world.said
    assert all(len(each) <= 500 for each in world.of(QuoteReport)[0].clamps)


@pytest.mark.parametrize(
    ("quotes", "why"),
    [
        (5, "quote() returned a int; it has to be Quotes"),
        (wants(asks=(Quoted(2**63, 1),)), f"1 at {2**63} are not integers above 0, in 64 bits"),
        (wants(bids=(Quoted(100, 2**63),)), f"{2**63} at 100 are not integers above 0, in 64 bits"),
        (wants(clamps=None), "clamps are a NoneType; they have to be texts"),
        (SystemExit(3), "the strategy's quote() raised SystemExit: 3"),
        (UnspeakableError(), "the strategy's quote() raised UnspeakableError: Unspeak"),
    ],
    ids=["type", "price", "quantity", "clamps", "exit", "unspeakable"],
)
def test_what_is_no_quote_kills_the_desk_and_not_the_run(quotes: object, why: str) -> None:
    world = DeskWorld(Given(quotes))
    (pulled, latched) = world.of(KillReport)
    assert pulled.why.startswith(why)
    assert latched.state == "latched"
    assert msgspec.json.encode(world.said)


def test_a_person_at_the_keyboard_ends_the_run() -> None:
    with pytest.raises(KeyboardInterrupt):
        DeskWorld(Given(KeyboardInterrupt()))


@pytest.mark.parametrize("name", ["fair_value", "skew"])
def test_reasons_that_are_not_finite_kill_too(name: str) -> None:
    class Odd(Fixed):
        def quote(self, view: View) -> Quotes | None:
            quotes = super().quote(view)
            assert quotes is not None
            return replace(quotes, **{name: float("inf")})

    world = DeskWorld(Odd([(100, 1)], []))
    assert world.of(KillReport)[0].why == f"the {name.replace('_', ' ')} is inf"


def test_no_quotes_are_no_orders() -> None:
    class Silent(Fixed):
        def quote(self, view: View) -> Quotes | None:
            return None

    world = DeskWorld(Silent([], []))
    world.tick(3)
    assert world.working() == []


@pytest.mark.parametrize("name", [Check.DAILY_LOSS, Check.DRAWDOWN])
def test_a_loss_that_is_set_to_kill_pulls_the_switch(name: Check) -> None:
    limits = replace(OFF, **{name: money_of(X).worth(1, 10), "kills": frozenset({name})})
    world = DeskWorld(Fixed([(100, 5)], []), limits=limits, bids=[(99, 9)], asks=[(101, 9)])
    world.tick()
    world.trade(100, 5)
    assert world.desk is not None
    assert world.desk.kill.is_armed
    world.book([(99, 0), (95, 9)], [(96, 9)])
    pulled = world.of(KillReport)[0]
    assert (pulled.cause, pulled.why) == ("limit", f"{name} is 22.5, above the limit of 10")


def test_an_order_that_a_killing_limit_refuses_pulls_the_switch() -> None:
    limits = replace(OFF, order_quantity=4, kills=frozenset({Check.ORDER_QUANTITY}))
    world = DeskWorld(Fixed([(100, 4), (99, 5), (98, 4)], [(102, 4)]), limits=limits)
    world.tick(2)
    assert world.of(KillReport)[0].why == "order_quantity is 5, above the limit of 4"
    assert world.exchange.open_orders() == ()
    assert {each.order_id for each in world.of(OrderReport)} == {1}


def test_data_that_goes_stale_kills_while_other_symbols_trade() -> None:
    limits = replace(OFF, stale_ms=5, kills=frozenset({Check.STALE_DATA}))
    world = DeskWorld(Fixed([(99, 5)], []), limits=limits)
    assert world.desk is not None
    world.tick()
    assert world.desk.advance((world.ms + 5) * MS) is not None
    assert world.desk.kill.is_armed
    world.desk.advance((world.ms + 7) * MS)
    assert world.desk.kill.why == "stale_ms is 7, above the limit of 5"


def test_a_switch_that_was_pulled_keeps_its_first_reason() -> None:
    strategy = Fixed([(100, 5)], [])
    world = DeskWorld(strategy)
    assert world.desk is not None
    world.desk.pull(KillCause.COMMAND, "first")
    assert world.desk.pull(KillCause.SIGNAL, "second") == []
    assert strategy.stops == ["first"]


def test_a_book_with_one_side_gets_no_quotes() -> None:
    world = DeskWorld(Fixed([(100, 5)], []))
    world.tick()
    world.book([], [(101, 0), (102, 0)])
    world.tick(2)
    assert world.working() == []
    assert world.desk is not None
    assert world.desk.kill.is_armed


def test_an_update_in_parts_leaves_the_quotes_in_their_places() -> None:
    """Between the parts no level is known, but nothing is wrong."""
    world = DeskWorld(Fixed([(100, 5)], [(101, 5)]))
    world.tick()
    world.book([(50, 1)], flags=BookFlags.MORE)
    world.book([(49, 1)])
    world.tick()
    assert [each.order_id for each in world.exchange.orders("X")] == [1, 2]
    assert [each.event.name for each in world.history(1)] == ["SEND", "ACKNOWLEDGE"]


def test_what_changes_within_an_update_in_parts_is_answered_after_it() -> None:
    strategy = Fixed([(100, 5)], [])
    world = DeskWorld(strategy, bids=[(99, 1)])
    world.tick()
    world.book([(50, 1)], flags=BookFlags.MORE)
    world.trade(100, 5)
    assert world.working() == []
    world.book([(49, 1)])
    assert world.working() == [("BID", 100, 5)]


def test_limits_that_no_order_could_keep_kill_their_own_desk() -> None:
    world = DeskWorld(Fixed([(100, 10)], []), limits=replace(OFF, position=9), instrument=LOTS)
    (pulled, latched) = world.of(KillReport)
    assert pulled.why == "position is 9, below the smallest order of X, 10"
    assert (pulled.cause, latched.state) == ("limit", "latched")


@pytest.mark.parametrize("state", [KillState.CANCELLING, KillState.LATCHED])
def test_an_order_that_outlived_the_kill_of_an_earlier_run_is_cancelled(state: KillState) -> None:
    """The state of the switch was saved, and the run ended before its cancels were."""
    old = DeskWorld(Fixed([(100, 5)], []), bids=[(99, 1)])
    old.tick()
    record = KillRecord(state=state, cause=KillCause.COMMAND, why="a person", since_ns=1)
    world = World(others=("Y",))
    world.exchange = PaperExchange(world.exchange.settings, ["X"])
    world.exchange.restore(X, old.said)
    settings = DeskSettings(min_life_ns=0)
    switch = KillSwitch(record)
    desk = Desk(world.exchange, "X", Fixed([], []), limits=OFF, settings=settings, kill=switch)
    assert world.exchange.open_orders() == (1,)
    with pytest.raises(TransitionError, match="still open, so reset cannot happen: order 1"):
        desk.reset("Ada")
    world.ms = old.ms
    for _ in range(2):
        desk.answer(world.whole([(99, 1)], [(101, 1)]))
    desk.answer(world.trade(100, 5))
    assert world.fills() == []
    assert world.exchange.open_orders() == ()
    assert desk.kill.state is KillState.LATCHED


def test_desks_that_share_an_exchange_report_only_what_they_cause() -> None:
    world = World(others=("Y",))
    settings = DeskSettings(min_life_ns=0)
    desks = [
        Desk(world.exchange, each, Fixed([], []), limits=OFF, settings=settings) for each in "XY"
    ]
    (lost,) = world.lose()
    assert [desk.answer([lost]) for desk in desks] == [[], []]


def test_a_strategy_that_fails_leaves_the_others_alone() -> None:
    world = World(others=("Y",))
    settings = DeskSettings(min_life_ns=0)
    bad = Desk(world.exchange, "X", Fixed(None, []), limits=OFF, settings=settings)  # type: ignore[arg-type]
    good = Desk(world.exchange, "Y", Fixed([(100, 5)], []), limits=OFF, settings=settings)
    world.instrument = replace(X, symbol="Y", index=1)
    for _ in range(3):
        reports = world.whole([(100, 9)], [(101, 9)])
        for desk in (bad, good):
            desk.answer(reports)
    assert (bad.kill.is_armed, good.kill.is_armed) == (False, True)
    assert len(world.exchange.orders("Y")) == 1


def test_an_order_that_waits_for_a_token_is_sent_when_there_is_one() -> None:
    """The market is as it was: nobody else would ask again."""
    world = DeskWorld(Fixed([(100, 5), (99, 5)], []), limits=replace(OFF, orders_per_second=1))
    world.tick(900)
    assert len(world.working()) == 1
    world.tick(101)
    assert len(world.working()) == 2


def test_an_order_that_waits_for_a_book_is_sent_when_it_is_updated() -> None:
    strategy = Fixed([(100, 5)], [])
    world = DeskWorld(strategy, limits=replace(OFF, stale_ms=5), bids=[(99, 1)])
    world.tick()
    world.ms += 9
    world.trade(100, 5)  # the book is old, so the next order is refused
    assert world.working() == []
    world.tick()
    assert world.working() == [("BID", 100, 5)]


def test_limits_that_do_not_kill_let_the_desk_go_on() -> None:
    world = DeskWorld(Fixed([(99, 5)], []), limits=replace(OFF, stale_ms=5))
    assert world.desk is not None
    world.tick()
    world.desk.advance((world.ms + 50) * MS)
    assert world.desk.kill.is_armed


def test_a_feed_that_was_never_trusted_is_not_lost() -> None:
    world = World(others=("Y",))
    settings = DeskSettings(min_life_ns=0, kill_on_feed_loss=True)
    desk = Desk(world.exchange, "Y", Fixed([], []), limits=OFF, settings=settings)
    desk.answer(world.lose())
    assert desk.kill.is_armed


def test_what_the_limits_remember_outlives_a_restart() -> None:
    record = RiskRecord(day=0, at_start=5, highest=9, equity=7)
    world = World()
    settings = DeskSettings(min_life_ns=0)
    fresh = Desk(world.exchange, "X", Fixed([], []), limits=OFF, settings=settings)
    assert fresh.risk_record == RiskRecord()
    again = Desk(world.exchange, "X", Fixed([], []), limits=OFF, settings=settings, risk=record)
    assert again.risk_record == record
    again.answer([])
    assert (again.risk_record.at_start, again.risk_record.highest) == (5, 9)


def test_a_minimum_life_below_zero_is_refused() -> None:
    with pytest.raises(LimitsError, match="min_life_ns is -1"):
        DeskSettings(min_life_ns=-1)


def test_buying_and_selling_count_apart() -> None:
    world = DeskWorld(Fixed([(100, 5)], [(101, 5)]), limits=replace(OFF, position=5, open_orders=2))
    world.tick(2)
    assert world.working() == [(BUY.name, 100, 5), (SELL.name, 101, 5)]
