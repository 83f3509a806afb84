"""From a channel into a ring: the frames of the log, and snapshots between them.

A push never fails. So a ring has every frame of the log, unless the log itself dropped some before
they were pushed; then LOSS names them, for all readers alike. What a single reader loses, it finds
out by itself.

A snapshot is for readers that join or were lapped: the newest trades and quotes, and the whole
books. It stands in the ring between the frames of the log, from `begin_snapshot` to
`end_snapshot`, and readers that need none skip it. The ring goes on with the log between two books.
Not within one: a deep book is encoded in steps, so that the readers of other transports need not
wait for all of it, and the frames of the log that come meanwhile belong behind it.
"""

import logging
from itertools import chain

import msgspec

from fanout.channel.channel import Channel
from fanout.channel.reader import BOOKS_BYTES, Frames, Reader, Run
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.instruments import encode_changes, with_instruments
from fanout.protocol.records import Header
from fanout.protocol.ring import RingWriter

_LOG = logging.getLogger("fanout")


class Delivery:
    """Pushes a channel into a ring."""

    def __init__(self, writer: RingWriter, channel: Channel) -> None:
        """The ring's header is the one that is in force at the log's end."""
        self._writer = writer
        self._channel = channel
        self._reader = Reader(channel)
        self._is_warned = self._has_lost = False
        self.is_giving_books = False
        """Whether the next `deliver` goes on with a snapshot, and should come soon."""
        self._pieces: list[bytes] = []
        """The frames of the next book, as far as they are encoded."""
        self.wants_snapshot = True
        """Whether a snapshot is due, for the first readers or behind a LOSS."""

    @property
    def position(self) -> int:
        """Where in the log the next frame is."""
        return self._reader.cursor.position

    @property
    def lost(self) -> int:
        """Numbers that all readers were told they lost, since the log had dropped them."""
        return self._reader.lost

    def age_ns(self, position: int) -> int:
        """For how long the frame at a position has been in the log."""
        return self._reader.log.age_ns(position)

    def take(self) -> bool:
        """Push what is new, as much as the log gives at once, unless something else comes first.
        False if `deliver` has to do the rest."""
        reader = self._reader
        if not self._pieces:
            self._push_plain()
        at = reader.cursor
        return at.position == reader.log.end and reader.is_told(at.context)

    def deliver(self) -> None:
        """Push all that is new. The rest of a whole book comes first."""
        log = self._reader.log
        if self._pieces and not log.closed:
            self._give_books()
            return
        if self._reader.cursor.position != log.end:
            self._push_news()
        if self.is_giving_books:
            self._give_books()

    def show(self) -> None:
        """Begin a snapshot. One that is under way is finished instead."""
        if self.is_giving_books or self._channel.log.closed:
            return
        self.wants_snapshot = False
        self._push_news()
        self._writer.begin_snapshot()
        for payload in payloads_of(self._channel.snapshot()):
            self._push(frame(payload), self._reader.cursor.next_seq)
        self._reader.show_books()
        self.is_giving_books = True
        self._give_books()

    def say(self, frames: bytes) -> None:
        """Push a frame that speaks of the log's end, unless something has to come before it."""
        at = self._reader.cursor
        if at.position == self._reader.log.end:
            self._push(frames, at.next_seq)

    def finish(self) -> None:
        """Nothing more will come."""
        self._writer.end()

    def _push(self, frames: bytes, next_seq: int) -> None:
        self._writer.push(frames, next_seq)

    def _push_news(self) -> None:
        reader, log = self._reader, self._reader.log
        while reader.cursor.position != log.end:
            if not self._push_plain():
                self._push_next()
        self._tell(reader.cursor.next_seq, reader.cursor.context)

    def _push_plain(self) -> bool:
        """Push what follows, up to some 64 KiB. False, and nothing is done, if nothing follows, or
        if readers have to be told something before it."""
        reader, writer, at = self._reader, self._writer, self._reader.cursor
        start, first_seq, header = at.position, at.next_seq, at.context
        plain = reader.next_plain()
        if len(plain) > writer.longest_push:
            self._push_each(Run(plain, first_seq, header, start, at.position))
        elif plain:
            writer.push(plain, at.next_seq)
        return bool(plain)

    def _push_next(self) -> None:
        """Push frames before which something has to be told, or among which is a header."""
        run = self._reader.next_run()
        assert run is not None, "it has not read everything, and is never disconnected"
        self._tell(run.first_seq, run.header)
        self._push_each(run)

    def _push_each(self, run: Run) -> None:
        frames = list(self._reader.frames_of(run))
        behind = chain((each.first_seq for each in frames[1:]), (self._reader.cursor.next_seq,))
        for each, next_seq in zip(frames, behind, strict=False):
            self._push_one(each, next_seq)

    def _push_one(self, frames: Frames, next_seq: int) -> None:
        header = frames.new_header
        if header is None:
            self._push(frames.data, next_seq)
            return
        self._writer.push_header(_at(header, next_seq), frames.data)
        self._reader.told_header(header)

    def _tell(self, next_seq: int, header: Header) -> None:
        """Push what readers have to be told before they go on at `next_seq`."""
        reader = self._reader
        if reader.is_told(header):
            return
        untold = reader.untold(next_seq, header)
        if untold.loss:
            if not self._has_lost:
                self._has_lost = True
                _LOG.warning("ring: the log dropped records before they were pushed; LOSS follows")
            self._push(untold.loss, next_seq)
            self.wants_snapshot = True
        reader.told_loss()
        if untold.header is None:
            return
        changed = reader.known
        for payload in encode_changes(changed, header):
            changed = with_instruments(changed, payload)
            self._writer.push_header(_at(changed, next_seq), frame(payload))
        reader.told_header(header)

    def _give_books(self) -> None:
        """Push some of the whole books, and end the snapshot behind the last one."""
        reader, size = self._reader, 0
        if reader.log.closed:
            return
        while book := reader.next_book():
            if size >= BOOKS_BYTES:
                return
            place = len(self._pieces)
            piece = book.piece(place, reader.cursor.next_seq)
            self._pieces.append(piece)
            size += len(piece)
            if book.is_last(place):
                self._push_book()
        self.is_giving_books = False
        if not self._writer.end_snapshot():
            self._warn("the whole books of a snapshot do")

    def _push_book(self) -> None:
        """Push the book whose pieces are encoded."""
        if sum(map(len, self._pieces)) > self._writer.capacity // 2:
            self._warn("a whole book does")
        else:
            for each in self._pieces:
                self._push(each, self._reader.cursor.next_seq)
        self._pieces.clear()
        self._reader.took_book()

    def _warn(self, subject: str) -> None:
        if not self._is_warned:
            self._is_warned = True
            _LOG.warning(
                "%s not fit a ring of %s bytes: readers that join wait for the next whole book of "
                "the feed; give the ring a larger --capacity",
                subject,
                f"{self._writer.capacity:,}",
            )


def _at(header: Header, next_seq: int) -> Header:
    return msgspec.structs.replace(header, next_seq=next_seq)
