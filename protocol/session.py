"""A subscriber as a value: bytes in, records out, nothing else.

`SubscriberSession` holds what every client has to get right: which frame may come when, where the
numbering stands, what was lost. It does no I/O and reads no clock, so the blocking, the asyncio and
the trio client are thin, and alike.

    session.receive(data)                          what a read brought
    while (records := session.next_records()) is not None:
        ...                                        the records of one frame; maybe none
    session.disconnected()                         the connection is gone; another will follow

Which frame may come when stands in one table, `_NEXT_PHASE`; a frame that is not in it is the
peer's fault.

    GREETING --START--> OPENING --header--> LISTING --instruments--> STREAMING --END--> ENDED
                                               ^                        |
                                               '-------- header --------'

A header counts once all its instruments have come; until then `header` is the one before. A session
outlives its connections: records that were published between two of them come out as `Loss`, as
does every other hole in the numbering. Trades, events, skipped records and losses together are
exactly the numbers from the first on, each once.

`ask`, before a connection's first byte, says that the connection begins at a place of the reader's
choice. Then the request, not the header, says which number is due, and the session notices a
service that begins elsewhere by the hole it leaves.
"""

from copy import copy
from enum import Enum, auto
from typing import Any

import msgspec

from fanout.protocol.block import decode_block
from fanout.protocol.constants import (
    NUMBERED_KINDS,
    OTHER_WIRES,
    START,
    WIRE_VERSION,
    FrameKind,
    LossReason,
)
from fanout.protocol.errors import (
    MalformedError,
    NotHeardError,
    UnexpectedFrameError,
    WrongChannelError,
)
from fanout.protocol.events import decode_event
from fanout.protocol.framing import FrameReader, unseal
from fanout.protocol.header import Gathering
from fanout.protocol.instruments import with_instruments
from fanout.protocol.joining import run_of
from fanout.protocol.records import Block, End, Header, Heartbeat, Loss, Record, Skipped, Snapshot
from fanout.protocol.request import Position, Start


class Phase(Enum):
    """Where in a connection a subscriber is."""

    GREETING = auto()
    """Nothing has come; START must."""
    OPENING = auto()
    """START has come; the header must."""
    LISTING = auto()
    """A header has come; its instruments must."""
    STREAMING = auto()
    ENDED = auto()
    """END has come; nothing may follow."""


class _Input(Enum):
    START = auto()
    HEADER = auto()
    INSTRUMENTS = auto()
    BLOCK = auto()
    EVENT = auto()
    END = auto()
    UNKNOWN = auto()


_NEXT_PHASE = {
    (Phase.GREETING, _Input.START): Phase.OPENING,
    (Phase.OPENING, _Input.HEADER): Phase.LISTING,
    (Phase.LISTING, _Input.INSTRUMENTS): Phase.LISTING,
    (Phase.STREAMING, _Input.HEADER): Phase.LISTING,
    (Phase.STREAMING, _Input.INSTRUMENTS): Phase.STREAMING,
    (Phase.STREAMING, _Input.BLOCK): Phase.STREAMING,
    (Phase.STREAMING, _Input.EVENT): Phase.STREAMING,
    (Phase.STREAMING, _Input.UNKNOWN): Phase.STREAMING,
    (Phase.STREAMING, _Input.END): Phase.ENDED,
}

_INPUTS: dict[int, _Input] = {
    FrameKind.HEADER: _Input.HEADER,
    FrameKind.INSTRUMENTS: _Input.INSTRUMENTS,
    FrameKind.TRADES: _Input.BLOCK,
    FrameKind.STATUS: _Input.EVENT,
    FrameKind.GAP: _Input.EVENT,
    FrameKind.LOSS: _Input.EVENT,
    FrameKind.HEARTBEAT: _Input.EVENT,
    FrameKind.END: _Input.END,
}

_TRADES = FrameKind.TRADES.value

Mark = tuple[Any, ...]
"""The state of a session, from `SubscriberSession.mark`."""


class SessionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since a session began, over all its connections."""

    bytes_received: int
    frames: int
    unknown_frames: int
    trades: int
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
        """The header that counts, with its instruments; None before the first."""
        self.next_seq: int | None = None
        """The sequence number that comes next; None before the first header."""
        self._asked: Start | Position = Start.LIVE
        self._hole = LossReason.UNANNOUNCED
        """Reason reported for an unannounced sequence gap. Something else than UNANNOUNCED until
        the place that was asked for has begun."""
        self._insists = False
        self._channel = ""
        self._elsewhere: Header | None = None
        self.is_elsewhere = False
        """Whether the connection's header is of another channel than was asked for. Then only an
        END may follow, and the numbering stays as it was."""
        self.has_begun = False
        """Whether the connection has brought more than a greeting: a frame that shows where the
        numbering stands."""
        self.is_answered = False
        """Whether the connection has brought a frame that only an admitted client gets: not START,
        the header or its instruments, nor an END."""
        self._gathering: Gathering | None = None
        """The header whose instruments are still coming."""
        self._is_joining = True
        """Whether that header is the connection's first."""
        self._symbols: tuple[str, ...] = ()
        """All that the epoch has had so far, by index."""
        self._steady: Mark | None = None
        """Of the newest mark, unless something else has changed since than what every block
        changes."""
        self._frames = FrameReader()
        self._bytes_received = 0
        self._frame_count = 0
        self._unknown_frames = 0
        self._trades = 0
        self._events = 0
        self._lost = 0
        self._skipped = 0
        self._connections = 0

    @property
    def frames(self) -> int:
        """How many whole frames have come."""
        return self._frame_count

    @property
    def statistics(self) -> SessionStatistics:
        """What has come so far."""
        return SessionStatistics(
            bytes_received=self._bytes_received,
            frames=self._frame_count,
            unknown_frames=self._unknown_frames,
            trades=self._trades,
            events=self._events,
            lost=self._lost,
            skipped=self._skipped,
            connections=self._connections,
        )

    def ask(self, start: Start | Position, *, insist: bool = False, channel: str = "") -> None:
        """Say where the next connection was asked to begin. Without this call, it begins where its
        header says.

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

        Raises `PeerError` for a frame that breaks the wire or comes out of turn. The connection is
        finished then; the records of the frames before it have been given out.
        """
        payload = self._frames.next_payload()
        if payload is None:
            return None
        self._frame_count += 1
        if self.has_begun and self.phase is Phase.STREAMING and payload[0] == _TRADES:
            # Nearly always; the table says the same, but takes half a microsecond.
            assert self.header is not None, "the table lets nobody stream before a header"
            return self._take_block(decode_block(payload, self.header))
        self._steady = None
        if self.is_elsewhere:
            return self._take_refusal(payload)
        if self.phase is Phase.OPENING and payload[0] in OTHER_WIRES:
            raise MalformedError(f"wire {payload[0]} is spoken here, and not {WIRE_VERSION}")
        kind = _input_of(payload)
        phase = _NEXT_PHASE.get((self.phase, kind))
        if phase is None:
            raise UnexpectedFrameError(f"subscriber in {self.phase.name} got {kind.name}")
        records = self._records_of(kind, payload)
        is_listed = phase is Phase.LISTING and self._gathering is None
        self.phase = Phase.STREAMING if is_listed else phase
        return records

    def mark(self) -> Mark:
        """What `return_to` needs to undo all that comes after this.

        Every attribute but the frame reader is a value that is replaced and never changed, so the
        references are the state. A client marks every read. So they are spelled out, since
        `vars(self)` would make all later attributes slower, and those that a block in mid-stream
        leaves alone are kept from one mark to the next.
        """
        if self._steady is None:
            self._steady = (
                self.phase,
                self.header,
                self._asked,
                self._hole,
                self._insists,
                self._channel,
                self._elsewhere,
                self.is_elsewhere,
                self.has_begun,
                self.is_answered,
                self._gathering,
                self._is_joining,
                self._symbols,
                self._unknown_frames,
                self._events,
                self._skipped,
                self._connections,
            )
        return (
            self._steady,
            self.next_seq,
            self._bytes_received,
            self._frame_count,
            self._trades,
            self._lost,
        )

    def return_to(self, mark: Mark) -> None:
        """Be as at `mark` again, but for an incomplete frame, which is forgotten. Can be
        repeated."""
        (
            steady,
            self.next_seq,
            self._bytes_received,
            self._frame_count,
            self._trades,
            self._lost,
        ) = mark
        (
            self.phase,
            self.header,
            self._asked,
            self._hole,
            self._insists,
            self._channel,
            self._elsewhere,
            self.is_elsewhere,
            self.has_begun,
            self.is_answered,
            self._gathering,
            self._is_joining,
            self._symbols,
            self._unknown_frames,
            self._events,
            self._skipped,
            self._connections,
        ) = steady
        self._steady = None
        self._frames = FrameReader()

    def disconnected(self) -> None:
        """Forget the connection, with any incomplete frame or header; keep the numbering."""
        self._steady = None
        self._frames = FrameReader()
        self._gathering = None
        self.phase = Phase.GREETING
        self.has_begun = self.is_answered = self.is_elsewhere = False

    def _records_of(self, kind: _Input, payload: bytes) -> list[Record]:
        if kind is _Input.START:
            self._connections += 1
            return []
        if kind is _Input.HEADER:
            self._is_joining = self.phase is Phase.OPENING
            self._gathering = Gathering(payload)
            return self._gathered(self._gathering)
        if self._gathering is not None:
            # A copy, since `return_to` may have to go back to what there is now.
            self._gathering = copy(self._gathering)
            self._gathering.add(payload)
            return self._gathered(self._gathering)
        self.is_answered |= kind is not _Input.END
        assert self.header is not None, "the table lets nothing else pass before a header"
        if kind is _Input.BLOCK:
            return self._take_block(decode_block(payload, self.header))
        if kind is _Input.INSTRUMENTS:
            header = with_instruments(self.header, payload)
            self._require_same_symbols(header)
            self._use(header)
            return []
        if kind is _Input.UNKNOWN:
            return self._take_unknown(payload)
        return self._take_event(payload, self.header)

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

    def _gathered(self, gathering: Gathering) -> list[Record]:
        """Take a header, once all its instruments have come."""
        if not gathering.is_complete:
            return []
        header, self._gathering = gathering.header, None
        if self._is_joining and self._channel not in ("", header.channel):
            self.is_elsewhere, self._elsewhere = True, header
            return []
        self._require_same_symbols(header)
        if self._is_joining:
            lost = self._join(header)
        else:
            assert self.header is not None, "it is not the connection's first"
            if header.epoch_ns != self.header.epoch_ns:
                raise MalformedError(
                    f"epoch {header.epoch_ns} in a connection of {self.header.epoch_ns}"
                )
            lost = self._advance(header.next_seq, 0)
        self._use(header)
        return lost

    def _use(self, header: Header) -> None:
        """Let a header count from here on."""
        is_another = self.header is None or header.epoch_ns != self.header.epoch_ns
        symbols = tuple(each.symbol for each in header.instruments)
        if is_another or len(symbols) > len(self._symbols):
            self._symbols = symbols
        self.header = header

    def _require_same_symbols(self, header: Header) -> None:
        """Raises `MalformedError` if a header gives an index to another symbol than the epoch has
        had there."""
        if self.header is None or header.epoch_ns != self.header.epoch_ns:
            return
        for known, each in zip(self._symbols, header.instruments, strict=False):
            if known != each.symbol:
                raise MalformedError(f"index {each.index} was {known}, and is now {each.symbol}")

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
        """Take a connection's first header: which number is due, and what was lost before it."""
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
        due, self._hole = 1, LossReason.EVICTED
        if isinstance(asked, Position):
            is_same = asked.epoch_ns == header.epoch_ns
            due = asked.seq if is_same else 1
            self._hole = LossReason.DISCONNECTED if is_same else LossReason.OTHER_EPOCH
        # A number that has not been published is refused, by END; it is not due.
        self.next_seq = min(due, header.next_seq)
        return []

    def _take_block(self, block: Block) -> list[Record]:
        if block.is_snapshot:
            return [Snapshot(trades=tuple(block.trades))]
        records = self._advance(block.first_seq, len(block.trades))
        self.has_begun = True
        self._trades += len(block.trades)
        records += block.trades
        return records

    def _take_event(self, payload: bytes, header: Header) -> list[Record]:
        event = decode_event(payload, header)
        self._events += 1
        match event:
            case Heartbeat(next_seq=next_seq):
                self.has_begun = True
                return self._advance(next_seq, 0)
            case End(last_seq=last_seq):
                is_refused = self._hole is not LossReason.UNANNOUNCED
                # Then nothing of what it asked for has been lost: it can be asked for again.
                return [*([] if is_refused else self._advance(last_seq + 1, 0)), event]
            case Loss():
                records = self._advance(event.first_seq, event.count)
                self._lost += event.count
            case _:
                records = self._advance(event.seq, 1)
                self.has_begun = True
        return [*records, event]

    def _advance(self, seq: int, count: int) -> list[Record]:
        """Go on to behind `count` numbers from `seq`; what lies before `seq` is lost."""
        assert self.next_seq is not None, "a header came first, and it says"
        is_unheard = self._hole is not LossReason.UNANNOUNCED and seq > self.next_seq
        if is_unheard and self._insists:
            raise NotHeardError(f"the service began at {seq}, and not at {self.next_seq} as asked")
        lost = self._skip(self.next_seq, seq, self._hole)
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


def _input_of(payload: bytes) -> _Input:
    if payload == START:
        return _Input.START
    return _INPUTS.get(payload[0], _Input.UNKNOWN)
