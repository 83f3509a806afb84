"""The HTTP server for monitoring.

    /metrics   metrics for Prometheus
    /healthz   200 while the process answers at all
    /readyz    200 while every symbol of every channel is live; otherwise 503, and a list of those
               that are not. /readyz?channel=NAME covers one channel
    /status    everything, as JSON: `fanout.stats.snapshots.ServiceStats`

Clients can change nothing and read no secrets. The server accepts a few connections at once, each
for a short time. A fault on one does not affect the others. Expensive answers are cached for a
moment, so that even many requests delay trades only a few times a second.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import inf
from typing import Final, TypeVar
from urllib.parse import parse_qs

import h11
import msgspec
import trio

from fanout.http.answer import JSON, Answer, path_of, refusal, rendered
from fanout.http.metrics import Metrics
from fanout.http.monitor import Monitor
from fanout.http.request import next_request
from fanout.net.descriptors import RESERVED_DESCRIPTORS
from fanout.net.listeners import authority_of, open_listeners
from fanout.stats.anomalies import Anomalies
from fanout.stats.pieces import Pieces
from fanout.transports.tcp.acceptor import MAX_TURNED_AWAY

MAX_CONNECTIONS: Final = 32
"""Most connections at once. The server closes further ones; monitoring needs only a few."""

assert MAX_CONNECTIONS + MAX_TURNED_AWAY + 32 <= RESERVED_DESCRIPTORS, "the feed needs the rest"

MAX_HEAD_BYTES: Final = 16 * 1024

KEPT_S: Final = 0.25
"""How long an answer is cached. With hundreds of symbols, making one blocks the event loop for a
few milliseconds."""

REQUEST_S: Final = 10.0
"""Time limit for a request to arrive, and for its answer to be sent."""

LINGER_S: Final = 1.0
"""Time for the client to read the error before the connection closes."""

T = TypeVar("T")

_NOT_YET: Final = Answer(
    HTTPStatus.SERVICE_UNAVAILABLE, b"starting: the exchange has not answered yet\n"
)


class HttpServer:
    """The server. It answers `/healthz` from the start, and the rest once it has a monitor."""

    def __init__(self) -> None:
        self._monitor: Monitor | None = None
        self._renderer: Metrics | None = None
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._oddities = Anomalies(clock=trio.current_time)
        self._connections = 0
        self._making: dict[str, trio.Lock] = {}
        self._routes: dict[str, Callable[[h11.Request], Awaitable[Answer]]] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._status,
        }

    def show(self, monitor: Monitor) -> None:
        """Answer from this monitor from now on."""
        self._monitor, self._renderer = monitor, Metrics(monitor)

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

    async def _metrics(self, head: h11.Request) -> Answer:
        monitor, renderer = self._monitor, self._renderer
        if monitor is None or renderer is None:
            return _NOT_YET
        accepts = b",".join(value for name, value in head.headers if name == b"accept")
        is_open = b"application/openmetrics-text" in accepts

        async def render() -> Answer:
            body: list[str] = []
            stats = await _unhurried(monitor.pieces())
            for piece in renderer.render(stats, is_open=is_open):
                body.append(piece)
                await trio.lowlevel.checkpoint()  # lets trades through
            content_type = renderer.content_type(is_open=is_open)
            return Answer(HTTPStatus.OK, "".join(body).encode(), content_type)

        return await self._kept_or(f"metrics, open {is_open}", render)

    async def _kept_or(self, name: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The cached answer, or a new one. Concurrent requests wait for the first."""
        async with self._making.setdefault(name, trio.Lock()):
            made_s, answer = self._kept.get(name, (-inf, _NOT_YET))
            if trio.current_time() - made_s > KEPT_S:
                answer = await make()
                self._kept[name] = (trio.current_time(), answer)
            return answer

    async def _health(self, head: h11.Request) -> Answer:
        return Answer(HTTPStatus.OK, b"ok\n")

    async def _readiness(self, head: h11.Request) -> Answer:
        if self._monitor is None:
            return _NOT_YET
        asked = parse_qs(head.target.decode("ascii", "replace").partition("?")[2])
        (channel,) = asked.get("channel", [None])[:1]
        try:
            waiting = self._monitor.not_live(channel)
        except KeyError:
            known = ", ".join(each.name for each in self._monitor.sources)
            return Answer(HTTPStatus.NOT_FOUND, f"unknown channel; known: {known}\n".encode())
        if not waiting:
            return Answer(HTTPStatus.OK, b"ready\n")
        lines = "".join(f"{line}\n" for line in waiting)
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, lines.encode())

    async def _status(self, head: h11.Request) -> Answer:
        monitor = self._monitor
        if monitor is None:
            return _NOT_YET

        async def encode() -> Answer:
            stats = await _unhurried(monitor.pieces())
            return Answer(HTTPStatus.OK, msgspec.json.encode(stats) + b"\n", JSON)

        return await self._kept_or("status", encode)


async def _unhurried(pieces: Pieces[T]) -> T:
    """What is made in pieces, with trades first between two of them."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            whole: T = end.value
            return whole
        await trio.lowlevel.checkpoint()
