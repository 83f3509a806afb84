"""Merges the records of several streams by the time of their receipt. Pure: time is an argument.

A record goes on as soon as no other stream can have an older one. A stream shows how far it is with
each of its records, and with a mark. So streams that are busy hold each other up by no more than
they differ. A stream that is silent or down would hold up the others for ever. So a record waits
for other streams no longer than `wait_ns` from its arrival. Behind that it goes on, with all older
ones that are there. What comes for an earlier time afterwards is late: it goes on at once, behind
newer records of other streams, and is counted.

    stream 0   10  14  30           ->   10  12  14  ...  30 waits: stream 1 is only at 15
    stream 1   12  15

The records of one stream keep their order, whatever their times are. Of records with the same time
those of the earlier stream go first. A kept stream, which is read from a disk to its end, is waited
for without a limit: so two journals are merged in the same order each time.

A record without a time, such as an event, has that of the record before it in its stream.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from fanout.clients.outcomes import Received

_FIRST: Final = -1
"""How far a stream is that has shown nothing."""

Merged = tuple[int, Received]
"""The number of a stream, and a record of it."""

# Plain tuples: a named one takes three times as long to make, and there is one for each record.
_Queued = tuple[int, int, Received]
"""The time of a record, that of its arrival, and the record."""

_Key = tuple[int, int]
"""A time and a stream: what goes first has the least."""


class _Stream:
    __slots__ = ("has_ended", "is_kept", "late", "queue", "shown_ns")

    def __init__(self, *, is_kept: bool) -> None:
        self.is_kept = is_kept
        self.queue: deque[_Queued] = deque()
        self.shown_ns = _FIRST
        """The time of the newest record, or a later mark. The next record is not older."""
        self.has_ended = False
        self.late = 0


class Merger:
    """The queues of all streams, and which record goes next."""

    def __init__(self, kept: Sequence[bool], *, wait_ns: int, capacity: int) -> None:
        """`kept[i]` says whether stream `i` is read from a disk to its end. `capacity` is the most
        records that wait, of all streams; each of them has room for its part, at least for one."""
        self._streams = [_Stream(is_kept=each) for each in kept]
        self._wait_ns = wait_ns
        self._room = max(1, capacity // max(1, len(kept)))
        self._newest_ns = _FIRST
        """The newest time that went on."""

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return sum(len(each.queue) for each in self._streams)

    @property
    def late(self) -> int:
        """How many records with a time of their own went on behind newer ones."""
        return sum(each.late for each in self._streams)

    def late_of(self, stream: int) -> int:
        """How many of them were of one stream."""
        return self._streams[stream].late

    @property
    def has_ended(self) -> bool:
        """Whether all streams have ended, and nothing waits."""
        return all(each.has_ended and not each.queue for each in self._streams)

    def is_full(self, stream: int) -> bool:
        """Whether a stream has no room for another record. Whoever reads it has to wait."""
        return len(self._streams[stream].queue) >= self._room

    def put(self, stream: int, record: Received, now_ns: int) -> None:
        """Take the next record of a stream, which arrived at `now_ns` by a clock that never steps
        back."""
        of = self._streams[stream]
        time_ns = getattr(record, "received_ns", 0)
        if time_ns:
            of.shown_ns = time_ns
        else:
            time_ns = max(0, of.shown_ns)
        of.queue.append((time_ns, now_ns, record))

    def mark(self, stream: int, time_ns: int) -> None:
        """Note that a stream has shown everything before `time_ns`."""
        of = self._streams[stream]
        of.shown_ns = max(of.shown_ns, time_ns)

    def end(self, stream: int) -> None:
        """Note that nothing more comes of a stream."""
        self._streams[stream].has_ended = True

    def take(self, now_ns: int, most: int) -> list[Merged]:
        """The records that go on now, at most so many, in their order."""
        found: list[Merged] = []
        while len(found) < most:
            first = self._first()
            if first is None or not self._may_go(first, now_ns):
                break
            self._take_run(first[1], most, found)
        return found

    def due_ns(self) -> int | None:
        """When the next record goes on if nothing else comes, by the clock of `put`. None if none
        waits, or if it waits for a kept stream."""
        first = self._first()
        if first is None or any(each.is_kept for each in self._holding(first)):
            return None
        return self._oldest_arrival_ns() + self._wait_ns

    def _first(self) -> _Key | None:
        """The least time of all records that wait, and its stream."""
        return min(
            ((each.queue[0][0], index) for index, each in enumerate(self._streams) if each.queue),
            default=None,
        )

    def _holding(self, first: _Key) -> list[_Stream]:
        """The streams that may still have a record that goes before `first`."""
        return [
            each
            for index, each in enumerate(self._streams)
            if not (each.queue or each.has_ended) and (each.shown_ns, index) < first
        ]

    def _may_go(self, first: _Key, now_ns: int) -> bool:
        holding = self._holding(first)
        if any(each.is_kept for each in holding):
            return False
        # Whatever is due takes all older ones with it, or it would wait for each of them anew.
        return not holding or self._oldest_arrival_ns() + self._wait_ns <= now_ns

    def _oldest_arrival_ns(self) -> int:
        return min(each.queue[0][1] for each in self._streams if each.queue)

    def _take_run(self, index: int, most: int, found: list[Merged]) -> None:
        """Take the first record of a stream, and those behind it that no other stream can precede:
        in a burst of one stream the others are not looked at for each record."""
        of = self._streams[index]
        queue, bound = of.queue, self._bound(index)
        while True:
            time_ns, _, record = queue.popleft()
            if time_ns >= self._newest_ns:
                self._newest_ns = time_ns
            elif getattr(record, "received_ns", 0):
                of.late += 1
            found.append((index, record))
            if not queue or len(found) >= most:
                return
            if bound is not None and (queue[0][0], index) >= bound:
                return

    def _bound(self, index: int) -> _Key | None:
        """The least that another stream has, or may still have."""
        return min(
            (
                (each.queue[0][0] if each.queue else each.shown_ns, other)
                for other, each in enumerate(self._streams)
                if other != index and (each.queue or not each.has_ended)
            ),
            default=None,
        )
