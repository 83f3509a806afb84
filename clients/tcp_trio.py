"""The client for trio: `clients.tcp` with `await`.

    async with TrioTcpClient("tcp://127.0.0.1:9000") as client:
        async for record in client:
            ...

A cancellation loses no record: what was not handed over comes with the next `async for`.
"""

from types import TracebackType
from typing import Self

import trio

from clients.subscription import (
    IDLE_TIMEOUT_S,
    READ_BYTES,
    AddressError,
    Client,
    Disconnected,
    DisconnectedError,
)
from protocol.errors import PeerError
from protocol.records import Header, Record

__all__ = ["AddressError", "Disconnected", "DisconnectedError", "TrioTcpClient"]


class TrioTcpClient(Client):
    """A subscriber over TCP. See `clients.subscription.Client` for parameters and errors."""

    def __init__(
        self, url: str, *, reconnect: bool = True, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(url, reconnect=reconnect, idle_timeout_s=idle_timeout_s)
        self._stream: trio.SocketStream | None = None

    async def connect(self) -> Header:
        """Connect, if need be, and return once the header is there. Records are kept."""
        while (header := self.header) is None:
            await self._step()
            if self._subscription.is_over:
                raise self._subscription.failure or DisconnectedError("closed before a header")
        return header

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record | Disconnected:
        ready = self._subscription.ready
        while not ready:
            if self._subscription.is_over:
                raise self._subscription.failure or StopAsyncIteration
            await self._step()
        return ready.popleft()

    async def _step(self) -> None:
        """Connect, or read once."""
        try:
            if self._stream is None:
                await trio.sleep(self._subscription.pause_s)
                self._stream = await self._connect()
            self._subscription.receive(await self._read(self._stream))
        except (OSError, PeerError, trio.BrokenResourceError) as error:
            await self._disconnect()
            self._subscription.disconnected(error)

    async def _connect(self) -> trio.SocketStream:
        with trio.move_on_after(self._idle_timeout_s):
            return await trio.open_tcp_stream(*self._address)
        raise self._no_connection()

    async def _read(self, stream: trio.SocketStream) -> bytes:
        with trio.move_on_after(self._idle_timeout_s):
            return bytes(await stream.receive_some(READ_BYTES))
        raise self._silence()

    async def _disconnect(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._disconnect()
