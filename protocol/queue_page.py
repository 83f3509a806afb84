"""The page in front of a shared-memory queue: who writes, who reads, and how far they are.

A queue is one file: this page, then the data area, which holds frames exactly as TCP carries
them and begins again at its start when it comes to its end.

     byte  word
        0    0  magic            "fanoutq\\0", written last: until then there is no queue
        8    1  layout version   3
       16    2  capacity         bytes of the data area, a power of two
       24    3  epoch            unix ns, of the session header
       32    4  writer pid       for messages; the lock on these eight bytes says who writes
       40    5  reader pid       likewise
       48    6  state            0 live, 1 ended
       56    7  reserved
       64    8  write cursor     -- a cache line of the writer's
       72    9  mark             a write cursor, and
       80   10  mark seq         the sequence number of what comes there
       88   11  reserved
      128   16  read cursor      -- a cache line of the reader's
      136   17  readers          how many have attached so far
      144   18  resume           the number at which the next reader goes on; see below
      152   19  reserved
      192   24  heartbeat        -- changes at least once a second while the writer runs
      200   25  dropped frames   that found no room
      208   26  dropped numbers  sequence numbers that went with them
      216   27  reserved
      256       tail             u64 length, 312 bytes: the last frames of a writer that ended
      576       header slot 0    u64 from, u64 length, 231,120 bytes
   231712       header slot 1    likewise
   462848       data

Words are u64, little-endian and aligned; reserved bytes are zero. Cursors are free-running: they
count bytes modulo 2**64, and a place in the data area is a cursor modulo the capacity.

A *header slot* holds the header that counts from a cursor on, as the frames of `header.opening`.
There are two, so that the one that counts for the unread frames stays while the writer fills the
other. A slot has room for every header that there can be.

*resume* is for a reader that leaves in the middle of a frame: the frame stays unread, and the next
reader goes on at that sequence number. A number that the first unread frame does not have means
nothing.

The magic, the version and the two locks keep their places in every layout to come.
"""

from typing import Final

from fanout.protocol.constants import CRC_BYTES, LENGTH_BYTES, MAX_TEXT_BYTES, U64_MAX
from fanout.protocol.errors import LimitExceededError, MalformedError
from fanout.protocol.header import MAX_OPENING_BYTES
from fanout.protocol.shared_end import Buffer, SharedEnd

MAGIC: Final = int.from_bytes(b"fanoutq\0", "little")
LAYOUT_VERSION: Final = 3

WORD_BYTES: Final = 8
LINE_WORDS: Final = 8
"""A cache line. What the writer writes and what the reader writes share none."""

MAGIC_WORD: Final = 0
VERSION_WORD: Final = MAGIC_WORD + 1
CAPACITY_WORD: Final = VERSION_WORD + 1
EPOCH_WORD: Final = CAPACITY_WORD + 1
WRITER_PID_WORD: Final = EPOCH_WORD + 1
READER_PID_WORD: Final = WRITER_PID_WORD + 1
STATE_WORD: Final = READER_PID_WORD + 1

WRITE_WORD: Final = MAGIC_WORD + LINE_WORDS
MARK_WORD: Final = WRITE_WORD + 1
MARK_SEQ_WORD: Final = MARK_WORD + 1

READ_WORD: Final = WRITE_WORD + LINE_WORDS
READERS_WORD: Final = READ_WORD + 1
RESUME_WORD: Final = READERS_WORD + 1

HEARTBEAT_WORD: Final = READ_WORD + LINE_WORDS
DROPPED_FRAMES_WORD: Final = HEARTBEAT_WORD + 1
DROPPED_NUMBERS_WORD: Final = DROPPED_FRAMES_WORD + 1

TAIL_AT: Final = (HEARTBEAT_WORD + LINE_WORDS) * WORD_BYTES
MAX_TAIL_BYTES: Final = 312
"""Room for a LOSS and the longest END."""

MAX_HEADER_BYTES: Final = 231_120
"""Limit of a header with its instruments: all that there can be, rounded up to whole pages."""

HEADER_SLOTS_AT: Final = (
    TAIL_AT + WORD_BYTES + MAX_TAIL_BYTES,
    TAIL_AT + WORD_BYTES + MAX_TAIL_BYTES + 2 * WORD_BYTES + MAX_HEADER_BYTES,
)

PAGE_BYTES: Final = HEADER_SLOTS_AT[1] + 2 * WORD_BYTES + MAX_HEADER_BYTES

HEAD_BYTES: Final = 4096
"""The first bytes of every layout there has been: enough for `check_page`."""

MIN_CAPACITY_BYTES: Final = 4096
MAX_CAPACITY_BYTES: Final = 2**30
"""Limit of the data area. Protects a reader from mapping what a corrupt page asks for."""

ENDED: Final = 1

assert (TAIL_AT, HEADER_SLOTS_AT, PAGE_BYTES) == (256, (576, 231_712), 462_848)
assert MAX_HEADER_BYTES >= MAX_OPENING_BYTES
assert PAGE_BYTES % 4096 == 0
assert WRITE_WORD * WORD_BYTES % 64 == READ_WORD * WORD_BYTES % 64 == 0
assert MAX_TAIL_BYTES >= (LENGTH_BYTES + 18 + CRC_BYTES) + (
    LENGTH_BYTES + 14 + 1 + MAX_TEXT_BYTES + CRC_BYTES
)


_NEVER: Final = 2**63
"""Half of all cursors: a cursor that seems to lie further back lies ahead."""

View = memoryview


class NotAQueueError(MalformedError):
    """The file is not a shared-memory queue, or its writer has not finished making it."""


class LayoutVersionError(MalformedError):
    """A queue that another version of this package laid out."""


class TruncatedQueueError(MalformedError):
    """Not as long as its page says: cut short, or grown."""


class QueueEnd(SharedEnd):
    """The part that both ends have. Their buffer is writable, and their position a cursor."""

    __slots__ = ()

    def __init__(self, buffer: Buffer, capacity: int) -> None:
        super().__init__(buffer, page_bytes=PAGE_BYTES, data_at=PAGE_BYTES, capacity=capacity)

    def _nonsense(self, unread: int) -> MalformedError:
        return MalformedError(f"{unread:,} bytes unread in a queue of {self.capacity:,}")


def check_capacity(capacity: int) -> None:
    """Raises `LimitExceededError` unless `capacity` is a power of two within the limits."""
    if not MIN_CAPACITY_BYTES <= capacity <= MAX_CAPACITY_BYTES or capacity & (capacity - 1):
        raise LimitExceededError(
            f"capacity of {capacity:,} bytes: a power of two from {MIN_CAPACITY_BYTES:,} "
            f"to {MAX_CAPACITY_BYTES:,} is needed"
        )


def check_page(words: View, size_bytes: int) -> int:
    """The capacity of a queue of `size_bytes` that starts with these words. It is loaded once:
    whoever may write to the file may change it at any time.

    Raises `MalformedError` or `LimitExceededError`.
    """
    if words[MAGIC_WORD] != MAGIC:
        raise NotAQueueError("it is not a shared-memory queue of a fanout")
    if words[VERSION_WORD] != LAYOUT_VERSION:
        raise LayoutVersionError(
            f"queue of layout {words[VERSION_WORD]}: this reader knows {LAYOUT_VERSION}"
        )
    capacity = words[CAPACITY_WORD]
    check_capacity(capacity)
    if size_bytes != PAGE_BYTES + capacity:
        raise TruncatedQueueError(
            f"queue of {size_bytes:,} bytes: {PAGE_BYTES + capacity:,} by its page"
        )
    return capacity


def write_header(page: View, words: View, slot: int, header: bytes, cursor: int) -> None:
    """Fill a header slot that no reader needs with the frames of a header and its instruments. The
    length is 0 while the slot is not whole."""
    assert len(header) <= MAX_HEADER_BYTES, "a slot has room for every opening"
    at = HEADER_SLOTS_AT[slot]
    start, length = at // WORD_BYTES, at // WORD_BYTES + 1
    words[length] = 0
    at += 2 * WORD_BYTES
    page[at : at + len(header)] = header
    words[start] = cursor
    words[length] = len(header)


def header_start(words: View, slot: int) -> int:
    """The cursor from which a slot's header counts."""
    return words[HEADER_SLOTS_AT[slot] // WORD_BYTES]


def read_header(page: View, words: View, cursor: int) -> bytes:
    """The frames of the header that counts at `cursor`. Raises `MalformedError` if there is
    none."""
    at = min(HEADER_SLOTS_AT, key=lambda slot: _age(words, slot, cursor))
    if _age(words, at, cursor) >= _NEVER:
        raise MalformedError("the queue has no session header")
    start, length = _slot(words, at)
    if length > MAX_HEADER_BYTES:
        raise MalformedError(f"session header of {length:,} bytes exceeds {MAX_HEADER_BYTES:,}")
    header = page[at + 2 * WORD_BYTES : at + 2 * WORD_BYTES + length].tobytes()
    # The writer writes to the other slot only, as long as this one may be needed.
    if (start, length) != _slot(words, at):
        raise MalformedError("the session header changed while it was read")
    return header


def _age(words: View, at: int, cursor: int) -> int:
    """How far before `cursor` a slot's header starts; at least `_NEVER` if it is empty or starts
    behind it."""
    start, length = _slot(words, at)
    return (cursor - start) & U64_MAX if length else _NEVER


def _slot(words: View, at: int) -> tuple[int, int]:
    """A slot's cursor and length."""
    return words[at // WORD_BYTES], words[at // WORD_BYTES + 1]


def write_tail(page: View, words: View, tail: bytes) -> None:
    """Raises `LimitExceededError`."""
    if len(tail) > MAX_TAIL_BYTES:
        raise LimitExceededError(f"tail of {len(tail):,} bytes exceeds {MAX_TAIL_BYTES}")
    at = TAIL_AT + WORD_BYTES
    page[at : at + len(tail)] = tail
    words[TAIL_AT // WORD_BYTES] = len(tail)


def read_tail(page: View, words: View) -> bytes:
    """Raises `MalformedError`."""
    length = words[TAIL_AT // WORD_BYTES]
    if length > MAX_TAIL_BYTES:
        raise MalformedError(f"tail of {length:,} bytes exceeds {MAX_TAIL_BYTES}")
    at = TAIL_AT + WORD_BYTES
    return page[at : at + length].tobytes()
