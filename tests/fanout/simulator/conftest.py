"""The simulator that most tests over sockets talk to."""

import pytest
import trio

from fanout.simulator import Simulator
from tests.fanout.simulator.support import start


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> Simulator:
    """A busy synthetic market of two symbols."""
    return await start(nursery, symbols=("BTCUSDT", "币安人生USDT"), rate=5_000.0)
