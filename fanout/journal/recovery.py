"""What the start of a service does to the journal that the last one left.

Only the last segment of a channel's newest epoch can have an end that is not whole: the others were
synced with their indexes when their writer went on to the next, or by the start after it. It is
read from the last right place of its index to its last whole frame.

    what comes behind the last whole frame     is
    nothing                                    as it should be
    no right frame: half a frame, or zeros     torn: kept as FIRSTSEQ.torn, then cut off
    right frames behind damaged bytes          corruption: left as it is, and reported; readers get
                                               a LOSS for the numbers that are missing
    everything, and no record before it        of no use to a reader: renamed to FIRSTSEQ.torn

Its index is completed, or made anew. Both are synced, which a service that was killed did not do,
and which no later start does. Files that were being made (.part) are removed. Files that no
journal writes stay, and are named in a warning. A crash at any step leaves a journal that the next
recovery brings to the same state: each step syncs what the next one relies on.

A segment that is compressed was complete before: it is not looked through. Where a segment has both
files, its compressing was cut short, and the compressed one is removed.
"""

import errno
import logging
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from os.path import join
from typing import Final

from fanout.errors import ConfigError
from fanout.journal.disk import Disk
from fanout.journal.files import first_seq_of, write_all, write_whole
from fanout.journal.places import Places
from fanout.journal.survey import Hole, Survey, begins_with_header, damage, is_right, survey
from fanout.protocol.errors import MissingPackageError, PeerError, reason
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX,
    INDEX_MAGIC,
    LOCK,
    PACKED,
    PART,
    SEGMENT,
    SEGMENT_MAGIC,
    TORN,
    VERSION,
    FileHeader,
    Place,
    decode_file_header,
    decode_places,
    encode_file_header,
    encode_places,
    number_in,
    numbered,
    segments_in,
)
from fanout.protocol.journal_folder import ChannelFolder, contents
from fanout.protocol.text import channel_fault
from fanout.protocol.zstd import Zstd

_LOG = logging.getLogger("fanout")

COPY_BYTES: Final = 1024 * 1024
"""How much of a torn end is held in memory at a time."""

MOST_NAMED: Final = 5
"""How many foreign files, and how many holes of a segment, are named one by one."""

_VERSION: Final = slice(8, 10)
"""Where the file's version stands."""

_NO_FILE: Final = frozenset((errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENOTDIR))
"""What opening says of links, folders and pipes."""


def recover(disk: Disk, directory: str) -> dict[str, int]:
    """Bring a journal in order. Returns the newest epoch of each channel.

    Raises `OSError`, and `ConfigError` for files of a later version.
    """
    found: dict[str, int] = {}
    foreign: list[str] = []
    for name in disk.names(directory):
        path = join(directory, name)
        if channel_fault(name):
            foreign.append(path)
        elif name != LOCK:
            try:
                found[name] = _Recovery(disk, ChannelFolder(disk, path), foreign).run()
            except NotADirectoryError:
                foreign.append(path)  # its name is that of a channel
    for path in foreign[:MOST_NAMED]:
        _LOG.warning("journal: %s is no file of a journal: it stays", path)
    if len(foreign) > MOST_NAMED:
        _LOG.warning("journal: %s more files are none", f"{len(foreign) - MOST_NAMED:,}")
    return found


class _Recovery:
    """The recovery of one channel."""

    def __init__(self, disk: Disk, folder: ChannelFolder, foreign: list[str]) -> None:
        self._disk = disk
        self._folder = folder
        self._foreign = foreign

    def run(self) -> int:
        """Bring it in order. Returns the newest epoch, 0 if there is none."""
        epochs = self._folder.epochs()
        for name in self._disk.names(self._folder.path):
            if number_in(name) not in epochs:
                self._foreign.append(join(self._folder.path, name))
        for epoch_ns in epochs:
            self._remove_unfinished(epoch_ns)
        for epoch_ns in reversed(epochs):
            if self._recover_epoch(epoch_ns):
                break
        return epochs[-1] if epochs else 0

    def _recover_epoch(self, epoch_ns: int) -> bool:
        """False for an epoch without a segment that can be read."""
        path = self._folder.epoch_path(epoch_ns)
        try:
            names = self._disk.names(path)
        except NotADirectoryError:
            self._foreign.append(path)
            return False
        for name in names:
            if not first_seq_of(name):
                self._foreign.append(join(path, name))
        endings = self._folder.endings(epoch_ns)
        return any(
            self._recover_segment(epoch_ns, each)
            if endings[each] == SEGMENT
            else self._is_readable(epoch_ns, each)
            for each in reversed(endings)
        )

    def _remove_unfinished(self, epoch_ns: int) -> None:
        """Remove files that were being made, and compressed files of segments that are still there
        uncompressed. Raises `ConfigError` for other compressed files, if they cannot be read here.
        """
        path = self._folder.epoch_path(epoch_ns)
        try:
            names = self._disk.names(path)
        except NotADirectoryError:
            return
        for name in names:
            if name.endswith(PART) and first_seq_of(name.removesuffix(PART)):
                self._disk.remove(join(path, name))
        for first_seq, ending in segments_in(names).items():
            packed = numbered(first_seq, PACKED)
            if ending == PACKED:
                _require_zstd(join(path, packed))
            elif packed in names:
                self._disk.remove(join(path, packed))

    def _is_readable(self, epoch_ns: int, first_seq: int) -> bool:
        """Whether a compressed segment is one."""
        path = self._folder.file_path(epoch_ns, first_seq, PACKED)
        try:
            with closing(self._folder.open(epoch_ns, first_seq)) as segment:
                header = decode_file_header(segment.read(0, FILE_HEADER_BYTES))
        except (OSError, PeerError) as error:
            _LOG.warning("%s: cannot be read: %s: it stays as it is", path, reason(error))
            return False
        return (header.epoch_ns, header.first_seq) == (epoch_ns, first_seq)

    def _recover_segment(self, epoch_ns: int, first_seq: int) -> bool:
        path = self._folder.file_path(epoch_ns, first_seq)
        try:
            descriptor = self._disk.open(path)
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            self._foreign.append(path)
            return False
        try:
            segment = _Segment(self._disk, descriptor, self._folder, epoch_ns, first_seq)
            is_whole = segment.recover()
        finally:
            self._disk.close(descriptor)
        if segment.is_foreign:
            self._foreign.append(path)
        return is_whole


def _require_zstd(path: str) -> None:
    try:
        Zstd()
    except MissingPackageError as error:
        raise ConfigError(f"{path}: {error}") from error


class _Segment:
    """The recovery of one segment."""

    def __init__(
        self, disk: Disk, descriptor: int, folder: ChannelFolder, epoch_ns: int, first_seq: int
    ) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._folder = folder.epoch_path(epoch_ns)
        self._epoch_ns = epoch_ns
        self._first_seq = first_seq
        self._size = disk.size(descriptor)
        self.is_foreign = False

    def recover(self) -> bool:
        """False for a file that holds nothing that a reader can use."""
        head = self._read(0, FILE_HEADER_BYTES)
        version = int.from_bytes(head[_VERSION], "little")
        if head.startswith(SEGMENT_MAGIC) and version > VERSION:
            raise ConfigError(
                f"{self._path(SEGMENT)} is of a later version: start a later fanout, or give "
                "another --dir"
            )
        try:
            header = decode_file_header(head)
        except PeerError:
            magic = head[: len(SEGMENT_MAGIC)]
            self.is_foreign = bool(magic.strip(b"\0")) and not SEGMENT_MAGIC.startswith(magic)
            return self._without_head()
        self.is_foreign = (header.epoch_ns, header.first_seq) != (self._epoch_ns, self._first_seq)
        if not begins_with_header(self._read, self._first_seq):
            return self._without_head()
        return self._recover_frames(header)

    def _without_head(self) -> bool:
        """Deal with a file that does not begin as this segment does. A power cut may have left
        zeros or half a head. What holds right frames, or is not ours, stays as it is."""
        if self.is_foreign:
            return False
        if damage(self._read, self._size, 0, self._first_seq):
            _LOG.warning(
                "%s: its head is damaged, so its records cannot be read: it stays as it is",
                self._path(SEGMENT),
            )
        else:
            self._set_aside()
        return False

    def _recover_frames(self, header: FileHeader) -> bool:
        index = contents(self._disk, self._path(INDEX))
        before = self._right_places(index)
        places = Places.behind(before[-1]) if before else Places(self._first_seq)
        try:
            found = survey(self._read, self._size, places)
        except PeerError as error:  # its CRC is right, so no disk did that
            _LOG.warning("%s: %s: it stays as it is", self._path(SEGMENT), error)
            return True
        self._report(found.holes)
        if found.offset < self._size:
            if found.next_seq == self._first_seq:
                self._set_aside()
                return False
            self._cut_off(found)
        lacking = (each for each in found.places if each not in before[-1:])
        complete = encode_file_header(header, INDEX_MAGIC)
        complete += encode_places((*before, *lacking))
        if index != complete:
            write_whole(self._disk, self._path(INDEX), complete)
        self._sync()
        return True

    def _sync(self) -> None:
        """Make the segment, its index and their names safe from a power cut."""
        index = self._disk.open(self._path(INDEX))
        try:
            self._disk.sync(self._descriptor)
            self._disk.sync(index)
        finally:
            self._disk.close(index)
        self._disk.sync_folder(self._folder)

    def _right_places(self, index: bytes) -> list[Place]:
        """The places of its index up to the last one that is right."""
        try:
            header = decode_file_header(index, INDEX_MAGIC)
        except PeerError:
            return []
        if (header.epoch_ns, header.first_seq) != (self._epoch_ns, self._first_seq):
            return []
        places = decode_places(index[FILE_HEADER_BYTES:])
        while places and not (places[-1].offset < self._size and is_right(self._read, places[-1])):
            places.pop()
        return places

    def _report(self, holes: Sequence[Hole]) -> None:
        for each in holes[:MOST_NAMED]:
            _LOG.warning(
                "%s: %d bytes at %d are damaged: %s",
                self._path(SEGMENT),
                each.size,
                each.offset,
                f"readers get numbers {each.first_seq} to {each.last_seq} reported as lost"
                if each.first_seq <= each.last_seq
                else "no numbered record is missing",
            )
        if len(holes) > MOST_NAMED:
            more = len(holes) - MOST_NAMED
            _LOG.warning("%s: %d more places are damaged", self._path(SEGMENT), more)

    def _cut_off(self, found: Survey) -> None:
        """Cut off what is behind the last whole frame, once it is kept elsewhere."""
        kept = self._keep_end(found.offset)
        self._disk.truncate(self._descriptor, found.offset)
        self._disk.sync(self._descriptor)
        _LOG.warning(
            "%s: %s bytes behind number %d are no whole frames: cut off, and kept in %s",
            self._path(SEGMENT),
            f"{self._size - found.offset:,}",
            found.next_seq - 1,
            kept,
        )

    def _keep_end(self, begin: int) -> str:
        """Copy the file from there on to a file of its own. Returns its name, which is that of an
        earlier copy if a recovery was interrupted."""
        free = self._free_name(begin)
        path = join(self._folder, free)
        if free in self._disk.names(self._folder):
            return free
        part = self._disk.open(path + PART, make=True)
        try:
            for offset in range(begin, self._size, COPY_BYTES):
                data = self._read(offset, COPY_BYTES)
                write_all(self._disk, part, offset - begin, [data])
            self._disk.sync(part)
        finally:
            self._disk.close(part)
        self._disk.rename(path + PART, path)
        self._disk.sync_folder(self._folder)
        return free

    def _free_name(self, begin: int) -> str:
        """The first name that is free, or that has the same bytes already."""
        names = self._disk.names(self._folder)
        for turn in count(1):
            name = numbered(self._first_seq, TORN + (f".{turn}" if turn > 1 else ""))
            if name not in names or self._holds(name, begin):
                return name
        raise AssertionError("some name is free")

    def _holds(self, name: str, begin: int) -> bool:
        """Whether a file has the same bytes as this one from `begin` on."""
        descriptor = self._disk.open(join(self._folder, name))
        try:
            return self._disk.size(descriptor) == self._size - begin and all(
                self._disk.read(descriptor, offset - begin, COPY_BYTES)
                == self._read(offset, COPY_BYTES)
                for offset in range(begin, self._size, COPY_BYTES)
            )
        finally:
            self._disk.close(descriptor)

    def _set_aside(self) -> None:
        """Take the name of a segment from a file without a record."""
        name = self._free_name(0)
        self._disk.rename(self._path(SEGMENT), join(self._folder, name))
        self._disk.sync_folder(self._folder)
        _LOG.warning("%s: holds no whole record: kept as %s", self._path(SEGMENT), name)

    def _path(self, ending: str) -> str:
        return join(self._folder, numbered(self._first_seq, ending))

    def _read(self, offset: int, size: int) -> bytes:
        return self._disk.read(self._descriptor, offset, size)
