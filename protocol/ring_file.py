"""What both ends of a shared-memory queue agree on about its file: name, locks, machine.

Values only; opening, locking and mapping are for those who do I/O.

Who holds the lock on a pid in the page is the one who writes, or reads. It is a lock of an open
file description (`F_OFD_SETLK`): the kernel lets go of it when its owner is gone, however it
went, and a pid that is used again, or means another process in another container, cannot be
taken for it. A child that was forked while the queue was open holds it too.
"""

from struct import Struct
from typing import Final

from fanout.protocol.errors import CallerError
from fanout.protocol.ring_page import WORD_BYTES

DIRECTORY: Final = "/dev/shm"
"""Where queues are: files in memory, on every Linux."""

MAX_NAME_BYTES: Final = 200
"""Limit of a queue's name. A file's name may have 255; the one written aside is longer."""


class UnsupportedMachineError(CallerError):
    """The plain implementation is not correct on this kind of processor."""


def require_supported_machine(machine: str) -> None:
    """Raises `UnsupportedMachineError` unless `machine`, as `platform.machine()` names it, is one
    on which plain loads and stores are enough. See `fanout.protocol.ring`."""
    if machine.lower() not in ("x86_64", "amd64"):
        raise UnsupportedMachineError(
            f"shared-memory queues need an x86-64 processor, this is {machine or 'unknown'}: "
            "others may reorder what the queue relies on; use tcp"
        )


def name_fault(name: str) -> str | None:
    """What keeps `name` from naming a queue, in words; None if nothing does."""
    if not name:
        return "the name is empty"
    if "/" in name or "\0" in name:
        return "a slash or a zero byte is not allowed: it names a file, not a path"
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
    """What `fcntl` is given to lock the eight bytes of a pid, or to ask for the lock on them."""
    return _LOCK.pack(kind, 0, pid_word * WORD_BYTES, WORD_BYTES, 0)


def lock_kind(answer: bytes) -> int:
    """The kind of lock in the answer to `F_OFD_GETLK`: `F_UNLCK` if nobody else has one."""
    kind: int = _LOCK.unpack(answer)[0]
    return kind
