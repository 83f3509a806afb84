"""A journal's files, from a reader's side. Nothing is created and nothing is changed.

A segment that is open is locked against removal, as long as the service has room to honour that.
Files are read by `pread`, not mapped: one that is cut short meanwhile just ends.
"""

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from typing import Final

from fanout.clients.outcomes import AddressError, DisconnectedError, UnknownChannelError
from fanout.protocol.journal_folder import SETTLED_NS, ChannelFolder, ReadingDisk
from fanout.protocol.text import channel_fault

SCHEME: Final = "journal://"

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Without O_NONBLOCK a pipe with the name of a segment would wait for its other end."""


class JournalError(DisconnectedError):
    """A journal that cannot be read."""


def path_in(url: str) -> str:
    """The path in `journal://DIR` or `journal://DIR/CHANNEL`. Raises `AddressError`."""
    path = url.removeprefix(SCHEME)
    if path == url or not path or "\0" in path:
        raise AddressError(f"{url!r} is not a journal's address: use journal://DIR/CHANNEL")
    return path.rstrip("/") or "/"


class LocalDisk(ReadingDisk):
    """The disk of this machine."""

    def names(self, folder: str) -> list[str]:
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []

    def settled_ns(self, folder: str) -> int:
        try:
            changed_ns = os.stat(folder).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return changed_ns if changed_ns < time.time_ns() - SETTLED_NS else 0

    def open_to_read(self, path: str) -> int:
        descriptor = os.open(path, _FLAGS)
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

    def share(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def folder_of(url: str) -> ChannelFolder:
    """The folder of the channel that an address names, or of the only one there is. Raises
    `JournalError`, `UnknownChannelError` with the names of those there are, and `OSError`."""
    path = path_in(url)
    folder = ChannelFolder(LocalDisk(), path)
    if folder.epochs():
        return folder
    if os.path.isdir(path):
        return _only_channel(url, path)
    above, name = os.path.split(os.path.abspath(path))
    there = ", ".join(_channels(above))
    if there:
        raise UnknownChannelError(f"{url}: no channel {name}: the journal has {there}")
    raise JournalError(f"{url}: there is no folder {path}")


def _only_channel(url: str, path: str) -> ChannelFolder:
    channels = _channels(path)
    if not channels:
        raise JournalError(f"{url}: {path} holds no journal, or one without any record")
    if len(channels) > 1:
        raise UnknownChannelError(
            f"{url}: the journal has {len(channels)} channels, add one of them: "
            f"{', '.join(channels)}"
        )
    return ChannelFolder(LocalDisk(), os.path.join(path, channels[0]))


def _channels(path: str) -> list[str]:
    """The channels in a journal's folder of which something is kept."""
    disk, found = LocalDisk(), list[str]()
    with suppress(NotADirectoryError):
        names = (name for name in disk.names(path) if channel_fault(name) is None)
        found += (each for each in names if ChannelFolder(disk, os.path.join(path, each)).epochs())
    return sorted(found)
