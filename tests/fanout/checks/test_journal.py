import os
from pathlib import Path

import pytest

from fanout.checks.machine import check_machine
from fanout.checks.report import Fault, Name, State
from fanout.journal.disk import RealDisk
from fanout.journal.store import open_journal
from fanout.transports.journal.check import check_journal
from fanout.transports.journal.config import JournalConfig
from tests.stand.inside import one_source

MIB = 1024 * 1024


class Room(RealDisk):
    def __init__(self, free_bytes: int) -> None:
        self.free = free_bytes

    def free_bytes(self, folder: str) -> int:
        assert Path(folder).is_dir()
        return self.free


async def test_a_directory_that_can_be_made_passes(tmp_path: Path) -> None:
    config = JournalConfig(dir=str(tmp_path / "below" / "it"))
    wanted = one_source(assets=("BTCUSDT",), transports=(config,), http=None)
    (row,) = [each for each in await check_machine(wanted) if each.name == Name.JOURNAL]
    assert (row.state, row.target) in ((State.OK, config.dir), (State.WARN, config.dir))
    assert " free, a sync takes " in row.found
    assert os.listdir(tmp_path) == [], "nothing is left"


@pytest.mark.parametrize("is_relative", [False, True])
async def test_a_directory_of_a_running_service_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_relative: bool
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    config = JournalConfig(dir=tmp_path.name if is_relative else str(tmp_path))
    async with open_journal(config.dir):
        row = check_journal(config)
    assert (row.state, row.fault) == (State.FAIL, Fault.MACHINE)
    assert row.found.startswith("belongs to process ")
    assert check_journal(config).state is not State.FAIL


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "below"):
        row = check_journal(JournalConfig(dir=str(path)))
        assert (row.state, row.found) == (State.FAIL, "not a directory")
        assert row.advice == f"let this user write in {file}, or give another --dir"
    assert file.read_text() == "mine"


def test_room_is_compared_with_the_limit(tmp_path: Path) -> None:
    config = JournalConfig(dir=str(tmp_path), segment_bytes=MIB, keep_bytes=10 * MIB)
    (tmp_path / ".fanout-check").write_bytes(bytes(3 * MIB))  # counts until it is removed
    assert check_journal(config, disk=Room(10 * MIB)).state is State.OK
    (tmp_path / "lock").write_bytes(bytes(2 * MIB))
    assert check_journal(config, disk=Room(8 * MIB), clock_s=lambda: 1.0).state is State.OK
    row = check_journal(config, disk=Room(7 * MIB), clock_s=lambda: 1.0)
    assert row.state is State.WARN
    assert row.found == "7.0 MiB free, a sync takes 0 ms; --keep-bytes takes 1.0 MiB more"
    row = check_journal(config, disk=Room(MIB - 1))
    assert (row.state, row.fault) == (State.FAIL, Fault.MACHINE)


def test_a_slow_sync_is_warned_of(tmp_path: Path) -> None:
    config = JournalConfig(dir=str(tmp_path))
    times = iter((1.0, 1.25))
    row = check_journal(config, disk=Room(10**12), clock_s=lambda: next(times))
    assert (row.state, row.took_ms) == (State.WARN, 250.0)
    assert row.found == "931.3 GiB free, a sync takes 250 ms"
    assert "--sync" in row.advice
