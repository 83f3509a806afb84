"""Chooses the places of an index, from the frames of its segment in their order.

There is a place each 64 KiB or sooner, and one at each header and each INSTRUMENTS in mid-stream:
who begins behind them needs them. A frame has one place at most. The runs of INSTRUMENTS that
complete a header belong to it, and have no places of their own.
"""

from struct import Struct
from typing import Final

from fanout.protocol.constants import LENGTH_BYTES, FrameKind
from fanout.protocol.header import decode_header
from fanout.protocol.journal import FILE_HEADER_BYTES, PLACE_EVERY_BYTES, Place, PlaceKind
from fanout.protocol.journal_scan import Fault, Mark, scan

_LENGTH = Struct("<I")
_RUN = Struct("<BBHH")
_KINDS: Final = (FrameKind.HEADER, FrameKind.INSTRUMENTS)


class Places:
    """Where the frames of one segment that were taken so far end, and what is in force there."""

    def __init__(self, first_seq: int) -> None:
        self.offset = FILE_HEADER_BYTES
        """Behind the last frame that was taken."""
        self.next_seq = first_seq
        self.time_ns = 0
        self._opening = 0
        """Offset of the header in force; 0 before the first."""
        self._due_instruments = 0
        """How many instruments the header in force still lacks."""
        self._last = FILE_HEADER_BYTES

    @classmethod
    def behind(cls, place: Place) -> "Places":
        """To go on at a place, as if the frames before it had been taken. That of a header or of
        INSTRUMENTS comes again."""
        places = cls(place.seq)
        places.offset = places._last = place.offset
        places.time_ns, places._opening = place.time_ns, place.opening
        return places

    def take(self, frames: bytes) -> list[Place]:
        """The places in the whole frames that follow."""
        first = self._due_place(len(frames))
        found = scan(frames, 0, self.next_seq, self.time_ns, stop=len(frames))
        assert found.fault is Fault.NONE, f"frame at {found.offset} is not right: {found.fault!r}"
        places = []
        for mark in found.marks:
            if mark.kind in _KINDS:
                places += self._marked(frames, mark)
        if first and not (places and places[0].offset == first.offset):
            places.insert(0, first)
        self.offset += len(frames)
        self.next_seq, self.time_ns = found.next_seq, found.time_ns
        return places

    def _due_place(self, size: int) -> Place | None:
        """The place before the next bytes, if so many lead too far from the last one."""
        is_far = self.offset + size - self._last > PLACE_EVERY_BYTES
        if not (size and self._opening and is_far):
            return None
        self._last = self.offset
        return self._place(0, self.next_seq, self.time_ns, PlaceKind.FRAME)

    def _marked(self, frames: bytes, mark: Mark) -> list[Place]:
        """The place of a header or of INSTRUMENTS, if it has one."""
        begin = mark.offset + LENGTH_BYTES
        if mark.kind == FrameKind.INSTRUMENTS:
            *_, count = _RUN.unpack_from(frames, begin)
            if self._due_instruments:
                self._due_instruments -= count
                return []
            return [self._marked_place(frames, mark, PlaceKind.CHANGE)]
        (length,) = _LENGTH.unpack_from(frames, mark.offset)
        is_first = not self._opening
        places = [] if is_first else [self._marked_place(frames, mark, PlaceKind.OPENING)]
        _, self._due_instruments = decode_header(frames[begin : begin + length])
        self._opening = self.offset + mark.offset
        return places

    def _marked_place(self, frames: bytes, mark: Mark, kind: PlaceKind) -> Place:
        before = scan(frames, 0, self.next_seq, self.time_ns, stop=mark.offset)
        return self._place(mark.offset, mark.seq, before.time_ns, kind)

    def _place(self, at: int, seq: int, time_ns: int, kind: PlaceKind) -> Place:
        return Place(
            seq=seq,
            time_ns=time_ns,
            offset=self.offset + at,
            opening=self._opening,
            kind=kind,
        )
