"""The ring in shared memory: one writer that never waits, any number of readers, no lock.

`RingWriter` and `RingReader` work over any buffer: a bytearray in tests, a mapped file in use.
`ring_page` draws the page in front. A reader needs to read the buffer only. If it may write to the
table of readers too, the writer's owner sees it there, and it can ask for a snapshot.

The writer overwrites the oldest bytes, whoever has not read them. So a reader copies a frame first,
and then looks whether the copy is good:

    writer: store the intent, copy the frames to the data area, store the next number and the tail
    reader: load the tail, copy a frame out, then load the intent

           position                tail       intent
    ... ------+---------------------+-----------+
              | frames to be read   | being written
              |<--------- at most the capacity: nothing that was copied is overwritten

Before the writer touches a byte it says up to where it is about to write. A byte of the data area
belongs to the positions p, p + capacity, p + 2 capacity, ...; so the bytes from `position` on were
whole while they were copied, if afterwards the intent is at most the capacity further. Otherwise
the reader is *lapped*: it throws the copy away and begins again at a place that is left. This is
the broadcast buffer of Agrona, in which the third word names the newest record. Here it is the
number that comes at the tail. It is stored before the tail, so that a reader which loads tail,
number and intent, and finds tail and intent equal, has the number of that tail.

The stores and loads of a core have to be seen in their order. `fanout.protocol.queue` says why they
are, on x86-64 only, and why each of these words is loaded and stored whole. One thing comes on top:
the bytes must not be seen before the intent. The C library copies long pieces by stores that have
no order; `ring_page.STEP_BYTES` keeps it from that.

A reader trusts no value that it loads. A length that cannot be is *lapped* if the frame has been
overwritten, and else a `MalformedError`. As in the queue, a third party may write to the buffer or
cut its file: the reader does not crash, but may get that party's bytes, and only their CRC tells.
"""

from struct import Struct
from typing import Final

import msgspec

from fanout.protocol import ring_page as page
from fanout.protocol.constants import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_SEQ, U64_MAX
from fanout.protocol.errors import (
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
)
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import Opener, decode_opening
from fanout.protocol.queue_page import WORD_BYTES, check_capacity
from fanout.protocol.records import Header
from fanout.protocol.shared_end import Buffer
from fanout.protocol.speedups import twin

_unpack_length: Final = Struct("<I").unpack_from

_BEHIND: Final = 2**63
"""Half of all positions: one that seems to lie further ahead lies behind."""


class Lapped(Exception):  # noqa: N818 - an ordinary outcome
    """The writer has overwritten what the reader was about to read. Begin at another place."""


class Place(msgspec.Struct, frozen=True):
    """A place in the ring where a reader can begin."""

    position: int
    next_seq: int
    """The sequence number that comes there."""
    header: Header | None
    """The session header that counts there, with `next_seq` in it; None if the ring has none."""


class ReaderEntry(msgspec.Struct, frozen=True):
    """A reader in the table, by its own words. The lock on its entry says whether it lives."""

    slot: int
    pid: int
    cursor: int
    lapped: int
    """How many times the writer overwrote what it had not read."""
    lost: int
    """Sequence numbers that it lost so."""


class RingWriter(page.RingEnd):
    """Makes a ring in a buffer, and writes to it."""

    __slots__ = (
        "_answered",
        "_asked",
        "_landmarks",
        "_opener",
        "_slot",
        "_snapshot",
        "_stride_mask",
        "_table",
        "longest_push",
    )

    def __init__(self, buffer: Buffer, *, header: Header | None, pid: int, start: int = 0) -> None:
        """`buffer` is as long as page, table and capacity together, and all zero.

        `header` is the session header, or None where the frames are not a fanout's: then the number
        that comes first is 1. `start` is where the positions begin. Raises `LimitExceededError` and
        `NotRepresentableError`.
        """
        capacity = len(buffer) - page.DATA_AT
        check_capacity(capacity)
        super().__init__(buffer, capacity)
        with memoryview(buffer) as whole:
            self._table = whole[page.TABLE_AT : page.DATA_AT].cast("Q")
        self.longest_push = capacity // 4
        """Most bytes that `push` takes at once."""
        self._stride_mask = capacity // page.LANDMARKS - 1
        self._position = start
        self._landmarks = 0
        self._slot = 1
        self._opener = Opener()
        self._snapshot = (start, 1)
        self._answered = self._asked = [0] * page.READERS
        words = self._words
        words[page.CAPACITY_WORD] = capacity
        words[page.WRITER_PID_WORD] = pid
        words[page.INTENT_WORD] = words[page.TAIL_WORD] = start
        words[page.SNAPSHOT_TO_WORD] = start
        words[page.NEXT_SEQ_WORD] = header.next_seq if header else 1
        words[page.VERSION_WORD] = page.LAYOUT_VERSION
        if header is not None:
            words[page.EPOCH_WORD] = header.epoch_ns
            self._record_header(self._opener(header))
        self._set_landmark()
        words[page.MAGIC_WORD] = page.MAGIC

    @twin
    def push(self, frames: bytes, next_seq: int) -> None:
        """Append one or more whole frames, all at once. `next_seq` is the sequence number that
        comes behind them. Never waits; overwrites the oldest frames.

        Raises `NotRepresentableError` for more than `longest_push` bytes: push them frame by frame.
        """
        size = len(frames)
        if size > self.longest_push:
            raise NotRepresentableError(
                f"push of {size:,} bytes exceeds a quarter of the ring, {self.longest_push:,}"
            )
        words, position = self._words, self._position
        words[page.INTENT_WORD] = tail = (position + size) & U64_MAX
        if (position & self._stride_mask) + size > self._stride_mask:
            self._set_landmark()
        start = position & self._mask
        if size <= page.STEP_BYTES and start + size <= self.capacity:
            self._data[start : start + size] = frames
        else:
            split = self.capacity - start
            page.store(self._data, start, frames[:split])
            page.store(self._data, 0, frames[split:])
        words[page.NEXT_SEQ_WORD] = next_seq
        self._position = words[page.TAIL_WORD] = tail

    def push_header(self, header: Header, frames: bytes | None = None) -> None:
        """Append `frames`, which change a reader's header to `header`: INSTRUMENTS, or without them
        its opening. From there on it counts for readers that begin, too.

        Raises `NotRepresentableError` for a header that no fields can hold, and for a frame of more
        than `longest_push` bytes; then it does nothing.
        """
        whole = self._opener(header)
        pieces = [frame(each) for each in payloads_of(whole if frames is None else frames)]
        longest = max(map(len, pieces))
        if longest > self.longest_push:
            raise NotRepresentableError(
                f"frame of {longest:,} bytes exceeds a quarter of the ring, {self.longest_push:,}"
            )
        next_seq = self._words[page.NEXT_SEQ_WORD]
        self._record_header(whole)
        self._set_landmark()
        for each in pieces:
            self.push(each, next_seq)

    def _record_header(self, frames: bytes) -> None:
        self._slot ^= 1
        page.write_header(self._page, self._words, self._slot, frames, self._position)

    def _set_landmark(self) -> None:
        """Where the writer is: a frame begins there."""
        seq = self._words[page.NEXT_SEQ_WORD]
        page.write_landmark(self._words, self._landmarks, self._position, seq)
        self._landmarks += 1

    def begin_snapshot(self) -> None:
        """A snapshot begins here: the frames that follow up to `end_snapshot`, among which there
        may be others. One that was begun and not ended is forgotten."""
        self._asked = self._wants()
        self._snapshot = (self._position, self._words[page.NEXT_SEQ_WORD])
        self._words[page.SNAPSHOT_STATE_WORD] = 1

    def end_snapshot(self) -> bool:
        """The snapshot is whole: readers may begin at its first frame. False if the writer has
        overwritten its beginning already, since it was longer than the ring."""
        start, seq = self._snapshot
        page.write_snapshot(self._words, start, self._position, seq)
        self._words[page.SNAPSHOT_STATE_WORD] = 0
        self._answered = self._asked
        return (self._position - start) & U64_MAX <= self.capacity

    @property
    def asked(self) -> bool:
        """Whether a reader has asked for a snapshot since the last whole one began."""
        return self._wants() != self._answered

    def _wants(self) -> list[int]:
        return self._table[page.WANTS_WORD :: page.READER_WORDS].tolist()

    def readers(self) -> list[ReaderEntry]:
        """The readers in the table, also those that ended without leaving it: for them look at the
        lock on `ring_page.reader_word(slot)`."""
        found = []
        for slot in range(page.READERS):
            at = slot * page.READER_WORDS
            entry = self._table[at : at + page.WANTS_WORD].tolist()
            if entry[page.PID_WORD]:
                found.append(ReaderEntry(slot, *entry))
        return found

    def beat(self, heartbeat: int) -> None:
        """Show that the writer runs: any number that is not the last one."""
        self._words[page.HEARTBEAT_WORD] = heartbeat & U64_MAX

    def end(self) -> None:
        """End the ring, after its last frame."""
        self._words[page.STATE_WORD] = page.ENDED

    def release(self) -> None:
        """See `RingEnd.release`."""
        self._table.release()
        super().release()


class RingReader(page.RingEnd):
    """Reads from an existing ring, which it does not change."""

    __slots__ = ("_entry",)

    def __init__(
        self,
        buffer: Buffer,
        *,
        table: Buffer | None = None,
        slot: int = 0,
        pid: int = 0,
    ) -> None:
        """Begin at the live end, until one of the `begin_` methods chooses another place.

        `buffer` is the whole file, and may be read-only. `table` is its table of readers, for
        writing: the reader takes the entry `slot`, whose lock the caller has, for process `pid`.
        Without it the reader is not listed, and cannot ask for a snapshot. Raises `NotARingError`,
        `RingVersionError`, `TruncatedRingError` or another `PeerError`.
        """
        if len(buffer) < page.HEAD_BYTES:
            raise page.TruncatedRingError(f"file of {len(buffer):,} bytes holds no page")
        with memoryview(buffer)[: page.HEAD_BYTES] as head, head.cast("Q") as words:
            capacity = page.check_page(words, len(buffer))
        super().__init__(buffer, capacity)
        self._position = self._words[page.TAIL_WORD]
        self._entry: memoryview | None = None
        if table is not None:
            self._entry = _entry_of(table, slot)
            self.note(lapped=0, lost=0)
            self._entry[page.PID_WORD] = pid

    @property
    def epoch_ns(self) -> int:
        """Of the numbering that the writer began with; unix ns."""
        return self._words[page.EPOCH_WORD]

    @property
    def pulse(self) -> tuple[int, int]:
        """The writer's heartbeat and its tail: one of them changes while the writer runs."""
        return self._words[page.HEARTBEAT_WORD], self._words[page.TAIL_WORD]

    @property
    def has_ended(self) -> bool:
        """Whether the writer has ended the ring."""
        return self._words[page.STATE_WORD] == page.ENDED

    @property
    def is_intact(self) -> bool:
        """Whether there is still a ring in the buffer."""
        return self._words[page.MAGIC_WORD] == page.MAGIC

    @property
    def unread_bytes(self) -> int:
        """How far the live end is ahead; more than the capacity if the reader is lapped. Raises
        `MalformedError` if that cannot be."""
        unread = (self._words[page.TAIL_WORD] - self._position) & U64_MAX
        if unread >= _BEHIND:
            raise MalformedError(f"the ring ends {U64_MAX - unread + 1:,} bytes before its reader")
        return unread

    @twin
    def pop(self) -> bytes | None:
        """The payload of the next frame, or None if there is none yet. Never waits.

        Raises `Lapped` if the writer has overwritten the frame, and `PeerError` if a length or the
        tail cannot be true. Either way the reader stays where it is.
        """
        words, position = self._words, self._position
        unread = (words[page.TAIL_WORD] - position) & U64_MAX
        if not unread:
            return None
        start = (position & self._mask) + LENGTH_BYTES
        if start > self.capacity:
            return self._pop_wrapped(unread)
        (length,) = _unpack_length(self._data, start - LENGTH_BYTES)
        end = start + length
        if end > self.capacity:
            return self._pop_wrapped(unread)
        if not 0 < length <= MAX_FRAME_BYTES or LENGTH_BYTES + length > unread:
            raise self._refusal(length, unread)
        payload = self._data[start:end].tobytes()
        if (words[page.INTENT_WORD] - position) & U64_MAX > self.capacity:
            raise self._overwritten()
        if words[page.MAGIC_WORD] != page.MAGIC:
            raise _vanished()
        self._position = (position + LENGTH_BYTES + length) & U64_MAX
        return payload

    def _pop_wrapped(self, unread: int) -> bytes:
        """`pop` where the frame goes on at the start of the data area."""
        size = self._frame_size(self._copy(LENGTH_BYTES), unread)
        payload = self._checked_copy(size)[LENGTH_BYTES:]
        self._position = (self._position + size) & U64_MAX
        return payload

    def read(self, limit_bytes: int) -> bytes:
        """Whole frames, lengths and payloads, up to about `limit_bytes`, but at least one if there
        is one. Raises like `pop`."""
        unread = self.unread_bytes
        if not unread:
            return b""
        if unread > self.capacity:
            raise self._overwritten()
        data = self._checked_copy(min(unread, max(limit_bytes, LENGTH_BYTES)))
        if len(data) < unread:
            size = self._whole_bytes(data, unread)
            data = data[:size] if size <= len(data) else self._checked_copy(size)
        self._position = (self._position + len(data)) & U64_MAX
        return data

    def return_to(self, position: int) -> None:
        """Go back to a `position` where this reader was, to read from there once more."""
        self._position = position

    def begin_live(self) -> Place:
        """Go to the live end, or to the newest landmark if the writer is at work all the time.
        Raises `Lapped` if that is gone as soon as it is found, and `PeerError`."""
        words = self._words
        for _ in range(page.TRIES):
            # In this order: see the module.
            tail, seq = words[page.TAIL_WORD], words[page.NEXT_SEQ_WORD]
            if words[page.INTENT_WORD] == tail and 1 <= seq <= MAX_SEQ:
                return self._begin_at_first([(tail, seq)])
        return self._begin_at_first(self._landmarks()[::-1])

    def begin_oldest(self) -> Place:
        """Go to the oldest place that is left and whose header is known. A fast writer may have
        overwritten it by the time of the next `pop`. Raises `Lapped` and `PeerError`."""
        return self._begin_at_first(self._landmarks())

    def begin_middle(self) -> Place:
        """Go to a place about half the capacity behind the live end, or to the live end if less
        than that has been written. Raises `Lapped` and `PeerError`."""
        intent = self._words[page.INTENT_WORD]
        half = self.capacity // 2
        near = [each for each in self._landmarks() if (intent - each[0]) & U64_MAX <= half]
        return self._begin_at_first(near) if near else self.begin_live()

    def begin_before(self, seq: int) -> Place | None:
        """Go to the newest place whose `next_seq` is at most `seq`, to go on there with number
        `seq`. None, and nothing changes, if that is gone. Raises `PeerError`."""
        before = [each for each in self._landmarks() if each[1] <= seq]
        try:
            return self._begin_at_first(before[::-1])
        except Lapped:
            return None

    def begin_snapshot(self, since: int | None = None) -> Place | None:
        """Go to the newest whole snapshot. None, and nothing changes, if it is gone, or if it began
        before the position `since`, for which see `ask_snapshot`. Raises `PeerError`."""
        found = page.read_snapshot(self._words)
        if found is None or (since is not None and (found[0] - since) & U64_MAX >= _BEHIND):
            return None
        try:
            return self._begin_at_first([(found[0], found[2])])
        except Lapped:
            return None

    def has_passed_snapshots(self, position: int) -> bool:
        """Whether no frame from `position` on belongs to a snapshot, up to where this reader saw
        the live end last."""
        words = self._words
        # In this order: a snapshot that begins after the first look begins behind the live end.
        if words[page.SNAPSHOT_STATE_WORD]:
            return False
        return (position - words[page.SNAPSHOT_TO_WORD]) & U64_MAX < _BEHIND

    def has_snapshot_between(self, start: int, stop: int) -> bool:
        """Whether the newest whole snapshot lies between two positions."""
        found = page.read_snapshot(self._words)
        if found is None:
            return False
        return (found[0] - start) & U64_MAX < _BEHIND and (stop - found[1]) & U64_MAX < _BEHIND

    @property
    def next_seq(self) -> int:
        """The sequence number that comes at the live end, or just came."""
        return self._words[page.NEXT_SEQ_WORD]

    def ask_snapshot(self) -> int:
        """Ask the writer for a snapshot, if this reader is in the table. Gives the position at or
        behind which that snapshot begins: `begin_snapshot(since)` finds it, once it is whole."""
        tail = self._words[page.TAIL_WORD]
        if self._entry is not None:
            self._entry[page.WANTS_WORD] = (self._entry[page.WANTS_WORD] + 1) & U64_MAX
        return tail

    @property
    def is_listed(self) -> bool:
        """Whether this reader is in the table, and can ask for a snapshot."""
        return self._entry is not None

    def note(self, *, lapped: int, lost: int) -> None:
        """Show in the table where this reader is, how many times it was lapped so far, and how many
        numbers it lost."""
        if self._entry is not None:
            self._entry[page.CURSOR_WORD] = self._position
            self._entry[page.LAPPED_WORD] = lapped & U64_MAX
            self._entry[page.LOST_WORD] = lost & U64_MAX

    def leave(self) -> None:
        """Give the entry in the table back. Without this the next reader that takes it does so. Can
        be interrupted and repeated."""
        entry = self._entry
        if entry is not None:
            entry[page.PID_WORD] = 0
            self._entry = None
            entry.release()

    def release(self) -> None:
        """See `RingEnd.release`."""
        if self._entry is not None:
            self._entry.release()
        super().release()

    def _landmarks(self) -> list[tuple[int, int]]:
        """Position and number of the landmarks that are not overwritten, from the oldest on."""
        found = page.read_landmarks(self._words)
        intent = self._words[page.INTENT_WORD]
        ages = [((intent - position) & U64_MAX, position, seq) for position, seq in found]
        return [each[1:] for each in sorted(ages, reverse=True) if each[0] <= self.capacity]

    def _begin_at_first(self, places: list[tuple[int, int]]) -> Place:
        """Go to the first of these places whose header is known and that is not overwritten."""
        for position, seq in places:
            frames = page.read_header(self._page, self._words, position)
            if frames is None or self._is_overwritten(position):
                continue
            self._position = position
            if not frames:
                return Place(position, seq, None)
            header = msgspec.structs.replace(decode_opening(frames), next_seq=seq)
            return Place(position, seq, header)
        raise Lapped("no place is left in the ring at which a reader could begin")

    def _is_overwritten(self, position: int) -> bool:
        """Whether bytes from `position` on may be overwritten."""
        return (self._words[page.INTENT_WORD] - position) & U64_MAX > self.capacity

    def _checked_copy(self, size: int) -> bytes:
        """Like `_copy`, of bytes that were not overwritten meanwhile. Raises `Lapped`."""
        data = self._copy(size)
        if self._is_overwritten(self._position):
            raise self._overwritten()
        if not self.is_intact:
            raise _vanished()
        return data

    def _copy(self, size: int) -> bytes:
        """`size` bytes from here on, around the end of the data area."""
        start = self._position & self._mask
        data = self._data[start : start + size].tobytes()
        return data + self._data[: size - len(data)].tobytes()

    def _whole_bytes(self, data: bytes, unread: int) -> int:
        """Bytes of the whole frames in a copy from here on, or of its first frame if the copy holds
        a part of it only."""
        size = more = 0
        while size + LENGTH_BYTES <= len(data):
            more = size + self._frame_size(data[size : size + LENGTH_BYTES], unread - size)
            if more > len(data):
                break
            size = more
        return size or more

    def _frame_size(self, length_bytes: bytes, unread: int) -> int:
        """Bytes of the frame that begins with that length, its length included."""
        length = int.from_bytes(length_bytes, "little")
        if not 0 < length <= min(MAX_FRAME_BYTES, unread - LENGTH_BYTES):
            raise self._refusal(length, unread)
        return LENGTH_BYTES + length

    def _refusal(self, length: int, unread: int) -> Exception:
        """Why there is no frame of that length here: it was overwritten, or it never was."""
        if self._is_overwritten(self._position):
            return self._overwritten()
        if 0 < length <= MAX_FRAME_BYTES:
            return MalformedError(f"frame of {length:,} bytes in {unread:,} that were written")
        return LimitExceededError(f"frame of {length:,} bytes: 1 to {MAX_FRAME_BYTES:,} allowed")

    def _overwritten(self) -> Exception:
        """`Lapped`, unless the writer cannot have come here yet."""
        ahead = (self._words[page.INTENT_WORD] - self._position) & U64_MAX
        if ahead >= _BEHIND:
            return MalformedError(f"the ring ends {U64_MAX - ahead + 1:,} bytes before its reader")
        return Lapped(f"the writer is {ahead:,} bytes ahead in a ring of {self.capacity:,}")


def _entry_of(table: Buffer, slot: int) -> memoryview:
    """The words of a reader in the table."""
    at = slot * page.READER_WORDS * WORD_BYTES
    with memoryview(table) as whole, whole[at : at + page.READER_WORDS * WORD_BYTES] as entry:
        return entry.cast("Q")


def _vanished() -> PeerError:
    return page.NotARingError("the ring vanished from its memory while it was read")
