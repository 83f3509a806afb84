"""Rules for the file of a queue or a ring that writer and reader share: name, locks, machine.

This module holds values only. The callers open, lock and map the file.

The page has a pid field for the writer, and one for each reader. The process that holds the lock on
a field has that role. It is a lock of the open file description (`F_OFD_SETLK`). The kernel
releases it when the owner ends for any reason. The lock is reliable where a pid is not: a pid may
be reused, or mean another process in another container. A child that is forked while the queue is
open holds the lock too.
"""

from struct import Struct
from typing import Final

from fanout.protocol.errors import CallerError
from fanout.protocol.queue_page import WORD_BYTES

DIRECTORY: Final = "/dev/shm"
"""Directory of queues and rings. On Linux its files are in memory."""

MAX_NAME_BYTES: Final = 200
"""Longest name. File names may have 255 bytes, and the temporary file's name is longer."""


class UnsupportedMachineError(CallerError):
    """Queues and rings do not work correctly on this processor."""


def require_supported_machine(machine: str) -> None:
    """Raises `UnsupportedMachineError` unless plain loads and stores are ordered on `machine`.

    `machine` is a name from `platform.machine()`. See `fanout.protocol.queue`.
    """
    if machine.lower() not in ("x86_64", "amd64"):
        raise UnsupportedMachineError(
            f"queues and rings need an x86-64 processor, this is {machine or 'unknown'}, "
            "which may reorder memory accesses: use tcp"
        )


def name_fault(name: str) -> str | None:
    """Why `name` cannot name a queue or a ring; None if it can."""
    if not name:
        return "the name is empty"
    if "/" in name or "\0" in name:
        return "a slash or a zero byte is not allowed: give a file name, not a path"
    if name.startswith("."):
        return "a leading dot is not allowed"
    size = len(name.encode(errors="surrogatepass"))
    if size > MAX_NAME_BYTES:
        return f"a name of {size} bytes exceeds {MAX_NAME_BYTES}"
    return None


# struct flock of Linux on 64-bit machines: type, whence, start, length, pid.
_LOCK = Struct("@hhqqi4x")
assert _LOCK.size == 32


def lock_request(kind: int, pid_word: int) -> bytes:
    """The argument of `fcntl` that locks the eight bytes of a pid field, or queries their lock."""
    return _LOCK.pack(kind, 0, pid_word * WORD_BYTES, WORD_BYTES, 0)


def lock_kind(answer: bytes) -> int:
    """The kind of lock in the answer of `F_OFD_GETLK`: `F_UNLCK` if no one else holds one."""
    kind: int = _LOCK.unpack(answer)[0]
    return kind
