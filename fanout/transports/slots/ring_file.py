"""The file of a ring of slots: opened or made, locked, and left there at the end.

The layout has no epoch, so a program that has the file open cannot learn of another one. So a start
goes on in the file of an earlier run, and the file stays at the end. A new file is made under
another name and linked when it is whole, so that nobody opens half of one.

A lock on the write index says who writes. It is a lock of the open file, see
`fanout.protocol.queue_file`.
"""

import errno
import fcntl
import mmap
import os
import secrets
import stat

from fanout.errors import BindError
from fanout.protocol.queue_file import lock_kind, lock_request
from fanout.protocol.queue_page import WORD_BYTES
from fanout.protocol.slots import FILE_BYTES, WRITE_WORD, SlotsWriter
from fanout.transports.shared_file import has_name

_LOCK = lock_request(fcntl.F_WRLCK, WRITE_WORD)


class OwnedRing:
    """A ring of slots under its name, and ours to write. Made by `open_ring`."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        # All pages now: a first touch costs microseconds.
        self._mapped = mmap.mmap(fd, FILE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.writer = SlotsWriter(self._mapped)

    def is_whole(self) -> bool:
        """Whether the file has its name, and is unharmed."""
        return self.is_unharmed() and has_name(self._path, self._fd)

    def is_unharmed(self) -> bool:
        """Whether the file has its length, and the write index that we stored.

        A store to a file that somebody cut would end this process, so system calls look. A cut
        between this look and the next store is not caught.
        """
        index = os.pread(self._fd, WORD_BYTES, WRITE_WORD * WORD_BYTES)
        return (
            int.from_bytes(index, "little") == self.writer.position
            and os.fstat(self._fd).st_size == FILE_BYTES
        )

    def close(self) -> None:
        """Release the ring. The file stays."""
        self.writer.release()
        self._mapped.close()
        os.close(self._fd)


def open_ring(path: str) -> OwnedRing:
    """The ring of that name, made if there is none. Raises `BindError`, with words on what to do.

    A file that another program of ours writes, or that is no ring, is left alone.
    """
    try:
        while True:
            fd = _existing(path)
            if fd is None:
                fd = _made(path)
            if fd is not None:
                return OwnedRing(path, fd)
    except OSError as error:
        raise BindError(f"cannot make the ring {path}: {_words(error)}") from error


def writer_of(path: str) -> bool | None:
    """Whether a process of ours writes the ring of that name; None if there is no file. Changes
    nothing. Raises `OSError`, and `BindError` if the file is no ring."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        _require_ring(path, fd)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _LOCK)
        return lock_kind(answer) != fcntl.F_UNLCK
    finally:
        os.close(fd)


def _existing(path: str) -> int | None:
    """The locked file that has the name, None if there is none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BindError(f"{path} is there, and not ours: {_words(error)}") from error
    try:
        _require_ring(path, fd)
        _lock(path, fd)
        os.posix_fallocate(fd, 0, FILE_BYTES)  # it may have holes, and memory may be short
        if has_name(path, fd):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _made(path: str) -> int | None:
    """A new locked file under the name, None if another one came in between."""
    directory, name = os.path.split(path)
    aside = os.path.join(directory, f".{name}.{secrets.token_hex(8)}")
    fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, FILE_BYTES)
        _lock(path, fd)
        os.link(aside, path)
    except FileExistsError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    finally:
        os.unlink(aside)
    return fd


def _require_ring(path: str, fd: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size != FILE_BYTES:
        raise BindError(
            f"{path} is there, and no ring of slots: {status.st_size:,} bytes, and a ring has "
            f"{FILE_BYTES:,}; remove it, or take another --name"
        )


def _lock(path: str, fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK)
    except BlockingIOError as error:
        raise BindError(
            f"the ring {path} belongs to another process, which is running: stop it, or take "
            "another --name"
        ) from error


def _words(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"no {FILE_BYTES:,} bytes are free there: enlarge the shared memory"
    return (error.strerror or str(error)).lower()
