"""A shared-memory queue's file, from the reader's side: attach to it, and check on it.

Attaching opens, locks and maps an existing file; it never creates one and never changes its size.
Each reason why a reader cannot read is an `Outcome`. None can crash the reader, not even a file
that is cut short while it is mapped (see `fanout.clients.sigbus`).

A queue in trouble may still hold whole frames. Read them before giving it up.
"""

import errno
import fcntl
import mmap
import os
import stat
import weakref
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Final

import msgspec

from fanout.clients.outcomes import DisconnectedError
from fanout.clients.sigbus import guard, unguard
from fanout.protocol.blocks import BLOCK_KINDS, block_from
from fanout.protocol.constants import START
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.joining import first_seq, run_of
from fanout.protocol.queue import QueueReader
from fanout.protocol.queue_file import lock_kind, lock_request
from fanout.protocol.queue_page import (
    HEAD_BYTES,
    READER_PID_WORD,
    WORD_BYTES,
    WRITER_PID_WORD,
    LayoutVersionError,
    NotAQueueError,
    TruncatedQueueError,
    check_page,
)


class Outcome(Enum):
    """How attaching to a queue, or reading from it, can end."""

    NO_QUEUE = "no queue of that name"
    NO_PERMISSION = "the queue belongs to another user"
    NO_RESOURCES = "no descriptor or no memory for the queue"
    NOT_A_QUEUE = "not a queue"
    OTHER_VERSION = "a queue of another version"
    TRUNCATED = "the queue's file was cut short"
    BUSY = "the queue has a reader already"
    CORRUPT = "the queue holds bytes that break the protocol"
    SILENT = "the writer's process lives, but writes nothing"
    WRITER_DIED = "the writer ended without an END"
    REPLACED = "a new queue has replaced this one"
    ENDED = "the service ended"


class QueueError(DisconnectedError):
    """A queue cannot be read, or no longer."""

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        super().__init__(f"{outcome.value}: {detail}" if detail else outcome.value)
        self.outcome = outcome


MAP_FLAGS: Final = mmap.MAP_SHARED | mmap.MAP_POPULATE
"""Map all pages at once: a first access costs microseconds, and would delay one frame in forty."""

_WANTS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_OUTCOMES: Final[dict[type[BaseException], Outcome]] = {
    NotAQueueError: Outcome.NOT_A_QUEUE,
    LayoutVersionError: Outcome.OTHER_VERSION,
    TruncatedQueueError: Outcome.TRUNCATED,
}


class _Descriptor:
    """The descriptor of a queue's file, and the lock that goes with it. Closed once."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._pid = os.getpid()

    def close(self) -> None:
        """Release the lock, also if a forked process still has the queue open, and close."""
        # Swapped first: an interrupt after `os.close` must not cause a second close.
        fd, self.fd = self.fd, -1
        if fd >= 0:
            if os.getpid() == self._pid:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock_request(fcntl.F_UNLCK, READER_PID_WORD))
            os.close(fd)


class AttachedQueue:
    """A queue that this process has opened, locked and mapped. Made by `attach`."""

    def __init__(self, path: str, descriptor: _Descriptor, mapped: mmap.mmap, now_s: float) -> None:
        self._path = path
        self._descriptor = descriptor
        self._mapped = mapped
        self._address = guard(mapped)
        try:
            self.reader = QueueReader(mapped, pid=os.getpid())
        except BaseException:
            _unmap(mapped, self._address)
            raise
        self._finalizer = weakref.finalize(
            self, _close, self.reader, mapped, self._address, descriptor
        )
        self._pulse = self.reader.pulse
        self._pulse_s = now_s
        self._rest: Callable[[bytes], bytes] | None = None
        """Removes from the first frame the records that the last reader handed over."""
        self._begun = self.reader.committed

    def opening(self) -> bytes:
        """START, the session header and its instruments, for a session that begins at the first
        unread frame, or inside it if the last reader left there. Raises `PeerError`."""
        header = self.reader.header()
        next_seq = self._next_seq()
        resume_seq = self.reader.resume_seq
        if self._is_in_first_block(resume_seq):
            next_seq = resume_seq
            self._rest = lambda payload: block_from(payload, resume_seq, header)
        return frame(START) + opening(msgspec.structs.replace(header, next_seq=next_seq))

    def read(self) -> bytes:
        """The next frame, or nothing; it stays unread until the next call, or until the reader
        commits. Raises `PeerError`."""
        payload = self.reader.take()
        if payload is None:
            return b""
        rest = self._rest
        if rest is not None:
            if self.reader.committed == self._begun:  # also after a `rewind`
                return frame(rest(payload))
            self._rest = None
        return frame(payload)

    def _is_in_first_block(self, seq: int) -> bool:
        """Whether the first unread frame is a block with this number, but not as its first."""
        payload = next(self.reader.unread(), None) if seq else None
        if payload is None or payload[0] not in BLOCK_KINDS:
            return False
        first, count = run_of(payload)
        return first < seq < first + count

    def _next_seq(self) -> int:
        # The writer may be in the middle of a frame: it is not there yet, and the mark is old. The
        # next turn finds it. Frames of unknown kinds are looked at only once.
        seen = 0
        for _ in range(1_000):
            unread = self.reader.unread_bytes
            for payload in self.reader.unread() if unread != seen else ():
                seq = first_seq(payload)
                if seq is not None:
                    return seq
            seen = unread
            seq = self.reader.marked_seq()
            if seq is not None:
                return seq
        raise QueueError(Outcome.SILENT, "it stopped in the middle of a frame")

    def trouble(self, now_s: float, idle_timeout_s: float) -> QueueError | None:
        """Why the queue is no longer in order; None if it is. A few system calls.

        Call it before a read: a writer that has ended by then has written its last frame.
        """
        if self._is_damaged():
            return QueueError(Outcome.TRUNCATED)
        if self.reader.has_ended:
            return QueueError(Outcome.ENDED)
        if _owner(self._descriptor.fd, WRITER_PID_WORD) is None:
            return QueueError(Outcome.WRITER_DIED)
        if self._is_replaced():
            return QueueError(Outcome.REPLACED)
        pulse = self.reader.pulse
        if pulse != self._pulse:
            self._pulse, self._pulse_s = pulse, now_s
        elif now_s - self._pulse_s > idle_timeout_s:
            return QueueError(Outcome.SILENT, f"for {idle_timeout_s:g} s")
        return None

    def explained(self, error: Exception) -> Exception:
        """The cause of a read error, which may be that the file was cut short."""
        if isinstance(error, QueueError) or not self._is_damaged():
            return error
        return QueueError(Outcome.TRUNCATED)

    def _is_damaged(self) -> bool:
        """Whether another process has cut or overwritten the file, even for a moment."""
        return (
            os.fstat(self._descriptor.fd).st_size != len(self._mapped) or not self.reader.is_intact
        )

    def _is_replaced(self) -> bool:
        """Whether the name now belongs to another file. A queue without a name is in order."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return not os.path.samestat(there, os.fstat(self._descriptor.fd))

    def close(self) -> None:
        """Unlock and close, for the next reader. The finalizer does it for a queue that is dropped,
        or left half closed by an interrupt."""
        _close(self.reader, self._mapped, self._address, self._descriptor)
        self._finalizer.detach()


def _close(reader: QueueReader, mapped: mmap.mmap, address: int, descriptor: _Descriptor) -> None:
    """Can be interrupted and repeated."""
    reader.release()
    _unmap(mapped, address)
    descriptor.close()


def _unmap(mapped: mmap.mmap, address: int) -> None:
    unguard(address)
    # The traceback of an interrupt can hold a view. The mapping ends with the last of them.
    with suppress(BufferError):
        mapped.close()


def attach(path: str, *, now_s: float) -> AttachedQueue:
    """The queue at `path`, to resume where its last reader stopped. `now_s` is a monotonic time.
    Raises `QueueError`, or another `PeerError` for a malformed page."""
    descriptor = _Descriptor(_open(path))
    try:
        size = _checked_size(descriptor.fd)
        if not _lock(descriptor.fd, READER_PID_WORD):
            raise QueueError(Outcome.BUSY, f"process {_owner(descriptor.fd, READER_PID_WORD)}")
        return AttachedQueue(path, descriptor, _map(descriptor.fd, size), now_s)
    except BaseException as error:
        descriptor.close()
        outcome = _OUTCOMES.get(type(error))
        if outcome is None:
            raise
        raise QueueError(outcome, str(error)) from error


def outcome_of(error: Exception) -> Outcome:
    """The `Outcome` that an error stands for."""
    if isinstance(error, QueueError):
        return error.outcome
    return Outcome.ENDED if isinstance(error, DisconnectedError) else Outcome.CORRUPT


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise QueueError(Outcome.NO_QUEUE, path) from error
    except PermissionError as error:
        raise QueueError(Outcome.NO_PERMISSION, path) from error
    except OSError as error:
        outcome = Outcome.NO_RESOURCES if error.errno in _WANTS else Outcome.NOT_A_QUEUE
        raise QueueError(outcome, f"{path}: {error.strerror}") from error


def _checked_size(fd: int) -> int:
    """The size of a file whose page is that of a queue. Read without mapping it."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NotAQueueError("it is not a regular file")
    page = os.pread(fd, HEAD_BYTES, 0)
    if len(page) < HEAD_BYTES:
        raise TruncatedQueueError(f"file of {len(page):,} bytes holds no page")
    check_page(memoryview(page).cast("Q"), status.st_size)
    return status.st_size


def _map(fd: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, flags=MAP_FLAGS)
    except ValueError as error:
        raise TruncatedQueueError(str(error)) from error
    except OSError as error:
        raise QueueError(Outcome.NO_RESOURCES, str(error.strerror)) from error


def _lock(fd: int, pid_word: int) -> bool:
    """Take the lock on a pid word; False if another process has it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock_request(fcntl.F_WRLCK, pid_word))
    except BlockingIOError:
        return False
    return True


def _owner(fd: int, pid_word: int) -> int | None:
    """The pid that goes with a lock of another process; None if there is no such lock."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, lock_request(fcntl.F_WRLCK, pid_word))
    if lock_kind(answer) == fcntl.F_UNLCK:
        return None
    return int.from_bytes(os.pread(fd, WORD_BYTES, pid_word * WORD_BYTES), "little")
