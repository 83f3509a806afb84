"""The simulators that most tests over sockets talk to."""

from pathlib import Path

import pytest
import trio

from fanout.simulator import Simulator
from fanout.simulator.dialects import DIALECTS
from tests.fanout.simulator.support import MemoryExchange, capture_of, start
from tests.fanout.simulator.toy import Toy
from tests.fanout.simulator.toy_client import ToyClient, toy_client, toy_exchange


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> Simulator:
    """A busy synthetic market of two symbols."""
    return await start(nursery, symbols=("BTCUSDT", "币安人生USDT"), rate=5_000.0)


@pytest.fixture
async def held(nursery: trio.Nursery, tmp_path: Path) -> Simulator:
    """Ten trades of BTCUSDT, 1 to 10, that wait for their release and are played flat out."""
    capture = capture_of(tmp_path / "capture", 10)
    return await start(nursery, captures=(capture,), speed=None, hold=True)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> MemoryExchange:
    """Ten trades a second of BTCUSDT, at a venue with everything. For virtual time."""
    monkeypatch.setitem(DIALECTS, "toy", Toy())
    return toy_exchange(nursery)


@pytest.fixture
async def client(nursery: trio.Nursery, toy: MemoryExchange) -> ToyClient:
    return await toy_client(nursery, toy)
