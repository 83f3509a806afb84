"""The TCP transport: any number of readers, none of which can hold up another.

A client is a cursor into the log and a socket. When blocks come, one task goes through the
clients that have everything so far and sends each, with a single non-blocking call, all that it
has not seen; for nearly all of them that is the same piece of memory. A client whose socket does
not take it all gets a task of its own, which waits for the socket and sends until the client has
caught up. So nobody waits for anybody, and what a slow client costs is its place in the log and
the one piece it is in the middle of.

A client that falls off the log gets the frame it is in the middle of, then LOSS with the range
that is gone, and carries on at the oldest block there is. What clients send is read and dropped.
"""

import logging
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio

from fanout.config import TcpConfig
from fanout.log import Cursor, Lapped, Log
from fanout.transports.base import Broadcast, open_listeners
from protocol import (
    End,
    EndReason,
    Header,
    Heartbeat,
    Loss,
    LossReason,
    encode_event,
    encode_header,
    frame,
)

_LOG = logging.getLogger("fanout")

CHUNK_BYTES: Final = 256 * 1024
"""Most that one send is given. Bounds what a stuck client keeps in memory beside the log."""

HEARTBEAT_S: Final = 1.0
"""Silence after which clients are told that there is nothing."""

GOODBYE_S: Final = 2.0
"""How long clients have, when the log is closed, to take what is left and the END."""

MAX_INPUT_BYTES: Final = 64 * 1024
"""Most that a client may send. Nothing it could ask for is that long; a flood would cost time."""


RESERVED_DESCRIPTORS: Final = 32
"""Descriptors that clients may not take, so that the feed can always connect again."""

FULL_RETRY_MS: Final = 5_000
"""When a client that found no place is asked to come back."""


class _Client:
    """One connection: where it is in the log, and what of the last piece its socket did not take.

    The nursery is the client's lifetime: to cancel it is to close the connection.
    """

    def __init__(
        self, sock: socket.socket, cursor: Cursor, opening: bytes, nursery: trio.Nursery
    ) -> None:
        self.socket = sock
        self.cursor = cursor
        self.unsent = memoryview(opening)
        self.nursery = nursery
        self.is_catching_up = False
        self.says_no_more = False
        """It has closed its sending side."""
        self.gets_no_more = False
        """We have closed ours: everything is sent, the END included."""

    def close(self) -> None:
        self.nursery.cancel_scope.cancel()


class TcpTransport:
    """Serves a log over TCP."""

    def __init__(self, config: TcpConfig, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        self._config = config
        self._wall_ns = wall_ns
        self._clients: set[_Client] = set()
        self._leaving = trio.lowlevel.ParkingLot()
        self._max_clients = 0
        self.accepted = 0
        self.losses = 0

    @property
    def client_count(self) -> int:
        return len(self._clients)

    async def run(
        self, broadcast: Broadcast, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `Transport.run`. The URL names the address that is listened on."""
        listeners = await open_listeners(self._config.host, self._config.port)
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_clients = max(1, most - RESERVED_DESCRIPTORS)
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as accepting:
                serve = partial(self._serve, broadcast)
                accepting.start_soon(
                    partial(trio.serve_listeners, serve, listeners, handler_nursery=clients)
                )
                task_status.started(" ".join(_url(each) for each in listeners))
                await self._deliver(broadcast.log)
                accepting.cancel_scope.cancel()
            await self._wait_for_goodbyes()
            clients.cancel_scope.cancel()

    async def _serve(self, broadcast: Broadcast, stream: trio.SocketStream) -> None:
        """A client's own task, from accepting to closing."""
        # Plain non-blocking calls from here on: whoever has news tries to send it at once.
        with socket.socket(fileno=stream.socket.detach()) as sock:
            sock.setblocking(False)
            if len(self._clients) >= self._max_clients:
                _turn_away(sock, broadcast)
                return
            name = _peer_name(sock)
            async with trio.open_nursery() as nursery:
                client = _Client(sock, broadcast.log.live(), broadcast.opening(), nursery)
                self._clients.add(client)
                self.accepted += 1
                _LOG.debug("%s joined, %d connected", name, len(self._clients))
                try:
                    self._push(client, broadcast.log)
                    await _drop_input(client)
                finally:
                    self._clients.discard(client)
                    self._leaving.unpark_all()
                    _LOG.debug("%s left, %d connected", name, len(self._clients))
                client.close()

    async def _deliver(self, log: Log) -> None:
        """Hand each news to all clients at once; a heartbeat where there is none."""
        while not log.closed:
            end = log.end
            with trio.move_on_after(HEARTBEAT_S):
                await log.wait_beyond(end)
            quiet = memoryview(self._heartbeat(log)) if log.end == end else None
            for client in tuple(self._clients):
                if client.is_catching_up:
                    continue
                if quiet:
                    client.unsent = quiet
                self._push(client, log)

    def _heartbeat(self, log: Log) -> bytes:
        return frame(encode_event(Heartbeat(next_seq=log.next_seq, time_ns=self._wall_ns())))

    def _push(self, client: _Client, log: Log) -> None:
        """Send what a client has not seen, as far as its socket takes it now. What it does not
        take is left to a task of the client's."""
        if not self._send(client, log):
            client.is_catching_up = True
            client.nursery.start_soon(self._catch_up, client, log)

    async def _catch_up(self, client: _Client, log: Log) -> None:
        while client.is_catching_up:
            await trio.lowlevel.wait_writable(client.socket)
            client.is_catching_up = not self._send(client, log)

    def _send(self, client: _Client, log: Log) -> bool:
        """One non-blocking send. Whether there is nothing left to be sent."""
        if not client.unsent:
            client.unsent = memoryview(self._next_piece(client.cursor, log))
        try:
            sent = client.socket.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            client.close()
            return True
        client.unsent = client.unsent[sent:]
        is_done = not client.unsent and client.cursor.position == log.end
        if is_done and log.closed:
            _finish(client)
        return is_done

    def _next_piece(self, cursor: Cursor, log: Log) -> bytes:
        known = cursor.context
        piece = log.read(cursor, CHUNK_BYTES)
        if not isinstance(piece, Lapped):
            return piece
        self.losses += 1
        return _told(piece, known) + self._next_piece(cursor, log)

    async def _wait_for_goodbyes(self) -> None:
        """Until every client has taken what is left and gone, or the time for it is over."""
        with trio.move_on_after(GOODBYE_S):
            while self._clients:
                await self._leaving.park()


def _turn_away(sock: socket.socket, broadcast: Broadcast) -> None:
    """Say END to a client that finds no place, and let it go. What it is told fits any socket."""
    end = End(
        reason=EndReason.FULL,
        last_seq=broadcast.log.next_seq - 1,
        retry_ms=FULL_RETRY_MS,
        why="too many clients",
    )
    with suppress(OSError):
        sock.send(broadcast.opening() + frame(encode_event(end)))
        sock.shutdown(socket.SHUT_WR)


def _told(lapped: Lapped, known: object) -> bytes:
    """What a lapped reader is told before it carries on: the range that is gone, and the header
    that counts from here if it is another one."""
    told = b""
    if lapped.first_seq <= lapped.last_seq:
        loss = Loss(first_seq=lapped.first_seq, last_seq=lapped.last_seq, reason=LossReason.SLOW)
        told += frame(encode_event(loss))
    if lapped.context is not known:
        assert isinstance(lapped.context, Header), "the publisher's context is the header"
        header = msgspec.structs.replace(lapped.context, next_seq=lapped.last_seq + 1)
        told += frame(encode_header(header))
    return told


def _finish(client: _Client) -> None:
    """Nothing more will be sent: let the client read to the end of the stream. It closes then,
    and only after that do we, so that END is not overtaken by a reset."""
    client.gets_no_more = True
    try:
        client.socket.shutdown(socket.SHUT_WR)
    except OSError:
        client.close()
    if client.says_no_more:
        client.close()


async def _drop_input(client: _Client) -> None:
    """Read what a client sends, and drop it. Returns when the connection is finished on both
    sides or broken, or the client sends more than it may.

    The end of its stream alone is no reason: a reader may close its sending side and read on.
    """
    received = 0
    while received <= MAX_INPUT_BYTES:
        await trio.lowlevel.wait_readable(client.socket)
        try:
            data = client.socket.recv(4096)
        except BlockingIOError:
            continue
        except OSError:
            return
        if not data:
            client.says_no_more = True
            if client.gets_no_more:
                return
            await trio.sleep_forever()
        received += len(data)


def _peer_name(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "a client that is gone already"
    return f"{host}:{port}"


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
