"""A permanent connection to the venue. It reconnects after a loss, and is replaced before the venue
cuts it.

A *link* keeps one connection open at all times and passes its messages to a `Hub`. To replace a
connection, the link opens the successor first. It closes the old connection only when the
successor delivers the same symbols. So a replacement loses no trades. With several links, the loss
of one connection loses none either.

    connect --> opening messages --> receive, receive, ...         run
                     '--> batches, answers, keep-alive             speak: see `outbox`
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from typing import Final, Protocol

import msgspec
import trio

from fanout.errors import VenueBusyError, VenueError, VenueForbiddenError
from fanout.feed.outbox import Outbox
from fanout.net.websocket import Burst, WebSocket
from fanout.protocol.backoff import backoff
from fanout.venues.base import Dialogue

_LOG = logging.getLogger("fanout")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0

FORBIDDEN_PAUSE_S: Final = 300.0
"""Pause between attempts after the venue has refused this address."""

JITTER: Final = 0.9
"""Earliest replacement, as a share of the maximum age, so that links do not replace theirs at the
same time."""

HANDOVER_S: Final = 20.0
"""Time limit for a successor to deliver the symbols that the old connection delivers."""

PATIENCE_S: Final = 60.0
"""Time limit for a successor to deliver rarely traded symbols."""

OVERLAP_S: Final = 2.0
"""How long both connections stay open after the handover, so that messages in flight on the old one
arrive."""

LONGEST_MAINTENANCE_S: Final = 3600.0
"""How long an announced maintenance excuses silence. After that, silence is looked into as ever."""

STABLE_S: Final = 60.0
"""How long after a replacement a loss does not count as one more of a series."""

_LOOK_S: Final = 1.0

Connect = Callable[[str], AbstractAsyncContextManager[WebSocket]]


class Hub(Protocol):
    """Receives the events of connections."""

    def attempting(self) -> None: ...
    def opened(self, connection: "Connection") -> None: ...
    def received(self, burst: Burst, connection: "Connection") -> None:
        """Take a burst. Raising a `VenueError` ends the connection."""
        ...

    def ended(self, connection: "Connection", why: str) -> None:
        """The connection ended, or could not be opened."""
        ...

    def refused(self, error: VenueForbiddenError) -> None:
        """The venue refuses this address."""
        ...


class Pacer:
    """Spaces the attempts of all links to connect, since the venue limits an address."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = float("-inf")

    async def wait(self) -> None:
        now_s = trio.current_time()
        at_s = max(self._next_s, now_s)
        self._next_s = at_s + self._every_s
        await trio.sleep_until(at_s)


class Dialling(msgspec.Struct, frozen=True):
    """How the links of a feed connect, and when they replace their connections."""

    connect: Connect
    pacer: Pacer
    uniform: Callable[[float, float], float]
    rotate_after_s: float


class Subject(Protocol):
    """The symbols and the URL that a link connects for."""

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
        """Arrival of the last message of each symbol, and of each of its other streams, in seconds
        of trio's clock."""
        self.opened_s = 0.0
        self.has_delivered = False
        self.paused_s: float | None = None
        """When the venue announced that it pauses, in seconds of trio's clock; None if it has not,
        or has sent something since."""
        self.why: VenueError | None = None
        """The error that ended it; None while it is open, and if the link closed it."""
        self.settled = trio.Event()
        """Set when it has opened or failed."""
        self.gone = trio.Event()
        self.must_rotate = trio.Event()
        self.has_lost = trio.Event()
        self._scope = trio.CancelScope()
        self._outbox = Outbox(self.dialogue, link.subject.messages_a_second)
        self._websocket: WebSocket | None = None

    @property
    def is_open(self) -> bool:
        return self.settled.is_set() and not self.gone.is_set()

    @property
    def is_paused(self) -> bool:
        """Whether its silence is announced."""
        paused_s = self.paused_s
        return paused_s is not None and trio.current_time() < paused_s + LONGEST_MAINTENANCE_S

    def heard_since(self, since_s: float) -> set[str]:
        """Symbols with a message since `since_s`."""
        return {symbol for symbol, at_s in self.heard.items() if at_s >= since_s}

    def rotate(self) -> None:
        """Have the link replace it now, or once it has taken over from another."""
        self.must_rotate.set()

    def rotate_for_loss(self) -> None:
        """Have the link replace it, since messages are missing: after a pause if that happens again
        and again."""
        self.has_lost.set()

    def close(self) -> None:
        self._scope.cancel()

    def say(self, words: Iterable[str], *, urgent: bool = False) -> None:
        """Queue messages to be sent in order, within the venue's message limit. Urgent ones go
        before all others."""
        self._outbox.say(words, urgent=urgent)

    def refresh(self, symbol: str) -> bool:
        """Ask the venue to send the whole book of a symbol anew on this connection. False if only a
        new connection brings it."""
        words = self.dialogue.refresh(symbol)
        self.say(words)
        return bool(words)

    async def run(self, hub: Hub) -> None:
        """Open, subscribe, and pass on all messages until the connection ends."""
        try:
            with self._scope:
                subject = self.link.subject
                async with self.link.dialling.connect(subject.stream_url()) as websocket:
                    await self._outbox.open(websocket)
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
            self._outbox.end()
        hub.ended(self, str(self.why) if self.why else "it was replaced")

    async def speak(self) -> None:
        """Send queued messages and the dialogue's keep-alives until the connection ends.

        Send errors are ignored, since the reading task notices the end too.
        """
        await self.settled.wait()
        if self._websocket is not None:
            with suppress(VenueError, trio.ClosedResourceError):
                await self._outbox.run(self._websocket)


class Link:
    """Keeps one connection open."""

    def __init__(self, name: str, subject: Subject, hub: Hub, dialling: Dialling) -> None:
        self.name = name
        self.subject = subject
        self.dialling = dialling
        self.rotations = 0
        self._rotated_s = -inf
        self.won = 0
        """Trades that its connections delivered first."""
        self._hub = hub
        self._pauses = self._new_pauses()
        self._current: Connection | None = None

    @property
    def opened_s(self) -> float | None:
        """When the current connection opened, in seconds of trio's clock; None without one."""
        current = self._current
        return current.opened_s if current is not None and current.is_open else None

    def rotate(self) -> None:
        """Replace the connection now."""
        if self._current is not None:
            self._current.rotate()

    async def run(self) -> None:
        """Keep a connection open until cancelled."""
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
        """Wait until the connection is due for replacement. False if it ends before."""
        rotate_after_s = self.dialling.rotate_after_s
        age_s = self.dialling.uniform(JITTER * rotate_after_s, rotate_after_s)
        with trio.move_on_after(age_s):
            await _first_of(connection.gone, connection.must_rotate, connection.has_lost)
        if connection.has_lost.is_set():
            with trio.move_on_after(self._loss_pause_s()):
                await _first_of(connection.gone, connection.must_rotate)
        return connection.is_open

    def _loss_pause_s(self) -> float:
        """How long to wait after a loss. The pause grows as long as losses follow replacements."""
        if trio.current_time() < self._rotated_s + STABLE_S:
            return next(self._pauses)
        self._pauses = self._new_pauses()
        return 0.0

    async def _connected(self, nursery: trio.Nursery) -> Connection:
        """Try until a connection opens, and return it."""
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
        """Wait before the next attempt. The pause grows until a connection delivers trades."""
        if ended.has_delivered:
            self._pauses = self._new_pauses()
        pause_s = self._next_pause_s(ended)
        _LOG.warning("%s: %s; connecting again in %.1f s", self.name, ended.why, pause_s)
        await trio.sleep(pause_s)

    def _next_pause_s(self, failed: Connection) -> float:
        if isinstance(failed.why, VenueForbiddenError):
            return next(self._pauses) + FORBIDDEN_PAUSE_S
        if isinstance(failed.why, VenueBusyError):
            return next(self._pauses) + failed.why.pause_s
        return next(self._pauses)

    def _new_pauses(self) -> Iterator[float]:
        return backoff(first_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, uniform=self.dialling.uniform)

    async def _replaced(self, old: Connection, nursery: trio.Nursery) -> Connection:
        """Replace a connection, with retries, and return its successor."""
        while old.is_open:
            new = await self._attempt(nursery)
            if new.is_open and await self._has_taken_over(new, old):
                self.rotations += 1
                self._rotated_s = trio.current_time()
                old.close()
                await old.gone.wait()
                _LOG.info("%s: the connection was replaced", self.name)
                return new
            new.close()
            why = new.why or "the new one does not deliver all symbols of the old one"
            _LOG.warning("%s: cannot replace the connection: %s", self.name, why)
            with trio.move_on_after(self._next_pause_s(new)):
                await old.gone.wait()
        await self._pause(old)
        return await self._connected(nursery)

    async def _has_taken_over(self, new: Connection, old: Connection) -> bool:
        """Wait until the new connection delivers the symbols of the old one, then `OVERLAP_S` more.

        False if the new connection ends or fails to deliver in time. If both are silent, the new
        one takes over after `PATIENCE_S`.
        """
        began_s = behind_since_s = trio.current_time()
        while new.is_open and old.is_open:
            now_s, heard = trio.current_time(), new.heard_since(began_s)
            is_patient = now_s - began_s < PATIENCE_S
            if old.heard_since(began_s) <= heard:
                behind_since_s = now_s
                # Rarely traded symbols may have come on neither connection yet.
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
