"""Segments of a journal: files whose frames are read as those of a connection."""

from typing import Any
from zlib import crc32

from tests.vectors.rejected import MALFORMED
from tests.vectors.spelling import uint
from tests.vectors.values import (
    EPOCH_NS,
    MAX_SEQ,
    OPENING,
    START,
    U64_MAX,
    Piece,
    Vector,
    block,
    end,
    header,
    heartbeat,
    loss,
    next_trade,
    said,
    status,
    stream,
)

CREATED_NS = 1_795_219_260_000_000_000
CHECKSUM = "ChecksumError"


def begun(
    first_seq: int,
    *,
    magic: bytes = b"fanoutFJ",
    version: int = 1,
    size: int = 64,
    epoch_ns: int = EPOCH_NS,
    created_ns: int = CREATED_NS,
    reserved: bytes = bytes(20),
) -> bytes:
    """The first bytes of a file."""
    body = magic + uint(version, 2) + uint(size, 2) + bytes(4)
    body += uint(epoch_ns, 8) + uint(first_seq, 8) + uint(created_ns, 8) + reserved
    return body + uint(crc32(body), 4)


def segments() -> list[Vector]:
    later = said(header(next_seq=1_002))
    extremes = header(next_seq=MAX_SEQ, epoch_ns=U64_MAX)
    return [
        _segment(
            "a segment",
            "The file begins as a connection does, and just stops.",
            *OPENING,
            said(block(1_001, next_trade(), snapshot=True, received_ns=0)),
            said(block(1_001, next_trade())),
            said(heartbeat(1_002)),
            said(status(1_002)),
            due=1_003,
        ),
        _segment(
            "the last segment of an epoch",
            "It ends as a connection does, after a loss and under a later header.",
            *OPENING,
            said(block(1_001, next_trade())),
            later,
            said(loss(1_002, 1_009)),
            said(end(1_009)),
            due=1_010,
        ),
        _segment(
            "the last number of all",
            "Each field of the file's header at its limit.",
            START,
            said(extremes),
            first_seq=MAX_SEQ,
            epoch_ns=U64_MAX,
            created_ns=U64_MAX,
            due=MAX_SEQ,
        ),
    ]


def _segment(
    name: str, about: str, *pieces: Piece, due: int, first_seq: int = 1_001, **fields: Any
) -> Vector:
    told = stream(*pieces, is_whole=True)
    frames = "".join(told["frames"])
    named = {"epoch_ns": EPOCH_NS, "first_seq": first_seq, "created_ns": CREATED_NS} | fields
    members = {"file": begun(first_seq, **fields).hex() + frames, **named}
    return Vector(name=name, about=about, members=members | {"events": told["events"], "due": due})


def rejected_segments() -> list[Vector]:
    right = begun(1_001)
    return [
        _rejected("an index", "in an index", begun(1_001, magic=b"fanoutFI")),
        _rejected("another magic", "magic", begun(1_001, magic=b"fanoutfj")),
        _rejected("a connection", "magic", b"".join(data for data, _ in OPENING)),
        _rejected("version 2", "1; reject others", begun(1_001, version=2)),
        _rejected("a longer header", "64; reject others", begun(1_001, size=72)),
        _rejected("number 0", "1 to 2^63 - 1", begun(0)),
        _rejected("number 2^63", "1 to 2^63 - 1", begun(MAX_SEQ + 1)),
        _rejected("63 bytes", "A segment is 64 bytes and then", right[:63]),
        _rejected("no bytes at all", "A segment is 64 bytes and then", b""),
        _rejected("a flipped bit", "CRC-32 of the 60 bytes before", _flipped(right, 24), CHECKSUM),
        _rejected(
            "a flipped bit of a reserved byte",
            "CRC-32 of the 60 bytes before",
            _flipped(right, 50),
            CHECKSUM,
        ),
    ]


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _rejected(name: str, rule: str, data: bytes, error: str = MALFORMED) -> Vector:
    members = {"file": data.hex(), "rule": rule, "error": error}
    return Vector(name=name, about=f"Refuse the file: {rule}.", members=members)
