"""`run_simulator`: what it listens on, what it refuses to start with, and how it ends."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fanout.errors import BindError, ConfigError, UsageError
from fanout.simulator import Simulator, SimulatorConfig, run_simulator
from fanout.simulator.faults import Fault, Http, ShiftClock, Skip
from fanout.simulator.faults.schedule import Scheduled
from tests.fanout.simulator.support import open_tcp, receive_all, rest, start


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


async def test_a_port_in_use_is_an_error_of_one_line(nursery: trio.Nursery) -> None:
    simulator = await start(nursery, symbols=("BTCUSDT",))
    port = int(simulator.rest_url.rsplit(":", 1)[1])
    with pytest.raises(BindError, match=f"port {port}: .*choose another port") as caught:
        await run_simulator(SimulatorConfig(port=port))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "..", "x" * 80])
async def test_a_host_of_another_machine_is_an_error_of_one_line(host: str) -> None:
    with pytest.raises(BindError, match=r"such as 127\.0\.0\.1") as caught:
        await run_simulator(SimulatorConfig(host=host))
    assert "\n" not in str(caught.value)


async def test_a_broken_capture_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text("nonsense\n")
    with pytest.raises(ConfigError, match="capture, line 1: "):
        await run_simulator(SimulatorConfig(captures=(path,)))


@pytest.mark.parametrize("fault", [Skip("NOSUCHUSDT"), Skip("BTCUSDT", count=0)])
async def test_an_impossible_fault_is_refused_before_anything_is_served(
    fault: Fault,
) -> None:
    with pytest.raises(UsageError):
        await run_simulator(SimulatorConfig(symbols=("BTCUSDT",), faults=(Scheduled(fault),)))


async def test_scheduled_faults_are_injected_on_time(nursery: trio.Nursery) -> None:
    schedules = (Scheduled(Http(451, requests=None)), Scheduled(ShiftClock(5), after_s=3_600))
    simulator = await start(nursery, symbols=("BTCUSDT",), faults=schedules)
    await wait_all_tasks_blocked()
    assert simulator.faults.standing == (Http(451, requests=None),)


async def test_the_clock_may_start_at_any_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    simulator = await start(nursery, symbols=("BTCUSDT",), start_ns=1_790_000_000_000_000_000)
    async with rest(simulator) as http:
        assert (await http.request("/fapi/v1/time")).body == {"serverTime": 1_790_000_000_000}


async def test_rest_and_websocket_share_the_port(simulator: Simulator) -> None:
    assert simulator.ws_url.removeprefix("ws") == simulator.rest_url.removeprefix("http")
