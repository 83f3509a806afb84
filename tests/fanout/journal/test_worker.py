import errno
import logging
import threading
from collections.abc import Iterable, Sequence
from itertools import chain, repeat

import pytest

from fanout.channel.memory import Memory
from fanout.journal.worker import Track, Worker
from fanout.protocol.journal import FileHeader
from tests.stand.channels import new_channel, publish
from tests.stand.disk import MemoryDisk
from tests.stand.kept import Kept


class Written:
    """A worker without threads, and a channel whose frames it is given."""

    def __init__(self, *, sync_s: float | None = 1.0) -> None:
        self.disk = MemoryDisk()
        self.worker = Worker(self.disk, sync_s=sync_s, clock_ns=iter(range(0, 10**9, 5)).__next__)
        self.track = Track("/j/one")
        self.worker.add(self.track)
        self.channel = new_channel(name="one")
        self.kept = Kept("/j", "one", 7, self.disk)
        self._next_id = 1

    def open(self, serial: int, first_seq: int = 1, **options: int) -> None:
        header = FileHeader(epoch_ns=7, first_seq=first_seq, created_ns=5)
        self.worker.open(self.track, serial, header, **options)

    def begin(self, serial: int = 1, first_seq: int = 1) -> "Written":
        self.open(serial, first_seq)
        head = self.channel.greeting()
        self.worker.write(self.track, serial, [head], completes_head=True)
        self.worker.do_all()
        return self

    def write(self, serial: int = 1, count: int = 1) -> None:
        log = self.channel.log
        cursor = log.live()
        publish(self.channel, self._next_id, count)
        self._next_id += count
        data = log.read(cursor, 10**9)
        assert isinstance(data, bytes)
        self.worker.write(self.track, serial, [data])


def test_what_waits_is_written_in_one_go() -> None:
    written = Written().begin()
    before = written.disk.writes
    for _ in range(5):
        written.write()
    assert written.worker.backlog_bytes > 0
    assert written.worker.do_all()
    assert written.disk.writes == before + 1
    assert written.kept.accounted() == [1, 2, 3, 4, 5]
    assert (written.track.written_seq, written.worker.backlog_bytes) == (5, 0)
    assert (list(written.track.write_ns), written.track.segments) == ([5, 5], 1)


def test_each_round_of_the_syncer_syncs_what_is_new() -> None:
    written = Written().begin()
    written.write(count=3)
    written.worker.do_all()
    assert written.track.synced_seq == 0
    assert written.worker.free_bytes is None
    written.worker.sync_all()
    written.worker.sync_all()
    assert (written.track.synced_seq, written.track.syncs, written.disk.syncs) == (3, 1, 1)
    assert len(written.track.sync_ns) == 1
    assert written.worker.free_bytes == written.disk.room_bytes


def test_a_fault_at_one_channel_leaves_the_syncs_of_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, other = Written().begin(), Track("/j/two")
    broken.worker.add(other)
    assert broken.track.segment is not None
    monkeypatch.setattr(broken.track.segment, "sync", lambda **_: 1 // 0)
    other.unsaved = Memory(epoch_ns=7, next_seq=1, time_ns=5)
    broken.worker.open(other, 1, FileHeader(epoch_ns=7, first_seq=1, created_ns=5))
    head = new_channel(name="two").greeting()
    broken.worker.write(other, 1, [head], completes_head=True)
    broken.worker.do_all()
    broken.worker.sync_all()
    assert (other.syncs, other.unsaved) == (1, None)
    assert broken.worker.free_bytes == broken.disk.room_bytes
    assert "ZeroDivisionError" in caplog.text


def test_with_always_nothing_counts_as_written_before_it_is_synced() -> None:
    written = Written(sync_s=0).begin()
    written.write()
    written.worker.do_all()
    assert (written.track.written_seq, written.track.synced_seq) == (1, 1)
    written.disk.sync_error = errno.EIO
    written.write()
    written.worker.do_all()
    assert written.track.failure is not None
    assert written.track.failure.next_seq == 2
    assert written.track.written_seq == 1


def test_with_never_nothing_is_synced() -> None:
    written = Written(sync_s=None).begin()
    written.write()
    written.worker.seal(written.track, 1)
    written.worker.do_all()
    written.worker.sync_all()
    assert (written.track.sealed, written.disk.syncs, written.disk.open_files) == (1, 0, 0)


def states(written: Written) -> list[str]:
    return [each for each in written.kept.names() if ".fs" in each]


@pytest.mark.parametrize("sync_s", [1.0, 0, None])
def test_what_the_next_start_needs_is_saved_once_the_disk_has_come_so_far(
    sync_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    written = Written(sync_s=sync_s)
    written.track.unsaved = Memory(epoch_ns=7, next_seq=1, time_ns=5)
    written.worker.sync_all()
    assert written.track.unsaved is not None, "there is no segment yet"
    written.begin()
    written.worker.sync_all()
    assert (states(written), written.track.unsaved) == (["00000000000000000001.fs"], None)
    written.disk.remove(written.kept.folder + "/00000000000000000001.fs")
    written.track.unsaved = Memory(epoch_ns=7, next_seq=3, time_ns=5)
    written.write()
    written.worker.do_all()
    written.worker.sync_all()
    assert states(written) == []
    written.write()
    written.worker.do_all()
    written.disk.make_error = errno.ENOSPC
    written.worker.sync_all()
    assert (states(written), written.track.unsaved) == ([], None)
    assert "cannot save its place: No space left on device" in caplog.text


def test_the_next_segment_seals_the_one_before() -> None:
    written = Written().begin()
    written.write(count=3)
    written.begin(2, first_seq=4)
    written.write(2)
    written.worker.do_all()
    assert written.kept.segments() == [1, 4]
    assert written.kept.accounted() == [1, 2, 3, 4]
    assert (written.track.synced_seq, written.disk.open_files) == (3, 2)
    assert (written.track.published, written.track.segments) == (2, 2)


def test_after_a_failure_nothing_is_written_until_the_next_segment() -> None:
    written = Written().begin()
    written.write(count=3)
    written.worker.do_all()
    written.disk.room_bytes = 3
    written.write()
    written.worker.do_all()
    failure = written.track.failure
    assert failure is not None
    assert (failure.serial, failure.next_seq) == (1, 4)
    assert isinstance(failure.error, OSError)
    written.disk.room_bytes = 10**6
    written.write()
    written.worker.seal(written.track, 1)
    written.worker.do_all()
    assert written.kept.accounted() == [1, 2, 3]
    assert (written.worker.backlog_bytes, written.track.sealed) == (0, 0)
    written.channel = new_channel(name="one")
    written.write(count=3)
    written.begin(2, first_seq=4)
    written.write(2, count=2)
    written.worker.do_all()
    assert written.kept.accounted() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("errors", [[errno.EIO], repeat(errno.EIO)], ids=["passing", "lasting"])
def test_a_segment_that_was_asked_for_before_the_failure_was_seen_fails_with_it(
    errors: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is missing between the two: the loop begins again where the first one failed."""
    written = Written().begin()
    written.write(count=3)
    written.worker.do_all()
    disk, write, faults = written.disk, written.disk.write, chain(errors, repeat(0))

    def write_or_fail(descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
        disk.write_error = next(faults)
        return write(descriptor, offset, pieces)

    monkeypatch.setattr(disk, "write", write_or_fail)
    written.write()
    written.begin(2, first_seq=5)
    written.begin(3, first_seq=5)
    failure = written.track.failure
    assert failure is not None
    assert (failure.serial, failure.next_seq) == (3, 4)
    assert isinstance(failure.error, OSError)
    assert (written.kept.segments(), written.track.published) == ([1], 1)
    monkeypatch.undo()
    disk.write_error = 0
    written.channel = new_channel(name="one")
    written.write(count=3)
    written.begin(4, first_seq=4)
    written.write(4, count=2)
    written.worker.do_all()
    assert written.kept.accounted() == [1, 2, 3, 4, 5]
    assert written.worker.backlog_bytes == 0


def test_a_failed_sync_shows_with_the_next_write() -> None:
    written = Written().begin()
    written.write()
    written.worker.do_all()
    written.worker.sync_all()
    written.write()
    written.worker.do_all()
    written.disk.sync_error = errno.EIO
    written.worker.sync_all()
    written.worker.sync_all()
    assert (written.track.failure, written.track.sync_failures) == (None, 1)
    written.disk.sync_error = 0
    written.write()
    written.worker.do_all()
    assert written.track.failure is not None
    assert (written.track.failure.next_seq, written.track.written_seq) == (2, 1)


def test_after_a_failure_the_next_segment_has_to_be_synced_before_it_counts() -> None:
    """Else a disk that takes everything and syncs nothing would be well each other second."""
    written = Written().begin()
    written.disk.sync_error = errno.EIO
    written.write()
    written.worker.do_all()
    written.worker.sync_all()
    written.write()
    written.worker.do_all()
    written.channel = new_channel(name="one")
    for serial in (2, 3):
        written.begin(serial)
        assert written.track.failure is not None
        assert (written.track.failure.serial, written.track.failure.next_seq) == (serial, 1)
        assert written.track.published == 1
        assert written.kept.accounted() == [1], "what is there may be all that is left of it"
    written.disk.sync_error = 0
    written.begin(4)
    assert (written.track.published, written.track.syncs) == (4, 2)
    assert written.kept.accounted() == []


def test_a_segment_that_cannot_be_sealed_fails_the_next_one() -> None:
    written = Written().begin()
    written.write(count=3)
    written.worker.do_all()
    written.disk.sync_error = errno.EIO
    written.open(2, first_seq=4)
    written.worker.do_all()
    assert written.track.failure is not None
    assert (written.track.failure.serial, written.track.failure.next_seq) == (2, 1)
    assert (written.track.opened, written.disk.open_files) == (1, 0)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_file_that_cannot_be_made_is_a_failure_from_its_first_number(error: int) -> None:
    written = Written()
    written.disk.make_error = error
    written.open(1, first_seq=9)
    written.worker.do_all()
    assert written.track.failure is not None
    assert written.track.failure.next_seq == 9
    assert written.track.opened == 0


def test_a_disk_that_is_nearly_full_is_not_begun_with() -> None:
    written = Written()
    written.disk.room_bytes = 999
    written.open(1, least_free_bytes=1000)
    written.worker.do_all()
    assert written.track.failure is not None
    assert written.kept.names() == []


def test_frames_that_are_not_right_are_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    written = Written().begin()
    with caplog.at_level(logging.ERROR):
        written.worker.write(written.track, 1, [b"\x05\0\0\0wrong"])
        written.worker.do_all()
    assert "internal fault" in caplog.text
    assert written.track.failure is not None
    assert written.kept.accounted() == []


def test_the_end_leaves_whole_frames_and_closes_the_files() -> None:
    written = Written().begin()
    written.write(count=2)
    written.worker.stop()
    assert not written.worker.do_all()
    assert written.kept.accounted() == [1, 2]
    assert written.disk.open_files == 0


def test_the_room_on_a_disk_that_is_gone_is_not_known() -> None:
    written = Written()
    written.worker.sync_all()
    assert written.worker.free_bytes is None


def test_threads_write_and_sync_and_end() -> None:
    """With a sync that takes long: the writing goes on meanwhile."""
    written, chores = Written(sync_s=0.001), threading.Event()
    worker = Worker(written.disk, sync_s=0.001, chore=chores.set)
    written.worker = worker
    worker.add(written.track)
    written.disk.may_sync.clear()
    worker.start()
    written.open(1)
    worker.write(written.track, 1, [written.channel.greeting()], completes_head=True)
    assert written.disk.syncing.wait(30)
    written.write(count=3)
    while written.track.written_seq < 3:
        threading.Event().wait(0.001)
    assert written.track.synced_seq == 0
    written.disk.may_sync.set()
    assert chores.wait(30)
    worker.stop()
    while worker.is_running:
        threading.Event().wait(0.001)
    assert written.kept.accounted() == [1, 2, 3]


def test_a_chore_that_fails_is_told_and_the_syncs_go_on(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    def chore() -> None:
        if caplog.text:
            done.set()
        raise ValueError("no such thing")

    worker = Worker(MemoryDisk(), sync_s=0.001, chore=chore)
    with caplog.at_level(logging.ERROR):
        worker.start()
        assert done.wait(30)
        worker.stop()
        while worker.is_running:
            threading.Event().wait(0.001)
    assert "no such thing" in caplog.text
