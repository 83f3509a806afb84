"""Who hears what: the streams that exist, and the subscribers of each.

A name is a stream only if it is spelled exactly, in lower case, and asked for on its own route.
Anything else is acked elsewhere and stays silent here. A payload is framed at most once per
envelope, however many listen: a server's frames carry no mask and are the same for all.
"""

from collections.abc import Iterable
from typing import Final

import trio

from fanout.simulator.outbox import Outbox
from fanout.simulator.requests import Session
from fanout.simulator.routes import ROUTE_OF, Route
from fanout.simulator.ticks import Tick
from fanout.simulator.ws_frames import message_frame

SETTLED_BYTES: Final = 128 * 1024  # what a replay lets wait for a subscriber between two bursts


class Subscriber:
    """One connection, as the market sees it. `Streams` alone changes what it hears."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.combined = False
        self.heard: frozenset[str] = frozenset()
        self.outbox = Outbox()


class Streams:
    def __init__(self, symbols: Iterable[str]) -> None:
        names = [symbol.lower() for symbol in symbols]
        self._routes = {
            name + suffix: route for name in names for suffix, route in ROUTE_OF.items()
        }
        self._listeners: dict[str, set[Subscriber]] = {name: set() for name in self._routes}
        self._audience: set[Subscriber] = set()
        self._heard = trio.Event()

    def tune(self, subscriber: Subscriber, session: Session) -> None:
        """From here on the subscriber hears what of its session exists, and nothing else."""
        exists = self._routes.get
        heard = frozenset(n for n in session.streams if exists(n) is subscriber.route)
        for name in subscriber.heard - heard:
            self._listeners[name].discard(subscriber)
        for name in heard - subscriber.heard:
            self._listeners[name].add(subscriber)
        subscriber.heard, subscriber.combined = heard, session.combined
        self._count_in(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        self.tune(subscriber, Session())
        subscriber.outbox.close()

    def publish(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            frames: dict[bool, bytes] = {}
            for subscriber in self._listeners[tick.stream]:
                combined = subscriber.combined
                if combined not in frames:
                    frames[combined] = message_frame(tick.stream, tick.payload, combined=combined)
                subscriber.outbox.put(frames[combined])

    async def audience(self) -> None:
        """Return when somebody hears a stream that exists."""
        await self._heard.wait()

    async def settled(self, backlog_bytes: int = SETTLED_BYTES) -> None:
        """Return when no subscriber has more than this waiting."""
        for subscriber in tuple(self._audience):
            await subscriber.outbox.settled(backlog_bytes)

    def _count_in(self, subscriber: Subscriber) -> None:
        if subscriber.heard:
            self._audience.add(subscriber)
            self._heard.set()
            return
        self._audience.discard(subscriber)
        if not self._audience and self._heard.is_set():
            self._heard = trio.Event()
