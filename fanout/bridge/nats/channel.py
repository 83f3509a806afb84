"""One channel on its way from a service into a stream.

    where does the stream end? --> read the service from there on --> publish
              ^                                                          |
              '---- an error, or another bridge that publishes <---------'

What the stream ends with decides where to go on, and nothing else is remembered. So a bridge that
was killed, that lost its connection, or whose message was refused, begins where it has to.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from secrets import token_hex
from typing import Final, cast

from fanout.bridge.nats.connection import connected
from fanout.bridge.nats.lease import Lease, is_needed
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.passing import Passing
from fanout.bridge.nats.publisher import DuplicateError, FencedError, Publisher
from fanout.bridge.nats.stats import BridgeState, ChannelStats
from fanout.bridge.nats.stream import ChannelStream, Place
from fanout.clients.client import AsyncClient
from fanout.clients.outcomes import Disconnected, DisconnectedError
from fanout.clients.relay import Passed, Relayed
from fanout.errors import EngineError, EngineForbiddenError, EngineRefusedError
from fanout.protocol.backoff import backoff
from fanout.protocol.request import Begin, Position

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0

LOOK_EVERY_S: Final = 1.0
"""How often a bridge that stands by looks at the stream."""

TAKEOVER_S: Final = 3.0
"""How long a stream may stand still before a bridge that stands by tries to publish. If there is
nothing to publish, that changes nothing; and of two that try, the stream takes one."""

CANCEL_AGAIN_S: Final = 0.2
"""When a task is cancelled again that has not ended."""

ATTEMPTS: Final = 4
"""How often a bridge tries to begin with a server that lets it in."""

YIELD_S: Final = 0.5
"""How long a bridge waits with its first records for another one that may be publishing. Without it
two bridges would take turns on a quiet channel."""

AMID_OTHERS_S: Final = 0.05
"""Pause after a message of somebody who is no bridge."""

_log = logging.getLogger(__name__)

Open = Callable[[Begin | None], AsyncClient]
"""Makes a client that hands over `Relayed`, and begins at a place, or as the user said."""


class ChannelBridge:
    """Passes one channel on, until it is cancelled."""

    def __init__(
        self, options: NatsOptions, channel: str, open_client: Open, stats: ChannelStats
    ) -> None:
        self._options = options
        self._channel = channel
        self._open = open_client
        self._stats = stats
        self._owner = f"{socket.gethostname()} {os.getpid()} {token_hex(8)}"
        """Names this bridge in a lease."""
        self._warned: set[str] = set()
        self._is_polite = True
        """Whether another bridge may be the one that publishes."""
        self._most_attempts = 1
        """To begin with a stream."""
        self._has_begun = False
        """Whether the stream was there, or was made."""
        self._told = ""
        """The error that was logged last, and did not pass since."""

    async def run(self) -> None:
        """Raises `ConfigError`, an `EngineError` if there is no stream to begin with, and
        `DisconnectedError` if the service has ended for good."""
        pauses, attempts = _pauses(), 0
        while True:
            attempts += 1
            before = self._stats.messages
            try:
                await self._attempt()
            except EngineError as error:
                is_final = isinstance(error, EngineRefusedError | EngineForbiddenError)
                # A cluster that has just come up answers nothing until it has a leader.
                if not self._has_begun and (is_final or attempts >= self._most_attempts):
                    raise
                if self._stats.messages > before:
                    pauses, self._told = _pauses(), ""
                self._tell(f"{error}; trying again")
                self._stats.becomes(BridgeState.RETRYING, str(error))
                self._stats.reconnects += 1
                _heed_cancellation()
                await asyncio.sleep(next(pauses))

    def _tell(self, words: str) -> None:
        """Log what is wrong, once."""
        if words != self._told:
            self._told = words
            _log.warning("channel %s: %s", self._channel, words)

    async def _attempt(self) -> None:
        """Publish over one connection until something is wrong. Raises `EngineError`."""
        async with connected(self._options) as nats:
            self._most_attempts = ATTEMPTS
            stream = ChannelStream(nats, self._options, self._channel, self._warned)
            await stream.ensure()
            self._has_begun = True
            leases = is_needed(nats, stream.replicas)
            while True:
                lease = None
                if leases:
                    lease = Lease(
                        nats, self._options, self._channel, self._owner, replicas=stream.replicas
                    )
                    await self._wait_for(lease)
                place = await stream.place()
                try:
                    publisher = Publisher(nats, self._options, stream.name, place.last, self._stats)
                    await self._publish(publisher, stream, place, lease)
                except FencedError as error:
                    await self._stand_by(stream, error)
                finally:
                    if lease is not None:
                        with suppress(EngineError):  # then it ends by itself
                            await lease.give_back()

    async def _wait_for(self, lease: Lease) -> None:
        """Wait until no other bridge has the lease. Raises `EngineError`."""
        while not await lease.take():
            why = "another bridge has the lease"
            self._stats.becomes(BridgeState.STANDING_BY, why)
            self._tell(f"{why}; standing by")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _publish(
        self, publisher: Publisher, stream: ChannelStream, place: Place, lease: Lease | None
    ) -> None:
        """Read the service from the stream's end on, and publish. Raises `EngineError`."""
        if place.due is not None:
            self._stats.epoch_ns, self._stats.next_seq = place.due.epoch_ns, place.due.seq
        passing = Passing(
            self._options,
            self._channel,
            stream,
            publisher,
            place,
            self._stats,
            yields_s=YIELD_S if self._is_polite else 0.0,
        )
        if place.whole and place.due is not None:
            passing.wholes = await stream.recall(place)
        await publisher.open()
        try:
            async with self._open(place.due) as client:
                self._stats.becomes(BridgeState.WAITING)
                works = [
                    self._pass_on(client, passing, publisher),
                    passing.keep_header(),
                    publisher.watch(),
                ]
                if lease is not None:
                    works.append(lease.keep())
                await _until_one_ends(*works)
        finally:
            await publisher.close()

    async def _pass_on(self, client: AsyncClient, passing: Passing, publisher: Publisher) -> None:
        async for item in cast(AsyncIterator[Relayed], client):
            if isinstance(item, Passed):
                await passing.take(item)
                if self._told and publisher.acknowledged:
                    self._told = ""
                    _log.info("channel %s: publishing to stream %s", self._channel, passing.stream)
                continue
            passing.wholes.apply(item)
            if isinstance(item, Disconnected) and item.pause_s:
                self._tell(f"{client.url}: {item.why}")
        raise DisconnectedError(f"{client.url}: the service has ended, and does not come back")

    async def _stand_by(self, stream: ChannelStream, error: FencedError) -> None:
        """Wait until nobody else publishes. Not at all, if the stream ends with our records: then a
        message of somebody else took the place of ours. Raises `EngineError`."""
        place = await stream.place()
        stats = self._stats
        ours = Position(epoch_ns=stats.epoch_ns, seq=stats.next_seq) if stats.next_seq else None
        if place.due in (None, ours):
            if isinstance(error, DuplicateError):
                # Of a message that was removed. The server forgets its id after a while.
                raise EngineError(str(error)) from error
            stats.foreign += 1
            self._is_polite = False
            await asyncio.sleep(AMID_OTHERS_S)
            return
        self._is_polite = True
        self._stats.becomes(BridgeState.STANDING_BY, str(error))
        self._tell(f"{error}; standing by")
        loop = asyncio.get_running_loop()
        last, since_s = place.last, loop.time()
        while loop.time() - since_s < TAKEOVER_S:
            await asyncio.sleep(LOOK_EVERY_S)
            newest = await stream.last_seq()
            if newest != last:
                last, since_s = newest, loop.time()


async def _until_one_ends(*works: Coroutine[object, object, None]) -> None:
    """Run several until the first ends, and raise its error."""
    tasks = [asyncio.ensure_future(each) for each in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        left = set(tasks)
        while left:
            for each in left:
                each.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


def _heed_cancellation() -> None:
    """Raise `CancelledError` if this task was cancelled: the closing of a connection may have
    forgotten it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _pauses() -> Iterator[float]:
    return backoff(first_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, uniform=random.uniform)
