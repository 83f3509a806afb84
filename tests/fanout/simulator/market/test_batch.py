"""Trades in one message: by sweep, by interval, up to a number, and what a fault changes."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.simulator.dialects import DIALECTS
from fanout.simulator.dialects.base import Batching
from fanout.simulator.dialects.binance_usdm import BinanceUsdm
from fanout.simulator.faults import Delay, Garble, Insert, Renumber, Repeat, Skip
from fanout.simulator.market.batch import Batcher, with_batches
from fanout.simulator.market.clock import NS_PER_MS, NS_PER_S
from fanout.simulator.market.ledger import ForgottenError, IdRange
from fanout.simulator.market.ticks import MARKET, Tick
from tests.fanout.simulator.support import MemoryExchange, covered, tick, trade
from tests.stand.callers import RawClient

BATCHED = "batched"


class Batched(BinanceUsdm):
    """A message is a list of ids. Clients get ids of another numbering, which descends."""

    batching: Batching | None = Batching(0, most=3)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return json.dumps([each.trade_id for each in tick.trades]).encode()

    def wire_id(self, symbol: str, trade_id: int) -> int:
        return 2**64 - 1 - trade_id


def sweeps(*sizes: int, symbol: str = "BTCUSDT", gap_ns: int = NS_PER_S) -> Iterator[Tick]:
    first_id = 1
    for number, size in enumerate(sizes, 1):
        rows = [trade(first_id + n, symbol=symbol) for n in range(size)]
        due_ns, first_id = number * gap_ns, first_id + size
        yield Tick(due_ns, f"{symbol}@trade", rows[0], sweep=tuple(rows))
        yield from (tick(row, due_ns) for row in rows[1:])


def messages(ticks: Iterable[Tick], batcher: Batcher) -> list[tuple[int, list[int]]]:
    """When each message is sent, in ms, and the ids in it."""
    found: list[Tick] = []
    for each in with_batches(ticks, batcher):
        found += batcher.ready() if each.is_batch else filter(None, [batcher.take(each, each)])
    return [(each.due_ns // NS_PER_MS, [row.trade_id for row in each.trades]) for each in found]


def test_a_sweep_is_one_message_and_a_long_one_several() -> None:
    found = messages(sweeps(1, 4, 3), Batcher(0, 3))
    assert found == [(1_000, [1]), (2_000, [2, 3, 4]), (2_000, [5]), (3_000, [6, 7, 8])]


def test_with_an_interval_a_message_is_sent_at_its_end_or_when_it_is_full() -> None:
    ticks = sweeps(1, 1, 4, 1, 1, gap_ns=20 * NS_PER_MS)
    assert messages(ticks, Batcher(50, 5)) == [(60, [1, 2, 3, 4, 5]), (110, [6, 7, 8])]


def test_symbols_have_messages_of_their_own() -> None:
    btc, eth = sweeps(2), sweeps(2, symbol="ETHUSDT")
    mixed = [each for pair in zip(btc, eth, strict=True) for each in pair]
    assert messages(mixed, Batcher(0, 9)) == [(1_000, [1, 2]), (1_000, [1, 2])]
    assert messages(mixed, Batcher(100, 9)) == [(1_100, [1, 2]), (1_100, [1, 2])]


def test_a_halt_in_a_sweep_ends_with_it_and_a_recorded_message_stays_as_it_is() -> None:
    batcher = Batcher(0, 9)
    first, second, third = sweeps(3)
    assert batcher.take(first, first) is None
    assert batcher.take(second, None) is None
    sent = batcher.take(third, None)
    assert sent is not None
    assert sent.trades == (first.trade,)
    recorded = Tick(0, "BTCUSDT@trade", trade(9), recorded=b"[9]")
    assert batcher.take(recorded, recorded) is recorded


@pytest.fixture
def dialect(monkeypatch: pytest.MonkeyPatch) -> Batched:
    dialect = Batched()
    monkeypatch.setitem(DIALECTS, BATCHED, dialect)
    return dialect


async def heard(client: RawClient, count: int) -> list[Any]:
    found = []
    for _ in range(count):
        event: Any = await client.event()
        try:
            found.append(json.loads(event.data)["data"])
        except json.JSONDecodeError:
            found.append(None)
    return found


@pytest.mark.parametrize("interval_ms", [0, 100])
async def test_faults_act_on_messages_and_the_ledger_counts_all_ids(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: Batched, interval_ms: int
) -> None:
    dialect.batching = Batching(interval_ms, most=3)
    venue = MemoryExchange(nursery, *sweeps(2, 2, 1, 2, 1, 2), dialect=BATCHED)
    client = await venue.client()
    for fault in (Delay(by=1), Repeat("BTCUSDT"), Skip("BTCUSDT"), Garble("BTCUSDT")):
        venue.faults.inject(fault)
    nursery.start_soon(venue.exchange.play, 1.0)
    assert await heard(client, 6) == [None, [1, 2], [5], [6, 7], [8], [9, 10]]
    on_wire = [2**64 - 1 - number for number in range(1, 11)]
    assert covered(*venue.exchange.issued("BTCUSDT")) == on_wire
    assert sorted(set(covered(*venue.exchange.withheld("BTCUSDT")))) == [on_wire[3], on_wire[2]]


async def test_inserted_rows_follow_those_that_wait_and_new_ids_begin_a_message(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: Batched
) -> None:
    dialect.batching = Batching(500, most=3)
    venue = MemoryExchange(nursery, *sweeps(1, 1, gap_ns=NS_PER_S), dialect=BATCHED)
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(1.2)
    venue.faults.inject(Insert("BTCUSDT", MARKET, 4))
    assert await heard(client, 3) == [[1], [2, 3, 4], [5]]
    await trio.sleep(1.0)
    venue.faults.inject(Renumber("BTCUSDT", 1))
    assert trio.current_time() == pytest.approx(2.2)
    assert await heard(client, 1) == [[6]]
    assert trio.current_time() == pytest.approx(2.2)


async def test_ids_after_one_are_those_issued_after_it(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: Batched
) -> None:
    venue = MemoryExchange(nursery, *sweeps(2, 2), dialect=BATCHED)
    await venue.client()
    await venue.exchange.play(None)
    last_id = 2**64 - 1
    ids = tuple(IdRange(last_id - n, last_id - n, MARKET) for n in (3, 4))
    assert venue.exchange.issued("BTCUSDT", after=last_id - 2) == ids
    with pytest.raises(ForgottenError, match="id 7 is none of those"):
        venue.exchange.issued("BTCUSDT", after=7)
