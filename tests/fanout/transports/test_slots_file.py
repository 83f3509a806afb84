"""The file of a ring of slots, and what is refused before anything is served."""

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from fanout.errors import BindError, UsageError
from fanout.protocol.slots import FILE_BYTES
from fanout.transports.slots import ring_file
from fanout.transports.slots.check import check
from fanout.transports.slots.config import SlotsConfig
from fanout.transports.slots.openings import Openings
from fanout.transports.slots.transport import SlotsTransport
from tests.stand.slot_ring import BTC, channel_of, config, serving


def test_a_file_that_cannot_be_watched_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Openings(str(tmp_path / "nowhere"))


async def test_the_file_is_private_and_as_long_as_the_layout_says(tmp_path: Path) -> None:
    async with serving(channel_of(BTC), tmp_path):
        status = (tmp_path / "hft_ring").stat()
        assert (status.st_mode & 0o777, status.st_size) == (0o600, 524_416)
        assert status.st_blocks * 512 >= FILE_BYTES
        assert os.listdir(tmp_path) == ["hft_ring"]


async def test_a_ring_has_one_writer(tmp_path: Path) -> None:
    async with serving(channel_of(BTC), tmp_path):
        with pytest.raises(BindError, match="belongs to another process, which is running"):
            await SlotsTransport(config(tmp_path)).run([channel_of(BTC)])
        assert check(config(tmp_path)).found == "belongs to another process, which is running"


@pytest.mark.parametrize("make", ["short", "long", "directory", "link"])
async def test_what_is_no_ring_is_left_alone(tmp_path: Path, make: str) -> None:
    path, victim = tmp_path / "hft_ring", tmp_path / "victim"
    victim.write_bytes(bytes(FILE_BYTES))
    match make:
        case "short":
            path.write_bytes(b"my thesis")
        case "long":
            path.write_bytes(bytes(FILE_BYTES + 1))
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to(victim)
    with pytest.raises(BindError, match="is there, and no"):
        await SlotsTransport(config(tmp_path)).run([channel_of(BTC)])
    assert sorted(os.listdir(tmp_path)) == ["hft_ring", "victim"]
    assert victim.read_bytes() == bytes(FILE_BYTES)
    assert check(config(tmp_path)).state == "fail"


async def test_too_little_space_is_an_error_before_anything_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BindError, match="no 524,416 bytes are free there"):
        await SlotsTransport(config(tmp_path)).run([channel_of(BTC)])
    assert os.listdir(tmp_path) == []


async def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="no such file or directory"):
        await SlotsTransport(config(tmp_path / "nowhere")).run([channel_of(BTC)])
    assert check(config(tmp_path / "nowhere")).state == "fail"


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_file_that_changes_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    path = tmp_path / "hft_ring"
    allocate, calls = os.posix_fallocate, 0

    def meanwhile(fd: int, offset: int, size: int) -> None:
        nonlocal calls
        calls += 1
        allocate(fd, offset, size)
        if calls == 1:
            path.unlink() if is_removed else path.write_bytes(bytes(FILE_BYTES))

    if is_removed:
        path.write_bytes(bytes(FILE_BYTES))
    monkeypatch.setattr(os, "posix_fallocate", meanwhile)
    with closing(ring_file.open_ring(str(path))) as ring:
        assert calls == 2
        assert ring.is_whole()
        assert os.listdir(tmp_path) == ["hft_ring"]


async def test_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(BindError, match="need an x86-64 processor, this is aarch64"):
        await SlotsTransport(config(tmp_path)).run([channel_of(BTC)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a/b"}, "--name 'a/b': a slash"),
        ({"name": "a", "snapshot_s": -1.0}, "--snapshot-s -1.0: 0 or a number of seconds"),
        ({"name": "a", "snapshot_s": float("nan")}, "--snapshot-s nan"),
    ],
)
def test_nonsense_is_refused_before_anything_opens(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SlotsConfig(**options)  # type: ignore[arg-type]


def test_the_check_says_whether_the_name_can_be_had(tmp_path: Path) -> None:
    free = check(config(tmp_path))
    assert free.state == "ok"
    assert free.found.startswith("the name is free, ")
    (tmp_path / "hft_ring").write_bytes(bytes(FILE_BYTES))
    assert check(config(tmp_path)).found == "an earlier run left it: the service goes on in it"


def test_the_check_knows_how_much_room_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(path: str) -> os.statvfs_result:
        return os.statvfs_result((4096, 4096, 100, 100, 100, 0, 0, 0, 0, 255))

    short = check(config(tmp_path), statvfs=small)
    assert (short.state, short.found) == ("fail", "400.0 KiB free, 512.1 KiB needed")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert check(config(tmp_path)).found == "the directory is not writable"
