"""Sends a channel's frames to all of its clients over TCP.

Nearly all clients have everything so far and *share* one place in the log: one cursor for them all,
and what comes next is sent to all of them in one go. A client that has just joined, or has just
caught up, stands *apart* at first, with a cursor of its own, and is sent what it has not seen until
it reaches the shared place. A client with TLS stays apart. A client whose socket did not take all
of what it was sent is *behind*: it catches up in a task of its own.
"""

from array import array
from copy import copy
from typing import Any, Final, Protocol

import trio

from fanout.channel.log import Cursor, Lag, Log
from fanout.protocol.constants import EndReason
from fanout.protocol.request import Request
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp.sending import send_to_each


class LogReader(Protocol):
    """A client's place in a log, in whichever wire it reads. See `fanout.channel.reader.Reader`."""

    log: Log[Any]
    channel: str
    cursor: Cursor[Any]
    greeting: bytes
    is_shareable: bool
    """Whether all clients at the same place are sent the same bytes."""
    is_over: bool
    lost: int
    fell_off: str
    """Why the client was disconnected, in words for the log, if it was for being slow."""

    @property
    def blocks(self) -> int:
        """How many frames of the log the client was sent."""
        ...

    def start(self, request: Request) -> bytes:
        """The frames before the first piece."""
        ...

    def next_piece(self) -> bytes: ...

    def part(self, piece_position: int) -> None:
        """Go on with a cursor of its own. The piece that was sent last began at this position."""
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
    """How a channel's clients are spoken with."""

    name: str
    log: Log[Any]

    def heartbeat(self) -> bytes: ...


HEARTBEAT_S: Final = 1.0
"""Silence after which clients get a HEARTBEAT."""


class Broadcaster:
    """The clients of one channel whose data has begun, and which of them stands where."""

    def __init__(self, *, piece_bytes: int, sending: Histogram | None = None) -> None:
        """`piece_bytes` limits what is sent at once to the clients that share a place. `sending`
        is told how old the frames are when they are sent."""
        self.behind: set[Client] = set()
        self.turns = trio.Lock()
        """Clients that are behind send one piece at a time, one client after the other, so that
        new frames never wait for more than one of them."""
        self.lost = 0
        """Records that clients which have left were told they lost."""
        self._piece_bytes = piece_bytes
        self._sharing: dict[int, Client] = {}
        """By descriptor."""
        self._front: Cursor[Any] = Cursor(0, 0, None)
        """The shared place."""
        self._descriptors: array[int] | None = None
        """Of the clients that share it; None after a change."""
        self._apart: set[Client] = set()
        self._sending = sending
        self.delivered = 0
        """Position up to which all frames have been handed on."""
        self._quiet_since_s = 0.0

    async def run(self, wire: Wire) -> None:
        """Hand on each wake-up of the log to all clients at once, and heartbeats in between, until
        the log is closed."""
        self._quiet_since_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, wire)
            await self._deliver(wire.log)
            nursery.cancel_scope.cancel()

    async def _deliver(self, log: Log[Any]) -> None:
        while not log.closed:
            await log.wait_beyond(self.delivered)
            first, self.delivered = self.delivered, log.end
            self._quiet_since_s = trio.current_time()
            is_sent = first != log.end and self.is_anybody_waiting
            self.hand_on(log)
            if is_sent and self._sending is not None:
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
    def clients(self) -> set[Client]:
        return self._apart | self.behind | set(self._sharing.values())

    def stats(self, now_s: float) -> list[ConsumerStats]:
        """Of each client, the one first that has been there for longest."""
        alone = [each.stats(now_s, each.lag) for each in self._apart | self.behind]
        together = list(self._sharing.values())
        lag = together[0].lag if together else None  # the same for all of them
        shared = [each.stats(now_s, lag) for each in together if lag is not None]
        return sorted(alone + shared, key=lambda each: each.age_s, reverse=True)

    def join(self, client: Client) -> None:
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
        """A client that has left is ignored: its socket may take its last piece after that."""
        if client in self.behind:
            self.behind.remove(client)
            self._apart.add(client)

    def hand_on(self, log: Log[Any]) -> None:
        """Send new frames to all clients that are not behind."""
        if log.closed or self._front.position < log.oldest:
            self._disperse()
        while self._sharing and self._front.position != log.end:
            position = self._front.position
            piece = log.read(self._front, self._piece_bytes)
            assert isinstance(piece, bytes), "the place is not gone, and the log does not change"
            self._send(piece, position)
        for client in tuple(self._apart):
            client.push()
            if client in self._apart:
                self._let_share(client)

    def say(self, frames: bytes) -> None:
        """Send frames that are not in the log to all clients that are not behind. Those have been
        sent all of the log."""
        if self._sharing:
            self._send(frames, self._front.position)
        for client in tuple(self._apart):
            client.say(memoryview(frames))

    def _send(self, piece: bytes, position: int) -> None:
        """Send what follows at a position to the clients that share it."""
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
        """Let a client share the place of the others, if it has come to it."""
        reader = client.reader
        if not (client.is_plain and reader.is_shareable) or reader.is_over:
            return
        if not self._sharing:
            self._front = copy(reader.cursor)
        # A position says it all: readers there are sent the same, and their headers follow.
        if reader.cursor.position == self._front.position:
            reader.cursor = self._front
            self._apart.remove(client)
            self._sharing[client.descriptor] = client
            self._descriptors = None
