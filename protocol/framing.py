"""Frames: a length, then that many bytes; and the CRC at a payload's end.

`FrameReader` takes whatever a socket brings, in pieces of any size, and gives payloads. It holds
at most one incomplete frame, and refuses a length over the limit before it waits for the rest.
"""

from struct import Struct
from zlib import crc32

from fanout.protocol.constants import CRC_BYTES, LENGTH_BYTES, MAX_FRAME_BYTES
from fanout.protocol.errors import ChecksumError, LimitExceededError, MalformedError

_U32 = Struct("<I")


def frame(payload: bytes) -> bytes:
    """`payload` behind its length."""
    if not 0 < len(payload) <= MAX_FRAME_BYTES:
        raise LimitExceededError(f"frame of {len(payload):,} bytes: 1 to {MAX_FRAME_BYTES:,} fit")
    return _U32.pack(len(payload)) + payload


def seal(body: bytes | bytearray) -> bytes:
    """`body` and its CRC: a payload."""
    return bytes(body) + _U32.pack(crc32(body))


def unseal(payload: bytes) -> bytes:
    """The body of a payload whose CRC is right. Raises `ChecksumError` or `MalformedError`."""
    body, crc = payload[:-CRC_BYTES], payload[-CRC_BYTES:]
    if not body:
        raise MalformedError(f"payload of {len(payload)} bytes holds no kind and CRC")
    if crc32(body) != _U32.unpack(crc)[0]:
        raise ChecksumError(f"CRC of a payload of {len(payload):,} bytes does not match")
    return body


def payloads_of(frames: bytes) -> list[bytes]:
    """The payloads of whole frames. Raises `LimitExceededError` as `FrameReader` does."""
    reader = FrameReader()
    reader.feed(frames)
    return list(iter(reader.next_payload, None))


class FrameReader:
    """Bytes in, payloads out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0

    def feed(self, data: bytes) -> None:
        """Take what a read brought. Payloads that were taken out are forgotten now."""
        del self._buffer[: self._offset]
        self._offset = 0
        self._buffer += data

    def next_payload(self) -> bytes | None:
        """The next complete payload, or None until more bytes come.

        Raises `LimitExceededError` for a length that is 0 or over the limit; the stream has no
        frames after that.
        """
        buffer, offset = self._buffer, self._offset
        start = offset + LENGTH_BYTES
        if len(buffer) < start:
            return None
        (length,) = _U32.unpack_from(buffer, offset)
        if not 0 < length <= MAX_FRAME_BYTES:
            raise LimitExceededError(f"frame of {length:,} bytes: 1 to {MAX_FRAME_BYTES:,} allowed")
        end = start + length
        if len(buffer) < end:
            return None
        self._offset = end
        return bytes(buffer[start:end])
