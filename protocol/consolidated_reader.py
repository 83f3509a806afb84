"""Reads a consolidator's ring while it is written, and accounts for every number.

    reader = RingReader(files, start=OLDEST)
    for each in reader.read():
        RingRecord        the next record, checked
        Unread            numbers that cannot be read, and why

The records and the ranges of `Unread` together are exactly the numbers from `next_seq` on, each
once, and in order.

A ring has room for the newest records only, and its index for the newest only: the smaller of the
two says how far back it can be read.

           overwritten | oldest ...  records ... newest | margin |
                       ^                                ^
                       |                                tail
                       '--- `_Extent` counts: the sizes in the slots, up to the capacity

A record that fails its check was either overwritten meanwhile, and the reader was lapped, or it is
damaged. It was overwritten where the records behind it fill the ring, by their sizes, or where its
slot, read once more, has the number of a record that is stored and does not count yet.

It does no I/O: `RingFiles` gives the bytes. What they hold is never trusted.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, Protocol

import msgspec

from fanout.protocol.consolidated import (
    AROUND_BYTES,
    HEAD_BYTES,
    RECORD_BYTES,
    SLOT_BYTES,
    Head,
    Slot,
    decode_head,
    decode_record,
    decode_slots,
    require_begun,
    slot_at,
    slot_fault,
)
from fanout.protocol.errors import MalformedError

MOST: Final = 1_024
"""How many numbers a call takes at most, unless told otherwise."""

HEAD_TRIES: Final = 16
"""How often a head is read that changes meanwhile."""

LARGE_BYTES: Final = 64 * 1024
"""A record of more bytes is looked at before it is read."""

_SLOTS_AT_ONCE: Final = 4_096


class RingFiles(Protocol):
    """The two files of a ring. Less than was asked for means that a file is cut short."""

    def meta(self, offset: int, size: int) -> bytes: ...

    def data(self, offset: int, size: int) -> bytes: ...


class Why(Enum):
    """Why numbers cannot be read."""

    LAPPED = "overwritten before they were read"
    DAMAGED = "damaged"
    ANEW = "the ring was begun anew"
    OTHER = "no trade"
    """A record that is in order, and whose payload is no trade."""


class Unread(msgspec.Struct, frozen=True):
    """Numbers `first_seq` to `last_seq`, both included, that cannot be read. None, last before
    first, if a ring was begun anew: nobody knows how far it had come."""

    first_seq: int
    last_seq: int
    why: Why
    detail: str = ""

    @property
    def count(self) -> int:
        """How many numbers."""
        return self.last_seq - self.first_seq + 1


class RingRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that passed its checks. `stop` is where in NAME.data it ends, beyond the capacity
    if it wraps."""

    seq: int
    kind: int
    payload: bytes
    stop: int


class Start(Enum):
    """Where a reader begins."""

    LIVE = "live"
    """Behind the newest record."""
    OLDEST = "oldest"


class RingReader:
    """Reads a ring from a place on."""

    def __init__(self, files: RingFiles, *, start: Start | int = Start.LIVE) -> None:
        """`start` may be a number: the reader begins there, or at the oldest if that is gone.
        Raises `MalformedError` if these are no files of a ring."""
        self._files = files
        self._extent = _Extent(files)
        head = self._head()
        self.head = head
        """The head at the last look."""
        if len(files.data(head.capacity - 1, 2)) != 1:
            raise MalformedError(f"the data has not the {head.capacity:,} bytes of its head")
        if len(files.meta(head.meta_bytes - 1, 2)) != 1:
            raise MalformedError(f"the index has not the {head.slots:,} slots of its head")
        self.oldest_seq = self._extent.oldest(head)
        """The oldest number that the ring had when the reader began; one more than the newest, if
        it had none."""
        first = head.seq + 1 if start is Start.LIVE else 1 if start is Start.OLDEST else start
        self.next_seq = min(max(first, self.oldest_seq), head.seq + 1)

    def read(self, most: int = MOST) -> list[RingRecord | Unread]:
        """What follows, of at most so many numbers; empty if nothing does. Raises `MalformedError`
        if the ring is none any more."""
        self.head = head = self._head()
        found: list[RingRecord | Unread] = []
        if head.seq + 1 < self.next_seq:
            found.append(Unread(self.next_seq, self.next_seq - 1, Why.ANEW))
            self._extent = _Extent(self._files)
            self.next_seq = self._extent.oldest(head)
        if self.next_seq < head.oldest_slot:
            found.append(self._lapped(head.oldest_slot))
        last = min(head.seq, self.next_seq + most - 1)
        for seq, slot in zip(
            range(self.next_seq, last + 1),
            slots_from(self._files, head, self.next_seq, last),
            strict=True,
        ):
            if seq < self.next_seq:
                continue  # lapped, as of an earlier one
            one = self._record(seq, slot)
            found.append(one)
            self.next_seq = one.last_seq + 1 if isinstance(one, Unread) else seq + 1
        return found

    def _head(self) -> Head:
        """The head. Its words are stored one by one, so that it is read until it stands still."""
        before = self._files.meta(0, HEAD_BYTES)
        for _ in range(HEAD_TRIES):
            again = self._files.meta(0, HEAD_BYTES)
            if again == before:
                break
            before = again
        return decode_head(before)

    def _lapped(self, seq: int) -> Unread:
        """Go on at a number, since what comes before is gone."""
        lost = Unread(self.next_seq, seq - 1, Why.LAPPED)
        self.next_seq = seq
        return lost

    def _record(self, seq: int, slot: Slot) -> RingRecord | Unread:
        fault = slot_fault(slot, seq, self.head)
        if not fault:
            try:
                payload = decode_record(bytes_of(self._files, self.head, slot), slot)
                return RingRecord(seq, slot.kind, payload, slot.offset + slot.size)
            except MalformedError as error:
                fault = str(error)
        (again,) = slots_from(self._files, self.head, seq, seq)
        head = self._head()
        oldest = max(self._extent.oldest(head), head.oldest_slot)
        if seq < oldest:
            return Unread(seq, oldest - 1, Why.LAPPED)
        if again.seq > seq and (again.seq - seq) % head.slots == 0:  # stored, and not counted yet
            return Unread(seq, seq, Why.LAPPED)
        return Unread(seq, seq, Why.DAMAGED, fault)


class _Extent:
    """Counts which records the data still has.

    The size of a record stands in its slot, and is how far the next record's offset is. Where the
    two differ, the index is damaged there, and the smaller one counts: what is taken to be there
    and is not shows as damaged, and nothing that is there is left out.
    """

    def __init__(self, files: RingFiles) -> None:
        self._files = files
        self._newest = 0
        self._oldest = 1
        self._bytes = 0
        """Of the records from the oldest to the newest."""

    def oldest(self, head: Head) -> int:
        """The oldest number that nobody overwrites right now, or one more than the newest."""
        if head.seq != self._newest:
            is_known = head.oldest_slot <= self._oldest <= self._newest < head.seq
            (self._go_on if is_known else self._begin)(head, head.capacity - head.margin)
            self._newest = head.seq
        return self._oldest

    def _begin(self, head: Head, room: int) -> None:
        """Count back from the newest."""
        self._oldest, self._bytes = head.seq + 1, 0
        while self._oldest > head.oldest_slot:
            first = max(self._oldest - _SLOTS_AT_ONCE, head.oldest_slot)
            for size in reversed(self._sizes(head, first, self._oldest - 1)):
                if self._bytes + size > room:
                    return
                self._bytes += size
                self._oldest -= 1

    def _go_on(self, head: Head, room: int) -> None:
        """Count what is new, and drop what has no room any more."""
        for first in range(self._newest + 1, head.seq + 1, _SLOTS_AT_ONCE):
            self._bytes += sum(self._sizes(head, first, min(first + _SLOTS_AT_ONCE - 1, head.seq)))
        while self._bytes > room and self._oldest <= head.seq:
            last = min(self._oldest + _SLOTS_AT_ONCE - 1, head.seq)
            for size in self._sizes(head, self._oldest, last):
                if self._bytes <= room:
                    break
                self._bytes -= size
                self._oldest += 1

    def _sizes(self, head: Head, first: int, last: int) -> Sequence[int]:
        """Of these records, of which there are `_SLOTS_AT_ONCE` at the most."""
        count, capacity = last - first + 1, head.capacity
        data = _index(self._files, head, first, min(last + 1, head.seq))
        columns: Iterator[tuple[int, ...]] = zip(*decode_slots(data), strict=True)
        offsets, sizes, seqs, _ = columns
        behind = offsets[1:] if last < head.seq else (*offsets[1:], head.tail)
        offsets, sizes, seqs = offsets[:count], sizes[:count], seqs[:count]
        ends = [(each + size) % capacity for each, size in zip(offsets, sizes, strict=True)]
        if ends == [*behind] and seqs == (*range(first, last + 1),) and min(sizes) > AROUND_BYTES:
            return sizes
        return [
            max(min(size, (after - each) % capacity), AROUND_BYTES)
            if seq == number
            else AROUND_BYTES
            for number, each, size, seq, after in zip(
                range(first, last + 1), offsets, sizes, seqs, behind, strict=True
            )
        ]


def slots_from(files: RingFiles, head: Head, first: int, last: int) -> Iterator[Slot]:
    """The slots of these numbers, of which the index has all. Raises `MalformedError` if the index
    is cut short."""
    return map(Slot._make, decode_slots(_index(files, head, first, last)))


def _index(files: RingFiles, head: Head, first: int, last: int) -> bytes:
    """The bytes of these slots, which may wrap. Raises `MalformedError`."""
    parts = []
    while first <= last:
        at = slot_at(first, head.slots)
        count = min(last - first + 1, head.slots - first % head.slots)
        data = files.meta(at, count * SLOT_BYTES)
        if len(data) != count * SLOT_BYTES:
            raise MalformedError(f"the index ends in the middle, at {at + len(data):,}")
        parts.append(data)
        first += count
    return b"".join(parts)


def bytes_of(files: RingFiles, head: Head, slot: Slot) -> bytes:
    """The bytes of the record that a slot names. Before many are read, the record's own size has to
    say the same. Raises `MalformedError`."""
    if slot.size > LARGE_BYTES:
        require_begun(_wrapped(files, head, slot.offset, RECORD_BYTES), slot)
    return _wrapped(files, head, slot.offset, slot.size)


def _wrapped(files: RingFiles, head: Head, offset: int, size: int) -> bytes:
    """Bytes of the data, which may wrap. Raises `MalformedError`."""
    room = head.capacity - offset
    data = files.data(offset, min(size, room))
    if size > room:
        data += files.data(0, size - room)
    if len(data) != size:
        raise MalformedError(f"the data ends in the middle of the record at {offset:,}")
    return data
