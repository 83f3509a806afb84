"""`fanout ... slots` as a process, with a ring in /dev/shm under a unique name."""

import mmap
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanout.protocol.slots import FILE_BYTES, TRADE, Slot, SlotsReader
from tests.fanout.cli.processes import fanout, started


@pytest.fixture
def path() -> Iterator[Path]:
    path = Path("/dev/shm", f"fanout-test-{uuid.uuid4().hex}")
    yield path
    path.unlink(missing_ok=True)


def test_a_program_reads_the_trades_and_the_ring_stays(path: Path) -> None:
    service = ("--venue", "sim", "--assets", "BTCUSDT", "slots", "--name", path.name)
    with started(*service) as process:
        assert f"on slots://{path.name}" in process.until_said("serving")
        with path.open("r+b") as file, mmap.mmap(file.fileno(), FILE_BYTES) as mapped:
            reader = SlotsReader(mapped)
            reader.skip()
            slots: list[Slot] = []
            while len(slots) < 5:
                slot = reader.pop()
                slots += [slot] if slot else []
                time.sleep(0 if slot else 0.001)
            reader.release()
        assert {each.status for each in slots} == {TRADE}
        assert len({each.id for each in slots}) == 5
        other = fanout(*service)
        assert other.returncode == 1
        assert "belongs to another process, which is running" in other.stderr
        assert process.end(signal.SIGTERM) == 143
    assert path.stat().st_size == FILE_BYTES
