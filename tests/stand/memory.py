"""A server on streams in memory. Nothing in it waits for the kernel, so that a virtual clock may
jump whenever all tasks wait."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

Serve = Callable[[trio.abc.HalfCloseableStream], Awaitable[object]]


class MemoryServer:
    """Serves every client that connects, each in a task of its own."""

    def __init__(self, nursery: trio.Nursery, serve: Serve, *, lockstep: bool = False) -> None:
        """`lockstep`: a send waits until the other end has taken everything."""
        self.ended_s: float | None = None
        """When a client was last let go; None if none was."""
        self._nursery = nursery
        self._serve_client = serve
        self._pair = lockstep_stream_pair if lockstep else memory_stream_pair

    def connect(self) -> trio.abc.HalfCloseableStream:
        client, server = self._pair()
        self._nursery.start_soon(self._run, server)
        return client

    async def _run(self, server: trio.abc.HalfCloseableStream) -> None:
        await self._serve_client(server)
        self.ended_s = trio.current_time()
        await trio.aclose_forcefully(server)
