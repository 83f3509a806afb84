"""The HTTP port of a bridge, for monitoring.

    /metrics   metrics for Prometheus
    /healthz   200 while the process answers at all
    /readyz    200 while every channel is passed on, or stands by; otherwise 503, and what is wrong
    /status    the figures, as JSON

Clients can change nothing and read no secrets.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import h11

from fanout.http.answer import Answer, path_of, refusal, rendered

MAX_CONNECTIONS: Final = 32
MAX_HEAD_BYTES: Final = 16 * 1024
REQUEST_S: Final = 10.0
"""Time limit for a request to arrive, and for its answer to be sent."""

Routes = dict[str, Callable[[], Answer]]
"""What answers each path."""


class HttpServer:
    """Answers questions with what `routes` give."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._connections = 0

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Raises `OSError`."""
        return await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD_BYTES)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_S):
                    await self._answer_all(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # the client has left, or is none
        finally:
            self._connections -= 1
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(4 * 1024))
            elif isinstance(event, h11.Request):
                answer, head_only = self._answer(event), event.method == b"HEAD"
                writer.write(rendered(connection, answer, head_only=head_only, closes=True))
                await writer.drain()
                return
            elif isinstance(event, h11.ConnectionClosed):
                return

    def _answer(self, request: h11.Request) -> Answer:
        return refusal(request, self._routes) or self._routes[path_of(request)]()
