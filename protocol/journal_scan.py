"""Looks through the frames of a segment without decoding their records.

A scan checks what tells a right frame from a damaged one: its length, its CRC and its number. It
follows the numbering and the time. It stops at the first frame that is not right, and says why.
"""

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

_U32 = Struct("<I")
_U64 = Struct("<Q")
_RUN = Struct("<BBBHQQ")
_STATUS = Struct("<BQHBQ")
_GAP = Struct("<BQ")
_PAIR = Struct("<BQQ")
_HEADER = Struct("<BBQQ")
_LAST = Struct("<BQ")

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
    data: bytes,
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
    Never raises for what is in `data`.
    """
    frames, marks, fault = 0, [], Fault.NONE
    while offset < stop:
        begin = offset + LENGTH_BYTES
        if begin > len(data):
            fault = Fault.CUT
            break
        (length,) = _U32.unpack_from(data, offset)
        if not 0 < length <= MAX_FRAME_BYTES:
            fault = Fault.LENGTH
            break
        end = begin + length
        if end > len(data):
            fault = Fault.CUT
            break
        payload = data[begin:end]
        if payload == START:
            marks.append(Mark(offset, START[0], next_seq))
            offset, frames = end, frames + 1
            continue
        body = payload[:-CRC_BYTES]
        if not body:
            fault = Fault.MALFORMED
            break
        if crc32(body) != _U32.unpack_from(payload, len(body))[0]:
            fault = Fault.CRC
            break
        seq, after, at_ns = _numbers(body)
        if seq == 0:
            fault = Fault.MALFORMED
            break
        if seq > 0:
            if next_seq == 0:
                next_seq = seq
            if seq != next_seq:
                fault = Fault.BEHIND if seq < next_seq else Fault.AHEAD
                break
            if after > until_seq:
                break
        else:
            after = next_seq
        if at_ns >= until_ns:
            break
        time_ns = max(time_ns, at_ns)
        if body[0] not in _UNMARKED:
            marks.append(Mark(offset, body[0], next_seq))
        offset, next_seq, frames = end, after, frames + 1
    return Scan(offset, next_seq, time_ns, frames, tuple(marks), fault)


_UNMARKED: Final = frozenset(
    (*NUMBERED_KINDS, FrameKind.STATUS, FrameKind.GAP, FrameKind.HEARTBEAT)
)


def _numbers(body: bytes) -> tuple[int, int, int]:
    """The number that is due before a frame and the one after it, and the frame's time or 0.

    The first is -1 for a frame that has no number, and 0 for one that is malformed.
    """
    kind, size = body[0], len(body)
    seq, count, at_ns = -1, 0, 0
    if kind in NUMBERED_KINDS:
        if size < _RUN.size:
            return 0, 0, 0
        _, flags, _, count, seq, at_ns = _RUN.unpack_from(body)
        if flags & _SNAPSHOT:
            return (-1, 0, 0) if count else (0, 0, 0)
        if not count:
            return 0, 0, 0
    elif kind == FrameKind.STATUS:
        if size < _STATUS.size:
            return 0, 0, 0
        _, seq, _, _, at_ns = _STATUS.unpack_from(body)
        count = 1
    elif kind == FrameKind.GAP:
        if size < _GAP.size:
            return 0, 0, 0
        (_, seq), count = _GAP.unpack_from(body), 1
    elif kind == FrameKind.LOSS:
        if size < _PAIR.size:
            return 0, 0, 0
        _, seq, last = _PAIR.unpack_from(body)
        count = last - seq + 1
        if count < 1:
            return 0, 0, 0
    elif kind == FrameKind.HEARTBEAT:
        if size < _PAIR.size:
            return 0, 0, 0
        _, seq, at_ns = _PAIR.unpack_from(body)
    elif kind == FrameKind.HEADER:
        if size < _HEADER.size:
            return 0, 0, 0
        _, _, _, seq = _HEADER.unpack_from(body)
    elif kind == FrameKind.END:
        if size < _LAST.size:
            return 0, 0, 0
        seq = _LAST.unpack_from(body)[1] + 1
    else:
        return -1, 0, 0
    if not 1 <= seq <= seq + count - 1 + (count == 0) <= MAX_SEQ:
        return 0, 0, 0
    return seq, seq + count, at_ns
