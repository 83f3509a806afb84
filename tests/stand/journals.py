"""Journals in memory, made of what real channels publish."""

from collections.abc import Sequence

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.protocol import Request
from fanout.protocol.constants import FrameKind
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX_MAGIC,
    FileHeader,
    Place,
    PlaceKind,
    decode_file_header,
    encode_file_header,
    encode_places,
)
from fanout.protocol.journal_scan import scan


class MemoryFile:
    """A segment that is open. The test may change its bytes meanwhile."""

    def __init__(self, segment: "MemorySegment") -> None:
        self._segment = segment
        self.is_open = True

    def read(self, offset: int, size: int) -> bytes:
        assert self.is_open
        self._segment.reads += 1
        if self._segment.reads in self._segment.early:
            return b""
        for bad in self._segment.unreadable:
            if offset <= bad < offset + size:
                size = bad - offset
                if not size:
                    raise OSError(5, "Input/output error")
        return bytes(self._segment.data[offset : offset + size])

    def size(self) -> int:
        if self._segment.is_gone:
            raise OSError(5, "Input/output error")
        return len(self._segment.data)

    def index(self) -> bytes:
        if self._segment.index is None:
            raise OSError(5, "Input/output error")
        return self._segment.index

    def created_ns(self) -> int:
        return decode_file_header(self.read(0, FILE_HEADER_BYTES)).created_ns

    def close(self) -> None:
        self.is_open = False


class MemorySegment:
    """A segment's bytes, and those of its index."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.index: bytes | None = b""
        self.unreadable: Sequence[int] = ()
        """Offsets that the disk fails to read."""
        self.reads = 0
        self.early: Sequence[int] = ()
        """Which reads come before what they ask for is there. It is there at once after that."""
        self.is_gone = False
        """Whether the disk does not tell the size either."""


class MemoryFiles:
    """A channel's folder."""

    def __init__(self) -> None:
        self.all: dict[tuple[int, int], MemorySegment] = {}
        self.opened: list[MemoryFile] = []
        self.withheld: set[tuple[int, int]] = set()
        """Segments that are listed and cannot be opened: they have just been removed."""
        self.errors: dict[tuple[int, int], OSError] = {}
        """What opening a segment fails with that is there."""

    def epochs(self) -> list[int]:
        return sorted({epoch_ns for epoch_ns, _ in self.all})

    def segments(self, epoch_ns: int) -> list[int]:
        return sorted(first_seq for epoch, first_seq in self.all if epoch == epoch_ns)

    def open(self, epoch_ns: int, first_seq: int) -> MemoryFile:
        if (epoch_ns, first_seq) in self.withheld:
            raise FileNotFoundError(2, "No such file or directory")
        if (epoch_ns, first_seq) in self.errors:
            raise self.errors[epoch_ns, first_seq]
        self.opened.append(MemoryFile(self.all[epoch_ns, first_seq]))
        return self.opened[-1]


class Recorder:
    """Writes what a channel publishes to a journal, as the service does."""

    def __init__(self, files: MemoryFiles, channel: Channel, *, place_every: int = 300) -> None:
        self.files = files
        self.channel = channel
        self._place_every = place_every
        self.begin()

    def begin(self, created_ns: int = 0) -> None:
        """Begin the next segment, with a reader that begins live."""
        self._reader = Reader(self.channel)
        header = self.channel.header
        self.first_seq = self.channel.log.next_seq
        self.made = FileHeader(
            epoch_ns=header.epoch_ns, first_seq=self.first_seq, created_ns=created_ns
        )
        self.segment = self.files.all[header.epoch_ns, self.first_seq] = MemorySegment()
        self.segment.data += encode_file_header(self.made) + self._reader.greeting
        self.segment.data += self._reader.start(Request())
        self.write()

    def write(self) -> None:
        """Write what was published, and make the index anew."""
        while piece := self._reader.next_piece():
            self.segment.data += piece
        self.index()

    def heartbeat(self, time_ns: int) -> None:
        self.write()
        self.segment.data += self.channel.heartbeat(time_ns)
        self.index()

    def index(self) -> None:
        self.segment.index = index_of(self.segment.data, self.made, self._place_every)


def index_of(data: bytes | bytearray, header: FileHeader, place_every: int) -> bytes:
    """The index of a segment, as far as its frames are good."""
    places, data = list[Place](), bytes(data)
    offset, seq, time_ns, opening, is_listing = FILE_HEADER_BYTES, header.first_seq, 0, 0, False
    last = 0
    while (found := scan(data, offset, seq, time_ns, stop=offset + 1)).frames:
        kind = data[offset + 4]
        is_listing = kind == FrameKind.HEADER or (is_listing and kind == FrameKind.INSTRUMENTS)
        place = PlaceKind.FRAME
        if is_listing and opening:
            place = PlaceKind.OPENING if kind == FrameKind.HEADER else PlaceKind.FRAME
        elif kind == FrameKind.INSTRUMENTS and not is_listing:
            place = PlaceKind.CHANGE
        if opening and (place or (offset - last >= place_every and not is_listing)):
            last = offset
            places.append(
                Place(seq=seq, time_ns=time_ns, offset=offset, opening=opening, kind=place)
            )
        if kind == FrameKind.HEADER:
            opening = offset
        offset, seq, time_ns = found.offset, found.next_seq, found.time_ns
    return encode_file_header(header, INDEX_MAGIC) + encode_places(places)
