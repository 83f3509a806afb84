"""Wire 2 over TCP: what a client is sent next, and what it is told about its place.

Pure: bytes out, no socket, no task. A client begins where it asked to, is told first what it
asked for and is gone, and reads on from there; nothing distinguishes the old blocks from the live
ones. One that falls off the log is told the range that is gone, or goodbye, as it asked.
"""

from collections.abc import Callable
from copy import copy
from typing import Final

from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.channel.log import Lag, Lapped
from fanout.protocol.constants import LENGTH_BYTES, MAX_TEXT_BYTES, EndReason, LossReason
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import encode_header
from fanout.protocol.joining import block_from
from fanout.protocol.records import End, Header, Heartbeat, Loss
from fanout.protocol.request import Position, Request, SlowPolicy, Start
from fanout.protocol.text import fitting
from fanout.transports.base import CHUNK_BYTES

SLOW_RETRY_MS: Final = 1_000
"""When a client that asked to be disconnected rather than to skip is asked to come back."""


class Wire2:
    """What all clients of wire 2 have in common."""

    is_asked = True
    """Whether a client may say first what it wants."""

    def __init__(self, channel: Channel, *, max_lag_ms: int, wall_ns: Callable[[], int]) -> None:
        """`max_lag_ms`: a client that fell off the log goes on live if what is kept is older.
        `wall_ns` gives unix ns."""
        self.log = channel.log
        self._channel = channel
        self._max_lag_ms = max_lag_ms
        self._wall_ns = wall_ns

    async def run(self) -> None:
        """Nothing to be done: the log is in wire 2."""

    def place(self) -> "Wire2Place":
        """Where a client stands that comes now."""
        return Wire2Place(self._channel, max_lag_ms=self._max_lag_ms)

    def heartbeat(self) -> bytes:
        return frame(encode_event(Heartbeat(next_seq=self.log.next_seq, time_ns=self._wall_ns())))

    def refusal(self, reason: EndReason, retry_ms: int | None, why: str) -> bytes:
        """All that a client gets which is not served."""
        place = self.place()
        return place.greeting + place.end(reason, retry_ms=retry_ms, why=why)


class Wire2Place:
    """One client's place, from the moment of its greeting."""

    def __init__(self, channel: Channel, *, max_lag_ms: int) -> None:
        self.log = channel.log
        self.cursor = self.log.live()
        self.greeting = channel.greeting()
        """START and the header: what comes first, whatever is asked for."""
        self.is_shareable = True
        self.is_over = False
        """Nothing follows: what was given out last ends in an END."""
        self.lost = 0
        """Sequence numbers told as lost because the client was slow."""
        self.fell_off = ""
        self._snapshot = channel.snapshot()
        self._header = self.cursor.context
        self._slow = SlowPolicy.SKIP
        self._max_lag_ms = max_lag_ms
        self._piece_position = self.cursor.position
        self._skipped = self.cursor.position
        """Frames of the log that it was not sent, those before it came included."""

    @property
    def blocks(self) -> int:
        """How many frames of the log it was sent."""
        return self.cursor.position - self._skipped

    def start(self, request: Request) -> bytes:
        """The frames before the first piece: a snapshot for who begins live, and for the others
        what they have to know of their place."""
        self._slow = request.slow
        snapshot, self._snapshot = self._snapshot, b""
        if request.start is Start.LIVE:
            return snapshot
        if not isinstance(request.start, Position):
            return self._start_at(1, LossReason.EVICTED)
        if request.start.epoch_ns != self._header.epoch_ns:
            return self._start_at(1, LossReason.OTHER_EPOCH)
        greeted = self.cursor.next_seq  # a client cannot know of more
        if request.start.seq > greeted:
            why = f"number {request.start.seq} is still to come: {greeted} is next"
            return self.end(EndReason.BAD_REQUEST, retry_ms=None, why=why)
        return self._start_at(request.start.seq, LossReason.EVICTED)

    def next_piece(self) -> bytes:
        """What follows, in whole frames up to `CHUNK_BYTES` or so. Empty if there is nothing."""
        known = self.cursor.context
        self._piece_position = self.cursor.position
        piece = self.log.read(self.cursor, CHUNK_BYTES)
        return self._lapped(piece, known) if isinstance(piece, Lapped) else piece

    def part(self, piece_position: int) -> None:
        """See `Place.part`."""
        self.cursor = copy(self.cursor)
        self._piece_position = piece_position

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> bytes:
        """A goodbye to this client alone, at its place."""
        self.is_over = True
        end = End(
            reason=reason,
            last_seq=self.cursor.next_seq - 1,
            retry_ms=retry_ms,
            why=fitting(why, MAX_TEXT_BYTES),
        )
        return frame(encode_event(end))

    def lag(self, unsent_bytes: int) -> Lag:
        """How far the client is behind, which has yet to take so much of the last piece."""
        return self.log.lag(
            self.cursor, unsent_from=self._piece_position, unsent_bytes=unsent_bytes
        )

    def _start_at(self, seq: int, gone: LossReason) -> bytes:
        """Begin at `seq`. What is gone of what was due is put down to `gone`."""
        known = self.cursor.context
        self.cursor = self.log.seek(seq)
        self._skipped = self.cursor.position
        following, context = self.cursor.next_seq, self.cursor.context
        if following < seq:
            return _renewed(known, context, seq) + self._rest_from(seq)
        return _told_lost(seq, following, gone) + _renewed(known, context, following)

    def _rest_from(self, seq: int) -> bytes:
        """What is left of the block at the cursor from `seq` on, as a block of its own: nothing
        comes twice."""
        context = self.cursor.context
        whole = self.log.read(self.cursor, limit_bytes=1)
        assert isinstance(whole, bytes), "a place that was just found is there"
        return frame(block_from(whole[LENGTH_BYTES:], seq, context))

    def _lapped(self, lapped: Lapped[Header], known: Header) -> bytes:
        """What a client is told whose place is gone, and what follows."""
        first = lapped.first_seq
        if self._slow is SlowPolicy.DISCONNECT and first <= lapped.last_seq:
            self.cursor.next_seq = first
            why = f"slower than the log is long; {first} would have been next"
            self.fell_off = why
            return self.end(EndReason.SLOW, retry_ms=SLOW_RETRY_MS, why=why)
        if self.log.oldest_ms() > self._max_lag_ms:
            # Not the log's very end: an END, which has no number, may stand there.
            self.cursor = self.log.seek(self.log.next_seq)
        following = self.cursor.next_seq
        self.lost += following - first
        self._skipped += self.cursor.position - self._piece_position
        told = _told_lost(first, following, LossReason.SLOW)
        return told + _renewed(known, self.cursor.context, following) + self.next_piece()


def _renewed(known: Header, context: Header, next_seq: int) -> bytes:
    """The header that counts from `next_seq` on, if it is another than the client knows."""
    if context is known:
        return b""
    return frame(encode_header(replace(context, next_seq=next_seq)))


def _told_lost(first: int, following: int, reason: LossReason) -> bytes:
    """LOSS of the numbers from `first` up to `following`, if there are any."""
    if first == following:
        return b""
    return frame(encode_event(Loss(first_seq=first, last_seq=following - 1, reason=reason)))
