"""The upstream: connect, subscribe, read bursts, and begin again, for ever.

A burst goes through the venue's parser and the normaliser to the publisher in one go, without
giving way to other tasks: what one read brought is one block. Whatever the venue sends that is
not understood is counted and skipped. When a connection ends, readers are told at once, and the
next attempt follows after a growing, jittered pause; the pause is small again only after trades
have come, so that a venue that accepts and drops connections is not hammered.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from fanout.anomalies import Anomalies
from fanout.errors import VenueError, VenueForbiddenError, VenueMessageError
from fanout.normalise import Normaliser
from fanout.publisher import Publisher
from fanout.venues.base import Venue
from fanout.websocket import Burst, WebSocket, open_websocket
from protocol.backoff import backoff
from protocol.constants import FeedState
from protocol.records import Gap, Instrument, Trade

_LOG = logging.getLogger("fanout")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""At most 300 connection attempts in five minutes are allowed per address."""

MAX_TRADE_MESSAGE_BYTES: Final = 64 * 1024
"""Longest message that is parsed. A trade has 170 bytes; whatever is this long is not one."""

Connect = Callable[[str], AbstractAsyncContextManager[WebSocket]]


class Feed:
    """One venue connection at a time, from the socket to the publisher."""

    def __init__(
        self,
        venue: Venue,
        instruments: tuple[Instrument, ...],
        publisher: Publisher,
        anomalies: Anomalies,
        *,
        connect: Connect = open_websocket,
        uniform: Callable[[float, float], float] = random.uniform,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._venue = venue
        self._symbols = tuple(each.symbol for each in instruments)
        self._publisher = publisher
        self._anomalies = anomalies
        self._normaliser = Normaliser(instruments, anomalies)
        self._connect = connect
        self._uniform = uniform
        self._monotonic_ns = monotonic_ns
        self.messages = 0
        self.connections = 0

    async def run(self) -> None:
        """Feed the publisher until cancelled.

        Raises `VenueForbiddenError` if the very first connection is refused for good.
        """
        pauses = self._pauses()
        while True:
            published = self._publisher.trades
            self._publisher.publish_status(None, FeedState.CONNECTING, self._venue.name)
            try:
                await self._stream()
            except VenueError as error:
                if isinstance(error, VenueForbiddenError) and not self.connections:
                    raise
                why = str(error)
            if self._publisher.trades > published:
                pauses = self._pauses()
            pause_s = next(pauses)
            _LOG.warning("%s; connecting again in %.1f s", why, pause_s)
            self._publisher.publish_status(None, FeedState.DOWN, why)
            await trio.sleep(pause_s)

    def _pauses(self) -> Iterator[float]:
        return backoff(first_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, uniform=self._uniform)

    async def _stream(self) -> None:
        """One connection, from opening to its end, which is always a `VenueError`."""
        url = self._venue.stream_url()
        async with self._connect(url) as websocket:
            for text in self._venue.subscriptions(self._symbols):
                await websocket.send(text)
            self.connections += 1
            _LOG.info("connected to %s for %s", url, ", ".join(self._symbols))
            is_live = False
            while True:
                trades = self._publisher.trades
                self.take(await websocket.receive())
                if not is_live and self._publisher.trades > trades:
                    is_live = True
                    self._publisher.publish_status(None, FeedState.LIVE, self._venue.name)

    def take(self, burst: Burst) -> None:
        """Parse a burst and publish what is in it.

        Raises `VenueRefusalError` if the venue says no to the subscription; what came with that
        message is published first.
        """
        records: list[Trade | Gap] = []
        self.messages += len(burst.messages)
        try:
            for message in burst.messages:
                self._parse(message, records)
        finally:
            held_ns = self._monotonic_ns() - burst.received_at_ns
            self._publisher.publish(records, received_ns=burst.received_ns, held_ns=held_ns)

    def _parse(self, message: bytes, records: list[Trade | Gap]) -> None:
        if len(message) > MAX_TRADE_MESSAGE_BYTES:
            self._anomalies.note("message too long", f"{len(message):,} bytes")
            return
        try:
            item = self._venue.parse(message)
        except VenueMessageError as error:
            self._anomalies.note(error.kind, error.detail)
            return
        if item is not None:
            self._normaliser.take(item, records)
