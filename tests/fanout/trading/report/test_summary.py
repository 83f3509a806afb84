"""What a report makes of the journal of a run."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import FeedState
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.exchange.own_order import MODELS
from fanout.trading.orders import OrderEvent, OrderState
from fanout.trading.report.model_summary import SummaryError
from fanout.trading.report.points import MAX_POINTS
from fanout.trading.report.summary import MAX_FILLS, SymbolSummary
from fanout.trading.reports import Mark, Report
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.journal import Started
from fanout.trading.strategies.basic import Basic
from tests.fanout.trading.runs import START_NS, Run, S
from tests.fanout.trading.test_risk import OFF
from tests.fanout.trading.world import BUY, PROBABILISTIC, SELL, World, X


def test_profit_is_reported_in_parts_with_every_digit() -> None:
    run = Run().mark(99, 102)
    run.fill(1, BUY, 99, 3, fee="0.00001").mark(100, 102).fill(2, SELL, 102, 1, fee="-0.5")
    profit = run.of_model().profit
    # Bought 3 for 1.5 below the mid of 100.5, which rose by 0.5; sold 1 for 1 above 101.
    assert (profit.spread, profit.inventory, profit.fees) == ("5.5", "1.5", "-0.49999")
    assert (profit.realised, profit.unrealised, profit.total) == ("3", "4", "7.49999")
    assert profit.currency == "QUO"


def test_both_models_stand_side_by_side() -> None:
    run = Run().mark(99, 101)
    run.order(1, BUY, 10).order(1, BUY, 10, model=PROBABILISTIC)
    run.order(2, SELL, 8).order(2, SELL, 8, model=PROBABILISTIC)
    run.fill(1, BUY, 99, 4).fill(1, BUY, 99, 10, model=PROBABILISTIC)
    conservative, probabilistic = run.of_symbol().models
    assert (conservative.bought.ratio, probabilistic.bought.ratio) == (0.4, 1.0)
    assert (conservative.sold.part, conservative.sold.whole, conservative.sold.ratio) == (
        "0",
        "8",
        0.0,
    )
    assert (conservative.orders.ratio, probabilistic.orders.ratio) == (0.5, 0.5)


def test_an_order_that_was_not_acknowledged_was_not_quoted() -> None:
    run = Run().order(1, event=OrderEvent.SEND, state=OrderState.SENT)
    run.order(1, event=OrderEvent.REFUSE, state=OrderState.REFUSED)
    model = run.of_model()
    assert (model.orders.whole, model.bought.whole, model.bought.ratio) == ("0", "0", None)


def test_an_order_with_many_fills_is_filled_once() -> None:
    run = Run().mark(99, 101).order(1, BUY, 10)
    run.fill(1, BUY, 99, 3).fill(1, BUY, 99, 3).fill(1, BUY, 99, 4)
    run.fill(9, BUY, 99, 4, is_maker=False)
    model = run.of_model()
    assert (model.orders.part, model.fills, model.taker_fills) == ("1", 4, 1)
    assert model.turnover == "1386"


def test_adverse_selection_is_the_move_of_the_mid_against_the_fill() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 99, 3, 0)
    run.mark(97, 99, 900).mark(90, 92, 1_001).mark(95, 97, 6_000)
    one, five, thirty = run.of_model().adverse
    assert (one.horizon_s, one.count, one.price, one.price_error) == (1.0, 1, 2.0, None)
    assert one.bps == pytest.approx(200)
    assert (five.price, five.unobserved) == (9.0, 0)
    assert (thirty.count, thirty.unobserved, thirty.price) == (0, 1, None)
    assert run.of_model().edge.price == 1.0


def test_two_fills_have_an_error() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 99, 3, 0).mark(97, 99, 500)
    run.fill(2, SELL, 99, 3, 600).mark(98, 100, 700).mark(98, 100, 3_000)
    one = run.of_model().adverse[0]
    # The first went 1 against us, the second 1 as well.
    assert (one.count, one.price, one.price_error) == (2, 1.0, 0.0)


def test_a_horizon_that_ends_in_a_freeze_is_not_observed() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 99, 3, 0)
    run.trust(True, 500).mark(None, None, 500).trust(False, 1_500).mark(90, 92, 1_500)
    figures = run.of_symbol()
    assert (figures.freezes, figures.frozen_s) == (1, 1.0)
    assert (figures.models[0].adverse[0].count, figures.models[0].adverse[0].unobserved) == (0, 1)
    assert figures.models[0].profit.inventory == "-27"


def test_a_horizon_over_a_restart_is_not_observed_and_the_position_goes_on() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 99, 3, 0).mark(99, 101, 800)
    run.start().mark(109, 111, 10_000).fill(2, SELL, 111, 1, 10_000)
    figures = run.of_symbol()
    model = figures.models[0]
    assert [each.unobserved for each in model.adverse] == [2, 2, 2]
    assert (model.position, model.profit.inventory, model.profit.spread) == ("2", "30", "4")
    assert (figures.starts, figures.observed_s) == (2, 0.8)
    assert model.in_position.ratio == 1.0


def test_what_a_start_ends_before_its_first_record_is_no_time_of_the_run() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 99, 3, 0).mark(99, 101, 800)
    run.start().kill("cancelling", "by hand", 800).kill("latched", "by hand", 800)
    run.mark(109, 111, 10_000).mark(109, 111, 10_200)
    figures = run.of_symbol()
    assert figures.observed_s == 1.0
    assert figures.begun_ns == (figures.first_ns, figures.first_ns + 10 * S)
    assert figures.models[0].in_position.part == "1.000000000"


def test_that_is_so_where_another_symbol_was_reported_last() -> None:
    run, other = Run(), replace(X, symbol="Y")
    run.entries[0] = replace(run.entries[0], instruments=(X, other))
    run.mark(99, 101, 0).mark(99, 101, 800)
    run.add(Mark(time_ns=run.at(900), symbol="Y", bid=1, ask=2, since_ns=run.ns))
    run.entries.append(run.entries[0])
    run.kill("latched", "by hand", 900).mark(99, 101, 10_000).mark(99, 101, 10_200)
    assert run.of_symbol().observed_s == 1.0


def test_a_kill_before_the_first_record_is_no_time_of_the_run() -> None:
    run = Run()
    run.ns = 0
    run.kill("cancelling", "by hand").kill("latched", "by hand")
    figures = run.mark(99, 101, 0).mark(99, 101, 500).of_symbol()
    assert (figures.first_ns, figures.observed_s) == (run.ns - S // 2, 0.5)
    assert [each.time_ns for each in figures.kills] == [0, 0]
    assert min(each.time_ns for each in figures.over_time) == figures.first_ns


def test_a_fill_while_a_side_of_the_book_was_empty_is_counted() -> None:
    run = Run().mark(99, 101, 0).mark(99, None, 100).fill(1, BUY, 99, 3, 200).mark(99, 101, 5_000)
    model = run.of_model()
    assert (model.unmarked_fills, model.edge.count, model.edge.unobserved) == (1, 0, 1)
    assert model.profit.total == "3"


def test_the_drawdown_is_the_fall_from_the_highest_profit() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 100, 1, 0)
    run.mark(104, 106, 1_000).mark(97, 99, 2_000).mark(101, 103, 3_000)
    model = run.of_model()
    assert (model.max_drawdown, model.drawdown) == ("7", "3")
    assert model.max_drawdown_ns == run.ns - S


def test_a_loss_from_the_start_is_a_drawdown() -> None:
    model = Run().mark(99, 101).fill(1, BUY, 100, 1, fee="2").of_model()
    assert (model.max_drawdown, model.profit.total) == ("2", "-2")


def test_a_run_without_a_loss_has_none() -> None:
    model = Run().mark(99, 101).of_model()
    assert (model.max_drawdown, model.max_drawdown_ns) == ("0", None)


def test_time_in_position_counts_what_lies_between_reports() -> None:
    run = Run().mark(99, 101, 0).fill(1, BUY, 99, 3, 1_000).fill(2, SELL, 101, 3, 4_000)
    run.mark(99, 101, 10_000)
    ratio = run.of_model().in_position
    assert (ratio.part, ratio.whole, ratio.ratio) == ("3.000000000", "10.000000000", 0.3)
    assert run.of_model(PROBABILISTIC).in_position.ratio == 0.0


def test_the_extremes_of_the_position_are_reported() -> None:
    run = Run().mark(99, 101).fill(1, BUY, 99, 3).fill(2, SELL, 101, 8)
    model = run.of_model()
    assert (model.longest, model.shortest, model.position) == ("3", "-5", "-5")


def test_refusals_are_counted_by_limit_and_kills_are_listed() -> None:
    run = Run().refuse("position").refuse("drawdown").refuse("position").refuse("")
    run.kill("cancelling", "too much", 5).kill("latched", "too much", 6)
    figures = run.of_symbol()
    assert figures.refusals == {"position": 2, "drawdown": 1, "strategy": 1}
    assert [(each.state, each.cause, each.why) for each in figures.kills] == [
        ("cancelling", "limit", "too much"),
        ("latched", "limit", "too much"),
    ]


def test_quotes_are_shown_while_they_work() -> None:
    run = Run().mark(99, 101, 0).quote(98, None, 10).trust(True, 20).trust(False, 25)
    run.order(1, ms=30, event=OrderEvent.SEND, state=OrderState.SENT)
    run.kill("cancelling", "x", 40).mark(99, 102, 50).kill("armed", "reset by me", 60)
    run.quote(97, None, 70)
    points = run.of_symbol().over_time
    assert [(each.mid, each.bid, each.ask) for each in points] == [
        ("100.0", None, None),
        ("100.0", "98", None),
        ("100.0", None, None),
        ("100.0", None, None),
        ("100.0", "98", None),
        ("100.0", None, None),
        ("100.5", None, None),
        ("100.5", None, None),
        ("100.5", "97", None),
    ]


def test_a_long_run_has_a_bounded_number_of_points_and_its_last_one() -> None:
    run = Run().mark(99, 101, 0)
    for at in range(1, 3 * MAX_POINTS):
        run.mark(99, 101 + at % 7, at).fill(at, BUY if at % 2 else SELL, 99, 1, at)
    figures = run.of_symbol()
    assert MAX_POINTS // 2 <= len(figures.over_time) <= MAX_POINTS + 1
    assert MAX_FILLS <= len(figures.fills) <= 2 * MAX_FILLS
    last = figures.over_time[-1]
    assert last.time_ns == figures.last_ns
    assert last.models["conservative"].total == figures.models[0].profit.total


def test_a_journal_whose_beginning_is_missing_is_refused() -> None:
    run = Run().mark(99, 101).fill(1, BUY, 99, 3).fill(2, BUY, 99, 2)
    del run.entries[2]
    with pytest.raises(SummaryError, match="position is 5, and the fills before it give 2"):
        run.figures()


def test_a_start_with_other_units_is_refused() -> None:
    run = Run().mark(99, 101)
    run.start(replace(run.instrument, price_exponent=-1))
    with pytest.raises(SummaryError, match="X has price_exponent -1 from a start on, and 0 before"):
        run.figures()


def test_a_symbol_that_the_run_does_not_trade_is_refused() -> None:
    run = Run()
    run.instrument = replace(run.instrument, symbol="Y")
    with pytest.raises(SummaryError, match="Y is reported"):
        run.mark(99, 101).figures()


def test_an_empty_journal_is_refused() -> None:
    run = Run()
    run.entries.clear()
    with pytest.raises(SummaryError, match="no run has begun"):
        run.figures()


# Files that begin with a checkpoint.


def long_run() -> Run:
    """A position of 2 in all, two orders that work, a quote and a kill."""
    run = Run().mark(99, 101, 0).quote(99, 101, 0).order(1, BUY, 10).order(2, SELL, 10)
    run.fill(1, BUY, 99, 3, 100, fee="0.5").mark(100, 102, 1_500).fill(2, SELL, 102, 1, 2_000)
    return run


def later(run: Run) -> Run:
    run.mark(101, 103, 3_000).fill(1, BUY, 101, 2, 3_500, fee="0.25").fill(2, SELL, 103, 4, 4_000)
    return run.mark(100, 102, 40_000)


def test_a_run_in_several_files_is_reported_as_one() -> None:
    whole = later(long_run()).figures()
    parts = later(long_run().next_file()).next_file().figures()
    assert parts == whole
    assert whole.symbols[0].opened_ns is None


def test_a_new_start_with_a_checkpoint_is_a_new_start() -> None:
    run = later(long_run().next_file(is_start=True))
    assert run.of_symbol() == later(long_run().start()).of_symbol()
    assert run.of_symbol().starts == 2


def test_without_the_oldest_files_position_and_profit_are_those_of_the_whole_run() -> None:
    whole, run = later(long_run()).of_model(), later(long_run().next_file()).forget(1)
    figures = run.of_symbol()
    model = run.of_model()
    names = ("realised", "unrealised", "fees", "total")
    for name in names:
        assert getattr(model.profit, name) == getattr(whole.profit, name)
    assert model.position == whole.position
    # Held then: 2, bought at 99, and sold 1 of 3 at 102. The mid was 101, so it was worth 7.
    assert (model.profit.opening, model.profit.spread, model.profit.inventory) == ("7", "6", "2")
    assert (figures.opened_ns, figures.starts) == (figures.first_ns, 1)
    assert figures.opened_ns == run.ns - 38 * S


def test_without_the_oldest_files_the_other_figures_are_of_what_is_there() -> None:
    run = later(long_run().next_file()).forget(1)
    figures, model = run.of_symbol(), run.of_model()
    assert (model.fills, model.bought.part, model.sold.part) == (2, "2", "4")
    # The orders that work are offered with what was left of them.
    assert (model.bought.whole, model.sold.whole, model.orders.whole) == ("7", "9", "2")
    assert (model.orders.part, model.turnover) == ("2", "614")
    assert (model.longest, model.shortest) == ("4", "0")
    assert figures.observed_s == 38.0
    assert model.in_position.part == "2.000000000"
    assert figures.over_time[0].bid == "99"
    assert [each.count + each.unobserved for each in model.adverse] == [2, 2, 2]


def test_figures_say_from_when_on_they_are_though_nothing_was_filled_before() -> None:
    run = Run().mark(99, 101, 0).next_file().mark(98, 100, 1_000).forget(1)
    assert run.of_symbol().opened_ns == run.ns - S


def test_figures_begin_with_the_run_where_the_files_that_are_gone_had_no_report() -> None:
    run = Run().next_file(is_start=True).mark(99, 101, ms=0).forget(1)
    figures = run.of_symbol()
    assert (figures.opened_ns, figures.starts, figures.first_ns) == (None, 1, START_NS)


def test_an_order_that_is_acknowledged_while_it_is_cancelled_counts_once() -> None:
    run = Run().mark(99, 101, 0).order(1, BUY, 10, event=OrderEvent.SEND, state=OrderState.SENT)
    run.order(1, BUY, 10, event=OrderEvent.ASK_CANCEL, state=OrderState.CANCELLING).next_file()
    run.order(1, BUY, 10, 5, state=OrderState.CANCELLING).forget(1)
    assert (run.of_model().orders.whole, run.of_model().bought.whole) == ("1", "10")


def test_a_fill_right_behind_a_checkpoint_meets_the_mid_before_it() -> None:
    run = long_run().next_file().fill(1, BUY, 100, 2, 2_500).forget(1)
    model = run.of_model()
    assert (model.unmarked_fills, model.profit.spread) == (0, "2")


def test_a_freeze_and_a_kill_go_on_behind_a_checkpoint() -> None:
    run = long_run().trust(True, 2_100).mark(None, None, 2_100).kill("latched", "x", 2_200)
    run.next_file().trust(False, 3_200).mark(100, 102, 3_200).forget(1)
    figures = run.of_symbol()
    assert (figures.freezes, figures.frozen_s) == (1, 1.0)
    assert {each.bid for each in figures.over_time} == {None}


def test_a_position_that_no_mid_was_known_of_is_opened_at_the_first_one() -> None:
    run = long_run().mark(None, None, 2_100).next_file().mark(109, 111, 3_000).forget(1)
    model = run.of_model()
    assert (model.profit.opening, model.profit.inventory, model.max_drawdown) == ("25", "0", "0")
    run = long_run().mark(None, None, 2_100).next_file().trust(True, 2_200).forget(1)
    profit = run.of_model().profit
    assert (profit.opening, profit.unrealised, profit.total) == ("3", "0", "2.5")


def test_a_drawdown_counts_from_the_checkpoint() -> None:
    run = long_run().mark(200, 202, 2_100).mark(150, 152, 2_200).next_file()
    run.mark(140, 142, 3_000).mark(145, 147, 4_000).forget(1)
    assert (run.of_model().max_drawdown, run.of_model().drawdown) == ("20", "10")


def test_a_file_that_is_missing_in_between_begins_the_figures_anew() -> None:
    run = later(long_run().next_file()).next_file().mark(101, 103, 41_000)
    begins = [at for at, each in enumerate(run.entries) if isinstance(each, Started)]
    del run.entries[begins[1] : begins[2]]
    figures = run.of_symbol()
    assert figures.opened_ns == run.ns - S
    assert run.of_model().position == "0"
    assert run.of_model().fills == 0


def test_a_file_that_has_only_begun_has_a_position() -> None:
    run = long_run().next_file().forget(1)
    figures = run.of_symbol()
    assert (run.of_model().position, figures.last_ns, len(figures.over_time)) == (
        "2",
        figures.opened_ns,
        1,
    )


def test_a_checkpoint_of_a_symbol_that_the_run_does_not_trade_is_refused() -> None:
    run = Run()
    other = Earlier.of(
        [replace(run.entries[0], instruments=(replace(run.instrument, symbol="Y"),))]
    )
    run.add(other.checkpoint())
    with pytest.raises(SummaryError, match="Y is reported, and the run does not trade it"):
        run.figures()


# A desk's own journal.

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("book"), st.integers(90, 99), st.integers(101, 110)),
        st.tuples(st.just("trade"), st.integers(90, 110), st.integers(1, 40)),
        st.tuples(st.just("wait"), st.integers(1, 40_000), st.just(0)),
        st.tuples(st.just("freeze"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=40,
)


def traded(steps: list[tuple[str, int, int]]) -> tuple[World, list[Report]]:
    """A desk over a stream of these steps, and all that it reported."""
    world = World(bids=[(99, 10)], asks=[(101, 10)], maker_fee=10_000)
    strategy = Basic(
        spread_bps=100, min_spread=1, max_spread=50, skew_bps=100, quantity=7, position_limit=30
    )
    settings = DeskSettings(min_life_ns=0)
    desk = Desk(world.exchange, "X", strategy, limits=OFF, settings=settings)
    said = desk.answer([])

    def answer(reports: list[Report]) -> None:
        said.extend([*desk.meet(reports), *reports, *desk.answer(reports)])

    bid, ask = 99, 101
    for kind, first, second in steps:
        if kind == "book":
            answer(world.book([(bid, 0), (first, 10)], [(ask, 0), (second, 10)]))
            bid, ask = first, second
        elif kind == "trade":
            answer(world.trade(first, second, SELL if first <= 100 else BUY))
        elif kind == "wait":
            answer(world.pass_time(first))
        else:
            answer(world.status(FeedState.STALE))
            answer(world.status(FeedState.LIVE))
    return world, said


@given(STEPS)
def test_the_report_agrees_with_the_positions_of_the_exchange(
    steps: list[tuple[str, int, int]],
) -> None:
    world, said = traded(steps)
    summary = SymbolSummary("test", world.instrument)
    summary.start()
    for each in said:
        summary.take(each)
    summary.end()
    known = [each for each in said if isinstance(each, Mark) and each.bid is not None]
    twice_mid = known[-1].bid + known[-1].ask
    for model, figures in zip(MODELS, summary.figures().models, strict=True):
        position, profit = world.exchange.position("X", model), figures.profit
        if position is None:
            continue
        equity = position.equity(twice_mid, parts=2)
        assert profit.total == position.money.text(equity)
        parts = Decimal(profit.spread) + Decimal(profit.inventory) - Decimal(profit.fees)
        assert parts == Decimal(profit.total)
        assert figures.unmarked_fills == 0
        assert figures.edge.count == figures.fills == position.fills
        for each in figures.adverse:
            assert each.count + each.unobserved == position.fills


@given(STEPS, st.integers(0, 200))
def test_the_parts_add_up_wherever_the_journal_begins(
    steps: list[tuple[str, int, int]], cut: int
) -> None:
    _, said = traded(steps)
    run = Run()
    run.entries += said[:cut]
    run.next_file()
    run.entries += said[cut:]
    whole = run.of_symbol()
    part = run.forget(1).of_symbol()
    assert whole.opened_ns is None
    for one, other in zip(whole.models, part.models, strict=True):
        amounts = {
            name: Decimal(getattr(other.profit, name))
            for name in ("opening", "spread", "inventory", "fees", "realised", "unrealised")
        }
        parts = amounts["opening"] + amounts["spread"] + amounts["inventory"]
        assert parts == amounts["realised"] + amounts["unrealised"]
        assert parts - amounts["fees"] == Decimal(other.profit.total)
        assert other.position == one.position
        assert (other.profit.realised, other.profit.fees) == (one.profit.realised, one.profit.fees)
        if amounts["unrealised"]:
            assert other.profit.total == one.profit.total
        assert Decimal(other.bought.part) <= Decimal(other.bought.whole)
        assert Decimal(other.sold.part) <= Decimal(other.sold.whole)
