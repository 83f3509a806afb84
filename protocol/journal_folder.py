"""The folder of a channel in a journal, for its readers: its epochs, its segments, and their bytes.

    DIR/CHANNEL/EPOCH/FIRSTSEQ.fj     a segment; .fi its index
    DIR/CHANNEL/EPOCH/FIRSTSEQ.fj.zst a segment that was compressed: read as if it was not

The service and its clients read with the same classes, each through a `ReadingDisk` of its own:
this module does no I/O. Names that no journal gives are passed over here. Nothing is checked but
names: a file that has the name of a segment may be none.
"""

import errno
import os
from contextlib import suppress
from os.path import join
from typing import Final, Protocol

from fanout.protocol.errors import PeerError
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX,
    INDEX_MAGIC,
    PACKED,
    SEGMENT,
    decode_file_header,
    numbered,
    numbers_in,
)
from fanout.protocol.journal_packed import PackedFile, Unpacked

MAX_CONTENTS_BYTES: Final = 32 * 1024 * 1024
"""Most of a file that is read whole: more than the index of the longest segment has. A file may be
anything."""

SETTLED_NS: Final = 1_000_000_000
"""How long ago a folder must have changed for its names to be remembered. Reading those of 100
segments takes as long as all else of a seek."""


class ReadingDisk(Protocol):
    """What readers of a journal ask of the operating system. A descriptor is an integer of this
    disk's own. All calls may block, and raise `OSError`."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none for a folder that is missing."""
        ...

    def settled_ns(self, folder: str) -> int:
        """When a name in a folder changed last, unix ns. 0 for a folder that is missing, and for
        one that changed within the last `SETTLED_NS`: two changes within a tick of the clock show
        the same time."""
        ...

    def open_to_read(self, path: str) -> int:
        """Open a file to read it, also on a disk that cannot be written. A symbolic link is
        refused, and so is what is no plain file."""
        ...

    def close(self, descriptor: int) -> None:
        """Close an open file, which releases its lock."""
        ...

    def size(self, descriptor: int) -> int:
        """How many bytes an open file has now."""
        ...

    def read(self, descriptor: int, offset: int, size: int) -> bytes:
        """Up to so many bytes from there; fewer at the end."""
        ...

    def share(self, descriptor: int) -> bool:
        """Take the lock of an open file together with others that share it, as a reader does that
        keeps the file. It ends with the descriptor. False if another descriptor has it alone."""
        ...


class ChannelFolder:
    """The folder of one channel. All methods may block, and raise `OSError`. Threads may share
    it."""

    def __init__(self, disk: ReadingDisk, path: str) -> None:
        self.path = path
        self.unpacked = Unpacked()
        """For all that is compressed here."""
        self._disk = disk
        self._listed: dict[str, tuple[int, dict[int, str]]] = {}
        """What stands in a folder, and when that changed last."""

    def epochs(self) -> list[int]:
        """The epochs that have a folder, in order."""
        return list(self._list(self.path, ""))

    def segments(self, epoch_ns: int) -> list[int]:
        """The first numbers of an epoch's segments, in order."""
        return list(self.endings(epoch_ns))

    def endings(self, epoch_ns: int) -> dict[int, str]:
        """The same, each with how its file's name ends: `SEGMENT` or `PACKED`."""
        return self._list(self.epoch_path(epoch_ns), SEGMENT, PACKED)

    def open(self, epoch_ns: int, first_seq: int) -> "OpenSegment":
        """Open a segment to read it, as `OpenSegment` does."""
        return OpenSegment(self._disk, self, epoch_ns, first_seq)

    def epoch_path(self, epoch_ns: int) -> str:
        return join(self.path, numbered(epoch_ns))

    def file_path(self, epoch_ns: int, first_seq: int, ending: str = SEGMENT) -> str:
        return join(self.path, numbered(epoch_ns), numbered(first_seq, ending))

    def _list(self, path: str, *endings: str) -> dict[int, str]:
        """The numbers in a folder. Its names are read only if they may have changed."""
        settled_ns = self._disk.settled_ns(path)
        known_ns, found = self._listed.get(path, (0, {}))
        if not settled_ns or settled_ns != known_ns:
            try:
                found = numbers_in(self._disk.names(path), *endings)
            except NotADirectoryError:
                found = {}
            self._listed[path] = settled_ns, found
        return found


class OpenSegment:
    """A segment that is open to be read, by whoever opened it alone."""

    def __init__(
        self, disk: ReadingDisk, folder: ChannelFolder, epoch_ns: int, first_seq: int
    ) -> None:
        """Retention leaves the segment alone until it is closed, as long as there is room. Raises
        `OSError`, as `BlockingIOError` for a segment that is just being removed, and
        `MissingPackageError` for one that cannot be decompressed here."""
        self._disk = disk
        self._name = epoch_ns, first_seq
        self._packed: PackedFile | None = None
        self.path = folder.file_path(epoch_ns, first_seq)
        try:
            self._descriptor = disk.open_to_read(self.path)
        except FileNotFoundError:
            self._descriptor = self._open_packed(folder.file_path(epoch_ns, first_seq, PACKED))
        try:
            self._keep()
            if self.is_packed:
                unpacked = folder.unpacked
                self._packed = PackedFile(self._read, self.file_bytes(), unpacked, self.path)
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
        """How large the segment is now."""
        return self.file_bytes() if self._packed is None else self._packed.size()

    def file_bytes(self) -> int:
        """What it takes on the disk, compressed or not."""
        return self._disk.size(self._descriptor)

    def index(self) -> bytes:
        """What the segment's index holds; nothing where there is none."""
        return self._index(MAX_CONTENTS_BYTES)

    def created_ns(self) -> int:
        """When the segment was made. The index of a compressed one tells as well, and nothing has
        to be decompressed for it. Raises `OSError`, and `PeerError` where neither tells."""
        if self.is_packed:
            with suppress(PeerError):
                head = decode_file_header(self._index(FILE_HEADER_BYTES), INDEX_MAGIC)
                if (head.epoch_ns, head.first_seq) == self._name:
                    return head.created_ns
        return decode_file_header(self.read(0, FILE_HEADER_BYTES)).created_ns

    def close(self) -> None:
        """Close the file, and release its lock."""
        # Swapped first: an interrupt after the file was closed must not cause a second close.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._disk.close(descriptor)

    def _index(self, most: int) -> bytes:
        ending = PACKED if self.is_packed else SEGMENT
        return contents(self._disk, self.path.removesuffix(ending) + INDEX, most)

    def _open_packed(self, path: str) -> int:
        """A segment that has no other file. Where it has none at all, the error names the one that
        is usual."""
        try:
            descriptor = self._disk.open_to_read(path)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path) from None
        self.path = path
        return descriptor

    def _keep(self) -> None:
        """Lock the file against removal."""
        try:
            is_kept = self._disk.share(self._descriptor)
        except OSError:
            return  # a file system without locks
        if not is_kept:
            raise BlockingIOError(errno.EAGAIN, "the segment is just being removed", self.path)

    def _read(self, offset: int, size: int) -> bytes:
        return self._disk.read(self._descriptor, offset, size)


def contents(disk: ReadingDisk, path: str, most: int = MAX_CONTENTS_BYTES) -> bytes:
    """The bytes of a small file, up to a limit; none if there is no such file. Raises `OSError`."""
    try:
        descriptor = disk.open_to_read(path)
    except FileNotFoundError:
        return b""
    try:
        return disk.read(descriptor, 0, min(disk.size(descriptor), most))
    finally:
        disk.close(descriptor)
