import logging
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import BindError, ConfigError
from fanout.journal import store
from fanout.journal.disk import RealDisk
from fanout.journal.retention import Limits
from fanout.journal.store import PATIENCE_S, lock_holder, open_journal
from fanout.protocol.journal import numbered
from fanout.protocol.journal_folder import ChannelFolder
from tests.fanout.journal.kept import EPOCH_NS, Keeper, make_channel, write_journal
from tests.stand.disk import MemoryDisk


async def test_a_directory_is_made_locked_and_released(tmp_path: Path) -> None:
    directory = tmp_path / "some" / "where"
    for _ in range(2):
        async with open_journal(str(directory)):
            assert (directory / "lock").read_text() == str(os.getpid())
            assert lock_holder(RealDisk(), str(directory)) == f"process {os.getpid()}"
        assert lock_holder(RealDisk(), str(directory)) is None
        assert (directory / "lock").read_text() == ""


async def test_a_directory_that_was_released_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that syncs may come that late. By then the lock's descriptor is another file's."""
    async with open_journal(str(tmp_path)) as journal:
        pass
    (tmp_path / "lock").unlink()
    journal.tidy(now=True)
    assert not caplog.records
    assert not (tmp_path / "lock").exists()


async def test_the_names_of_folders_that_are_made_are_synced(tmp_path: Path) -> None:
    synced: list[str] = []

    class Noting(RealDisk):
        def sync_folder(self, path: str) -> None:
            synced.append(path)

    for _ in range(2):
        async with open_journal(str(tmp_path / "some" / "where"), disk=Noting()):
            pass
    assert synced == [str(tmp_path / "some"), str(tmp_path)]


async def test_a_start_waits_for_those_who_only_look(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1")
    looker = RealDisk().open(str(tmp_path / "lock"))
    RealDisk().share(looker)
    assert lock_holder(RealDisk(), str(tmp_path)) is None, "another one who looks"

    class Patient(RealDisk):
        def lock(self, descriptor: int) -> bool:
            if super().lock(descriptor):
                return True
            self.close(looker)
            return False

    async with open_journal(str(tmp_path), disk=Patient()):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


async def test_a_second_service_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOCK_PAUSE_S", 0.0)
    async with open_journal(str(tmp_path)):
        with pytest.raises(BindError) as caught:
            async with open_journal(str(tmp_path)):
                raise AssertionError
        assert str(caught.value) == (
            f"journal {tmp_path} belongs to process {os.getpid()}, which is running: stop it, or "
            "give another --dir"
        )
        for text in ("me", "99999999"):
            (tmp_path / "lock").write_text(text)
            with pytest.raises(BindError, match="belongs to another process, which is running"):
                async with open_journal(str(tmp_path)):
                    raise AssertionError


async def test_a_lock_that_was_removed_is_taken_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "journal"
    async with open_journal(str(directory)) as journal:
        (directory / "lock").unlink()
        directory.rmdir()
        directory.write_text("in its place")
        for _ in range(2):
            journal.tidy()
        assert caplog.messages == ["journal: its lock is gone: Not a directory"]
        directory.unlink()
        journal.tidy()
        assert lock_holder(RealDisk(), str(directory)) == f"process {os.getpid()}"
    assert lock_holder(RealDisk(), str(directory)) is None


async def test_a_directory_that_cannot_be_used_is_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path, why in ((file, "Not a directory"), (file / "below", "Not a directory")):
        with pytest.raises(BindError) as caught:
            async with open_journal(str(path)):
                raise AssertionError
        assert str(caught.value) == f"cannot keep a journal in {path}: {why}"


async def test_what_is_found_wrong_ends_the_start_and_the_lock(tmp_path: Path) -> None:
    segment = write_journal(tmp_path, 3)
    data = bytearray(segment.read_bytes())
    data[8] = 2
    segment.write_bytes(data)
    with pytest.raises(ConfigError, match="is of a later version"):
        async with open_journal(str(tmp_path)):
            raise AssertionError
    assert lock_holder(RealDisk(), str(tmp_path)) is None


async def test_the_past_of_a_channel_knows_its_newest_epoch(tmp_path: Path) -> None:
    write_journal(tmp_path, 3)
    write_journal(tmp_path, 3, epoch_ns=EPOCH_NS + 7)
    async with open_journal(str(tmp_path)) as journal:
        assert journal.past_of("test").newest_epoch_ns == EPOCH_NS + 7
        assert journal.past_of("other").newest_epoch_ns == 0
        with pytest.raises(ConfigError, match="keeps no channel named 'lock'"):
            journal.past_of("lock")


async def test_an_error_of_the_body_is_not_taken_for_one_of_the_journal(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        async with open_journal(str(tmp_path)):
            raise ConnectionResetError


async def test_old_segments_are_removed_at_the_start_and_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    keeper = Keeper(str(tmp_path), make_channel())

    def next_segment() -> None:
        keeper.publish(3)
        keeper.seal()
        keeper.begin()

    next_segment()
    async with open_journal(str(tmp_path), limits=Limits(keep_bytes=1)) as journal:
        folder = ChannelFolder(RealDisk(), str(tmp_path / "test"))
        assert folder.segments(EPOCH_NS) == [4]
        assert caplog.messages[-1].startswith("journal: removed 1 old segments, ")
        next_segment()
        journal.tidy()
        assert folder.segments(EPOCH_NS) == [4, 7], "it is not time yet"
        journal.tidy(now=True)
        assert folder.segments(EPOCH_NS) == [7]
        next_segment()
        monkeypatch.setattr(store, "TIDY_S", 0.0)
        journal.tidy()
        assert folder.segments(EPOCH_NS) == [10]
    keeper.seal()


async def test_a_start_makes_room_on_a_full_disk_as_far_as_the_limits_say() -> None:
    disk = MemoryDisk()
    keeper = Keeper("/j", make_channel(), disk=disk)
    keeper.publish(3)
    keeper.seal()
    keeper.begin()
    keeper.publish(3)
    keeper.seal()
    segment = disk.open(f"{keeper.folder}/{numbered(4, '.fj')}")
    disk.write(segment, disk.size(segment), [b"half a frame"])
    disk.room_bytes = 0
    with pytest.raises(BindError, match="cannot keep a journal in /j: No space left on device"):
        async with open_journal("/j", disk=disk):
            raise AssertionError
    async with open_journal("/j", disk=disk, limits=Limits(keep_bytes=1)):
        assert disk.names(keeper.folder) == [numbered(4, each) for each in (".fi", ".fj", ".torn")]


async def test_a_removal_that_fails_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Protected(RealDisk):
        def remove(self, path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

    write_journal(tmp_path, 3)
    segment = write_journal(tmp_path, 3, epoch_ns=EPOCH_NS - 1)
    disk = Protected()
    async with open_journal(str(tmp_path), disk=disk, limits=Limits(keep_bytes=1)) as journal:
        journal.tidy(now=True)
    assert caplog.messages == [f"journal: cannot remove old segments: {segment}: Permission denied"]


async def test_a_long_recovery_is_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)

    class Slow(RealDisk):
        def names(self, folder: str) -> list[str]:
            trio.from_thread.run(trio.sleep, PATIENCE_S * 2)
            return super().names(folder)

    async with open_journal(str(tmp_path), disk=Slow()):
        pass
    assert caplog.messages == [f"journal {tmp_path}: looking through the last segments"]
