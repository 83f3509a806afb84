"""A file in shared memory, from the writer's side: make it, own it, remove it.

A queue is such a file, and so is a ring: a page with the writer's pid, and data behind it. The file
is made under another name and renamed when it is complete, so that nobody attaches to half of it.
It never takes a living writer's name: a lock on the writer's pid is held as long as there is a
writer, and a writer that takes over a dead one's file holds the lock of that file meanwhile, so
that one of two gets it.

The lock belongs to the open file, which a forked process shares. So `close` releases it by itself,
and only the process that made the file may write to it or remove it.
"""

import errno
import fcntl
import logging
import mmap
import os
import secrets
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

import msgspec

from fanout.errors import BindError
from fanout.protocol.errors import LimitExceededError
from fanout.protocol.queue_file import lock_kind, lock_request
from fanout.protocol.queue_page import WORD_BYTES, WRITER_PID_WORD

_LOG = logging.getLogger("fanout")


class Kind(msgspec.Struct, frozen=True):
    """A kind of file: `noun` names it in messages, the first word of each file is `magic`, and a
    new one gets `mode`, under the umask."""

    noun: str
    magic: int
    page_bytes: int
    mode: int = 0o600


class Writes(Protocol):
    """What writes to the mapped file."""

    def release(self) -> None: ...


W = TypeVar("W", bound=Writes)


class OwnedFile(Generic[W]):
    """A file under its name, and ours to write. Made by `create`."""

    def __init__(self, kind: Kind, path: str, fd: int, mapped: mmap.mmap, writer: W) -> None:
        self.writer = writer
        self._kind = kind
        self._path = path
        self._fd = fd
        self._mapped = mapped
        self._pid = os.getpid()

    def is_whole(self) -> bool:
        """Whether the file is still what it was made as, and the one that has the name. Raises
        `RuntimeError` in a forked process."""
        return self.is_uncut() and _is_of(self._kind, self._fd) and has_name(self._path, self._fd)

    def is_uncut(self) -> bool:
        """Whether the file is as long as it was made, which takes one system call. Raises
        `RuntimeError` in a forked process.

        Ask before any store: one to a file that somebody cut would end this process. A cut between
        this look and the next store is not caught: the file is ours alone, and whoever can cut it
        can as well send a signal.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"{self._kind.noun} {self._path} belongs to process {self._pid}, and process "
                f"{os.getpid()}, forked from it, may not write to it: "
                f"make a {self._kind.noun} of its own"
            )
        return os.lseek(self._fd, 0, os.SEEK_END) == len(self._mapped)

    def is_locked(self, pid_word: int) -> bool:
        """Whether another process, or another open file of this one, holds the lock on a pid: the
        reader whose pid it is has attached, and lives. A system call."""
        return _is_locked(self._fd, pid_word)

    def close(self, *, keep: bool) -> None:
        """Release the file; a reader that has it may still read the rest. Removes the file,
        unless it is to be kept or another one has the name by now. A forked process only gives
        back its copies."""
        is_ours = os.getpid() == self._pid
        if is_ours and not keep and has_name(self._path, self._fd):
            os.unlink(self._path)
        self.writer.release()
        if is_ours:
            # A forked process that lives would keep the lock otherwise.
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, lock_request(fcntl.F_UNLCK, WRITER_PID_WORD))
        self._mapped.close()
        os.close(self._fd)


class Holder(Enum):
    """Who has a name."""

    NOBODY = auto()
    WRITER = auto()
    """One that lives."""
    DEAD_WRITER = auto()
    """Its file is taken over."""
    STRANGER = auto()
    """The file is of another kind."""


def holder_of(kind: Kind, path: str) -> tuple[Holder, int]:
    """Who has the name, and the pid of the writer if it is one. Nothing is locked or changed.
    Raises `OSError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Holder.NOBODY, 0
    try:
        if not _is_of(kind, fd):
            return Holder.STRANGER, 0
        is_alive = _is_locked(fd, WRITER_PID_WORD)
        return Holder.WRITER if is_alive else Holder.DEAD_WRITER, _writer_pid(fd)
    finally:
        os.close(fd)


def create(
    kind: Kind, path: str, *, capacity_bytes: int, make: Callable[[mmap.mmap], W]
) -> OwnedFile[W]:
    """Make a file with so much room for data and give it its name. `make` gives what writes to it,
    from the mapped file, which is all zero. Raises `BindError`, with words on what to do."""
    directory, name = os.path.split(path)
    aside = os.path.join(directory, f".{name}.{secrets.token_hex(8)}")
    try:
        owned = _make(kind, path, aside, capacity_bytes, make)
        try:
            _take_name(kind, aside, path)
        except BaseException:
            owned.close(keep=True)
            raise
    except OSError as error:
        why = _words(error, capacity_bytes)
        raise BindError(f"cannot make the {kind.noun} {path}: {why}") from error
    except LimitExceededError as error:
        raise BindError(f"cannot make the {kind.noun} {path}: {error}") from error
    finally:
        _remove(aside)
    return owned


def _make(
    kind: Kind, path: str, aside: str, capacity_bytes: int, make: Callable[[mmap.mmap], W]
) -> OwnedFile[W]:
    size = kind.page_bytes + capacity_bytes
    fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, kind.mode)
    try:
        # Real memory now: where there is none this fails, and not a store in the middle of a run.
        os.posix_fallocate(fd, 0, size)
        _lock(fd)
        # All pages now: a first touch costs microseconds, which one frame in forty would wait for.
        mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        writer = make(mapped)
    except BaseException:
        os.close(fd)
        raise
    return OwnedFile(kind, path, fd, mapped, writer)


def _take_name(kind: Kind, aside: str, path: str) -> None:
    """Give the file its name: a new one, or a dead writer's."""
    while True:
        try:
            os.link(aside, path)
        except FileExistsError:
            if _replace_dead(kind, aside, path):
                return
        else:
            return


def _replace_dead(kind: Kind, aside: str, path: str) -> bool:
    """Replace the file that has the name. False if that changed meanwhile. Raises `BindError` if
    its writer lives, or it is of another kind."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BindError(f"{path} is there, and not ours: {_words(error)}") from error
    try:
        _require_dead(kind, path, fd)
        if not has_name(path, fd):
            return False
        os.rename(aside, path)
        _LOG.warning("%s: taken over from process %d, which is gone", path, _writer_pid(fd))
        return True
    finally:
        os.close(fd)


def _require_dead(kind: Kind, path: str, fd: int) -> None:
    """Raises `BindError` unless this is a file of the kind without a writer. Locks it."""
    if not _is_of(kind, fd):
        raise BindError(f"{path} is there, and no {kind.noun}: remove it, or take another --name")
    try:
        _lock(fd)
    except BlockingIOError as error:
        raise BindError(
            f"{kind.noun} {path} belongs to process {_writer_pid(fd)}, which is running: "
            "stop it, or take another --name"
        ) from error


def _is_of(kind: Kind, fd: int) -> bool:
    return os.pread(fd, WORD_BYTES, 0) == kind.magic.to_bytes(WORD_BYTES, "little")


def _lock(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock_request(fcntl.F_WRLCK, WRITER_PID_WORD))


def _is_locked(fd: int, pid_word: int) -> bool:
    """Whether somebody else has the lock on a pid."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, lock_request(fcntl.F_WRLCK, pid_word))
    return lock_kind(answer) != fcntl.F_UNLCK


def _writer_pid(fd: int) -> int:
    return int.from_bytes(os.pread(fd, WORD_BYTES, WRITER_PID_WORD * WORD_BYTES), "little")


def has_name(path: str, fd: int) -> bool:
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
