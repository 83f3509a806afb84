"""Looks at a journal from outside: a service may be writing it, or none.

Nothing here writes. `is_written` shares the service's lock for a moment; a service that starts just
then waits for it. A segment that is being looked at is locked with others who read, so that
retention leaves it for a while.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from os.path import join

import msgspec

from fanout.journal.disk import Disk, RealDisk
from fanout.journal.survey import WINDOW_BYTES, damage, is_right
from fanout.journal.verifying import Checked, check_segment, unreadable
from fanout.protocol.constants import FrameKind
from fanout.protocol.errors import PeerError, reason
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    LOCK,
    SEGMENT,
    Place,
    decode_file_header,
    decode_places,
)
from fanout.protocol.journal_folder import ChannelFolder, OpenSegment
from fanout.protocol.journal_scan import Fault, scan
from fanout.protocol.text import channel_fault


class Address(msgspec.Struct, frozen=True):
    """Where a segment is."""

    directory: str
    channel: str
    epoch_ns: int
    first_seq: int
    ending: str = SEGMENT
    """Of its file's name."""

    @property
    def path(self) -> str:
        return self.folder(RealDisk()).file_path(self.epoch_ns, self.first_seq, self.ending)

    def folder(self, disk: Disk) -> ChannelFolder:
        return ChannelFolder(disk, join(self.directory, self.channel))


class KeptEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal has of an epoch of a channel."""

    channel: str
    epoch_ns: int
    segments: int
    first_seq: int
    last_seq: int
    """One less than `first_seq` if there is no number."""
    created_ns: int
    """When the first segment was made; 0 if that cannot be read."""
    time_ns: int
    """The latest time of a frame; 0 if there is none."""
    size_bytes: int
    """Of the segments."""
    state: str
    """open: a service may be writing it. ended: it ended in good order. stopped: it just stops.
    damaged: its last segment cannot be read."""


def channels(disk: Disk, directory: str) -> list[str]:
    """The channels that have an epoch. Raises `OSError`."""
    names = [each for each in disk.names(directory) if not channel_fault(each) and each != LOCK]
    return [each for each in names if addresses(disk, directory, each)]


def addresses(disk: Disk, directory: str, channel: str) -> list[Address]:
    """A channel's segments, in order."""
    folder = ChannelFolder(disk, join(directory, channel))
    return [
        Address(directory, channel, epoch_ns, first_seq, ending)
        for epoch_ns in folder.epochs()
        for first_seq, ending in folder.endings(epoch_ns).items()
    ]


def is_written(disk: Disk, directory: str) -> bool:
    """Whether a service has the journal."""
    try:
        lock = disk.open_to_read(join(directory, LOCK))
    except FileNotFoundError:
        return False
    try:
        return not disk.share(lock)
    finally:
        disk.close(lock)


def check(address: Address) -> Checked | None:
    """Check one segment; None if it has been removed. A file that cannot be read has that as its
    finding. For a process of its own, so it takes and gives values only."""
    where = {"epoch_ns": address.epoch_ns, "first_seq": address.first_seq}
    try:
        segment = address.folder(RealDisk()).open(**where)
        with closing(segment):
            index = segment.index()  # first: the segment may grow
            size = segment.size()
            return check_segment(segment.read, size, index, channel=address.channel, **where)
    except (FileNotFoundError, BlockingIOError):
        return None
    except OSError as error:
        return unreadable(**where, size=0, why=reason(error))


def kept(disk: Disk, directory: str, channel: str, *, is_open: bool) -> Iterator[KeptEpoch]:
    """The epochs of a channel, the oldest first. Raises `OSError`."""
    found = addresses(disk, directory, channel)
    newest = found[-1].epoch_ns if found else 0
    for epoch_ns in sorted({each.epoch_ns for each in found}):
        segments = [each for each in found if each.epoch_ns == epoch_ns]
        yield _kept_epoch(disk, segments, is_open=is_open and epoch_ns == newest)


def _kept_epoch(disk: Disk, segments: list[Address], *, is_open: bool) -> KeptEpoch:
    first, last = segments[0], segments[-1]
    end = _End()
    created_ns = size_bytes = 0
    for each in segments:
        try:
            segment = each.folder(disk).open(each.epoch_ns, each.first_seq)
        except OSError:
            continue
        with closing(segment):
            size_bytes += segment.file_bytes()
            with suppress(OSError):  # a compressed one may not even tell its size
                if each is first:
                    created_ns = _created_ns(segment.read(0, FILE_HEADER_BYTES))
                if each is last:
                    end.find(segment, each.first_seq)
    state = "open" if is_open else end.state
    return KeptEpoch(
        channel=first.channel,
        epoch_ns=first.epoch_ns,
        segments=len(segments),
        first_seq=first.first_seq,
        last_seq=max(end.next_seq, last.first_seq) - 1,
        created_ns=created_ns,
        time_ns=end.time_ns,
        size_bytes=size_bytes,
        state=state,
    )


class _End:
    """How a segment ends, found from the last place of its index on."""

    def __init__(self) -> None:
        self.next_seq = 0
        self.time_ns = 0
        self.state = "damaged"

    def find(self, segment: OpenSegment, first_seq: int) -> None:
        if not _created_ns(segment.read(0, FILE_HEADER_BYTES)):
            return
        places = decode_places(segment.index()[FILE_HEADER_BYTES:])
        size = segment.size()
        right = (each for each in reversed(places) if is_right(segment.read, each))
        place = next(right, Place(seq=first_seq, time_ns=0, offset=FILE_HEADER_BYTES, opening=0))
        offset, self.next_seq, self.time_ns = place.offset, place.seq, place.time_ns
        self.state = "stopped"
        while offset < size:
            window = segment.read(offset, WINDOW_BYTES)
            found = scan(window, 0, self.next_seq, self.time_ns, stop=len(window))
            offset, self.next_seq = offset + found.offset, found.next_seq
            self.time_ns = found.time_ns
            if any(each.kind == FrameKind.END for each in found.marks):
                self.state = "ended"
            if found.fault in (Fault.AHEAD, Fault.BEHIND):
                self.next_seq = 0
            elif found.fault is not Fault.NONE and not found.frames:
                hole = damage(segment.read, size, offset, self.next_seq)
                if hole is None:
                    return
                offset, self.next_seq = offset + hole.size, hole.last_seq + 1


def _created_ns(head: bytes) -> int:
    try:
        return decode_file_header(head).created_ns
    except PeerError:
        return 0
