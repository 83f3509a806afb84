"""A channel's folder in a journal: which epochs and segments it has, and where.

    DIR/CHANNEL/EPOCH/FIRSTSEQ.fj     a segment; .fi its index, .fs its state, .torn its cut-off end
    DIR/CHANNEL/EPOCH/FIRSTSEQ.fj.zst a segment that was compressed: read as if it was not

Names that no journal gives are passed over here. Nothing is checked but names: a file that has the
name of a segment may be none.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from errno import EIO, ENOENT
from os.path import dirname, join
from typing import Final

from fanout.journal.disk import Disk
from fanout.protocol.journal import (
    INDEX,
    PACKED,
    PART,
    SEGMENT,
    TORN,
    number_in,
    numbered,
    segments_in,
)
from fanout.protocol.journal_packed import PackedFile

STATE: Final = ".fs"


class ChannelFolder:
    """The folder of one channel. All methods may block, and raise `OSError`."""

    def __init__(self, disk: Disk, path: str) -> None:
        self.path = path
        self._disk = disk

    def epochs(self) -> list[int]:
        """The epochs that have a folder, in order."""
        return _numbers(self._disk.names(self.path))

    def segments(self, epoch_ns: int) -> list[int]:
        """The first numbers of an epoch's segments, in order."""
        return list(self.endings(epoch_ns))

    def endings(self, epoch_ns: int) -> dict[int, str]:
        """The same, each with how its file's name ends: `SEGMENT` or `PACKED`."""
        return segments_in(self._disk.names(self.epoch_path(epoch_ns)))

    def open(self, epoch_ns: int, first_seq: int) -> "KeptSegment":
        """Open a segment to read it, compressed or not. Retention leaves it alone until it is
        closed. Raises `MissingPackageError` if it cannot be decompressed here."""
        return KeptSegment(self._disk, self, epoch_ns, first_seq)

    def epoch_path(self, epoch_ns: int) -> str:
        return join(self.path, numbered(epoch_ns))

    def file_path(self, epoch_ns: int, first_seq: int, ending: str = SEGMENT) -> str:
        return join(self.path, numbered(epoch_ns), numbered(first_seq, ending))


class KeptSegment:
    """A segment that is being read, by whoever opened it alone."""

    def __init__(self, disk: Disk, folder: ChannelFolder, epoch_ns: int, first_seq: int) -> None:
        self._disk = disk
        self._index_path = folder.file_path(epoch_ns, first_seq, INDEX)
        self._packed: PackedFile | None = None
        self.path = folder.file_path(epoch_ns, first_seq)
        try:
            self._descriptor = disk.open(self.path)
        except FileNotFoundError:
            self._descriptor = self._open_packed(folder.file_path(epoch_ns, first_seq, PACKED))
        try:
            disk.share(self._descriptor)
            if self.is_packed:
                self._packed = PackedFile(self._read, self.file_bytes())
        except BaseException:
            self.close()
            raise

    @property
    def is_packed(self) -> bool:
        return self.path.endswith(PACKED)

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes from there; fewer at the end."""
        return self._read(offset, size) if self._packed is None else self._packed.read(offset, size)

    def size(self) -> int:
        return self.file_bytes() if self._packed is None else self._packed.size()

    def file_bytes(self) -> int:
        """What it takes on the disk, compressed or not."""
        return self._disk.size(self._descriptor)

    def index(self) -> bytes:
        """What the segment's index holds; nothing where there is none."""
        return contents(self._disk, self._index_path)

    def close(self) -> None:
        self._disk.close(self._descriptor)

    def _open_packed(self, path: str) -> int:
        """A segment that has no other file. Where it has none at all, the error names the one that
        is usual."""
        try:
            descriptor = self._disk.open(path)
        except FileNotFoundError:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), self.path) from None
        self.path = path
        return descriptor

    def _read(self, offset: int, size: int) -> bytes:
        return self._disk.read(self._descriptor, offset, size)


def first_seq_of(name: str) -> int | None:
    """The first number of the segment that a file in an epoch's folder belongs to, None for names
    that no journal gives."""
    whole, torn, turn = name.partition(TORN)
    if torn and (not turn or (turn[0] == "." and turn[1:].isdecimal())):
        return number_in(whole) or None
    found = (number_in(name, each) for each in (SEGMENT, PACKED, INDEX, STATE))
    return next((each for each in found if each), None)


def contents(disk: Disk, path: str) -> bytes:
    """All bytes of a small file; none if there is no such file. Raises `OSError`."""
    try:
        descriptor = disk.open(path)
    except FileNotFoundError:
        return b""
    try:
        return disk.read(descriptor, 0, disk.size(descriptor))
    finally:
        disk.close(descriptor)


def size_of(disk: Disk, path: str) -> int:
    """Raises `OSError`."""
    descriptor = disk.open(path)
    try:
        return disk.size(descriptor)
    finally:
        disk.close(descriptor)


def write_all(disk: Disk, descriptor: int, offset: int, pieces: Sequence[bytes]) -> None:
    """Write all pieces one behind the other, in as many calls as it takes. Raises `OSError`."""
    taken = disk.write(descriptor, offset, pieces)
    while taken < sum(map(len, pieces)):
        if not taken:
            raise OSError(EIO, "the disk took nothing")
        offset += taken
        pieces = _rest(pieces, taken)
        taken = disk.write(descriptor, offset, pieces)


def _rest(pieces: Sequence[bytes], taken: int) -> list[bytes]:
    """What is left of pieces of which so many bytes were written."""
    rest = list(pieces)
    while len(rest[0]) <= taken:
        taken -= len(rest.pop(0))
    rest[0] = rest[0][taken:]
    return rest


def write_whole(disk: Disk, path: str, data: bytes, *, syncs: bool = True) -> None:
    """Write a small file so that its name stands for all of it, also after a crash: under another
    name first. It takes the place of one that has the name. Raises `OSError`."""
    with suppress(FileNotFoundError):
        disk.remove(path + PART)
    part = disk.open(path + PART, make=True)
    try:
        write_all(disk, part, 0, [data])
        if syncs:
            disk.sync(part)
    finally:
        disk.close(part)
    disk.rename(path + PART, path)
    if syncs:
        disk.sync_folder(dirname(path))


def _numbers(names: Sequence[str], ending: str = "") -> list[int]:
    found = (number_in(each, ending) for each in names)
    return sorted(each for each in found if each)
