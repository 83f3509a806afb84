"""LEB128 varints and zigzag: small numbers in few bytes.

A varint holds the value's bits in groups of seven, lowest group first. The high bit is set on all
groups but the last. A varint is unsigned, at most 64 bits wide, and minimal: a decoder refuses a
last group of zero, so each value has exactly one encoding. Zigzag maps signed values to unsigned
ones: 0, -1, 1, -2 become 0, 1, 2, 3.

Deltas are modulo 2**64, so that any value can follow any other.
"""

from fanout.protocol.constants import MAX_VARINT_BYTES, U64_MAX
from fanout.protocol.errors import MalformedError, NotRepresentableError


def append_varint(out: bytearray, value: int) -> None:
    """Append `value`, 0 to 2**64 - 1, to `out`."""
    if not 0 <= value <= U64_MAX:
        raise NotRepresentableError(f"{value} does not fit an unsigned 64-bit varint")
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the varint at `offset` and the offset behind it. Raises `MalformedError`."""
    value = 0
    end = offset + MAX_VARINT_BYTES
    for position, byte in enumerate(data[offset:end]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return _checked(value, byte, position), offset + position + 1
    if len(data) < end:
        raise MalformedError(f"varint at offset {offset} is cut short")
    raise MalformedError(f"varint at offset {offset} exceeds {MAX_VARINT_BYTES} bytes")


def _checked(value: int, last_byte: int, position: int) -> int:
    if last_byte == 0 and position > 0:
        raise MalformedError(f"varint of {value} is longer than it needs to be")
    if value > U64_MAX:
        raise MalformedError(f"varint of {value} exceeds 64 bits")
    return value


def zigzag(value: int) -> int:
    """Map a difference of 64-bit values, taken modulo 2**64, to an unsigned number."""
    folded = value << 1 if value >= 0 else ~(value << 1)
    if folded <= U64_MAX:
        return folded
    wrapped = (value + 2**63) % 2**64 - 2**63
    return wrapped << 1 if wrapped >= 0 else ~(wrapped << 1)


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`: -2**63 to 2**63 - 1."""
    return value >> 1 if not value & 1 else ~(value >> 1)
