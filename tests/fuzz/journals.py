"""The target of the journal: files that may have been damaged, or put there by somebody.

The CRC of the first bytes is no obstacle, nor are those of frames and places: each file is tried as
it is and with every CRC made right.
"""

from zlib import crc32

from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX_MAGIC,
    PLACE_BYTES,
    SEGMENT_MAGIC,
    decode_file_header,
    decode_places,
    encode_file_header,
    encode_places,
)
from fanout.protocol.journal_scan import Fault, Scan, find_frame, scan
from fanout.protocol.speedups import PLAIN
from tests.fuzz.wire import mended

_CRC_BYTES = 4


def journal(data: bytes) -> None:
    """The compiled scan and the plain one find the same in a segment, and go on behind what is
    damaged to the end. What is read of an index can be written. The first bytes decide whether the
    file is understood."""
    begun, rest = data[:FILE_HEADER_BYTES], data[FILE_HEADER_BYTES:]
    for frames in (rest, mended(rest)):
        look_through(frames)
    for places in (rest, sealed_places(rest)):
        again = encode_places(decode_places(places))
        assert decode_places(again) == decode_places(places)
        assert len(again) <= len(places)
    magic = INDEX_MAGIC if begun[:8] == INDEX_MAGIC else SEGMENT_MAGIC
    header = decode_file_header(sealed(begun) if len(begun) == FILE_HEADER_BYTES else begun, magic)
    assert decode_file_header(encode_file_header(header, magic), magic) == header


def look_through(frames: bytes) -> None:
    offset = next_seq = time_ns = 0
    while offset < len(frames):
        found: Scan = scan(frames, offset, next_seq, time_ns, stop=len(frames))
        assert found == PLAIN["scan"](frames, offset, next_seq, time_ns, stop=len(frames))
        assert offset <= found.offset <= len(frames)
        assert time_ns <= found.time_ns
        if found.fault is Fault.NONE:
            break
        is_jump = found.fault in (Fault.BEHIND, Fault.AHEAD)
        behind = found.offset if is_jump else find_frame(frames, found.offset, stop=len(frames))
        if behind < 0:
            break
        assert behind >= found.offset
        offset, next_seq, time_ns = behind, 0, found.time_ns


def sealed(data: bytes) -> bytes:
    """With the CRC at the end made right."""
    body = data[:-_CRC_BYTES]
    return body + crc32(body).to_bytes(_CRC_BYTES, "little")


def sealed_places(data: bytes) -> bytes:
    places = range(0, len(data) - PLACE_BYTES + 1, PLACE_BYTES)
    return b"".join(sealed(data[at : at + PLACE_BYTES]) for at in places)
