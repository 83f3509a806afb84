"""What a journal's directory holds, as it is when a replay begins.

A service may be writing there. A replay ends where the journal ended when the replay began.

The channels of one service begin and end together, so the epochs of several channels belong
together: a *run* is what one start of a service wrote.
"""

from collections.abc import Mapping, Sequence
from os.path import join
from typing import Final

import msgspec

from fanout.errors import ConfigError, shown
from fanout.journal.disk import Disk, RealDisk
from fanout.protocol.errors import reason
from fanout.protocol.journal import LOCK
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_play import Files, SegmentFile
from fanout.protocol.text import channel_fault

START_SPREAD_NS: Final = 10_000_000_000
"""How far apart the epochs of one start may be."""


class StillFolder:
    """A channel's folder as it is now: what is written later is not seen."""

    def __init__(self, folder: Files) -> None:
        """Raises `OSError`."""
        self._folder = folder
        found = {each: folder.segments(each) for each in folder.epochs()}
        self._segments = {epoch_ns: segments for epoch_ns, segments in found.items() if segments}
        self._sizes: dict[tuple[int, int], int] = {}
        for epoch_ns in list(self._segments)[-1:]:
            newest = epoch_ns, self._segments[epoch_ns][-1]
            file = folder.open(*newest)
            try:
                self._sizes[newest] = file.size()
            finally:
                file.close()

    def epochs(self) -> list[int]:
        return list(self._segments)

    def segments(self, epoch_ns: int) -> list[int]:
        return self._segments.get(epoch_ns, [])

    def open(self, epoch_ns: int, first_seq: int) -> SegmentFile:
        """Raises `OSError`, also for a segment that was removed since."""
        file = self._folder.open(epoch_ns, first_seq)
        size = self._sizes.get((epoch_ns, first_seq))
        return file if size is None else _StillSegment(file, size)


class _StillSegment:
    """A segment that may grow, up to the size that it had."""

    def __init__(self, file: SegmentFile, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, offset: int, size: int) -> bytes:
        return self._file.read(offset, max(0, min(size, self._size - offset)))

    def size(self) -> int:
        return min(self._size, self._file.size())

    def index(self) -> bytes:
        return self._file.index()

    def created_ns(self) -> int:
        return self._file.created_ns()

    def close(self) -> None:
        self._file.close()


class Run(msgspec.Struct, frozen=True):
    """What one start of a service wrote: its channels, in its order, each with its epoch."""

    epochs: dict[str, int]


def read_library(directory: str, channel: str, disk: Disk | None = None) -> dict[str, StillFolder]:
    """The channels of a journal by their names; only that one, if one is named. Raises
    `ConfigError`."""
    disk = disk or RealDisk()
    kept: dict[str, StillFolder] = {}
    try:
        for name in disk.names(directory):
            if channel_fault(name) is None and name != LOCK:
                folder = StillFolder(ChannelFolder(disk, join(directory, name)))
                kept |= {name: folder} if folder.epochs() else {}
    except OSError as error:
        raise ConfigError(f"cannot read the journal {directory}: {shown(reason(error))}") from error
    if not kept:
        raise ConfigError(f"no journal in {directory}: it has no channel's segments")
    if channel and channel not in kept:
        raise ConfigError(f"no channel {shown(channel)} in {directory}: it has {', '.join(kept)}")
    return {channel: kept[channel]} if channel else kept


def runs_of(folders: Mapping[str, Files]) -> Sequence[Run]:
    """The starts of the service that wrote these, in order."""
    starts = sorted((each, name) for name, folder in folders.items() for each in folder.epochs())
    runs: list[Run] = []
    begun_ns = 0
    for epoch_ns, name in starts:
        if not runs or name in runs[-1].epochs or epoch_ns > begun_ns + START_SPREAD_NS:
            runs.append(Run({}))
            begun_ns = epoch_ns
        runs[-1].epochs[name] = epoch_ns
    return runs
