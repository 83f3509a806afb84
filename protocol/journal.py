"""The files of a journal: their names, and the bytes around the frames.

    DIR/CHANNEL/EPOCH/FIRSTSEQ.fj     a segment: 64 bytes, then frames as a TCP connection has them
    DIR/CHANNEL/EPOCH/FIRSTSEQ.fj.zst the same compressed: see `journal_packed`
    DIR/CHANNEL/EPOCH/FIRSTSEQ.fi     its index: 64 bytes, then places of 40 bytes
    DIR/lock                          held by the one service that writes there

EPOCH and FIRSTSEQ have 20 digits, so that names sort as numbers do. The first 64 bytes of a segment
and of an index are alike, little-endian:

     0  8 bytes  magic, "fanoutFJ" or "fanoutFI"
     8  u16      version = 1
    10  u16      bytes before the first frame or place = 64
    12  u32      reserved = 0
    16  u64      epoch_ns
    24  u64      first_seq, the number that is due before the first record
    32  u64      created_ns, unix ns
    40  20 bytes reserved = 0
    60  u32      CRC-32 of bytes 0 to 59

A segment begins with START, a header whose `next_seq` is `first_seq`, and its instruments. Then
come snapshots, as for a reader that begins live. The numbers of a segment end where those of the
next segment of the epoch begin, also if it holds more: a writer whose disk failed writes numbers
anew in the next segment. An index can always be made anew from its segment.

This module holds values only. The callers open, lock, read and write the files.
"""

from collections.abc import Collection, Iterable
from enum import IntEnum
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.errors import ChecksumError, MalformedError, NotRepresentableError

SEGMENT_MAGIC: Final = b"fanoutFJ"
INDEX_MAGIC: Final = b"fanoutFI"
VERSION: Final = 1
FILE_HEADER_BYTES: Final = 64
PLACE_BYTES: Final = 40

PLACE_EVERY_BYTES: Final = 64 * 1024
"""How far apart the places of an index are, in the segment."""

MIN_SEGMENT_BYTES: Final = 1024 * 1024
MAX_SEGMENT_BYTES: Final = 16 * 1024**3
"""Limits of the size at which a writer begins the next segment."""

SEGMENT: Final = ".fj"
PACKED: Final = ".fj.zst"
"""Of a segment that was compressed. While there is also one with `SEGMENT`, that one counts."""
INDEX: Final = ".fi"
TORN: Final = ".torn"
"""Ends the name of the file that keeps what was cut off behind the last whole frame."""
PART: Final = ".part"
"""Ends the name of a file that is still being made. It is of no use to a reader."""
LOCK: Final = "lock"

_DIGITS: Final = 20

_HEADER = Struct("<8sHHIQQQ20x")
_PLACE = Struct("<QQQQI")
_CRC = Struct("<I")
assert _HEADER.size + _CRC.size == FILE_HEADER_BYTES
assert _PLACE.size + _CRC.size == PLACE_BYTES


class FileHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first 64 bytes of a segment or of an index."""

    epoch_ns: int
    first_seq: int
    created_ns: int


class PlaceKind(IntEnum):
    """What stands at a place. A reader takes unknown kinds for FRAME."""

    FRAME = 0
    """Any frame: one of the places that are 64 KiB apart."""
    OPENING = 1
    """A header in mid-stream. It is in force from there on."""
    CHANGE = 2
    """INSTRUMENTS in mid-stream: they change the header in force."""


_KINDS: Final = frozenset(PlaceKind)


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A frame in a segment, as the index has it."""

    seq: int
    """The number that is due before the frame."""
    time_ns: int
    """The latest time in the frames before it, unix ns; 0 before the first."""
    offset: int
    """Of the frame, in bytes from the segment's beginning."""
    opening: int
    """Offset of the header in force before the frame. The changes of INSTRUMENTS between the two
    have places of their own."""
    kind: PlaceKind = PlaceKind.FRAME


def encode_file_header(header: FileHeader, magic: bytes = SEGMENT_MAGIC) -> bytes:
    """The first bytes of a file. Raises `NotRepresentableError`."""
    if not (0 <= header.epoch_ns <= U64_MAX and 0 <= header.created_ns <= U64_MAX):
        raise NotRepresentableError(f"{header}: a time does not fit 64 bits")
    if not 1 <= header.first_seq <= MAX_SEQ:
        raise NotRepresentableError(f"sequence number {header.first_seq} is out of range")
    body = _HEADER.pack(
        magic, VERSION, FILE_HEADER_BYTES, 0, header.epoch_ns, header.first_seq, header.created_ns
    )
    return body + _CRC.pack(crc32(body))


def decode_file_header(data: bytes, magic: bytes = SEGMENT_MAGIC) -> FileHeader:
    """The header in a file's first 64 bytes. Raises `PeerError` for every other file."""
    if len(data) < FILE_HEADER_BYTES:
        raise MalformedError(f"{len(data)} bytes: {FILE_HEADER_BYTES} stand before the first frame")
    body = data[: _HEADER.size]
    found, version, size, _, epoch_ns, first_seq, created_ns = _HEADER.unpack(body)
    if found != magic:
        raise MalformedError(f"the file begins with {bytes(found)!r}, and not with {magic!r}")
    if (version, size) != (VERSION, FILE_HEADER_BYTES):
        raise MalformedError(f"version {version} of the file, of which {VERSION} is known here")
    if crc32(body) != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise ChecksumError("the CRC of the file's first bytes does not match")
    if not 1 <= first_seq <= MAX_SEQ:
        raise MalformedError(f"sequence number {first_seq} is out of range")
    return FileHeader(epoch_ns=epoch_ns, first_seq=first_seq, created_ns=created_ns)


def encode_places(places: Iterable[Place]) -> bytes:
    """Places as an index has them, behind its first 64 bytes."""
    bodies = (
        _PLACE.pack(each.seq, each.time_ns, each.offset, each.opening, each.kind) for each in places
    )
    return b"".join(body + _CRC.pack(crc32(body)) for body in bodies)


def decode_places(data: bytes) -> list[Place]:
    """The places of an index, from behind its first 64 bytes on, as far as they are right and in
    order. A place is a hint: whoever reads there checks the frame."""
    places: list[Place] = []
    seq = time_ns = offset = 0
    for at in range(0, len(data) - PLACE_BYTES + 1, PLACE_BYTES):
        body = data[at : at + _PLACE.size]
        if crc32(body) != _CRC.unpack_from(data, at + _PLACE.size)[0]:
            break
        before, (seq, time_ns, offset, opening, kind) = (seq, time_ns, offset), _PLACE.unpack(body)
        is_behind = seq < before[0] or time_ns < before[1] or offset < before[2]
        if is_behind or not FILE_HEADER_BYTES <= opening <= offset:
            break
        known = PlaceKind(kind) if kind in _KINDS else PlaceKind.FRAME
        places.append(Place(seq=seq, time_ns=time_ns, offset=offset, opening=opening, kind=known))
    return places


def numbered(number: int, ending: str = "") -> str:
    """The name of an epoch's folder, or with an ending that of a file that begins at a number."""
    return f"{number:0{_DIGITS}}{ending}"


def segments_in(names: Collection[str]) -> dict[int, str]:
    """The segments among the names in an epoch's folder: the ending of each by its first number,
    in order."""
    return numbers_in(names, SEGMENT, PACKED)


def numbers_in(names: Collection[str], *endings: str) -> dict[int, str]:
    """The numbers in names with one of these endings, in order. Of two endings of one number the
    first one counts."""
    found: dict[int, str] = {}
    for ending in reversed(endings):
        found |= {number: ending for name in names if (number := number_in(name, ending))}
    return dict(sorted(found.items()))


def number_in(name: str, ending: str = "") -> int | None:
    """The number in the name of an epoch's folder, or of a file with that ending; None for every
    other name."""
    digits = name.removesuffix(ending)
    if digits + ending != name or len(digits) != _DIGITS:
        return None
    if not (digits.isascii() and digits.isdecimal()):
        return None
    number = int(digits)
    return number if number <= U64_MAX else None
