"""Reading a journal: from a number, a time or its beginning on, over all segments of an epoch, and
from one epoch to the next.

    playback = Playback(files)
    if playback.begin(Position(epoch_ns=epoch_ns, seq=1001)):
        send(playback.greeting)                 START, the header in force there and its instruments
        while data := playback.read():
            send(data)                          whole frames, as a connection has them

Everything that is read is checked. LOSS stands for numbers that cannot be read: DAMAGED for those
in a damaged part, EVICTED for those in segments that were removed. So what `read` gives brings each
number from the first on, once. What an END in a file says is in `ended`: nothing follows in that
epoch.

A segment may still be written, and files may vanish at any time. `Playback` does no I/O but through
what it is given, and it never waits.
"""

import errno
from bisect import bisect_right
from typing import Final, Protocol

from msgspec.structs import replace

from fanout.protocol.constants import MAX_SEQ, START, LossReason
from fanout.protocol.errors import MalformedError, PeerError, reason
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.journal import FILE_HEADER_BYTES, decode_file_header
from fanout.protocol.journal_scan import Fault
from fanout.protocol.journal_segment import (
    READ_BYTES,
    Advance,
    Seen,
    Segment,
    SegmentFile,
    Spot,
    snapshots_end,
)
from fanout.protocol.records import Header, Loss
from fanout.protocol.request import Begin, Moment, Position, Start

__all__ = ["Files", "Playback", "Seen", "SegmentFile"]


_NO_FILE: Final = frozenset((errno.ELOOP, errno.EINVAL, errno.ENXIO))
"""What opening says of links, folders, pipes and sockets with the name of a segment."""


class Files(Protocol):
    """The folder of a channel in a journal. It may change between any two calls."""

    def epochs(self) -> list[int]:
        """All epochs, ascending. Raises `OSError`."""
        ...

    def segments(self, epoch_ns: int) -> list[int]:
        """The first numbers of an epoch's segments, ascending; none for an epoch that is not there.
        Raises `OSError`."""
        ...

    def open(self, epoch_ns: int, first_seq: int) -> SegmentFile:
        """Raises `FileNotFoundError` or `BlockingIOError` for a segment that was removed or is just
        being removed, and other `OSError`s."""
        ...


class Playback:
    """One reader's place in a journal."""

    def __init__(
        self, files: Files, seen: Seen | None = None, *, skips_damaged: bool = False
    ) -> None:
        """`seen` is what several readers of one channel share, so that they begin sooner. With
        `skips_damaged` an epoch of which no segment can be read is passed over, as one that is not
        kept. Otherwise it is an error, since nothing tells how many numbers it had."""
        self._files = files
        self._skips_damaged = skips_damaged
        self._seen = seen or Seen()
        self.epoch_ns = 0
        self.next_seq = 1
        """The number that is due behind everything that was read so far."""
        self.greeting = b""
        """With what a connection begins that goes on with what `read` gives: START, the header in
        force at the place, and its instruments."""
        self.ended = b""
        """The payload of the epoch's END, once `read` has come to it."""
        self._segment: Segment | None = None
        self._spot: Spot | None = None
        """Where reading goes on, in the segment."""
        self._header: Header | None = None
        """The header that the reader has."""
        self._is_header_due = False
        """Whether the reader needs the header in force at the spot."""
        self._why = LossReason.EVICTED
        """Why numbers are lost from `next_seq` up to the spot, if some are."""
        self._is_at_head = False
        """Whether snapshots may follow at the spot that the reader does not need."""
        self._newest_ns = 0
        """The newest epoch there is."""
        self._ahead = b""
        """What was read before it was asked for."""
        self._useless: tuple[int, int] | None = None
        """Offset and size of the segment when no good frame was found behind the offset."""

    @property
    def header(self) -> Header:
        """The header in force behind everything that was read so far."""
        assert self._header is not None, "begin has found a place"
        return self._header

    def begin(self, start: Begin, *, epoch_ns: int | None = None) -> bool:
        """Go to a place. False if nothing is kept there.

        `Start.OLDEST` is number 1 of the first epoch, or of `epoch_ns`; what is not kept any more
        of it comes as a LOSS. `Start.LIVE` is the end. An epoch that is not kept stands for the
        first one after it, from number 1 on. A number or a time that is still to come is the end.
        Raises `OSError` if the folder cannot be read, a segment that is there not be opened, or no
        segment of the epoch be read.
        """
        self.close()
        epochs = self._epochs()
        if epoch_ns is not None:
            epochs = [each for each in epochs if each == epoch_ns]
        match start:
            case Start.OLDEST:
                return any(self._begin_at(each, 1) for each in epochs)
            case Position(epoch_ns=asked_ns, seq=seq):
                later = [each for each in epochs if each >= asked_ns]
                return any(self._begin_at(each, seq if each == asked_ns else 1) for each in later)
            case Moment(time_ns=time_ns):
                return self._begin_then(epochs, time_ns)
            case _:
                return self._begin_at_end(epochs)

    def read(self, limit: int = READ_BYTES) -> bytes:
        """The frames that follow: whole ones, some `limit` bytes. Empty if there are no more in
        this epoch, or none yet. Raises `OSError` as `begin` does; it may be called again then."""
        data, self._ahead = self._ahead, b""
        while not data and self._segment is not None and self._spot is not None:
            more = self._step(self._segment, self._spot, limit)
            if more is None:
                break
            data = more
        return data

    def next_epoch(self) -> bool:
        """Begin with the next epoch, as `begin` does at number 1. False if there is none yet, and
        also if this one has more to read. Raises `OSError` as `begin` does."""
        later = [each for each in self._epochs() if each > self.epoch_ns]
        if not later or self._segment is None:
            return False
        self._segment.is_sealed = True
        self._ahead = self.read()
        return not self._ahead and any(self._begin_at(each, 1) for each in later)

    def close(self) -> None:
        """Close the segment. `read` gives nothing then, until `begin`."""
        segment, self._segment = self._segment, None
        self._ahead = b""
        if segment is not None:
            segment.file.close()

    def _epochs(self) -> list[int]:
        epochs = self._files.epochs()
        self._newest_ns = epochs[-1] if epochs else 0
        return epochs

    def _begin_at(self, epoch_ns: int, seq: int | None) -> bool:
        """Begin at a number of an epoch, or at its end. False if no segment of it is there."""
        segments = self._files.segments(epoch_ns)
        wanted = MAX_SEQ if seq is None else seq
        index = max(bisect_right(segments, wanted) - 1, 0)
        is_damaged = False
        for first_seq in (*segments[index:], *reversed(segments[:index])):
            segment = self._opened(epoch_ns, first_seq, segments)
            if isinstance(segment, Segment):
                spot = segment.head if wanted <= first_seq else segment.seek(wanted)
                is_first = first_seq == segments[0]
                self._why = LossReason.EVICTED if is_first else LossReason.DAMAGED
                return self._begin(segment, spot, spot.seq if seq is None else seq)
            is_damaged |= isinstance(segment, PeerError)
        if is_damaged:
            self._refuse(epoch_ns)
        return False

    def _refuse(self, epoch_ns: int) -> None:
        """No segment of an epoch can be read. Raises `OSError`."""
        if not self._skips_damaged:
            later = next((each for each in self._epochs() if each > epoch_ns), None)
            advice = f": begin at epoch {later} to skip it" if later else ""
            raise OSError(errno.EIO, f"no segment of epoch {epoch_ns} can be read{advice}")

    def _begin_at_end(self, epochs: list[int]) -> bool:
        return any(self._begin_at(each, None) for each in reversed(epochs))

    def _begin_then(self, epochs: list[int], time_ns: int) -> bool:
        """Begin at the first record of a time, or at the end."""
        self._why = LossReason.DAMAGED
        for epoch_ns in epochs[max(bisect_right(epochs, time_ns) - 1, 0) :]:
            segments = self._files.segments(epoch_ns)
            damaged: int | None = None  # the first number behind the last one that could be read
            for first_seq in segments[self._index_then(epoch_ns, segments, time_ns) :]:
                segment = self._opened(epoch_ns, first_seq, segments)
                if not isinstance(segment, Segment):
                    if isinstance(segment, PeerError) and damaged is None:
                        damaged = first_seq
                    continue
                spot, is_there = segment.seek_time(time_ns)
                if not is_there:
                    segment.file.close()
                    damaged = None
                    continue
                seq = spot.seq
                if seq == first_seq or not spot.time_ns:
                    # No record has an earlier time, so those without a time come as well. What is
                    # damaged before them may be of that time.
                    spot, seq = segment.head, first_seq if damaged is None else damaged
                return self._begin(segment, spot, seq)
            if damaged is not None and damaged == segments[0]:
                self._refuse(epoch_ns)
        return self._begin_at_end(epochs)

    def _index_then(self, epoch_ns: int, segments: list[int], time_ns: int) -> int:
        """The index of the last segment that was made at a time or before, among those that tell;
        0 if there is none."""

        def created_ns(index: int) -> int:
            """Of the segment, or of the last one before it that tells."""
            for each in range(index, -1, -1):
                known = self._created_ns(epoch_ns, segments[each])
                if known is not None:
                    return known
            return 0

        index = bisect_right(range(len(segments)), time_ns, key=created_ns) - 1
        while index > 0 and self._created_ns(epoch_ns, segments[index]) is None:
            index -= 1
        return max(index, 0)

    def _created_ns(self, epoch_ns: int, first_seq: int) -> int | None:
        """When a segment was made; None if that cannot be read."""
        known = self._seen.created_ns(epoch_ns, first_seq)
        if known is None:
            file = self._open(epoch_ns, first_seq)
            if isinstance(file, OSError | PeerError):
                return None
            try:
                known = file.created_ns()
            except (OSError, PeerError):
                return None
            finally:
                file.close()
            self._seen.keep_created(epoch_ns, first_seq, known)
        return known

    def _opened(
        self, epoch_ns: int, first_seq: int, segments: list[int]
    ) -> Segment | OSError | PeerError:
        """A segment, or why there is none: `OSError` if it was removed, and `PeerError` if it is
        damaged. Raises `OSError` for one that is there and cannot be opened now."""
        file = self._open(epoch_ns, first_seq)
        if isinstance(file, OSError | PeerError):
            return file
        is_sealed = first_seq != segments[-1] or epoch_ns < self._newest_ns
        try:
            return Segment(file, epoch_ns, first_seq, self._seen, is_sealed=is_sealed)
        except PeerError as error:
            file.close()
            return error

    def _open(self, epoch_ns: int, first_seq: int) -> SegmentFile | OSError | PeerError:
        """A segment's file. See `_opened`."""
        try:
            return self._files.open(epoch_ns, first_seq)
        except (FileNotFoundError, BlockingIOError) as error:
            return error
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return MalformedError(reason(error))

    def _begin(self, segment: Segment, spot: Spot, seq: int) -> bool:
        self.close()
        self._go(segment, spot)
        self.epoch_ns, self.next_seq, self.ended = segment.epoch_ns, seq, b""
        self._header = spot.header
        self._is_header_due = self._is_at_head = False
        self.greeting = frame(START) + self._seen.opening(spot.header, seq)
        return True

    def _go(self, segment: Segment, spot: Spot) -> None:
        self._segment, self._spot, self._useless = segment, spot, None

    def _step(self, segment: Segment, spot: Spot, limit: int) -> bytes | None:
        """What follows; empty if only the place has changed, None if there is nothing now."""
        told = self._told(spot)
        if told:
            return told
        if spot.seq < self.next_seq:
            return self._catch_up(segment, spot)
        ahead = segment.advance(spot, limit)
        if ahead.spot.offset == spot.offset:
            return self._stopped(segment, spot, ahead)
        self._spot = ahead.spot
        self.next_seq, self._header = ahead.spot.seq, ahead.spot.header
        if not self._is_at_head:
            return ahead.data
        behind = snapshots_end(ahead.data)
        self._is_at_head = behind == len(ahead.data)
        return ahead.data[behind:]

    def _told(self, spot: Spot) -> bytes:
        """What the reader has to be told before it goes on at a spot: LOSS, and the header."""
        told = b""
        if spot.seq > self.next_seq:
            told = _loss(self.next_seq, spot.seq - 1, self._why)
            self.next_seq = spot.seq
        if self._is_header_due:
            told += self._seen.opening(spot.header, self.next_seq)
            self._header, self._is_header_due = spot.header, False
        return told

    def _catch_up(self, segment: Segment, spot: Spot) -> bytes | None:
        """Go to the frame that holds the number that is due. A reader that is due in the middle of
        a block gets the rest of it."""
        self._spot = spot = segment.skip(spot, until_seq=self.next_seq).spot
        self._is_header_due = not _is_same(spot.header, self.header)
        if self._is_header_due or spot.seq >= self.next_seq:
            return b""
        rest = segment.rest(spot, self.next_seq)
        if rest is None:
            return self._stopped(segment, spot, segment.advance(spot, 1, until_seq=self.next_seq))
        data, self._spot = rest
        self.next_seq = self._spot.seq
        return data

    def _stopped(self, segment: Segment, spot: Spot, ahead: Advance) -> bytes | None:
        """No good frame stands at the spot."""
        if ahead.is_ended:
            self.ended = segment.payload(spot)
            return None
        segments = self._files.segments(self.epoch_ns)
        later = [each for each in segments if each > segment.first_seq]
        if self._is_replaced(segment) and self._enter(segments, [segment.first_seq]):
            return b""
        if later and not segment.is_sealed:
            segment.is_sealed = True
            return b""  # it may have grown before
        is_over = segment.is_sealed or ahead.fault is not Fault.CUT
        if ahead.fault is not Fault.NONE and is_over and self._resync(segment, spot, later):
            return b""
        if later and self._enter(segments, later):
            return b""
        return None

    def _is_replaced(self, segment: Segment) -> bool:
        """Whether another segment has the name by now. A writer whose disk failed begins again with
        the first number that is not safe, which may be the first one of its newest segment."""
        if segment.is_sealed:
            return False
        try:
            file = self._files.open(segment.epoch_ns, segment.first_seq)
        except OSError:
            return False
        try:
            return decode_file_header(file.read(0, FILE_HEADER_BYTES)) != segment.made
        except (OSError, PeerError):
            return False
        finally:
            file.close()

    def _resync(self, segment: Segment, spot: Spot, later: list[int]) -> bool:
        """Go on behind a damaged part, if the segment goes on there."""
        where = spot.offset, segment.size()
        if where == self._useless:
            return False
        found = segment.resync(spot)
        if found is None or (later and found.seq >= later[0]):
            self._useless = where
            return False
        self._spot, self._why = found, LossReason.DAMAGED
        return True

    def _enter(self, segments: list[int], later: list[int]) -> bool:
        """Go on with the next segment that can be read."""
        old = self._segment
        assert old is not None, "it has been read to its end"
        is_evicted = old.first_seq not in segments
        for first_seq in later:
            segment = self._opened(self.epoch_ns, first_seq, segments)
            if not isinstance(segment, Segment):
                is_evicted |= isinstance(segment, OSError)
                continue
            old.file.close()
            spot = segment.head if first_seq >= self.next_seq else segment.seek(self.next_seq)
            self._go(segment, spot)
            self._why = LossReason.EVICTED if is_evicted else LossReason.DAMAGED
            self._is_at_head = first_seq == self.next_seq
            self._is_header_due = first_seq > self.next_seq or not _is_same(
                spot.header, self.header
            )
            return True
        return False


def _is_same(header: Header, other: Header) -> bool:
    """Whether two headers differ at most in the number that is due."""
    return header is other or replace(header, next_seq=other.next_seq) == other


def _loss(first_seq: int, last_seq: int, reason: LossReason) -> bytes:
    return frame(encode_event(Loss(first_seq=first_seq, last_seq=last_seq, reason=reason)))
