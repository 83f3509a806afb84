"""`fanout ... ring` with a real process, and the commands that read it."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanout.clients.ring import RingClient
from fanout.protocol import End
from tests.fanout.cli.processes import at_once, started

SHM = Path("/dev/shm")


@pytest.fixture
def name() -> Iterator[str]:
    name = f"fanout-test-{uuid.uuid4().hex}"
    yield name
    (SHM / name).unlink(missing_ok=True)


def test_every_command_reads_a_ring_while_others_do(name: str, tmp_path: Path) -> None:
    service = ("--venue", "sim", "--assets", "BTCUSDT", "--data", "trades,quotes,book")
    transport = ("ring", "--name", name, "--capacity", "2MiB")
    with started("--http-port", "0", *service, *transport) as process:
        http = process.until_said("answering").split()[2].removesuffix("/status,")
        assert f"on ring://{name}" in process.until_said("serving")
        path, url = SHM / name, f"ring://{name}"
        with RingClient(url, start="oldest", reconnect=False) as client:
            next(client)
            lines = at_once("tail", url, "--limit", "3", "--format", "json").stdout
            rows = [json.loads(line) for line in lines.splitlines()]
            assert sum("event" not in row for row in rows) >= 3
            saved = tmp_path / "t.jsonl"
            done = at_once("save", url, str(saved), "--limit", "3")
            assert "complete" in done.stderr
            shown = at_once("book", url, "BTCUSDT", "--json", "--limit", "1")
            assert json.loads(shown.stdout.splitlines()[0])["bids"]
            status = at_once("status", http).stdout
            assert url in status
            assert f"pid {os.getpid()}" in status
            assert "lapped" in status
            refused = at_once("tail", url, "--start", "2026-11-29T13:00Z")
            assert "a ring knows no times" in refused.stderr
            assert process.end(signal.SIGTERM) == 143
            assert isinstance(list(client)[-1], End)
        assert not path.exists()
