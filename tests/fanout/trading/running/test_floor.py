"""All desks of a run: time between records, several desks, and a restart at any byte."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.outcomes import Disconnected
from fanout.protocol import FeedState, Instrument, Loss, Status
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.errors import LimitsError, TransitionError
from fanout.trading.exchange.own_order import MODELS
from fanout.trading.kill import KillCause, KillState
from fanout.trading.limits import Check, Limits
from fanout.trading.orders import Latencies, OrderState
from fanout.trading.position import Position
from fanout.trading.reports import (
    AccountReport,
    Fill,
    KillReport,
    OrderReport,
    QuoteReport,
    Report,
    Trust,
)
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.floor import Floor, Plan
from fanout.trading.running.journal import VERSION, Entry, Started, encode, entries
from fanout.trading.running.standing import standing_of
from fanout.trading.settings import ExchangeSettings
from fanout.trading.strategies.base import Quoted, Quotes, View
from tests.fanout.trading.test_risk import OFF
from tests.fanout.trading.world import BUY, MS, SELL, START_MS, World, X

SETTINGS = ExchangeSettings(
    latencies=Latencies(acknowledge_ns=3 * MS, cancel_ns=5 * MS), maker_fee=10_000
)
Y = replace(X, index=1, symbol="Y")


class Tape(World):
    """Records, without an exchange."""

    def __init__(self, instrument: Instrument = X) -> None:
        self.records: list[object] = []
        super().__init__(instrument)

    def take(self, record: object) -> list[Report]:
        self.records.append(record)
        return []


class Follow:
    """Quotes one around the market, two deep."""

    def quote(self, view: View) -> Quotes | None:
        bid, ask = view.bid.price, view.ask.price
        return Quotes(
            bids=(Quoted(bid, 3),) if view.position < 6 else (),
            asks=(Quoted(ask, 3),) if view.position > -6 else (),
            fair_value=view.mid,
            skew=0.0,
        )

    def filled(self, fill: Fill) -> None:
        pass

    def stopped(self, why: str) -> None:
        pass


class Faulty(Follow):
    """Does what no strategy should, from its second quote on."""

    def __init__(self, fault: Callable[[View], Quotes]) -> None:
        self.fault = fault
        self.asked = 0

    def quote(self, view: View) -> Quotes | None:
        self.asked += 1
        return super().quote(view) if self.asked < 2 else self.fault(view)


def plan(
    instrument: Instrument = X,
    strategy: object = None,
    *,
    stream: int = 0,
    limits: Limits = OFF,
    min_life_ms: int = 0,
    kill_on_feed_loss: bool = False,
) -> Plan:
    return Plan(
        stream=stream,
        instrument=instrument,
        strategy=strategy or Follow(),  # type: ignore[arg-type]
        limits=limits,
        settings=DeskSettings(min_life_ns=min_life_ms * MS, kill_on_feed_loss=kill_on_feed_loss),
    )


STARTED = Started(
    version=VERSION, fanout="0", venue="sim", instruments=(X,), settings={}, inputs=("tape",)
)


def played(floor: Floor, records: Sequence[object], stream: int = 0) -> list[Report]:
    said: list[Report] = []
    for each in records:
        said += floor.take(stream, each)  # type: ignore[arg-type]
    return said


def walk(seed: int, length: int = 120, instrument: Instrument = X) -> list[object]:
    """A market that wanders, with trades that reach the best prices."""
    random, tape, mid = Random(seed), Tape(instrument), 100
    for _ in range(length):
        step = random.random()
        tape.ms += random.choice((0, 1, 2, 9, 40))
        if step < 0.5:
            tape.trade(*random.choice(((mid, 4, SELL), (mid + 1, 4, BUY))))
        elif step < 0.9:
            tape.book([(mid, random.randrange(1, 9))], [(mid + 1, random.randrange(1, 9))])
        elif step < 0.97:
            mid += random.choice((-1, 1))
            tape.whole([(mid, 5), (mid - 1, 9)], [(mid + 1, 5), (mid + 2, 9)])
        else:
            tape.lose()
            tape.whole([(mid, 5), (mid - 1, 9)], [(mid + 1, 5), (mid + 2, 9)])
    return tape.records


def kinds(said: Sequence[Report], kind: type[Report]) -> list[Report]:
    return [each for each in said if isinstance(each, kind)]


# Time.


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_time_that_passes_by_heartbeats_changes_nothing(seed: int, beats: int) -> None:
    """As it is live. In a journal time shows with the next record alone."""
    records, random = walk(seed), Random(beats)
    limits = replace(OFF, stale_ms=30, kills=frozenset({Check.STALE_DATA}))
    once, beaten = (Floor(SETTINGS, [plan(limits=limits, min_life_ms=4)]) for _ in range(2))
    said: list[Report] = []
    for each in records:
        until_ns = getattr(each, "received_ns", 0)
        if until_ns:
            for _ in range(random.randrange(4)):
                said += beaten.advance(random.randint(START_MS * MS, until_ns))
        said += beaten.take(0, each)  # type: ignore[arg-type]

    assert said == played(once, records)
    assert kinds(said, OrderReport)


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_heartbeats_before_a_loss_change_nothing(
    seed: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss has no time, and what is reported of it has that of the newest record or event."""
    monkeypatch.setattr("fanout.trading.running.floor.ACCOUNT_EVERY_NS", 2 * MS)
    plans = [plan(), plan(Y, stream=1)][:streams]
    once, beaten = Floor(SETTINGS, plans), Floor(SETTINGS, plans)
    said, expected = [], []
    for each, following in pairwise(walk(seed)):
        if isinstance(each, Loss) and beaten.now_ns:
            # Further than that an acknowledgement would come before the loss, and not after it.
            newest_ns = following.received_ns  # type: ignore[attr-defined]
            said += beaten.advance(int(min(beaten.next_ns, newest_ns)) - 1)
        for stream in range(streams):
            said += beaten.take(stream, each)  # type: ignore[arg-type]
            expected += once.take(stream, each)  # type: ignore[arg-type]
    assert said == expected
    assert kinds(said, AccountReport)


def test_a_silence_before_a_status_passes_in_a_journal_too() -> None:
    """Live the order is acknowledged in the silence, and so it is in a journal: a Status has a
    time."""
    tape = Tape()
    tape.book([(100, 9)])
    tape.ms += 5_000
    tape.status(FeedState.STALE)
    live, replayed = Floor(SETTINGS, [plan()]), Floor(SETTINGS, [plan()])
    said = played(live, tape.records[:-1])
    said += live.advance((tape.ms - 1) * MS)
    said += live.take(0, tape.records[-1])  # type: ignore[arg-type]
    assert said == played(replayed, tape.records)
    assert [each.state.name for each in kinds(said, OrderReport)[-1:]] == ["CANCELLING"]  # type: ignore[attr-defined]


def test_data_that_is_stale_kills_at_its_time_although_nothing_comes() -> None:
    limits = replace(OFF, stale_ms=30, kills=frozenset({Check.STALE_DATA}))
    floor, tape = Floor(SETTINGS, [plan(limits=limits)]), Tape()
    tape.book([(100, 9)])
    played(floor, tape.records)
    last_ns = tape.ms * MS

    assert not kinds(floor.advance(last_ns + 30 * MS), KillReport)
    pulled, latched = kinds(floor.advance(last_ns + 99 * MS), KillReport)
    assert pulled.time_ns == last_ns + 30 * MS + 1
    assert pulled.why == "stale_ms is 31, above the limit of 30"  # type: ignore[union-attr]
    assert latched.time_ns == pulled.time_ns + 5 * MS + 1


def test_no_desk_acts_before_a_record_has_a_time() -> None:
    """A stream begins with a book that has none. The run may go on long after an earlier start."""
    floor, tape = Floor(SETTINGS, [plan()]), Tape()
    tape.book([(100, 9)])
    early = replace(tape.records[0], received_ns=0)  # type: ignore[type-var]

    assert floor.take(0, early) == []
    said = floor.take(0, tape.records[1])  # type: ignore[arg-type]
    assert {each.time_ns for each in said} == {tape.ms * MS}
    assert kinds(said, QuoteReport)


def test_the_same_records_give_the_same_reports() -> None:
    one, other = (played(Floor(SETTINGS, [plan()]), walk(7, 400)) for _ in range(2))

    assert [encode(each) for each in one] == [encode(each) for each in other]
    assert kinds(one, Fill)
    assert kinds(one, AccountReport)


# Trades that cause nothing.


class Asking(Floor):
    """Asks the desk about every trade."""

    def _is_quiet(self, seat: object) -> bool:
        return False


def disturbed(floor: Floor, records: Sequence[object], seed: int) -> list[Report]:
    """With lost connections, states of the feed, heartbeats, pulls and resets in between."""
    said, random = list[Report](), Random(seed)
    for number, each in enumerate(records):
        said += floor.take(0, each)  # type: ignore[arg-type]
        chance = random.random()
        if chance < 0.04:
            said += floor.take(0, Disconnected(why="gone", pause_s=0.1))
        elif chance < 0.1:
            state = random.choice((FeedState.STALE, FeedState.LIVE, FeedState.LIVE))
            about = random.choice((X, None))
            status = Status(seq=number, instrument=about, state=state, since_ns=floor.now_ns)
            said += floor.take(0, status)
        elif chance < 0.2:
            said += floor.advance(floor.now_ns + random.randrange(40 * MS))
        elif chance < 0.22 and floor.is_any_armed:
            said += floor.pull(KillCause.SIGNAL, "by chance")
        elif not floor.is_any_armed and floor.desks[0].kill.state is KillState.LATCHED:
            said += floor.reset("alice")
    return said


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.booleans(), st.sampled_from((0, 4, 25)))
def test_a_desk_need_not_be_asked_about_a_trade_that_causes_nothing(
    seed: int, chance: int, has_limits: bool, min_life_ms: int
) -> None:
    limits = OFF
    if has_limits:
        kills = frozenset({Check.STALE_DATA, Check.DRAWDOWN})
        limits = replace(OFF, stale_ms=60, drawdown=10**15, orders_per_second=40, kills=kills)
    plans = [plan(limits=limits, min_life_ms=min_life_ms)]
    records = walk(seed, 250)

    said = disturbed(Floor(SETTINGS, plans), records, chance)
    assert said == disturbed(Asking(SETTINGS, plans), records, chance)
    assert kinds(said, OrderReport)


def test_a_desk_is_not_asked_about_a_trade_that_causes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    floor, tape, asked = Floor(SETTINGS, [plan()]), Tape(), list[object]()
    tape.book([(100, 9)])
    played(floor, tape.records)
    floor.advance((tape.ms + 20) * MS)
    tape.ms += 30
    tape.records.clear()
    for _ in range(10):
        tape.trade(50, 1, BUY)
    monkeypatch.setattr(Desk, "answer", lambda _, reports: asked.append(reports) or [])

    assert played(floor, tape.records) == []
    assert asked == []


# Several desks.


def test_a_desk_for_each_symbol_of_several_streams_shares_the_numbers_of_orders() -> None:
    floor = Floor(SETTINGS, [plan(), plan(Y, stream=1)])
    both = sorted(
        [(0, each) for each in walk(1)] + [(1, each) for each in walk(2, instrument=Y)],
        key=lambda pair: getattr(pair[1], "received_ns", 0),
    )
    said = [report for stream, each in both for report in floor.take(stream, each)]  # type: ignore[arg-type]
    owners: dict[int, set[str]] = {}
    for each in kinds(said, OrderReport):
        assert isinstance(each, OrderReport)
        owners.setdefault(each.order_id, set()).add(each.symbol)

    assert all(len(each) == 1 for each in owners.values())
    assert {name for each in owners.values() for name in each} == {"X", "Y"}


def crossed(view: View) -> Quotes:
    return Quotes(
        bids=(Quoted(view.ask.price, 1),),
        asks=(Quoted(view.bid.price, 1),),
        fair_value=view.mid,
        skew=0.0,
    )


def thousand(view: View) -> Quotes:
    bids = tuple(Quoted(view.bid.price + 1 - each, 1) for each in range(1, 1_001))
    return Quotes(bids=bids, asks=(), fair_value=view.mid, skew=0.0)


def nan(view: View) -> Quotes:
    return Quotes(bids=(), asks=(), fair_value=float("nan"), skew=0.0)


def raises(view: View) -> Quotes:
    raise ZeroDivisionError("a strategy's own mistake")


@pytest.mark.parametrize("fault", [crossed, thousand, nan, raises])
def test_a_faulty_strategy_stops_its_own_desk_and_no_other(
    fault: Callable[[View], Quotes],
) -> None:
    floor = Floor(SETTINGS, [plan(strategy=Faulty(fault)), plan(Y)])
    records = [*walk(3, 60), *walk(4, 60, Y)]
    records.sort(key=lambda each: getattr(each, "received_ns", 0))
    said = played(floor, records)
    faulty, other = floor.desks

    assert faulty.kill.state is KillState.LATCHED
    assert faulty.kill.export().cause is KillCause.STRATEGY
    assert faulty.kill.why
    assert other.kill.is_armed
    assert floor.exchanges[0].open_orders("X") == ()
    assert [each for each in kinds(said, Fill) if each.symbol == "Y"]  # type: ignore[union-attr]


# The kill switch.


def test_a_pull_stops_every_desk_and_a_reset_arms_all() -> None:
    floor = Floor(SETTINGS, [plan(), plan(Y)])
    played(floor, [*Tape().records, *Tape(Y).records, *walk(5, 9)])
    now_ns = floor.now_ns
    said = floor.pull(KillCause.FILE, "a file")
    with pytest.raises(TransitionError, match="cancelling"):
        floor.reset("alice")

    assert floor.pull(KillCause.SIGNAL, "again") == []
    assert not floor.is_any_armed
    assert [each.cause for each in kinds(said, KillReport)] == ["file"] * 2  # type: ignore[union-attr]
    said = floor.settle()
    assert [each.state for each in kinds(said, KillReport)] == ["latched"] * 2  # type: ignore[union-attr]
    assert floor.now_ns > now_ns
    assert all(each.open_orders() == () for each in floor.exchanges)
    said = floor.reset("alice")
    assert [each.why for each in kinds(said, KillReport)] == ["reset by alice"] * 2  # type: ignore[union-attr]
    assert floor.is_any_armed
    assert floor.settle() == []


def test_a_feed_that_is_lost_kills_where_that_is_set() -> None:
    floor = Floor(SETTINGS, [plan(kill_on_feed_loss=True), plan(Y)])
    played(floor, [*Tape().records, *Tape(Y).records, *walk(6, 9)])
    said = floor.take(0, Disconnected(why="gone", pause_s=1.0))  # type: ignore[call-arg]

    assert [each.symbol for each in kinds(said, KillReport)][:1] == ["X"]  # type: ignore[union-attr]
    assert floor.desks[0].kill.export().cause is KillCause.FEED
    assert floor.desks[1].kill.is_armed


# A restart.


@cache
def journal(seed: int = 11) -> bytes:
    """That of a run with fills, a kill and a reset."""
    floor, records = Floor(SETTINGS, [plan()]), walk(seed, 90)
    said = played(floor, records[:60])
    said += floor.pull(KillCause.COMMAND, "a test")
    said += played(floor, records[60:75])
    said += floor.reset("alice")
    said += played(floor, records[75:])
    assert kinds(said, Fill)
    return b"".join(map(encode, [STARTED, *said]))


def read(data: bytes) -> list[Entry]:
    return list(entries(data.splitlines(keepends=True), "a journal"))


def money(position: Position | None) -> tuple[int, ...]:
    if position is None:
        return (0,) * 5
    return position.quantity, position.realised, position.fees, position.bought, position.sold


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 1_000))
def test_every_part_of_a_journal_brings_back_a_run_that_goes_on(part: float, seed: int) -> None:
    data = journal()[: int(len(journal()) * part)]
    past = read(data)
    floor = Floor(SETTINGS, [plan()], Earlier.of(past))
    (desk,) = floor.desks

    for model in MODELS:
        booked = Position(X)
        for each in past:
            if isinstance(each, Fill) and each.model is model:
                fee = int(float(each.fee) * 10**12)
                booked.fill(each.side, each.price, each.quantity, fee)
        held = floor.exchanges[0].position("X", model)
        assert money(held)[0] == booked.quantity
        assert money(held)[1] == booked.realised
    kills = [each.state for each in past if isinstance(each, KillReport)]
    assert desk.kill.is_armed is (not kills or kills[-1] == "armed")
    for order in floor.exchanges[0].orders("X"):
        assert {order.states[each] for each in MODELS if order.is_open(each)} <= {
            OrderState.OPEN,
            OrderState.CANCELLING,
        }
        assert desk.kill.is_armed or order.cancel_due_ns is not None

    # What ended with the run is written down, and ends once.
    twice = Floor(SETTINGS, [plan()], Earlier.of([*past, *floor.restored]))
    assert [each for each in twice.restored if isinstance(each, OrderReport)] == []
    assert standing_of(twice, "sim", is_running=False).desks[0].symbol == "X"

    later = walk(seed, 40)
    shift_ns = floor.now_ns + 3_600_000 * MS
    said = played(floor, [_later(each, shift_ns) for each in later])
    assert all(one.time_ns <= other.time_ns for one, other in pairwise(said))
    assert desk.kill.is_armed or floor.exchanges[0].open_orders() == ()


def _later(record: object, shift_ns: int) -> object:
    received_ns = getattr(record, "received_ns", 0)
    return replace(record, received_ns=received_ns + shift_ns) if received_ns else record  # type: ignore[type-var]


def test_what_ends_with_a_run_ends_when_that_ended_and_not_before() -> None:
    """Another symbol was traded on after the last report of the one whose order has to end."""
    old = World(acknowledge_ms=5)
    old.send(BUY, 99, 5)
    later = Trust(time_ns=old.ms * MS + 7, symbol="Y", is_frozen=True, why="a test")
    started = replace(STARTED, instruments=(X, Y))
    floor = Floor(SETTINGS, [plan(), plan(Y)], Earlier.of([started, *old.said, later]))

    assert {each.time_ns for each in floor.restored} == {later.time_ns}


def test_what_was_lost_today_is_remembered() -> None:
    past = read(journal())
    accounts = [each for each in past if isinstance(each, AccountReport)]
    floor = Floor(SETTINGS, [plan()], Earlier.of(past))

    record = floor.desks[0].risk_record
    assert accounts
    assert (record.day, record.highest) == (accounts[-1].day, accounts[-1].highest)
    assert record.equity == accounts[-1].equity != 0


def test_a_run_that_was_killed_stays_so_and_cancels_what_came_back() -> None:
    lines = journal().splitlines(keepends=True)
    (at,) = [
        place
        for place, line in enumerate(lines)
        if b'"KillReport"' in line and b"cancelling" in line
    ]
    floor = Floor(SETTINGS, [plan()], Earlier.of(read(b"".join(lines[: at + 1]))))
    (desk,) = floor.desks

    assert not desk.kill.is_armed
    assert (desk.kill.export().cause, desk.kill.why) == (KillCause.COMMAND, "a test")
    floor.settle()
    assert desk.kill.state is KillState.LATCHED
    assert floor.exchanges[0].open_orders() == ()


@pytest.mark.parametrize(
    ("instrument", "words"),
    [
        (Y, "the journal has X, which is not among the symbols now"),
        (replace(X, price_exponent=-1), "the price_exponent of X was 0 in the journal, and is -1"),
        (replace(X, contract_mantissa=10), "the contract_mantissa of X was 1"),
    ],
)
def test_a_journal_of_another_symbol_or_unit_is_refused(instrument: Instrument, words: str) -> None:
    with pytest.raises(LimitsError, match=words):
        Floor(SETTINGS, [plan(instrument)], Earlier.of(read(journal())))


def test_a_new_symbol_may_join_a_run() -> None:
    floor = Floor(SETTINGS, [plan(), plan(Y)], Earlier.of(read(journal())))

    assert [each.symbol for each in floor.desks] == ["X", "Y"]
    assert money(floor.exchanges[0].position("Y", MODELS[0])) == (0,) * 5


def test_how_it_stands_has_every_number_as_text() -> None:
    limits = replace(OFF, open_orders=4, position=6, daily_loss=10**12, stale_ms=0)
    floor = Floor(SETTINGS, [plan(limits=limits)])
    played(floor, walk(8, 30))
    (desk,) = standing_of(floor, "sim", is_running=True).desks
    used = {each.check: each for each in desk.limits}

    assert (desk.kill.state, desk.frozen_why) == ("armed", "")
    assert desk.quote is not None
    assert desk.orders
    assert {each.side for each in desk.orders} <= {"buy", "sell"}
    assert [each.is_lead for each in desk.positions] == [True, False]
    assert used["open_orders"].limit == "4"
    assert used["open_orders"].used == int(used["open_orders"].value or 0) / 4
    assert used["position"].used is not None
    assert used["drawdown"].limit is None
    assert used["drawdown"].value is not None
    assert used["stale_ms"].used == 0.0
