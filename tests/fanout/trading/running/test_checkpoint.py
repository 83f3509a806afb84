"""A checkpoint stands for all lines before it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.trading.exchange.own_order import MODELS
from fanout.trading.kill import KillCause, KillState
from fanout.trading.orders import OrderEvent, OrderState, OrderType, TimeInForce
from fanout.trading.paper import PaperExchange
from fanout.trading.position import Position, PositionRecord
from fanout.trading.reports import AccountReport, KillReport, OrderReport, Report
from fanout.trading.running.checkpoint import Checkpoint, SymbolRecord
from fanout.trading.running.config import SYMBOL_BYTES
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.floor import Floor
from fanout.trading.running.journal import Entry, JournalError, decode, encode, entries
from fanout.trading.running.standing import standing_of
from fanout.trading.strategies.sane import MAX_QUOTES
from tests.fanout.trading.running.test_floor import (
    SETTINGS,
    STARTED,
    journal,
    plan,
    played,
    read,
    walk,
)
from tests.fanout.trading.test_properties import STEPS, WORLDS, Step
from tests.fanout.trading.test_restart import money_of_run
from tests.fanout.trading.world import BUY, CONSERVATIVE, PROBABILISTIC, SELL, World, X


def through_a_file(earlier: Earlier) -> list[Entry]:
    """The head of the next file, as it is read."""
    assert earlier.started is not None
    next_started = replace(earlier.started, part=earlier.started.part + 1)
    return [decode(encode(each)) for each in (next_started, earlier.checkpoint())]


def restored(earlier: Earlier, settings_of: World) -> tuple[PaperExchange, list[Report]]:
    left = earlier.left_of("X")
    assert left is not None
    exchange = PaperExchange(settings_of.exchange.settings, ["X"])
    return exchange, exchange.adopt(left.past)


@settings(max_examples=60, deadline=None)
@given(WORLDS, STEPS, st.lists(st.integers(0, 200), max_size=3))
def test_a_restart_from_a_checkpoint_is_a_restart_from_all_lines(
    old: World, steps: list[Step], cuts: list[int]
) -> None:
    for step in steps:
        step(old)
    whole, parts = Earlier.of([STARTED, *old.said]), Earlier.of([STARTED])
    for at, report in enumerate(old.said):
        parts.take(report)
        if at in cuts:
            parts = Earlier.of(through_a_file(parts))
    assert parts.checkpoint() == whole.checkpoint()
    assert parts.newest_ns == whole.newest_ns
    (one, ended), (other, also_ended) = (restored(each, old) for each in (whole, parts))
    assert also_ended == ended
    assert other.open_orders() == one.open_orders()
    assert other.now_ns == one.now_ns
    for model in MODELS:
        positions = one.position("X", model), other.position("X", model)
        assert money_of_run(positions[0]) == money_of_run(positions[1])


@pytest.mark.parametrize("at", range(2, len(read(journal())), 7))
def test_desks_go_on_from_a_checkpoint_as_from_all_lines(at: int) -> None:
    """With their kill switch, their account and their quote: the run has a kill and a reset."""
    past = read(journal())
    whole = Earlier.of(past)
    parts = Earlier.of([*through_a_file(Earlier.of(past[:at])), *past[at:]])
    assert parts.checkpoint() == whole.checkpoint()
    one, other = (Floor(SETTINGS, [plan()], each) for each in (whole, parts))
    assert other.restored == one.restored
    assert other.now_ns == one.now_ns
    assert standing_of(other, "sim", is_running=False) == standing_of(one, "sim", is_running=False)
    later = walk(5, 60)
    assert played(other, later) == played(one, later)


def test_what_limits_and_kill_switch_remember_stands_in_it() -> None:
    past = read(journal())
    account = [each for each in past if isinstance(each, AccountReport)][-1]
    (record,) = Earlier.of(past).checkpoint().symbols
    assert record.risk is not None
    assert (record.risk.day, record.risk.highest, record.risk.equity) == (
        account.day,
        account.highest,
        account.equity,
    )
    assert (record.kill.state, record.kill.why) == (KillState.ARMED, "reset by alice")
    assert record.quote is not None
    assert record.mark is not None


def test_a_cost_that_does_not_divide_comes_back_to_the_last_digit() -> None:
    held = Position(X)
    held.fill(BUY, 100, 10, 7)
    held.fill(BUY, 103, 7, -3)
    held.fill(SELL, 99, 4)
    again = Position(X, held.export())
    for each in (held, again):
        each.fill(SELL, 101, 20, 1)
    assert again.export() == held.export()
    assert again.unrealised(97) == held.unrealised(97)


def test_amounts_beyond_64_bits_come_back() -> None:
    big = PositionRecord(quantity=10**25, cost=-(10**40), realised=3 * 10**30, fees=-(10**22))
    record = SymbolRecord(symbol="X", last_id=1, time_ns=2, positions=(big, PositionRecord()))
    line = encode(Checkpoint(time_ns=2, symbols=(record,)))
    assert decode(line) == Checkpoint(time_ns=2, symbols=(record,))


def test_many_orders_take_less_than_half_of_what_a_file_has_for_a_symbol() -> None:
    """Of real sizes: as many as the most quotes of a strategy on both sides, none at one price."""
    order = OrderReport(
        time_ns=2**60,
        order_id=10**6,
        model=CONSERVATIVE,
        event=OrderEvent.SEND,
        state=OrderState.SENT,
        symbol="X",
        side=BUY,
        price=2**50,
        order_type=OrderType.POST_ONLY,
        time_in_force=TimeInForce.GTC,
        quantity=2**50,
        remaining=2**50,
    )
    said = [replace(order, order_id=order.order_id + each) for each in range(2 * MAX_QUOTES)]
    assert len(encode(Earlier.of([STARTED, *said]).checkpoint())) < SYMBOL_BYTES / 2


def test_a_later_file_takes_the_place_of_what_was_read_before() -> None:
    past = read(journal())
    left = Earlier.of(past).checkpoint()
    for count in range(1, len(past)):
        earlier = Earlier.of(past[:count])
        earlier.take(STARTED)
        earlier.take(left)
        assert earlier.checkpoint() == left


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"positions": []}, "X has 0 values for 2 fill models"),
        ({"symbol": 7}, "Expected `str`"),
        ({"kill": {"state": "loose"}}, "Invalid enum value 'loose'"),
    ],
)
def test_a_damaged_checkpoint_is_refused(record: dict[str, object], words: str) -> None:
    line = encode(Earlier.of(read(journal())).checkpoint())
    damaged = msgspec.json.decode(line)
    damaged["symbols"][0] |= record
    with pytest.raises(JournalError, match=words):
        decode(msgspec.json.encode(damaged))


def test_an_order_in_one_model_alone_is_damage() -> None:
    world = World()
    world.place(BUY, 100, 5)
    (record,) = Earlier.of([STARTED, *world.said]).checkpoint().symbols
    assert record.orders[0].remaining[PROBABILISTIC] == 5
    damaged = msgspec.to_builtins(record.orders[0]) | {"states": [2]}
    with pytest.raises(msgspec.ValidationError, match="order has 1 values for 2 fill models"):
        msgspec.convert(damaged, type(record.orders[0]))


def test_a_checkpoint_of_a_symbol_that_is_not_traded_is_refused() -> None:
    record = SymbolRecord(symbol="Z", last_id=0, time_ns=0, positions=(PositionRecord(),) * 2)
    with pytest.raises(JournalError, match="the checkpoint has Z, which is not traded"):
        Earlier.of([STARTED, Checkpoint(time_ns=1, symbols=(record,))])


def test_a_checkpoint_is_the_second_line_and_no_other() -> None:
    checkpoint = encode(Earlier.of([STARTED]).checkpoint())
    lines = [encode(STARTED), checkpoint, checkpoint]
    with pytest.raises(JournalError, match="line 3: Checkpoint has to be the second line"):
        list(entries(lines, "a file"))


def test_a_kill_that_is_under_way_goes_on_behind_a_checkpoint() -> None:
    past = read(journal())
    states = [each.state if isinstance(each, KillReport) else "" for each in past]
    parts = Earlier.of(through_a_file(Earlier.of(past[: states.index("cancelling") + 1])))
    (desk,) = Floor(SETTINGS, [plan()], parts).desks
    assert desk.kill.export().cause is KillCause.COMMAND
    assert not desk.kill.is_armed
