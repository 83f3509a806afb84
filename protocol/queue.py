"""The shared-memory queue: one writer, one reader, frames, no system call and no lock.

`QueueWriter` and `QueueReader` work over any writable buffer: a bytearray in tests, a mapped file
in use. `queue_page` draws the page in front. Neither can do the other's job, and each writes only
what is its own: the writer all but the read cursor, the reader's pid and count.

    writer: copy the frames to the data area, then store the write cursor
    reader: load the write cursor, copy a frame out, then store the read cursor

Three facts make that enough. A cursor is one aligned 64-bit word behind `memoryview.cast("Q")`,
which one instruction loads or stores (`struct` goes byte by byte, and tears). CPython runs the
statements of a thread in their order. And x86-64 shows the stores of a core to the others in the
order in which they were made, and moves no load or store before an earlier load. Other processors
would need barriers that plain Python does not have, so code that maps memory calls
`fanout.protocol.queue_file.require_supported_machine` first.

Each side keeps its own cursor to itself and only ever stores it in the page. The reader trusts no
value that it loads: it checks a length against the cursors before it copies a byte. The session
checks each frame's CRC, which says whether the bytes are those that the writer wrote.

Two things are not promised. A frame whose writer died within a `push` is not there. And a third
party may write to the buffer or cut its file: the reader does not crash, but `pop` may return that
party's bytes, and only their CRC tells.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from fanout.protocol import queue_page as page
from fanout.protocol.constants import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_SEQ, U64_MAX
from fanout.protocol.errors import LimitExceededError, MalformedError, PeerError
from fanout.protocol.header import Opener, decode_opening
from fanout.protocol.records import Header
from fanout.protocol.shared_end import Buffer
from fanout.protocol.speedups import twin

_unpack_length: Final = Struct("<I").unpack_from


class QueueWriter(page.QueueEnd):
    """Makes a queue in a buffer, and writes to it."""

    __slots__ = ("_dropped_frames", "_dropped_numbers", "_opener", "_room", "_slot")

    def __init__(
        self,
        buffer: Buffer,
        *,
        header: Header | None,
        pid: int,
        start: int = 0,
    ) -> None:
        """`buffer` is as long as the page and the capacity together, and all zero.

        `header` is the session header, or None where the frames are not a fanout's. `start` is
        where both cursors begin. Raises `LimitExceededError` and `NotRepresentableError`.
        """
        capacity = len(buffer) - page.PAGE_BYTES
        page.check_capacity(capacity)
        super().__init__(buffer, capacity)
        self._position = start
        self._room = capacity
        self._slot = 1
        self._opener = Opener()
        self._dropped_frames = 0
        self._dropped_numbers = 0
        words = self._words
        words[page.CAPACITY_WORD] = capacity
        words[page.WRITER_PID_WORD] = pid
        words[page.WRITE_WORD] = words[page.READ_WORD] = start
        words[page.VERSION_WORD] = page.LAYOUT_VERSION
        if header is not None:
            words[page.EPOCH_WORD] = header.epoch_ns
            self._record_header(self._opener(header))
            self.mark(header.next_seq)
        words[page.MAGIC_WORD] = page.MAGIC

    @property
    def readers(self) -> int:
        """How many readers have attached so far."""
        return self._words[page.READERS_WORD]

    @twin
    def push(self, frames: bytes) -> bool:
        """Append one or more whole frames, all at once. Returns False, and appends nothing, if they
        do not fit. Never waits."""
        size = len(frames)
        if size > self._room:
            # The room that is known may be old: load the reader's cursor only when it matters.
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
        """How much the reader has yet to read. A wrong number if the reader's cursor is wrong."""
        return (self._position - self._words[page.READ_WORD]) & U64_MAX

    def _look_for_room(self) -> int:
        """Bytes that are free; 0 if the reader's cursor is nonsense. Such a reader harms its own
        queue only, which takes no more frames."""
        return max(0, self.capacity - self.unread_bytes)

    def push_header(self, header: Header, frames: bytes | None = None) -> bool:
        """Append `frames`, which change a reader's header to `header`: INSTRUMENTS, or without them
        its opening. From there on it counts for readers that attach, too. Returns False, and does
        nothing, if there is no room. Raises `NotRepresentableError`.

        There is none while the reader has not reached the last change: it needs the header before.
        """
        unread = self.unread_bytes
        start = page.header_start(self._words, self._slot)
        is_needed = unread > (self._position - start) & U64_MAX
        if is_needed or (frames and len(frames) > self.capacity - unread):
            return False
        whole = self._opener(header)
        if frames is None:
            frames = whole
            if len(frames) > self.capacity - unread:
                return False
        self._record_header(whole)
        return self.push(frames)

    def _record_header(self, frames: bytes) -> None:
        self._slot ^= 1
        page.write_header(self._page, self._words, self._slot, frames, self._position)

    def mark(self, next_seq: int) -> None:
        """Store which sequence number comes next, for a reader that attaches to an empty queue."""
        self._words[page.MARK_SEQ_WORD] = next_seq
        self._words[page.MARK_WORD] = self._position

    def beat(self, heartbeat: int) -> None:
        """Show that the writer runs: any number that is not the last one."""
        self._words[page.HEARTBEAT_WORD] = heartbeat & U64_MAX

    def count_dropped(self, frames: int, numbers: int) -> None:
        """Add to the counts of frames and numbers that found no room."""
        self._dropped_frames += frames
        self._dropped_numbers += numbers
        self._words[page.DROPPED_FRAMES_WORD] = self._dropped_frames & U64_MAX
        self._words[page.DROPPED_NUMBERS_WORD] = self._dropped_numbers & U64_MAX

    def end(self, tail: bytes = b"") -> None:
        """End the queue. `tail` are the last frames, if they found no room in it. Raises
        `LimitExceededError`."""
        page.write_tail(self._page, self._words, tail)
        self._words[page.STATE_WORD] = page.ENDED


class QueueReader(page.QueueEnd):
    """Attaches to an existing queue, and reads from it."""

    __slots__ = ()

    def __init__(self, buffer: Buffer, *, pid: int) -> None:
        """Begin at the read cursor that the last reader left. Raises `NotAQueueError`,
        `LayoutVersionError`, `TruncatedQueueError` or another `PeerError`."""
        if len(buffer) < page.HEAD_BYTES:
            raise page.TruncatedQueueError(f"file of {len(buffer):,} bytes holds no page")
        with memoryview(buffer)[: page.HEAD_BYTES] as head, head.cast("Q") as words:
            capacity = page.check_page(words, len(buffer))
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
        """The writer's heartbeat and its cursor: one of them changes while the writer runs."""
        return self._words[page.HEARTBEAT_WORD], self._words[page.WRITE_WORD]

    @property
    def has_ended(self) -> bool:
        """Whether the writer has ended the queue."""
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
        # The same as in `pop`, which has it of its own: a call takes a tenth of the time.
        start = (position & self._mask) + LENGTH_BYTES
        if start > self.capacity:
            return self._take_wrapped()
        (length,) = _unpack_length(self._data, start - LENGTH_BYTES)
        end = start + length
        if end > self.capacity:
            return self._take_wrapped()
        if not 0 < length <= MAX_FRAME_BYTES or LENGTH_BYTES + length > unread:
            raise _refusal(length, unread)
        if unread > self.capacity:
            raise self._nonsense(unread)
        payload = self._data[start:end].tobytes()
        if words[page.MAGIC_WORD] != page.MAGIC:
            raise self._vanished()
        self._position = (position + LENGTH_BYTES + length) & U64_MAX
        return payload

    def _take_wrapped(self) -> bytes:
        """`take` where the frame goes on at the start of the data area."""
        size = self._frame_size(0, self.unread_bytes)
        payload = self._copy(LENGTH_BYTES, size - LENGTH_BYTES)
        self._require_intact()
        self._position = (self._position + size) & U64_MAX
        return payload

    def _pop_wrapped(self) -> bytes:
        """`pop` where the frame goes on at the start of the data area."""
        size = self._frame_size(0, self.unread_bytes)
        payload = self._copy(LENGTH_BYTES, size - LENGTH_BYTES)
        self._advance(size)
        return payload

    def read(self, limit_bytes: int, *, commit: bool = True) -> bytes:
        """Whole frames, lengths and payloads, up to about `limit_bytes`, but at least one if there
        is one. Raises like `pop`. Without `commit` the frames stay unread for the next reader until
        `commit` is called."""
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
        """Give the room of the frames that were read back to the writer."""
        self._words[page.READ_WORD] = self._position

    def rewind(self) -> None:
        """Go back to behind what was committed, to read all that came since once more."""
        self._position = self._words[page.READ_WORD]

    @property
    def committed(self) -> int:
        """The read cursor, as the writer and the next reader see it."""
        return self._words[page.READ_WORD]

    @property
    def resume_seq(self) -> int:
        """The sequence number at which the last reader left the first unread frame. It means
        nothing, like 0, unless that frame has this number."""
        return self._words[page.RESUME_WORD]

    def leave(self, resume_seq: int) -> None:
        """Let the next reader begin at this number of the first unread frame, of which this reader
        has handed on the numbers before."""
        self._words[page.RESUME_WORD] = resume_seq

    def unread(self) -> Iterator[bytes]:
        """The payloads of the unread frames; they stay unread. Raises like `pop`."""
        offset, unread = 0, self.unread_bytes
        while offset < unread:
            size = self._frame_size(offset, unread)
            yield self._copy(offset + LENGTH_BYTES, size - LENGTH_BYTES)
            offset += size

    def skip(self) -> None:
        """Go to the write cursor, where a frame begins, even if the bytes before are broken."""
        self._advance((self._words[page.WRITE_WORD] - self._position) & U64_MAX)

    def header(self) -> Header:
        """The header that counts at this reader's cursor. Raises `PeerError` if there is none."""
        return decode_opening(page.read_header(self._page, self._words, self._position))

    def marked_seq(self) -> int | None:
        """The sequence number that is due at the write cursor, or None while the writer is about to
        store it. Raises `MalformedError` if it cannot be one."""
        words = self._words
        # In this order: if the mark is the write cursor still after the number was read, then the
        # number belongs to this cursor.
        mark, seq = words[page.MARK_WORD], words[page.MARK_SEQ_WORD]
        if mark != words[page.WRITE_WORD]:
            return None
        if not 1 <= seq <= MAX_SEQ:
            raise MalformedError(f"sequence number {seq} is out of range")
        return seq

    def tail(self) -> bytes:
        """The last frames of a writer that ended while the queue had no room for them."""
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
