"""From an accepted connection to a client that is served, or refused.

With one channel, the acceptor greets a client at once. With several, it waits for the request
first, which may name a channel. So it does where a journal keeps what is older than the log, since
the request may name an older epoch, whose header comes first then. A client that sends nothing
within a tenth of a second gets the first channel, live. A client that cannot be served gets an END
with the reason and a retry delay. A fault in one client's task ends only that client's connection.
"""

import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio

from fanout.errors import shown
from fanout.net.descriptors import RESERVED_DESCRIPTORS
from fanout.protocol.constants import EndReason
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Request
from fanout.stats.anomalies import Anomalies
from fanout.transports.tcp.admission import Admission, Refusal
from fanout.transports.tcp.broadcaster import Broadcaster, LogReader
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.connection import (
    GOODBYE_S,
    MAX_INPUT_BYTES,
    Connection,
    hang_up,
    tune,
)
from fanout.transports.tcp.greeting import (
    IncompleteRequestError,
    NoTlsError,
    TlsGate,
    read_request,
    receive_some,
)
from fanout.transports.tcp.past import unreadable
from fanout.transports.tcp.wire1 import Wire1
from fanout.transports.tcp.wire2 import Wire2

_LOG = logging.getLogger("fanout")

Wire = Wire1 | Wire2

RETRY_MS: Final = 1_000
"""Retry delay for a client whose request came incomplete or too late, or asks for a past that
cannot be read now."""

MAX_TURNED_AWAY: Final = 64
"""Refused clients at once that get `GOODBYE_S` to read their END. For any others the service
closes right after sending it."""

assert MAX_TURNED_AWAY < RESERVED_DESCRIPTORS


class Outlet(msgspec.Struct, frozen=True):
    """A channel over TCP: its wire, and the broadcaster to its clients."""

    wire: Wire
    broadcaster: Broadcaster


class Visitor(msgspec.Struct, frozen=True):
    """A client that has connected: its address, its name in the log, and its socket."""

    host: str
    name: str
    sock: socket.socket


class Refused(msgspec.Struct, frozen=True):
    """A request that is not granted."""

    reason: EndReason
    why: str
    retry_ms: int | None = None


class Acceptor:
    """Admits clients, reads their requests, and passes them to a channel's broadcaster."""

    def __init__(
        self, config: TcpConfig, oddities: Anomalies, *, monotonic: Callable[[], float]
    ) -> None:
        """`monotonic` gives seconds, and never goes back."""
        self.gate: TlsGate | None = None
        """None without TLS."""
        self.outlets: dict[str, Outlet] = {}
        """By channel; the first one serves clients that name none."""
        self.arrived = 0
        self.accepted = 0
        self.refused = 0
        self.turned_away = 0
        """Refused clients that are reading their END now."""
        self._owner = os.getpid()
        self._config = config
        self._oddities = oddities
        self._admission = Admission(
            max_clients=config.max_clients,
            max_per_address=config.max_per_address,
            accept_rate=config.accept_rate,
            clock=monotonic,
        )
        self._asking: set[trio.CancelScope] = set()
        """One for each client whose request the service waits for."""
        self._leaving = trio.lowlevel.ParkingLot()
        self._starting = trio.Lock()
        """Clients are started one at a time, so that other tasks run in between. To begin within a
        block takes a millisecond: the block is found and cut."""

    @property
    def count(self) -> int:
        """Clients that have connected and not left."""
        return self._admission.count

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that accepts. A process forked from it has copies of all
        sockets, and must not end the connections."""
        return os.getpid() == self._owner

    @property
    def _default(self) -> Outlet:
        return next(iter(self.outlets.values()))

    async def until_empty(self) -> None:
        """Stop waiting for requests, and wait until all clients have left."""
        for each in tuple(self._asking):
            each.cancel()
        while self.count:
            await self._leaving.park()

    async def serve(self, stream: trio.SocketStream) -> None:
        """A client's own task, from accepting to closing. It never raises an `Exception`."""
        # Plain non-blocking calls from here on: a send is tried at once, without the event loop.
        with socket.socket(fileno=stream.socket.detach()) as sock:
            tune(sock, stall_timeout_s=self._config.stall_timeout_s)
            visitor = Visitor(*_peer(sock), sock)
            refusal = self._admission.arrive()
            if refusal is not None:
                await self._turn_away(visitor, refusal)
                return
            self.arrived += 1
            try:
                await self._enter(visitor)
            except Exception as error:
                why = f"an internal fault: {error!r}"
                self._oddities.note("client dropped", f"{visitor.name}: {why}", level=logging.ERROR)
            finally:
                if self.is_ours:
                    hang_up(sock)
                self._admission.depart()
                self._leaving.unpark_all()

    async def _enter(self, visitor: Visitor) -> None:
        if self.gate is None:
            await self._receive(visitor)
            return
        try:
            tls = await self.gate.enter(visitor.sock)
        except NoTlsError as error:
            self.refused += 1
            self._oddities.note("client refused, no TLS", f"{visitor.name}: {error}")
            await _farewell(visitor.sock, self._refusal(EndReason.BAD_REQUEST, None, str(error)))
            return
        with tls:
            try:
                await self._receive(Visitor(visitor.host, visitor.name, tls))
            finally:
                if self.is_ours:
                    hang_up(tls)

    async def _receive(self, visitor: Visitor) -> None:
        """Serve a client if there is room for it."""
        host, places, hall = visitor.host, self._admission.places, self._admission.hall
        room = places if self._config.token is None else hall
        refusal = room.enter(host)
        if refusal is not None:
            await self._turn_away(visitor, refusal)
            return
        client: Connection | None = None
        try:
            async with trio.open_nursery() as nursery:
                if len(self.outlets) == 1 and not self._default.wire.has_past:
                    client = self._greeted(visitor, self._default, nursery)
                try:
                    outlet, request = await self._asked_for(visitor)
                except OSError:
                    nursery.cancel_scope.cancel()  # the client is gone
                    return
                if room is hall and isinstance(request, Request):
                    refusal = places.enter(host)
                    if refusal is None:
                        hall.leave(host)
                        room = places
                    else:
                        self._note_refusal(visitor, refusal)
                        request = Refused(EndReason.FULL, refusal.why, refusal.retry_ms)
                replay = None
                if client is None and isinstance(request, Request):
                    try:
                        replay = await outlet.wire.replay(request)
                    except OSError as error:
                        why = unreadable(error)
                        request = self._refuse(visitor, EndReason.OTHER, why, RETRY_MS)
                if replay is not None:
                    client = self._connection(visitor, outlet, replay.reader, nursery)
                    self.accepted += 1
                    await self._attend(client, outlet.broadcaster, partial(client.replay, replay))
                    return
                client = client or self._greeted(visitor, outlet, nursery)
                frames = await self._opening(client.reader, request)
                self.accepted += not client.reader.is_over
                await self._attend(client, outlet.broadcaster, partial(client.begin, frames))
        finally:
            if client is not None:
                for each in self.outlets.values():
                    each.broadcaster.greeted.discard(client)
            room.leave(host)

    def _greeted(self, visitor: Visitor, outlet: Outlet, nursery: trio.Nursery) -> Connection:
        client = self._connection(visitor, outlet, outlet.wire.reader(), nursery)
        client.greet()
        outlet.broadcaster.greeted.add(client)
        return client

    def _connection(
        self, visitor: Visitor, outlet: Outlet, reader: LogReader, nursery: trio.Nursery
    ) -> Connection:
        return Connection(
            visitor.sock,
            visitor.name,
            reader,
            nursery,
            stall_timeout_s=self._config.stall_timeout_s,
            broadcaster=outlet.broadcaster,
            oddities=self._oddities,
        )

    async def _attend(
        self, client: Connection, broadcaster: Broadcaster, begin: Callable[[], None]
    ) -> None:
        """Serve a client until it leaves."""
        _LOG.debug("%s joined", client.name)
        try:
            begin()
            await client.drop_input()
        finally:
            broadcaster.leave(client)
            _LOG.debug("%s left", client.name)
        client.close()

    async def _asked_for(self, visitor: Visitor) -> tuple[Outlet, Request | Refused]:
        """The channel that a client requests, and its request. Raises `OSError` if the client is
        gone."""
        request = await self._request(visitor)
        if isinstance(request, Refused):
            return self._default, request
        outlet = self.outlets.get(request.channel) if request.channel else self._default
        if outlet is not None:
            return outlet, request
        known = ", ".join(self.outlets)
        why = f"no channel {shown(request.channel)}: this service has {known}"
        return self._default, self._refuse(visitor, EndReason.BAD_REQUEST, why)

    async def _request(self, visitor: Visitor) -> Request | Refused:
        """A client's request, or why it is refused. Raises `OSError` if the client is gone."""
        if not self._default.wire.is_asked:
            return Request()
        token, request = self._config.token, Request()
        try:
            with trio.CancelScope() as asking:
                self._asking.add(asking)
                try:
                    request = await read_request(visitor.sock, is_needed=token is not None)
                finally:
                    self._asking.discard(asking)
        except IncompleteRequestError as error:
            return self._refuse(visitor, EndReason.BAD_REQUEST, str(error), RETRY_MS)
        except PeerError as error:
            return self._refuse(visitor, EndReason.BAD_REQUEST, str(error))
        if asking.cancelled_caught and token is not None:
            return Refused(EndReason.SHUTDOWN, "the service was stopped", RETRY_MS)
        if token is not None and not (request.token and token.matches(request.token)):
            why = "the token is wrong" if request.token else "a token is needed here"
            return self._refuse(visitor, EndReason.AUTH, why)
        return request

    async def _opening(self, reader: LogReader, request: Request | Refused) -> bytes:
        """The frames before a client's data, or its END."""
        if isinstance(request, Refused):
            return reader.end(request.reason, retry_ms=request.retry_ms, why=request.why)
        async with self._starting:
            return reader.start(request)

    def _refuse(
        self, visitor: Visitor, reason: EndReason, why: str, retry_ms: int | None = None
    ) -> Refused:
        self.refused += 1
        self._oddities.note(f"client refused, {reason.name}", f"{visitor.name}: {why}")
        return Refused(reason, why, retry_ms)

    def _refusal(self, reason: EndReason, retry_ms: int | None, why: str) -> bytes:
        return self._default.wire.refusal(reason, retry_ms, why)

    def _note_refusal(self, visitor: Visitor, refusal: Refusal) -> None:
        self.refused += 1
        self._oddities.note("client turned away", f"{visitor.name}: {refusal.why}")

    async def _turn_away(self, visitor: Visitor, refusal: Refusal) -> None:
        """Send END to a client for which there is no room, and close."""
        self._note_refusal(visitor, refusal)
        sock, told = visitor.sock, self._refusal(EndReason.FULL, refusal.retry_ms, refusal.why)
        is_plain = self.gate is None or isinstance(sock, ssl.SSLSocket)
        if self.turned_away >= MAX_TURNED_AWAY:
            with suppress(OSError):
                sock.send(told if is_plain else b"")
            return
        self.turned_away += 1
        try:
            if self.gate is None or is_plain:
                await _farewell(sock, told)
            else:
                with suppress(NoTlsError), await self.gate.enter(sock) as tls:
                    await _farewell(tls, told)
        finally:
            self.turned_away -= 1


async def _farewell(sock: socket.socket, told: bytes) -> None:
    """Send a short END and wait for the client to read it and to close. Closing before that, with
    unread input, would reset the connection and lose the END. The input is limited."""
    received = 0
    with suppress(OSError), trio.move_on_after(GOODBYE_S):
        sock.send(told)
        socket.socket.shutdown(sock, socket.SHUT_WR)
        while received <= MAX_INPUT_BYTES and (data := await receive_some(sock)):
            received += len(data)


def _peer(sock: socket.socket) -> tuple[str, str]:
    """A client's address, and its name in the log."""
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "", "a client that is gone already"
    return host, f"{host}:{port}"
