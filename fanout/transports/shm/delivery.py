"""From the log into a queue: what fits, and word of what does not.

The queue's reader is never waited for. When there is no room, what does not fit is dropped, in
whole frames, and remembered as one range of sequence numbers; as soon as there is room LOSS names
that range, before anything else is pushed. So what is in the queue is always a stream without a
hole that is not told, wherever a reader attaches to it.
"""

import logging

import msgspec

from fanout.channel.log import Cursor, Lapped, Log
from fanout.protocol.constants import FrameKind, LossReason
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import decode_header
from fanout.protocol.joining import first_seq
from fanout.protocol.records import Header, Loss
from fanout.protocol.ring import RingWriter
from fanout.transports.base import CHUNK_BYTES

_LOG = logging.getLogger("fanout")


class Dropped(msgspec.Struct):
    """Counts of what the queue had no room for."""

    frames: int = 0
    numbers: int = 0
    """Sequence numbers: trades and events."""
    losses: int = 0
    """LOSS frames that said so."""


class Delivery:
    """A queue's place in the log, and what its reader has to be told first."""

    def __init__(self, writer: RingWriter, cursor: Cursor[Header], dropped: Dropped) -> None:
        """The queue's header is the context of `cursor`."""
        self._writer = writer
        self._cursor = cursor
        self._dropped = dropped
        self._told = cursor.context
        self._lost_from: int | None = None
        self._lost_why = LossReason.QUEUE_FULL
        self._end = b""

    @property
    def position(self) -> int:
        """Where in the log the next frame is."""
        return self._cursor.position

    def deliver(self, log: Log[Header]) -> bool:
        """Push all that is new, as far as there is room; False if there was nothing new."""
        is_news = self._cursor.position != log.end
        while self._cursor.position != log.end:
            first, context = self._cursor.next_seq, self._cursor.context
            piece = log.read(self._cursor, CHUNK_BYTES)
            if isinstance(piece, Lapped):
                self._lose(piece.first_seq, LossReason.SLOW)
            else:
                self._push(piece, first, context)
        self._catch_up(self._cursor.next_seq, self._cursor.context)
        self._mark()
        return is_news

    def say(self, payload: bytes) -> bool:
        """Push a frame of our own, which takes no sequence number, if there is room."""
        is_said = self._catch_up(self._cursor.next_seq, self._cursor.context)
        is_said = is_said and self._writer.push(frame(payload))
        self._mark()
        return is_said

    def finish(self) -> None:
        """Nothing more will come. An END for which there was no room is left in the page, with the
        LOSS that belongs before it."""
        tail = self._end and self._loss(self._cursor.next_seq) + self._end
        if tail and self._writer.push(tail):
            tail = b""
        self._writer.end(tail)

    def _push(self, piece: bytes, first: int, context: Header) -> None:
        """Push frames that begin at number `first`, in `context`; drop those that do not fit."""
        if not self._catch_up(first, context):
            self._drop(payloads_of(piece), first)
        elif self._cursor.context is not context or not self._writer.push(piece):
            self._push_each(payloads_of(piece), first, context)

    def _push_each(self, payloads: list[bytes], first: int, context: Header) -> None:
        header = context
        for index, payload in enumerate(payloads):
            if payload[0] == FrameKind.HEADER:
                header = decode_header(payload)
                is_pushed = self._writer.push_header(header)
            else:
                is_pushed = self._writer.push(frame(payload))
            if not is_pushed:
                numbered = first_seq(payload, header) if index else first
                assert numbered is not None, "the publisher writes no kind that we do not know"
                self._drop(payloads[index:], numbered)
                return
        self._told = self._cursor.context  # the last header among them, if there was one

    def _push_header(self, context: Header, next_seq: int | None) -> bool:
        header = msgspec.structs.replace(context, next_seq=next_seq)
        is_pushed = self._writer.push_header(header)
        if is_pushed:
            self._told = context
        return is_pushed

    def _drop(self, payloads: list[bytes], first: int) -> None:
        numbers = self._cursor.next_seq - first
        self._dropped.frames += len(payloads)
        self._dropped.numbers += numbers
        self._writer.count_dropped(len(payloads), numbers)
        self._lose(first, LossReason.QUEUE_FULL)
        if payloads[-1][0] == FrameKind.END:
            self._end = frame(payloads[-1])

    def _lose(self, first: int, why: LossReason) -> None:
        """From `first` on nothing has been pushed. One range has one reason, the first."""
        if self._lost_from is None:
            self._lost_from, self._lost_why = first, why
            if not self._dropped.losses:
                _LOG.warning("a queue's reader does not keep up: it is told what it misses")

    def _catch_up(self, next_seq: int, context: Header) -> bool:
        """Say what has to be said before `next_seq`: LOSS, and the header that counts from here
        if it is another one. False if there is no room for that."""
        loss = self._loss(next_seq)
        if loss:
            if not self._writer.push(loss):
                return False
            self._dropped.losses += 1
        self._lost_from = None
        return context is self._told or self._push_header(context, next_seq)

    def _loss(self, next_seq: int) -> bytes:
        """The LOSS of what was dropped before `next_seq`; empty if nothing was."""
        if self._lost_from is None or self._lost_from == next_seq:
            return b""
        loss = Loss(first_seq=self._lost_from, last_seq=next_seq - 1, reason=self._lost_why)
        return frame(encode_event(loss))

    def _mark(self) -> None:
        """For a reader that attaches when all is read: what it is due next, be it a LOSS."""
        self._writer.mark(self._cursor.next_seq if self._lost_from is None else self._lost_from)
