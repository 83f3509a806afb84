"""Joining a stream in its middle: where the numbering stands at a frame.

A TCP reader gets a header made for its position. A queue reader builds its own, with `next_seq` set
to the number of the first unread frame. A reader that asks for a number in the middle of a block
gets the rest of that block as a block of its own: see `blocks.block_from`.
"""

from struct import Struct

from fanout.protocol.constants import CRC_BYTES, MAX_SEQ, NUMBERED_KINDS, BlockFlags, FrameKind
from fanout.protocol.errors import MalformedError
from fanout.protocol.framing import unseal

_RUN = Struct("<BBBHQ")
assert _RUN.size == 13

_SEQ = Struct("<Q")
_LOST = Struct("<BQQ")
_SEQ_AT: dict[int, int] = {
    FrameKind.HEADER: 10,
    FrameKind.STATUS: 1,
    FrameKind.GAP: 1,
    FrameKind.LOSS: 1,
    FrameKind.HEARTBEAT: 1,
    FrameKind.END: 1,
}
"""Where a frame has the sequence number that it takes, or that is due behind it."""


def run_of(payload: bytes) -> tuple[int, int]:
    """The first number of a frame of kind 0x10 to 0x1F, known or not, and how many numbers it
    takes: 0 for a snapshot, whose records have none. Raises `PeerError`."""
    body = unseal(payload)
    if len(body) < _RUN.size:
        raise MalformedError(f"frame of {len(payload)} bytes holds no first number")
    kind, flags, _, count, seq = _RUN.unpack_from(body)
    numbers = 0 if flags & BlockFlags.SNAPSHOT.value else count
    if not count or not 1 <= seq <= MAX_SEQ - max(numbers - 1, 0):
        raise MalformedError(f"frame of kind {kind:#04x}: {count:,} records from number {seq} on")
    return seq, numbers


def first_seq(payload: bytes) -> int | None:
    """The number of the first record in a payload, or the number that is due where the frame takes
    none. None for INSTRUMENTS and for unknown kinds, which say nothing of numbers. Raises
    `PeerError`."""
    kind = payload[0]
    if kind in NUMBERED_KINDS:
        return run_of(payload)[0]
    at = _SEQ_AT.get(kind)
    if at is None:
        return None
    body = unseal(payload)
    if len(body) < at + _SEQ.size:
        raise MalformedError(f"frame of {len(payload)} bytes is cut short")
    (seq,) = _SEQ.unpack_from(body, at)
    if kind == FrameKind.END:
        seq += 1  # its own is the last number that was published
    if not 1 <= seq <= MAX_SEQ:
        raise MalformedError(f"sequence number {seq} is out of range")
    return int(seq)


def span_of(payload: bytes, due: int) -> tuple[int, int]:
    """The number of the first record in a payload, and the number that is due behind it, where
    `due` is the number that is due before it. A frame that takes no numbers has one number twice:
    the one that it says is due, or else `due`. Raises `PeerError`."""
    kind = payload[0]
    if kind in NUMBERED_KINDS:
        seq, count = run_of(payload)
        return (seq, seq + count) if count else (due, due)
    number = first_seq(payload)
    if number is None:
        unseal(payload)
        return due, due
    if kind == FrameKind.LOSS:
        return number, _behind_loss(payload, number)
    is_record = kind in (FrameKind.STATUS, FrameKind.GAP)
    return number, number + is_record


def _behind_loss(payload: bytes, first: int) -> int:
    if len(payload) < _LOST.size + CRC_BYTES:
        raise MalformedError(f"LOSS of {len(payload)} bytes is cut short")
    last: int = _LOST.unpack_from(payload)[2]
    if not first <= last <= MAX_SEQ:
        raise MalformedError(f"LOSS of {first} to {last} is no range")
    return last + 1
