"""Packets: the frames of a channel in datagrams, as a multicast group gets them.

    u32  magic, the bytes "fanP"
    u8   version = 2, that of the wire
    u8   flags: 1 heartbeat, 2 end, 4 snapshot, 8 the last packet of a snapshot
    u16  channel: its place among the service's channels
    u8   line: 0 A, 1 B
    u8   reserved = 0
    u16  count of frames, at least 1
    u32  listing: a checksum of the instruments under which the frames were made
    u64  epoch_ns
    u64  next_seq: the number that is due before the first frame
    u64  sent_ns: unix ns when the packet was made
    u32  number of the packet, +1 each, modulo 2**32; the same on both lines
    u32  CRC-32 of the 44 bytes before
    count x frame, each with its length and its own CRC

All little-endian. A packet is whole or of no use, and it stands for itself: it says which number is
due before it, and its blocks decode alone. So a reader that knows the instruments can begin at any
packet, and it sees from one packet whether it lacks another.

Two things cannot be seen from the numbers of the records. INSTRUMENTS have none, so a reader that
lost such a packet would decode later blocks with wrong references; `listing` tells it. The pieces
of a whole book have none, so a lost piece would leave a hole in the book; `number` tells it.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final
from zlib import crc32

import msgspec

from fanout.protocol.constants import (
    CRC_BYTES,
    LENGTH_BYTES,
    MAX_SEQ,
    WIRE_VERSION,
    FrameKind,
)
from fanout.protocol.errors import (
    ChecksumError,
    CutShortError,
    LimitExceededError,
    MalformedError,
    NotAPacketError,
    NotRepresentableError,
)
from fanout.protocol.instrument import Instrument
from fanout.protocol.instruments import encode_entry
from fanout.protocol.joining import span_of
from fanout.protocol.records import Header, Reference
from fanout.protocol.speedups import twin

PACKET_MAGIC: Final = b"fanP"

_HEADER: Final = Struct("<4sBBHBBHIQQQI")
_CRC: Final = Struct("<I")
_LENGTH: Final = Struct("<I")
_LINE_AT: Final = Struct("<4sBBH").size

PACKET_HEADER_BYTES: Final = _HEADER.size + CRC_BYTES
"""What a packet takes beside its frames."""

assert (_HEADER.size, PACKET_HEADER_BYTES, _LINE_AT) == (44, 48, 8)

MAX_PACKET_BYTES: Final = 65_507
"""Limit of a packet: the longest payload of a UDP datagram over IPv4."""

MIN_PACKET_BYTES: Final = 512
"""The shortest limit that a service may be given. Every event, every entry of an instrument and a
header without the names of other channels fit."""

PACKET_BYTES: Final = 1_400
"""The usual limit. With the headers of IP and UDP it stays below the 1,500 bytes of Ethernet, with
room for a tunnel."""

HEARTBEAT: Final = 1
"""Flag of a packet with a HEARTBEAT."""
END: Final = 2
"""Flag of a packet with the END."""
SNAPSHOT: Final = 4
"""Flag of a packet with a header, instruments or blocks flagged snapshot, for readers that join."""
LAST: Final = 8
"""Flag of the last packet of a snapshot."""

_FLAGS: Final = HEARTBEAT | END | SNAPSHOT | LAST

_SUM_BITS: Final = 2**32 - 1

_NUMBERS_BYTES: Final = Struct("<bbbqQQQQQQ").size
"""What an instrument's entry has behind its symbol, up to `lot`."""


class Line(IntEnum):
    """One of the two ways that a packet takes."""

    A = 0
    B = 1


class Packet(msgspec.Struct, frozen=True, gc=False):
    """A packet that is in order. The CRC of each frame is right, and so are the numbers."""

    flags: int
    channel: int
    line: int
    listing: int
    epoch_ns: int
    next_seq: int
    """The number that is due before it."""
    stop_seq: int
    """The number that is due behind it."""
    sent_ns: int
    number: int
    is_listing: bool
    """Whether it changes the instruments from the next packet on."""
    is_plain: bool
    """Whether it has records, and nothing else that a reader has to know of."""
    frames: bytes

    @property
    def is_snapshot(self) -> bool:
        """Whether only readers that join, or that lost something, need it."""
        return bool(self.flags & SNAPSHOT)

    @property
    def is_numbered(self) -> bool:
        """Whether its frames take sequence numbers."""
        return self.stop_seq != self.next_seq


def encode_packet(
    frames: Sequence[bytes],
    *,
    next_seq: int,
    number: int,
    epoch_ns: int,
    listing: int,
    sent_ns: int,
    flags: int = 0,
    channel: int = 0,
    line: Line = Line.A,
) -> bytes:
    """A packet with these whole frames. Raises `NotRepresentableError` for what does not fit."""
    data = b"".join(frames)
    size = PACKET_HEADER_BYTES + len(data)
    if not data or size > MAX_PACKET_BYTES:
        raise NotRepresentableError(
            f"packet of {size:,} bytes: {PACKET_HEADER_BYTES + 1} to {MAX_PACKET_BYTES:,} fit"
        )
    try:
        head = _HEADER.pack(
            PACKET_MAGIC,
            WIRE_VERSION,
            flags,
            channel,
            line,
            0,
            len(frames),
            listing,
            epoch_ns,
            next_seq,
            sent_ns,
            number,
        )
    except StructError as error:
        raise NotRepresentableError(f"packet {number} does not fit its fields: {error}") from error
    return head + _CRC.pack(crc32(head)) + data


def on_line(packet: bytes, line: Line) -> bytes:
    """One of our packets as it is sent on a line."""
    head = packet[:_LINE_AT] + bytes((line,)) + packet[_LINE_AT + 1 : _HEADER.size]
    return head + _CRC.pack(crc32(head)) + packet[PACKET_HEADER_BYTES:]


def decode_packet(data: bytes) -> Packet:
    """The packet in a datagram.

    Raises `NotAPacketError` for another magic or version, `CutShortError` for a packet that is not
    all there, `ChecksumError` for one that was damaged, and another `PeerError` for one that breaks
    the rules.
    """
    if data[:4] != PACKET_MAGIC or data[4:5] not in (b"", bytes((WIRE_VERSION,))):
        raise NotAPacketError(f"datagram of {len(data):,} bytes is no packet of ours")
    if len(data) < PACKET_HEADER_BYTES:
        raise CutShortError(f"packet of {len(data)} bytes: its header takes {PACKET_HEADER_BYTES}")
    head = data[: _HEADER.size]
    if crc32(head) != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise ChecksumError("CRC of a packet's header does not match")
    (_, _, flags, channel, line, _, count, listing, epoch_ns, next_seq, sent_ns, number) = (
        _HEADER.unpack(head)
    )
    if not 1 <= next_seq <= MAX_SEQ or line > Line.B or not count:
        raise LimitExceededError(
            f"packet {number}: number {next_seq}, line {line}, {count:,} frames are out of bounds"
        )
    if len(data) > MAX_PACKET_BYTES:
        raise LimitExceededError(f"packet of {len(data):,} bytes exceeds {MAX_PACKET_BYTES:,}")
    flags &= _FLAGS
    stop_seq, listings, special = check_frames(
        data, PACKET_HEADER_BYTES, count, next_seq, bool(flags & SNAPSHOT)
    )
    if (
        special
        and not flags & END
        and any(_is_end(each) for each in frames_of(data[PACKET_HEADER_BYTES:]))
    ):
        raise MalformedError("END in a packet that is not flagged so")
    return Packet(
        flags,
        channel,
        line,
        listing,
        epoch_ns,
        next_seq,
        stop_seq,
        sent_ns,
        number,
        bool(listings),
        not (flags or listings or special),
        data[PACKET_HEADER_BYTES:],
    )


@twin
def check_frames(
    data: bytes, at: int, count: int, due: int, is_snapshot: bool
) -> tuple[int, int, int]:
    """The number that is due behind the frames of a packet, which begin at an offset; how many of
    them are INSTRUMENTS in mid-stream; and how many are LOSS or END. `due` is the number that is
    due before them. Raises `PeerError` for frames that break the rules."""
    listings = special = 0
    for _ in range(count):
        start = at + LENGTH_BYTES
        if start > len(data):
            raise CutShortError(f"packet of {len(data):,} bytes ends before its {count:,} frames")
        (length,) = _LENGTH.unpack_from(data, at)
        at = start + length
        if at > len(data):
            raise CutShortError(f"frame of {length:,} bytes reaches beyond its packet's end")
        if not length:
            raise LimitExceededError("frame of 0 bytes in a packet")
        payload = data[start:at]
        kind = payload[0]
        seq, stop = span_of(payload, due)
        if is_snapshot:
            if stop != seq or kind in _ONLY_IN_STREAM:
                raise MalformedError(f"frame of kind {kind:#04x} in a packet of a snapshot")
            continue
        if kind == FrameKind.HEADER:
            raise MalformedError("header in a packet that is no snapshot's")
        if seq != due:
            raise MalformedError(f"frame with number {seq} in a packet where {due} is due")
        listings += kind == FrameKind.INSTRUMENTS
        special += kind in _SPECIAL
        due = stop
    if at != len(data):
        raise MalformedError(f"{len(data) - at:,} bytes behind the last frame of a packet")
    if listings and listings != count:
        raise MalformedError("instruments and other frames in one packet")
    return due, listings, special


_ONLY_IN_STREAM: Final = frozenset({FrameKind.HEARTBEAT, FrameKind.END})
_SPECIAL: Final = frozenset({FrameKind.LOSS, FrameKind.END})


def _is_end(whole: bytes) -> bool:
    return whole[LENGTH_BYTES] == FrameKind.END


def frames_of(frames: bytes) -> Iterator[bytes]:
    """The frames of a packet, or of other bytes of ours, each with its length."""
    at = 0
    while at < len(frames):
        stop = at + LENGTH_BYTES + _LENGTH.unpack_from(frames, at)[0]
        yield frames[at:stop]
        at = stop


class ListingSums:
    """Checksums of listings: what `Packet.listing` is for a header.

    It is the sum modulo 2**32 of a CRC-32 for each instrument, of its index as u16 and of its entry
    from the symbol to `lot`. Only an instrument that is new or has changed costs anything.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Instrument, Reference, int]] = []

    def __call__(self, header: Header) -> int:
        """The checksum. Raises `NotRepresentableError` for instruments that do not fit."""
        pairs = zip(header.instruments, header.references, strict=True)
        self._known = [self._of(index, *pair) for index, pair in enumerate(pairs)]
        return sum([each for _, _, each in self._known]) & _SUM_BITS

    def _of(
        self, index: int, instrument: Instrument, reference: Reference
    ) -> tuple[Instrument, Reference, int]:
        if index < len(self._known):
            known = self._known[index]
            if known[0] is instrument and known[1] is reference:
                return known
        entry = encode_entry(instrument, reference)
        behind_symbol = 2 + entry[1]
        counted = entry[1 : behind_symbol + _NUMBERS_BYTES]
        return instrument, reference, crc32(index.to_bytes(2, "little") + counted)
