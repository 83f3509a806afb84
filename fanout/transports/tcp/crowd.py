"""All clients whose data has begun, and how news reaches them.

Nearly all have everything so far, and stand *together* at one place in the log: one cursor for them
all, and what comes next is sent to all of them in one go. A client that has just come, or has just
caught up, stands *apart* at first, at a place of its own, and is sent what it has not seen until
that is the place of the others; one whose bytes are encrypted stays there. And a client whose
socket did not take what it was sent is *behind*: it catches up by a task of its own.
"""

from array import array
from copy import copy
from typing import Any, Protocol

import trio

from fanout.channel.log import Cursor, Lag, Log
from fanout.protocol.constants import EndReason
from fanout.protocol.request import Request
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp.sending import send_to_each


class Place(Protocol):
    """A client's place in a log, in whichever wire it reads."""

    log: Log[Any]
    cursor: Cursor[Any]
    greeting: bytes
    is_shareable: bool
    """Whether everybody at the same place is sent the same."""
    is_over: bool
    lost: int
    fell_off: str
    """Why it is over, if that is because the client was slow, in words for the log."""

    @property
    def blocks(self) -> int:
        """How many frames of the log it was sent."""
        ...

    def start(self, request: Request) -> bytes:
        """The frames before the first piece."""
        ...

    def next_piece(self) -> bytes: ...

    def part(self, piece_position: int) -> None:
        """Go on with a cursor of its own. The piece that was sent last began at this position."""
        ...

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> bytes:
        """A goodbye to this client alone."""
        ...

    def lag(self, unsent_bytes: int) -> Lag: ...


class Client(Protocol):
    """What a crowd is made of."""

    name: str
    place: Place
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


class Crowd:
    """Who stands where."""

    def __init__(self, *, piece_bytes: int) -> None:
        """`piece_bytes`: most that is sent to those who stand together at once, or so."""
        self.behind: set[Client] = set()
        self.turns = trio.Lock()
        """Those behind send a piece at a time, one after another: however many they are, what comes
        next does not wait for more than one of them."""
        self.lost = 0
        """Trades and events that clients were told they lost, of those who have left."""
        self._piece_bytes = piece_bytes
        self._together: dict[int, Client] = {}
        """By descriptor."""
        self._front: Cursor[Any] = Cursor(0, 0, None)
        """Where they stand."""
        self._descriptors: array[int] | None = None
        """Theirs, unless that has changed."""
        self._apart: set[Client] = set()

    @property
    def is_anybody_waiting(self) -> bool:
        """Whether what is new is sent to anybody at once."""
        return bool(self._together or self._apart)

    @property
    def clients(self) -> set[Client]:
        return self._apart | self.behind | set(self._together.values())

    def stats(self, now_s: float) -> list[ConsumerStats]:
        """Of each client, those first that have been there for longest."""
        alone = [each.stats(now_s, each.lag) for each in self._apart | self.behind]
        together = list(self._together.values())
        lag = together[0].lag if together else None  # the same for all of them
        shared = [each.stats(now_s, lag) for each in together if lag is not None]
        return sorted(alone + shared, key=lambda each: each.age_s, reverse=True)

    def join(self, client: Client) -> None:
        self._apart.add(client)

    def leave(self, client: Client) -> None:
        """It is no more among the clients, if it was."""
        self.part(client)
        if client in self._apart or client in self.behind:
            self.lost += client.place.lost
        self._apart.discard(client)
        self.behind.discard(client)

    def part(self, client: Client) -> None:
        """Have a client stand for itself, if it does not."""
        if self._together.get(client.descriptor) is client:
            self._take_out(client, self._front.position)
            self._apart.add(client)

    def fall_behind(self, client: Client) -> None:
        if client in self._apart:
            self._apart.remove(client)
            self.behind.add(client)

    def catch_up(self, client: Client) -> None:
        """Nothing, for one that has left: its last piece may be taken after its connection is
        closed."""
        if client in self.behind:
            self.behind.remove(client)
            self._apart.add(client)

    def hand_on(self, log: Log[Any]) -> None:
        """Send what is new to all that are not behind."""
        if log.closed or self._front.position < log.oldest:
            self._disperse()
        while self._together and self._front.position != log.end:
            position = self._front.position
            piece = log.read(self._front, self._piece_bytes)
            assert isinstance(piece, bytes), "the place is not gone, and the log does not change"
            self._send(piece, position)
        for client in tuple(self._apart):
            client.push()
            if client in self._apart:
                self._bring_together(client)

    def say(self, frames: bytes) -> None:
        """Send these, which have no place in the log, to all that are not behind. They have been
        handed all of it."""
        if self._together:
            self._send(frames, self._front.position)
        for client in tuple(self._apart):
            client.say(memoryview(frames))

    def _send(self, piece: bytes, position: int) -> None:
        """Send what stands at a position to those who stand together there."""
        if self._descriptors is None:
            self._descriptors = array("i", self._together)
        descriptors = self._descriptors
        for place, taken in send_to_each(descriptors, piece):
            client = self._together[descriptors[place]]
            self._take_out(client, position)
            self._apart.add(client)
            client.fall_short(piece, taken)

    def _take_out(self, client: Client, piece_position: int) -> None:
        del self._together[client.descriptor]
        self._descriptors = None
        client.place.part(piece_position)

    def _disperse(self) -> None:
        for client in tuple(self._together.values()):
            self.part(client)

    def _bring_together(self, client: Client) -> None:
        """Let a client stand with the others, if it stands where they do."""
        place = client.place
        if not (client.is_plain and place.is_shareable) or place.is_over:
            return
        if not self._together:
            self._front = copy(place.cursor)
        if place.cursor == self._front:
            place.cursor = self._front
            self._apart.remove(client)
            self._together[client.descriptor] = client
            self._descriptors = None
