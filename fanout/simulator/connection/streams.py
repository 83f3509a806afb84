"""The streams that exist, the subscribers of each, and all messages to a subscriber.

A name is a stream only if it is spelled as the venue spells it, and subscribed to on its own route.
Any other name is acknowledged by the dialect, and stays silent. A message is encoded at most once
for each form, for any number of subscribers: a server's frames carry no mask. A venue that numbers
the messages of each connection has a personal dialect. Its frames are made for each subscriber.

Replies and greetings pass through the outbox too, so a subscriber gets all messages in the order in
which they were made.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final

import msgspec
import trio

from fanout.simulator.connection.frames import text_frame
from fanout.simulator.connection.outbox import Outbox
from fanout.simulator.dialects.base import Answer, Dialect, Form, Market, Session
from fanout.simulator.faults.impairments import garbled
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import Aggregate, Quote, Tick, Trade, stream_of

SETTLED_BYTES: Final = 128 * 1024  # most backlog of a subscriber when a replay sends its next burst


class Subscriber:
    """One connection, as the market sees it. Only `Streams` changes it, but for `loses`."""

    def __init__(self, route: str) -> None:
        self.route = route
        self.session = Session()
        self.form = Form()
        self.names: dict[str, str] = {}
        """The streams that it hears: the market's name of each, and its own."""
        self.heard: frozenset[str] = frozenset()
        self.outbox = Outbox()
        self.changed = trio.Event()
        """Set when its session changes. Then there is a new one."""
        self.count = 0
        """Of its numbered messages, at a venue that numbers them."""
        self.loses = 0
        """So many numbered messages will not be sent."""


class _NoMarket:
    def whole(self, stream: str) -> Snapshot | None:
        return None

    def best(self, symbol: str) -> Quote | None:
        return None

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        return ()

    def newest_aggregate(self, symbol: str) -> Aggregate | None:
        return None


class Streams:
    """`heard` and `_listeners` have the market's names of streams, not the venue's. `subscribed` is
    called with a stream's name for each subscription. A stream that is `silent` greets nobody."""

    def __init__(
        self,
        dialect: Dialect,
        symbols: Iterable[str],
        subscribed: Callable[[str], None] | None = None,
        *,
        market: Market | None = None,
        silent: Callable[[str], bool] = lambda stream: False,
    ) -> None:
        self.market = market or _NoMarket()
        self._dialect = dialect
        self._subscribed = subscribed
        self._silent = silent
        self._found: dict[str, tuple[str, str]] = {}  # venue's name to market's name, route
        self._spelled: dict[str, str] = {}  # market's name to venue's name
        self._listeners: dict[str, set[Subscriber]] = {}
        self._tuned: set[Subscriber] = set()
        self._audience: set[Subscriber] = set()
        self._heard = trio.Event()
        for symbol in symbols:
            self._add(symbol)

    def add(self, symbol: str) -> None:
        """Add the streams of a symbol, also for subscribers that asked for them before."""
        names = self._add(symbol)
        for subscriber in tuple(self._tuned):
            if not names.isdisjoint(subscriber.session.streams):
                self.tune(subscriber, subscriber.session)

    def answer(self, subscriber: Subscriber, answer: Answer) -> None:
        """Send the replies, subscribe to what the session has from now on, and send greetings."""
        self.tune(subscriber, answer.session)
        for reply in answer.replies:
            self.send(subscriber, reply.encode())
        for name in answer.greeted:
            stream, _ = self._found.get(name, ("", ""))
            if subscriber.names.get(stream) == name:
                self._greet(subscriber, stream)

    def tune(self, subscriber: Subscriber, session: Session) -> None:
        """Subscribe it to those streams of its session that exist, and to no others."""
        names: dict[str, str] = {}
        for name in session.streams:
            stream, route = self._found.get(name, ("", ""))
            if stream and route == subscriber.route:
                names.setdefault(stream, name)
        heard = frozenset(names)
        for stream in subscriber.heard - heard:
            self._listeners[stream].discard(subscriber)
        for stream in heard - subscriber.heard:
            self._listeners[stream].add(subscriber)
            if self._subscribed is not None:
                self._subscribed(stream)
        is_changed = session != subscriber.session
        subscriber.names, subscriber.heard = names, heard
        subscriber.session, subscriber.form = session, session.form
        self._tuned.add(subscriber)
        self._count_in(subscriber)
        if is_changed:
            subscriber.changed.set()
            subscriber.changed = trio.Event()

    def mute(self, subscriber: Subscriber) -> None:
        """Send it no more data, since its connection ends after the messages queued so far."""
        self.tune(subscriber, msgspec.structs.replace(subscriber.session, streams=()))

    def leave(self, subscriber: Subscriber) -> None:
        self.tune(subscriber, Session())
        self._tuned.discard(subscriber)
        subscriber.outbox.close()

    def publish(self, ticks: Iterable[Tick]) -> None:
        if self._dialect.is_personal:
            self._publish_personally(ticks)
            return
        for tick in ticks:
            listeners = self._listeners.get(tick.stream)  # the venue may lack a stream
            if not listeners:
                continue
            frames: dict[Form, bytes] = {}
            for subscriber in listeners:
                form = subscriber.form
                frame = frames.get(form)
                if frame is None:
                    frame = frames[form] = self._frame(tick, form)
                subscriber.outbox.put(frame)

    def send(self, subscriber: Subscriber, message: bytes, name: str | None = None) -> None:
        """Queue one message, as this subscriber gets it. `name` is its name of the stream."""
        if self._dialect.is_personal:
            before = subscriber.count
            message, subscriber.count = self._dialect.personal(
                message, name, subscriber.session, before
            )
            if subscriber.loses and subscriber.count != before:
                subscriber.loses -= 1
                return
        subscriber.outbox.put(text_frame(message))

    @property
    def names(self) -> Container[str]:
        """The venue's names of all streams."""
        return self._found

    def symbol_of(self, name: str) -> str | None:
        """The symbol of a stream under the venue's name; None if there is no such stream."""
        found = self._found.get(name)
        return None if found is None else found[0].partition("@")[0]

    def greet(self, streams: Iterable[str]) -> None:
        """Greet all subscribers of these streams anew."""
        for stream in streams:
            for subscriber in self._listeners.get(stream, ()):
                self._greet(subscriber, stream)

    def send_wrong_checksums(self, streams: Iterable[str]) -> None:
        """To all subscribers of these streams that get checksums."""
        for stream in streams:
            for subscriber in self._listeners.get(stream, ()):
                name = subscriber.names[stream]
                for message in self._dialect.wrong_checksum(
                    name, stream, self.market, subscriber.session
                ):
                    self.send(subscriber, message, name)

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

    def _publish_personally(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            payloads: dict[bool, Sequence[bytes]] = {}
            for subscriber in self._listeners.get(tick.stream, ()):
                form, name = subscriber.form, subscriber.names[tick.stream]
                messages = payloads.get(form.microseconds)
                if messages is None:
                    messages = self._dialect.split(self._payload(tick, form))
                    payloads[form.microseconds] = messages
                for each in messages:
                    self.send(subscriber, self._enveloped(each, name, form), name)

    def _greet(self, subscriber: Subscriber, stream: str) -> None:
        if self._silent(stream):
            return
        name, session = subscriber.names[stream], subscriber.session
        for payload in self._dialect.greeting(name, stream, self.market, session):
            self.send(subscriber, self._enveloped(payload, name, session.form), name)

    def _frame(self, tick: Tick, form: Form) -> bytes:
        payload = self._payload(tick, form)
        return text_frame(self._enveloped(payload, self._spelled[tick.stream], form))

    def _payload(self, tick: Tick, form: Form) -> bytes:
        payload = self._dialect.payload(tick, microseconds=form.microseconds)
        return garbled(tick, payload) if tick.garbled else payload

    def _enveloped(self, payload: bytes, name: str, form: Form) -> bytes:
        return self._dialect.envelope(name, payload) if form.combined else payload

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
