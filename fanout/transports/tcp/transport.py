"""The TCP transport: any number of clients, none of which can hold up another.

A client is a place in the log and a socket. When blocks come, one task goes through the clients
that have everything so far and sends each, with a single non-blocking call, all that it has not
seen; for nearly all of them that is the same piece of memory. A client whose socket does not take
it all gets a task of its own. So nobody waits for anybody, and what a slow client costs is its
place in the log and the one piece it is in the middle of.

Who comes is greeted at once, and its data begins when it has said what it wants, or nothing for a
tenth of a second. Who cannot be served is told why, by END, and when to come back.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio

from fanout.anomalies import Anomalies
from fanout.config import TcpConfig
from fanout.histogram import Histogram
from fanout.log import Lag
from fanout.stats import TransportStats
from fanout.transports.base import Broadcast, open_listeners
from fanout.transports.tcp.admission import RESERVED_DESCRIPTORS, Admission, Descriptors, Refusal
from fanout.transports.tcp.connection import (
    GOODBYE_S,
    MAX_INPUT_BYTES,
    Connection,
    tune,
)
from fanout.transports.tcp.crowd import Crowd, Place
from fanout.transports.tcp.greeting import (
    IncompleteRequestError,
    NoTlsError,
    TlsGate,
    load_tls,
    read_request,
    receive_some,
)
from fanout.transports.tcp.wire1 import Wire1
from fanout.transports.tcp.wire2 import CHUNK_BYTES, Wire2
from protocol.constants import EndReason
from protocol.errors import PeerError
from protocol.request import Request

_LOG = logging.getLogger("fanout")

Wire = Wire1 | Wire2

RETRY_MS: Final = 1_000
"""When a client is asked to come back whose request was not complete in time, or not heard since
the service ended."""

HEARTBEAT_S: Final = 1.0
"""Silence after which clients are told that there is nothing."""

LOOK_S: Final = 0.5
"""How often it is looked how far clients are behind."""

MAX_TURNED_AWAY: Final = 64
"""Clients without a place that are given the time to read why, at once. Others just get it."""

assert MAX_TURNED_AWAY < RESERVED_DESCRIPTORS


class Visitor(msgspec.Struct, frozen=True):
    """One that has come: its address, what it is called in the log, and the wire it reads."""

    host: str
    name: str
    wire: Wire


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
        self._monotonic = monotonic
        self._oddities = Anomalies(clock=monotonic)
        self._admission = Admission(
            max_clients=config.max_clients,
            max_per_address=config.max_per_address,
            accept_rate=config.accept_rate,
            clock=monotonic,
        )
        self._gate: TlsGate | None = None
        self._crowd = Crowd(piece_bytes=CHUNK_BYTES)
        self._asking: set[trio.CancelScope] = set()
        """Of those who are waited for, to say what they want."""
        self._leaving = trio.lowlevel.ParkingLot()
        self._starting = trio.Lock()
        """One begins at a time, and others have their turn in between: to find a place within a
        block, and cut it, takes a millisecond."""
        self._turned_away = 0
        self._delivered = 0
        """Position up to which all that is new has been handed on."""
        self._quiet_since_s = 0.0
        self._url = ""
        self._refusals = 0
        self._lost = 0
        """By clients that have left."""
        self.accepted = 0
        self.sending = Histogram()

    @property
    def client_count(self) -> int:
        """Those who have come and not gone."""
        return self._admission.count

    @property
    def lags(self) -> dict[str, Lag]:
        """How far each client is behind, by its address."""
        return {each.name: each.lag for each in self._crowd.clients}

    def stats(self) -> TransportStats:
        """See `Transport.stats`. Clients are in the order in which they came."""
        now_s = trio.current_time()
        consumers = [each.stats(now_s) for each in self._crowd.clients]
        return TransportStats(
            url=self._url,
            consumers=tuple(sorted(consumers, key=lambda each: (-each.age_s, each.address))),
            accepted=self.accepted,
            refused=self._refusals,
            lost=self._lost + sum(each.lost for each in consumers),
            send=self.sending.quantiles(),
            anomalies=dict(self._oddities.counts),
        )

    async def run(
        self, broadcast: Broadcast, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `Transport.run`. The URL names the address that is listened on. Raises `ConfigError`
        for a certificate that cannot be used, and for an instrument that the wire cannot carry."""
        tls = load_tls(self._config)
        self._gate = TlsGate(tls) if tls else None
        wire = self._wire_for(broadcast)
        if self._config.max_clients > Descriptors.most():
            room = f"{Descriptors.most():,} clients, not for {self._config.max_clients:,}"
            _LOG.warning("ulimit -n leaves room for %s", room)
        listeners = await open_listeners(self._config.host, self._config.port)
        self._quiet_since_s = trio.current_time()
        async with trio.open_nursery() as clients:
            clients.start_soon(wire.run)
            async with trio.open_nursery() as accepting:
                serve = partial(self._serve, wire)
                accepting.start_soon(
                    partial(trio.serve_listeners, serve, listeners, handler_nursery=clients)
                )
                accepting.start_soon(self._watch)
                accepting.start_soon(self._beat, wire)
                self._url = " ".join(self._url_of(each) for each in listeners)
                task_status.started(self._url)
                await self._deliver(wire)
                accepting.cancel_scope.cancel()
            await self._say_goodbye()
            clients.cancel_scope.cancel()

    def _wire_for(self, broadcast: Broadcast) -> Wire:
        if self._config.wire == 1:
            return Wire1(broadcast)
        max_lag_ms = int(self._config.max_lag_s * 1000)
        return Wire2(broadcast, max_lag_ms=max_lag_ms, wall_ns=self._wall_ns)

    async def _deliver(self, wire: Wire) -> None:
        """Hand each news to all clients at once."""
        log = wire.log
        while not log.closed:
            await log.wait_beyond(self._delivered)
            first, self._delivered = self._delivered, log.end
            self._quiet_since_s = trio.current_time()
            is_sent = self._crowd.is_anybody_waiting
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

    async def _say_goodbye(self) -> None:
        """Until every client has taken what is left and gone, or the time for it is over."""
        for each in tuple(self._asking):
            each.cancel()
        with trio.move_on_after(GOODBYE_S):
            while self._admission.count:
                await self._leaving.park()

    async def _serve(self, wire: Wire, stream: trio.SocketStream) -> None:
        """A client's own task, from accepting to closing. Whatever goes wrong in it, it is that
        client's affair."""
        # Plain non-blocking calls from here on: whoever has news tries to send it at once.
        with socket.socket(fileno=stream.socket.detach()) as sock:
            tune(sock, stall_timeout_s=self._config.stall_timeout_s)
            visitor = Visitor(*_peer(sock), wire)
            refusal = self._admission.arrive()
            if refusal is not None:
                await self._turn_away(visitor, sock, refusal)
                return
            self.accepted += 1
            try:
                await self._enter(visitor, sock)
            except Exception as error:
                why = f"a fault of ours: {error!r}"
                self._oddities.note("client dropped", f"{visitor.name}: {why}", level=logging.ERROR)
            finally:
                self._admission.depart()
                self._leaving.unpark_all()

    async def _enter(self, visitor: Visitor, sock: socket.socket) -> None:
        if self._gate is None:
            await self._receive(visitor, sock)
            return
        try:
            tls = await self._gate.enter(sock)
        except NoTlsError as error:
            self._refusals += 1
            self._oddities.note("client refused, no TLS", f"{visitor.name}: {error}")
            await _farewell(sock, visitor.wire.refusal(EndReason.BAD_REQUEST, None, str(error)))
            return
        with tls:
            await self._receive(visitor, tls)

    async def _receive(self, visitor: Visitor, sock: socket.socket) -> None:
        """Greet a client if there is room for it, hear what it wants, and serve it."""
        host, places, hall = visitor.host, self._admission.places, self._admission.hall
        room = places if self._config.token is None else hall
        refusal = room.enter(host)
        if refusal is not None:
            await self._turn_away(visitor, sock, refusal)
            return
        try:
            async with trio.open_nursery() as nursery:
                client = self._new_client(visitor, sock, nursery)
                client.greet()
                try:
                    frames = await self._asked_for(client.place, visitor, sock)
                except OSError:
                    client.close()  # it is gone
                    return
                if room is hall and not client.place.is_over:
                    refusal = places.enter(host)
                    if refusal is None:
                        hall.leave(host)
                        room = places
                    else:
                        frames = client.place.end(
                            EndReason.FULL, retry_ms=refusal.retry_ms, why=refusal.why
                        )
                await self._attend(client, frames)
        finally:
            room.leave(host)

    def _new_client(
        self, visitor: Visitor, sock: socket.socket, nursery: trio.Nursery
    ) -> Connection:
        return Connection(
            sock,
            visitor.name,
            visitor.wire.place(),
            nursery,
            stall_timeout_s=self._config.stall_timeout_s,
            crowd=self._crowd,
            oddities=self._oddities,
        )

    async def _attend(self, client: Connection, frames: bytes) -> None:
        """Serve a client until it goes, beginning with these frames."""
        _LOG.debug("%s joined", client.name)
        try:
            client.begin(frames)
            await client.drop_input()
        finally:
            self._crowd.leave(client)
            self._lost += client.place.lost
            _LOG.debug("%s left", client.name)
        client.close()

    async def _asked_for(self, place: Place, visitor: Visitor, sock: socket.socket) -> bytes:
        """The frames before a client's data, or its END, after what it has to say. Raises `OSError`
        if it is gone."""
        if not visitor.wire.is_asked:
            return b""
        token, request = self._config.token, Request()
        try:
            with trio.CancelScope() as asking:
                self._asking.add(asking)
                try:
                    request = await read_request(sock, is_needed=token is not None)
                finally:
                    self._asking.discard(asking)
        except IncompleteRequestError as error:
            return self._refused(place, visitor, EndReason.BAD_REQUEST, str(error), RETRY_MS)
        except PeerError as error:
            return self._refused(place, visitor, EndReason.BAD_REQUEST, str(error))
        if asking.cancelled_caught and token is not None:
            why = "the service was stopped"
            return place.end(EndReason.SHUTDOWN, retry_ms=RETRY_MS, why=why)
        if token is not None and not (request.token and token.matches(request.token)):
            why = "the token is wrong" if request.token else "a token is needed here"
            return self._refused(place, visitor, EndReason.AUTH, why)
        async with self._starting:
            return place.start(request)

    def _refused(
        self,
        place: Place,
        visitor: Visitor,
        reason: EndReason,
        why: str,
        retry_ms: int | None = None,
    ) -> bytes:
        self._refusals += 1
        self._oddities.note(f"client refused, {reason.name}", f"{visitor.name}: {why}")
        return place.end(reason, retry_ms=retry_ms, why=why)

    async def _turn_away(self, visitor: Visitor, sock: socket.socket, refusal: Refusal) -> None:
        """Say END to a client that finds no place, and let it go."""
        self._refusals += 1
        self._oddities.note("client turned away", f"{visitor.name}: {refusal.why}")
        told = visitor.wire.refusal(EndReason.FULL, refusal.retry_ms, refusal.why)
        is_plain = self._gate is None or isinstance(sock, ssl.SSLSocket)
        if self._turned_away >= MAX_TURNED_AWAY:
            with suppress(OSError):
                sock.send(told if is_plain else b"")
            return
        self._turned_away += 1
        try:
            if self._gate is None or is_plain:
                await _farewell(sock, told)
            else:
                with suppress(NoTlsError), await self._gate.enter(sock) as tls:
                    await _farewell(tls, told)
        finally:
            self._turned_away -= 1

    def _url_of(self, listener: trio.SocketListener) -> str:
        scheme = "tcp" if self._gate is None else "tls"
        host, port = listener.socket.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def _farewell(sock: socket.socket, told: bytes) -> None:
    """Say a few words, which fit any socket, and wait for the client to read and close: to close
    before it does, with what it sent unread, would take the words back. Of one that has much to say
    no more is read."""
    received = 0
    with suppress(OSError), trio.move_on_after(GOODBYE_S):
        sock.send(told)
        socket.socket.shutdown(sock, socket.SHUT_WR)
        while received <= MAX_INPUT_BYTES and (data := await receive_some(sock)):
            received += len(data)


def _peer(sock: socket.socket) -> tuple[str, str]:
    """A client's address, and what it is called in the log."""
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "", "a client that is gone already"
    return host, f"{host}:{port}"
