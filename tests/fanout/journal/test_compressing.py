import errno
import logging
import threading
from collections.abc import Sequence
from contextlib import closing

import pytest

from fanout.journal import compressing
from fanout.journal.compressing import BOTH_S, CompressingThread, Compressor
from fanout.journal.disk import Disk
from fanout.journal.recovery import recover
from fanout.journal.retention import Limits, Retention
from fanout.protocol.constants import LossReason
from fanout.protocol.journal import numbered
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_play import Playback
from fanout.protocol.request import Position
from fanout.protocol.zstd import Zstd
from tests.fanout.journal.kept import EPOCH_NS, Keeper, make_channel
from tests.protocol.test_journal_play import Heard
from tests.stand.disk import MemoryDisk, Unsynced

FOLDER = f"/j/test/{numbered(EPOCH_NS)}"
FIRST, SECOND, LAST = (f"{FOLDER}/{numbered(seq)}" for seq in (1, 41, 81))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressing, "CHUNK_BYTES", 200)
    monkeypatch.setattr(compressing, "SYNC_CHUNKS", 2)


class FilmedDisk(MemoryDisk):
    """Keeps what a power cut would leave behind every single change."""

    def __init__(self) -> None:
        super().__init__()
        self.is_filming = False
        self.left: list[MemoryDisk] = []

    def write(self, descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
        taken = super().write(descriptor, offset, pieces)
        self._film()
        return taken

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._film()

    def sync_folder(self, path: str) -> None:
        super().sync_folder(path)
        self._film()

    def rename(self, path: str, new_path: str) -> None:
        super().rename(path, new_path)
        self._film()

    def remove(self, path: str) -> None:
        super().remove(path)
        self._film()

    def _film(self) -> None:
        if self.is_filming:
            for unsynced in (Unsynced.LOST, Unsynced.ZERO, Unsynced.KEPT):
                self.left += [
                    self.after_power_cut(unsynced, keeps_names=each) for each in (True, False)
                ]


def keep(disk: Disk, segments: int = 3) -> None:
    """Segments of 40 trades."""
    keeper = Keeper("/j", make_channel(), disk=disk)
    for each in range(segments):
        if each:
            keeper.begin()
        keeper.publish(*[2] * 20)
        keeper.seal()


def heard(disk: Disk, seq: int = 1) -> Heard:
    """What a reader gets from a number on."""
    playback = Playback(ChannelFolder(disk, "/j/test"))
    start = Position(epoch_ns=EPOCH_NS, seq=seq)
    assert playback.begin(start)
    with closing(playback):
        return Heard(playback, start)


def read(disk: Disk, seq: int = 1) -> list[int]:
    """The numbers of all records from one on, of which none is missing."""
    found = heard(disk, seq)
    assert found.lost == []
    return found.numbers


def compress(disk: Disk, codec: compressing.Codec | None = None) -> list[float]:
    return list(Compressor(disk, "/j", codec).run())


def test_all_segments_but_the_newest_are_compressed() -> None:
    disk = MemoryDisk()
    keep(disk)
    before = disk.contents(FIRST + ".fj")
    disk.close(disk.open("/j/lock", make=True))
    disk.close(disk.open("/j/No channel", make=True))
    pauses = compress(disk)
    assert disk.open_files == 0
    assert [each for each in disk.paths() if each.startswith(FOLDER) and ".fi" not in each] == [
        FIRST + ".fj.zst",
        SECOND + ".fj.zst",
        LAST + ".fj",
    ]
    assert pauses.count(BOTH_S) == 2
    folder = ChannelFolder(disk, "/j/test")
    with closing(folder.open(EPOCH_NS, 1)) as segment:
        assert segment.size() == len(before)
        assert segment.read(0, 10**6) == before
        assert segment.file_bytes() == len(disk.contents(FIRST + ".fj.zst")) < len(before)
    for seq in (1, 2, 35, 41, 60, 81, 120):
        assert read(disk, seq) == list(range(seq, 121))
    assert compress(disk) == [], "there is nothing left to do"


def test_a_crash_at_any_step_leaves_every_record() -> None:
    disk = FilmedDisk()
    keep(disk, 2)
    disk.is_filming = True
    compress(disk)
    assert len(disk.left) > 6 * 10
    both = 0
    for each in disk.left:
        endings = [path.removeprefix(FIRST) for path in each.paths() if path.startswith(FIRST)]
        both += ".fj" in endings and ".fj.zst" in endings
        assert read(each) == list(range(1, 81))
        recover(each, "/j")
        assert read(each) == list(range(1, 81))
        endings = [path.removeprefix(FIRST) for path in each.paths() if path.startswith(FIRST)]
        assert sum(path.startswith(".fj") for path in endings) == 1
    assert both, "at some steps both files are there"


def test_a_reader_keeps_the_file_that_it_has() -> None:
    disk = MemoryDisk()
    keep(disk)
    with closing(ChannelFolder(disk, "/j/test").open(EPOCH_NS, 1)) as segment:
        before = segment.read(0, 10**6)
        compress(disk)
        assert FIRST + ".fj" not in disk.paths()
        assert segment.read(0, 10**6) == before


def test_whoever_stops_it_leaves_the_segment() -> None:
    disk = MemoryDisk()
    keep(disk)
    before = disk.paths()
    work = Compressor(disk, "/j").run()
    next(work)
    assert FIRST + ".fj.zst.part" in disk.paths()
    work.close()
    assert disk.paths() == before
    assert disk.open_files == 0


def test_without_room_it_stays_as_it_is_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = MemoryDisk()
    keep(disk)
    before = disk.paths()
    compressor = Compressor(disk, "/j")
    for room_bytes in (100, 0):
        disk.room_bytes = room_bytes
        assert list(compressor.run()) == []
    disk.room_bytes = 10**6
    disk.make_error = errno.ENOSPC
    assert list(compressor.run()) == []
    assert disk.paths() == before
    assert caplog.messages == [
        f"journal: no room to compress {FIRST}.fj: it stays uncompressed for now"
    ]
    disk.make_error = 0
    assert list(compressor.run())
    assert read(disk) == list(range(1, 121))


class WrongCodec(Zstd):
    def unpack(self, packed: bytes, size: int) -> bytes:
        return super().unpack(packed, size)[:-1] + b"?"


def test_what_cannot_be_compressed_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    disk = MemoryDisk()
    keep(disk)
    before = disk.paths()
    compressor = Compressor(disk, "/j", WrongCodec())
    for _ in range(2):
        list(compressor.run())
    assert disk.paths() == before
    assert caplog.messages == [
        f"journal: {path}.fj stays uncompressed: what was compressed is not the same"
        for path in (FIRST, SECOND)
    ]


def test_a_segment_that_ends_early_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Short(MemoryDisk):
        def read(self, descriptor: int, offset: int, size: int) -> bytes:
            return super().read(descriptor, offset, size)[: 199 if size == 200 else size]

    disk = Short()
    keep(disk, 2)
    compress(disk)
    assert caplog.messages == [f"journal: {FIRST}.fj stays uncompressed: it was read short"]


def test_what_retention_removes_meanwhile_is_gone() -> None:
    disk = MemoryDisk()
    keep(disk)
    work = Compressor(disk, "/j").run()
    next(work)
    held = Retention(disk, "/j", Limits(keep_bytes=10**9))
    assert held.prune(0) == []
    for ending in (".fj", ".fi"):
        disk.remove(FIRST + ending)
        disk.remove(SECOND + ending)
    assert list(work)
    assert disk.paths() == [LAST + ".fi", LAST + ".fj"]
    keep(disk := MemoryDisk())
    lock = disk.open(FIRST + ".fj")
    assert disk.lock(lock)
    compress(disk)
    assert FIRST + ".fj" in disk.paths(), "somebody was removing it"
    assert SECOND + ".fj" not in disk.paths()


def test_compressed_segments_count_with_the_size_that_they_have() -> None:
    disk = MemoryDisk()
    keep(disk, 4)
    compress(disk)
    fourth = f"{FOLDER}/{numbered(121)}.fj"
    size = sum(len(disk.contents(each)) for each in disk.paths() if not each.startswith(FIRST))
    for keep_bytes, expected in ((size, [1]), (size - 1, [41]), (1, [81])):
        removed = Retention(disk, "/j", Limits(keep_bytes=keep_bytes)).prune(0)
        assert [each.first_seq for each in removed] == expected
    assert disk.paths() == [f"{FOLDER}/{numbered(121)}.fi", fourth]


def damaged(disk: MemoryDisk, path: str, offset: int) -> None:
    descriptor = disk.open(path)
    (byte,) = disk.read(descriptor, offset, 1)
    disk.write(descriptor, offset, [bytes([byte ^ 1])])
    disk.close(descriptor)


def test_a_damaged_part_is_a_loss_of_exactly_its_records() -> None:
    disk = MemoryDisk()
    keep(disk)
    compress(disk)
    size = len(disk.contents(FIRST + ".fj.zst"))
    for offset, least, most in ((size // 2, 5, 20), (5, 40, 40), (size - 1, 40, 40)):
        again = disk.after_power_cut(Unsynced.KEPT)
        damaged(again, FIRST + ".fj.zst", offset)
        found = heard(again)
        lost = [seq for first, last, _ in found.lost for seq in range(first, last + 1)]
        assert {why for *_, why in found.lost} == {LossReason.DAMAGED}
        assert least <= len(lost) <= most
        assert sorted(found.numbers + lost) == list(range(1, 121))
        assert read(again, 41) == list(range(41, 121))


def test_recovery_warns_of_a_compressed_segment_that_cannot_be_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = MemoryDisk()
    keep(disk)
    compress(disk)
    disk.remove(LAST + ".fj")
    disk.remove(LAST + ".fi")
    assert recover(disk, "/j") == {"test": EPOCH_NS}
    assert caplog.messages == [], "the newest one that is left is compressed"
    damaged(disk, SECOND + ".fj.zst", len(disk.contents(SECOND + ".fj.zst")) - 1)
    assert recover(disk, "/j") == {"test": EPOCH_NS}
    (said,) = caplog.messages
    assert said.startswith(f"{SECOND}.fj.zst: cannot be read: no table of zstd frames")


def test_the_thread_compresses_what_is_there_and_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(compressing, "BOTH_S", 0.0)
    monkeypatch.setattr(compressing, "LOOK_S", 0.001)
    disk = MemoryDisk()
    keep(disk)
    runs = []

    class Once(Compressor):
        def run(self) -> compressing.Generator[float]:
            runs.append(1)
            if len(runs) == 1:
                raise OSError(errno.EIO, "Input/output error")
            if len(runs) == 2:
                raise ZeroDivisionError
            yield from super().run()
            thread.stop()
            yield 0.0
            raise AssertionError("it was stopped")

    thread = CompressingThread(Once(disk, "/j"))
    thread.start()
    (its,) = (each for each in threading.enumerate() if each.name == "journal-compress")
    its.join()
    assert not thread.is_running
    assert caplog.messages == ["an internal fault in the journal"]
    assert SECOND + ".fj.zst" in disk.paths()
