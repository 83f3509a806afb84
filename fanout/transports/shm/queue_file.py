"""A shared-memory queue's file, from the writer's side: make it, own it, remove it.

A queue is made under another name and renamed when it is complete, so that nobody attaches to half
of one. It never takes a living writer's name: a lock on the writer's pid is held as long as there
is a writer, and a writer that takes over a dead one's file holds the lock of that file meanwhile,
so that one of two gets it.

The lock belongs to the open file, which a forked process shares. So `close` releases it by itself,
and only the process that made the queue may write to it or remove it.
"""

import errno
import fcntl
import logging
import mmap
import os
import secrets
from enum import Enum, auto

from fanout.errors import BindError
from fanout.protocol.errors import LimitExceededError
from fanout.protocol.queue import QueueWriter
from fanout.protocol.queue_file import lock_kind, lock_request
from fanout.protocol.queue_page import (
    MAGIC,
    PAGE_BYTES,
    READER_PID_WORD,
    WORD_BYTES,
    WRITER_PID_WORD,
)
from fanout.protocol.records import Header

_LOG = logging.getLogger("fanout")


class OwnedQueue:
    """A queue under its name, and ours to write. Made by `create`."""

    def __init__(self, path: str, fd: int, mapped: mmap.mmap, writer: QueueWriter) -> None:
        self.writer = writer
        self._path = path
        self._fd = fd
        self._mapped = mapped
        self._pid = os.getpid()

    def is_whole(self) -> bool:
        """Whether this is still a queue, and the one that has the name. Raises `RuntimeError` in
        a forked process."""
        return self.is_uncut() and _is_queue(self._fd) and _has_name(self._path, self._fd)

    def is_uncut(self) -> bool:
        """Whether the file is as long as it was made, which takes one system call. Raises
        `RuntimeError` in a forked process.

        Ask before any store: one to a file that somebody cut would end this process. A cut between
        this look and the next store is not caught: the file is ours alone, and whoever can cut it
        can as well send a signal.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"queue {self._path} belongs to process {self._pid}, and process {os.getpid()}, "
                "forked from it, may not write to it: make a queue of its own"
            )
        return os.lseek(self._fd, 0, os.SEEK_END) == len(self._mapped)

    def has_reader(self) -> bool:
        """Whether somebody has attached, and lives. A system call."""
        return _is_locked(self._fd, READER_PID_WORD)

    def close(self, *, keep: bool) -> None:
        """Release the queue; a reader that has it may still read the rest. Removes the file,
        unless it is to be kept or another one has the name by now. A forked process only gives
        back its copies."""
        is_ours = os.getpid() == self._pid
        if is_ours and not keep and _has_name(self._path, self._fd):
            os.unlink(self._path)
        self.writer.release()
        if is_ours:
            # A forked process that lives would keep the lock otherwise.
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, lock_request(fcntl.F_UNLCK, WRITER_PID_WORD))
        self._mapped.close()
        os.close(self._fd)


class Holder(Enum):
    """Who has the name of a queue."""

    NOBODY = auto()
    WRITER = auto()
    """One that lives."""
    DEAD_WRITER = auto()
    """It is taken over from this one."""
    STRANGER = auto()
    """The file is no queue."""


def holder_of(path: str) -> tuple[Holder, int]:
    """Who has the name, and the pid of the writer if it is one. Nothing is locked or changed.
    Raises `OSError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Holder.NOBODY, 0
    try:
        if not _is_queue(fd):
            return Holder.STRANGER, 0
        is_alive = _is_locked(fd, WRITER_PID_WORD)
        return Holder.WRITER if is_alive else Holder.DEAD_WRITER, _writer_pid(fd)
    finally:
        os.close(fd)


def create(path: str, *, capacity_bytes: int, header: Header | None) -> OwnedQueue:
    """Make a queue and give it its name. Raises `BindError`, with words on what to do."""
    directory, name = os.path.split(path)
    aside = os.path.join(directory, f".{name}.{secrets.token_hex(8)}")
    try:
        queue = _make(path, aside, capacity_bytes, header)
        try:
            _take_name(aside, path)
        except BaseException:
            queue.close(keep=True)
            raise
    except OSError as error:
        raise BindError(f"cannot make the queue {path}: {_words(error, capacity_bytes)}") from error
    except LimitExceededError as error:
        raise BindError(f"cannot make the queue {path}: {error}") from error
    finally:
        _remove(aside)
    return queue


def _make(path: str, aside: str, capacity_bytes: int, header: Header | None) -> OwnedQueue:
    size = PAGE_BYTES + capacity_bytes
    fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        # Real memory now: where there is none this fails, and not a store in the middle of a run.
        os.posix_fallocate(fd, 0, size)
        _lock(fd)
        # All pages now: a first touch costs microseconds, which one frame in forty would wait for.
        mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        writer = QueueWriter(mapped, header=header, pid=os.getpid())
    except BaseException:
        os.close(fd)
        raise
    return OwnedQueue(path, fd, mapped, writer)


def _take_name(aside: str, path: str) -> None:
    """Give the file its name: a new one, or a dead writer's."""
    while True:
        try:
            os.link(aside, path)
        except FileExistsError:
            if _replace_dead(aside, path):
                return
        else:
            return


def _replace_dead(aside: str, path: str) -> bool:
    """Replace the queue that has the name. False if that changed meanwhile. Raises `BindError` if
    its writer lives, or it is no queue."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BindError(f"{path} is there, and not ours: {_words(error)}") from error
    try:
        _require_dead_queue(path, fd)
        if not _has_name(path, fd):
            return False
        os.rename(aside, path)
        _LOG.warning("%s: taken over from process %d, which is gone", path, _writer_pid(fd))
        return True
    finally:
        os.close(fd)


def _require_dead_queue(path: str, fd: int) -> None:
    """Raises `BindError` unless this is a queue without a writer. Locks it."""
    if not _is_queue(fd):
        raise BindError(f"{path} is there, and no queue: remove it, or take another --name")
    try:
        _lock(fd)
    except BlockingIOError as error:
        raise BindError(
            f"queue {path} belongs to process {_writer_pid(fd)}, which is running: "
            "stop it, or take another --name"
        ) from error


def _is_queue(fd: int) -> bool:
    return os.pread(fd, WORD_BYTES, 0) == MAGIC.to_bytes(WORD_BYTES, "little")


def _lock(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock_request(fcntl.F_WRLCK, WRITER_PID_WORD))


def _is_locked(fd: int, pid_word: int) -> bool:
    """Whether somebody else has the lock on a pid."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, lock_request(fcntl.F_WRLCK, pid_word))
    return lock_kind(answer) != fcntl.F_UNLCK


def _writer_pid(fd: int) -> int:
    return int.from_bytes(os.pread(fd, WORD_BYTES, WRITER_PID_WORD * WORD_BYTES), "little")


def _has_name(path: str, fd: int) -> bool:
    """Whether it is this file that the name stands for."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _words(error: OSError, size_bytes: int = 0) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"no {size_bytes:,} bytes are free there: a smaller --capacity, or more shared memory"
        )
    return (error.strerror or str(error)).lower()
