"""A past in memory: what a journal would have of a channel's epochs, without a disk.

A `KeepingLog` notes each frame that is appended. What the disk has of it is for the test to say:
all, or not the newest frames, or not the oldest.
"""

from bisect import bisect_right
from collections.abc import Callable

import msgspec
import trio

from fanout.channel.channel import Channel
from fanout.channel.log import Log
from fanout.protocol import START, Header, Moment, Position, Start, frame
from fanout.protocol.blocks import block_from
from fanout.protocol.constants import LENGTH_BYTES, FrameKind
from fanout.protocol.header import opening
from fanout.protocol.request import Begin


class KeptFrame(msgspec.Struct, frozen=True):
    """A frame, the number behind it, the header in force behind it, and when it came."""

    data: bytes
    next_seq: int
    header: Header
    time_ns: int


class KeptEpoch:
    """The frames of one start of the service. The first number is 1."""

    def __init__(self, header: Header) -> None:
        self.epoch_ns = header.epoch_ns
        self.frames: list[KeptFrame] = []
        self.gone = 0
        """So many of the oldest frames are gone."""
        self._header = header

    def keep(self, data: bytes, next_seq: int, header: Header, time_ns: int) -> None:
        if data[LENGTH_BYTES] != FrameKind.END:
            self.frames.append(KeptFrame(data, next_seq, header, time_ns))

    def lose_newest(self, count: int) -> None:
        """So many of the newest frames did not reach the disk."""
        del self.frames[max(0, len(self.frames) - count) :]

    @property
    def first_seq(self) -> int:
        return self.number_at(self.gone)

    @property
    def next_seq(self) -> int:
        return self.number_at(len(self.frames))

    def number_at(self, index: int) -> int:
        """The number that is due at a frame."""
        return self.frames[index - 1].next_seq if index else 1

    def header_at(self, index: int) -> Header:
        """The header in force before a frame."""
        return self.frames[index - 1].header if index else self._header

    def index_of(self, seq: int) -> int:
        """The frame that holds a number; behind all of them if that is still to come."""
        return bisect_right(self.frames, seq, key=lambda each: each.next_seq)


class MemoryPassage:
    """Gives the frames one by one."""

    def __init__(self, kept: KeptEpoch, seq: int) -> None:
        self.epoch_ns = kept.epoch_ns
        self.next_seq = max(seq, kept.first_seq)
        self.is_closed = False
        self.reads = 0
        self.error: OSError | None = None
        """What the next read fails with."""
        self._kept = kept
        self._index = max(kept.index_of(seq), kept.gone)
        header = kept.header_at(self._index)
        self.greeting = frame(START) + opening(
            msgspec.structs.replace(header, next_seq=self.next_seq)
        )

    async def read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if self.error is not None:
            raise self.error
        if self._index == len(self._kept.frames):
            return b""
        kept, due, header = self._kept, self.next_seq, self._kept.header_at(self._index)
        entry = kept.frames[self._index]
        is_cut = kept.number_at(self._index) < due
        self._index, self.next_seq = self._index + 1, entry.next_seq
        return frame(block_from(entry.data[LENGTH_BYTES:], due, header)) if is_cut else entry.data

    async def aclose(self) -> None:
        self.is_closed = True


class MemoryPast:
    """What is kept of a channel, the present epoch included."""

    def __init__(self) -> None:
        self.epochs: dict[int, KeptEpoch] = {}
        self.passages: list[MemoryPassage] = []
        self.newest_epoch_ns = 0
        self.error: OSError | None = None
        """What the next search fails with."""

    def begin(self, channel: Channel) -> KeptEpoch:
        """A channel whose past this is has started, and its log is a `KeepingLog` from now on."""
        self.newest_epoch_ns = max(self.epochs, default=0)
        kept = self.epochs[channel.header.epoch_ns] = KeptEpoch(channel.header)
        channel.past = self
        return kept

    async def find(self, begin: Begin, *, epoch_ns: int) -> MemoryPassage | None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        found = self._found(begin, epoch_ns)
        if found is not None:
            self.passages.append(found)
        return found

    def _found(self, begin: Begin, epoch_ns: int) -> MemoryPassage | None:
        if isinstance(begin, Moment):
            return self._found_by_time(begin.time_ns)
        at = begin if isinstance(begin, Position) else Position(epoch_ns=epoch_ns, seq=1)
        assert begin is not Start.LIVE, "that is for the log"
        for each in sorted(self.epochs):
            if each >= at.epoch_ns:
                return MemoryPassage(self.epochs[each], at.seq if each == at.epoch_ns else 1)
        return None

    def _found_by_time(self, time_ns: int) -> MemoryPassage | None:
        for _, kept in sorted(self.epochs.items()):
            for index, each in enumerate(kept.frames):
                if index >= kept.gone and each.time_ns >= time_ns:
                    return MemoryPassage(kept, kept.number_at(index))
        return None


class KeepingLog(Log[Header]):
    """A log whose frames are kept elsewhere too."""

    def __init__(self, channel: Channel, kept: KeptEpoch, clock_ns: Callable[[], int]) -> None:
        super().__init__(
            capacity_bytes=channel.log.capacity_bytes, context=channel.header, clock_ns=clock_ns
        )
        self._kept = kept

    def append(self, frame: bytes, *, count: int, held_ns: int = 0, time_ns: int = 0) -> None:
        super().append(frame, count=count, held_ns=held_ns, time_ns=time_ns)
        self._kept.keep(frame, self.next_seq, self.context, self.time_ns)
