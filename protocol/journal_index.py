"""Searching the index of a segment without decoding all of it.

An index of a long segment has thousands of places. A search decodes the dozen that it looks at, and
checks the CRC of the one it returns. Where a power cut left zeros, the index ends. Other damage may
lead a search astray: it passes over the places that it was not asked for. A place is a hint: the
caller checks the frame that it names.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from struct import Struct
from typing import Final

from fanout.protocol.errors import PeerError
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX_MAGIC,
    PLACE_BYTES,
    Place,
    PlaceKind,
    decode_file_header,
    decode_places,
)

_U64 = Struct("<Q")
_TIME_AT: Final = 8
_OFFSET_AT: Final = 16
_KIND_AT: Final = 32
_ZEROS: Final = bytes(PLACE_BYTES)
"""As many never stand together in places: no number and no offset is 0."""
_CHANGES: Final = re.compile(bytes((PlaceKind.CHANGE,)))
_HEADERS: Final = re.compile(b"[%c%c]" % (PlaceKind.OPENING, PlaceKind.CHANGE))


class Index:
    """The places of one segment, in the order of its frames."""

    def __init__(self, data: bytes, epoch_ns: int, first_seq: int) -> None:
        """`data` is the whole file. One of another segment, or none at all, has no places."""
        self._data = data
        end = data.find(_ZEROS, FILE_HEADER_BYTES)
        self._count = ((end if end >= 0 else len(data)) - FILE_HEADER_BYTES) // PLACE_BYTES
        try:
            header = decode_file_header(data, INDEX_MAGIC)
            is_ours = (header.epoch_ns, header.first_seq) == (epoch_ns, first_seq)
        except PeerError:
            is_ours = False
        if not is_ours:
            self._count = 0
        kinds = data[FILE_HEADER_BYTES + _KIND_AT :: PLACE_BYTES][: self._count]
        self._changes = [self._offset(each.start()) for each in _CHANGES.finditer(kinds)]
        self._headers = [self._offset(each.start()) for each in _HEADERS.finditer(kinds)]

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    @property
    def last_seq(self) -> int:
        """The number that is due at the last place; 0 if there is none."""
        return self._seq(self._count - 1) if self._count > 0 else 0

    @property
    def last_ns(self) -> int:
        """The time of the last place; 0 if there is none."""
        return self._time(self._count - 1) if self._count > 0 else 0

    def before_seq(self, seq: int) -> Iterator[Place]:
        """The places at which `seq` or an earlier number is due, the last one first."""
        places = self._back_from(bisect_right(range(self._count), seq, key=self._seq))
        return (each for each in places if each.seq <= seq)

    def before_time(self, time_ns: int) -> Iterator[Place]:
        """The places before which every frame is earlier than `time_ns`, the last one first."""
        places = self._back_from(bisect_left(range(self._count), time_ns, key=self._time))
        return (each for each in places if each.time_ns < time_ns)

    def behind(self, offset: int) -> Iterator[Place]:
        """The places behind an offset, the first one first."""
        first = bisect_right(range(self._count), offset, key=self._offset)
        return filter(None, map(self._place, range(first, self._count)))

    def changes(self, start: int, stop: int) -> list[int]:
        """The offsets of INSTRUMENTS in mid-stream, from `start` up to before `stop`."""
        return self._changes[bisect_left(self._changes, start) : bisect_left(self._changes, stop)]

    def has_header(self, start: int, stop: int) -> bool:
        """Whether the header in force changes at a frame from `start` up to before `stop`."""
        return bisect_left(self._headers, start) < bisect_left(self._headers, stop)

    def _back_from(self, stop: int) -> Iterator[Place]:
        return filter(None, map(self._place, range(stop - 1, -1, -1)))

    def _place(self, index: int) -> Place | None:
        at = FILE_HEADER_BYTES + index * PLACE_BYTES
        places = decode_places(self._data[at : at + PLACE_BYTES])
        return places[0] if places else None

    def _seq(self, index: int) -> int:
        return self._field(index, 0)

    def _time(self, index: int) -> int:
        return self._field(index, _TIME_AT)

    def _offset(self, index: int) -> int:
        return self._field(index, _OFFSET_AT)

    def _field(self, index: int, at: int) -> int:
        value: int = _U64.unpack_from(self._data, FILE_HEADER_BYTES + index * PLACE_BYTES + at)[0]
        return value
