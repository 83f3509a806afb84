"""The TCP transport: any number of clients of any channel, none of which can hold up another.

A client is a position in a channel's log, and a socket. When a block is published, it is sent to
all clients of the channel that have everything so far, with a single non-blocking call for each.
Nearly all clients are sent the same piece of memory. A client whose socket does not take everything
gets a task of its own. So no client waits for another. A slow client costs its cursor and the one
piece that it has taken in part.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.net.descriptors import Descriptors
from fanout.net.listeners import authority_of, open_listeners
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import TransportStats
from fanout.transports.base import CHUNK_BYTES, Transport
from fanout.transports.tcp.acceptor import Acceptor, Outlet, Wire
from fanout.transports.tcp.broadcaster import Broadcaster
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.connection import GOODBYE_S
from fanout.transports.tcp.greeting import TlsGate, load_tls
from fanout.transports.tcp.turns import Turns
from fanout.transports.tcp.wire1 import Wire1
from fanout.transports.tcp.wire2 import Wire2

_LOG = logging.getLogger("fanout")

LOOK_S: Final = 0.5
"""How often the lag of the clients is checked."""


class TcpTransport(Transport):
    """Serves channels over TCP."""

    config: TcpConfig

    def __init__(
        self,
        config: TcpConfig,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        super().__init__(config)
        self._wall_ns = wall_ns
        self._turns = Turns()
        self._oddities = Anomalies(clock=monotonic)
        self._acceptor = Acceptor(config, self._oddities, monotonic=monotonic)

    @property
    def client_count(self) -> int:
        """Clients that have connected and not left."""
        return self._acceptor.count

    @property
    def arrived(self) -> int:
        """Clients that ever connected."""
        return self._acceptor.arrived

    @property
    def broadcasters(self) -> list[Broadcaster]:
        """One for each channel, in the channels' order."""
        return [each.broadcaster for each in self._acceptor.outlets.values()]

    def stats(self) -> TransportStats:
        """See `Transport.stats`. The oldest client comes first."""
        now_s = trio.current_time()
        consumers = [each for one in self.broadcasters for each in one.stats(now_s)]
        consumers.sort(key=lambda each: each.age_s, reverse=True)
        lost = sum(each.lost for each in self.broadcasters)
        return TransportStats(
            url=self.url,
            consumers=tuple(consumers),
            accepted=self._acceptor.accepted,
            refused=self._acceptor.refused,
            lost=lost + sum(each.lost for each in consumers),
            send=self.sending.quantiles(),
            anomalies=dict(self._oddities.counts),
        )

    @property
    def readers(self) -> int:
        """See `Transport.readers`."""
        return sum(each.count for each in self.broadcasters)

    @property
    def unread(self) -> float:
        """See `Transport.unread`."""
        outlets = self._acceptor.outlets.values()
        return max([each.broadcaster.unread(each.wire.log) for each in outlets], default=0.0)

    def at_its_address(self) -> TcpConfig:
        """See `Transport.at_its_address`."""
        port = self.url.split()[0].rpartition(":")[2] if self.url else ""
        return replace(self.config, port=int(port)) if port else self.config

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. The URL has the address that the transport listens on. Raises
        `ConfigError` for an unusable certificate, and for an instrument that the wire cannot
        carry."""
        tls = load_tls(self.config)
        self._acceptor.gate = TlsGate(tls) if tls else None
        self._acceptor.outlets = {each.wire.name: each for each in self._outlets(channels)}
        if self.config.max_clients > Descriptors.most():
            room = f"{Descriptors.most():,} clients, not for {self.config.max_clients:,}"
            _LOG.warning("ulimit -n leaves room for %s", room)
        listeners = await open_listeners(self.config.host, self.config.port)
        self.url = " ".join(self._url_of(each) for each in listeners)
        async with trio.open_nursery() as clients:
            for each in self._acceptor.outlets.values():
                clients.start_soon(each.wire.run)
            await self._accept(listeners, clients, task_status)
            # Each client gets this time to read what is left, and to close.
            with trio.move_on_after(GOODBYE_S):
                await self._acceptor.until_empty()
            clients.cancel_scope.cancel()

    async def _accept(
        self,
        listeners: list[trio.SocketListener],
        clients: trio.Nursery,
        task_status: trio.TaskStatus[str],
    ) -> None:
        """Accept clients until every channel's log is closed and sent."""
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(
                    trio.serve_listeners,
                    self._acceptor.serve,
                    listeners,
                    handler_nursery=clients,
                )
            )
            accepting.start_soon(self._watch)
            task_status.started(self.url)
            try:
                async with trio.open_nursery() as broadcasting:
                    for each in self._acceptor.outlets.values():
                        broadcasting.start_soon(each.broadcaster.run, each.wire)
            finally:
                if self._acceptor.is_ours:
                    _stop_listening(listeners)
            accepting.cancel_scope.cancel()

    def _outlets(self, channels: Sequence[Channel]) -> list[Outlet]:
        if self.config.wire == 1:
            return [self._outlet(Wire1(channels[0]))]
        max_lag_ms = int(self.config.max_lag_s * 1000)
        make = partial(Wire2, max_lag_ms=max_lag_ms, wall_ns=self._wall_ns)
        return [self._outlet(make(each)) for each in channels]

    def _outlet(self, wire: Wire) -> Outlet:
        broadcaster = Broadcaster(piece_bytes=CHUNK_BYTES, sending=self.sending, turns=self._turns)
        return Outlet(wire, broadcaster)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            for broadcaster in self.broadcasters:
                for client in tuple(broadcaster.clients):
                    client.look()

    def _url_of(self, listener: trio.SocketListener) -> str:
        scheme = "tcp" if self._acceptor.gate is None else "tls"
        return f"{scheme}://{authority_of(listener)}"


def _stop_listening(listeners: Sequence[trio.SocketListener]) -> None:
    """Stop listening, also where a forked process still has copies of the sockets."""
    for each in listeners:
        with suppress(OSError):  # closed already
            each.socket.shutdown(socket.SHUT_RDWR)
