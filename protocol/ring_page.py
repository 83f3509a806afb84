"""The page and the table of readers in front of a ring in shared memory.

A ring is one file: this page, which only the writer writes; the table, a memory page of its own, so
that a reader maps nothing else for writing; and the data area, which holds frames exactly as TCP
carries them and begins again at its start when it comes to its end.

     byte  word
        0    0  magic            "fanoutr\\0", written last: until then there is no ring
        8    1  layout version   2
       16    2  capacity         bytes of the data area, a power of two
       24    3  epoch            unix ns, of the session header
       32    4  writer pid       for messages; the lock on these eight bytes says who writes
       40    5  reserved
       48    6  state            0 live, 1 ended
       56    7  reserved
       64    8  intent           where the newest frames end that the writer began to write
       72    9  next seq         the sequence number that comes at the tail
       80   10  tail             where the newest whole frames end
       88   11  reserved
      128   16  heartbeat        changes at least once a second while the writer runs
      136   17  reserved
      192   24  snapshot version odd while the next three words change; 0: there was none yet
      200   25  snapshot from    where the newest whole snapshot begins
      208   26  snapshot to      where it ends
      216   27  snapshot seq     the sequence number that comes at `from`
      224   28  snapshot state   1 while the writer writes a snapshot, else 0
      232   29  reserved
      256   32  landmarks        64 places where a frame begins: u64 position, u64 sequence number
     1280       header slot 0    u64 version, u64 from, u64 length, u64 reserved, 231,120 bytes
   232432       header slot 1    likewise
   463584       reserved
   466944       table            64 readers, 64 bytes each, see below
   471040       data

     byte  word of a reader
        0    0  pid              0: nobody; the lock on these eight bytes says who has the entry
        8    1  cursor           where the reader is, as of its last note
       16    2  lapped           how many times the writer overwrote what it had not read
       24    3  lost             sequence numbers that it lost so
       32    4  wants            a counter: each change of it asks the writer for a snapshot
       40    5  reserved

Words are u64, little-endian and aligned; reserved bytes are zero. Positions are free-running: they
count bytes modulo 2**64, and a place in the data area is a position modulo the capacity.

A *landmark* lets a reader begin behind the live end. Its sequence number is the one that comes
there; 0 marks a landmark that is not set, or is about to change. The writer sets one each time it
has written another 64th of the capacity, and at each change of the header.

A *header slot* holds the header that counts from a position on, as the frames of `header.opening`.
There are two: the newest, and the one before. Its version is odd while the writer changes the slot.

The magic, the version and the writer's lock keep their places in every layout to come, and are
where a queue has them.
"""

from typing import Final

from fanout.protocol.constants import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_SEQ, U64_MAX
from fanout.protocol.errors import MalformedError
from fanout.protocol.header import MAX_OPENING_BYTES
from fanout.protocol.queue_page import (
    LINE_WORDS,
    MAX_HEADER_BYTES,
    WORD_BYTES,
    check_capacity,
)
from fanout.protocol.shared_end import Buffer, SharedEnd

MAGIC: Final = int.from_bytes(b"fanoutr\0", "little")
LAYOUT_VERSION: Final = 2

MAGIC_WORD: Final = 0
VERSION_WORD: Final = MAGIC_WORD + 1
CAPACITY_WORD: Final = VERSION_WORD + 1
EPOCH_WORD: Final = CAPACITY_WORD + 1
WRITER_PID_WORD: Final = EPOCH_WORD + 1
STATE_WORD: Final = WRITER_PID_WORD + 2

INTENT_WORD: Final = MAGIC_WORD + LINE_WORDS
NEXT_SEQ_WORD: Final = INTENT_WORD + 1
TAIL_WORD: Final = NEXT_SEQ_WORD + 1

HEARTBEAT_WORD: Final = INTENT_WORD + LINE_WORDS

SNAPSHOT_VERSION_WORD: Final = HEARTBEAT_WORD + LINE_WORDS
SNAPSHOT_FROM_WORD: Final = SNAPSHOT_VERSION_WORD + 1
SNAPSHOT_TO_WORD: Final = SNAPSHOT_FROM_WORD + 1
SNAPSHOT_SEQ_WORD: Final = SNAPSHOT_TO_WORD + 1
SNAPSHOT_STATE_WORD: Final = SNAPSHOT_SEQ_WORD + 1

LANDMARKS: Final = 64
"""How many places there are at which a reader can begin."""

LANDMARK_WORDS: Final = range(
    SNAPSHOT_VERSION_WORD + LINE_WORDS, SNAPSHOT_VERSION_WORD + LINE_WORDS + 2 * LANDMARKS, 2
)
"""The position of each landmark; its sequence number is in the next word."""

_SLOT_BYTES: Final = 4 * WORD_BYTES + MAX_HEADER_BYTES

HEADER_SLOTS_AT: Final = (
    LANDMARK_WORDS.stop * WORD_BYTES,
    LANDMARK_WORDS.stop * WORD_BYTES + _SLOT_BYTES,
)

MEMORY_PAGE_BYTES: Final = 4096

HEAD_BYTES: Final = MEMORY_PAGE_BYTES
"""The first bytes of every layout to come: enough for `check_page`."""

PAGE_BYTES: Final = -(-(HEADER_SLOTS_AT[1] + _SLOT_BYTES) // MEMORY_PAGE_BYTES) * MEMORY_PAGE_BYTES

READERS: Final = 64
"""Room of the table. A reader that finds it full reads all the same, and is not listed."""

READER_WORDS: Final = LINE_WORDS
"""An entry is a cache line: readers share none."""

PID_WORD: Final = 0
CURSOR_WORD: Final = PID_WORD + 1
LAPPED_WORD: Final = CURSOR_WORD + 1
LOST_WORD: Final = LAPPED_WORD + 1
WANTS_WORD: Final = LOST_WORD + 1

TABLE_AT: Final = PAGE_BYTES
TABLE_BYTES: Final = READERS * READER_WORDS * WORD_BYTES
DATA_AT: Final = TABLE_AT + TABLE_BYTES

ENDED: Final = 1

SESSION_BYTES: Final = 2**19
"""Least capacity for the frames of a session: a quarter of it holds the longest frame, and that is
the most that is pushed at once."""

STEP_BYTES: Final = 16 * 1024
"""Most bytes that are copied into the ring at once. The C library copies longer pieces by stores
that may overtake the ones before, from 16,448 bytes on at the earliest."""

TRIES: Final = 100
"""How often a reader looks again at words that change while it looks at them. One more than two
tries are rare: the writer has to change them each time within a microsecond."""

assert (LANDMARK_WORDS.start, HEADER_SLOTS_AT) == (32, (1_280, 232_432))
assert (TABLE_AT, TABLE_BYTES, DATA_AT) == (466_944, MEMORY_PAGE_BYTES, 471_040)
assert MAX_HEADER_BYTES >= MAX_OPENING_BYTES
assert SESSION_BYTES // 4 >= LENGTH_BYTES + MAX_FRAME_BYTES
assert INTENT_WORD // LINE_WORDS == TAIL_WORD // LINE_WORDS

View = memoryview


class NotARingError(MalformedError):
    """The file is not a ring in shared memory, or its writer has not finished making it."""


class RingVersionError(MalformedError):
    """A ring that another version of this package laid out."""


class TruncatedRingError(MalformedError):
    """Not as long as its page says: cut short, or grown."""


class RingEnd(SharedEnd):
    """The part that both ends have. A reader's buffer may be read-only."""

    __slots__ = ()

    def __init__(self, buffer: Buffer, capacity: int) -> None:
        super().__init__(buffer, page_bytes=PAGE_BYTES, data_at=DATA_AT, capacity=capacity)

    @property
    def position(self) -> int:
        """Where this end writes or reads next."""
        return self._position


def reader_word(slot: int) -> int:
    """The word of the file that holds the pid of a reader, to lock it and to look at it."""
    return TABLE_AT // WORD_BYTES + slot * READER_WORDS


def check_page(words: View, size_bytes: int) -> int:
    """The capacity of a ring of `size_bytes` that starts with these words. It is loaded once:
    whoever may write to the file may change it at any time.

    Raises `MalformedError` or `LimitExceededError`.
    """
    if words[MAGIC_WORD] != MAGIC:
        raise NotARingError("it is not a ring of a fanout")
    if words[VERSION_WORD] != LAYOUT_VERSION:
        raise RingVersionError(
            f"ring of layout {words[VERSION_WORD]}: this reader knows {LAYOUT_VERSION}"
        )
    capacity = words[CAPACITY_WORD]
    check_capacity(capacity)
    if size_bytes != DATA_AT + capacity:
        raise TruncatedRingError(
            f"ring of {size_bytes:,} bytes: {DATA_AT + capacity:,} by its page"
        )
    return capacity


def store(view: View, at: int, data: bytes) -> None:
    """Copy to `at`, by stores that other cores see after the ones before and before the next."""
    for start in range(0, len(data), STEP_BYTES):
        piece = data[start : start + STEP_BYTES]
        view[at + start : at + start + len(piece)] = piece


def write_landmark(words: View, number: int, position: int, seq: int) -> None:
    """Set the landmark `number`, counted from 0 up without end, over the oldest one."""
    at = LANDMARK_WORDS[number % LANDMARKS]
    words[at + 1] = 0
    words[at] = position
    words[at + 1] = seq


def read_landmarks(words: View) -> list[tuple[int, int]]:
    """Position and sequence number of all landmarks that are set, in no order.

    Two landmarks of the same number may be mixed up, but then the number belongs to both positions.
    """
    found = []
    for at in LANDMARK_WORDS:
        seq = words[at + 1]
        position = words[at]
        if words[at + 1] == seq and 1 <= seq <= MAX_SEQ:
            found.append((position, seq))
    return found


def write_snapshot(words: View, start: int, stop: int, seq: int) -> None:
    """Say where the newest snapshot is."""
    version = words[SNAPSHOT_VERSION_WORD]
    words[SNAPSHOT_VERSION_WORD] = version | 1
    words[SNAPSHOT_FROM_WORD] = start
    words[SNAPSHOT_TO_WORD] = stop
    words[SNAPSHOT_SEQ_WORD] = seq
    words[SNAPSHOT_VERSION_WORD] = ((version | 1) + 1) & U64_MAX


def read_snapshot(words: View) -> tuple[int, int, int] | None:
    """Where the newest whole snapshot begins and ends, and the sequence number that comes at its
    beginning. None if there was none yet, or while the writer is about to name another one."""
    for _ in range(TRIES):
        version = words[SNAPSHOT_VERSION_WORD]
        start, stop = words[SNAPSHOT_FROM_WORD], words[SNAPSHOT_TO_WORD]
        seq = words[SNAPSHOT_SEQ_WORD]
        if words[SNAPSHOT_VERSION_WORD] == version and not version & 1:
            return (start, stop, seq) if version and 1 <= seq <= MAX_SEQ else None
    return None


def write_header(page: View, words: View, slot: int, header: bytes, position: int) -> None:
    """Fill a header slot with the frames of a header and its instruments, which count from
    `position` on."""
    assert len(header) <= MAX_HEADER_BYTES, "a slot has room for every opening"
    at = HEADER_SLOTS_AT[slot] // WORD_BYTES
    version = words[at]
    words[at] = version | 1
    words[at + 1] = position
    words[at + 2] = len(header)
    store(page, HEADER_SLOTS_AT[slot] + 4 * WORD_BYTES, header)
    words[at] = ((version | 1) + 1) & U64_MAX


def read_header(page: View, words: View, position: int) -> bytes | None:
    """The frames of the header that counts at `position`: none if the ring has no header, None if
    that one is no longer there. Raises `MalformedError` for a length that cannot be.

    `position` is where the writer has been before this call. So a slot that changes now gets a
    header that nobody needs there: one that counts from a later position on, or from this one, and
    then its frames follow there.
    """
    for _ in range(TRIES):
        slots = [_slot(words, at // WORD_BYTES, position) for at in HEADER_SLOTS_AT[::-1]]
        if not any(length for _, _, length, _ in slots):
            return b""
        # Only the first two headers can count from the same position; the second stands first here.
        age, at, length, version = min(slots, key=_age)
        if age >= 2**63:
            return None
        start = (at + 4) * WORD_BYTES
        header = page[start : start + min(length, MAX_HEADER_BYTES)].tobytes()
        if words[at] == version:
            if length > MAX_HEADER_BYTES:
                raise MalformedError(
                    f"session header of {length:,} bytes exceeds {MAX_HEADER_BYTES:,}"
                )
            return header
    return None


def _age(slot: tuple[int, int, int, int]) -> int:
    return slot[0]


def _slot(words: View, at: int, position: int) -> tuple[int, int, int, int]:
    """How far before `position` the header of a slot starts to count, the slot's place, the length
    of the header, and the slot's version. A slot without a header, or with one that counts from
    behind `position` on, or one that changes, is 2**63 or more away."""
    version, start, length = words[at], words[at + 1], words[at + 2]
    is_there = length and not version & 1
    return (position - start) & U64_MAX if is_there else U64_MAX, at, length, version
