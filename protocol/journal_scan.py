"""Looks through the frames of a segment without decoding their records.

A scan checks what tells a right frame from a damaged one: its length, its CRC and its number. It
follows the numbering and the time. It stops at the first frame that is not right, and says why.
Behind a damaged frame `find_frame` looks for the next one that is right.
"""

import re
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from fanout.protocol.constants import (
    CRC_BYTES,
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    MAX_SEQ,
    NUMBERED_KINDS,
    START,
    BlockFlags,
    FrameKind,
)
from fanout.protocol.speedups import twin

MOST_SUMMED_BYTES: Final = 256 * 1024 * 1024
"""How many bytes `find_frame` takes CRCs of before it gives up. Protects from data in which each
byte seems to begin a long frame."""

_U32 = Struct("<I")
_RUN = Struct("<xBxHQQ")

_SNAPSHOT: Final = BlockFlags.SNAPSHOT.value


class Fault(IntEnum):
    """Why a scan stopped at a frame."""

    NONE = 0
    """It came to the end of what it was to look at."""
    CUT = 1
    """The frame is not whole: the data end within it."""
    LENGTH = 2
    """The length is 0, or over the limit."""
    CRC = 3
    """The CRC does not match."""
    MALFORMED = 4
    """The frame is too short for its kind, or has a number out of range."""
    BEHIND = 5
    """The frame brings a number before the one that is due."""
    AHEAD = 6
    """The frame brings a number after the one that is due: those between are missing."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A frame that is no record and no heartbeat."""

    offset: int
    kind: int
    seq: int
    """The number that is due before it."""


class Scan(msgspec.Struct, frozen=True):
    """What a scan found."""

    offset: int
    """Behind the last frame that is right, where the next scan goes on."""
    next_seq: int
    """The number that is due there."""
    time_ns: int
    """The latest time of the frames so far, unix ns. It never goes back, also where the clock
    did."""
    frames: int
    marks: tuple[Mark, ...]
    """Headers, INSTRUMENTS, LOSS, END and START, and frames of unknown kinds, in order."""
    fault: Fault


@twin
def scan(
    data: bytes | memoryview,
    offset: int,
    next_seq: int,
    time_ns: int,
    *,
    stop: int,
    until_seq: int = MAX_SEQ + 1,
    until_ns: int = 2**64,
) -> Scan:
    """Look through the frames from `offset` on that begin before `stop`.

    It stops before the frame that holds the number `until_seq`, and before the first frame whose
    time is `until_ns` or later. A `next_seq` of 0 takes the number of the first frame that has one.
    Never raises for what is in `data`, and copies none of it.
    """
    frames, marks, fault = 0, list[Mark](), Fault.NONE
    view = memoryview(data).cast("B")
    while offset < stop:
        body, end, fault = _frame_at(view, offset)
        if fault:
            break
        seq, count, at_ns = _numbers(body)
        if seq == 0:
            fault = Fault.MALFORMED
            break
        if seq > 0:
            next_seq = next_seq or seq
            if seq != next_seq:
                fault = Fault.BEHIND if seq < next_seq else Fault.AHEAD
                break
            if seq + count > until_seq:
                break
        if at_ns >= until_ns:
            break
        if body[0] not in _UNMARKED:
            marks.append(Mark(offset, body[0], next_seq))
        offset, next_seq, frames = end, next_seq + count, frames + 1
        time_ns = max(time_ns, at_ns)
    return Scan(offset, next_seq, time_ns, frames, tuple(marks), fault)


def find_frame(data: bytes | memoryview, offset: int, *, stop: int) -> int:
    """Where the next right frame begins, at `offset` or behind it, and before `stop`; -1 if there
    is none. START is not looked for: it has no CRC.

    Whoever finds a frame in this way does not know the numbers before it: `scan` takes its number
    with a `next_seq` of 0.
    """
    view, summed = memoryview(data).cast("B"), 0
    for candidate in _PLAUSIBLE.finditer(view, max(offset, 0)):
        at = candidate.start()
        if at >= stop or summed > MOST_SUMMED_BYTES:
            break
        body, _, fault = _frame_at(view, at)
        if not fault and _numbers(body)[0]:
            return at
        if fault is Fault.CRC:
            summed += int(_U32.unpack_from(view, at)[0])
    return -1


_PLAUSIBLE: Final = re.compile(rb"(?=(?:..\x00\x00|\x00\x00\x01\x00)[\x02\x10-\x25])", re.DOTALL)
"""A length within the limit, and the kind of a frame that may stand in a segment."""
assert MAX_FRAME_BYTES == 0x1_0000


def _frame_at(view: memoryview, offset: int) -> tuple[memoryview, int, Fault]:
    """The payload of a frame without its CRC, where the next frame begins, and what is wrong."""
    begin = offset + LENGTH_BYTES
    if begin > len(view):
        return view, offset, Fault.CUT
    (length,) = _U32.unpack_from(view, offset)
    if not 0 < length <= MAX_FRAME_BYTES:
        return view, offset, Fault.LENGTH
    end: int = begin + length
    if end > len(view):
        return view, offset, Fault.CUT
    if length == len(START) and bytes(view[begin:end]) == START:
        return view[begin:end], end, Fault.NONE
    body = view[begin : end - CRC_BYTES]
    if not body:
        return view, offset, Fault.MALFORMED
    if crc32(body) != _U32.unpack_from(view, end - CRC_BYTES)[0]:
        return view, offset, Fault.CRC
    return body, end, Fault.NONE


_Numbers = tuple[int, int, int]
"""The number that is due before a frame, how many numbers it takes, and its time or 0. The first is
-1 for a frame that has no number, and 0 for one that is malformed."""

_UNNUMBERED: Final = (-1, 0, 0)
_MALFORMED: Final = (0, 0, 0)


def _run(flags: int, count: int, seq: int, received_ns: int) -> _Numbers:
    if not count:
        return _MALFORMED
    return _UNNUMBERED if flags & _SNAPSHOT else (seq, count, received_ns)


_LAYOUTS: Final[dict[int, tuple[Struct, Callable[..., _Numbers]]]] = {
    FrameKind.HEADER: (Struct("<10xQ"), lambda next_seq: (next_seq, 0, 0)),
    **dict.fromkeys(NUMBERED_KINDS, (_RUN, _run)),
    FrameKind.STATUS: (Struct("<xQ3xQ"), lambda seq, since_ns: (seq, 1, since_ns)),
    FrameKind.GAP: (Struct("<xQ"), lambda seq: (seq, 1, 0)),
    FrameKind.LOSS: (
        Struct("<xQQ"),
        lambda first, last: (first, last - first + 1, 0) if first <= last else _MALFORMED,
    ),
    FrameKind.HEARTBEAT: (Struct("<xQQ"), lambda next_seq, time_ns: (next_seq, 0, time_ns)),
    FrameKind.END: (Struct("<xQ"), lambda last_seq: (last_seq + 1, 0, 0)),
}
"""Where each kind of frame has its numbers and its time, and what they say."""

_UNMARKED: Final = frozenset(
    (*NUMBERED_KINDS, FrameKind.STATUS, FrameKind.GAP, FrameKind.HEARTBEAT)
)


def _numbers(body: memoryview) -> _Numbers:
    layout = _LAYOUTS.get(body[0])
    if layout is None:
        return _UNNUMBERED
    fields, numbers = layout
    if len(body) < fields.size:
        return _MALFORMED
    found = numbers(*fields.unpack_from(body))
    seq, count, _ = found
    is_possible = seq < 0 or (0 < seq <= MAX_SEQ and seq + count <= MAX_SEQ + 1)
    return found if is_possible else _MALFORMED
