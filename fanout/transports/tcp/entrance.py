"""From a connection that is accepted to a client that is served, or told why not.

Who comes is greeted at once, and its data begins when it has said what it wants, or nothing for a
tenth of a second. Who cannot be served is told why, by END, and when to come back. Whatever goes
wrong with one that comes is that one's affair.
"""

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from fanout.config import TcpConfig
from fanout.net.descriptors import RESERVED_DESCRIPTORS
from fanout.protocol.constants import EndReason
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Request
from fanout.stats.anomalies import Anomalies
from fanout.transports.tcp.admission import Admission, Refusal
from fanout.transports.tcp.connection import GOODBYE_S, MAX_INPUT_BYTES, Connection, tune
from fanout.transports.tcp.crowd import Crowd, Place
from fanout.transports.tcp.greeting import (
    IncompleteRequestError,
    NoTlsError,
    TlsGate,
    read_request,
    receive_some,
)
from fanout.transports.tcp.wire1 import Wire1
from fanout.transports.tcp.wire2 import Wire2

_LOG = logging.getLogger("fanout")

Wire = Wire1 | Wire2

RETRY_MS: Final = 1_000
"""When a client is asked to come back whose request was not complete in time, or not heard since
the service ended."""

MAX_TURNED_AWAY: Final = 64
"""Clients without a place that are given the time to read why, at once. Others just get it."""

assert MAX_TURNED_AWAY < RESERVED_DESCRIPTORS


class Visitor(msgspec.Struct, frozen=True):
    """One that has come: its address, what it is called in the log, and the wire it reads."""

    host: str
    name: str
    wire: Wire


class Entrance:
    """Lets clients in, to a crowd."""

    def __init__(
        self,
        config: TcpConfig,
        crowd: Crowd,
        oddities: Anomalies,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        """`monotonic` gives seconds, and never goes back."""
        self.gate: TlsGate | None = None
        """None where bytes are sent as they are."""
        self.arrived = 0
        self.accepted = 0
        self.refused = 0
        self.turned_away = 0
        """Those who are reading now why there is no place for them."""
        self._config = config
        self._crowd = crowd
        self._oddities = oddities
        self._admission = Admission(
            max_clients=config.max_clients,
            max_per_address=config.max_per_address,
            accept_rate=config.accept_rate,
            clock=monotonic,
        )
        self._asking: set[trio.CancelScope] = set()
        """Of those who are waited for, to say what they want."""
        self._leaving = trio.lowlevel.ParkingLot()
        self._starting = trio.Lock()
        """One begins at a time, and others have their turn in between: to find a place within a
        block, and cut it, takes a millisecond."""

    @property
    def count(self) -> int:
        """Those who have come and not gone."""
        return self._admission.count

    async def until_empty(self) -> None:
        """Wait for nobody's wishes any more, and until everybody has gone."""
        for each in tuple(self._asking):
            each.cancel()
        while self.count:
            await self._leaving.park()

    async def serve(self, wire: Wire, stream: trio.SocketStream) -> None:
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
            self.arrived += 1
            try:
                await self._enter(visitor, sock)
            except Exception as error:
                why = f"a fault of ours: {error!r}"
                self._oddities.note("client dropped", f"{visitor.name}: {why}", level=logging.ERROR)
            finally:
                self._admission.depart()
                self._leaving.unpark_all()

    async def _enter(self, visitor: Visitor, sock: socket.socket) -> None:
        if self.gate is None:
            await self._receive(visitor, sock)
            return
        try:
            tls = await self.gate.enter(sock)
        except NoTlsError as error:
            self.refused += 1
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
                        self._note_refusal(visitor, refusal)
                        frames = client.place.end(
                            EndReason.FULL, retry_ms=refusal.retry_ms, why=refusal.why
                        )
                self.accepted += not client.place.is_over
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
        self.refused += 1
        self._oddities.note(f"client refused, {reason.name}", f"{visitor.name}: {why}")
        return place.end(reason, retry_ms=retry_ms, why=why)

    def _note_refusal(self, visitor: Visitor, refusal: Refusal) -> None:
        self.refused += 1
        self._oddities.note("client turned away", f"{visitor.name}: {refusal.why}")

    async def _turn_away(self, visitor: Visitor, sock: socket.socket, refusal: Refusal) -> None:
        """Say END to a client that finds no place, and let it go."""
        self._note_refusal(visitor, refusal)
        told = visitor.wire.refusal(EndReason.FULL, refusal.retry_ms, refusal.why)
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
