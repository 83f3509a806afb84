"""A disk in memory that fails as disks do: full, broken, slow, cut from its power at any byte.

What a program writes stands in the page cache first, and the disk has what was synced. A power cut
leaves a `MemoryDisk` as the next start would find it.
"""

import errno
import os
import threading
from collections.abc import Sequence
from enum import Enum, auto


class PowerCutError(BaseException):
    """The power went off in a write. No handler of errors may take it for one of the disk."""


class Unsynced(Enum):
    """What a power cut makes of bytes that were written and not synced."""

    KEPT = auto()
    LOST = auto()
    ZERO = auto()
    """The file is as long as it was, and has zeros there."""
    HALF = auto()
    """The same, but the first half of them had been written back already."""


class _File:
    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.synced = data
        self.locked_by: int | None = None
        self.shared_by: set[int] = set()

    def after_power_cut(self, unsynced: Unsynced) -> "_File":
        match unsynced:
            case Unsynced.KEPT:
                return _File(bytes(self.data))
            case Unsynced.LOST:
                return _File(self.synced)
            case Unsynced.ZERO:
                return _File(self.synced + bytes(max(0, len(self.data) - len(self.synced))))
            case Unsynced.HALF:
                rest = bytes(self.data[len(self.synced) :])
                written, lost = rest[: len(rest) // 2], len(rest) - len(rest) // 2
                return _File(self.synced + written + bytes(lost))


class MemoryDisk:
    """A `Disk`. With `forbidden_thread`, no call may come from there: it is the event loop's."""

    def __init__(self, *, forbidden_thread: int | None = None) -> None:
        self._forbidden_thread = forbidden_thread
        self._files: dict[str, _File] = {}
        self._synced_files: dict[str, _File] = {}
        """The names that a power cut leaves."""
        self._folders: set[str] = set()
        self._open: dict[int, _File] = {}
        self._next_descriptor = 3
        self.room_bytes = 10**12
        """How much can still be written. A write that does not fit comes short, then fails."""
        self.write_error = 0
        """The errno of every write."""
        self.sync_error = 0
        self.make_error = 0
        """The errno of every file that is to be made."""
        self.power_bytes = 10**12
        """The power goes off once so much was written."""
        self.short_writes = False
        """Whether each write takes half of what it is given."""
        self.settled_since_ns = 0
        """When every folder changed last, as it says."""
        self.syncs = 0
        self.writes = 0
        self.syncing = threading.Event()
        """Set while a sync is held up."""
        self.may_sync = threading.Event()
        """Cleared to hold syncs up."""
        self.may_sync.set()

    @property
    def open_files(self) -> int:
        return len(self._open)

    def contents(self, path: str) -> bytes:
        return bytes(self._files[path].data)

    def paths(self) -> list[str]:
        """All files."""
        return sorted(self._files)

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all that is in it, as somebody else does."""
        self._files = {each: file for each, file in self._files.items() if not _is_in(each, path)}
        self._folders = {each for each in self._folders if each != path and not _is_in(each, path)}

    def after_power_cut(
        self, unsynced: Unsynced = Unsynced.LOST, *, keeps_names: bool = True
    ) -> "MemoryDisk":
        """The disk as the next start finds it. `keeps_names` says whether names that were not
        synced are there."""
        disk = MemoryDisk(forbidden_thread=self._forbidden_thread)
        named = self._files if keeps_names else self._synced_files
        disk._files = {path: file.after_power_cut(unsynced) for path, file in named.items()}
        disk._synced_files = dict(disk._files)
        disk._folders = set(self._folders)
        return disk

    def names(self, folder: str) -> list[str]:
        self._look()
        everything = (*self._files, *self._folders)
        return sorted(os.path.basename(each) for each in everything if _folder(each) == folder)

    def make_folder(self, path: str) -> None:
        self._look()
        while path not in self._folders and path not in ("", "/"):
            self._folders.add(path)
            path = _folder(path)

    def open(self, path: str, *, make: bool = False) -> int:
        self._look()
        if make:
            _fail(self.make_error, path)
            if path in self._files:
                _fail(errno.EEXIST, path)
            if _folder(path) not in self._folders:
                _fail(errno.ENOENT, path)
            self._files[path] = _File()
        if path not in self._files:
            _fail(errno.ENOENT, path)
        self._next_descriptor += 1
        self._open[self._next_descriptor] = self._files[path]
        return self._next_descriptor

    def open_to_read(self, path: str) -> int:
        return self.open(path)

    def settled_ns(self, folder: str) -> int:
        self._look()
        return self.settled_since_ns

    def close(self, descriptor: int) -> None:
        self._look()
        file = self._open.pop(descriptor)
        if file.locked_by == descriptor:
            file.locked_by = None
        file.shared_by.discard(descriptor)

    def size(self, descriptor: int) -> int:
        self._look()
        return len(self._open[descriptor].data)

    def read(self, descriptor: int, offset: int, size: int) -> bytes:
        self._look()
        return bytes(self._open[descriptor].data[offset : offset + size])

    def write(self, descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
        self._look()
        self.writes += 1
        _fail(self.write_error)
        data = b"".join(pieces)
        if self.short_writes:
            data = data[: (len(data) + 1) // 2]
        taken = min(len(data), self.room_bytes, self.power_bytes)
        file = self._open[descriptor].data
        file += bytes(max(0, offset + taken - len(file)))
        file[offset : offset + taken] = data[:taken]
        self.power_bytes -= taken
        if taken < len(data) and not self.power_bytes:
            raise PowerCutError
        self.room_bytes -= taken
        if data and not taken:
            _fail(errno.ENOSPC)
        return taken

    def truncate(self, descriptor: int, size: int) -> None:
        self._look()
        file = self._open[descriptor].data
        self.room_bytes += max(0, len(file) - size)
        del file[size:]

    def sync(self, descriptor: int) -> None:
        self._look()
        self.syncing.set()
        assert self.may_sync.wait(30), "a test that holds syncs up lets them go on"
        self.syncing.clear()
        _fail(self.sync_error)
        self.syncs += 1
        file = self._open[descriptor]
        file.synced = bytes(file.data)

    def sync_folder(self, path: str) -> None:
        self._look()
        if path not in self._folders:
            _fail(errno.ENOENT, path)
        kept = {each: file for each, file in self._synced_files.items() if _folder(each) != path}
        here = {each: file for each, file in self._files.items() if _folder(each) == path}
        self._synced_files = kept | here

    def rename(self, path: str, new_path: str) -> None:
        self._look()
        if path not in self._files:
            _fail(errno.ENOENT, path)
        self._files[new_path] = self._files.pop(path)

    def remove(self, path: str) -> None:
        self._look()
        if path not in self._files:
            _fail(errno.ENOENT, path)
        self.room_bytes += len(self._files.pop(path).data)

    def remove_folder(self, path: str) -> None:
        self._look()
        if self.names(path):
            _fail(errno.ENOTEMPTY, path)
        self._folders.remove(path)

    def is_at(self, descriptor: int, path: str) -> bool:
        self._look()
        return self._files.get(path) is self._open[descriptor]

    def free_bytes(self, folder: str) -> int:
        self._look()
        if folder not in self._folders:
            _fail(errno.ENOENT, folder)
        return self.room_bytes

    def lock(self, descriptor: int) -> bool:
        self._look()
        file = self._open[descriptor]
        if file.locked_by not in (None, descriptor) or file.shared_by - {descriptor}:
            return False
        file.locked_by = descriptor
        return True

    def share(self, descriptor: int) -> bool:
        self._look()
        file = self._open[descriptor]
        if file.locked_by not in (None, descriptor):
            return False
        file.shared_by.add(descriptor)
        return True

    def _look(self) -> None:
        assert threading.get_ident() != self._forbidden_thread, "the event loop waits for the disk"


def _folder(path: str) -> str:
    return os.path.dirname(path)


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def _fail(number: int, path: str | None = None) -> None:
    if number:
        raise OSError(number, os.strerror(number), path)
