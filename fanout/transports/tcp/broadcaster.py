"""Sends a channel's frames to all of its clients over TCP.

A client is in one of three states.

- *Sharing*: the client has everything so far, like nearly all clients. These share one cursor, and
  one call sends new frames to all of them, as soon as they are published.
- *Apart*: the client has just joined or caught up, and has a cursor of its own. It is sent what it
  lacks until it reaches the shared position. A client with TLS stays apart.
- *Behind*: the client's socket did not take everything, or the client asked for what is older than
  the log. It catches up in a task of its own.
"""

from array import array
from copy import copy
from functools import partial
from typing import Any, Final, Protocol

import trio

from fanout.channel.log import Cursor, Lag, Log
from fanout.protocol.constants import EndReason
from fanout.protocol.request import Request
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp.sending import send_to_each
from fanout.transports.tcp.turns import Turns


class LogReader(Protocol):
    """A client's position in a log, whichever wire it reads. See `fanout.channel.reader.Reader`."""

    log: Log[Any]
    channel: str
    cursor: Cursor[Any]
    greeting: bytes
    is_over: bool
    lost: int
    fell_off: str
    """Why the client was disconnected for being slow, for the service's log; else empty."""

    @property
    def blocks(self) -> int:
        """How many frames of the log the client was sent."""
        ...

    @property
    def is_shareable(self) -> bool:
        """Whether all clients at the same position are sent the same bytes."""
        ...

    @property
    def has_everything(self) -> bool:
        """Whether nothing follows now."""
        ...

    def start(self, request: Request) -> bytes:
        """The frames before the first piece."""
        ...

    def next_piece(self) -> bytes: ...

    def part(self, piece_position: int) -> None:
        """Go on with a cursor of its own. The piece that was sent last began at
        `piece_position`."""
        ...

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> bytes:
        """An END for this client alone."""
        ...

    def lag(self, unsent_bytes: int) -> Lag: ...


class Client(Protocol):
    """What a broadcaster sends to."""

    name: str
    reader: LogReader
    descriptor: int
    is_plain: bool

    @property
    def lag(self) -> Lag: ...
    def stats(self, now_s: float, lag: Lag) -> ConsumerStats: ...
    def look(self) -> None: ...
    def push(self) -> None: ...
    def say(self, frames: memoryview) -> None: ...
    def fall_short(self, piece: bytes, taken: int) -> None: ...
    def close(self) -> None: ...


class Wire(Protocol):
    """The format in which a channel's clients get its frames."""

    name: str
    log: Log[Any]

    def heartbeat(self) -> bytes: ...


HEARTBEAT_S: Final = 1.0
"""Silence after which clients get a HEARTBEAT."""


class Broadcaster:
    """The clients of one channel whose data has begun, by their states."""

    def __init__(
        self,
        *,
        piece_bytes: int,
        sending: Histogram | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`piece_bytes` limits what is sent at once to the clients that share a position.
        `sending` collects how old frames are when they are sent. `turns` are those of the
        transport, None where it has no other channel."""
        self.behind: set[Client] = set()
        self.turns = turns or Turns()
        self.lost = 0
        """Records that were reported as lost to clients that have left."""
        self._piece_bytes = piece_bytes
        self._sharing: dict[int, Client] = {}
        """By descriptor."""
        self._front: Cursor[Any] = Cursor(0, 0, None)
        """The shared position."""
        self._descriptors: array[int] | None = None
        """Of the sharing clients; None after a change."""
        self._apart: set[Client] = set()
        self.greeted: set[Client] = set()
        """Clients that have not asked yet for where they begin. They may begin where they were
        greeted."""
        self._sending = sending
        self.delivered = 0
        """Position up to which all frames have been handed on."""
        self._quiet_since_s = 0.0

    async def run(self, wire: Wire) -> None:
        """Send what is published to all clients, and heartbeats in silence, until the log is
        closed."""
        self._quiet_since_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, wire)
            await self._deliver(wire.log)
            nursery.cancel_scope.cancel()

    async def _deliver(self, log: Log[Any]) -> None:
        with log.hand(partial(self.take, log)) as hand:
            while not log.closed:
                await hand.wait()
                is_anybody_waiting = self.is_anybody_waiting
                self.hand_on(log)
                self._note_delivered(log, is_sent=is_anybody_waiting)

    def take(self, log: Log[Any]) -> bool:
        """Send new frames to the clients that share a position, in the publisher's step: see
        `fanout.channel.hand`. One piece of them, which is nearly always all. False if `hand_on` has
        to send more, or to other clients."""
        is_sent = bool(self._sharing)
        if self._sharing and log.oldest <= self._front.position < log.end:
            self._send_piece(log)
        if self._apart or (self._sharing and self._front.position != log.end):
            return False
        self._note_delivered(log, is_sent=is_sent)
        return True

    def _note_delivered(self, log: Log[Any], *, is_sent: bool) -> None:
        """Note that all frames have been handed on, and whether to anybody."""
        first, self.delivered = self.delivered, log.end
        self._quiet_since_s = trio.current_time()
        if is_sent and first != log.end and self._sending is not None:
            self._sending.add(log.age_ns(first))

    async def _beat(self, wire: Wire) -> None:
        while True:
            due_s = self._quiet_since_s + HEARTBEAT_S
            await trio.sleep_until(due_s)
            if self._quiet_since_s + HEARTBEAT_S > due_s:
                continue  # frames were sent meanwhile
            self._quiet_since_s = trio.current_time()
            if self.delivered == wire.log.end:
                self.say(wire.heartbeat())

    @property
    def is_anybody_waiting(self) -> bool:
        """Whether any client is sent new frames at once."""
        return bool(self._sharing or self._apart)

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._sharing) + len(self._apart) + len(self.behind)

    def unread(self, log: Log[Any]) -> float:
        """How much of the log the client that is furthest behind has yet to be sent, from 0 to 1.
        Not 0 while a client's socket has not taken all of a piece."""
        alone = (*self.greeted, *self._apart, *self.behind)
        cursors = [each.reader.cursor for each in alone]
        if self._sharing:
            cursors.append(self._front)
        most = max([log.unread_bytes(each) for each in cursors], default=0)
        return max(most, len(self.behind) > 0) / log.capacity_bytes

    @property
    def clients(self) -> set[Client]:
        return self._apart | self.behind | set(self._sharing.values())

    def stats(self, now_s: float) -> list[ConsumerStats]:
        """A row for each client, the oldest client first."""
        alone = [each.stats(now_s, each.lag) for each in self._apart | self.behind]
        together = list(self._sharing.values())
        lag = together[0].lag if together else None  # the same for all of them
        shared = [each.stats(now_s, lag) for each in together if lag is not None]
        return sorted(alone + shared, key=lambda each: each.age_s, reverse=True)

    def join(self, client: Client) -> None:
        self.greeted.discard(client)
        self._apart.add(client)

    def leave(self, client: Client) -> None:
        """Forget a client, if it is known."""
        self.part(client)
        if client in self._apart or client in self.behind:
            self.lost += client.reader.lost
        self._apart.discard(client)
        self.behind.discard(client)

    def part(self, client: Client) -> None:
        """Give a client a cursor of its own, if it has none."""
        if self._sharing.get(client.descriptor) is client:
            self._take_out(client, self._front.position)
            self._apart.add(client)

    def fall_behind(self, client: Client) -> None:
        if client in self._apart:
            self._apart.remove(client)
            self.behind.add(client)

    def catch_up(self, client: Client) -> None:
        """A client that was behind has been sent everything. Ignored for a client that has left:
        its task may end later."""
        if client in self.behind:
            self.behind.remove(client)
            self._apart.add(client)

    def hand_on(self, log: Log[Any]) -> None:
        """Send new frames to all clients that are not behind."""
        if log.closed or self._front.position < log.oldest:
            self._disperse()
        while self._sharing and self._front.position != log.end:
            self._send_piece(log)
        for client in tuple(self._apart):
            client.push()
            if client in self._apart:
                self._let_share(client)

    def _send_piece(self, log: Log[Any]) -> None:
        """Send what follows to the sharing clients."""
        position = self._front.position
        piece = log.read(self._front, self._piece_bytes)
        assert isinstance(piece, bytes), "it is not lapped, and the log does not change now"
        self._send(piece, position)

    def say(self, frames: bytes) -> None:
        """Send frames that are not in the log to all clients that are not behind. Those have been
        sent all of the log."""
        if self._sharing:
            self._send(frames, self._front.position)
        for client in tuple(self._apart):
            client.say(memoryview(frames))

    def _send(self, piece: bytes, position: int) -> None:
        """Send a piece that begins at `position` to the sharing clients."""
        if self._descriptors is None:
            self._descriptors = array("i", self._sharing)
        descriptors = self._descriptors
        for place, taken in send_to_each(descriptors, piece):
            client = self._sharing[descriptors[place]]
            self._take_out(client, position)
            self._apart.add(client)
            client.fall_short(piece, taken)

    def _take_out(self, client: Client, piece_position: int) -> None:
        del self._sharing[client.descriptor]
        self._descriptors = None
        client.reader.part(piece_position)

    def _disperse(self) -> None:
        for client in tuple(self._sharing.values()):
            self.part(client)

    def _let_share(self, client: Client) -> None:
        """Let a client share the cursor of the others, if it has reached their position."""
        reader = client.reader
        if not (client.is_plain and reader.is_shareable) or reader.is_over:
            return
        if not self._sharing:
            self._front = copy(reader.cursor)
        # The position is enough: all readers there get the same frames, and the same headers.
        if reader.cursor.position == self._front.position:
            reader.cursor = self._front
            self._apart.remove(client)
            self._sharing[client.descriptor] = client
            self._descriptors = None
