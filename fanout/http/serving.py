"""A small HTTP server for questions about a process, without any of the answers.

It accepts a few connections at once, each for a short time. A fault on one does not affect the
others. What answers each path is the business of the class that derives from it: the service's in
`fanout.http.server`, a consumer's in `fanout.cli.analysing.monitor`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import h11
import trio

from fanout.http.answer import Answer, path_of, refusal, rendered
from fanout.http.request import next_request
from fanout.net.listeners import authority_of, open_listeners
from fanout.stats.anomalies import Anomalies

MAX_CONNECTIONS: Final = 32
"""Most connections at once. The server closes further ones; monitoring needs only a few."""

MAX_HEAD_BYTES: Final = 16 * 1024

REQUEST_S: Final = 10.0
"""Time limit for a request to arrive, and for its answer to be sent."""

LINGER_S: Final = 1.0
"""Time for the client to read the error before the connection closes."""

Routes = Mapping[str, Callable[[h11.Request], Awaitable[Answer]]]
"""What answers each path."""


class RouteServer:
    """A server of some paths."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._oddities = Anomalies(clock=trio.current_time)
        self._connections = 0

    async def run(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled. `task_status` gets the URL. Raises `BindError`."""
        listeners = await open_listeners(host, port, flag="--http-port")
        task_status.started(f"http://{authority_of(listeners[0])}")
        await self.serve(listeners)

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Serve on these until cancelled."""
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection. Its errors are counted and do not leave this method."""
        if self._connections >= MAX_CONNECTIONS:
            self._oddities.note("monitoring turned away", f"{MAX_CONNECTIONS} connections at once")
            return
        self._connections += 1
        try:
            await self._answer_all(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has left
        except Exception as error:
            self._oddities.note("monitoring failed", repr(error), level=logging.ERROR)
        finally:
            self._connections -= 1

    async def _answer_all(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        try:
            while await self._exchange(connection, stream):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                # A request that breaks off in its body may be a HEAD, whose answer has no body.
                words = f"{error}\n" if connection.our_state is h11.IDLE else ""
                answer = Answer(error.error_status_hint, words.encode())
                with trio.move_on_after(LINGER_S):
                    await stream.send_all(rendered(connection, answer, closes=True))
                    await stream.send_eof()
                    # Closing with unread input would reset the connection and lose the answer.
                    while await stream.receive_some():
                        pass

    async def _exchange(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        """Answer one request. Returns whether another may follow."""
        received: tuple[h11.Request, bytes] | None = None
        with trio.move_on_after(REQUEST_S):
            received = await next_request(connection, stream)
        if received is None:
            return False
        head, _ = received
        answer = await self._answer(head)
        data = rendered(connection, answer, head_only=head.method == b"HEAD")
        with trio.move_on_after(REQUEST_S) as patience:
            await stream.send_all(data)
        is_over = connection.our_state is h11.DONE and connection.their_state is h11.DONE
        return is_over and not patience.cancelled_caught

    async def _answer(self, head: h11.Request) -> Answer:
        refused = refusal(head, self._routes)
        if refused is not None:
            return refused
        try:
            return await self._routes[path_of(head)](head)
        except Exception as error:
            self._oddities.note("monitoring failed", repr(error), level=logging.ERROR)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error: see the log\n")
