"""The TCP transport: any number of clients, none of which can hold up another.

A client is a place in the log and a socket. When blocks come, one task goes through the clients
that have everything so far and sends each, with a single non-blocking call, all that it has not
seen; for nearly all of them that is the same piece of memory. A client whose socket does not take
it all gets a task of its own. So nobody waits for anybody, and what a slow client costs is its
place in the log and the one piece it is in the middle of.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.config import TcpConfig
from fanout.net.descriptors import Descriptors
from fanout.net.listeners import authority_of, open_listeners
from fanout.stats.anomalies import Anomalies
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import TransportStats
from fanout.transports.base import CHUNK_BYTES
from fanout.transports.tcp.connection import GOODBYE_S
from fanout.transports.tcp.crowd import Crowd
from fanout.transports.tcp.entrance import Entrance, Wire
from fanout.transports.tcp.greeting import TlsGate, load_tls
from fanout.transports.tcp.wire1 import Wire1
from fanout.transports.tcp.wire2 import Wire2

_LOG = logging.getLogger("fanout")

HEARTBEAT_S: Final = 1.0
"""Silence after which clients are told that there is nothing."""

LOOK_S: Final = 0.5
"""How often it is looked how far clients are behind."""


class TcpTransport:
    """Serves a log over TCP."""

    def __init__(
        self,
        config: TcpConfig,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        self._config = config
        self._wall_ns = wall_ns
        self._oddities = Anomalies(clock=monotonic)
        self._crowd = Crowd(piece_bytes=CHUNK_BYTES)
        self._entrance = Entrance(config, self._crowd, self._oddities, monotonic=monotonic)
        self._delivered = 0
        """Position up to which all that is new has been handed on."""
        self._quiet_since_s = 0.0
        self._url = ""
        self.sending = Histogram()

    @property
    def client_count(self) -> int:
        """Those who have come and not gone."""
        return self._entrance.count

    @property
    def arrived(self) -> int:
        """Those who ever came."""
        return self._entrance.arrived

    def stats(self) -> TransportStats:
        """See `Transport.stats`. Clients are in the order in which they came."""
        consumers = self._crowd.stats(trio.current_time())
        return TransportStats(
            url=self._url,
            consumers=tuple(consumers),
            accepted=self._entrance.accepted,
            refused=self._entrance.refused,
            lost=self._crowd.lost + sum(each.lost for each in consumers),
            send=self.sending.quantiles(),
            anomalies=dict(self._oddities.counts),
        )

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. The URL names the address that is listened on. Raises `ConfigError`
        for a certificate that cannot be used, and for an instrument that the wire cannot carry."""
        tls = load_tls(self._config)
        self._entrance.gate = TlsGate(tls) if tls else None
        wire = self._wire_for(channels[0])
        if self._config.max_clients > Descriptors.most():
            room = f"{Descriptors.most():,} clients, not for {self._config.max_clients:,}"
            _LOG.warning("ulimit -n leaves room for %s", room)
        listeners = await open_listeners(self._config.host, self._config.port)
        self._quiet_since_s = trio.current_time()
        async with trio.open_nursery() as clients:
            clients.start_soon(wire.run)
            async with trio.open_nursery() as accepting:
                serve = partial(self._entrance.serve, wire)
                accepting.start_soon(
                    partial(trio.serve_listeners, serve, listeners, handler_nursery=clients)
                )
                accepting.start_soon(self._watch)
                accepting.start_soon(self._beat, wire)
                self._url = " ".join(self._url_of(each) for each in listeners)
                task_status.started(self._url)
                await self._deliver(wire)
                accepting.cancel_scope.cancel()
            # Every client has the time to take what is left, and to go.
            with trio.move_on_after(GOODBYE_S):
                await self._entrance.until_empty()
            clients.cancel_scope.cancel()

    def _wire_for(self, channel: Channel) -> Wire:
        if self._config.wire == 1:
            return Wire1(channel)
        max_lag_ms = int(self._config.max_lag_s * 1000)
        return Wire2(channel, max_lag_ms=max_lag_ms, wall_ns=self._wall_ns)

    async def _deliver(self, wire: Wire) -> None:
        """Hand each news to all clients at once."""
        log = wire.log
        while not log.closed:
            await log.wait_beyond(self._delivered)
            first, self._delivered = self._delivered, log.end
            self._quiet_since_s = trio.current_time()
            is_sent = first != log.end and self._crowd.is_anybody_waiting
            self._crowd.hand_on(log)
            if is_sent:
                self.sending.add(log.age_ns(first))

    async def _beat(self, wire: Wire) -> None:
        """Say so to the clients when nothing happens."""
        while True:
            due_s = self._quiet_since_s + HEARTBEAT_S
            await trio.sleep_until(due_s)
            if self._quiet_since_s + HEARTBEAT_S > due_s:
                continue  # something has come meanwhile
            self._quiet_since_s = trio.current_time()
            if self._delivered == wire.log.end:
                self._crowd.say(wire.heartbeat())

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            for client in tuple(self._crowd.clients):
                client.look()

    def _url_of(self, listener: trio.SocketListener) -> str:
        scheme = "tcp" if self._entrance.gate is None else "tls"
        return f"{scheme}://{authority_of(listener)}"
