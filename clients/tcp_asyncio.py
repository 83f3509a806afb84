"""The client for asyncio: `clients.tcp` with `await`.

    async with AsyncioTcpClient("tcp://127.0.0.1:9000") as client:
        async for record in client:
            ...

A cancellation loses no record: what was not handed over comes with the next `async for`.
"""

import asyncio
from types import TracebackType
from typing import Self

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

__all__ = ["AddressError", "AsyncioTcpClient", "Disconnected", "DisconnectedError"]


class AsyncioTcpClient(Client):
    """A subscriber over TCP. See `clients.subscription.Client` for parameters and errors."""

    def __init__(
        self, url: str, *, reconnect: bool = True, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(url, reconnect=reconnect, idle_timeout_s=idle_timeout_s)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

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
            if self._streams is None:
                await asyncio.sleep(self._subscription.pause_s)
                self._streams = await self._connect()
            self._subscription.receive(await self._read(self._streams[0]))
        except (OSError, PeerError) as error:
            self._disconnect()
            self._subscription.disconnected(error)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await asyncio.open_connection(*self._address, limit=READ_BYTES)
        except TimeoutError as error:
            raise self._no_connection() from error

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await reader.read(READ_BYTES)
        except TimeoutError as error:
            raise self._silence() from error

    def _disconnect(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._disconnect()
