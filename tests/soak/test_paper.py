"""The soak of trading on paper in short form, and its oracle: it sees what is wrong."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from fanout.protocol import Trade
from fanout.trading.kill import KillCause
from fanout.trading.orders import OrderEvent
from fanout.trading.reports import Fill, KillReport, OrderReport, PositionReport, Trust
from fanout.trading.running.floor import Floor
from fanout.trading.running.journal import Entry
from tests.fanout.trading.running.test_floor import SETTINGS, STARTED, plan, played, walk
from tests.soak.paper import paper_soak, report
from tests.soak.paper_oracle import Allowed, PaperOracle, Row
from tests.thoroughness import small_dose

ALLOWED = Allowed(
    position=Decimal(9), open_orders=4, rate=100, burst=100, maker_fee=Fraction(1, 10_000)
)


@small_dose
async def test_a_small_soak_shows_no_fault(tmp_path: Path) -> None:
    soak = await paper_soak(5.0, 3, tmp_path)
    assert report(soak) == 0
    assert soak.same > 100
    assert soak.oracles["wild"].counts["kills proved"]


@cache
def journal() -> tuple[tuple[Entry, ...], dict[int, Row]]:
    """What a run reported, killed and reset in the middle, and the trades it saw."""
    records = walk(3, 200)
    floor = Floor(SETTINGS, [plan()])
    said: list[Entry] = [STARTED, *played(floor, records[:100])]
    said += floor.pull(KillCause.COMMAND, "a test")
    said += floor.advance(floor.now_ns + 10**9)
    said += floor.reset("a test")
    said += played(floor, [each for each in records[100:] if _time(each) > floor.now_ns])
    rows = {
        each.trade_id: Row(Decimal(each.price), Decimal(each.quantity), each.buyer_is_maker)
        for each in records
        if isinstance(each, Trade)
    }
    return tuple(said), rows


def _time(record: object) -> int:
    return getattr(record, "received_ns", 2**62)


def judged(entries: list[Entry], allowed: Allowed = ALLOWED) -> PaperOracle:
    rows = journal()[1]
    oracle = PaperOracle(lambda _, trade_id: rows.get(trade_id), {"X": allowed})
    oracle.judge(entries)
    oracle.end()
    return oracle


def place_of(entries: list[Entry], is_it: Callable[[Entry], bool], skip: int = 0) -> int:
    return [number for number, each in enumerate(entries) if is_it(each)][skip]


def is_fill(entry: Entry) -> bool:
    return isinstance(entry, Fill)


def is_latched(entry: Entry) -> bool:
    return isinstance(entry, KillReport) and entry.state == "latched"


def is_sent(entry: Entry) -> bool:
    return isinstance(entry, OrderReport) and entry.event is OrderEvent.SEND


def test_a_run_that_is_right_has_no_complaints() -> None:
    oracle = judged(list(journal()[0]))
    assert oracle.complaints == []
    for each in ("fills, conservative", "positions compared", "kills proved", "freezes"):
        assert oracle.counts[each]


CHANGES: dict[str, Callable[[Fill], Fill]] = {
    "the fee is wrong": lambda fill: replace(fill, fee="0"),
    "of no trade": lambda fill: replace(fill, trade_id=10**9),
    "it is not as its order": lambda fill: replace(fill, price=fill.price + 1),
    "the fills make a position": lambda fill: replace(fill, position=10**6),
    "is spent": lambda fill: replace(fill, quantity=10**6),
    "of no order that works": lambda fill: replace(fill, order_id=10**6),
    "it is older than the acknowledgement": lambda fill: replace(fill, time_ns=1),
    "time goes back": lambda fill: replace(fill, time_ns=1),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_fill_that_is_wrong_is_seen(words: str) -> None:
    entries = list(journal()[0])
    at = place_of(entries, is_fill)
    fill = entries[at]
    assert isinstance(fill, Fill)
    entries[at] = CHANGES[words](fill)
    assert any(words in each for each in judged(entries).complaints)


def test_a_fill_that_is_missing_is_seen() -> None:
    entries = list(journal()[0])
    del entries[place_of(entries, is_fill)]
    assert any("the fills make" in each for each in judged(entries).complaints)


def test_a_fill_while_frozen_is_seen() -> None:
    entries = list(journal()[0])
    at = place_of(entries, is_fill)
    time_ns = entries[at].time_ns  # type: ignore[union-attr]
    entries.insert(at, Trust(time_ns=time_ns, symbol="X", is_frozen=True, why=""))
    assert "fills are frozen" in judged(entries).complaints[0]


def test_an_order_that_is_open_after_the_kill_is_seen() -> None:
    entries = list(journal()[0])
    at = place_of(entries, is_latched)
    entries.pop(at - 1)  # the last cancel
    assert any("are open" in each for each in judged(entries).complaints)


def test_an_order_between_kill_and_reset_is_seen() -> None:
    entries = list(journal()[0])
    sent = entries[place_of(entries, is_sent, -1)]
    entries.insert(place_of(entries, is_latched) + 1, sent)
    assert any("latched, and yet" in each for each in judged(entries).complaints)


def test_a_kill_that_is_never_proved_is_seen() -> None:
    entries = list(journal()[0])
    entries = entries[: place_of(entries, is_latched)]
    assert judged(entries).complaints == ["the kill of X was never proved"]


@pytest.mark.parametrize("name", ["realised", "unrealised", "equity", "fees"])
def test_money_that_is_wrong_is_seen(name: str) -> None:
    entries = list(journal()[0])
    at = place_of(
        entries, lambda each: isinstance(each, PositionReport) and each.unrealised is not None, -1
    )
    entries[at] = replace(entries[at], **{name: "0.123"})  # type: ignore[type-var]
    assert len(judged(entries).complaints) > 0


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        ({"position": Decimal(2)}, "could exceed the position limit"),
        ({"open_orders": 1}, "orders are open with"),
        ({"rate": 1, "burst": 1}, "orders in"),
    ],
)
def test_a_limit_that_is_exceeded_is_seen(allowed: dict[str, object], words: str) -> None:
    oracle = judged(list(journal()[0]), replace(ALLOWED, **allowed))
    assert any(words in each for each in oracle.complaints)
