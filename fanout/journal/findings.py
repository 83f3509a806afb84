"""What a check of a journal finds, and the checks of a segment's headers and of its index.

Most findings are faults. Some are not: a LOSS that was reported, or numbers that a writer wrote
anew in the next segment after its disk had failed.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from fanout.protocol.constants import LENGTH_BYTES, START, FrameKind
from fanout.protocol.errors import PeerError
from fanout.protocol.events import decode_event
from fanout.protocol.instruments import with_instruments
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX_MAGIC,
    PLACE_BYTES,
    PLACE_EVERY_BYTES,
    Place,
    PlaceKind,
    decode_file_header,
    decode_places,
)
from fanout.protocol.journal_scan import Mark
from fanout.protocol.listing import Listing
from fanout.protocol.records import Header, Loss

MOST_UNCOVERED_BYTES: Final = 16 * PLACE_EVERY_BYTES
"""How much of a segment may stand behind the last place of its index: a writer puts places into
the index some time after the frames."""


class FindingKind(StrEnum):
    """What was found."""

    FILE = "file"
    """The file is no segment, or not the one that its name says."""
    DAMAGED = "damaged"
    """Bytes that cannot be read, and the numbers that are missing with them, if any are."""
    MISSING = "missing"
    """Numbers that are not there, and no LOSS reports them."""
    REPEATED = "repeated"
    """Numbers that stand there twice."""
    HEADER = "header"
    """A header, INSTRUMENTS, START or END that cannot be where it stands."""
    INDEX = "index"
    """A place of the index is wrong, or lacking. `fanout journal index` makes it anew."""
    SHORT = "short"
    """The index ends before its segment does. `fanout journal index` makes it anew."""
    TORN = "torn"
    """The last bytes are no whole frame. The next start of the service cuts them off."""
    LOST = "lost"
    """Numbers that a LOSS reports. No fault."""
    ANEW = "anew"
    """Numbers that the next segment has as well. No fault."""

    @property
    def is_fault(self) -> bool:
        return self not in (FindingKind.LOST, FindingKind.ANEW)


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is wrong with a segment, or worth knowing."""

    kind: FindingKind
    why: str
    offset: int | None = None
    """Of the first byte concerned, in the segment; for INDEX and SHORT in the index."""
    size: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None


class HeaderCheck:
    """Follows the headers of a segment, the INSTRUMENTS that change them, LOSS and END."""

    def __init__(self, channel: str, epoch_ns: int) -> None:
        self._channel = channel
        self._epoch_ns = epoch_ns
        self._listing = Listing()
        self._header: Header | None = None
        self._behind = 0
        """Where the next INSTRUMENTS of an unfinished header have to stand."""
        self.opening = 0
        """Offset of the header in force."""
        self.changes: dict[int, PlaceKind] = {}
        """Headers and INSTRUMENTS in mid-stream, by their offsets: they have places in the
        index."""
        self.is_ended = False
        self._end = 0
        """Where END ends."""
        self.findings: list[Finding] = []

    def take(self, window: bytes, base: int, marks: Iterable[Mark]) -> None:
        """The marked frames of a window that begins at an offset, in their order."""
        for mark in marks:
            at = mark.offset
            behind = at + LENGTH_BYTES + int.from_bytes(window[at : at + LENGTH_BYTES], "little")
            try:
                self._take(mark, window[at + LENGTH_BYTES : behind], base + at)
            except PeerError as error:
                self._say(str(error), base + at)
            self._behind = base + behind

    def end(self, offset: int) -> None:
        """The frames end at `offset`."""
        if self._header is None:
            self._say("no header with all its instruments", FILE_HEADER_BYTES)
        if self.is_ended and offset > self._end:
            self._say("more bytes behind END", self._end)

    def _take(self, mark: Mark, payload: bytes, offset: int) -> None:
        match mark.kind:
            case FrameKind.HEADER:
                self._begin(payload, offset)
            case FrameKind.INSTRUMENTS:
                self._instruments(payload, offset)
            case FrameKind.END:
                self.is_ended = True
                self._end = offset + LENGTH_BYTES + len(payload)
            case FrameKind.LOSS if self._header is not None:
                loss = decode_event(payload, self._header)
                assert isinstance(loss, Loss), "its kind says so"
                self.findings.append(
                    Finding(
                        kind=FindingKind.LOST,
                        why=loss.reason.name,
                        offset=offset,
                        first_seq=loss.first_seq,
                        last_seq=loss.last_seq,
                    )
                )
            case _ if payload == START and offset != FILE_HEADER_BYTES:
                self._say("START in mid-stream", offset)

    def _begin(self, payload: bytes, offset: int) -> None:
        if self.opening:
            self.changes[offset] = PlaceKind.OPENING
        self.opening = offset
        self._listing = self._listing.begin(payload)
        self._use_if_whole(offset)

    def _instruments(self, payload: bytes, offset: int) -> None:
        if self._listing.gathering is not None:
            if offset != self._behind:
                self._say("frames between a header and its instruments", offset)
            self._listing = self._listing.add(payload)
            self._use_if_whole(offset)
        elif self._header is not None:
            self.changes[offset] = PlaceKind.CHANGE
            self._use(with_instruments(self._header, payload))

    def _use_if_whole(self, offset: int) -> None:
        header = self._listing.whole
        if header is None:
            return
        if (header.epoch_ns, header.channel) != (self._epoch_ns, self._channel):
            why = f"header of channel {header.channel}, epoch {header.epoch_ns}"
            self._say(why, offset)
        self._use(header)

    def _use(self, header: Header) -> None:
        self._listing = self._listing.using(header)
        self._header = header

    def _say(self, why: str, offset: int) -> None:
        self.findings.append(Finding(kind=FindingKind.HEADER, why=why, offset=offset))


class IndexCheck:
    """Holds the places of an index against the frames, which come in their order."""

    def __init__(self, data: bytes, epoch_ns: int, first_seq: int) -> None:
        self.findings: list[Finding] = []
        self._places = self._decoded(data, epoch_ns, first_seq)[::-1]
        """Those that are still ahead, the next one last."""
        self._count = len(self._places)
        self._kinds = {(each.offset, each.kind) for each in self._places}
        """A frame may have two places: as any frame, and as a header or INSTRUMENTS."""
        self._last = self._places[0].offset if self._places else FILE_HEADER_BYTES

    def _decoded(self, data: bytes, epoch_ns: int, first_seq: int) -> list[Place]:
        if not data:
            self._say(FindingKind.SHORT, "there is none", 0)
            return []
        try:
            found = decode_file_header(data, INDEX_MAGIC)
        except PeerError as error:
            self._say(FindingKind.INDEX, str(error), 0)
            return []
        if (found.epoch_ns, found.first_seq) != (epoch_ns, first_seq):
            self._say(FindingKind.INDEX, "it is the index of another segment", 0)
            return []
        places = decode_places(data[FILE_HEADER_BYTES:])
        behind = FILE_HEADER_BYTES + len(places) * PLACE_BYTES
        if len(data) - behind >= PLACE_BYTES:
            self._say(FindingKind.INDEX, "a place is damaged, or out of order", behind)
        return places

    def next_place(self, offset: int) -> Place | None:
        """The first place at an offset of the segment or behind it."""
        while self._places and self._places[-1].offset < offset:
            self._places.pop()  # in bytes that are damaged
        return self._places[-1] if self._places else None

    def check(self, offset: int, seq: int, time_ns: int, opening: int) -> None:
        """The next place, now that the frames before it have come: they end at `offset`."""
        at, place = self._at, self._places.pop()
        if place.offset != offset:
            why = f"no frame begins at {place.offset}"
        elif place.seq != seq:
            why = f"number {place.seq} at {offset}, where {seq} is due"
        elif place.time_ns != time_ns:
            why = f"time {place.time_ns} at {offset}, where it is {time_ns}"
        elif place.opening != opening:
            why = f"header at {place.opening} for {offset}, where that at {opening} is in force"
        else:
            return
        self._say(FindingKind.INDEX, why, at)

    def end(self, offset: int, changes: Mapping[int, PlaceKind]) -> None:
        """The frames end at `offset`, and some of them have to have a place."""
        if self._places:
            why = f"a place at {self._places[-1].offset}, behind the last frame"
            self._say(FindingKind.INDEX, why, self._at)
        for at, _ in sorted(changes.items() - self._kinds):
            why = f"no place for the {changes[at].name.lower()} at {at}"
            self._say(FindingKind.INDEX if at < self._last else FindingKind.SHORT, why, self._at)
        if offset - self._last > MOST_UNCOVERED_BYTES and not self.findings:
            why = f"its last place is at {self._last}, and the segment ends at {offset}"
            self._say(FindingKind.SHORT, why, self._at)

    @property
    def _at(self) -> int:
        """Where the next place stands in the index."""
        return FILE_HEADER_BYTES + PLACE_BYTES * (self._count - len(self._places))

    def _say(self, kind: FindingKind, why: str, offset: int) -> None:
        self.findings.append(Finding(kind=kind, why=why, offset=offset))
