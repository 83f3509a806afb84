"""A connection to the venue that is always there: opened, opened again when it ends, and replaced
before the venue cuts it.

A *link* is a place for a connection and keeps it filled. It hands what its connections bring to a
`Hub`. A successor is opened beside the old connection, and has to bring what the old one brings
before that is closed. So replacing a connection costs nothing, and neither does the end of one of
several links.

    connect --> opening messages --> receive, receive, ...         run
                     '--> batches, answers, keep-alive             speak, at the venue's pace
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, Protocol

import msgspec
import trio

from fanout.errors import VenueBusyError, VenueError, VenueForbiddenError
from fanout.net.websocket import Burst, WebSocket
from fanout.protocol.backoff import backoff
from fanout.venues.base import Dialogue

_LOG = logging.getLogger("fanout")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0

FORBIDDEN_PAUSE_S: Final = 300.0
"""Between attempts at a venue that does not serve this address any more."""

SPACING_S: Final = 1.05
"""Between attempts, of all links together: 300 in five minutes are allowed per address."""

JITTER: Final = 0.9
"""A connection is replaced at this part of its age at the earliest, so that not all are at once."""

HANDOVER_S: Final = 20.0
"""How long a successor has to bring what the old connection brings."""

PATIENCE_S: Final = 60.0
"""How long a successor has to bring an instrument that trades seldom."""

OVERLAP_S: Final = 2.0
"""How long both are kept when it does: what is still on its way over the old one arrives."""

_LOOK_S: Final = 1.0

Connect = Callable[[str], AbstractAsyncContextManager[WebSocket]]


class Hub(Protocol):
    """Where connections report."""

    def attempting(self) -> None: ...
    def opened(self, connection: "Connection") -> None: ...
    def received(self, burst: Burst, connection: "Connection") -> None:
        """May raise a `VenueError`, which ends the connection."""
        ...

    def ended(self, connection: "Connection", why: str) -> None:
        """Or did not open."""
        ...

    def refused(self, error: VenueForbiddenError) -> None:
        """The venue does not serve this address."""
        ...


class Pacer:
    """Spaces attempts to connect."""

    def __init__(self) -> None:
        self._next_s = float("-inf")

    async def wait(self) -> None:
        now_s = trio.current_time()
        self._next_s = max(self._next_s, now_s) + SPACING_S
        await trio.sleep_until(self._next_s - SPACING_S)


class Dialling(msgspec.Struct, frozen=True):
    """How the links of a feed connect, and when they replace a connection."""

    connect: Connect
    pacer: Pacer
    uniform: Callable[[float, float], float]
    rotate_after_s: float


class Subject(Protocol):
    """What a link's connections are for."""

    def stream_url(self) -> str: ...
    def dialogue(self) -> Dialogue: ...
    @property
    def messages_a_second(self) -> float: ...


class Connection:
    """One WebSocket, from before it opens to its end."""

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.dialogue = link.subject.dialogue()
        self.heard: dict[str, float] = {}
        """When something last came of a symbol, in seconds of trio's clock."""
        self.opened_s = 0.0
        self.has_delivered = False
        self.why: VenueError | None = None
        """Why it ended; None while it has not, and if we closed it."""
        self.settled = trio.Event()
        """It has opened, or failed to."""
        self.gone = trio.Event()
        self._scope = trio.CancelScope()
        self._outbox: deque[str] = deque()
        self._news = trio.Event()
        self._websocket: WebSocket | None = None

    @property
    def is_open(self) -> bool:
        return self.settled.is_set() and not self.gone.is_set()

    def heard_since(self, since_s: float) -> set[str]:
        """Symbols of which something has come since then."""
        return {symbol for symbol, at_s in self.heard.items() if at_s >= since_s}

    def close(self) -> None:
        self._scope.cancel()

    def say(self, words: Iterable[str]) -> None:
        """Send messages soon, in order, at the venue's pace."""
        self._outbox.extend(words)
        self._news.set()

    async def run(self, hub: Hub) -> None:
        """Open, subscribe, and hand on what comes, to the end."""
        try:
            with self._scope:
                subject = self.link.subject
                async with self.link.dialling.connect(subject.stream_url()) as websocket:
                    self._outbox.extend(self.dialogue.opening())
                    if self._outbox:
                        await websocket.send(self._outbox.popleft())
                    self._websocket = websocket
                    self.opened_s = trio.current_time()
                    hub.opened(self)
                    self.settled.set()
                    while True:
                        hub.received(await websocket.receive(), self)
        except VenueError as error:
            self.why = error
        finally:
            self.gone.set()
            self.settled.set()
            self._news.set()
        hub.ended(self, str(self.why) if self.why else "it was replaced")

    async def speak(self) -> None:
        """Send what is in the outbox and what the dialogue has to say, until the connection ends.

        A message that cannot be sent is no news: the reader notices the end, too.
        """
        await self.settled.wait()
        with suppress(VenueError, trio.ClosedResourceError):
            while self.is_open:
                assert self._websocket is not None, "it has opened"
                if self._outbox:
                    await trio.sleep(1 / self.link.subject.messages_a_second)
                    await self._websocket.send(self._outbox.popleft())
                else:
                    await self._wait_for_words()

    async def _wait_for_words(self) -> None:
        self._news = trio.Event()
        due_s = self.opened_s + self.dialogue.due_s
        with trio.move_on_at(due_s):
            await self._news.wait()
        if self.is_open and trio.current_time() >= due_s:
            self._outbox.extend(self.dialogue.tick(trio.current_time() - self.opened_s))


class Link:
    """A place for a connection, which is kept filled."""

    def __init__(self, name: str, subject: Subject, hub: Hub, dialling: Dialling) -> None:
        self.name = name
        self.subject = subject
        self.dialling = dialling
        self.rotations = 0
        self.won = 0
        """Trades that its connections brought before any other did."""
        self._hub = hub
        self._pauses = self._new_pauses()
        self._must_rotate = trio.Event()
        self._current: Connection | None = None

    @property
    def opened_s(self) -> float | None:
        """Since when it has a connection, in seconds of trio's clock."""
        current = self._current
        return current.opened_s if current is not None and current.is_open else None

    def rotate(self) -> None:
        """Replace the connection now."""
        self._must_rotate.set()

    async def run(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            current = self._current = await self._connected(nursery)
            while True:
                if await self._is_to_be_replaced(current):
                    current = await self._replaced(current, nursery)
                else:
                    await self._pause(current)
                    current = await self._connected(nursery)
                self._current = current

    async def _is_to_be_replaced(self, connection: Connection) -> bool:
        """Wait until the connection is old, or `rotate` was called; False if it ends before."""
        self._must_rotate = trio.Event()
        rotate_after_s = self.dialling.rotate_after_s
        age_s = self.dialling.uniform(JITTER * rotate_after_s, rotate_after_s)
        with trio.move_on_after(age_s):
            await _first_of(connection.gone, self._must_rotate)
        return connection.is_open

    async def _connected(self, nursery: trio.Nursery) -> Connection:
        """A connection that has opened, after as many attempts as it takes."""
        while True:
            connection = await self._attempt(nursery)
            if connection.is_open:
                return connection
            if isinstance(connection.why, VenueForbiddenError):
                self._hub.refused(connection.why)
            await self._pause(connection)

    async def _attempt(self, nursery: trio.Nursery) -> Connection:
        await self.dialling.pacer.wait()
        connection = Connection(self)
        self._hub.attempting()
        nursery.start_soon(connection.run, self._hub)
        await connection.settled.wait()
        if connection.is_open:
            nursery.start_soon(connection.speak)
        return connection

    async def _pause(self, ended: Connection) -> None:
        """Wait before another attempt: longer each time, until trades have come."""
        if ended.has_delivered:
            self._pauses = self._new_pauses()
        pause_s = next(self._pauses)
        if isinstance(ended.why, VenueForbiddenError):
            pause_s += FORBIDDEN_PAUSE_S
        elif isinstance(ended.why, VenueBusyError):
            pause_s += ended.why.pause_s
        _LOG.warning("%s: %s; connecting again in %.1f s", self.name, ended.why, pause_s)
        await trio.sleep(pause_s)

    def _new_pauses(self) -> Iterator[float]:
        return backoff(first_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, uniform=self.dialling.uniform)

    async def _replaced(self, old: Connection, nursery: trio.Nursery) -> Connection:
        """The successor of a connection, once that may go; it is tried again until then."""
        while old.is_open:
            new = await self._attempt(nursery)
            if new.is_open and await self._has_taken_over(new, old):
                self.rotations += 1
                old.close()
                await old.gone.wait()
                _LOG.info("%s: the connection was replaced", self.name)
                return new
            new.close()
            why = new.why or "the new one does not bring what the old one does"
            _LOG.warning("%s: cannot replace the connection: %s", self.name, why)
            with trio.move_on_after(next(self._pauses)):
                await old.gone.wait()
        await self._pause(old)
        return await self._connected(nursery)

    async def _has_taken_over(self, new: Connection, old: Connection) -> bool:
        """Wait until the new connection has brought what the old one brings, and a little longer.
        False if it ends, or does not for too long. Where both are silent there is nothing to lose.
        """
        began_s = behind_since_s = trio.current_time()
        while new.is_open and old.is_open:
            now_s, heard = trio.current_time(), new.heard_since(began_s)
            is_patient = now_s - began_s < PATIENCE_S
            if old.heard_since(began_s) <= heard:
                behind_since_s = now_s
                # Of what trades seldom neither has brought anything yet.
                is_whole = heard >= old.heard.keys()
                if (heard and is_whole) or not is_patient:
                    await trio.sleep(OVERLAP_S)
                    return new.is_open
            elif now_s - behind_since_s > HANDOVER_S:
                return False
            await trio.sleep(_LOOK_S)
        return new.is_open


async def _first_of(*events: trio.Event) -> None:
    async def wait(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for each in events:
            nursery.start_soon(wait, each)
