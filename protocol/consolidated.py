"""The rings of a consolidator: the layout of a pair of files, NAME.meta and NAME.data.

One writer appends records, and any number of readers follow. The layout is another program's, so
nothing can be added to it. It has no epoch and no place for a loss. All integers are little-endian.

    NAME.meta
        0  magic          RINGV1, two zeros
        8  capacity       u64, bytes of NAME.data
       16  tail           u64, where in NAME.data the next record begins
       24  sequence       u64, of the newest record; 0 before the first
       32  slots          u64, how many the index has
       40  index          a slot for each of the newest records, at sequence % slots

    slot, 24 bytes
        0  offset         u64, in NAME.data
        8  size           u32, of the whole record
       12  sequence       u64
       20  kind           u8
       21  zeros

    record, in NAME.data: one behind the other, and from the end on at the beginning again
        0  payload size   u32
        4  kind           u8, 1 a trade, 0 a book snapshot
        5  zeros
       12  sequence       u64
       20  payload        JSON, see `consolidated_trade`
        .  crc            u32, CRC-32 (zlib's) of all before it

The writer stores data, slots, tail and sequence, in this order. So a record counts once the
sequence does. A writer that was killed in between leaves data and slots that nobody reads, and that
the next writer stores again. Meanwhile the oldest records in that place are gone: `MARGIN_BYTES`.

A first record, and the head of NAME.meta after it in a ring of 8,192 bytes and 128 slots:

    31000000 01 00000000000000 0100000000000000
    7b2265786368616e6765223a2242494e414e4345222c226173736574223a2242544355534454222c227078223a312e
    357d 5ceb99b9

    52494e4756310000 0020000000000000 4900000000000000 0100000000000000 8000000000000000
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from fanout.protocol.constants import MAX_SEQ
from fanout.protocol.errors import ChecksumError, MalformedError

MAGIC: Final = b"RINGV1\0\0"
META: Final = ".meta"
DATA: Final = ".data"
_CHUNK: Final = "_trade_chunk"
"""Between the parts of a NAME."""

BOOK: Final = 0
TRADE: Final = 1

_HEAD: Final = Struct("<8s4Q")
_SLOT: Final = Struct("<QIQB3x")
_RECORD: Final = Struct("<IB7xQ")
_CRC: Final = Struct("<I")
HEAD_BYTES: Final = _HEAD.size
SLOT_BYTES: Final = _SLOT.size
RECORD_BYTES: Final = _RECORD.size
"""What stands in front of a payload."""
AROUND_BYTES: Final = RECORD_BYTES + _CRC.size
"""What a record takes beside its payload."""
assert (HEAD_BYTES, SLOT_BYTES, AROUND_BYTES) == (40, 24, 24)

TAIL_AT: Final = 16
SEQUENCE_AT: Final = 24

MIN_CAPACITY_BYTES: Final = 4_096
MIN_SLOTS: Final = 16
MAX_CAPACITY_BYTES: Final = 2**35
MAX_SLOTS: Final = 2**27
"""What a reader believes of a head. They bound how long it counts what the data has."""

MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
"""The longest record that a reader believes in: more than any exchange's book as JSON."""

MARGIN_BYTES: Final = 64 * 1024
"""A writer stores at most so much before it counts it, and at most an eighth of a ring."""


class Head(msgspec.Struct, frozen=True):
    """The head of NAME.meta."""

    capacity: int
    tail: int
    seq: int
    slots: int

    @property
    def meta_bytes(self) -> int:
        """How long NAME.meta is."""
        return HEAD_BYTES + self.slots * SLOT_BYTES

    @property
    def margin(self) -> int:
        """How many bytes behind the tail may be overwritten already."""
        return min(MARGIN_BYTES, self.capacity // 8)

    @property
    def oldest_slot(self) -> int:
        """The oldest sequence number that has a slot; 1 as long as the index was never full."""
        return max(self.seq - self.slots, 0) + 1


class Slot(NamedTuple):
    """A slot of the index."""

    offset: int
    size: int
    seq: int
    kind: int


class Store(NamedTuple):
    """Bytes, and where in a file they go."""

    offset: int
    data: bytes


class Stores(msgspec.Struct, frozen=True):
    """All that a writer stores to append records. `head` comes last, tail before sequence."""

    data: list[Store]
    slots: list[Store]
    head: Head


def ring_name(channel: str, chunk: int) -> str:
    """The NAME of a ring's files: the exchange's word, and the number of its part of the
    symbols."""
    return f"{channel}{_CHUNK}{chunk}"


def channel_of(ring: str) -> str:
    """The exchange's word in the NAME of a ring: fanout's channel. All of a NAME that has none."""
    return ring.partition(_CHUNK)[0]


def encode_head(head: Head) -> bytes:
    """The first bytes of NAME.meta."""
    return _HEAD.pack(MAGIC, head.capacity, head.tail, head.seq, head.slots)


def decode_head(data: bytes) -> Head:
    """The head in the first bytes of NAME.meta. Raises `MalformedError`."""
    if len(data) < HEAD_BYTES:
        raise MalformedError(f"no ring: {len(data)} bytes, and a head has {HEAD_BYTES}")
    magic, capacity, tail, seq, slots = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise MalformedError(f"no ring: it begins with {magic!r} in place of {MAGIC!r}")
    if not MIN_CAPACITY_BYTES <= capacity <= MAX_CAPACITY_BYTES:
        raise MalformedError(
            f"a ring of {capacity:,} bytes: {MIN_CAPACITY_BYTES:,} to {MAX_CAPACITY_BYTES:,}"
        )
    if not MIN_SLOTS <= slots <= MAX_SLOTS:
        raise MalformedError(f"a ring of {slots:,} slots: {MIN_SLOTS} to {MAX_SLOTS:,}")
    if seq > MAX_SEQ:
        raise MalformedError(f"a ring at number {seq:,}: up to {MAX_SEQ:,}")
    if tail >= capacity:
        raise MalformedError(f"tail {tail:,} of a ring of {capacity:,} bytes")
    return Head(capacity, tail, seq, slots)


def slot_at(seq: int, slots: int) -> int:
    """Where in NAME.meta the slot of a record is."""
    return HEAD_BYTES + seq % slots * SLOT_BYTES


def decode_slots(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the slots in bytes of NAME.meta, as those of `Slot`."""
    return _SLOT.iter_unpack(data)


def encode_record(kind: int, seq: int, payload: bytes) -> bytes:
    """A record."""
    body = _RECORD.pack(len(payload), kind, seq) + payload
    return body + _CRC.pack(crc32(body))


def decode_record(data: bytes, slot: Slot) -> bytes:
    """The payload of the record that a slot names, of which `data` has all bytes. Raises
    `MalformedError`, and `ChecksumError` for a record that is damaged otherwise."""
    require_begun(data, slot)
    body = data[: -_CRC.size]
    (crc,) = _CRC.unpack_from(data, len(body))
    if crc != crc32(body):
        raise ChecksumError(f"CRC {crc32(body):08x}, and the record says {crc:08x}")
    return body[_RECORD.size :]


def require_begun(data: bytes, slot: Slot) -> None:
    """Raises `MalformedError` if these first bytes are not of the record that a slot names."""
    size, kind, seq = _RECORD.unpack_from(data)
    if (size + AROUND_BYTES, kind, seq) != (slot.size, slot.kind, slot.seq):
        raise MalformedError(f"no record begins at {slot.offset:,}, where the index says so")


def slot_fault(slot: Slot, seq: int, head: Head) -> str:
    """Why a slot cannot be that of a record, in words; empty if it can."""
    if slot.seq != seq:
        return f"its slot has number {slot.seq:,}"
    if slot.offset >= head.capacity:
        return f"its slot points to {slot.offset:,}, beyond the data's {head.capacity:,} bytes"
    if not AROUND_BYTES <= slot.size <= min(head.capacity, MAX_RECORD_BYTES):
        return f"its slot gives it {slot.size:,} bytes"
    return ""


def stores_of(head: Head, records: Sequence[bytes], kind: int) -> Stores:
    """What appends these records, the first of which has the number behind the head's. Together
    they are no more than the head's margin, and no more than its slots, for the sake of readers."""
    assert len(records) <= head.slots, "a batch is smaller than the index"
    tail, seq, slots = head.tail, head.seq, bytearray()
    for each in records:
        seq += 1
        slots += _SLOT.pack(tail, len(each), seq, kind)
        tail = (tail + len(each)) % head.capacity
    joined = b"".join(records)
    assert len(joined) <= head.capacity, "a batch is smaller than the ring"
    first = (head.seq + 1) % head.slots
    return Stores(
        list(_wrapped(joined, head.tail, head.capacity, 0)),
        list(_wrapped(slots, first * SLOT_BYTES, head.slots * SLOT_BYTES, HEAD_BYTES)),
        Head(head.capacity, tail, seq, head.slots),
    )


def _wrapped(data: bytes | bytearray, offset: int, length: int, base: int) -> Iterator[Store]:
    """The same bytes in a ring of a length that begins at `base`: in two parts where it wraps."""
    room = length - offset
    yield Store(base + offset, bytes(data[:room]))
    if len(data) > room:
        yield Store(base, bytes(data[room:]))
