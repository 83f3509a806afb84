"""A journal's files, from a reader's side. Nothing is created and nothing is changed.

A segment that is open is locked against removal, as long as the service has room to honour that.
Files are read by `pread`, not mapped: one that is cut short meanwhile just ends.
"""

import errno
import fcntl
import os
import stat
import time
from typing import Final

from fanout.clients.outcomes import AddressError, DisconnectedError, UnknownChannelError
from fanout.protocol.journal import INDEX, PACKED, SEGMENT, number_in, numbered, segments_in
from fanout.protocol.journal_packed import PackedFile
from fanout.protocol.text import channel_fault

SCHEME: Final = "journal://"

MAX_INDEX_BYTES: Final = 32 * 1024 * 1024
"""Most of an index that is read: more than the longest segment needs. A file may be anything."""

STEADY_NS: Final = 1_000_000_000
"""How long ago a folder must have changed for its names to be remembered. Reading those of 100
segments takes as long as all else of a seek."""

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class JournalError(DisconnectedError):
    """A journal that cannot be read."""


def path_in(url: str) -> str:
    """The path in `journal://DIR` or `journal://DIR/CHANNEL`. Raises `AddressError`."""
    path = url.removeprefix(SCHEME)
    if path == url or not path or "\0" in path:
        raise AddressError(f"{url!r} is not a journal's address: use journal://DIR/CHANNEL")
    return path.rstrip("/") or "/"


class ChannelFolder:
    """The folder of a channel."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listed: dict[int, tuple[int, list[int]]] = {}
        """The segments of an epoch, and the time of the last change of its folder."""

    def epochs(self) -> list[int]:
        """The epochs that have a folder, in order. Raises `OSError`."""
        return sorted(each for each in map(number_in, _names(self.path)) if each is not None)

    def segments(self, epoch_ns: int) -> list[int]:
        """The first numbers of an epoch's segments, in order. Raises `OSError`."""
        path = os.path.join(self.path, numbered(epoch_ns))
        changed_ns = _changed_ns(path)
        known_ns, segments = self._listed.get(epoch_ns, (0, []))
        if known_ns != changed_ns:
            segments = list(segments_in(_names(path)))
            # A folder that changes twice within a tick of the clock shows the same time.
            if changed_ns < time.time_ns() - STEADY_NS:
                self._listed[epoch_ns] = changed_ns, segments
        return segments

    def open(self, epoch_ns: int, first_seq: int) -> "OpenSegment":
        """Open a segment to read it, as `OpenSegment` does."""
        path = os.path.join(self.path, numbered(epoch_ns), numbered(first_seq))
        return OpenSegment(path)


class OpenSegment:
    """A segment's file, open to be read."""

    def __init__(self, path: str) -> None:
        """`path` is without its ending. Raises `OSError`, also for what is no plain file, and for a
        segment that is just being removed; `MissingPackageError` for one that cannot be
        decompressed here."""
        self._path = path
        self._packed: PackedFile | None = None
        try:
            self._fd, is_packed = _opened(path + SEGMENT), False
        except FileNotFoundError:
            self._fd, is_packed = _opened(path + PACKED), True
        try:
            _share(self._fd)
            if is_packed:
                self._packed = PackedFile(self._read, os.fstat(self._fd).st_size)
        except BaseException:
            os.close(self._fd)
            raise

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes from there; fewer at the end."""
        return self._read(offset, size) if self._packed is None else self._packed.read(offset, size)

    def size(self) -> int:
        """How large the segment is now."""
        return os.fstat(self._fd).st_size if self._packed is None else self._packed.size()

    def index(self) -> bytes:
        """All of its index; empty if there is none."""
        try:
            fd = _opened(self._path + INDEX)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, min(os.fstat(fd).st_size, MAX_INDEX_BYTES), 0)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file, and release its lock."""
        # Swapped first: an interrupt after `os.close` must not cause a second close.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)


def _share(fd: int) -> None:
    """Lock a file against removal. Raises `BlockingIOError` if it is just being removed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks


def _opened(path: str) -> int:
    fd = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a plain file")
    return fd


def _changed_ns(path: str) -> int:
    """When a name in a folder changed last; -1 for a folder that is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def folder_of(url: str) -> ChannelFolder:
    """The folder of the channel that an address names, or of the only one there is. Raises
    `JournalError`, `UnknownChannelError` with the names of those there are, and `OSError`."""
    path = path_in(url)
    folder = ChannelFolder(path)
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
    return ChannelFolder(os.path.join(path, channels[0]))


def _channels(path: str) -> list[str]:
    """The channels in a journal's folder of which something is kept."""
    names = (name for name in _names(path) if channel_fault(name) is None)
    return sorted(name for name in names if ChannelFolder(os.path.join(path, name)).epochs())
