"""`run_simulator`: what it listens on, what it refuses to start with, and how it ends."""

from pathlib import Path

import pytest
import trio

from fanout.errors import BindError, ConfigError
from fanout.simulator import Simulator, SimulatorConfig, run_simulator
from tests.fanout.simulator.support import (
    open_tcp,
    receive_all,
    start,
)


async def test_the_run_ends_when_its_duration_is_over() -> None:
    with trio.fail_after(5):
        await run_simulator(SimulatorConfig(duration_s=0.05))


async def test_cancelling_closes_every_connection() -> None:
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, symbols=("BTCUSDT",))
        stream = await open_tcp(simulator)
        nursery.cancel_scope.cancel()
    async with stream:
        with trio.fail_after(5):
            assert await receive_all(stream) == b""


async def test_a_port_in_use_is_said_in_one_line(nursery: trio.Nursery) -> None:
    simulator = await start(nursery, symbols=("BTCUSDT",))
    port = int(simulator.rest_url.rsplit(":", 1)[1])
    with pytest.raises(BindError, match=f"port {port}: .*choose another port") as caught:
        await run_simulator(SimulatorConfig(port=port))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "..", "x" * 80])
async def test_a_host_that_is_not_ours_is_said_in_one_line(host: str) -> None:
    with pytest.raises(BindError, match=r"such as 127\.0\.0\.1") as caught:
        await run_simulator(SimulatorConfig(host=host))
    assert "\n" not in str(caught.value)


async def test_a_broken_capture_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text("nonsense\n")
    with pytest.raises(ConfigError, match="capture, line 1: "):
        await run_simulator(SimulatorConfig(captures=(path,)))


async def test_rest_and_websocket_share_the_port(simulator: Simulator) -> None:
    assert simulator.ws_url.removeprefix("ws") == simulator.rest_url.removeprefix("http")
