"""Clients for a channel that is kept in NATS JetStream. They need the package nats-py:
`pip install 'fanout[nats]'`.

    from fanout.clients.nats import NatsClient
    from fanout.protocol import Trade

    with NatsClient("nats://127.0.0.1:4222/binance") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

`AsyncioNatsClient` is the same with `async with` and `async for`, and `nats_trio` has it for trio.
Iterating gives the same records
as `fanout.clients.tcp`. A `Loss` gives the numbers of records that the stream does not have any
more. Between two epochs comes a `Restarted`.

`NatsClient` runs an event loop in a thread of its own, so the connection stays alive while the
program works on a record. Records are made in the program's own thread.
"""

import asyncio
import ssl
import threading
from collections.abc import Collection, Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack

from fanout.clients.client import (
    IDLE_TIMEOUT_S,
    AsyncClient,
    BlockingClient,
    Client,
    ClientOptions,
)
from fanout.clients.nats_client import (
    DEFAULT_PREFIX,
    END_OF_BLOCK,
    Foreign,
    Foreigners,
    Message,
    NatsAddress,
    Opened,
    Reading,
    parse_address,
    require_prefix,
)
from fanout.clients.nats_connection import (
    CLOSE_S,
    NatsConnection,
    NatsSettings,
    channels_at,
    require_package,
)
from fanout.clients.nats_durable import Durable, new_owner
from fanout.clients.nats_stream import NatsStream
from fanout.clients.nats_symbols import ReadingOfSymbols, tokens_of
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.clients.subscription import Mark
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.errors import MissingPackageError, PeerError
from fanout.protocol.request import Begin, Moment, Position, Request, Start, decode_request

__all__ = [
    "AddressError",
    "AsyncioNatsClient",
    "Disconnected",
    "DisconnectedError",
    "Foreign",
    "MissingPackageError",
    "Moment",
    "NatsClient",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "UnknownChannelError",
    "UnknownSymbolError",
    "channels",
]

T = TypeVar("T")


class NatsOptions(ClientOptions, total=False):
    """Options of every client of NATS. `NatsReader` describes them."""

    start: str | Position | Moment
    prefix: str
    durable: str | None
    creds: str | None
    tls: ssl.SSLContext | None


class ServerOptions(TypedDict, total=False):
    """Options of `channels`, which are as in `NatsReader`."""

    prefix: str
    creds: str | None
    tls: ssl.SSLContext | None
    idle_timeout_s: float


def _settings_of(
    address: NatsAddress,
    *,
    prefix: str = DEFAULT_PREFIX,
    creds: str | None = None,
    tls: ssl.SSLContext | None = None,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
) -> NatsSettings:
    """Raises `AddressError` for what cannot be asked for."""
    if tls is not None and not address.is_tls:
        raise AddressError(f"tls= is given, but {address.shown} is not nats+tls://HOST:PORT")
    return NatsSettings(
        address=address,
        prefix=require_prefix(prefix),
        creds=creds,
        tls=tls,
        idle_timeout_s=idle_timeout_s,
        servers=address.servers,
    )


async def channels(url: str, **options: Unpack[ServerOptions]) -> list[str]:
    """The channels that a server of NATS has streams of, in order of their names: as many readers
    of one durable name read all of them. `url` is as in `NatsReader`, without a channel. Raises
    `AddressError`, `MissingPackageError`, `DisconnectedError` or another `OSError`, and
    `UnknownChannelError` if there are no streams with this prefix.

    `NatsClient.channels` is the same without `await`, and `TrioNatsClient.channels` is for trio."""
    require_package()
    settings = _settings_of(parse_address(url), **options)
    connection = NatsConnection(settings)
    try:
        await connection.connect()
        return await channels_at(connection, settings)
    finally:
        await connection.close()


class Link:
    """A connection, from the moment on at which its place in the stream is found."""

    def __init__(
        self,
        settings: NatsSettings,
        durable: str | None,
        owner: str,
        tokens: Collection[str] = (),
    ) -> None:
        """`tokens` are as in `NatsStream`."""
        self._settings = settings
        self._tokens = tokens
        self._connection = NatsConnection(settings)
        self._durable = durable and Durable(self._connection, settings, durable)
        self._owner = owner
        self._stream: NatsStream
        self.channel = ""
        self.place: Position | None = None
        """Where the durable name stands, if this reader begins there."""
        self.is_open = False
        """Whether the client has begun to read."""
        self._rest: list[Message] = []
        """What was read, and is of another epoch than what was given last."""
        self._epoch_ns = 0
        """The epoch of the last message that was given."""

    async def open(self, channel: str, start: Begin, *, is_first: bool) -> Opened:
        """Connect, and go to the place. A durable reader's first connection goes to the place
        where its name stands. Raises `RefusedError`, `DisconnectedError` or `OSError`."""
        try:
            await self._connection.connect()
            if self._durable:
                channel, place = await self._durable.take(channel, self._owner)
                if is_first and place is not None:
                    self.place = start = place
            self.channel = channel
            self._stream = NatsStream(self._connection, self._settings, channel, self._tokens)
            return await self._stream.begin(start)
        except BaseException:
            await self.close()
            raise

    async def read(self, done: Position | None) -> list[Message]:
        """What comes next, up to the end of an epoch: so the client's header and position are of
        the epoch of the records that it hands over. `done` is the place behind everything that was
        handed over."""
        if self._durable:
            await self._durable.save(done)
        if not self._rest:
            self._rest = await self._stream.read()
        return self._within_epoch()

    def _within_epoch(self) -> list[Message]:
        messages, self._rest = self._rest, []
        for place, each in enumerate(messages):
            before, self._epoch_ns = self._epoch_ns, each.place[0] or self._epoch_ns
            if before not in (0, self._epoch_ns):
                self._rest = messages[place:]
                return [*messages[:place], END_OF_BLOCK]
        return messages

    @property
    def is_at_end(self) -> bool:
        """Whether the stream had no more messages than those that were given."""
        return self._stream.is_at_end and not self._rest

    async def close(self, done: Position | None = None) -> None:
        """Close the connection. `done` is as in `read`."""
        try:
            if self._durable:
                with suppress(OSError):
                    await self._durable.save(done, at_once=True)
                await self._durable.release()
        finally:
            await self._connection.close()


class NatsReader(Client):
    """The part of the clients that does no I/O."""

    def __init__(
        self,
        url: str,
        *,
        start: str | Position | Moment = "live",
        prefix: str = DEFAULT_PREFIX,
        durable: str | None = None,
        creds: str | None = None,
        tls: ssl.SSLContext | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`url` is `nats://HOST:PORT/CHANNEL`, or `nats+tls://HOST:PORT/CHANNEL` for TLS, with
        `USER:PASSWORD@` before the host if the server wants them. They are not shown anywhere. A
        cluster may have several, `HOST:PORT,HOST:PORT`. They are tried in turn, and the other
        servers that one of them has named.
        `prefix` is that of the stream's subjects, and `creds` a file of credentials. `tls` is for
        certificates that this machine does not trust by default.

        `start` is where to begin: `"live"`, `"oldest"` for all that the stream still has, a
        client's `position`, or a `Moment` for the first record at or after a time. An epoch that
        the stream does not have stands for the next one.

        With `symbols` the subjects of these symbols alone are read, if the stream has such.
        `nats_symbols` says what a `Loss` means then.

        Readers with the same `durable` name share work. Each of them reads one channel that no
        other one reads: that of the URL, or any if the URL names none. A reader waits while there
        is no such channel. So start at least as many readers as there are `channels`: with fewer
        of them, nobody reads the others. A reader begins where the name's last reader stopped, and
        `start` counts for the first one of all. What was handed over is stored about once a
        second, so after a crash some records may come again.

        Raises `AddressError` for another URL, and `MissingPackageError` without nats-py. If the
        server refuses this client, or has no such stream, the iteration raises `RefusedError`.
        `fanout.clients.client.Client` has the other parameters.
        """
        require_package()
        address = parse_address(url)
        if durable is not None:
            require_prefix(durable)
        elif not address.channel:
            raise AddressError(f"{address.shown} names no channel: nats://HOST:PORT/CHANNEL")
        begin = start if isinstance(start, Position | Moment) else Start(start)
        super().__init__(address.shown, request=Request(start=begin), **options)
        self._settings = _settings_of(
            address, prefix=prefix, creds=creds, tls=tls, idle_timeout_s=self._idle_timeout_s
        )
        self._durable = durable
        self._tokens = tokens_of(options.get("symbols", ()))
        """The symbols that are wanted, as they stand in subjects."""
        self._owner = new_owner()
        self._channel = address.channel
        self._link: Link | None = None
        self._reading: Reading | None = None
        self._foreigners = Foreigners()

    @property
    def foreign(self) -> tuple[Foreign, ...]:
        """Messages of the stream that were skipped, since they are not ours: by reason, with their
        number and the first one's place."""
        return tuple(self._foreigners)

    def _new_link(self) -> Link:
        """The next connection. It is stored at once, so that an interrupt leaves none behind."""
        self._link = Link(self._settings, self._durable, self._owner, self._tokens)
        return self._link

    def _opening(self, link: Link) -> Coroutine[Any, Any, Opened]:
        is_first = self._subscription.header is None
        start = decode_request(self._subscription.request()[LENGTH_BYTES:]).start
        return link.open(self._channel, start, is_first=is_first)

    def _opened(self, link: Link, opened: Opened) -> None:
        """Begin to read."""
        self._mark = None
        self._channel = link.channel
        link.is_open = True
        if link.place is not None:
            self._subscription.begin_at(link.place)
            self._subscription.request()
        self._reading = self._new_reading(opened)
        if opened.header is not None:
            self._reading.begin(opened)
        if link.is_at_end:
            self._reading.reach_end()

    def _new_reading(self, opened: Opened) -> Reading:
        before, place = self._reading, opened.place
        options: dict[str, Any] = {
            "epoch_ns": place.epoch_ns if place is not None else None,
            "due": place.seq if place is not None else opened.seq,
            "needs_snapshot": before is None or before.needs_snapshot,
        }
        if not self._tokens:
            return Reading(self._subscription, self._foreigners, **options)
        last = None if before is None or place is None else before.last_before(place)
        return ReadingOfSymbols(
            self._subscription, self._foreigners, tokens=self._tokens, last=last, **options
        )

    def _take(self, link: Link, messages: list[Message]) -> None:
        assert self._reading is not None, "the link was opened"
        self._mark = None
        for each in messages:
            self._reading.take(each)
        if link.is_at_end:
            self._reading.reach_end()

    def _lost(self, error: Exception) -> None:
        is_final = isinstance(error, RefusedError)
        if isinstance(error, UnknownChannelError):
            # A stream that was there may come again.
            is_final = self._subscription.header is None
        super()._lost(error)
        if is_final:
            while self._ready and isinstance(self._ready[-1], Disconnected):
                self._ready.pop()
            assert isinstance(error, RefusedError), "it was looked at"
            self._subscription.finish(error)

    def _undo(self, doubt: Mark) -> None:
        self._reading = None  # a snapshot may have been undone, too: take the next one
        super()._undo(doubt)

    def _has_connection(self) -> bool:
        return self._link is not None

    def _close_copy(self) -> None:
        # The sockets belong to a loop of the parent.
        self._link = None


class AsyncioNatsClient(NatsReader, AsyncClient):
    """A reader for asyncio. See `NatsReader` for parameters and errors."""

    channels = staticmethod(channels)

    def __init__(self, url: str, **options: Unpack[NatsOptions]) -> None:
        super().__init__(url, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the connection."""
        self._closing: set[asyncio.Task[None]] = set()
        """Connections that are being closed."""

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._link is None:
                await asyncio.sleep(self._pause_left_s(loop.time(), loop))
                self._begin()
                self._loop = loop
                link = self._new_link()
                self._opened(link, await self._opening(link))
            elif self._loop is not loop:
                raise DisconnectedError("the connection belongs to another event loop")
            else:
                self._begin()
                self._take(self._link, await self._link.read(self._subscription.position))
            self._settle()
        except asyncio.CancelledError:
            if self._link is not None and not self._link.is_open:
                self._drop()
            self._settle()  # a cancellation comes at an await, where nothing has been read
            raise
        except (OSError, PeerError) as error:
            self._lost(error)

    def _drop(self) -> None:
        self._leave(None)

    def _leave(self, done: Position | None) -> None:
        link, self._link = self._link, None
        loop = self._loop
        if link is not None and loop is not None and not loop.is_closed():
            closing = loop.create_task(link.close(done))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(self._subscription.position if exc is None else None)
        if self._closing and self._loop is asyncio.get_running_loop():
            await asyncio.wait(self._closing, timeout=CLOSE_S)


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="fanout-nats", daemon=True
        )
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run something there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def end(self) -> None:
        """Cancel what still runs there, and end the thread."""
        with suppress(TimeoutError):
            self.submit(_cancel_others()).result(CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class ThreadedReader(NatsReader):
    """The part of the clients whose connection lives in an event loop of its own."""

    def __init__(self, url: str, **options: Unpack[NatsOptions]) -> None:
        super().__init__(url, **options)
        self._loop: LoopThread | None = None
        self._waiting: Future[Any] | None = None
        """What this program waits for in the loop."""
        self._closings: set[Future[None]] = set()
        """Connections that are being closed."""

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run something in the loop."""
        if self._loop is None:
            self._loop = LoopThread()
        submitted = self._loop.submit(coroutine)
        self._waiting = submitted
        return submitted

    def _leave(self, done: Position | None, *, is_last: bool) -> None:
        """Close the connection, and after the last one end the thread. `done` is as in `Link`."""
        link, self._link = self._link, None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        if link is not None and self._loop is not None:
            closing = self._loop.submit(link.close(done))
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)
        if is_last:
            wait(self._closings, CLOSE_S)
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.end()

    def _close_copy(self) -> None:
        self._link = self._loop = self._waiting = None  # a fork has only the thread that forked
        self._closings = set()


class NatsClient(ThreadedReader, BlockingClient):
    """A blocking reader. See `NatsReader` for parameters and errors. `close` ends the iteration,
    also from another thread."""

    @staticmethod
    def channels(url: str, **options: Unpack[ServerOptions]) -> list[str]:
        """See `fanout.clients.nats.channels`."""
        loop = LoopThread()
        try:
            return loop.submit(channels(url, **options)).result()
        finally:
            loop.end()

    def _step(self) -> None:
        try:
            if self._link is None:
                if self._is_closed_within(self._subscription.state.pause_s):
                    return
                self._begin()
                link = self._new_link()
                self._opened(link, self._run(self._opening(link)))
            else:
                self._begin()
                reading = self._link.read(self._subscription.position)
                self._take(self._link, self._run(reading))
            self._settle()
        except CancelledError:  # by `close`
            self._drop()
            self._settle()
        except (OSError, PeerError) as error:
            self._lost(error)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for something in the loop. An exception here, such as an interrupt, cancels it."""
        waiting = self._submit(coroutine)
        try:
            if self._is_closed:
                waiting.cancel()
            found = waiting.result()
            if self._is_closed:  # it was done before it could be cancelled
                raise CancelledError
            return found
        finally:
            self._waiting = None
            waiting.cancel()

    def _lost(self, error: Exception) -> None:
        if self._is_closed:
            self._drop()
            self._settle()
        else:
            super()._lost(error)

    def _drop(self) -> None:
        self._leave(None, is_last=self._is_over)

    def close(self) -> None:
        # First: the other thread wakes by the cancellation, and must see why.
        self._is_closed = True
        waiting = self._waiting
        if waiting is not None:
            waiting.cancel()
        super().close()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self._is_closed = True
            self._leave(self._subscription.position, is_last=True)
        self.close()
