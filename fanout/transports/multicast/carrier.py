"""Carries one channel to its groups: what is published, heartbeats, and snapshots for receivers
that join.

    log ------------------------------> packets --> line A, and the same on line B
                                           ^
    every few seconds: the header, the     |
    newest trades and quotes, the books ---'

A packet is sent once to each line, and nobody says whether it arrived. Receivers notice by the
numbers what is missing, and ask for it over TCP. So the carrier is never behind a receiver. It can
only be behind the log, where `--packets-per-s` or a full buffer holds it up. Receivers miss what
the log drops before it is sent, as they miss a lost packet.

A snapshot has no numbers. The header comes first, then one book after the other, each as it is
then. Nothing comes between the packets of one book. What was published meanwhile is sent between
two books.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Protocol

import trio

from fanout.channel.channel import Channel
from fanout.channel.reader import BOOKS_BYTES, Reader
from fanout.protocol.constants import LENGTH_BYTES, FrameKind
from fanout.protocol.events import decode_event
from fanout.protocol.framing import frame
from fanout.protocol.instruments import encode_changes
from fanout.protocol.records import End
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import GroupStats
from fanout.transports.multicast.pace import Pace
from fanout.transports.multicast.sockets import Sender

FIRST_HEARTBEAT_S: Final = 0.1
"""Silence after which a heartbeat is sent. It tells receivers whether the last packet was lost."""

HEARTBEAT_S: Final = 1.0
"""Silence after which another one is sent."""

ENDS: Final = 5
"""How often the END is sent: the loss of one packet must not hide it."""

END_PAUSE_S: Final = 0.2
"""Pause between two of them."""

LAST_PACKETS: Final = 64
"""How many of the last packets are sent again with each END but the first. Who lost one of them
cannot ask for it over TCP any more: the service is about to end."""

AT_ONCE: Final = 64
"""How many packets are sent before other tasks run."""


class Layout(Protocol):
    """Makes packets of frames. `fanout.protocol.packing.Packer` is one. A packet without bytes is
    not sent."""

    left_out: int
    """Records that fit no packet."""

    def pack(self, frames: bytes, sent_ns: int) -> Sequence[bytes]: ...
    def heartbeat(self, sent_ns: int) -> bytes: ...
    def opening(self, sent_ns: int, *, is_last: bool = False) -> Sequence[bytes]: ...
    def snapshot(
        self, frames: bytes, sent_ns: int, *, is_last: bool = False
    ) -> Sequence[bytes]: ...
    def end(self, end: End, sent_ns: int) -> bytes: ...
    def skip(self, first_seq: int, last_seq: int) -> None:
        """These numbers, which were due next, are lost. Receivers have to notice."""


class Carrier:
    """Sends one channel to its groups."""

    def __init__(
        self,
        channel: Channel,
        layout: Layout,
        senders: Sequence[Sender],
        pace: Pace,
        *,
        snapshot_s: float,
        sending: Histogram,
        wall_ns: Callable[[], int],
    ) -> None:
        """`layout` begins at the log's end. A snapshot is sent every `snapshot_s`, never with 0.
        `sending` collects how old records are when they are sent. `wall_ns` gives unix ns."""
        self.lost = 0
        """Numbers that the log dropped before they were sent."""
        self._senders = senders
        self._channel = channel
        self._reader = Reader(channel)
        self._layout = layout
        self._pace = pace
        self._snapshot_s = snapshot_s
        self._sending = sending
        self._wall_ns = wall_ns
        self._books: deque[int] = deque()
        """Indexes of the instruments whose books the snapshot still lacks."""
        self._is_snapshot_open = False
        """Whether the snapshot lacks its last packet."""
        self._snapshot_due_s = trio.current_time() if snapshot_s else inf
        self._heartbeat_due_s = trio.current_time() + FIRST_HEARTBEAT_S
        self._snapshots = 0
        self._since_checkpoint = 0
        self._sending_lock = trio.Lock()
        """Of the task that sends: nothing comes between the packets of a book."""
        self._last: deque[bytes] = deque(maxlen=LAST_PACKETS)
        """The last packets with records."""

    @property
    def unread(self) -> float:
        """How much of the log is still to be sent, from 0 to 1."""
        log = self._reader.log
        return log.unread_bytes(self._reader.cursor) / log.capacity_bytes

    def stats(self) -> GroupStats:
        """What was sent so far."""
        return GroupStats(
            channel=self._channel.name,
            groups=tuple(str(each.group) for each in self._senders),
            packets=sum(each.packets for each in self._senders),
            bytes=sum(each.bytes for each in self._senders),
            unsent=sum(each.unsent for each in self._senders),
            left_out=self._layout.left_out,
            lost=self.lost,
            snapshots=self._snapshots,
        )

    async def run(self) -> None:
        """Send until the log is closed, and then its END a few times."""
        log = self._reader.log
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_in_time)
            with log.hand(self._take, is_quick=True) as hand:
                while not log.closed:
                    await hand.wait()
                    async with self._sending_lock:
                        await self._deliver()
            async with self._sending_lock:  # what the other task has begun to send is to be sent
                nursery.cancel_scope.cancel()
        await self._deliver()
        await self._send_end()

    def _take(self) -> bool:
        """Send what was published, in the publisher's step: see `fanout.channel.hand`. Left to the
        task are long runs, what has to be paced, and what is published while a task is sending."""
        if self._sending_lock.locked() or self._pace.is_limited:
            return False
        reader, log = self._reader, self._reader.log
        first = reader.cursor.position
        frames = reader.next_plain()
        if frames:
            packets = self._layout.pack(frames, self._wall_ns())
            self._last.extend(packets)
            self._sending.add(log.age_ns(first))
            for packet in packets:
                for each in self._senders:
                    if not each.send(packet):
                        each.drop()  # nothing can wait here
            self._heartbeat_due_s = trio.current_time() + FIRST_HEARTBEAT_S
        return reader.cursor.position == log.end

    async def _send_in_time(self) -> None:
        """Send heartbeats and snapshots when it is time for them, until cancelled."""
        while True:
            await trio.sleep_until(min(self._heartbeat_due_s, self._snapshot_due_s))
            async with self._sending_lock:
                await self._deliver()
                await self._send_what_is_due(trio.current_time())
                while self._is_snapshot_open and not self._reader.log.closed:
                    await trio.lowlevel.checkpoint()
                    await self._deliver()
                    await self._send_book()

    async def _deliver(self) -> None:
        """Send all that is new."""
        reader, log = self._reader, self._reader.log
        while reader.cursor.position != log.end:
            first = reader.cursor.position
            frames = reader.next_plain() or self._next_run()
            if log.closed:
                frames = frames.removesuffix(self._end_frame())
            packets = self._layout.pack(frames, self._wall_ns())
            self._last.extend(packets)
            self._sending.add(log.age_ns(first))
            await self._send(packets)

    def _next_run(self) -> bytes:
        """What follows, behind the instruments that changed in what the log dropped. The hole in
        the numbers says the rest: receivers ask for it over TCP, where a journal may have it."""
        reader = self._reader
        due, run = reader.next_seq, reader.next_run()
        assert run is not None, "it has not read everything, and is never disconnected"
        if run.first_seq != due:
            self.lost += run.first_seq - due
            self._layout.skip(due, run.first_seq - 1)
            self._snapshot_due_s = trio.current_time() if self._snapshot_s else inf
        changes = encode_changes(reader.known, run.header)
        reader.told_loss()
        reader.told_header(reader.cursor.context)
        return b"".join(map(frame, changes)) + run.data

    async def _send_what_is_due(self, now_s: float) -> None:
        """Begin a snapshot, or send a heartbeat, if it is time. All that was published has been
        sent."""
        channel, layout = self._channel, self._layout
        if now_s >= self._snapshot_due_s:
            self._snapshot_due_s = now_s + self._snapshot_s
            self._snapshots += 1
            self._books = deque(channel.books.indexes())
            newest, has_books = channel.snapshot(), self._is_any_book_left()
            self._is_snapshot_open = has_books
            packets = [*layout.opening(self._wall_ns(), is_last=not newest and not has_books)]
            packets += layout.snapshot(newest, self._wall_ns(), is_last=not has_books)
            await self._send(packets)
        elif now_s >= self._heartbeat_due_s:
            await self._send((layout.heartbeat(self._wall_ns()),))
            self._heartbeat_due_s = now_s + HEARTBEAT_S

    def _is_any_book_left(self) -> bool:
        books = self._channel.books
        return any(books.any_of(index).is_consistent for index in self._books)

    async def _send_book(self) -> None:
        """Send the next book of the snapshot as it is now. All that was published has been sent.
        A deep book is encoded in steps, so that the readers of other transports need not wait."""
        channel, at = self._channel, self._reader.cursor
        book = None
        while book is None and self._books:
            book = channel.books.snapshot(self._books.popleft(), at.context)
        self._is_snapshot_open = self._is_any_book_left()
        if book is None:
            self._is_snapshot_open = False
            await self._send(self._layout.opening(self._wall_ns(), is_last=True))
            return
        pieces, size = [book.piece(0, at.next_seq)], 0
        while not book.is_last(len(pieces) - 1):
            size += len(pieces[-1])
            if size >= BOOKS_BYTES:
                await trio.lowlevel.checkpoint()
                size = 0
            pieces.append(book.piece(len(pieces), at.next_seq))
        frames, is_last = b"".join(pieces), not self._is_snapshot_open
        await self._send(self._layout.snapshot(frames, self._wall_ns(), is_last=is_last))

    def _end_frame(self) -> bytes:
        """The END, which is a closed log's last frame."""
        log = self._reader.log
        whole = log.entry(log.end - 1).frame
        assert whole[LENGTH_BYTES] == FrameKind.END, "a channel closes its log behind an END"
        return whole

    async def _send_end(self) -> None:
        """Send the END a few times, and the packets before it."""
        end = decode_event(self._end_frame()[LENGTH_BYTES:], self._reader.cursor.context)
        assert isinstance(end, End), "its kind says so"
        packet = self._layout.end(end, self._wall_ns())
        await self._send((packet,))
        for _ in range(ENDS - 1 if packet else 0):
            await trio.sleep(END_PAUSE_S)
            await self._send((*self._last, self._layout.end(end, self._wall_ns())))

    async def _send(self, packets: Sequence[bytes]) -> None:
        """Send packets to each line, as the pace and the sockets' buffers allow."""
        for packet in filter(None, packets):
            wait_s = self._pace.take(len(self._senders), trio.current_time())
            if wait_s:
                await trio.sleep(wait_s)
                self._since_checkpoint = 0
            for each in self._senders:
                if not each.send(packet):
                    await each.send_later(packet)
            self._since_checkpoint += 1
            if self._since_checkpoint == AT_ONCE:
                await trio.lowlevel.checkpoint()
                self._since_checkpoint = 0
        self._heartbeat_due_s = trio.current_time() + FIRST_HEARTBEAT_S
