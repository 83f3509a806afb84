"""One segment of a journal, for a reader: where a number or a time stands in it, and its frames.

A `Spot` is a place between two frames, with all that is needed to go on there: the number that is
due, and the header in force. `advance` reads on from a spot, `seek` and `seek_time` find one, and
`resync` finds the next good frame behind one that is damaged.

    | 64 bytes | START | header, instruments | snapshots | frames ...       | maybe torn |
                                             ^ head                 ^ spot

A segment may be read while it is written. It then ends for now behind its last whole frame.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from struct import Struct
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from fanout.protocol.blocks import block_from
from fanout.protocol.constants import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    MAX_SEQ,
    NUMBERED_KINDS,
    START,
    BlockFlags,
    FrameKind,
    LossReason,
)
from fanout.protocol.errors import FanoutError, MalformedError, PeerError
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import (
    MAX_OPENING_BYTES,
    decode_header,
    decode_opening,
    encode_header,
    with_next_seq,
)
from fanout.protocol.instruments import encode_instruments, with_instruments
from fanout.protocol.joining import first_seq as number_of
from fanout.protocol.journal import FILE_HEADER_BYTES, FileHeader, Place, decode_file_header
from fanout.protocol.journal_index import Index
from fanout.protocol.journal_kept import Kept
from fanout.protocol.journal_scan import Fault, Scan, find_frame, scan
from fanout.protocol.records import Header, Loss

READ_BYTES: Final = 256 * 1024
"""How much is read at once. The longest opening fits."""

assert FILE_HEADER_BYTES + MAX_OPENING_BYTES < READ_BYTES

HEAD_BYTES: Final = 16 * 1024
"""How much of a segment is read first: the header and a hundred instruments."""

MAX_RESYNC_BYTES: Final = 1024 * 1024
"""How far behind a damaged frame the next good one is looked for, byte by byte. Beyond it only the
places of the index are tried."""

MAX_PLACES_TRIED: Final = 8
"""How many places of an index are tried, before the segment is read from its beginning."""

_U32 = Struct("<I")
_U16 = Struct("<H")
_COUNT_AT: Final = 4
"""Where INSTRUMENTS have the number of their entries, in the payload."""

_PEEK_BYTES: Final = LENGTH_BYTES + MAX_FRAME_BYTES
"""The longest frame."""

_PROBE_BYTES: Final = 2 * 1024
"""More than most frames have: as much is read first to look at one."""

STEP_BYTES: Final = 16 * 1024
"""How much is read at once on the way from a place of the index to a frame. Half of the way between
two places is the mean: in steps of all of it, most of what is read is of no use."""

_LIMIT: Final = 2**64
_SNAPSHOT: Final = BlockFlags.SNAPSHOT.value
_START: Final = frame(START)
_HEADER_KINDS: Final = (bytes((FrameKind.HEADER,)), bytes((FrameKind.INSTRUMENTS,)))


class SegmentFile(Protocol):
    """A segment that is open to be read, with its index."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes from there; fewer at the end. Raises `OSError`."""
        ...

    def size(self) -> int: ...

    def index(self) -> bytes:
        """All of the index's file; empty if there is none."""
        ...

    def created_ns(self) -> int:
        """When the segment was made. Raises `OSError` or `PeerError` where nothing tells."""
        ...

    def close(self) -> None: ...


class Spot(msgspec.Struct, frozen=True, gc=False):
    """A place between two frames of a segment."""

    offset: int
    seq: int
    """The number that is due there."""
    header: Header
    """In force there."""
    time_ns: int = 0
    """The latest time of the frames before it, as far as they were read."""


class Advance(NamedTuple):
    """What stands behind a spot, as far as it was read."""

    data: bytes
    """Whole frames that a connection can have in this order: no START, and no END."""
    spot: Spot
    """Behind them."""
    fault: Fault
    """What is wrong with the frame behind them. CUT: the segment ends there, for now."""
    is_ended: bool = False
    """Whether an END stands there."""
    is_more: bool = False
    """Whether the frame stands there before which it was to stop."""


class _Instruments(NamedTuple):
    """A list of instruments."""

    frames: bytes
    header: Header
    """One that has it."""


class _Opening(NamedTuple):
    """A header, encoded."""

    header: Header
    payload: bytes
    instruments: bytes
    """Their frames."""


class Seen:
    """What was decoded of a journal, for all who read there. Bounded. Threads may share it."""

    INSTRUMENTS: Final = 16
    """How many lists of instruments are kept. The headers of an epoch mostly have the same."""
    INDEX_BYTES: Final = 32 * 1024 * 1024
    """What the indexes of sealed segments may take together: those of 200 of 256 MiB."""
    OPENING_BYTES: Final = 4 * 1024 * 1024
    """What headers may take together, once encoded. Instruments that were read do not count."""
    SEGMENTS: Final = 4_096
    """Of how many segments the head and the time of creation are kept."""

    def __init__(self) -> None:
        self._instruments = Kept[_Instruments](self.INSTRUMENTS)
        self._indexes = Kept[Index](self.INDEX_BYTES)
        self._created = Kept[int](self.SEGMENTS)
        self._forget_headers()

    def _forget_headers(self) -> None:
        self._heads = Kept[Spot](self.SEGMENTS)
        self._openings = Kept[_Opening](self.OPENING_BYTES)

    def header(self, payload: bytes, bare: Header, instruments: bytes) -> Header:
        """The header in a payload, with the instruments in the frames behind it; `bare` is without
        them. Raises `PeerError`."""
        known = self._instruments.get(instruments)
        if known is None:
            header = decode_opening(frame(payload) + instruments)
            if self._instruments.keep(instruments, _Instruments(instruments, header)):
                self._forget_headers()  # they hold the lists that are forgotten
            return header
        return replace(
            bare, instruments=known.header.instruments, references=known.header.references
        )

    def opening(self, header: Header, next_seq: int) -> bytes:
        """What `fanout.protocol.header.opening` gives for a header with this number due. What was
        read or encoded before is not encoded anew: that takes a third of the time of a seek, and
        with hundreds of instruments nearly all."""
        known = self._openings.get(id(header))
        if known is None or known.header is not header:
            known = self._encoded(header)
        return frame(with_next_seq(known.payload, next_seq)) + known.instruments

    def _encoded(self, header: Header) -> "_Opening":
        payload, instruments, size = encode_header(header), self._frames_of(header), 0
        if instruments is None:
            payloads = encode_instruments(header, 0, len(header.instruments))
            instruments = b"".join(map(frame, payloads))
            size = len(instruments)
        known = _Opening(header, payload, instruments)
        self._openings.keep(id(header), known, len(payload) + size)
        return known

    def _frames_of(self, header: Header) -> bytes | None:
        """The frames of a header's instruments, if they were read."""
        for each in self._instruments.values():
            is_same = each.header.instruments is header.instruments
            if is_same and each.header.references is header.references:
                return each.frames
        return None

    def index(self, epoch_ns: int, first_seq: int, *, is_sealed: bool) -> Index | None:
        """The index of a segment, if it is kept. One that is not sealed has a longer one by now."""
        return self._indexes.get((epoch_ns, first_seq, is_sealed))

    def keep_index(self, epoch_ns: int, first_seq: int, index: Index, *, is_sealed: bool) -> None:
        self._indexes.keep((epoch_ns, first_seq, is_sealed), index, index.size_bytes)

    def head(self, epoch_ns: int, first_seq: int) -> Spot | None:
        """The head of a sealed segment, if it is kept."""
        return self._heads.get((epoch_ns, first_seq))

    def keep_head(self, epoch_ns: int, first_seq: int, head: Spot) -> None:
        self._heads.keep((epoch_ns, first_seq), head)

    def created_ns(self, epoch_ns: int, first_seq: int) -> int | None:
        """When a segment was made, if that is kept."""
        return self._created.get((epoch_ns, first_seq))

    def keep_created(self, epoch_ns: int, first_seq: int, created_ns: int) -> None:
        self._created.keep((epoch_ns, first_seq), created_ns)


class Segment:
    """A segment that is open to be read."""

    def __init__(
        self,
        file: SegmentFile,
        epoch_ns: int,
        first_seq: int,
        seen: Seen,
        *,
        is_sealed: bool = False,
    ) -> None:
        """Reads the head, unless it is kept. Raises `PeerError` for a file that is no such segment,
        or whose head cannot be read."""
        self.file = file
        self.is_sealed = is_sealed
        """Whether nothing more is written to it. The caller finds out."""
        self.epoch_ns = epoch_ns
        self.first_seq = first_seq
        self._seen = seen
        self._window: tuple[int, bytes] = 0, b""
        """What was read in advance, and its offset."""
        self.made: FileHeader | None = None
        """The file's header, if it was read."""
        head = seen.head(epoch_ns, first_seq) if is_sealed else None
        if head is None:
            head = self._read_head()
            if is_sealed:
                seen.keep_head(epoch_ns, first_seq, head)
        self.head = head
        """Behind the header and its instruments, before the snapshots."""

    def _read_head(self) -> Spot:
        data = self.read(0, HEAD_BYTES)
        self.made = found = decode_file_header(data)
        if (found.epoch_ns, found.first_seq) != (self.epoch_ns, self.first_seq):
            raise MalformedError("the file is named after another segment")
        at = FILE_HEADER_BYTES + len(_START) * data.startswith(_START, FILE_HEADER_BYTES)
        try:
            header, behind = self._opening(data, at)
        except _CutError:
            header, behind = self._opening(self.read(0, READ_BYTES), at)
        if header.next_seq != self.first_seq:
            raise MalformedError(f"the segment begins at number {header.next_seq}")
        return Spot(behind, self.first_seq, header)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file; none of a part that the disk fails to give."""
        begin, window = self._window
        if offset == begin and size <= len(window):
            return window[:size]
        try:
            return self.file.read(offset, size)
        except OSError:
            return b""

    def index(self, is_enough: Callable[[Index], bool] = lambda index: False) -> Index:
        """The segment's index. It grows as long as the segment does: an older state of it is given
        only if that `is_enough`."""
        name, is_sealed = (self.epoch_ns, self.first_seq), self.is_sealed
        index = self._seen.index(*name, is_sealed=is_sealed)
        if index is None or not (is_sealed or is_enough(index)):
            try:
                index = Index(self.file.index(), *name)
            except OSError:
                return Index(b"", *name)  # the next try may go better
            self._seen.keep_index(*name, index, is_sealed=is_sealed)
        return index

    def advance(
        self, at: Spot, limit: int, *, until_seq: int = MAX_SEQ + 1, until_ns: int = _LIMIT
    ) -> Advance:
        """Read on from a spot: some `limit` bytes, at least a frame. It stops before the frame
        with the number `until_seq`, and before the first frame of the time `until_ns` or later."""
        return self._advance(at, limit, until_seq, until_ns, is_read=True)

    def _advance(
        self, at: Spot, limit: int, until_seq: int, until_ns: int, *, is_read: bool
    ) -> Advance:
        """The same, without the data unless it is to be read."""
        for size in (limit, READ_BYTES):
            data = self.read(at.offset, size)
            if not data and self.size() > at.offset:
                return Advance(b"", at, Fault.CRC)
            found = scan(
                data, 0, at.seq, at.time_ns, stop=len(data), until_seq=until_seq, until_ns=until_ns
            )
            ahead = self._minded(at, data, found, is_read=is_read)
            if ahead.spot.offset > at.offset or ahead.fault is not Fault.CUT:
                break
        return ahead

    def size(self) -> int:
        """Of the file; 0 if the disk does not tell."""
        try:
            return self.file.size()
        except OSError:
            return 0

    def _minded(self, at: Spot, data: bytes, found: Scan, *, is_read: bool) -> Advance:
        """What a scan found, as far as its headers can be read."""
        pieces, header = list[bytes](), at.header
        begin = behind = 0
        stop, seq, fault, is_ended = found.offset, found.next_seq, found.fault, False
        for mark in found.marks:
            if mark.offset < behind:
                continue  # of the header before it
            if mark.kind == START[0]:
                pieces.append(data[begin : mark.offset] if is_read else b"")
                begin = mark.offset + len(_START)
                continue
            is_ended = mark.kind == FrameKind.END
            try:
                if mark.kind == FrameKind.HEADER:
                    header, behind = self._opening(data[: found.offset], mark.offset)
                elif mark.kind == FrameKind.INSTRUMENTS:
                    header = with_instruments(header, _payload(data, mark.offset))
                elif not is_ended:
                    continue
            except _CutError:
                stop, seq, fault = mark.offset, mark.seq, fault or Fault.CUT
                break
            except PeerError:
                stop, seq, fault = mark.offset, mark.seq, Fault.MALFORMED
                break
            if is_ended:
                stop, seq, fault = mark.offset, mark.seq, Fault.NONE
                break
        if is_read:
            pieces.append(data[begin:stop])
        spot = Spot(at.offset + stop, seq, header, found.time_ns)
        is_more = fault is Fault.NONE and not is_ended and stop < len(data)
        return Advance(b"".join(pieces), spot, fault, is_ended, is_more)

    def seek(self, seq: int) -> Spot:
        """The spot before the frame with a number, or behind all frames if it is not there. If the
        number stands in a damaged part, before that."""
        index = self.index(lambda index: seq < index.last_seq)
        found = self.skip(self._nearest(index, index.before_seq(seq)), until_seq=seq)
        self._window = 0, b""
        return found.spot

    def seek_time(self, time_ns: int) -> tuple[Spot, bool]:
        """The spot before the first frame of a time, or behind all frames; and whether there is
        such a frame."""
        index = self.index(lambda index: time_ns <= index.last_ns)
        found = self.skip(self._nearest(index, index.before_time(time_ns)), until_ns=time_ns)
        self._window = 0, b""
        return found.spot, found.is_more

    def skip(self, at: Spot, *, until_seq: int = MAX_SEQ + 1, until_ns: int = _LIMIT) -> Advance:
        """Go on from a spot to the frame with a number, or to the first one of a time, as `seek`
        and `seek_time` do."""
        while True:
            ahead = self._advance(at, STEP_BYTES, until_seq, until_ns, is_read=False)
            if ahead.is_more:
                return ahead
            if ahead.spot.offset > at.offset:
                at = ahead.spot
                continue
            if ahead.fault is Fault.NONE or (ahead.fault is Fault.CUT and not self.is_sealed):
                return ahead
            found = self.resync(at)
            if found is None or found.seq > until_seq:
                return ahead
            at = found

    def rest(self, at: Spot, seq: int) -> tuple[bytes, Spot] | None:
        """The rest, from a number on, of the frame at a spot, and the spot behind it. None if that
        frame does not hold the number."""
        data = self.read(at.offset, _PEEK_BYTES)
        found = scan(data, 0, at.seq, at.time_ns, stop=1)
        if found.next_seq <= seq:
            return None
        behind = Spot(at.offset + found.offset, found.next_seq, at.header, found.time_ns)
        payload = _payload(data, 0)
        try:
            return frame(block_from(payload, seq, at.header)), behind
        except FanoutError:  # a LOSS, or a kind that is not known here
            lost = Loss(first_seq=seq, last_seq=behind.seq - 1, reason=LossReason.DAMAGED)
            if payload[0] == FrameKind.LOSS:
                event = decode_event(payload, at.header)
                assert isinstance(event, Loss), "its kind says so"
                lost = replace(lost, reason=event.reason)
            return frame(encode_event(lost)), behind

    def payload(self, at: Spot) -> bytes:
        """The payload of the good frame at a spot."""
        return _payload(self.read(at.offset, _PEEK_BYTES), 0)

    def _nearest(self, index: Index, places: Iterator[Place]) -> Spot:
        """The spot of the first place that is right, or the segment's beginning."""
        for place in islice(places, MAX_PLACES_TRIED):
            spot = self._spot(index, place)
            if spot is not None:
                return spot
        return self.head

    def _spot(self, index: Index, place: Place) -> Spot | None:
        """The spot at a place of the index, with the header in force there; None if the place does
        not fit the segment."""
        if place.offset <= self.head.offset:
            return None
        self._window = place.offset, self.read(place.offset, STEP_BYTES)  # `skip` begins with it
        if self._number(place.offset) != place.seq:
            return None
        try:
            header, behind = self._header_at(place.opening)
            for offset in index.changes(behind, place.offset):
                header = with_instruments(header, _payload(self.read(offset, _PEEK_BYTES), 0))
        except PeerError:
            return None
        return Spot(place.offset, place.seq, header, place.time_ns)

    def resync(self, at: Spot) -> Spot | None:
        """The first good frame behind a spot where none stood; None if none is found. The number
        that is due there tells which are missing. Where a header may be among the missing frames,
        it is the next header: the records before it cannot be read."""
        window = self.read(at.offset, MAX_RESYNC_BYTES)
        is_header = window[LENGTH_BYTES : LENGTH_BYTES + 1] in _HEADER_KINDS
        if not is_header and scan(window, 0, at.seq, at.time_ns, stop=1).frames:
            return at  # it was just being written
        index = self.index()
        found = self._good(at, window, index)
        if found is None or found.offset == at.offset:
            return found
        if is_header or index.has_header(at.offset, found.offset):
            return self._next_header(found)
        return found

    def _good(self, at: Spot, window: bytes, index: Index) -> Spot | None:
        """The first good frame behind a spot. The frame at the spot is the first one to be tried:
        it may be good, and its number too great."""
        behind = self._good_place(at, index)
        stop = len(window) if behind is None else behind.offset - at.offset
        for offset in _candidates(window, stop):
            seq = _number_at(window, offset)
            if seq is not None and (seq > at.seq or (seq == at.seq and offset)):
                return Spot(at.offset + offset, seq, at.header, at.time_ns)
        return behind

    def _good_place(self, at: Spot, index: Index) -> Spot | None:
        """The first place of the index behind a spot at which a good frame stands."""
        for place in index.behind(at.offset):
            seq = self._number(place.offset)
            if seq is not None and seq >= at.seq:
                return Spot(place.offset, seq, at.header, at.time_ns)
        return None

    def _number(self, offset: int) -> int | None:
        """What `_number_at` finds at an offset of the file."""
        seq = _number_at(self.read(offset, _PROBE_BYTES), 0)
        return _number_at(self.read(offset, _PEEK_BYTES), 0) if seq is None else seq

    def _next_header(self, at: Spot) -> Spot | None:
        """The next header in mid-stream, as far as the frames until then are good."""
        offset, seq = at.offset, at.seq
        while True:
            data = self.read(offset, READ_BYTES)
            found = scan(data, 0, seq, at.time_ns, stop=len(data))
            for mark in found.marks:
                if mark.kind == FrameKind.HEADER:
                    return Spot(offset + mark.offset, mark.seq, at.header, found.time_ns)
            if not found.offset:
                return None
            offset, seq = offset + found.offset, found.next_seq

    def _header_at(self, offset: int) -> tuple[Header, int]:
        """The header in an opening, and the offset behind that. Raises `PeerError`."""
        if offset < self.head.offset:
            return self.head.header, self.head.offset
        header, size = self._opening(self.read(offset, READ_BYTES), 0)
        return header, offset + size

    def _opening(self, data: bytes, at: int) -> tuple[Header, int]:
        """The header and instruments that begin at an offset, and the offset behind them. Raises
        `PeerError`; `_CutError` where the data end before they are whole."""
        payload = _payload(data, at)
        bare, count = decode_header(payload)
        if bare.epoch_ns != self.epoch_ns:
            raise MalformedError("the header of another epoch")
        behind = at = at + LENGTH_BYTES + len(payload)
        while count > 0:
            run = _payload(data, at)
            if len(run) < _COUNT_AT + _U16.size or run[0] != FrameKind.INSTRUMENTS:
                raise MalformedError("instruments are missing behind their header")
            count -= _U16.unpack_from(run, _COUNT_AT)[0]
            at += LENGTH_BYTES + len(run)
        return self._seen.header(payload, bare, data[behind:at]), at


class _CutError(MalformedError):
    """The data end within a frame."""


def _payload(data: bytes, at: int) -> bytes:
    """The payload of the frame at an offset. Raises `_CutError`."""
    begin = at + LENGTH_BYTES
    if begin <= len(data):
        (length,) = _U32.unpack_from(data, at)
        if begin + length <= len(data):
            return data[begin : begin + length]
    raise _CutError(f"{len(data) - at:,} bytes hold no whole frame")


def _number_at(data: bytes, at: int) -> int | None:
    """The number that is due before the frame at an offset; None if no good frame stands there, or
    none that has a number follows."""
    while True:
        found = scan(data, at, 0, 0, stop=at + 1)
        if not found.frames:
            return None
        if found.next_seq:
            return number_of(_payload(data, at))
        at = found.offset


def _candidates(window: bytes, stop: int) -> Iterator[int]:
    """Where in a window the next good frame may begin: at its beginning, behind the first frame,
    then wherever bytes are a frame, up to an offset."""
    yield 0
    with suppress(_CutError):
        yield LENGTH_BYTES + len(_payload(window, 0))
    at = 0
    while (at := find_frame(window, at + 1, stop=stop)) > 0:
        yield at


def snapshots_end(frames: bytes) -> int:
    """Where the snapshots end with which whole frames begin."""
    at = 0
    while at < len(frames):
        payload = _payload(frames, at)
        if payload[0] not in NUMBERED_KINDS or not payload[1] & _SNAPSHOT:
            break
        at += LENGTH_BYTES + len(payload)
    return at
