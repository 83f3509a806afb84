"""A subscriber as a value: bytes in, records out, nothing else.

`SubscriberSession` does what every client has to get right: it checks the order of frames
(`phases`), puts headers together (`listing`), follows the numbering and reports what was lost. It
does no I/O and reads no clock, so the blocking, the asyncio and the trio client are thin, and
alike.

    session.receive(data)                          what a read brought
    while (records := session.next_records()) is not None:
        ...                                        the records of one frame; maybe none
    session.disconnected()                         the connection is gone; another will follow

A session outlives its connections. It reports records that were published between two of them as a
`Loss`, like every other hole in the numbering. Trades, quotes, book updates, rows of features,
events, skipped records and losses together are exactly the numbers from the first on, each once.
Quotes, book updates and rows of a snapshot have the number 0.

`ask`, before a connection's first byte, tells the session what the client requested. Then the
request, not the header, determines the next number. If the service begins elsewhere, the session
notices the hole. A request by time names no number: there the first frame that shows a number
determines where the numbering begins.
"""

from operator import attrgetter
from typing import Any, Final

import msgspec

from fanout.protocol.block import decode_block
from fanout.protocol.blocks import UPDATE_DECODERS, Updates
from fanout.protocol.constants import (
    NUMBERED_KINDS,
    OTHER_WIRES,
    WIRE_VERSION,
    BlockFlags,
    FrameKind,
    LossReason,
)
from fanout.protocol.errors import MalformedError, NotHeardError, WrongChannelError
from fanout.protocol.events import decode_event
from fanout.protocol.framing import FrameReader, unseal
from fanout.protocol.instruments import with_instruments
from fanout.protocol.joining import run_of
from fanout.protocol.listing import Listing
from fanout.protocol.phases import Input, Phase, input_of, next_phase
from fanout.protocol.records import Block, End, Header, Heartbeat, Loss, Record, Skipped, Snapshot
from fanout.protocol.request import Begin, Moment, Position, Start
from fanout.protocol.rows import ROW_BYTES, rows_at

_TRADES: Final = FrameKind.TRADES.value

_STREAMING: Final = Phase.STREAMING
_UNANNOUNCED: Final = LossReason.UNANNOUNCED
_NO_FLAGS: Final = BlockFlags.NONE
# Names of their own, since an enumeration's members are slow to look up.

_STEADY: Final = (
    "phase",
    "header",
    "has_begun",
    "is_answered",
    "is_elsewhere",
    "_asked",
    "_hole",
    "_insists",
    "_channel",
    "_elsewhere",
    "_listing",
    "_is_joining",
    "heartbeat_ns",
    "_unknown_frames",
    "_events",
    "_skipped",
    "_connections",
)
"""The attributes of a session that a block in mid-stream leaves as they are."""

_steady_of: Final = attrgetter(*_STEADY)

Mark = tuple[Any, ...]
"""The state of a session, from `SubscriberSession.mark`."""


class SessionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since a session began, over all its connections."""

    bytes_received: int
    frames: int
    unknown_frames: int
    trades: int
    updates: int
    """Quotes, book updates and rows of features, but for those of snapshots."""
    events: int
    lost: int
    """Sequence numbers reported as lost, by the service or by the session."""
    skipped: int
    """Sequence numbers that came in frames of unknown kinds."""
    connections: int


class SubscriberSession:
    """One subscriber, over one connection or several after one another."""

    def __init__(self) -> None:
        self.phase = Phase.GREETING
        self.header: Header | None = None
        """The current header, with its instruments; None before the first."""
        self.next_seq: int | None = None
        """The sequence number that comes next; None before the first header, and after a request
        by time until a frame shows it."""
        self._asked: Begin = Start.LIVE
        self._hole: LossReason | None = LossReason.UNANNOUNCED
        """Reason reported for an unannounced sequence gap. Not UNANNOUNCED from a header to the
        first number after it, if the request named a place to begin at; None if that was a time,
        since then there can be no gap before the first number."""
        self._insists = False
        self._channel = ""
        self._elsewhere: Header | None = None
        self.is_elsewhere = False
        """Whether the connection's header is of another channel than requested. Then only an END
        may follow, and the numbering stays as it was."""
        self.has_begun = False
        """Whether the connection has brought a frame, other than its header, that shows where the
        numbering stands."""
        self.is_answered = False
        """Whether the connection has brought a frame that only an admitted client gets: not START,
        the header or its instruments, nor an END."""
        self._listing = Listing()
        """The epoch's symbols, and the header whose instruments are still coming."""
        self._is_joining = True
        """Whether that header is the connection's first."""
        self._steady: Mark | None = None
        """The values of `_STEADY` at the newest mark; None if one may have changed since then."""
        self.heartbeat_ns = 0
        """The time of the newest HEARTBEAT, by the service's clock, unix ns. What comes behind it
        was received later. 0 before the first."""
        self._frames = FrameReader()
        self._bytes_received = 0
        self._frame_count = 0
        self._unknown_frames = 0
        self._trades = 0
        self._updates = 0
        self._events = 0
        self._lost = 0
        self._skipped = 0
        self._connections = 0

    @property
    def frames(self) -> int:
        """How many whole frames have come."""
        return self._frame_count

    @property
    def lost(self) -> int:
        """How many sequence numbers were lost."""
        return self._lost

    @property
    def statistics(self) -> SessionStatistics:
        """What has come so far."""
        return SessionStatistics(
            bytes_received=self._bytes_received,
            frames=self._frame_count,
            unknown_frames=self._unknown_frames,
            trades=self._trades,
            updates=self._updates,
            events=self._events,
            lost=self._lost,
            skipped=self._skipped,
            connections=self._connections,
        )

    def ask(self, start: Begin, *, insist: bool = False, channel: str = "") -> None:
        """Tell the session what the next connection requests. Without this call, the connection
        begins where its header says. After a request by time it begins at the first number that
        comes, and nothing counts as lost before that.

        With `insist`, a service that begins elsewhere without a LOSS raises `NotHeardError`, so
        that the caller can ask again: a service ignores a request that comes too late. Without it,
        the numbers in between are lost.

        A service that answers with another channel than `channel`, and does not refuse in its next
        frame, raises `WrongChannelError`. An empty name stands for any channel.
        """
        self._steady = None
        self._asked, self._insists, self._channel = start, insist, channel

    def receive(self, data: bytes) -> None:
        """Take what a read brought, in pieces of any size."""
        self._bytes_received += len(data)
        self._frames.feed(data)

    def next_records(self) -> list[Record] | None:
        """The records of the next frame; None until more bytes come.

        Raises `PeerError` for a frame that breaks the wire or comes out of turn. Then the
        connection is finished. The records of the frames before it have been returned.
        """
        payload = self._frames.next_payload()
        if payload is None:
            return None
        self._frame_count += 1
        if self.has_begun and self.phase is _STREAMING:
            # Nearly every frame is a block. The table allows it too, but takes half a microsecond.
            assert self.header is not None, "the table allows no block before a header"
            code = payload[0]
            if code == _TRADES:
                return self._take_block(decode_block(payload, self.header))
            decode = UPDATE_DECODERS.get(code)
            if decode is not None:
                return self._take_updates(decode(payload, self.header))
        self._steady = None
        if self.is_elsewhere:
            return self._take_refusal(payload)
        if self.phase is Phase.OPENING and payload[0] in OTHER_WIRES:
            raise MalformedError(f"wire {payload[0]} is spoken here, and not {WIRE_VERSION}")
        kind = input_of(payload)
        phase = next_phase(self.phase, kind)
        records = self._records_of(kind, payload)
        is_listed = phase is Phase.LISTING and self._listing.gathering is None
        self.phase = Phase.STREAMING if is_listed else phase
        return records

    def rows_at(self, frames: bytes, offset: int) -> tuple[bytearray, int]:
        """The trades with which whole frames go on at an offset, as rows of
        `fanout.protocol.rows`, and the offset behind them. No rows if other frames are to be taken
        first: by `receive`, as what stands at the offset then is. Everything that was received
        before must have been taken."""
        if not self.has_begun or self.phase is not Phase.STREAMING:
            return bytearray(), offset
        assert self.header is not None, "it comes before every number"
        assert self.next_seq is not None, "a number has come"
        rows, behind, blocks = rows_at(frames, offset, self.next_seq, self.header)
        trades = len(rows) // ROW_BYTES
        self.next_seq += trades
        self._trades += trades
        self._frame_count += blocks
        self._bytes_received += behind - offset
        return rows, behind

    def pass_over(self, seq: int) -> None:
        """The records before number `seq` that have not come are not wanted, and were not sent.
        They count neither as received nor as lost."""
        if self.next_seq is not None:
            self.next_seq = max(self.next_seq, seq)

    def lose(self, count: int) -> None:
        """So many of the numbers that were passed over turn out to be lost."""
        self._lost += count

    def mark(self) -> Mark:
        """What `return_to` needs to undo everything that follows.

        Every attribute but the frame reader is a value that is replaced and never changed, so the
        references are the state. A client marks every read. So what every block changes is spelled
        out (`vars(self)` would make all later attributes slower), and the rest is kept from one
        mark to the next.
        """
        steady = self._steady
        if steady is None:
            steady = self._steady = _steady_of(self)
        return (
            steady,
            self.next_seq,
            self._bytes_received,
            self._frame_count,
            self._trades,
            self._updates,
            self._lost,
        )

    def return_to(self, mark: Mark) -> None:
        """Restore the state of `mark`, except for an incomplete frame, which is forgotten. Can be
        interrupted and repeated."""
        self._steady = None
        (
            steady,
            self.next_seq,
            self._bytes_received,
            self._frame_count,
            self._trades,
            self._updates,
            self._lost,
        ) = mark
        for name, value in zip(_STEADY, steady, strict=True):
            setattr(self, name, value)
        self._frames = FrameReader()

    def disconnected(self) -> None:
        """Forget the connection, with any incomplete frame or header; keep the numbering."""
        self._steady = None
        self._frames = FrameReader()
        self._listing = self._listing.dropped()
        self.phase = Phase.GREETING
        self.has_begun = self.is_answered = self.is_elsewhere = False

    def _records_of(self, kind: Input, payload: bytes) -> list[Record]:
        if kind is Input.START:
            self._connections += 1
            return []
        if kind is Input.HEADER:
            self._is_joining = self.phase is Phase.OPENING
            self._listing = self._listing.begin(payload)
            return self._take_header()
        if self._listing.gathering is not None:
            self._listing = self._listing.add(payload)
            return self._take_header()
        self.is_answered |= kind is not Input.END
        assert self.header is not None, "the table allows nothing else before a header"
        if kind is Input.BLOCK:
            if payload[0] in UPDATE_DECODERS:
                return self._take_updates(UPDATE_DECODERS[payload[0]](payload, self.header))
            return self._take_block(decode_block(payload, self.header))
        if kind is Input.INSTRUMENTS:
            header = with_instruments(self.header, payload)
            self._listing, self.header = self._listing.using(header), header
            return []
        if kind is Input.UNKNOWN:
            return self._take_unknown(payload)
        return self._take_event(payload, self.header)

    def _take_header(self) -> list[Record]:
        """Take the new header, once all its instruments have come."""
        header = self._listing.whole
        if header is None:
            return []
        if self._is_joining and self._channel not in ("", header.channel):
            self._listing = self._listing.dropped()
            self.is_elsewhere, self._elsewhere = True, header
            return []
        listing = self._listing.using(header)
        if self._is_joining:
            lost = self._join(header)
        else:
            assert self.header is not None, "it is not the connection's first"
            if header.epoch_ns != self.header.epoch_ns:
                raise MalformedError(
                    f"epoch {header.epoch_ns} in a connection of {self.header.epoch_ns}"
                )
            lost = self._advance(header.next_seq, 0)
        self._listing, self.header = listing, header
        return lost

    def _take_refusal(self, payload: bytes) -> list[Record]:
        """Take the END of a connection whose header is another channel's."""
        assert self._elsewhere is not None, "its header has come"
        if payload[0] != FrameKind.END or self.phase is not Phase.STREAMING:
            raise WrongChannelError(
                f"channel {self._channel} was asked for, and the service sends "
                f"{self._elsewhere.channel}"
            )
        self.phase = Phase.ENDED
        self._events += 1
        event = decode_event(payload, self._elsewhere)
        assert isinstance(event, End), "its kind says so"
        return [event]

    def _take_unknown(self, payload: bytes) -> list[Record]:
        self._unknown_frames += 1
        if payload[0] not in NUMBERED_KINDS:
            unseal(payload)
            return []
        seq, count = run_of(payload)
        if not count:
            return []
        records = self._advance(seq, count)
        self.has_begun = True
        self._skipped += count
        return [*records, Skipped(first_seq=seq, last_seq=seq + count - 1, kind=payload[0])]

    def _join(self, header: Header) -> list[Record]:
        """Take a connection's first header: find the next number, and what was lost before it."""
        asked, known, expected = self._asked, self.header, self.next_seq
        is_another = known is not None and known.epoch_ns != header.epoch_ns
        self._hole = LossReason.UNANNOUNCED
        if asked is Start.LIVE:
            self.next_seq = header.next_seq
            if is_another:
                return self._skip(1, header.next_seq, LossReason.OTHER_EPOCH)
            if expected is None:
                return []
            return self._skip(expected, header.next_seq, LossReason.DISCONNECTED)
        if isinstance(asked, Moment):
            self.next_seq = self._hole = None
            return []
        due, self._hole = 1, LossReason.EVICTED
        if isinstance(asked, Position):
            is_same = asked.epoch_ns == header.epoch_ns
            due = asked.seq if is_same else 1
            self._hole = LossReason.DISCONNECTED if is_same else LossReason.OTHER_EPOCH
        # The service refuses, by END, to begin at a number that has not been published.
        self.next_seq = min(due, header.next_seq)
        return []

    def _take_block(self, block: Block) -> list[Record]:
        if block.flags is not _NO_FLAGS and block.is_snapshot:
            return [Snapshot(trades=tuple(block.trades))]
        count = len(block.trades)
        records = self._advance(block.first_seq, count)
        self.has_begun = True
        self._trades += count
        records += block.trades
        return records

    def _take_updates(self, block: Updates) -> list[Record]:
        """Take quotes, book updates or rows. Those of a snapshot have no numbers."""
        if block.flags is not _NO_FLAGS and block.is_snapshot:
            return list(block.records)
        records = self._advance(block.first_seq, len(block.records))
        self.has_begun = True
        self._updates += len(block.records)
        records += block.records
        return records

    def _take_event(self, payload: bytes, header: Header) -> list[Record]:
        event = decode_event(payload, header)
        self._events += 1
        match event:
            case Heartbeat(next_seq=next_seq, time_ns=time_ns):
                self.has_begun = True
                self.heartbeat_ns = time_ns
                return self._advance(next_seq, 0)
            case End(last_seq=last_seq):
                is_refused = self._hole is not LossReason.UNANNOUNCED
                # Then nothing of what was requested is lost: it can be requested again.
                return [*([] if is_refused else self._advance(last_seq + 1, 0)), event]
            case Loss():
                records = self._advance(event.first_seq, event.count)
                self._lost += event.count
            case _:
                records = self._advance(event.seq, 1)
                self.has_begun = True
        return [*records, event]

    def _advance(self, seq: int, count: int) -> list[Record]:
        """`count` numbers from `seq` on have come. Any numbers missing before `seq` are lost."""
        due, reason = self.next_seq, self._hole
        if seq == due and reason is _UNANNOUNCED:
            self.next_seq = seq + count
            return []
        if due is None or reason is None:  # a time was requested, and this is the first number
            due, reason = seq, LossReason.UNANNOUNCED
        elif reason is not LossReason.UNANNOUNCED and seq > due and self._insists:
            raise NotHeardError(f"the service began at {seq}, and not at {due} as asked")
        lost = self._skip(due, seq, reason)
        self._hole = LossReason.UNANNOUNCED
        self.next_seq = seq + count
        return lost

    def _skip(self, expected: int, seq: int, reason: LossReason) -> list[Record]:
        if seq < expected:
            raise MalformedError(f"sequence number {seq} comes again: {expected} is next")
        if seq == expected:
            return []
        self._lost += seq - expected
        return [Loss(first_seq=expected, last_seq=seq - 1, reason=reason)]
