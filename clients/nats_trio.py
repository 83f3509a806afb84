"""The client for trio: `fanout.clients.nats` with `await`.

async with TrioNatsClient("nats://127.0.0.1:4222/binance") as client:
    async for record in client:
        ...

nats-py needs asyncio, so the connection lives in a thread, as that of `NatsClient` does. Records
are made in trio's own thread.
"""

from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TypeVar, Unpack

import trio
from trio.lowlevel import current_trio_token

from fanout.clients.client import AsyncClient
from fanout.clients.nats import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Foreign,
    MissingPackageError,
    Moment,
    NatsClient,
    Position,
    Reconnect,
    RefusedError,
    Restarted,
    ServerOptions,
    ThreadedReader,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.protocol.errors import PeerError

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Foreign",
    "MissingPackageError",
    "Moment",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "TrioNatsClient",
    "UnknownChannelError",
    "UnknownSymbolError",
]

T = TypeVar("T")


class TrioNatsClient(ThreadedReader, AsyncClient):
    """A reader for trio. See `fanout.clients.nats.NatsReader` for parameters and errors. Leave its
    `async with`, which ends the thread."""

    @staticmethod
    async def channels(url: str, **options: Unpack[ServerOptions]) -> list[str]:
        """See `fanout.clients.nats.channels`. A cancellation leaves it to its thread."""
        ask = partial(NatsClient.channels, url, **options)
        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)

    async def _step(self) -> None:
        try:
            if self._link is None:
                await trio.sleep(self._pause_left_s(trio.current_time(), current_trio_token()))
                self._begin()
                link = self._new_link()
                self._opened(link, await result_of(self._submit(self._opening(link))))
                self._waiting = None
            else:
                self._begin()
                # One that a cancellation has left behind may have brought something.
                place = self._subscription.position
                waiting = self._waiting or self._submit(self._link.read(place))
                messages = await result_of(waiting)
                self._waiting = None
                self._take(self._link, messages)
            self._settle()
        except trio.Cancelled:
            if self._link is not None and not self._link.is_open:
                self._drop()
            self._settle()  # a cancellation comes at an await, where nothing has been read
            raise
        except (OSError, PeerError) as error:
            self._lost(error)

    def _drop(self) -> None:
        self._leave(None, is_last=False)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        done = self._subscription.position if exc is None else None
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(lambda: self._leave(done, is_last=True))


async def result_of(waiting: "Future[T]") -> T:
    """Wait for what runs in another thread, and leave it running if this is cancelled."""
    is_done, token = trio.Event(), current_trio_token()

    def wake(_: "Future[T]") -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(is_done.set)

    waiting.add_done_callback(wake)
    await is_done.wait()
    return waiting.result()
