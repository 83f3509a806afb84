"""The HTTP port of a bridge, for monitoring.

    /metrics   metrics for Prometheus
    /healthz   200 while the process answers at all
    /readyz    200 while every channel is passed on, or stands by; otherwise 503, and what is wrong
    /status    the figures, as JSON

Clients can change nothing and read no secrets.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import h11
import msgspec

MAX_CONNECTIONS: Final = 32
MAX_HEAD_BYTES: Final = 16 * 1024
REQUEST_S: Final = 10.0
"""Time limit for a request to arrive, and for its answer to be sent."""

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """Status and body of an answer."""

    status: int
    body: bytes
    content_type: str = TEXT


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
                answer = self._answer(event)
                head = h11.Response(
                    status_code=answer.status,
                    headers=[
                        ("content-type", answer.content_type),
                        ("content-length", str(len(answer.body))),
                        ("connection", "close"),
                    ],
                )
                body = b"" if event.method == b"HEAD" else answer.body
                for each in (head, h11.Data(data=body), h11.EndOfMessage()):
                    writer.write(connection.send(each) or b"")
                await writer.drain()
                return
            elif isinstance(event, h11.ConnectionClosed):
                return

    def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n")
        path = urlsplit(request.target.decode("ascii", "replace")).path
        route = self._routes.get(path)
        if route is None:
            known = " ".join(self._routes)
            return Answer(HTTPStatus.NOT_FOUND, f"nothing there: {known}\n".encode())
        return route()
