"""Every id that was issued is accounted for: delivered, withheld, or sent while nobody listened."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection

from fanout.simulator import Simulator
from fanout.simulator.faults import (
    Delay,
    Drop,
    Fault,
    Garble,
    Insert,
    Repeat,
    Shuffle,
    Silence,
    Skip,
    Stall,
)
from fanout.simulator.market.ledger import ForgottenError
from fanout.simulator.market.ticks import NOT_A_FILL
from tests.fanout.simulator.support import TRADES, ask, capture_of, connect, covered, data, start

DAY_S = 24 * 3_600.0

FAULTS: tuple[Fault, ...] = (
    Skip(chance=0.01, count=4),
    Repeat(chance=0.02, later=3),
    Garble(chance=0.01),
    Delay(chance=0.02, by=7),
    Shuffle(chance=0.01, window=12),
)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_delivered_and_withheld_ids_are_all_issued_ids_under_every_fault(
    nursery: trio.Nursery, tmp_path: Path, seed: int
) -> None:
    capture = capture_of(tmp_path / "capture", 3_000)
    simulator = await start(nursery, captures=(capture,), speed=None, hold=True, seed=seed)
    for fault in FAULTS:
        simulator.faults.inject(fault)
    async with connect(simulator, TRADES) as client:
        await ask(client, "LIST_SUBSCRIPTIONS")
        simulator.faults.inject(Insert("BTCUSDT", count=200))
        simulator.release()
        nursery.start_soon(end, simulator)
        delivered = [each async for each in ids_that_can_be_read(client, 3_201)]
    issued = covered(*simulator.issued("BTCUSDT"))
    withheld = covered(*simulator.withheld("BTCUSDT"))
    assert issued == list(range(1, 3_202))
    assert sorted(set(delivered) | set(withheld)) == issued
    assert len(delivered) > len(set(delivered))
    assert delivered != sorted(delivered)
    blank = [run for run in simulator.issued("BTCUSDT") if run.kind == NOT_A_FILL]
    assert covered(*blank) == list(range(1, 201))


async def end(simulator: Simulator) -> None:
    """One more row, when all is over and nothing can go wrong any more."""
    await simulator.finished.wait()
    simulator.faults.clear()
    simulator.faults.inject(Insert("BTCUSDT", "THE_END"))


async def ids_that_can_be_read(client: WebSocketConnection, last_id: int) -> AsyncIterator[int]:
    trade_id = 0
    while trade_id != last_id:
        try:
            trade_id = (await data(client))["data"]["t"]
        except json.JSONDecodeError:
            continue
        yield trade_id


async def test_ids_fetched_in_pieces_equal_those_fetched_at_once(simulator: Simulator) -> None:
    found: list[int] = []
    async with connect(simulator, TRADES) as client:
        for _ in range(20):
            for _ in range(50):
                await data(client)
            found += covered(*simulator.issued("BTCUSDT", after=found[-1] if found else None))
    assert found == list(range(found[0], found[0] + len(found)))
    assert len(found) >= 500


async def test_kept_ids_are_limited_and_forgotten_ones_are_refused(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    capture = capture_of(tmp_path / "capture", 3_000)
    simulator = await start(nursery, captures=(capture,), speed=None, kept_ids=1_000)
    async with connect(simulator, TRADES) as client:
        while (await data(client))["data"]["t"] < 3_000:
            pass
    assert covered(*simulator.issued("BTCUSDT")) == list(range(2_001, 3_001))
    with pytest.raises(ForgottenError):
        simulator.issued("BTCUSDT", after=1_000)


async def test_thirty_days_pass_in_virtual_time_and_every_id_is_accounted_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Over sockets. The market, the 24 hours and the faults follow trio's clock alone."""
    start_ms = 1_790_000_000_000
    simulator = await start(
        nursery,
        symbols=("BTCUSDT",),
        rate=0.002,
        start_ns=start_ms * 1_000_000,
        ping_every_s=3_600.0,  # pings take most of the test's time
    )
    began_s = trio.current_time()
    delivered: list[int] = []
    connections = 0
    newest_ms = 0
    while trio.current_time() - began_s < 30 * DAY_S:
        async with connect(simulator, TRADES, within_s=2 * DAY_S) as client:
            connections += 1
            simulator.faults.inject(Skip("BTCUSDT", 2))
            if connections % 3 == 0:
                simulator.faults.inject(Silence(for_s=3_600))
            if connections % 5 == 0:
                simulator.faults.inject(Stall(60))
                nursery.start_soon(drop_in, simulator, DAY_S / 2)
            try:
                while True:
                    row = (await data(client))["data"]
                    delivered.append(row["t"])
                    newest_ms = row["T"]
            except ConnectionClosed:
                pass
    assert 30 < connections < 40
    days = (newest_ms - start_ms) / 86_400_000
    assert 28 < days < 32
    issued = covered(*simulator.issued("BTCUSDT"))
    withheld = covered(*simulator.withheld("BTCUSDT"))
    assert issued == list(range(issued[0], issued[0] + len(issued)))
    assert len(issued) > 3_000
    assert not set(delivered) & set(withheld)
    unheard = sorted(set(issued) - set(delivered) - set(withheld))
    assert len(unheard) <= 2 * connections  # on their way, when a connection was cut


async def drop_in(simulator: Simulator, seconds: float) -> None:
    await trio.sleep(seconds)
    simulator.faults.inject(Drop(how="reset"))
