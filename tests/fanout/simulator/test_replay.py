"""Captures over loopback sockets: verbatim, complete, and not before somebody listens."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from fanout.simulator import SimulatorConfig
from fanout.simulator.exchange import Exchange
from fanout.simulator.market.clock import Clock
from tests.captures import capture_path
from tests.fanout.simulator.support import (
    TRADES,
    ListedMarket,
    connect,
    data,
    hears_nothing,
    rest,
    start,
    tick,
    trade,
    upgrade,
    write_capture,
)

CAPTURES = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "capture", *((n, trade(n)) for n in range(1, 6)))


async def test_a_market_plays_on_time_to_its_end(autojump_clock: MockClock) -> None:
    rows = [tick(trade(number), number * 60_000_000_000) for number in range(3)]
    exchange = Exchange(ListedMarket(*rows), Clock(0), SimulatorConfig())
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve, server)
        await client.send_all(upgrade("/ws/btcusdt@trade"))
        await exchange.play(2.0)
        assert trio.current_time() == pytest.approx((120 + 0.150) / 2)
        nursery.cancel_scope.cancel()


async def test_a_capture_is_replayed_verbatim_and_then_the_simulator_stays_up(
    nursery: trio.Nursery, capture: Path
) -> None:
    simulator = await start(nursery, captures=(capture,), speed=None)
    recorded = recorded_frames(capture)
    async with connect(simulator, TRADES) as client:
        assert [await client.get_message() for _ in recorded] == recorded
        await simulator.finished.wait()
        assert await hears_nothing(client)
    async with rest(simulator) as http:
        rows = (await http.request("/fapi/v1/trades?symbol=BTCUSDT")).body
        assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]


async def test_no_trade_of_a_capture_is_played_before_somebody_subscribes(
    nursery: trio.Nursery, capture: Path
) -> None:
    simulator = await start(nursery, captures=(capture,), speed=None)
    async with connect(simulator, "/market/stream?streams=btcusdt@trade") as deaf:
        assert await hears_nothing(deaf)
        assert not simulator.finished.is_set()
        async with connect(simulator, TRADES) as client:
            assert (await data(client))["data"]["t"] == 1


async def test_a_held_market_waits_for_its_release(nursery: trio.Nursery, capture: Path) -> None:
    simulator = await start(nursery, captures=(capture,), speed=None, hold=True)
    async with connect(simulator, TRADES) as one, connect(simulator, TRADES) as two:
        assert await hears_nothing(one)
        simulator.release()
        simulator.release()
        assert (await data(one))["data"]["t"] == (await data(two))["data"]["t"] == 1


async def test_the_made_up_past_of_a_replay_is_never_streamed(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    rows = ((n, trade(n, time_ms=n)) for n in range(1_000, 1_100))
    capture = write_capture(tmp_path / "later", *rows)
    simulator = await start(nursery, captures=(capture,), speed=None)
    async with rest(simulator) as http:
        shown = (await http.request("/fapi/v1/trades?symbol=BTCUSDT")).body
        assert [row["id"] for row in shown] == list(range(950, 1_000))
        async with connect(simulator, TRADES) as client:
            assert [(await data(client))["data"]["t"] for _ in range(100)] == [*range(1_000, 1_100)]
        shown = (await http.request("/fapi/v1/trades?symbol=BTCUSDT")).body
        assert [row["id"] for row in shown] == list(range(950, 1_100))


@pytest.mark.long
async def test_both_recorded_captures_come_through_whole_in_order_and_verbatim(
    nursery: trio.Nursery,
) -> None:
    paths = tuple(capture_path(name) for name in CAPTURES)
    simulator = await start(nursery, captures=paths, speed=None)
    target = "/public/stream?streams=btcusdt@trade/ethusdt@trade"
    async with connect(simulator, target, within_s=120) as client:
        received = [await client.get_message() for _ in range(35_389)]
        await simulator.finished.wait()
    assert received == recorded_frames(*paths)
    counts = Counter(json.loads(frame)["stream"] for frame in received)
    assert counts == {"btcusdt@trade": 21_313, "ethusdt@trade": 14_076}


def recorded_frames(*paths: Path) -> list[str]:
    """The trades of whole files, merged by receive time, without any of the code under test."""
    rows = []
    for path in paths:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        lines = [line for line in text.decode().splitlines() if '@trade"' in line]
        rows += [line.split(" ", 1) for line in lines]
    return [frame for _, frame in sorted(rows, key=lambda row: int(row[0]))]
