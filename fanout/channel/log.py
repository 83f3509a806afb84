"""The log: the bounded run of frames in memory, written once, read by many.

One writer appends; each reader is a `Cursor`, a place in the log. The writer never waits for a
reader and never looks at one: when the log is full its oldest frames go, and a reader whose
place went with them is *lapped* and is told so, with the exact range, when it reads next. Frames
are opaque bytes here. So is their context, whatever a reader has to know to understand a frame
(the session header): it is kept with each frame, so that whoever carries on elsewhere in the log
can be given the one that counts there.

When the writer has appended all that came at once, it calls `hand_on`. A transport that has a hand
in the log (`fanout.channel.hand`) takes the frames within this call. The other transports wait in
tasks, which are woken.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import msgspec
import trio

from fanout.channel.hand import Hand

ENTRY_OVERHEAD_BYTES: Final = 256
"""What keeping a frame costs beside its bytes: objects and the table's slot, measured and rounded
up. Counted against the capacity, so that the capacity is what the log takes in memory."""

FIRST_PLACES: Final = 1_024

C = TypeVar("C")
"""A context."""


class Entry(msgspec.Struct, Generic[C], frozen=True, gc=False):
    """A frame in the log, with its numbers and the context that is in force after it."""

    frame: bytes
    first_seq: int
    next_seq: int
    context: C
    appended_bytes: int
    """Of all frames before this one, since the beginning."""
    arrived_ns: int
    time_ns: int
    """The latest time that stands in this frame or one before it; unix ns, 0 before the first."""


class Cursor(msgspec.Struct, Generic[C]):
    """One reader's place: the position of the next frame to read, its sequence number, and the
    context of the frames read so far. `Log.read` moves it."""

    position: int
    next_seq: int
    context: C


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader is behind: frames and bytes that it has not been given, and for how long
    the oldest of them has been here."""

    blocks: int
    bytes: int
    ms: int


class Lapped(msgspec.Struct, Generic[C], frozen=True):
    """The reader's place is gone: it will never get `first_seq` to `last_seq`, and carries on at
    the oldest frame, which is in `context`. The range is empty, last before first, where only
    frames without numbers went."""

    first_seq: int
    last_seq: int
    context: C


class Log(Generic[C]):
    """Frames in order, with their sequence numbers, bounded in bytes.

    `capacity_bytes` counts frames and `ENTRY_OVERHEAD_BYTES` each; the newest frame is kept even
    if it alone is larger.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int,
        context: C,
        first_seq: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`clock_ns` gives ns, and never goes back."""
        self.capacity_bytes = capacity_bytes
        self._clock_ns = clock_ns
        # A ring: a frame's place is its position modulo the length, a power of two. A dict would
        # be made anew every so often as frames come and go, in ten other megabytes each time.
        self._entries: list[Entry[C] | None] = [None] * FIRST_PLACES
        self._readers = trio.lowlevel.ParkingLot()
        self._hands: list[Hand] = []
        self._handed_on = 0
        """Position up to which `hand_on` has told the readers."""
        self._joined: tuple[tuple[int, int, int], int, bytes] = ((-1, -1, -1), -1, b"")
        self.context = context
        self.oldest = 0
        """Position of the oldest frame that is kept."""
        self.end = 0
        """Position behind the newest frame."""
        self.next_seq = first_seq
        self.size_bytes = 0
        self.appended_bytes = 0
        """Of all frames, those that are gone included."""
        self.time_ns = 0
        """The latest time that stands in a frame; unix ns, 0 before the first."""
        self.closed = False

    def append(self, frame: bytes, *, count: int, held_ns: int = 0, time_ns: int = 0) -> None:
        """Add a frame that takes `count` sequence numbers. What is in it came `held_ns` ago: from
        then on it counts as old. `time_ns` is the time that stands in it, unix ns, 0 if none does.
        Readers that wait see nothing of it before `hand_on`."""
        assert not self.closed, "the writer closes the log when it has nothing more to say"
        next_seq = self.next_seq + count
        if time_ns > self.time_ns:
            self.time_ns = time_ns
        if self.end - self.oldest == len(self._entries):
            self._make_room()
        self._entries[self.end & (len(self._entries) - 1)] = Entry(
            frame,
            self.next_seq,
            next_seq,
            self.context,
            self.appended_bytes,
            self._clock_ns() - held_ns,
            self.time_ns,
        )
        self.next_seq = next_seq
        self.appended_bytes += len(frame)
        self.end += 1
        self.size_bytes += len(frame) + ENTRY_OVERHEAD_BYTES
        while self.size_bytes > self.capacity_bytes and self.oldest < self.end - 1:
            self._evict()

    def hand_on(self) -> None:
        """Give what was appended since the last call to the hands, and wake the tasks that wait.
        Raises nothing, whatever happens to a transport."""
        if self._handed_on == self.end:
            return
        self._handed_on = self.end
        for hand in self._hands:
            hand.offer()
        if self._readers:  # it costs half of an append to wake nobody
            self._readers.unpark_all()

    @contextmanager
    def hand(self, take: Callable[[], bool], *, is_quick: bool = False) -> Iterator[Hand]:
        """Let a transport take what is published while the block runs, by `take`: see `Hand`. Those
        that are quick, however many readers they have, come first."""
        hand = Hand(take)
        self._hands.insert(0 if is_quick else len(self._hands), hand)
        trio.lowlevel.add_instrument(hand)
        try:
            yield hand
        finally:
            trio.lowlevel.remove_instrument(hand)
            self._hands.remove(hand)

    def close(self) -> None:
        """Say that nothing more will come. Readers may still read what is there."""
        self.closed = True
        for hand in self._hands:
            hand.wake()
        self._readers.unpark_all()

    def _make_room(self) -> None:
        """Twice as many places. Frames keep their positions."""
        size = len(self._entries)
        first = self.oldest & (size - 1)
        in_order = self._entries[first:] + self._entries[:first] + [None] * size
        start = self.oldest & (2 * size - 1)
        self._entries = in_order[-start:] + in_order[:-start]

    def _evict(self) -> None:
        entry = self._at(self.oldest)
        self._entries[self.oldest & (len(self._entries) - 1)] = None
        self.oldest += 1
        self.size_bytes -= len(entry.frame) + ENTRY_OVERHEAD_BYTES

    def live(self) -> Cursor[C]:
        """A new reader's place: behind everything there is."""
        return Cursor(self.end, self.next_seq, self.context)

    def seek(self, seq: int) -> Cursor[C]:
        """The place of the frame that holds sequence number `seq`; the oldest frame if that one is
        gone, and the end if it is still to come.

        The cursor's `next_seq` says where that is: after `seq` if numbers are gone, before it if
        the frame begins earlier.
        """
        low, high = self.oldest, self.end
        while low < high:
            middle = (low + high) // 2
            entry = self._at(middle)
            if entry.next_seq > seq or entry.first_seq >= seq:
                high = middle
            else:
                low = middle + 1
        if low == self.end:
            return self.live()
        entry = self._at(low)
        return Cursor(low, entry.first_seq, entry.context)

    def seek_time(self, time_ns: int) -> Cursor[C]:
        """The place of the first frame with a time at or after `time_ns`, unix ns; the oldest frame
        if an earlier one had such a time, and the end if none has."""
        positions = range(self.oldest, self.end)
        at = bisect_left(positions, time_ns, key=lambda each: self._at(each).time_ns)
        if at == len(positions):
            return self.live()
        entry = self._at(positions[at])
        return Cursor(positions[at], entry.first_seq, entry.context)

    def lag(self, cursor: Cursor[C], *, unsent_from: int, unsent_bytes: int) -> Lag:
        """How far a reader is behind that was given everything up to `cursor` and has yet to take
        `unsent_bytes` of what begins at position `unsent_from`. At least so far, where its place
        is gone."""
        is_behind = cursor.position != self.end
        unread = self._entry(cursor.position).appended_bytes if is_behind else self.appended_bytes
        first = cursor.position
        if unsent_bytes and unsent_from < first:
            first = self._holding(unread - unsent_bytes, range(unsent_from, cursor.position))
        if first == self.end:
            return Lag(blocks=0, bytes=unsent_bytes, ms=0)
        return Lag(
            blocks=self.end - first,
            bytes=self.appended_bytes - unread + unsent_bytes,
            ms=self._age_ms(first),
        )

    def unread_bytes(self, cursor: Cursor[C]) -> int:
        """How much of the capacity is taken by what a reader has yet to read."""
        if cursor.position >= self.end:
            return 0
        before = self._entry(cursor.position).appended_bytes
        frames = self.end - max(cursor.position, self.oldest)
        return self.appended_bytes - before + frames * ENTRY_OVERHEAD_BYTES

    def _holding(self, at_bytes: int, positions: range) -> int:
        """Which of these frames holds the byte that so many were appended before: the oldest that
        is kept, or the last one, where that is gone."""
        kept = range(max(positions.start, self.oldest), positions.stop)
        if not kept:
            return positions.stop - 1
        behind = bisect_right(kept, at_bytes, key=lambda each: self._at(each).appended_bytes)
        return kept[max(behind - 1, 0)]

    def oldest_ms(self) -> int:
        """For how long the oldest frame has been here."""
        return 0 if self.oldest == self.end else self._age_ms(self.oldest)

    def oldest_seq(self) -> int:
        """The first number that can still be read."""
        return self.next_seq if self.oldest == self.end else self._at(self.oldest).first_seq

    def age_ns(self, position: int) -> int:
        """For how long the frame at a position has been here, or the oldest if that is gone."""
        return self._clock_ns() - self._entry(position).arrived_ns

    def _age_ms(self, position: int) -> int:
        return self.age_ns(position) // 1_000_000

    def entry(self, position: int) -> Entry[C]:
        """The frame at a position from `oldest` to before `end`."""
        assert self.oldest <= position < self.end, f"position {position} is not kept"
        return self._at(position)

    def _entry(self, position: int) -> Entry[C]:
        """The frame at a position, or the oldest one if that is gone."""
        return self._at(max(position, self.oldest))

    def _at(self, position: int) -> Entry[C]:
        entry = self._entries[position & (len(self._entries) - 1)]
        assert entry is not None, "positions from the oldest to the end are kept"
        return entry

    async def wait_beyond(self, position: int) -> None:
        """Return once there is a frame at `position`, or the log is closed."""
        if self.end > position or self.closed:
            await trio.lowlevel.checkpoint()
        while self.end <= position and not self.closed:
            await self._readers.park()

    def read(self, cursor: Cursor[C], limit_bytes: int) -> bytes | Lapped[C]:
        """What follows at `cursor`, whole frames up to about `limit_bytes`; moves the cursor.

        Empty when the reader has everything. At least one frame when there is one.
        """
        if cursor.position < self.oldest:
            return self._lap(cursor)
        if cursor.position == self.end:
            return b""
        asked = (cursor.position, self.end, limit_bytes)
        joined, stop, data = self._joined
        if joined != asked:
            stop, data = self._join(cursor.position, limit_bytes)
            self._joined = (asked, stop, data)
        last = self._at(stop - 1)
        cursor.position, cursor.next_seq, cursor.context = stop, last.next_seq, last.context
        return data

    def _join(self, start: int, limit_bytes: int) -> tuple[int, bytes]:
        """Frames from `start` on as one piece, and the position behind it. The newest such piece
        is kept: when a hundred readers are woken by one block, they all stand at one place."""
        frames = [self._at(start).frame]
        stop, size = start + 1, len(frames[0])
        while stop < self.end:
            frame = self._at(stop).frame
            size += len(frame)
            if size > limit_bytes:
                break
            frames.append(frame)
            stop += 1
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        return stop, data

    def _lap(self, cursor: Cursor[C]) -> Lapped[C]:
        oldest = self._at(self.oldest)
        lapped = Lapped(cursor.next_seq, oldest.first_seq - 1, oldest.context)
        cursor.position, cursor.next_seq = self.oldest, oldest.first_seq
        cursor.context = oldest.context
        return lapped
