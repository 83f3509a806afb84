"""A ring in shared memory, from the reader's side: attach to it, beside any number of others.

`shared_file` has all that is not the ring's own. A ring has nobody who answers a request, so this
module does: it gives a client the bytes that a service would send for its request, made from what
is in the ring.

    newest records     START, the header, and all from the next snapshot on, which the reader asks
                       for in the ring's table
    oldest, or from    START, the header, LOSS for what is gone, and the frames from there on; the
    a number           records of the first frames that the client has already are left out
    was lapped         LOSS, the header, and the frames from the next snapshot on, in a channel with
                       books, or else from about the middle of the ring on

A snapshot stands between other frames. A reader that has begun takes one if its channel has quotes
or books, and skips all others. It never takes one from before its number: the books in it are older
than the updates that follow.
"""

import mmap
import os
import time
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import ClassVar, Final

import msgspec

from fanout.clients.shared_file import (
    AttachedFile,
    Descriptor,
    Mapping,
    Outcome,
    SharedFileError,
    head_of,
    open_file,
)
from fanout.clients.subscription import Subscription
from fanout.protocol.blocks import rest_from
from fanout.protocol.constants import (
    LENGTH_BYTES,
    MAX_SEQ,
    NUMBERED_KINDS,
    START,
    BlockFlags,
    DataKinds,
    EndReason,
    FrameKind,
    LossReason,
)
from fanout.protocol.errors import MalformedError, PeerError
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.instruments import with_instruments
from fanout.protocol.joining import first_seq, span_of
from fanout.protocol.records import End, Header, Loss
from fanout.protocol.request import Begin, Moment, Position, Start, decode_request
from fanout.protocol.ring import Lapped, Place, RingReader
from fanout.protocol.ring_page import (
    HEAD_BYTES,
    LANDMARKS,
    READERS,
    TABLE_AT,
    TABLE_BYTES,
    NotARingError,
    RingVersionError,
    TruncatedRingError,
    check_page,
    reader_word,
)

READ_BYTES: Final = 64 * 1024
"""Most that is taken from the ring at once."""

SNAPSHOT_WAIT_S: Final = 1.0
"""How long a reader waits for the snapshot that it asked for. The service looks ten times a second,
and makes one at once. A reader that gets none goes on without: its books are unknown until a whole
one comes."""

_SNAPSHOT: Final = BlockFlags.SNAPSHOT.value


class RingError(SharedFileError):
    """A ring cannot be read, or no longer."""

    noun = "ring"
    outcomes: ClassVar = {
        NotARingError: Outcome.FOREIGN,
        RingVersionError: Outcome.OTHER_VERSION,
        TruncatedRingError: Outcome.TRUNCATED,
    }


class _From(Enum):
    """Where a reader begins."""

    SNAPSHOT = auto()
    OLDEST = auto()
    MIDDLE = auto()
    NEWEST_LANDMARK = auto()


class _Takes(Enum):
    """Which frames of snapshots a reader takes, until it has a whole snapshot."""

    NONE = auto()
    STANDING = auto()
    """Quotes and books."""
    ALL = auto()


_NONE: Final = _Takes.NONE
"""A name of its own, since an enumeration's members are slow to look up."""


class _Beginning(msgspec.Struct, frozen=True):
    """A beginning that has not been found yet."""

    place: _From
    takes: _Takes
    due: int | None
    """The number that the session expects; None if it expects none in particular."""
    why: LossReason
    """Why the numbers from `due` on are lost, as far as they are."""
    is_joining: bool
    """Whether START comes first."""
    since: int | None = None
    """The position behind which the snapshot that was asked for begins."""
    deadline_s: float = 0.0


class _State(msgspec.Struct, frozen=True):
    """Where a reader stands, beside its position. Each change replaces the whole, so one reference
    is enough to return to it."""

    beginning: _Beginning | None = None
    rest: tuple[int, Header] | None = None
    """The number at which the session goes on, while the frames before it are left out, and the
    header that is in force."""
    takes: _Takes = _Takes.NONE
    since: int = 0
    """The position behind which the snapshot begins that the reader is to have taken."""
    lapped: int = 0
    lost: int = 0
    """Numbers that were overwritten before they were read."""
    told: int = 0
    """Numbers that the session counts as lost, as of the last look."""

    @property
    def is_plain(self) -> bool:
        """Whether the reader takes all frames but snapshots."""
        return self.rest is None and self.takes is _NONE


class AttachedRing(AttachedFile):
    """A ring that this process has opened and mapped. Made by `attach`."""

    error = RingError

    def __init__(
        self,
        path: str,
        descriptor: Descriptor,
        *,
        size: int,
        slot: int | None,
        subscription: Subscription,
        now_s: float,
    ) -> None:
        """`slot` is the entry in the table of readers whose lock the descriptor has, if any."""
        whole = Mapping(descriptor, RingError, size_bytes=size, access=mmap.PROT_READ)
        mappings = [whole]
        try:
            if slot is None:
                self.reader = RingReader(whole.mapped)
            else:
                table = Mapping(descriptor, RingError, size_bytes=TABLE_BYTES, offset=TABLE_AT)
                mappings.insert(0, table)
                self.reader = RingReader(
                    whole.mapped, table=table.mapped, slot=slot, pid=os.getpid()
                )
        except BaseException:
            for each in mappings:
                each.close()
            raise
        leave: Callable[[], None] = partial(_leave, self.reader, descriptor)
        closes = [leave, self.reader.release, *(each.close for each in mappings)]
        super().__init__(path, descriptor, self.reader, closes, size_bytes=size, now_s=now_s)
        self._subscription = subscription
        self._state = _State(told=subscription.lost)
        self._before = (self.reader.position, self._state)
        self._noted = self.reader.position
        self._note_bytes = self.reader.capacity // LANDMARKS
        self.is_broken = False
        """Whether there are broken bytes where the subscription goes on, so that the reader has to
        begin elsewhere."""

    @property
    def is_waiting(self) -> bool:
        """Whether the place is not found yet at which the reader begins."""
        return self._state.beginning is not None

    def opening(self) -> bytes:
        """See `AttachedFile.opening`. What the subscription requests decides where the reader
        begins."""
        start = decode_request(self._subscription.request()[LENGTH_BYTES:]).start
        found = self._resumed(start)
        if found:
            return found
        self._change(beginning=self._beginning(start))
        return self._begin()

    def _resumed(self, start: Begin) -> bytes:
        """What a reader gets that goes on at a number which is still in the ring, or is to come."""
        if not isinstance(start, Position) or start.epoch_ns != self.epoch_ns:
            return b""
        live = self.reader.next_seq
        place = None if self.is_broken else self.reader.begin_before(start.seq)
        if place is None:
            return b""
        if start.seq > live:
            why = f"number {start.seq} is still to come: {live} is next"
            end = End(reason=EndReason.BAD_REQUEST, last_seq=live - 1, retry_ms=None, why=why)
            return frame(START) + opening(_header_at(place, live)) + frame(encode_event(end))
        header = _header_at(place, start.seq)
        self._take_up(header, _Takes.STANDING)
        if place.next_seq < start.seq:
            self._change(rest=(start.seq, header))
        return frame(START) + opening(header)

    def _beginning(self, start: Begin) -> _Beginning:
        assert not isinstance(start, Moment), "the client takes none"
        if start is Start.LIVE:
            return self._snapshot(_Takes.ALL, None, LossReason.DISCONNECTED, is_joining=True)
        due, why = 1, LossReason.EVICTED
        if isinstance(start, Position):
            if start.epoch_ns == self.epoch_ns:
                why = LossReason.DAMAGED if self.is_broken else LossReason.EVICTED
                return self._elsewhere(start.seq, why, is_joining=True)
            why = LossReason.OTHER_EPOCH
        return _Beginning(_From.OLDEST, _Takes.STANDING, due, why, is_joining=True)

    def _elsewhere(self, due: int, why: LossReason, *, is_joining: bool) -> _Beginning:
        """Where a reader goes on that cannot go on at the number that is due."""
        newest = self.reader.begin_before(MAX_SEQ)
        header = None if newest is None else newest.header
        if self.is_broken or (header is not None and header.has_books):
            return self._snapshot(_Takes.STANDING, due, why, is_joining=is_joining)
        return _Beginning(_From.MIDDLE, _Takes.STANDING, due, why, is_joining)

    def _snapshot(
        self, takes: _Takes, due: int | None, why: LossReason, *, is_joining: bool
    ) -> _Beginning:
        """A beginning at the next snapshot. A reader that cannot ask for one takes the last."""
        since, deadline_s = None, 0.0
        if self.reader.is_listed or self.is_broken:
            since = self.reader.ask_snapshot()
        if self.reader.is_listed:
            deadline_s = time.monotonic() + SNAPSHOT_WAIT_S
        return _Beginning(_From.SNAPSHOT, takes, due, why, is_joining, since, deadline_s)

    def _begin(self) -> bytes:
        """Begin, if the place is there. Empty if it is not yet."""
        beginning = self._state.beginning
        assert beginning is not None, "the caller looked"
        try:
            place = self._place(beginning)
        except Lapped:  # the place went as soon as it was found
            return b""
        if place is None:
            return b""
        due = beginning.due
        seq = max(place.next_seq, self._least_seq() if due is None else due)
        header = _header_at(place, seq)
        self._take_up(header, beginning.takes)
        if place.next_seq < seq:
            self._change(rest=(seq, header))
        lost = b""
        if due is not None and due < seq:
            lost = frame(encode_event(Loss(first_seq=due, last_seq=seq - 1, reason=beginning.why)))
            # The snapshot that this reader takes now comes behind that loss.
            self._change(told=self._subscription.lost + seq - due)
            if not beginning.is_joining:
                self._change(lost=self._state.lost + seq - due)
        self._note()
        if beginning.is_joining:
            return frame(START) + opening(header) + lost
        return lost + opening(header)

    def _least_seq(self) -> int:
        """The number that a session goes on with that asks for the newest records. The last
        snapshot may stand before it."""
        header, seq = self._subscription.header, self._subscription.next_seq
        is_same = header is not None and header.epoch_ns == self.epoch_ns
        return seq if seq is not None and is_same else 1

    def _place(self, beginning: _Beginning) -> Place | None:
        """Raises `Lapped`."""
        reader = self.reader
        if beginning.place is _From.OLDEST:
            return reader.begin_oldest()
        if beginning.place is _From.MIDDLE:
            return reader.begin_middle()
        if beginning.place is _From.NEWEST_LANDMARK:
            return reader.begin_before(MAX_SEQ)
        place = reader.begin_snapshot(beginning.since)
        if place is None and time.monotonic() >= beginning.deadline_s:
            return reader.begin_live()
        return place

    def begin_at_once(self) -> bytes:
        """Begin without waiting for a snapshot: the writer has ended, and makes none."""
        beginning = self._state.beginning
        assert beginning is not None, "the caller looked"
        is_near_end = beginning.due is None or self.is_broken
        place = _From.NEWEST_LANDMARK if is_near_end else _From.MIDDLE
        self._change(beginning=msgspec.structs.replace(beginning, place=place))
        return self._begin()

    def _take_up(self, header: Header, takes: _Takes) -> None:
        """The reader goes on where it stands now, and takes the next snapshot if it needs one."""
        since = self.reader.position
        if takes is _Takes.STANDING:
            takes = _standing(header)
            if takes is _Takes.STANDING:
                self.reader.ask_snapshot()
        self._change(beginning=None, rest=None, takes=takes, since=since)

    def read(self) -> bytes:
        """See `AttachedFile.read`."""
        if self._state.beginning is not None:
            return self._begin()
        while True:
            position = self.reader.position
            try:
                payloads = self._payloads()
            except Lapped:
                return self._go_on_elsewhere()
            if not payloads:
                if position != self._noted:
                    self._note()  # a replay waits until all readers have everything
                return b""
            if self._subscription.lost != self._state.told:
                self._look_at_losses()
            if not (self._state.is_plain and self.reader.has_passed_snapshots(position)):
                payloads = self._sifted(payloads, position)
            if payloads:
                return b"".join([frame(each) for each in payloads])

    def _payloads(self) -> list[bytes]:
        """The frames that come next. Raises `Lapped` and `PeerError`."""
        pop, size = self.reader.pop, 0
        found: list[bytes] = []
        try:
            while size < READ_BYTES and (payload := pop()) is not None:
                found.append(payload)
                size += len(payload)
        except (Lapped, PeerError):
            if not found:  # else it comes again behind them
                raise
        return found

    def _look_at_losses(self) -> None:
        """The session has counted a loss: then the reader needs the next snapshot, also if it is in
        the middle of one. If the service lost the records, it makes one by itself."""
        self._change(told=self._subscription.lost)
        header = self._subscription.header
        if header is not None and _standing(header) is _Takes.STANDING:
            self._change(takes=_Takes.STANDING, since=self.reader.ask_snapshot())

    def _go_on_elsewhere(self) -> bytes:
        """The writer has overwritten what the reader was about to read."""
        due = self._subscription.next_seq
        assert due is not None, "a header has come"
        self._change(
            beginning=self._elsewhere(due, LossReason.SLOW, is_joining=False),
            lapped=self._state.lapped + 1,
        )
        return self._begin()

    def _sifted(self, payloads: list[bytes], position: int) -> list[bytes]:
        """The frames that the reader is to have of those from `position` on: without snapshots, and
        without those that it has already."""
        kept = []
        for each in payloads:
            kept.append(self._kept(each, position))
            position += LENGTH_BYTES + len(each)
        state, reader = self._state, self.reader
        if state.takes is not _Takes.NONE and reader.has_snapshot_between(
            state.since, reader.position
        ):
            self._change(takes=_Takes.NONE)
        return [each for each in kept if each]

    def _kept(self, payload: bytes, position: int) -> bytes:
        """What of a frame at `position` the reader is to have; empty if nothing."""
        rest, takes = self._state.rest, self._state.takes
        kept = payload if rest is None else self._rest_of(payload, position, *rest)
        kind = payload[0]
        if kind in NUMBERED_KINDS and len(payload) > 1 and payload[1] & _SNAPSHOT:
            is_kept = takes is _Takes.ALL or (takes is _Takes.STANDING and kind != FrameKind.TRADES)
            return kept if is_kept else b""
        return kept

    def _rest_of(self, payload: bytes, position: int, due: int, header: Header) -> bytes:
        """What of a frame does not come before the number that is due. A snapshot has the number
        that comes behind it."""
        if payload[0] == FrameKind.INSTRUMENTS:
            self._change(rest=(due, with_instruments(header, payload)))
            return payload
        seq = first_seq(payload)
        if seq is None:
            return payload
        if seq < due and span_of(payload, due)[1] <= due:
            return b""
        self._end_rest(position, header)
        return payload if seq >= due else rest_from(payload, due, header)

    def _end_rest(self, position: int, header: Header) -> None:
        """The number that is due comes at `position`. A snapshot that began before is too old. The
        reader has had the trades of any."""
        takes = self._state.takes
        if takes is _Takes.ALL:
            takes = _standing(header)
        self._change(rest=None, takes=takes, since=position)

    def trouble(self, now_s: float, idle_timeout_s: float) -> SharedFileError | None:
        """See `AttachedFile.trouble`. Shows in the table where this reader is, too."""
        trouble = super().trouble(now_s, idle_timeout_s)
        if trouble is None:
            self._note()
        return trouble

    def commit(self) -> None:
        """See `AttachedFile.commit`."""
        position = self.reader.position
        self._before = position, self._state
        if position - self._noted >= self._note_bytes:
            self._note()

    def rewind(self) -> None:
        """See `AttachedFile.rewind`. What was overwritten meanwhile counts as lost then."""
        position, self._state = self._before
        self.reader.return_to(position)

    def _note(self) -> None:
        self._noted = self.reader.position
        self.reader.note(lapped=self._state.lapped, lost=self._state.lost)

    def _change(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)


def attach(path: str, subscription: Subscription, *, now_s: float) -> AttachedRing:
    """The ring at `path`. `now_s` is a monotonic time. Raises `RingError`, or another `PeerError`
    for a malformed page."""
    descriptor, is_writable = _opened(path)
    try:
        head, size = head_of(descriptor, RingError, HEAD_BYTES)
        check_page(memoryview(head).cast("Q"), size)
        slots = range(READERS if is_writable else 0)
        slot = next((each for each in slots if descriptor.lock(reader_word(each))), None)
        return AttachedRing(
            path, descriptor, size=size, slot=slot, subscription=subscription, now_s=now_s
        )
    except BaseException as error:
        descriptor.close()
        meant = RingError.of(error)
        if meant is error:
            raise
        raise meant from error


def _standing(header: Header) -> _Takes:
    """What a reader that has begun takes: what it keeps the newest of, if the channel has that."""
    has_standing = header.has_books or header.data & (DataKinds.QUOTES | DataKinds.FEATURES)
    return _Takes.STANDING if has_standing else _Takes.NONE


def _leave(reader: RingReader, descriptor: Descriptor) -> None:
    """Give the entry in the table back, unless another process goes on to read."""
    if descriptor.is_own:
        reader.leave()


def _opened(path: str) -> tuple[Descriptor, bool]:
    """The file at `path`, and whether this process may write to it."""
    try:
        return open_file(path, RingError), True
    except RingError as error:
        if error.outcome is not Outcome.NO_PERMISSION:
            raise
    return open_file(path, RingError, flags=os.O_RDONLY), False


def _header_at(place: Place, seq: int) -> Header:
    if place.header is None:
        raise MalformedError("the ring has no session header")
    return msgspec.structs.replace(place.header, next_seq=seq)
