"""Reads a segment from a place to its end: what is whole, what is missing, and which places an
index has to have. It changes nothing."""

from collections.abc import Callable
from typing import Final

import msgspec

from fanout.journal.places import Places
from fanout.protocol.constants import LENGTH_BYTES, MAX_FRAME_BYTES, START, FrameKind
from fanout.protocol.framing import frame
from fanout.protocol.journal import FILE_HEADER_BYTES, PLACE_EVERY_BYTES, Place
from fanout.protocol.journal_scan import Fault, find_frame, scan

ReadAt = Callable[[int, int], bytes]
"""Gives up to so many bytes, the second number, from an offset on; fewer at the end."""

WINDOW_BYTES: Final = 1024 * 1024
"""How much is held in memory at a time."""

_LONGEST: Final = LENGTH_BYTES + MAX_FRAME_BYTES


class Hole(msgspec.Struct, frozen=True):
    """Bytes between two right frames that cannot be read."""

    first_seq: int
    last_seq: int
    """Before `first_seq` if no number is missing: snapshots and the like were damaged."""
    offset: int
    size: int


class Survey(msgspec.Struct, frozen=True):
    """What was found."""

    offset: int
    """Behind the last right frame."""
    next_seq: int
    """The number that is due there."""
    places: tuple[Place, ...]
    """What an index has to have, from where the survey began."""
    holes: tuple[Hole, ...]


def survey(read: ReadAt, size: int, places: Places) -> Survey:
    """Read a segment of `size` bytes from where `places` is on. Raises what `read` raises, and
    `PeerError` for a header that cannot be understood though its CRC is right."""
    found: list[Place] = []
    holes: list[Hole] = []
    while places.offset < size:
        base, window = places.offset, read(places.offset, WINDOW_BYTES)
        fault = Fault.NONE
        while fault is Fault.NONE and places.offset < base + len(window):
            at = places.offset - base
            scanned = scan(window, at, places.next_seq, places.time_ns, stop=at + PLACE_EVERY_BYTES)
            fault = scanned.fault
            if scanned.offset > at:
                found += places.take(window[at : scanned.offset])
        if places.offset == size or (fault is Fault.CUT and not _is_last(window, base, size)):
            continue
        hole = damage(read, size, places.offset, places.next_seq)
        if hole is None:
            break
        holes.append(hole)
        places.offset, places.next_seq = hole.offset + hole.size, hole.last_seq + 1
    return Survey(places.offset, places.next_seq, tuple(found), tuple(holes))


def is_right(read: ReadAt, place: Place) -> bool:
    """Whether the frame at a place is right, and has that number if it has any."""
    return bool(scan(read(place.offset, _LONGEST), 0, place.seq, 0, stop=1).frames)


def begins_with_header(read: ReadAt, first_seq: int) -> bool:
    """Whether the frames of a segment begin with a header, behind START."""
    data = read(FILE_HEADER_BYTES, 2 * _LONGEST)
    marks = scan(data, 0, first_seq, 0, stop=len(frame(START)) + 1).marks
    return FrameKind.HEADER in [each.kind for each in marks]


def damage(read: ReadAt, size: int, begin: int, due: int) -> Hole | None:
    """The bytes from `begin` up to the next right frame that has a number, not before the one that
    is due. None if there is no such frame."""
    offset = begin
    while True:
        window = read(offset, WINDOW_BYTES)
        # A frame that begins in the last bytes of a window may be whole in the next one.
        stop = len(window) if _is_last(window, offset, size) else len(window) - _LONGEST
        at = find_frame(window, 0, stop=stop)
        while at >= 0:
            # It stops before the first number, so this is the number that is due at the frame.
            seq = scan(window, at, 0, 0, stop=at + 1, until_seq=1).next_seq
            if seq >= due:
                return Hole(due, seq - 1, begin, offset + at - begin)
            at = find_frame(window, at + 1, stop=stop)
        if _is_last(window, offset, size):
            return None
        offset += stop


def _is_last(window: bytes, offset: int, size: int) -> bool:
    return len(window) < WINDOW_BYTES or offset + len(window) >= size
