"""What is on the disk, and when: a thread of its own, in an order that a power cut cannot spoil."""

import errno
import os
import threading
from pathlib import Path

import pytest

from fanout.cli.outcome import OutputError
from fanout.cli.trading import syncing, writing
from fanout.cli.trading.files import locked
from fanout.cli.trading.syncing import Syncer
from fanout.journal.disk import RealDisk
from fanout.trading.running.journal import encode, file_name
from fanout.trading.settings import JournalSettings
from tests.fanout.trading.running.test_journal import ORDER, STARTED

RARELY_S = 3_600.0


class Calls:
    """What was asked of the disk, in order: names of files."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.threads: set[str] = set()
        self.failing = ""
        self.asked = threading.Event()
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._sync)
        real = Path.unlink

        def unlink(path: Path, missing_ok: bool = False) -> None:
            self.seen.append(f"removed {path.name}")
            real(path, missing_ok)

        patch.setattr(Path, "unlink", unlink)

    def _sync(self, descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        self.threads.add(threading.current_thread().name)
        self.seen.append(name)
        self.asked.set()
        if name == self.failing:
            raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def opened(place: Path, name: str) -> int:
    return os.open(place / name, os.O_RDWR | os.O_CREAT)


def test_a_file_is_synced_before_the_one_behind_it_and_removals_come_last(
    tmp_path: Path, calls: Calls
) -> None:
    (tmp_path / "old").touch()
    syncer = Syncer(tmp_path, RARELY_S)
    first = opened(tmp_path, "1")
    syncer.begin(first)
    syncer.written_bytes += 5
    syncer.begin(opened(tmp_path, "2"))
    syncer.written_bytes += 5
    syncer.remove([tmp_path / "old"])
    syncer.sync()
    assert calls.seen == ["1", "2", tmp_path.name, "removed old"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)
    syncer.close()


def test_what_is_on_the_disk_is_not_synced_again(tmp_path: Path, calls: Calls) -> None:
    syncer = Syncer(tmp_path, RARELY_S)
    syncer.begin(opened(tmp_path, "1"))
    syncer.written_bytes += 5
    for _ in range(3):
        syncer.sync()
    assert calls.seen == ["1", tmp_path.name]
    syncer.written_bytes += 1
    syncer.close()
    assert calls.seen == ["1", tmp_path.name, "1"]


def test_a_new_directory_outlives_a_power_cut(tmp_path: Path, calls: Calls) -> None:
    """Its name, and those of the ones above it that were missing too."""
    for _ in range(2):
        with locked(str(tmp_path / "runs" / "btc")):
            assert set(calls.seen) == {tmp_path.name, "runs"}


def test_what_a_killed_process_has_written_is_synced_before_the_next_start(
    tmp_path: Path, calls: Calls
) -> None:
    (tmp_path / file_name(1)).write_bytes(encode(STARTED) + encode(ORDER))
    with locked(str(tmp_path), JournalSettings(sync_ns=3_600 * 10**9)) as files:
        files.earlier()
        files.begin(STARTED)
    assert calls.seen == [file_name(1), file_name(2), tmp_path.name]


@pytest.mark.parametrize("failing", ["1", "2", "folder"])
def test_a_failure_is_kept_and_nothing_is_removed(
    tmp_path: Path, calls: Calls, failing: str
) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    (place / "old").touch()
    calls.failing = failing
    syncer = Syncer(place, RARELY_S)
    for name in ("1", "2"):
        syncer.begin(opened(place, name))
        syncer.written_bytes += 5
    syncer.remove([place / "old"])
    syncer.close()
    assert syncer.failure is not None
    assert (place / "old").exists()


def test_a_file_that_is_gone_or_cannot_be_removed_is_no_failure(
    tmp_path: Path, calls: Calls
) -> None:
    (tmp_path / "folder").mkdir()
    syncer = Syncer(tmp_path, RARELY_S)
    syncer.begin(opened(tmp_path, "1"))
    syncer.remove([tmp_path / "gone", tmp_path / "folder"])
    syncer.close()
    assert syncer.failure is None
    assert syncer.unremoved is not None
    assert syncer.unremoved.filename == str(tmp_path / "folder")


def test_a_close_that_fails_behind_a_sync_loses_nothing(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS. The thread would end with a traceback, and sync nothing any more."""
    real = os.close

    def fail(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    syncer = Syncer(tmp_path, RARELY_S)
    for name in ("1", "2"):
        syncer.begin(opened(tmp_path, name))
        syncer.written_bytes += 5
    monkeypatch.setattr(RealDisk, "sync_folder", lambda *_: None)
    monkeypatch.setattr(os, "close", fail)
    syncer.sync()
    syncer.close()
    monkeypatch.undo()
    assert calls.seen == ["1", "2"]
    assert syncer.failure is None


def test_the_thread_syncs_by_itself(tmp_path: Path, calls: Calls) -> None:
    kept = JournalSettings(sync_ns=1_000_000)
    with locked(str(tmp_path), kept) as files:
        files.begin(STARTED)
        assert calls.asked.wait(30)
        calls.asked.clear()
        files.append([ORDER])
        assert calls.asked.wait(30)
        assert calls.threads == {"paper-sync"}


def test_a_run_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, calls: Calls) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        hangs.set()
        assert goes_on.wait(30)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", hang)
        with locked(str(tmp_path), JournalSettings(sync_ns=1_000_000, segment_bytes=1)) as files:
            files.begin(STARTED)
            assert hangs.wait(30)
            for _ in range(5):
                files.append([ORDER])  # a file for each
            goes_on.set()
    assert len(list(tmp_path.glob("*.jsonl"))) == 5


def test_a_disk_that_hangs_at_the_end_of_a_run_is_waited_for_in_words_and_in_the_thread(
    tmp_path: Path,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    goes_on = threading.Event()
    real = writing.say

    def heard(message: str) -> None:
        real(message)
        goes_on.set()

    def hang(_: int) -> None:
        assert threading.current_thread().name == "paper-sync"
        assert goes_on.wait(30)

    monkeypatch.setattr(syncing, "PATIENCE_S", 0.001)
    monkeypatch.setattr(writing, "say", heard)
    with locked(str(tmp_path), JournalSettings(sync_ns=3_600 * 10**9)) as files:
        files.begin(STARTED)
        monkeypatch.setattr(os, "fdatasync", hang)
    path = tmp_path / file_name(1)
    assert capsys.readouterr().err == (
        f"fanout: waiting for the disk to take the end of {path}: Ctrl-C ends without it\n"
    )


def test_a_disk_that_loses_what_it_took_ends_the_run(tmp_path: Path, calls: Calls) -> None:
    calls.failing = "00000000000000000001.jsonl"
    with locked(str(tmp_path), JournalSettings(sync_ns=1_000_000)) as files:
        files.begin(STARTED)

        def go_on() -> None:
            for _ in range(50_000):
                files.append([ORDER])

        with pytest.raises(OutputError, match="Input/output error"):
            go_on()


def test_a_journal_that_was_never_begun_is_closed(tmp_path: Path, calls: Calls) -> None:
    Syncer(tmp_path, RARELY_S).close()
    assert calls.seen == []


def test_a_machine_without_room_for_a_thread_is_told_of_as_such(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fanout.cli.memory` knows the words, and has one line for them."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start new thread"), locked(str(tmp_path)) as run:
        run.begin(STARTED)
