"""From a channel into a queue: the frames that fit, and a LOSS for those that do not.

The service never waits for the queue's reader. Frames for which the queue has no room are dropped
whole, and `fanout.channel.reader.Reader` remembers them as one range of numbers. As soon as there
is room again, LOSS names that range, before anything else is pushed. So the queue always holds a
stream in which every hole is reported, wherever a reader attaches to it.

In a channel with books the whole books follow each LOSS, and each new reader, as soon as there is
room: each as it is then, in one go, since its pieces belong together. After a LOSS the newest
quotes come before them. A deep book is encoded in steps, so that the readers of other transports
need not wait for all of it. Meanwhile the queue gets no frame of the log: those that the book has
already have to come before it.
"""

import logging
from collections.abc import Iterable

import msgspec

from fanout.channel.reader import BOOKS_BYTES, Frames, Reader, Run
from fanout.protocol.constants import LENGTH_BYTES, FrameKind, LossReason
from fanout.protocol.framing import frame
from fanout.protocol.instruments import encode_changes, with_instruments
from fanout.protocol.queue import QueueWriter
from fanout.protocol.records import Header

_LOG = logging.getLogger("fanout")


class Dropped(msgspec.Struct):
    """Counts of what the queue had no room for."""

    frames: int = 0
    numbers: int = 0
    """Sequence numbers: trades and events."""
    losses: int = 0
    """LOSS frames that reported them."""


class Delivery:
    """Pushes a channel into a queue."""

    def __init__(self, writer: QueueWriter, reader: Reader, dropped: Dropped) -> None:
        """The queue's header is the one that is in force where `reader` stands."""
        self._writer = writer
        self._reader = reader
        self._dropped = dropped
        self._end = b""
        self._is_warned = False
        self.is_giving_books = False
        """Whether the next `deliver` goes on with whole books, and should come soon."""
        self._book_frames: list[bytes] = []
        """The pieces of the next book that are encoded."""
        self._wanted_bytes = 0
        """The room that the next book needs, if it did not fit."""
        self._owes_states = False
        """Whether the reader gets the newest quotes and rows before the next book."""

    @property
    def position(self) -> int:
        """Where in the log the next frame is."""
        return self._reader.cursor.position

    def age_ns(self, position: int) -> int:
        """For how long the frame at a position has been in the log."""
        return self._reader.log.age_ns(position)

    def take(self) -> bool:
        """Push what is new, as much as one push takes, unless something else comes first. False if
        `deliver` has to do the rest."""
        reader = self._reader
        if not self._book_frames and self._push_plain():
            self._mark()
        return reader.has_everything and reader.is_told(reader.cursor.context)

    def deliver(self) -> None:
        """Push all that is new, as far as there is room. The rest of a whole book comes first."""
        reader, log = self._reader, self._reader.log
        if self._book_frames and not log.closed:
            self._push_books()
            return
        while reader.cursor.position != log.end:
            if not self._push_plain():
                self._push_next()
        if not reader.is_told(reader.cursor.context):
            self._catch_up(reader.cursor.next_seq, reader.cursor.context)
        self._push_books()
        self._mark()

    def _push_plain(self) -> bool:
        """Push what follows, or as much of it as there is room for. False, and nothing is done, if
        nothing follows, or if the reader has to be told something before it."""
        reader, at = self._reader, self._reader.cursor
        start, first_seq, header = at.position, at.next_seq, at.context
        plain = reader.next_plain()
        if plain and not self._writer.push(plain):
            run = Run(plain, first_seq, header, start, at.position)
            self._push_each(reader.frames_of(run))
        return bool(plain)

    def _push_books(self) -> None:
        """Push some of the whole books that are due, as far as there is room."""
        reader, writer = self._reader, self._writer
        self.is_giving_books = False
        if reader.log.closed or not reader.is_told(reader.cursor.context):
            return
        is_begun = bool(self._book_frames)
        if not is_begun and self._wanted_bytes > writer.capacity - writer.unread_bytes:
            return
        if self._owes_states and not is_begun:
            states = reader.newest_states()
            if states and not writer.push(states):
                return
            self._owes_states = False
        size = 0
        while book := reader.next_book():
            if size >= BOOKS_BYTES:
                self.is_giving_books = True
                if not self._book_frames:
                    reader.put_off_book()  # what changes it may come before it
                return
            piece = book.piece(len(self._book_frames), reader.cursor.next_seq)
            self._book_frames.append(piece)
            size += len(piece)
            if book.is_last(len(self._book_frames) - 1) and not self._push_book():
                return

    def _push_book(self) -> bool:
        """Push the book whose pieces are encoded. False if there is no room."""
        frames = b"".join(self._book_frames)
        if len(frames) > self._writer.capacity // 2:
            self._warn_of_size(len(frames))
        elif not self._writer.push(frames):
            self._put_off_book()
            self._wanted_bytes = len(frames)
            return False
        self._book_frames.clear()
        self._wanted_bytes = 0
        self._reader.took_book()
        return True

    def _put_off_book(self) -> None:
        self._book_frames.clear()
        self._reader.put_off_book()

    def _warn_of_size(self, size: int) -> None:
        if not self._is_warned:
            self._is_warned = True
            _LOG.warning(
                "a whole book of %s bytes does not fit a queue of %s bytes: its readers wait for "
                "the next one of the feed; give the queue more room",
                f"{size:,}",
                f"{self._writer.capacity:,}",
            )

    def say(self, payload: bytes) -> bool:
        """Push a frame that takes no sequence number, if there is room."""
        at = self._reader.cursor
        is_said = self._catch_up(at.next_seq, at.context) and self._writer.push(frame(payload))
        self._mark()
        return is_said

    def show_books(self) -> None:
        """Give a new reader the whole books."""
        self._put_off_book()
        self._reader.show_books()
        self._push_books()

    def finish(self) -> None:
        """Nothing more will come. An END for which there was no room goes into the page, behind
        the LOSS that belongs before it."""
        at = self._reader.cursor
        tail = self._end and self._reader.untold(at.next_seq, at.context).loss + self._end
        if tail and self._writer.push(tail):
            tail = b""
        self._writer.end(tail)

    def _push_next(self) -> None:
        """Push a run in one go if it fits and holds no header, and else frame by frame."""
        run = self._reader.next_run()
        assert run is not None, "it has not read everything, and is never disconnected"
        if not self._catch_up(run.first_seq, run.header):
            self._drop(self._reader.frames_of(run))
        elif self._reader.cursor.context is not run.header or not self._writer.push(run.data):
            self._push_each(self._reader.frames_of(run))

    def _push_each(self, frames: Iterable[Frames]) -> None:
        """Push frames until one does not fit, and drop the others."""
        rest = iter(frames)
        for each in rest:
            if not self._push_one(each):
                self._drop((each, *rest))

    def _push_one(self, frames: Frames) -> bool:
        header = frames.new_header
        if header is None:
            return self._writer.push(frames.data)
        is_pushed = self._writer.push_header(header, frames.data)
        if is_pushed:
            self._reader.told_header(header)
        return is_pushed

    def _drop(self, frames: Iterable[Frames]) -> None:
        """Drop frames that reach up to where the channel's reader stands."""
        dropped = list(frames)
        if not dropped:
            return
        first, last = dropped[0].first_seq, dropped[-1].data
        numbers = self._reader.cursor.next_seq - first
        self._dropped.frames += len(dropped)
        self._dropped.numbers += numbers
        self._writer.count_dropped(len(dropped), numbers)
        self._reader.drop(first, LossReason.QUEUE_FULL)
        if not self._dropped.losses:
            _LOG.warning("queue reader is falling behind; dropped records will be reported as LOSS")
        if last[LENGTH_BYTES] == FrameKind.END:
            self._end = last

    def _catch_up(self, next_seq: int, header: Header) -> bool:
        """Push what the reader has to be told before it goes on at `next_seq`. False if there is
        no room for that."""
        if self._reader.is_told(header):
            return True
        untold = self._reader.untold(next_seq, header)
        if untold.loss:
            if not self._writer.push(untold.loss):
                return False
            self._dropped.losses += 1
            self._owes_states = True
            self._reader.show_books()
        self._reader.told_loss()
        return untold.header is None or self._push_changes(header)

    def _push_changes(self, header: Header) -> bool:
        """Bring the queue's reader from the header that it has to this one, in runs of instruments
        that fit the smallest queue. False if there is no room for all of them yet."""
        max_bytes = self._writer.capacity // 4
        for payload in encode_changes(self._reader.known, header, max_bytes=max_bytes):
            changed = with_instruments(self._reader.known, payload)
            if not self._writer.push_header(changed, frame(payload)):
                return False
            self._reader.told_header(changed)
        self._reader.told_header(header)
        return True

    def _mark(self) -> None:
        """Note in the page what comes next, for a reader that attaches to an empty queue."""
        self._writer.mark(self._reader.next_seq)
