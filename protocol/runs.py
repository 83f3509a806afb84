"""What blocks of every kind have in common: how they begin, and how an item names its instrument.

    u8   kind, 0x10 to 0x1F
    u8   flags: 1 back-filled, 2 snapshot
    u8   of the kind's own use
    u16  count, at least 1
    u64  first_seq
    u64  received_ns
    varint  held_ns
    count x item
    u32  CRC-32

    item:   u8 head: the index's five lowest bits, 0x20 more of it follows; 0x40 and 0x80 are the
               kind's own
            what the kind's own bits announce
            varint index >> 5, if the head has 0x20
            ...

An item is a delta to the item of the same instrument before it in the same block, or else to the
header's reference. So a block decodes alone, given the header.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812

from fanout.protocol.book_records import BookBlock, OrderBlock, QuoteBlock
from fanout.protocol.constants import (
    CRC_BYTES,
    I64_MIN,
    LOW_INDEX,
    LOW_INDEX_BITS,
    MAX_INSTRUMENTS,
    MAX_SEQ,
    MORE_BIT,
    BlockFlags,
    FrameKind,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.feature_rows import FeatureBlock
from fanout.protocol.framing import seal, unseal
from fanout.protocol.records import Block, Header, Reference
from fanout.protocol.varint import append_varint, read_varint

_PREFIX = Struct("<BBBHQQ")
assert _PREFIX.size == 21

_FIRST_SEQ = Struct("<Q")
_FIRST_SEQ_AT = Struct("<BBBH").size

_MAX_HIGH_INDEX = (MAX_INSTRUMENTS - 1) >> LOW_INDEX_BITS
assert _MAX_HIGH_INDEX < 0x80, "the higher bits take one byte: the longest items count on it"

_SNAPSHOT = BlockFlags.SNAPSHOT.value

FLAGS = tuple(BlockFlags(bits & 0x03) for bits in range(256))
"""A block's flags, by the byte that has them."""

AnyBlock = Block | QuoteBlock | BookBlock | OrderBlock | FeatureBlock

Opened = tuple[bytes, int, int, int, Sequence[int], int, int, int]
"""A payload without its CRC, the offset of the first item, the flags' byte, the kind's own byte,
the sequence number of each item, the block's `first_seq`, `received_ns` and `held_ns`."""


def require_count(count: int, most: int, records: str) -> None:
    """Raises `NotRepresentableError` for a block of no records, or of more than `most`."""
    if not 1 <= count <= most:
        raise NotRepresentableError(f"{count:,} {records}: 1 to {most:,} fit")


def begun(block: AnyBlock, kind: FrameKind, own: int, count: int) -> bytearray:
    """The first bytes of a block, up to its items. Raises `NotRepresentableError`."""
    last_seq = block.first_seq
    if not int(block.flags) & _SNAPSHOT:
        last_seq += count - 1
    if not block.first_seq >= 1 or last_seq > MAX_SEQ:
        raise NotRepresentableError(f"sequence number {block.first_seq} is out of range")
    try:
        body = bytearray(
            _PREFIX.pack(kind, block.flags, own, count, block.first_seq, block.received_ns)
        )
    except StructError as error:
        raise NotRepresentableError(f"received_ns {block.received_ns} does not fit") from error
    append_varint(body, block.held_ns)
    return body


def opened(payload: bytes, kind: FrameKind, most: int, items: str) -> Opened:
    """The first fields of a block that may have `most` items. Raises `PeerError`.

    The records of a snapshot have no numbers: they are from before the reader joined, and the
    block's number is the one that follows.
    """
    body = unseal(payload)
    if len(body) < _PREFIX.size or body[0] != kind:
        raise MalformedError(f"payload of {len(payload)} bytes is not a block of {items}")
    _, bits, own, count, first_seq, received_ns = _PREFIX.unpack_from(body)
    if not 1 <= count <= most:
        raise LimitExceededError(f"block of {count:,} {items}: 1 to {most:,} allowed")
    is_snapshot = bits & _SNAPSHOT
    if not 1 <= first_seq <= (MAX_SEQ if is_snapshot else MAX_SEQ - count + 1):
        raise MalformedError(f"sequence number {first_seq} is out of range")
    held_ns, offset = read_varint(body, _PREFIX.size)
    seqs = [0] * count if is_snapshot else range(first_seq, first_seq + count)
    return body, offset, bits, own, seqs, first_seq, received_ns, held_ns


def renumbered(payload: bytes, first_seq: int) -> bytes:
    """The payload of a snapshot for a reader that goes on at another number: `first_seq` and the
    CRC are all that changes. `payload` is one of ours, so it is not looked at."""
    body = bytearray(payload[:-CRC_BYTES])
    _FIRST_SEQ.pack_into(body, _FIRST_SEQ_AT, first_seq)
    return seal(body)


def append_head(body: bytearray, index: int, own_bits: int, between: bytes = b"") -> None:
    """The head of an item, with the kind's own bits and what they announce, and the index."""
    high = index >> LOW_INDEX_BITS
    if not high:
        body.append(index | own_bits)
        body += between
        return
    body.append(index & LOW_INDEX | own_bits | MORE_BIT)
    body += between
    body.append(high)


def read_index(body: bytes, offset: int, head: int) -> tuple[int, int]:
    """The index in an item's head, of which more may follow at `offset`; and the offset behind
    it. Raises `MalformedError`."""
    index = head & LOW_INDEX
    if not head & MORE_BIT:
        return index, offset
    high, offset = read(body, offset)
    if not high:
        raise MalformedError(f"index {index} is longer than it needs to be")
    return index | high << LOW_INDEX_BITS, offset


def reference_at(header: Header, index: int) -> Reference:
    """The reference that a received item begins at. Raises `MalformedError`."""
    if index >= len(header.references):
        raise MalformedError(f"instrument index {index} is not in the header")
    return header.references[index]


def require_index(header: Header, index: int) -> None:
    """Raises `NotRepresentableError` for an index that the header does not have."""
    if not 0 <= index < len(header.references):
        raise NotRepresentableError(f"instrument index {index} is not in the header")


def read(body: bytes, offset: int) -> tuple[int, int]:
    """`read_varint`, quick for the values of one or two bytes that most are. Raises `IndexError`,
    too, where the body ends."""
    low = body[offset]
    if low < 0x80:
        return low, offset + 1
    high = body[offset + 1]
    if 0 < high < 0x80:
        return low & 0x7F | high << 7, offset + 2
    return read_varint(body, offset)


def as_i64(value: int) -> int:
    """The price that a sum is, modulo 2**64."""
    return (value - I64_MIN) % 2**64 + I64_MIN
