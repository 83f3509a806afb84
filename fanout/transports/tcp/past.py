"""A client that asks for what is older than the log: first a journal's frames, then the log's.

The log is asked first. What it no longer has, and what belongs to an earlier start of the service,
comes from the channel's `Past`, if it has one. A client is then in one of these states:

                        the log has the number that is due
    from the past   ------------------------------------------->   from the log
          |
          |  nothing more is kept of an older epoch
          '--------------------------------------------------->   END (EPOCH_OVER)

The client takes the frames at its own pace. The next piece is read while one is sent, so a client
costs two pieces of memory at most, beside what the past keeps for all of them. It goes over to the
log once the number that is due stands in the newer half of it, so that a client that is only just
quick enough does not fall off at once.
"""

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.channel.past import Passage
from fanout.channel.reader import Reader
from fanout.net.descriptors import Descriptors
from fanout.protocol.constants import EndReason, LossReason
from fanout.protocol.errors import reason
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.records import Loss
from fanout.protocol.request import Begin, Moment, Position, Request, Start

RETRY_MS: Final = 1_000
"""Retry delay for a client that the service cannot send the past, since it ends, or the past cannot
be read now."""


async def find_passage(channel: Channel, request: Request) -> Passage | None:
    """Where a client begins that asks for what is older than the log. None if it does not, or if
    nothing older is kept. `leave_passage` is for the caller to call.

    Raises `OSError` if what is kept cannot be read now, or there is no descriptor left for it.
    """
    past = channel.past
    if past is None or request.start is Start.LIVE:
        return None
    present_ns, begin = channel.header.epoch_ns, request.start
    if isinstance(begin, Position) and begin.epoch_ns > past.newest_epoch_ns:
        seq = begin.seq if begin.epoch_ns == present_ns else 1
        begin = Position(epoch_ns=present_ns, seq=seq)
    if _is_in_log(channel, begin):
        return None
    if Descriptors.taken >= Descriptors.most():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    Descriptors.taken += 1
    passage: Passage | None = None
    try:
        passage = await past.find(begin, epoch_ns=present_ns)
    finally:
        Descriptors.taken -= passage is None
    return passage


async def leave_passage(passage: Passage) -> None:
    """Close what `find_passage` has given, also in a task that is cancelled."""
    try:
        with trio.CancelScope(shield=True):
            await passage.aclose()
    finally:
        Descriptors.taken -= 1


def _is_in_log(channel: Channel, begin: Begin) -> bool:
    log = channel.log
    if isinstance(begin, Moment):
        return log.seek_time(begin.time_ns).position > log.oldest
    seq = begin.seq if isinstance(begin, Position) else 1
    is_present = not isinstance(begin, Position) or begin.epoch_ns == channel.header.epoch_ns
    return is_present and log.oldest_seq() <= seq


class Replay:
    """One client's way from the past to the log."""

    def __init__(self, passage: Passage, reader: Reader, request: Request) -> None:
        """`reader` is a new one. It serves the client once `run` has returned."""
        self.reader = reader
        self._passage = passage
        self._request = request
        self._is_present = passage.epoch_ns == reader.known.epoch_ns
        self._due = passage.next_seq
        """The number behind everything that the client has been sent."""
        self._ahead = b""
        """The next piece."""
        self._is_fresh = True
        """Whether that was read after the client had been sent everything before it."""
        self._failure: OSError | None = None
        """Why the next piece cannot be read."""

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> bytes:
        """Send the frames of the past. Returns those that the client gets next: the first ones of
        the log, after which `reader` goes on, or an END.

        A cancellation closes the passage. The client may have got a part of a frame.
        """
        try:
            await send(self._passage.greeting + self._told_loss())
            await self._read()
            while not (
                self._is_near or self._is_exhausted or self._failure or self.reader.log.closed
            ):
                if self._ahead:
                    await self._send_one(send)
                else:
                    await self._read()
                    self._is_fresh = True
            return self._following()
        finally:
            await leave_passage(self._passage)

    def _told_loss(self) -> bytes:
        """A framed LOSS of the numbers that the client asked for and that are gone."""
        begin, first = self._request.start, self._passage.next_seq
        is_same = isinstance(begin, Position) and begin.epoch_ns == self._passage.epoch_ns
        due = begin.seq if isinstance(begin, Position) and is_same else 1
        if isinstance(begin, Moment) or due >= first:
            return b""
        lost = Loss(first_seq=due, last_seq=first - 1, reason=LossReason.EVICTED)
        return frame(encode_event(lost))

    async def _read(self) -> None:
        # Raised, a failure would cancel the task that sends, in the midst of a frame.
        try:
            self._ahead = await self._passage.read()
        except OSError as error:
            self._ahead, self._failure = b"", error

    async def _send_one(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send the next piece, and read the one behind it meanwhile."""
        piece, due = self._ahead, self._passage.next_seq
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await send(piece)
        self._due, self._is_fresh = due, False

    @property
    def _is_exhausted(self) -> bool:
        """Whether nothing more is kept. The present epoch goes on, so there it has to be asked
        anew."""
        if self._ahead or self._failure:
            return False
        return self._is_fresh or not self._is_present

    @property
    def _is_near(self) -> bool:
        """Whether the number that is due stands in the newer half of what the log can hold."""
        log = self.reader.log
        at = log.seek(self._due)
        if not self._is_present or at.next_seq > self._due:
            return False
        return 2 * log.unread_bytes(at) <= log.capacity_bytes

    def _following(self) -> bytes:
        """The frames behind those of the past. No checkpoint may come between the last look at the
        log and this."""
        reader, due = self.reader, self._due
        is_in_log = reader.log.oldest_seq() <= due
        if self._is_present and (is_in_log or self._is_exhausted):
            return reader.take_over(self._request, due)
        if self._is_exhausted:
            why = "the service was restarted: this was the last record from before that"
            return reader.end(EndReason.EPOCH_OVER, retry_ms=0, why=why, next_seq=due)
        if self._failure and not reader.log.closed:
            why = unreadable(self._failure)
            return reader.end(EndReason.OTHER, retry_ms=RETRY_MS, why=why, next_seq=due)
        why = "the service ends"
        return reader.end(EndReason.SHUTDOWN, retry_ms=RETRY_MS, why=why, next_seq=due)


def unreadable(error: OSError) -> str:
    """What a client is told that the service cannot send the past."""
    return f"the journal cannot be read: {reason(error)}"
