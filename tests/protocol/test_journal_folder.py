"""A channel's folder, on a disk in memory."""

import sys
from contextlib import closing

import pytest

from fanout.protocol.errors import MissingPackageError, PeerError
from fanout.protocol.journal import (
    INDEX_MAGIC,
    SEGMENT_MAGIC,
    FileHeader,
    encode_file_header,
    numbered,
)
from fanout.protocol.journal_folder import MAX_CONTENTS_BYTES, ChannelFolder, contents
from tests.stand.disk import MemoryDisk
from tests.stand.packed import packed

DATA = bytes(range(200)) * 3
FOLDER = f"/j/spot/{numbered(5)}"


def write(disk: MemoryDisk, path: str, data: bytes) -> None:
    descriptor = disk.open(path, make=True)
    disk.write(descriptor, 0, [data])
    disk.close(descriptor)


@pytest.fixture
def disk() -> MemoryDisk:
    """Epoch 5 with segments 1, which is compressed, and 10."""
    disk = MemoryDisk()
    disk.make_folder(FOLDER)
    write(disk, f"{FOLDER}/{numbered(1, '.fj.zst')}", packed(DATA))
    write(disk, f"{FOLDER}/{numbered(10, '.fj')}", DATA)
    write(disk, f"{FOLDER}/{numbered(10, '.fi')}", b"index")
    return disk


@pytest.fixture
def folder(disk: MemoryDisk) -> ChannelFolder:
    return ChannelFolder(disk, "/j/spot")


def test_names_that_no_journal_gives_are_passed_over(
    disk: MemoryDisk, folder: ChannelFolder
) -> None:
    for name in ("1", numbered(0), numbered(7) + "x"):
        disk.make_folder(f"/j/spot/{name}")
    for name in (numbered(0, ".fj"), "11.fj", numbered(12, ".fj.part"), numbered(13, ".torn")):
        write(disk, f"{FOLDER}/{name}", b"")
    assert folder.epochs() == [5]
    assert folder.segments(5) == [1, 10]
    assert folder.endings(5) == {1: ".fj.zst", 10: ".fj"}
    assert folder.segments(6) == []


def test_what_is_no_folder_has_nothing() -> None:
    class Files(MemoryDisk):
        def names(self, folder: str) -> list[str]:
            raise NotADirectoryError(20, "Not a directory", folder)

    folder = ChannelFolder(Files(), "/j/spot")
    assert (folder.epochs(), folder.segments(5)) == ([], [])


def test_names_are_read_again_only_if_they_may_have_changed(
    disk: MemoryDisk, folder: ChannelFolder
) -> None:
    """Whoever goes to a place in a journal of 100 segments spends most of the time with it."""
    assert folder.segments(5) == [1, 10]
    write(disk, f"{FOLDER}/{numbered(20, '.fj')}", DATA)
    assert folder.segments(5) == [1, 10, 20], "it changed just now"
    disk.settled_since_ns = 100
    assert (folder.epochs(), folder.segments(5)) == ([5], [1, 10, 20])
    write(disk, f"{FOLDER}/{numbered(30, '.fj')}", DATA)
    disk.make_folder(f"/j/spot/{numbered(6)}")
    assert (folder.epochs(), folder.segments(5)) == ([5], [1, 10, 20])
    disk.settled_since_ns = 101
    assert (folder.epochs(), folder.segments(5)) == ([5, 6], [1, 10, 20, 30])


@pytest.mark.parametrize(("first_seq", "is_packed"), [(1, True), (10, False)])
def test_a_segment_is_read_compressed_or_not(
    disk: MemoryDisk, folder: ChannelFolder, first_seq: int, is_packed: bool
) -> None:
    with closing(folder.open(5, first_seq)) as segment:
        assert segment.is_packed == is_packed
        assert segment.path == folder.file_path(5, first_seq, ".fj.zst" if is_packed else ".fj")
        assert segment.size() == len(DATA)
        assert segment.read(150, 100) == DATA[150:250]
        assert segment.file_bytes() == len(disk.contents(segment.path))
        assert segment.index() == (b"" if is_packed else b"index")
    segment.close()
    assert disk.open_files == 0


def test_the_index_of_a_compressed_segment_tells_when_that_was_made(
    disk: MemoryDisk, folder: ChannelFolder
) -> None:
    def header(created_ns: int, magic: bytes = SEGMENT_MAGIC, seq: int = 20) -> bytes:
        return encode_file_header(
            FileHeader(epoch_ns=5, first_seq=seq, created_ns=created_ns), magic
        )

    whole, index = f"{FOLDER}/{numbered(20, '.fj.zst')}", f"{FOLDER}/{numbered(20, '.fi')}"
    write(disk, whole, packed(header(7) + DATA))
    for data, created_ns in (
        (None, 7),
        (header(8, INDEX_MAGIC) + b"places", 8),
        (header(8, INDEX_MAGIC, seq=21), 7),
        (b"?", 7),
    ):
        if data is not None:
            write(disk, index, data)
        with closing(folder.open(5, 20)) as segment:
            assert segment.created_ns() == created_ns
        if data is not None:
            disk.remove(index)
    write(disk, f"{FOLDER}/{numbered(30, '.fj')}", header(9, seq=30))
    write(disk, f"{FOLDER}/{numbered(30, '.fi')}", header(8, INDEX_MAGIC, seq=30))
    with closing(folder.open(5, 30)) as segment:
        assert segment.created_ns() == 9
    with closing(folder.open(5, 10)) as segment, pytest.raises(PeerError):
        segment.created_ns()


def test_a_segment_that_is_not_there_or_just_being_removed_is_not_opened(
    disk: MemoryDisk, folder: ChannelFolder
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        folder.open(5, 11)
    assert caught.value.filename == folder.file_path(5, 11)
    remover = disk.open(folder.file_path(5, 10))
    assert disk.lock(remover)
    with pytest.raises(BlockingIOError):
        folder.open(5, 10)
    disk.close(remover)
    with closing(folder.open(5, 10)):
        remover = disk.open(folder.file_path(5, 10))
        assert not disk.lock(remover), "it is kept for its reader"
        disk.close(remover)
    assert disk.open_files == 0


def test_a_file_system_without_locks_is_read_without(disk: MemoryDisk) -> None:
    class Lockless(MemoryDisk):
        def share(self, descriptor: int) -> bool:
            raise OSError(95, "Operation not supported")

    lockless = Lockless()
    lockless.make_folder(FOLDER)
    write(lockless, f"{FOLDER}/{numbered(10, '.fj')}", DATA)
    with closing(ChannelFolder(lockless, "/j/spot").open(5, 10)) as segment:
        assert segment.read(0, 10) == DATA[:10]


def test_without_the_package_a_compressed_segment_is_not_opened(
    disk: MemoryDisk, folder: ChannelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingPackageError):
        folder.open(5, 1)
    assert disk.open_files == 0


def test_no_file_is_read_whole_beyond_a_limit() -> None:
    class Huge(MemoryDisk):
        def size(self, descriptor: int) -> int:
            return 10**12

        def read(self, descriptor: int, offset: int, size: int) -> bytes:
            assert size == MAX_CONTENTS_BYTES
            return super().read(descriptor, offset, size)

    huge = Huge()
    huge.make_folder(FOLDER)
    write(huge, f"{FOLDER}/{numbered(10, '.fi')}", b"index")
    assert contents(huge, f"{FOLDER}/{numbered(10, '.fi')}") == b"index"
    assert contents(huge, f"{FOLDER}/{numbered(11, '.fi')}") == b""
