"""The streams that exist, and the subscribers of each.

A name is a stream only if it is spelled as the venue spells it, and subscribed to on its own route.
Any other name is acknowledged by the dialect, and stays silent. A message is encoded at most once
for each form, for any number of subscribers: a server's frames carry no mask.
"""

from collections.abc import Callable, Iterable
from typing import Final

import trio

from fanout.simulator.connection.frames import text_frame
from fanout.simulator.connection.outbox import Outbox
from fanout.simulator.dialects.base import Dialect, Form, Session
from fanout.simulator.faults.impairments import garbled
from fanout.simulator.market.ticks import Tick, stream_of

SETTLED_BYTES: Final = 128 * 1024  # most backlog of a subscriber when a replay sends its next burst


class Subscriber:
    """One connection, as the market sees it. Only `Streams` changes `heard` and `form`."""

    def __init__(self, route: str) -> None:
        self.route = route
        self.form = Form()
        self.heard: frozenset[str] = frozenset()
        self.outbox = Outbox()


class Streams:
    """`heard` and `_listeners` have the market's names of streams, not the venue's. `subscribed` is
    called with a stream's name for each subscription."""

    def __init__(
        self,
        dialect: Dialect,
        symbols: Iterable[str],
        subscribed: Callable[[str], None] | None = None,
    ) -> None:
        self._dialect = dialect
        self._subscribed = subscribed
        self._found: dict[str, tuple[str, str]] = {}  # venue's name to market's name, route
        self._spelled: dict[str, str] = {}  # market's name to venue's name
        self._listeners: dict[str, set[Subscriber]] = {}
        self._sessions: dict[Subscriber, Session] = {}
        self._audience: set[Subscriber] = set()
        self._heard = trio.Event()
        for symbol in symbols:
            self._add(symbol)

    def add(self, symbol: str) -> None:
        """Add the streams of a symbol, also for subscribers that asked for them before."""
        names = self._add(symbol)
        for subscriber, session in tuple(self._sessions.items()):
            if not names.isdisjoint(session.streams):
                self.tune(subscriber, session)

    def tune(self, subscriber: Subscriber, session: Session) -> None:
        """Subscribe it to those streams of its session that exist, and to no others."""
        found = (self._found.get(name) for name in session.streams)
        heard = frozenset(each[0] for each in found if each and each[1] == subscriber.route)
        for stream in subscriber.heard - heard:
            self._listeners[stream].discard(subscriber)
        for stream in heard - subscriber.heard:
            self._listeners[stream].add(subscriber)
            if self._subscribed is not None:
                self._subscribed(stream)
        subscriber.heard, subscriber.form = heard, session.form
        self._sessions[subscriber] = session
        self._count_in(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        self.tune(subscriber, Session())
        self._sessions.pop(subscriber)
        subscriber.outbox.close()

    def publish(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            listeners = self._listeners[tick.stream]
            if not listeners:
                continue
            frames: dict[Form, bytes] = {}
            for subscriber in listeners:
                form = subscriber.form
                frame = frames.get(form)
                if frame is None:
                    frame = frames[form] = self._frame(tick, form)
                subscriber.outbox.put(frame)

    def is_heard(self, stream: str) -> bool:
        """Whether a stream has a subscriber."""
        return bool(self._listeners.get(stream))

    async def audience(self) -> None:
        """Wait until a stream that exists has a subscriber."""
        await self._heard.wait()

    async def settled(self, backlog_bytes: int = SETTLED_BYTES) -> None:
        """Wait until no subscriber has a larger backlog."""
        for subscriber in tuple(self._audience):
            await subscriber.outbox.settled(backlog_bytes)

    def _frame(self, tick: Tick, form: Form) -> bytes:
        payload = self._dialect.payload(tick, microseconds=form.microseconds)
        if tick.garbled:
            payload = garbled(tick, payload)
        if form.combined:
            payload = self._dialect.envelope(self._spelled[tick.stream], payload)
        return text_frame(payload)

    def _add(self, symbol: str) -> set[str]:
        names = self._dialect.stream_names(symbol)
        for name, (kind, route) in names.items():
            stream = stream_of(symbol, kind)
            self._found[name] = stream, route
            self._spelled[stream] = name
            self._listeners.setdefault(stream, set())
        return set(names)

    def _count_in(self, subscriber: Subscriber) -> None:
        if subscriber.heard:
            self._audience.add(subscriber)
            self._heard.set()
            return
        self._audience.discard(subscriber)
        if not self._audience and self._heard.is_set():
            self._heard = trio.Event()
