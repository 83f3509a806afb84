"""The client for trio: `clients.tcp` with `await`.

async with TrioTcpClient("tcp://127.0.0.1:9000") as client:
    async for record in client:
        ...
"""

import trio

from clients.client import IDLE_TIMEOUT_S, AsyncClient
from clients.subscription import AddressError, Disconnected, DisconnectedError
from clients.tcp_address import READ_BYTES, no_connection, parse_address, silence
from protocol.errors import PeerError

__all__ = ["AddressError", "Disconnected", "DisconnectedError", "TrioTcpClient"]


class TrioTcpClient(AsyncClient):
    """A subscriber over TCP. `url` is `tcp://HOST:PORT`; anything else raises `AddressError`.

    See `clients.client.Client` for the other parameters and the errors.
    """

    def __init__(
        self, url: str, *, reconnect: bool = True, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        super().__init__(url, reconnect=reconnect, idle_timeout_s=idle_timeout_s)
        self._address = parse_address(url)
        self._stream: trio.SocketStream | None = None

    async def _step(self) -> None:
        try:
            if self._stream is None:
                await trio.sleep(self._subscription.pause_s)
                self._stream = await self._connect()
            self._subscription.receive(await self._read(self._stream))
        except (OSError, PeerError, trio.BrokenResourceError) as error:
            await self._let_go()
            self._subscription.disconnected(error)

    async def _connect(self) -> trio.SocketStream:
        with trio.move_on_after(self._idle_timeout_s):
            return await trio.open_tcp_stream(*self._address)
        raise no_connection(self._idle_timeout_s)

    async def _read(self, stream: trio.SocketStream) -> bytes:
        with trio.move_on_after(self._idle_timeout_s):
            return bytes(await stream.receive_some(READ_BYTES))
        raise silence(self._idle_timeout_s)

    async def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)
