"""`fanout ... shm` with real processes and real queues in /dev/shm, under unique names."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanout.clients.shm import ShmClient
from fanout.protocol import End, Trade
from tests.fanout.cli.processes import at_once, fanout, started

SHM = Path("/dev/shm")


@pytest.fixture
def name() -> Iterator[str]:
    name = f"fanout-test-{uuid.uuid4().hex}"
    yield name
    for path in SHM.glob(f"{name}*"):
        path.unlink()


def service(*transports: str) -> tuple[str, ...]:
    return ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT", *transports)


def test_trades_pass_through_the_queue_and_the_end_removes_it(name: str) -> None:
    with started(*service("shm", "--name", name, "--capacity", "64KiB")) as process:
        assert f"on shm://{name}" in process.until_said("serving")
        path = SHM / name
        assert path.stat().st_mode & 0o777 == 0o600
        lines = at_once("tail", f"shm://{name}", "--limit", "5", "--format", "json").stdout
        rows = [json.loads(line) for line in lines.splitlines()]
        assert sum("event" not in row for row in rows) == 5
        with ShmClient(f"shm://{name}", reconnect=False) as client:
            client.connect()
            assert process.end(signal.SIGTERM) == 143
            assert isinstance(list(client)[-1], End)
        assert not path.exists()


def test_a_queue_is_saved_without_a_hole(name: str, tmp_path: Path) -> None:
    numbers: set[int] = set()
    with started(*service("shm", "--name", name)) as process:
        process.until_said("serving")
        for path in (tmp_path / "a.jsonl", tmp_path / "b.jsonl"):
            done = at_once("save", f"shm://{name}", str(path), "--limit", "30")
            assert done.stderr == f"fanout: saved 30 trades to {path}, complete\n"
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            numbers |= {row["seq"] for row in rows if "seq" in row}
    # The frame that the first had not come to the end of comes again.
    assert numbers == set(range(1, max(numbers) + 1))


def test_a_queue_can_be_kept(name: str) -> None:
    with started(*service("shm", "--name", name, "--keep")) as process:
        process.until_said("serving")
        process.end(signal.SIGTERM)
    assert (SHM / name).exists()


def test_transports_chain_and_serve_the_same_trades(name: str) -> None:
    transports = ("tcp", "--port", "0", "shm", "--name", f"{name}-a", "shm", "--name", f"{name}-b")
    with started(*service(*transports)) as process:
        url = process.until_said("tcp://").split()[-1]
        process.until_said(f"{name}-b")

        def seen(address: str, count: int) -> dict[int, str]:
            result = at_once("tail", address, "--limit", str(count), "--format", "json")
            rows = [json.loads(line) for line in result.stdout.splitlines()]
            return {row["seq"]: row["trade_id"] for row in rows if "event" not in row}

        over_tcp = seen(url, 200)
        # The queues were not read until now: they hold everything from the service's start.
        for queue in (f"shm://{name}-a", f"shm://{name}-b"):
            from_queue = seen(queue, max(over_tcp))
            assert {seq: from_queue.get(seq) for seq in over_tcp} == over_tcp


def test_a_queue_with_a_live_owner_is_refused_with_the_owners_pid(name: str) -> None:
    with started(*service("shm", "--name", name)) as process:
        process.until_said("serving")
        result = fanout(*service("shm", "--name", name))
        assert result.returncode == 1
        assert f"belongs to process {process.process.pid}" in result.stderr
        assert "Traceback" not in result.stderr


def test_the_service_takes_over_a_dead_owners_queue_and_logs_it(name: str) -> None:
    with started(*service("shm", "--name", name)) as first:
        first.until_said("serving")
        first.end(signal.SIGKILL)
    with started(*service("shm", "--name", name)) as second:
        assert f"taken over from process {first.process.pid}" in second.until_said("taken over")
        second.until_said("serving")
        with ShmClient(f"shm://{name}") as client:
            assert any(isinstance(each, Trade) for each in client)


def test_assets_have_a_default_for_shm(name: str) -> None:
    with started("--venue", "sim", "shm", "--name", name) as process:
        process.until_said("taking BTCUSDT,ETHUSDT")
        process.until_said("serving BTCUSDT, ETHUSDT")


def test_a_second_reader_is_refused_with_the_first_ones_pid(name: str) -> None:
    with started(*service("shm", "--name", name)) as process:
        process.until_said("serving")
        with ShmClient(f"shm://{name}") as client:
            client.connect()
            result = at_once("tail", f"shm://{name}", "--no-reconnect", "--limit", "1")
        assert result.returncode == 1
        assert f"process {os.getpid()}" in result.stderr


def test_a_missing_queue_is_reported() -> None:
    result = at_once("tail", "shm://no-such-queue", "--limit", "0")
    assert result.returncode == 1
    assert "no-such-queue" in result.stderr
    assert "Traceback" not in result.stderr
