"""What a journal asks of the operating system, and nothing else does.

Everything that writes a journal goes through a `Disk`. The tests put one in its place that fails,
fills up or loses power at any byte. All calls may block, so none is made in the event loop's
thread. All raise `OSError`.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Sequence
from typing import Final, Protocol

from fanout.protocol.journal_folder import SETTLED_NS, ReadingDisk

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
"""The errno of a disk that is full."""

_MOST_PIECES: Final = os.sysconf("SC_IOV_MAX")
"""How many pieces one call takes."""


class Disk(ReadingDisk, Protocol):
    """Files of a journal. `names` sorts them."""

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it that are missing. Their names outlive a power cut."""
        ...

    def open(self, path: str, *, make: bool = False) -> int:
        """Open a file to read and to write. With `make` it must not be there yet. A symbolic link
        is refused."""
        ...

    def write(self, descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
        """Write pieces one behind the other from `offset` on. Returns how many bytes were taken,
        which may be fewer than there are."""
        ...

    def truncate(self, descriptor: int, size: int) -> None: ...

    def sync(self, descriptor: int) -> None:
        """Return once the file's bytes would outlive a power cut. After a failure nobody knows
        which of them would: the descriptor must not be used again."""
        ...

    def sync_folder(self, path: str) -> None:
        """The same for the names in a folder."""
        ...

    def rename(self, path: str, new_path: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def remove_folder(self, path: str) -> None:
        """Remove a folder that is empty."""
        ...

    def is_at(self, descriptor: int, path: str) -> bool:
        """Whether the open file is still the one with this name."""
        ...

    def free_bytes(self, folder: str) -> int:
        """What this user may still write there."""
        ...

    def lock(self, descriptor: int) -> bool:
        """Take the lock of an open file for this descriptor alone. It ends with the descriptor.
        False if another descriptor has it: a reader that keeps the file, or another writer."""
        ...


class RealDisk:
    """The disk of this machine."""

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def settled_ns(self, folder: str) -> int:
        try:
            changed_ns = os.stat(folder).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return changed_ns if changed_ns < time.time_ns() - SETTLED_NS else 0

    def make_folder(self, path: str) -> None:
        missing, above = list[str](), os.path.abspath(path)
        while not os.path.exists(above):
            above = os.path.dirname(above)
            missing.append(above)
        os.makedirs(path, mode=0o755, exist_ok=True)
        for each in missing:
            self.sync_folder(each)

    def open(self, path: str, *, make: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags | (os.O_CREAT | os.O_EXCL if make else 0), 0o644)

    def open_to_read(self, path: str) -> int:
        # Without O_NONBLOCK a pipe with the name of a segment would wait for its other end.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a plain file", path)
        return descriptor

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, offset: int, size: int) -> bytes:
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
        return os.pwritev(descriptor, pieces[:_MOST_PIECES], offset)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync_folder(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, path: str, new_path: str) -> None:
        os.rename(path, new_path)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_folder(self, path: str) -> None:
        os.rmdir(path)

    def is_at(self, descriptor: int, path: str) -> bool:
        try:
            there = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)

    def free_bytes(self, folder: str) -> int:
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def lock(self, descriptor: int) -> bool:
        return _has_locked(descriptor, fcntl.LOCK_EX)

    def share(self, descriptor: int) -> bool:
        return _has_locked(descriptor, fcntl.LOCK_SH)


def _has_locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
