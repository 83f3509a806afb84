"""Instruments that are taken from one kind of stream, over one link or several."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

import trio

from fanout.errors import VenueForbiddenError, VenueMessageError
from fanout.feed.link import Connection, Link
from fanout.feed.merge import Merge
from fanout.net.websocket import Burst
from fanout.protocol.records import Gap, Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import Venue

_LOG = logging.getLogger("fanout")

MAX_TRADE_MESSAGE_BYTES: Final = 64 * 1024
"""Longest message that is parsed. A trade has 170 bytes; whatever is this long is not one."""


DEAF_S: Final = 60.0
"""How often connections are compared with each other."""


Publish = Callable[[list[Trade | Gap], Burst], None]
"""Takes what one read brought."""


class Observer(Protocol):
    """Who is told what becomes of a lane's connections."""

    def attempting(self) -> None: ...
    def opened(self, lane: "Lane") -> None: ...
    def ended(self, lane: "Lane", why: str) -> None: ...
    def refused(self, error: VenueForbiddenError) -> None: ...


class Lane:
    """What comes over its links, parsed and merged."""

    def __init__(
        self,
        venue: Venue,
        instruments: tuple[Instrument, ...],
        how: str,
        *,
        merge: Merge,
        anomalies: Anomalies,
        observer: Observer,
        publish: Publish,
        wall_ns: Callable[[], int],
    ) -> None:
        """`how` they were subscribed to, in words. `wall_ns` gives unix ns."""
        self.venue = venue
        self.instruments = instruments
        self.how = how
        self._wanted = {each.symbol for each in instruments}
        self.links: list[Link] = []
        self.open: set[Connection] = set()
        self.scope = trio.CancelScope()
        self._subscribed_s = 0.0
        """When its first connection, or the first after there was none, opened, by trio's clock."""
        self.messages = 0
        self.connections = 0
        """That ever opened."""
        self._merge = merge
        self._anomalies = anomalies
        self._observer = observer
        self._publish = publish
        self._wall_ns = wall_ns

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(each.symbol for each in self.instruments)

    @property
    def indexes(self) -> tuple[int, ...]:
        return tuple(each.index for each in self.instruments)

    @property
    def subscribed_ns(self) -> int:
        """When its first connection, or the first after there was none, opened; unix ns, by our
        clock as it is now: it may have been set since."""
        return self._wall_ns() - int((trio.current_time() - self._subscribed_s) * 1e9)

    def requests(self) -> tuple[str, ...]:
        """The messages to send on a connection that is new."""
        return self.venue.subscriptions(self.symbols)

    async def run(self) -> None:
        """Until cancelled."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                for each in self.links:
                    nursery.start_soon(each.run)
                if len(self.links) > 1:
                    nursery.start_soon(self._watch_for_the_deaf)

    async def _watch_for_the_deaf(self) -> None:
        """A connection of several that does not bring what the others do is one too few, though
        nothing is missing yet."""
        while True:
            await trio.sleep(DEAF_S)
            since_s = trio.current_time() - DEAF_S
            heard = {each: each.heard_since(since_s) for each in self.open}
            everything = set[str]().union(*heard.values())
            for connection in self.open:
                missing = everything - heard[connection]
                if missing and connection.opened_s < since_s:
                    names = ", ".join(sorted(missing))
                    _LOG.warning("%s is deaf for %s", connection.link.name, names)
                    connection.link.rotate()

    def rotate(self) -> None:
        """Replace its connections now."""
        for each in self.links:
            each.rotate()

    def give_up(self, instrument: Instrument) -> None:
        """Another lane takes it from now on. Without any, the lane ends."""
        self.instruments = tuple(
            each for each in self.instruments if each.index != instrument.index
        )
        self._wanted.discard(instrument.symbol)
        for each in self.open:
            each.heard.pop(instrument.symbol, None)  # a successor does not have to bring it
        if not self.instruments:
            self.open.clear()
            self.scope.cancel()

    # What links report.

    def attempting(self, connection: Connection) -> None:
        self._observer.attempting()

    def opened(self, connection: Connection) -> None:
        if not self.open:
            self._subscribed_s = trio.current_time()
        self.open.add(connection)
        self.connections += 1
        self._observer.opened(self)

    def ended(self, connection: Connection, why: str) -> None:
        self.open.discard(connection)
        self._observer.ended(self, why)

    def refused(self, error: VenueForbiddenError) -> None:
        self._observer.refused(error)

    def take(self, burst: Burst, connection: Connection) -> None:
        """Parse a burst and publish what is new in it.

        Raises `VenueRefusalError` if the venue says no to the subscription; what came with that
        message is published first.
        """
        records: list[Trade | Gap] = []
        self.messages += len(burst.messages)
        now_s = trio.current_time()
        try:
            for message in burst.messages:
                self._parse(message, connection, now_s, records)
        finally:
            if records:
                connection.link.won += sum(type(each) is Trade for each in records)
            self._publish(records, burst)

    def _parse(
        self, message: bytes, connection: Connection, now_s: float, records: list[Trade | Gap]
    ) -> None:
        if len(message) > MAX_TRADE_MESSAGE_BYTES:
            self._anomalies.note("message too long", f"{len(message):,} bytes")
            return
        try:
            item = self.venue.parse(message)
        except VenueMessageError as error:
            self._anomalies.note(error.kind, error.detail)
            return
        if item is not None:
            if item.symbol in self._wanted:
                connection.heard[item.symbol] = now_s
                connection.has_delivered = True
            self._merge.take(item, self.venue.stream, now_s, records)
