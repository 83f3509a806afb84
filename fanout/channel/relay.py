"""A channel that repeats what another one sent: the frames of a journal, byte for byte.

The feed of a live channel knows what it publishes. A relay has frames only, so it decodes them:
readers that join are to be shown the newest trades, quotes and rows, and the whole books, as in the
live channel.

    trades, quotes, book updates, rows of features   appended, and noted for readers that join
    STATUS                         appended; a book is withheld while its instrument is not LIVE
    GAP, unknown kinds             appended
    LOSS, a hole in the numbers    appended, as an entry of the log with all the lost numbers
    INSTRUMENTS, a header          the channel's header changes; present readers get INSTRUMENTS
    HEARTBEAT, END                 left out: transports make the first, and the caller the second

Snapshots have no numbers. In mid-stream they follow a LOSS, after which books and quotes are
unknown. So present readers get them as well, but for the newest trades, which they need not be
shown.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

import msgspec

from fanout.channel.books import ChannelBooks
from fanout.channel.channel import Channel
from fanout.protocol.block import decode_block
from fanout.protocol.blocks import UPDATE_DECODERS, Updates
from fanout.protocol.book_records import (
    BookBlock,
    BookUpdate,
    OrderBlock,
    OrderUpdate,
    QuoteBlock,
)
from fanout.protocol.constants import LENGTH_BYTES, NUMBERED_KINDS, FeedState, FrameKind, LossReason
from fanout.protocol.errors import FanoutError, MalformedError
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.feature_rows import FeatureBlock
from fanout.protocol.framing import frame, unseal
from fanout.protocol.header import Gathering
from fanout.protocol.instruments import encode_changes, with_instruments
from fanout.protocol.joining import run_of
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.records import (
    Block,
    End,
    Event,
    Gap,
    Heartbeat,
    Loss,
    Status,
)

_U32: Final = Struct("<I")

_EVENTS: Final = range(FrameKind.STATUS, FrameKind.END + 1)


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A frame of a journal, with what the relay has to know of it."""

    frame: bytes
    first_seq: int
    """The number of its first record, or the one that is due where it has none; 0 if the frame
    does not tell."""
    count: int
    """How many numbers it takes."""
    time_ns: int
    """When it came, unix ns; 0 if the frame does not tell."""
    content: Block | Updates | Event | None
    """None for kinds that have nothing to be noted, and for a header and its instruments."""


class Relay:
    """Repeats frames in a channel. Nobody else publishes there."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lost = 0
        """Numbers that readers were told the journal does not have."""
        self._books = FollowedBooks(channel.books)
        self._gathering: Gathering | None = None
        """A header in mid-stream whose instruments are still coming."""

    def read(self, whole: bytes) -> Recorded:
        """What stands in a frame that comes next, given with its length. Raises `PeerError`."""
        payload = whole[LENGTH_BYTES:]
        kind, header = payload[0], self.channel.header
        if kind == FrameKind.TRADES:
            block = decode_block(payload, header)
            count = 0 if block.is_snapshot else len(block.trades)
            return Recorded(whole, block.first_seq, count, block.received_ns, block)
        if kind in UPDATE_DECODERS:
            updates = UPDATE_DECODERS[kind](payload, header)
            count = 0 if updates.is_snapshot else len(updates.records)
            return Recorded(whole, updates.first_seq, count, updates.received_ns, updates)
        if kind in _EVENTS:
            event = decode_event(payload, header)
            return Recorded(whole, *_measures(event), event)
        if kind in NUMBERED_KINDS:
            return Recorded(whole, *run_of(payload), 0, None)
        unseal(payload)
        return Recorded(whole, 0, 0, 0, None)

    def publish(self, recorded: Recorded) -> None:
        """Repeat a frame that `read` gave. A frame whose numbers are behind is left out. Raises
        `PeerError` for a header or INSTRUMENTS that cannot follow, and nothing is published then.
        """
        content, due = recorded.content, self.channel.log.next_seq
        if isinstance(content, Loss):
            self._lose(content.last_seq, content.reason)
        elif recorded.first_seq >= due or not recorded.count:
            if recorded.first_seq > due:
                self._lose(recorded.first_seq - 1)
            self._publish(recorded)

    def _publish(self, recorded: Recorded) -> None:
        content, channel, count = recorded.content, self.channel, recorded.count
        if isinstance(content, Block):
            channel.note_trades(content)
            channel.trades += count
            if not count:
                return
        elif isinstance(content, QuoteBlock):
            channel.note_quotes(content.quotes)
            channel.quotes += count
        elif isinstance(content, FeatureBlock):
            channel.note_rows(content.rows)
            channel.rows += count
        elif isinstance(content, BookBlock | OrderBlock):
            self._books.take(content.updates, is_snapshot=content.is_snapshot)
            channel.book_updates += count
        elif isinstance(content, Heartbeat | End):
            return
        elif content is None:
            self._publish_other(recorded)
            return
        else:
            if isinstance(content, Status):
                self._take_state(content)
            channel.events += 1
            channel.relay(recorded.frame, count, time_ns=recorded.time_ns)
            return
        channel.blocks += bool(count)
        channel.relay(recorded.frame, count, time_ns=recorded.time_ns)

    def _take_state(self, status: Status) -> None:
        """As `Channel.publish_status`, but a book that was withheld from a reader of ours comes as
        a snapshot, since the journal's numbers leave no room for it."""
        channel, instrument = self.channel, status.instrument
        if not channel.has_books:
            return
        if status.state is not FeedState.LIVE:
            channel.books.withhold(instrument)
        elif instrument is not None:
            for each in channel.books.release(instrument.index):
                channel.relay(channel.snapshot_of(type(each), [each]), 0)

    def _lose(self, last_seq: int, reason: LossReason = LossReason.DAMAGED) -> None:
        """Tell readers that they will not get the numbers up to this one, if any are missing."""
        channel = self.channel
        first_seq = channel.log.next_seq
        if last_seq < first_seq:
            return
        lost = Loss(first_seq=first_seq, last_seq=last_seq, reason=reason)
        self.lost += last_seq - first_seq + 1
        self._books.lose()
        channel.forget_states()
        channel.relay(frame(encode_event(lost)), last_seq - first_seq + 1)

    def _publish_other(self, recorded: Recorded) -> None:
        kind = recorded.frame[LENGTH_BYTES]
        if kind == FrameKind.HEADER:
            self._take_header(Gathering.begin(recorded.frame[LENGTH_BYTES:]))
        elif kind == FrameKind.INSTRUMENTS:
            self._take_instruments(recorded.frame)
        else:
            self.channel.relay(recorded.frame, recorded.count)

    def _take_instruments(self, whole: bytes) -> None:
        payload, channel = whole[LENGTH_BYTES:], self.channel
        if self._gathering is not None:
            self._take_header(self._gathering.add(payload))
        else:
            changed = with_instruments(channel.header, payload)
            channel.relay_change(changed, whole)

    def _take_header(self, gathering: Gathering) -> None:
        """Take a header in mid-stream once it has all instruments. Present readers get what is new
        in it, as the readers of a queue do."""
        self._gathering = gathering
        if not gathering.is_complete:
            return
        self._gathering, header, known = None, gathering.header, self.channel.header
        if header.columns != known.columns:
            raise MalformedError("a header in mid-stream has other columns than the channel")
        self._lose(header.next_seq - 1)
        changed = msgspec.structs.replace(
            known, instruments=header.instruments, references=header.references
        )
        changes = encode_changes(known, changed)
        if changes:
            self.channel.relay_change(changed, b"".join(map(frame, changes)))


class FollowedBooks:
    """Keeps a channel's books as a client does, from the updates alone."""

    def __init__(self, books: ChannelBooks) -> None:
        self._books = books
        self._joined: set[int] = set()
        """The books that are snapshots, and of which no later update has come. A snapshot may be
        newer than its place, and has some of the updates that follow it already."""

    def lose(self) -> None:
        """Make all books unknown: updates are missing."""
        self._books.clear()
        self._joined.clear()

    def take(self, updates: Sequence[BookUpdate | OrderUpdate], *, is_snapshot: bool) -> None:
        """Apply updates to their books. A book that cannot take one is unknown afterwards."""
        for each in updates:
            if self._is_wanted(each, is_snapshot=is_snapshot):
                self._apply(each)
        self._books.changed(updates)

    def _is_wanted(self, update: BookUpdate | OrderUpdate, *, is_snapshot: bool) -> bool:
        index = update.instrument.index
        book = self._books.any_of(index)
        prices = book.prices if isinstance(book, OrdersBook) else book
        is_joined = index in self._joined
        if is_snapshot and update.is_whole:
            is_wanted = not prices.is_consistent or update.update_id > prices.update_id
            if is_wanted:
                self._joined.add(index)
            return is_wanted
        if is_snapshot:
            return is_joined and update.update_id == prices.update_id and not prices.is_consistent
        if is_joined and not update.is_whole:
            if update.update_id <= prices.update_id:
                return False
            if not prices.is_consistent:
                book.clear()  # the rest of the snapshot should have come before this
        self._joined.discard(index)
        return True

    def _apply(self, update: BookUpdate | OrderUpdate) -> None:
        book = self._books.any_of(update.instrument.index)
        try:
            if isinstance(book, OrdersBook):
                if isinstance(update, OrderUpdate):
                    book.apply(update)
            elif isinstance(update, BookUpdate):
                book.apply(update)
        except FanoutError:
            book.clear()


def _measures(event: Event) -> tuple[int, int, int]:
    """The first number of an event, how many it takes, and its time or 0."""
    match event:
        case Status(seq=seq, since_ns=since_ns):
            return seq, 1, since_ns
        case Gap(seq=seq):
            return seq, 1, 0
        case Loss(first_seq=first, last_seq=last):
            return first, last - first + 1, 0
        case Heartbeat(next_seq=seq, time_ns=time_ns):
            return seq, 0, time_ns
        case End(last_seq=last):
            return last + 1, 0, 0


def frames_of(piece: bytes) -> Iterator[bytes]:
    """The frames of a piece, each with its length."""
    at, stop = 0, len(piece)
    while at < stop:
        behind = at + LENGTH_BYTES + _U32.unpack_from(piece, at)[0]
        yield piece[at:behind]
        at = behind
