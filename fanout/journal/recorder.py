"""What the journal of one channel does next, without files, threads or clocks.

                    failed (no room)              failed (anything else)
    WRITING ----------------------------> FULL        AWAY <---------------------------- WRITING
       ^                                   |            |
       '---- a new segment has its head ---+------------'          ENDED: END is on the disk

There is one rule for every failure of the disk. The segment is given up, and once a second a new
one is tried. It begins at the first number that is not known to be on the disk. As long as the log
still has that number, nothing is lost.

Segments are counted by serial numbers, so that a late report of a segment that was given up changes
nothing.
"""

from enum import Enum, auto
from typing import Final

from fanout.journal.disk import NO_ROOM
from fanout.protocol.errors import reason
from fanout.protocol.journal import FileHeader

RETRY_S: Final = 1.0
"""Pause before a new segment is tried after a failure."""

LEAST_FREE_BYTES: Final = 1024 * 1024
"""How much has to be free before a disk that was full is tried again. Otherwise each try would
make a head for nothing, with all books."""

_DAY_NS: Final = 86_400 * 10**9


class State(Enum):
    """Whether a channel is being kept."""

    WRITING = auto()
    FULL = auto()
    """The disk has no room."""
    AWAY = auto()
    """The disk fails, or its folder is gone."""
    ENDED = auto()


class Event(Enum):
    """What became of a segment."""

    NO_ROOM = auto()
    FAILED = auto()
    HEADED = auto()
    """Its head is on the disk."""
    COMPLETE = auto()
    """Its END is, and the segment is sealed."""


TRANSITIONS: Final = {
    (State.WRITING, Event.HEADED): State.WRITING,
    (State.WRITING, Event.NO_ROOM): State.FULL,
    (State.WRITING, Event.FAILED): State.AWAY,
    (State.WRITING, Event.COMPLETE): State.ENDED,
    (State.FULL, Event.HEADED): State.WRITING,
    (State.FULL, Event.NO_ROOM): State.FULL,
    (State.FULL, Event.FAILED): State.AWAY,
    (State.AWAY, Event.HEADED): State.WRITING,
    (State.AWAY, Event.NO_ROOM): State.FULL,
    (State.AWAY, Event.FAILED): State.AWAY,
}


class Recorder:
    """The state of one channel's journal, and the segment that is being written."""

    def __init__(self, *, epoch_ns: int, segment_bytes: int) -> None:
        self.epoch_ns = epoch_ns
        self.state = State.WRITING
        self.why = ""
        """What failed, in words; empty while the channel is being kept."""
        self.serial = 0
        """Of the newest segment, counted from 1."""
        self.retry_s = 0.0
        """When a new segment may be tried after a failure."""
        self._segment_bytes = segment_bytes
        self._size_bytes = 0
        self._day = 0
        self._failed_serial = 0
        self._headed_serial = 0

    @property
    def is_broken(self) -> bool:
        """Whether the newest segment was given up."""
        return self._failed_serial == self.serial

    @property
    def least_free_bytes(self) -> int:
        """What has to be free for the next segment."""
        return LEAST_FREE_BYTES if self.state is State.FULL else 0

    def begin(self, first_seq: int, *, wall_ns: int) -> FileHeader:
        """Begin a segment that takes the place of the one before."""
        self.serial += 1
        self._size_bytes = 0
        self._day = wall_ns // _DAY_NS
        return FileHeader(epoch_ns=self.epoch_ns, first_seq=first_seq, created_ns=wall_ns)

    def give(self, size_bytes: int) -> None:
        """Note that the segment gets so much more."""
        self._size_bytes += size_bytes

    def is_long_enough(self, *, wall_ns: int) -> bool:
        """Whether the next segment should begin: by size, or since a day of UTC is over. A clock
        that was set back begins none."""
        is_other_day = wall_ns // _DAY_NS > self._day
        return is_other_day or self._size_bytes >= self._segment_bytes

    def failed(self, serial: int, error: Exception, *, now_s: float) -> bool:
        """Take the report that a segment was given up. False if it is known, or no longer of
        interest."""
        if serial != self.serial or self.is_broken:
            return False
        has_no_room = isinstance(error, OSError) and error.errno in NO_ROOM
        self._move(Event.NO_ROOM if has_no_room else Event.FAILED)
        self._failed_serial = serial
        self.retry_s = now_s + RETRY_S
        self.why = reason(error)
        return True

    def headed(self, serial: int) -> bool:
        """Take the report that a segment has its head. Whether that ends a failure."""
        if serial != self.serial or self.is_broken or self._headed_serial == serial:
            return False
        self._headed_serial = serial
        was = self.state
        self._move(Event.HEADED)
        self.why = ""
        return was is not State.WRITING

    def complete(self, serial: int) -> None:
        """Take the report that a segment is sealed behind its END."""
        if serial == self.serial and self.state is not State.ENDED:
            self._move(Event.COMPLETE)

    def _move(self, event: Event) -> None:
        following = TRANSITIONS.get((self.state, event))
        assert following is not None, f"the journal: {event.name} while {self.state.name}"
        self.state = following
