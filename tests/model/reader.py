"""A consumer: the real client, over real sockets, and the ledger it is held to."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from unittest import mock

import trio
from trio.testing import wait_all_tasks_blocked

from fanout.clients import tcp_client, tcp_trio
from fanout.clients.subscription import ATTEMPTS_TO_RESUME
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Position
from tests.model.epoch import Epoch
from tests.model.ledger import Ledger, Tastes
from tests.model.loop import Act, Loop


class Client(TrioTcpClient):
    """The client; one that can be made to think before it asks."""

    think: Callable[[str], Awaitable[None]] | None = None
    """Called with the connection's name once the greeting is there, or once the service waits for
    the request."""
    is_greeted_first = True
    """Whether the service greets without being asked."""

    async def _connect(self) -> trio.SocketStream:
        if self.think is None:
            stream = await super()._connect()
            assert isinstance(stream, trio.SocketStream)
            return stream
        stream = await trio.open_tcp_stream(self._host, self._port)
        if self.is_greeted_first:
            await trio.lowlevel.wait_readable(stream.socket)
        else:
            await wait_all_tasks_blocked()
        await self.think(_name(stream))
        await stream.send_all(self._hello())
        return stream


class SteppedReader:
    """A reader that goes one step when it is told to: the client it has at present, and its ledger.

    It is the same reader when its client connects again, when another client goes on at its
    position, and when the service starts anew.
    """

    def __init__(self, loop: Loop, services: dict[int, Epoch], tastes: Tastes) -> None:
        """`services` are all there were, by their epochs; the last one is running."""
        self.ledger = Ledger(services, tastes)
        self._loop = loop
        self._services = services
        self._tastes = tastes
        self._thoughts: list[Act] = []
        self._client = self._new_client()

    def _new_client(self) -> Client:
        self._start = self.ledger.place or self._tastes.start
        return Client(
            "tcp://127.0.0.1:1",
            start=self._start,
            resume=self._tastes.resume,
            slow=self._tastes.slow,
            symbols=self._tastes.symbols,
            market_only=self._tastes.market_only,
        )

    @property
    def _stream(self) -> trio.SocketStream | None:
        stream = self._client._stream
        assert not isinstance(stream, trio.SSLStream), "nothing is over TLS here"
        return stream

    @property
    def is_connected(self) -> bool:
        return self._stream is not None

    @property
    def is_at_end(self) -> bool:
        """Whether there is nothing that it could read."""
        is_behind = self._client._subscription.ready or self._client.position != self._service.end
        return self.is_connected and not is_behind

    @property
    def _is_uncertain(self) -> bool:
        """Whether a header has come of another epoch than was asked for, and nothing else."""
        header, position = self._client.header, self._client.position
        return bool(header and position and header.epoch_ns != position.epoch_ns)

    @property
    def _service(self) -> Epoch:
        return self._services[max(self._services)]

    def check(self) -> None:
        """The client's position is behind all that it handed over, and before all else."""
        self.ledger.see(self._client.position)
        position, place = self._client.position, self.ledger.place
        if position is None or place is None:
            assert position == place
        else:
            assert position.epoch_ns == place.epoch_ns
            self.ledger.come_to(position.seq)
        self._check_lag()

    def _check_lag(self) -> None:
        """The service does not put the reader further behind than it is."""
        place, service = self.ledger.place, self._service
        if self._stream and place and place.epoch_ns == service.epoch_ns:
            told = service.consumers().get(_name(self._stream))
            lag_blocks = told.lag_blocks if told else None
            assert lag_blocks is None or lag_blocks <= service.log.frames_from(place.seq)

    def think_before_asking(self, thoughts: list[Act]) -> None:
        """What happens between greeting and asking, in the next connections."""
        self._thoughts = thoughts

    async def connect(self) -> None:
        """Connect, and wait until the service has heard the client, or will not."""
        self.check()
        service, client, start = self._service, self._client, self._what_it_asks()
        was_full, turned_away = service.is_full, service.turned_away
        header = client.header
        self.ledger.connect()
        self._loop.receive_bytes = self._tastes.receive_bytes
        client.think = self._think if self._thoughts else None
        client.is_greeted_first = service.past is None
        client._port = service.port
        client._subscription._change(pause_s=0.0)
        await client._step()
        assert self._stream is not None, list(client._subscription.ready)
        await self._hear_out(self._stream)
        self.ledger.is_refused = service.turned_away > turned_away
        assert was_full or not self.ledger.is_refused
        self.ledger.ask(start, service, header)

    async def _hear_out(self, stream: trio.SocketStream) -> None:
        """Wait until the client is given its data, or the connection is closed instead."""
        while not self._service.has_begun(_name(stream)) and not _is_closed_by_peer(stream):
            await trio.lowlevel.checkpoint()

    def _what_it_asks(self) -> str | Position:
        if self._client._subscription.state.unheard >= ATTEMPTS_TO_RESUME:
            return "live"
        if self._client.header is None:
            return self._start
        place = self.ledger.place
        assert place is not None, "a header says where the stream stands"
        if self._tastes.resume and place.epoch_ns == self.ledger.over_ns:
            return Position(epoch_ns=place.epoch_ns + 1, seq=1)
        return place if self._tastes.resume else "live"

    async def _think(self, name: str) -> None:
        if (coming := self._thoughts.pop()()) is not None:
            await coming
        await wait_all_tasks_blocked()
        self.ledger.is_heard = not (self._service.has_begun(name) or self._service.log.closed)

    async def read(self, limit: int = tcp_client.READ_BYTES) -> None:
        """Take all that was read; then connect, or read once, so many bytes at the most."""
        await self.take()
        if not self.is_connected:
            await self.connect()
        elif not self.is_at_end:
            if not self.ledger.is_heard or self._is_uncertain:
                await self._loop.let_pass(2)  # it may have to be told by a heartbeat
            await self._read_once(limit)

    async def _read_once(self, limit: int = tcp_client.READ_BYTES) -> None:
        with mock.patch.object(tcp_trio, "READ_BYTES", limit):
            await self._client._step()
        self.ledger.see(self._client.position)

    async def take(self, count: int = 1_000_000) -> None:
        """Take so many records of those that were read, or all but so many."""
        ready = self._client._subscription.ready
        for _ in range(min(count, len(ready)) if count >= 0 else len(ready) + count):
            self.ledger.take(await anext(self._client))

    async def catch_up(self) -> None:
        """Read everything there is, unless there is no place."""
        while not self.is_at_end:
            await self.read()
            await self.take()
            if self.ledger.is_refused and not self.is_connected:
                return

    async def read_to_the_close(self) -> None:
        await self.take()
        while self.is_connected:
            await self._read_once()
            await self.take()

    async def leave(self) -> None:
        """Close the connection at once; another client is to go on at this one's position."""
        self.check()
        await self.close()
        self.ledger.forget_connection()
        self.ledger.over_ns = -1
        self._client = self._new_client()

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)

    def say_no_more(self) -> None:
        """Close the sending side, and read on."""
        if self._stream is not None:
            with suppress(OSError):  # it is broken already
                self._stream.socket.shutdown(socket.SHUT_WR)

    def break_off(self) -> None:
        """Have the connection break, without the client's doing."""
        if self._stream is not None:
            self.ledger.may_break = True
            with suppress(OSError):  # it is broken already
                self._stream.socket.shutdown(socket.SHUT_RDWR)


def _name(stream: trio.SocketStream) -> str:
    """What the service calls this end."""
    host, port = stream.socket.getsockname()
    return f"{host}:{port}"


def _is_closed_by_peer(stream: trio.SocketStream) -> bool:
    close_wait = b"\x08"
    return stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == close_wait
