"""A file in shared memory, from the reader's side: open it, map it, and check on it.

A queue is such a file, and so is a ring. Attaching never creates one and never changes its size.
Each reason why a reader cannot read is an `Outcome`. None can crash the reader, not even a file
that is cut short while it is mapped (see `fanout.clients.sigbus`).

A file in trouble may still hold whole frames. Read them before giving it up.
"""

import errno
import fcntl
import mmap
import os
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum
from typing import ClassVar, Final, Protocol

from fanout.clients.outcomes import DisconnectedError
from fanout.clients.sigbus import guard, unguard
from fanout.protocol.queue_file import lock_kind, lock_request
from fanout.protocol.queue_page import WORD_BYTES, WRITER_PID_WORD


class Outcome(Enum):
    """How attaching to a queue or a ring, or reading from it, can end. The values are words for
    messages; `{}` stands for what it is."""

    ABSENT = "no {} of that name"
    NO_PERMISSION = "the {} belongs to another user"
    NO_RESOURCES = "no descriptor or no memory for the {}"
    FOREIGN = "not a {}"
    OTHER_VERSION = "a {} of another version"
    TRUNCATED = "the {}'s file was cut short"
    BUSY = "the {} has a reader already"
    CORRUPT = "the {} holds bytes that break the protocol"
    SILENT = "the writer's process lives, but writes nothing"
    WRITER_DIED = "the writer ended without an END"
    REPLACED = "a new {} has replaced this one"
    ENDED = "the service ended"


class SharedFileError(DisconnectedError):
    """A queue or a ring cannot be read, or no longer."""

    noun: ClassVar[str]
    outcomes: ClassVar[dict[type[BaseException], Outcome]]
    """What the errors of a page mean."""

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        words = outcome.value.format(self.noun)
        super().__init__(f"{words}: {detail}" if detail else words)
        self.outcome = outcome

    @classmethod
    def of(cls, error: BaseException) -> BaseException:
        """What an error that came up while a file was attached means."""
        outcome = cls.outcomes.get(type(error))
        return error if outcome is None else cls(outcome, str(error))


MAP_FLAGS: Final = mmap.MAP_SHARED | mmap.MAP_POPULATE
"""Map all pages at once: a first access costs microseconds, and would delay one frame in forty."""

_WANTS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Descriptor:
    """The descriptor of a file, and the lock on a reader's pid that goes with it. Closed once."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._pid = os.getpid()
        self._locked: int | None = None

    def lock(self, pid_word: int) -> bool:
        """Take the lock on a reader's pid; False if another process has it."""
        request = lock_request(fcntl.F_WRLCK, pid_word)
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, request)
        except BlockingIOError:
            return False
        self._locked = pid_word
        return True

    def owner(self, pid_word: int) -> int | None:
        """The pid that goes with a lock of another process; None if there is no such lock."""
        request = lock_request(fcntl.F_WRLCK, pid_word)
        if lock_kind(fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, request)) == fcntl.F_UNLCK:
            return None
        return int.from_bytes(os.pread(self.fd, WORD_BYTES, pid_word * WORD_BYTES), "little")

    @property
    def is_own(self) -> bool:
        """Whether this process has opened it, and not one that it was forked from."""
        return os.getpid() == self._pid

    def close(self) -> None:
        """Release the lock, also if a forked process still has the file open, and close."""
        # Swapped first: an interrupt after `os.close` must not cause a second close.
        fd, self.fd = self.fd, -1
        if fd >= 0:
            if self.is_own and self._locked is not None:
                request = lock_request(fcntl.F_UNLCK, self._locked)
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
            os.close(fd)


class Mapping:
    """A guarded mapping of a file, or of a part of it."""

    def __init__(
        self,
        descriptor: Descriptor,
        error: type[SharedFileError],
        *,
        size_bytes: int,
        offset: int = 0,
        access: int = mmap.PROT_READ | mmap.PROT_WRITE,
    ) -> None:
        """Raises an `error` if that is not possible."""
        try:
            self.mapped = mmap.mmap(
                descriptor.fd, size_bytes, flags=MAP_FLAGS, prot=access, offset=offset
            )
        except ValueError as why:
            raise error(Outcome.TRUNCATED, str(why)) from why
        except OSError as why:
            raise error(Outcome.NO_RESOURCES, str(why.strerror)) from why
        self._address = guard(self.mapped)

    def close(self) -> None:
        """Can be interrupted and repeated."""
        unguard(self._address)
        # The traceback of an interrupt can hold a view. The mapping ends with the last of them.
        with suppress(BufferError):
            self.mapped.close()


class _PageReader(Protocol):
    """What a reader of a queue or a ring knows of its writer."""

    @property
    def epoch_ns(self) -> int: ...

    @property
    def pulse(self) -> tuple[int, int]: ...

    @property
    def has_ended(self) -> bool: ...

    @property
    def is_intact(self) -> bool: ...


class AttachedFile(ABC):
    """A queue or a ring that this process has opened and mapped."""

    error: type[SharedFileError]

    commit: Callable[[], None]
    """Note that nothing that was read is to be read again: the caller has had it."""

    def __init__(
        self,
        path: str,
        descriptor: Descriptor,
        reader: _PageReader,
        closes: Sequence[Callable[[], None]],
        *,
        size_bytes: int,
        now_s: float,
    ) -> None:
        """`closes` close all but the descriptor, and can be repeated. `size_bytes` is the size of
        the file. `now_s` is a monotonic time."""
        self._path = path
        self._descriptor = descriptor
        self._page = reader
        self._size_bytes = size_bytes
        self._closes = (*closes, descriptor.close)
        self._finalizer = weakref.finalize(self, _close, self._closes)
        self._pulse = reader.pulse
        self._pulse_s = now_s

    @property
    def epoch_ns(self) -> int:
        """Of the numbering that the writer began with; unix ns."""
        return self._page.epoch_ns

    @abstractmethod
    def opening(self) -> bytes:
        """START, the session header and its instruments, or nothing if they come with a later read.
        Raises `PeerError`."""

    @abstractmethod
    def read(self) -> bytes:
        """What comes next, as whole frames, or nothing. Raises `PeerError`."""

    @abstractmethod
    def rewind(self) -> None:
        """Go back to read what came since the last `commit` once more."""

    def close(self) -> None:
        """Unlock and close, for the next reader. The finalizer does it for a file that is dropped,
        or left half closed by an interrupt."""
        _close(self._closes)
        self._finalizer.detach()

    def trouble(self, now_s: float, idle_timeout_s: float) -> SharedFileError | None:
        """Why the file is no longer in order; None if it is. A few system calls.

        Call it before a read: a writer that has ended by then has written its last frame.
        """
        if self._is_damaged():
            return self.error(Outcome.TRUNCATED)
        if self._page.has_ended:
            return self.error(Outcome.ENDED)
        if self._descriptor.owner(WRITER_PID_WORD) is None:
            return self.error(Outcome.WRITER_DIED)
        if self._is_replaced():
            return self.error(Outcome.REPLACED)
        pulse = self._page.pulse
        if pulse != self._pulse:
            self._pulse, self._pulse_s = pulse, now_s
        elif now_s - self._pulse_s > idle_timeout_s:
            return self.error(Outcome.SILENT, f"for {idle_timeout_s:g} s")
        return None

    def explained(self, error: Exception) -> Exception:
        """The cause of a read error, which may be that the file was cut short."""
        if isinstance(error, SharedFileError) or not self._is_damaged():
            return error
        return self.error(Outcome.TRUNCATED)

    def _is_damaged(self) -> bool:
        """Whether another process has cut or overwritten the file, even for a moment."""
        return os.fstat(self._descriptor.fd).st_size != self._size_bytes or not self._page.is_intact

    def _is_replaced(self) -> bool:
        """Whether the name now belongs to another file. A file without a name is in order."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return not os.path.samestat(there, os.fstat(self._descriptor.fd))


def _close(closes: Iterable[Callable[[], None]]) -> None:
    """Can be interrupted and repeated."""
    for each in closes:
        each()


def outcome_of(error: Exception) -> Outcome:
    """The `Outcome` that an error stands for."""
    if isinstance(error, SharedFileError):
        return error.outcome
    return Outcome.ENDED if isinstance(error, DisconnectedError) else Outcome.CORRUPT


def open_file(path: str, error: type[SharedFileError], *, flags: int = os.O_RDWR) -> Descriptor:
    """The file at `path`. Raises an `error` that says why it cannot be opened."""
    try:
        return Descriptor(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
    except FileNotFoundError as why:
        raise error(Outcome.ABSENT, path) from why
    except PermissionError as why:
        raise error(Outcome.NO_PERMISSION, path) from why
    except OSError as why:
        outcome = Outcome.NO_RESOURCES if why.errno in _WANTS else Outcome.FOREIGN
        raise error(outcome, f"{path}: {why.strerror}") from why


def head_of(
    descriptor: Descriptor, error: type[SharedFileError], size_bytes: int
) -> tuple[bytes, int]:
    """The first bytes of a file, read without mapping it, and its size."""
    status = os.fstat(descriptor.fd)
    if not stat.S_ISREG(status.st_mode):
        raise error(Outcome.FOREIGN, "it is not a regular file")
    head = os.pread(descriptor.fd, size_bytes, 0)
    if len(head) < size_bytes:
        raise error(Outcome.TRUNCATED, f"file of {len(head):,} bytes holds no page")
    return head, status.st_size
