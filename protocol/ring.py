"""The shared-memory queue: one writer, one reader, frames, no system call and no lock.

`RingWriter` and `RingReader` work over any writable buffer: a bytearray in tests, a mapped file
in use. `ring_page` draws the page in front. Neither can do the other's job, and each
writes only what is its own: the writer all but the read cursor, the reader's pid and count.

    writer: copy the frames to the data area, then store the write cursor
    reader: load the write cursor, copy a frame out, then store the read cursor

That is all of it, and it holds because of three things. A cursor is one aligned 64-bit word
behind `memoryview.cast("Q")`, which is loaded and stored by one instruction (`struct` goes byte
by byte, and tears). CPython runs the statements of a thread in their order. And on x86-64 nobody
sees the stores of a core in another order than they were made, and no load or store is moved
before an earlier load. On a processor that may, this would need barriers that plain Python does
not have: `fanout.protocol.ring_file.require_supported_machine` is for those who map memory to call.

Both sides keep their own cursor to themselves and only ever store it. The reader trusts nothing
it loads: a length is checked against the cursors before a byte is copied. Whether the bytes are
those that were written is said by each frame's CRC, which is for the session to check.

What is not promised: a frame whose writer died within a `push` is not there. Nor is a buffer
guarded against a third party that writes to it or cuts its file, beyond that the reader does not
crash: bytes that `pop` gives may be such a party's, and only their CRC tells.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from fanout.protocol import ring_page as page
from fanout.protocol.constants import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_SEQ, U64_MAX
from fanout.protocol.errors import LimitExceededError, MalformedError, PeerError
from fanout.protocol.framing import frame
from fanout.protocol.header import decode_header, encode_header
from fanout.protocol.records import Header
from fanout.protocol.speedups import twin

_unpack_length: Final = Struct("<I").unpack_from


class RingWriter(page.Ring):
    """Makes a queue in a buffer, and writes to it."""

    __slots__ = ("_dropped_frames", "_dropped_numbers", "_room", "_slot")

    def __init__(
        self,
        buffer: page.Buffer,
        *,
        header: Header | None,
        pid: int,
        start: int = 0,
    ) -> None:
        """`buffer` is as long as the page and the capacity together, and all zero.

        `header` is the session header, of at most `MAX_HEADER_BYTES`, or None where the frames
        are not a fanout's. `start` is where both cursors begin. Raises `LimitExceededError`.
        """
        capacity = len(buffer) - page.PAGE_BYTES
        page.check_capacity(capacity)
        super().__init__(buffer, capacity)
        self._position = start
        self._room = capacity
        self._slot = 1
        self._dropped_frames = 0
        self._dropped_numbers = 0
        words = self._words
        words[page.CAPACITY_WORD] = capacity
        words[page.WRITER_PID_WORD] = pid
        words[page.WRITE_WORD] = words[page.READ_WORD] = start
        words[page.VERSION_WORD] = page.LAYOUT_VERSION
        if header is not None:
            words[page.EPOCH_WORD] = header.epoch_ns
            self._record_header(encode_header(header))
            self.mark(header.next_seq)
        words[page.MAGIC_WORD] = page.MAGIC

    @property
    def readers(self) -> int:
        """How many readers have attached so far."""
        return self._words[page.READERS_WORD]

    @twin
    def push(self, frames: bytes) -> bool:
        """Append one or more whole frames, all at once; False, and nothing, if they do not fit.
        Never waits."""
        size = len(frames)
        if size > self._room:
            # What is known of the reader may be old; look where it is only when it matters.
            self._room = self._look_for_room()
            if size > self._room:
                return False
        start = self._position & self._mask
        end = start + size
        if end <= self.capacity:
            self._data[start:end] = frames
        else:
            split = self.capacity - start
            self._data[start:] = frames[:split]
            self._data[: end - self.capacity] = frames[split:]
        self._room -= size
        self._position = position = (self._position + size) & U64_MAX
        self._words[page.WRITE_WORD] = position
        return True

    @property
    def unread_bytes(self) -> int:
        """How much the reader has yet to read. Nonsense, if its cursor is."""
        return (self._position - self._words[page.READ_WORD]) & U64_MAX

    def _look_for_room(self) -> int:
        """Bytes that are free. None, if the reader's cursor is nonsense: what it harms by that is
        its own queue, which takes nothing more."""
        return max(0, self.capacity - self.unread_bytes)

    def push_header(self, header: Header) -> bool:
        """Append the frame of a new session header, which counts from there on for those who
        attach too. False if there is no room for it. Raises `LimitExceededError`.

        Nor is there while the reader has not come to the last header: the one before is needed.
        """
        unread = self.unread_bytes
        start = page.header_start(self._words, self._slot)
        is_needed = unread > (self._position - start) & U64_MAX
        payload = encode_header(header)
        if is_needed or LENGTH_BYTES + len(payload) > self.capacity - unread:
            return False
        self._record_header(payload)
        return self.push(frame(payload))

    def _record_header(self, payload: bytes) -> None:
        self._slot ^= 1
        page.write_header(self._page, self._words, self._slot, payload, self._position)

    def mark(self, next_seq: int) -> None:
        """Say which sequence number comes next, for a reader that attaches to an empty queue."""
        self._words[page.MARK_SEQ_WORD] = next_seq
        self._words[page.MARK_WORD] = self._position

    def beat(self, heartbeat: int) -> None:
        """Show that the writer lives: any number that is not the last one."""
        self._words[page.HEARTBEAT_WORD] = heartbeat & U64_MAX

    def count_dropped(self, frames: int, numbers: int) -> None:
        """Add to the counts of what found no room."""
        self._dropped_frames += frames
        self._dropped_numbers += numbers
        self._words[page.DROPPED_FRAMES_WORD] = self._dropped_frames & U64_MAX
        self._words[page.DROPPED_NUMBERS_WORD] = self._dropped_numbers & U64_MAX

    def end(self, tail: bytes = b"") -> None:
        """Say that nothing more will come, except `tail`: the last frames, if they found no room
        in the queue. Raises `LimitExceededError`."""
        page.write_tail(self._page, self._words, tail)
        self._words[page.STATE_WORD] = page.ENDED


class RingReader(page.Ring):
    """Attaches to a queue that is there, and reads from it."""

    __slots__ = ()

    def __init__(self, buffer: page.Buffer, *, pid: int) -> None:
        """Begin where the last reader stopped. Raises `NotAQueueError`, `LayoutVersionError`,
        `TruncatedQueueError` or another `PeerError` if that cannot be."""
        if len(buffer) < page.PAGE_BYTES:
            raise page.TruncatedQueueError(f"file of {len(buffer):,} bytes holds no page")
        with memoryview(buffer)[: page.PAGE_BYTES] as head, head.cast("Q") as words:
            page.check_page(words, len(buffer))
            capacity = words[page.CAPACITY_WORD]
        super().__init__(buffer, capacity)
        self._position = self._words[page.READ_WORD]
        self._words[page.READER_PID_WORD] = pid
        self._words[page.READERS_WORD] = (self._words[page.READERS_WORD] + 1) & U64_MAX

    @property
    def epoch_ns(self) -> int:
        """Of the numbering that the writer began with; unix ns."""
        return self._words[page.EPOCH_WORD]

    @property
    def pulse(self) -> tuple[int, int]:
        """Numbers of which one changes while the writer lives: its heartbeat, and its cursor."""
        return self._words[page.HEARTBEAT_WORD], self._words[page.WRITE_WORD]

    @property
    def has_ended(self) -> bool:
        """Whether the writer has said that nothing more will come."""
        return self._words[page.STATE_WORD] == page.ENDED

    @property
    def is_intact(self) -> bool:
        """Whether there is still a queue in the buffer."""
        return self._words[page.MAGIC_WORD] == page.MAGIC

    @property
    def unread_bytes(self) -> int:
        """Raises `MalformedError` if the cursors cannot be true."""
        unread = (self._words[page.WRITE_WORD] - self._position) & U64_MAX
        if unread > self.capacity:
            raise self._nonsense(unread)
        return unread

    @twin
    def pop(self) -> bytes | None:
        """The payload of the next frame, or None if there is none yet. Never waits.

        Raises `PeerError`, and stays where it is, if a length or a cursor cannot be true.
        """
        words, position = self._words, self._position
        unread = (words[page.WRITE_WORD] - position) & U64_MAX
        if not unread:
            return None
        start = (position & self._mask) + LENGTH_BYTES
        if start > self.capacity:
            return self._pop_wrapped()
        (length,) = _unpack_length(self._data, start - LENGTH_BYTES)
        end = start + length
        if end > self.capacity:
            return self._pop_wrapped()
        if not 0 < length <= MAX_FRAME_BYTES or LENGTH_BYTES + length > unread:
            raise _refusal(length, unread)
        if unread > self.capacity:
            raise self._nonsense(unread)
        payload = self._data[start:end].tobytes()
        if words[page.MAGIC_WORD] != page.MAGIC:
            raise self._vanished()
        self._position = position = (position + LENGTH_BYTES + length) & U64_MAX
        words[page.READ_WORD] = position
        return payload

    @twin
    def take(self) -> bytes | None:
        """Like `pop`, but the frame stays in the queue until the next `take` or `commit`: then the
        caller has had it. `rewind` goes back to it."""
        words, position = self._words, self._position
        words[page.READ_WORD] = position
        unread = (words[page.WRITE_WORD] - position) & U64_MAX
        if not unread:
            return None
        size = self._frame_size(0, self.unread_bytes)
        payload = self._copy(LENGTH_BYTES, size - LENGTH_BYTES)
        self._require_intact()
        self._position = (position + size) & U64_MAX
        return payload

    def _pop_wrapped(self) -> bytes:
        """`pop` where the frame goes on at the start of the data area."""
        size = self._frame_size(0, self.unread_bytes)
        payload = self._copy(LENGTH_BYTES, size - LENGTH_BYTES)
        self._advance(size)
        return payload

    def read(self, limit_bytes: int, *, commit: bool = True) -> bytes:
        """Whole frames as they stand, lengths and payloads, up to about `limit_bytes`, but one at
        least if there is one. Otherwise like `pop`. Without `commit` they stay in the queue, for a
        reader that comes after this one, until `commit` is called."""
        size = unread = self.unread_bytes
        if unread > limit_bytes:
            size = more = self._frame_size(0, unread)
            while more <= limit_bytes:
                size = more
                more += self._frame_size(more, unread)
        data = self._copy(0, size)
        self._require_intact()
        self._position = (self._position + size) & U64_MAX
        if commit:
            self.commit()
        return data

    def commit(self) -> None:
        """Give the room of what was read back to the writer."""
        self._words[page.READ_WORD] = self._position

    def rewind(self) -> None:
        """Go back to behind what was committed, to read all that came since once more."""
        self._position = self._words[page.READ_WORD]

    def unread(self) -> Iterator[bytes]:
        """The payloads that are there now, without taking them. Raises like `pop`."""
        offset, unread = 0, self.unread_bytes
        while offset < unread:
            size = self._frame_size(offset, unread)
            yield self._copy(offset + LENGTH_BYTES, size - LENGTH_BYTES)
            offset += size

    def skip(self) -> None:
        """Go behind everything that is there: where a frame begins, whatever is broken before."""
        self._advance((self._words[page.WRITE_WORD] - self._position) & U64_MAX)

    def header(self) -> Header:
        """The session header that counts at this place. Raises `PeerError` if there is none."""
        return decode_header(page.read_header(self._page, self._words, self._position))

    def marked_seq(self) -> int | None:
        """The sequence number that comes behind everything that is there, or None while the
        writer is about to write more. Raises `MalformedError` if it cannot be one."""
        words = self._words
        # In this order: if the mark is of this place, and the writer has not gone on since the
        # number was read, then it is this place's number.
        mark, seq = words[page.MARK_WORD], words[page.MARK_SEQ_WORD]
        if mark != words[page.WRITE_WORD]:
            return None
        if not 1 <= seq <= MAX_SEQ:
            raise MalformedError(f"sequence number {seq} is out of range")
        return seq

    def tail(self) -> bytes:
        """The last frames, of a writer that ended while the queue had no room for them."""
        return page.read_tail(self._page, self._words)

    def _require_intact(self) -> None:
        if self._words[page.MAGIC_WORD] != page.MAGIC:
            raise self._vanished()

    def _vanished(self) -> PeerError:
        return page.NotAQueueError("the queue vanished from its memory while it was read")

    def _frame_size(self, offset: int, unread: int) -> int:
        """Bytes of the frame that begins `offset` bytes on, its length included."""
        left = unread - offset
        length = int.from_bytes(self._copy(offset, LENGTH_BYTES), "little")
        if not 0 < length <= min(MAX_FRAME_BYTES, left - LENGTH_BYTES):
            raise _refusal(length, left)
        return LENGTH_BYTES + length

    def _copy(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` bytes on, around the end of the data area."""
        start = (self._position + offset) & self._mask
        data = self._data[start : start + size].tobytes()
        return data + self._data[: size - len(data)].tobytes()

    def _advance(self, size: int) -> None:
        """Go on behind what was copied, if the queue was there while it was."""
        self._require_intact()
        self._position = position = (self._position + size) & U64_MAX
        self._words[page.READ_WORD] = position


def _refusal(length: int, unread: int) -> PeerError:
    """Why a frame of that length cannot be."""
    if 0 < length <= MAX_FRAME_BYTES:
        return MalformedError(f"frame of {length:,} bytes in {unread:,} that were written")
    return LimitExceededError(f"frame of {length:,} bytes: 1 to {MAX_FRAME_BYTES:,} allowed")
