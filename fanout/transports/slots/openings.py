"""Notices that a program opened a file, by the kernel's inotify.

A ring of slots has no place where a reader could show itself. But each reader opens the file, and
the kernel tells us. Python has no module for it, so the C library is called.
"""

import ctypes
import os
from struct import Struct
from typing import Final

_IN_OPEN: Final = 0x20
_EVENT: Final = Struct("@iIII")
"""struct inotify_event of Linux, without a name: watch, mask, cookie, length of the name."""

_READ_BYTES: Final = 4096

_libc = ctypes.CDLL(None, use_errno=True)


class Openings:
    """The openings of one file by other programs since it was made."""

    def __init__(self, path: str) -> None:
        """Raises `OSError`, where a user may have no more watches for example."""
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            _checked(_libc.inotify_add_watch(self._fd, os.fsencode(path), _IN_OPEN))
        except OSError:
            self.close()
            raise

    def take(self) -> int:
        """How many there were since the last call. The kernel may count several at once as one."""
        count = 0
        while data := self._read():
            for at in range(0, len(data), _EVENT.size):
                _, mask, _, _ = _EVENT.unpack_from(data, at)
                count += bool(mask & _IN_OPEN)
        return count

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
