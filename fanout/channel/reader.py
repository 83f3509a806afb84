"""One reader's place in a channel: the frames that come next, and the losses and headers before.

Pure: bytes and values out, no socket, no task. Every transport serves its readers through this
class, so that each reader is told the same, however it is served:

    greeting          START and the header, then a snapshot for a reader that begins live, and the
                      whole books for every reader
    LOSS              the numbers that the reader will not get: the log dropped them before the
                      reader came to them, or the transport had no room for them
    header            whenever another one is in force where the reader goes on
    END               the goodbye, the channel's or this reader's own

A reader may have got what is older than the log from elsewhere, from a journal. It begins here by
`take_over`, with the first number that it lacks.

A transport that sends bytes takes whole pieces: `start`, then `next_piece`, which never fail to be
delivered. A transport that may have to drop frames takes runs: `next_run` gives what follows with
its numbers, `frames_of` divides it into frames, `drop` notes what did not fit, and `untold` gives
the LOSS and the header that have to come before the reader goes on. `next_plain` is a short cut for
a reader that has nothing to be told, and for frames without a header among them.

In a channel with books a reader that falls off the log goes on at the live end, with the whole
books: those that it has built are unknown after a LOSS.

          log   ... | 7  8 | 9 | 10 11 12 | 13 |            next_seq 14
                             ^ cursor: 10 comes next, under the cursor's header
"""

from collections import deque
from collections.abc import Iterator
from copy import copy
from typing import Final

import msgspec

from fanout.channel.books import WholeBook
from fanout.channel.channel import Channel, framed
from fanout.channel.log import Cursor, Lag, Lapped
from fanout.protocol.blocks import rest_from
from fanout.protocol.constants import (
    LENGTH_BYTES,
    MAX_TEXT_BYTES,
    EndReason,
    LossReason,
)
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.records import End, Header, Loss
from fanout.protocol.request import Moment, Position, Request, SlowPolicy, Start
from fanout.protocol.text import fitting

CHUNK_BYTES: Final = 64 * 1024
"""Most that a reader takes from the log at once. It bounds what a stuck client keeps in memory
beside the log. It is the same for all readers, so that those at one place share the bytes."""

BOOKS_BYTES: Final = 16 * 1024
"""How much of whole books a reader is given at once, before the last piece. They are encoded for
it, and the other readers wait meanwhile: for two or three pieces of at most 2,048 levels each. With
the first piece of a book its levels are copied as well."""

SLOW_RETRY_MS: Final = 1_000
"""Retry delay for a reader that asked to be disconnected when it falls off the log."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Whole frames that follow each other in the log, from `start` up to before `stop`."""

    data: bytes
    first_seq: int
    """The number of the first record in it, or the one that comes next if it has none."""
    header: Header
    """In force before the first frame."""
    start: int
    stop: int


class Frames(msgspec.Struct, frozen=True, gc=False):
    """One entry of the log: a frame, or a header with all that belongs to it."""

    data: bytes
    first_seq: int
    new_header: Header | None
    """The header that is in force from here on, if the entry is one."""


class Untold(msgspec.Struct, frozen=True, gc=False):
    """What a reader has to be told before it goes on: a framed LOSS, or nothing, and the header
    that is in force there, unless the reader has it."""

    loss: bytes
    header: Header | None


class Reader:
    """One reader of a channel, from its greeting to its END."""

    def __init__(self, channel: Channel, *, max_lag_ms: int | None = None) -> None:
        """The reader stands at the log's end until `start` moves it.

        A reader that falls off the log goes on at the oldest frame, or at the live end if that
        frame is older than `max_lag_ms`.
        """
        self.log = channel.log
        self.channel = channel.name
        self._channel = channel
        self._books: deque[int] = deque()
        """Indexes of the instruments whose whole books the reader gets before it goes on."""
        self._book: WholeBook | None = None
        """The first of these books, if the reader has begun with it."""
        self._book_pieces = 0
        """How many pieces of it the reader has."""
        self._states = b""
        """The newest quotes and rows, as frames, which come before these."""
        # Behind a closed log there is nothing more, and the reader is to get its END.
        is_closed = self.log.closed
        self.cursor: Cursor[Header] = (
            self.log.seek(self.log.next_seq) if is_closed else self.log.live()
        )
        self.greeting = channel.greeting()
        """START and the header. They come first, whatever the reader asks for."""
        self.is_over = False
        """Nothing follows: the last piece ended in an END."""
        self.lost = 0
        """Numbers that the reader was told it lost because it fell off the log."""
        self.fell_off = ""
        """Why the reader was disconnected, in words for the log, if it was for being slow."""
        self._snapshot = channel.snapshot()
        self._known = self.cursor.context
        """The header that the reader was given last."""
        self._slow = SlowPolicy.SKIP
        self._max_lag_ms = max_lag_ms
        self._piece_position = self.cursor.position
        self._skipped = self.cursor.position
        """Frames of the log that the reader did not get, those from before it came included."""
        self._lost_from: int | None = None
        self._lost_why = LossReason.SLOW

    @property
    def blocks(self) -> int:
        """How many frames of the log the reader got."""
        return self.cursor.position - self._skipped

    @property
    def next_seq(self) -> int:
        """The number that the reader gets next, be it in a LOSS."""
        return self.cursor.next_seq if self._lost_from is None else self._lost_from

    @property
    def is_shareable(self) -> bool:
        """Whether readers at the same place get the same bytes."""
        return not (self._books or self._states)

    @property
    def has_everything(self) -> bool:
        """Whether the reader has read the log to its end."""
        return self.cursor.position == self.log.end and not self._books

    def start(self, request: Request) -> bytes:
        """The frames before the first piece: the snapshot for a reader that begins live; for the
        others LOSS, header, and the rest of the block that holds the number they ask for. Whole
        books come with the first pieces."""
        frames = self._start(request)
        if not self.is_over:
            self.show_books()
        return frames

    def take_over(self, request: Request, seq: int) -> bytes:
        """Go on from the log at number `seq`, with a reader that has everything before it: the
        frames before the first piece. A LOSS covers what the log no longer has.

        What the reader has came from the log. So it knows the header that is in force at `seq`,
        unless it loses something there.
        """
        self._slow, self._snapshot = request.slow, b""
        self.cursor = self.log.seek(seq)
        self._skipped = self._piece_position = self.cursor.position
        following, header = self.cursor.next_seq, self.cursor.context
        self.told_header(header)
        # A later place than where the reader began may have had the books that it needs.
        self.show_books()
        if following < seq:
            return self._rest_from(seq)
        if following == seq:
            return b""
        lost = Loss(first_seq=seq, last_seq=following - 1, reason=LossReason.EVICTED)
        there = msgspec.structs.replace(header, next_seq=following)
        return frame(encode_event(lost)) + framed(there)

    def show_books(self) -> None:
        """Give the reader the whole books before it goes on, if the channel has any."""
        if self._channel.has_books and not self.log.closed:
            self._books = deque(self._channel.books.indexes())
            self.put_off_book()

    def newest_states(self) -> bytes:
        """The newest quotes and rows, as frames, if the channel has books: for a reader at the
        log's end that lost something. Empty if there are none."""
        return self._channel.state_snapshot() if self._channel.has_books else b""

    def next_book(self) -> WholeBook | None:
        """The whole book that the reader gets next, None if it has them all. It is as the book is
        at the first call, and comes again until `took_book` or `put_off_book`."""
        while self._book is None and self._books:
            self._book = self._channel.books.snapshot(self._books[0], self._known)
            if self._book is None:
                self._books.popleft()
        return self._book

    def took_book(self) -> None:
        """Note that the reader has the book that `next_book` gave."""
        self._books.popleft()
        self.put_off_book()

    def put_off_book(self) -> None:
        """Begin again with the book that comes next, as it is then."""
        self._book, self._book_pieces = None, 0

    def _next_books(self) -> bytes:
        """Some whole books, or pieces of one, after the newest quotes if the reader lost some."""
        frames, size = [self._states], len(self._states)
        self._states = b""
        while size < BOOKS_BYTES and (book := self.next_book()):
            piece = book.piece(self._book_pieces, self.cursor.next_seq)
            frames.append(piece)
            size += len(piece)
            if book.is_last(self._book_pieces):
                self.took_book()
            else:
                self._book_pieces += 1
        return b"".join(frames)

    def _start(self, request: Request) -> bytes:
        self._slow = request.slow
        snapshot, self._snapshot = self._snapshot, b""
        if request.start is Start.LIVE:
            return snapshot
        if isinstance(request.start, Moment):
            at = self.log.seek_time(request.start.time_ns)
            is_live = at.position == self.log.end
            return snapshot if is_live else self._start_at(at.next_seq, LossReason.EVICTED)
        if not isinstance(request.start, Position):
            return self._start_at(1, LossReason.EVICTED)
        if request.start.epoch_ns != self._known.epoch_ns:
            return self._start_at(1, LossReason.OTHER_EPOCH)
        greeted = self.cursor.next_seq  # a reader cannot know of more
        if request.start.seq > greeted:
            why = f"number {request.start.seq} is still to come: {greeted} is next"
            return self.end(EndReason.BAD_REQUEST, retry_ms=None, why=why)
        return self._start_at(request.start.seq, LossReason.EVICTED)

    def next_piece(self) -> bytes:
        """What follows, as bytes to send: whole frames up to `CHUNK_BYTES` or so, after what the
        reader has to be told. Empty if nothing follows now."""
        self._piece_position = self.cursor.position
        if self._books or self._states:
            books = self._next_books()
            if books:
                return books
        plain = self.next_plain()
        if plain:
            return plain
        run = self.next_run()
        if self.fell_off:
            return self.end(EndReason.SLOW, retry_ms=SLOW_RETRY_MS, why=self.fell_off)
        if run is None:
            return b""
        told = self._tell(run.first_seq, run.header)
        self._known = self.cursor.context
        return told + run.data if told else run.data

    def next_run(self) -> Run | None:
        """What follows, for a transport that may have no room for all of it: the caller says what
        the reader was told, by `told`, and what it does not get, by `drop`. None if nothing
        follows now. The run is empty if a lapped reader goes on at the live end."""
        at = self.cursor
        start, first_seq, header = at.position, at.next_seq, at.context
        data = self.log.read(at, CHUNK_BYTES)
        if isinstance(data, Lapped):
            return self._lapped(data)
        return Run(data, first_seq, header, start, at.position) if data else None

    def next_plain(self) -> bytes:
        """What follows, if nothing has to be told before it and no header stands in it, which is so
        nearly always. Empty if nothing follows, or if `next_run` has to give it."""
        at, log = self.cursor, self.log
        is_plain = log.context is self._known and self._lost_from is None
        if not is_plain or at.position < log.oldest or at.context is not log.context:
            return b""
        data = log.read(at, CHUNK_BYTES)
        assert isinstance(data, bytes), "the place is not gone"
        return data

    def frames_of(self, run: Run) -> Iterator[Frames]:
        """The run's frames one by one. They have to be taken before the log is appended to."""
        header = run.header
        for position in range(run.start, run.stop):
            entry = self.log.entry(position)
            is_new = entry.context is not header
            header = entry.context
            yield Frames(entry.frame, entry.first_seq, header if is_new else None)

    def drop(self, seq: int, why: LossReason) -> None:
        """Note that the reader gets nothing from number `seq` on, until it is told. A range that
        grows keeps its first reason."""
        if self._lost_from is None:
            self._lost_from, self._lost_why = seq, why

    def is_told(self, header: Header) -> bool:
        """Whether the reader can go on under `header` without being told anything."""
        return header is self._known and self._lost_from is None

    def untold(self, seq: int, header: Header) -> Untold:
        """What the reader has to be told before it goes on at `seq`, where `header` is in force."""
        loss = b""
        if self._lost_from is not None and self._lost_from != seq:
            lost = Loss(first_seq=self._lost_from, last_seq=seq - 1, reason=self._lost_why)
            loss = frame(encode_event(lost))
        is_known = header is self._known
        return Untold(loss, None if is_known else msgspec.structs.replace(header, next_seq=seq))

    @property
    def known(self) -> Header:
        """The header that the reader was given last."""
        return self._known

    def told_loss(self) -> None:
        """Note that the reader has the LOSS of all that was dropped."""
        self._lost_from = None

    def told_header(self, header: Header) -> None:
        """Note that the reader has this header of the log."""
        self._known = header

    def part(self, piece_position: int) -> None:
        """Go on with a cursor of its own, which was shared with other readers. The piece that was
        sent last began at `piece_position`."""
        self.cursor = copy(self.cursor)
        self._known = self.cursor.context
        self._piece_position = piece_position

    def end(
        self, reason: EndReason, *, retry_ms: int | None, why: str, next_seq: int | None = None
    ) -> bytes:
        """An END for this reader alone, at its place. `next_seq` is the number that it would have
        got next, if its place is not in the log."""
        self.is_over = True
        end = End(
            reason=reason,
            last_seq=(self.cursor.next_seq if next_seq is None else next_seq) - 1,
            retry_ms=retry_ms,
            why=fitting(why, MAX_TEXT_BYTES),
        )
        return frame(encode_event(end))

    def lag(self, unsent_bytes: int) -> Lag:
        """How far the reader is behind if it has yet to take so much of the last piece."""
        return self.log.lag(
            self.cursor, unsent_from=self._piece_position, unsent_bytes=unsent_bytes
        )

    def _start_at(self, seq: int, gone: LossReason) -> bytes:
        """Begin at `seq`. A LOSS with the reason `gone` covers what the log no longer has."""
        self.cursor = self.log.seek(seq)
        self._skipped = self.cursor.position
        following, header = self.cursor.next_seq, self.cursor.context
        if following < seq:
            return self._tell(seq, header) + self._rest_from(seq)
        self.drop(seq, gone)
        return self._tell(following, header)

    def _rest_from(self, seq: int) -> bytes:
        """The rest of the block at the cursor from `seq` on, as a block of its own, so that no
        record comes twice."""
        header = self.cursor.context
        whole = self.log.read(self.cursor, limit_bytes=1)
        assert isinstance(whole, bytes), "a place that was just found is there"
        return frame(rest_from(whole[LENGTH_BYTES:], seq, header))

    def _lapped(self, lapped: Lapped[Header]) -> Run | None:
        """Go on after the log dropped what the reader had not read, or not at all if it asked for
        that."""
        first = lapped.first_seq
        if first <= lapped.last_seq:  # otherwise only headers were dropped, and nothing is lost
            if self._slow is SlowPolicy.DISCONNECT:
                self.cursor.next_seq = first
                self.fell_off = f"slower than the log is long; {first} would have been next"
                return None
            self.drop(first, LossReason.SLOW)
            if self._channel.has_books and not self.log.closed:
                return self._go_on_live(first)
            if self._max_lag_ms is not None and self.log.oldest_ms() > self._max_lag_ms:
                # Not the log's very end: an END, which has no number, may stand there.
                self.cursor = self.log.seek(self.log.next_seq)
        at = self.cursor
        self.lost += at.next_seq - first
        self._skipped += at.position - self._piece_position
        start, first_seq, header = at.position, at.next_seq, at.context
        data = self.log.read(at, CHUNK_BYTES)
        assert isinstance(data, bytes), "the oldest frame is there until the log is appended to"
        return Run(data, first_seq, header, start, at.position)

    def _go_on_live(self, first: int) -> Run:
        """Go on at the live end of a channel with books. The caller tells the reader the LOSS, and
        the books come next."""
        self.cursor = at = self.log.live()
        self.lost += at.next_seq - first
        self._skipped += at.position - self._piece_position
        self._states = self._channel.state_snapshot()
        self.show_books()
        return Run(b"", at.next_seq, at.context, at.position, at.position)

    def _tell(self, seq: int, header: Header) -> bytes:
        """The frames that say what is untold, which are delivered without fail."""
        if self.is_told(header):
            return b""
        untold = self.untold(seq, header)
        self.told_loss()
        self.told_header(header)
        return untold.loss + (framed(untold.header) if untold.header else b"")
