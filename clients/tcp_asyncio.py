"""The client for asyncio: `clients.tcp` with `await`.

async with AsyncioTcpClient("tcp://127.0.0.1:9000") as client:
    async for record in client:
        ...
"""

import asyncio

from clients.client import IDLE_TIMEOUT_S, AsyncClient
from clients.subscription import AddressError, Disconnected, DisconnectedError
from clients.tcp_address import READ_BYTES, no_connection, parse_address, silence
from protocol.errors import PeerError

__all__ = ["AddressError", "AsyncioTcpClient", "Disconnected", "DisconnectedError"]

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncioTcpClient(AsyncClient):
    """A subscriber over TCP. `url` is `tcp://HOST:PORT`; anything else raises `AddressError`.

    See `clients.client.Client` for the other parameters and the errors.
    """

    def __init__(
        self, url: str, *, reconnect: bool = True, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(url, reconnect=reconnect, idle_timeout_s=idle_timeout_s)
        self._address = parse_address(url)
        self._streams: _Streams | None = None

    async def _step(self) -> None:
        try:
            if self._streams is None:
                await asyncio.sleep(self._subscription.pause_s)
                self._streams = await self._connect()
            self._subscription.receive(await self._read(self._streams[0]))
        except (OSError, PeerError) as error:
            await self._let_go()
            self._subscription.disconnected(error)

    async def _connect(self) -> _Streams:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await asyncio.open_connection(*self._address, limit=READ_BYTES)
        except TimeoutError as error:
            raise no_connection(self._idle_timeout_s) from error

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await reader.read(READ_BYTES)
        except TimeoutError as error:
            raise silence(self._idle_timeout_s) from error

    async def _let_go(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
