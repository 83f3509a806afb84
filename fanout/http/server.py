"""The service's answers about itself, for whoever watches it.

    /metrics   for Prometheus
    /healthz   200 while the process answers at all
    /readyz    200 while every symbol is live; else 503, and which are not
    /status    everything, as JSON: `fanout.stats.ServiceStats`

There is nothing to be changed from here, and nothing secret to be read. A few connections at once
are served, each for a short while; what goes wrong on one of them is its own affair.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
import msgspec
import trio

from fanout.anomalies import Anomalies
from fanout.http.metrics import Metrics
from fanout.http.request import next_request
from fanout.monitor import Monitor
from fanout.transports.base import open_listeners

MAX_CONNECTIONS: Final = 32
"""At once. One that comes beyond that is closed: it is no monitoring that has so many."""

MAX_HEAD_BYTES: Final = 16 * 1024

REQUEST_S: Final = 10.0
"""For a request to come, and for its answer to be taken."""

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """What is answered."""

    status: int
    body: bytes
    content_type: str = TEXT


class HttpServer:
    """Answers questions that a monitor knows about."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._renderer = Metrics(monitor)
        self._oddities = Anomalies(clock=trio.current_time)
        self._connections = 0
        self._routes: dict[str, Callable[[h11.Request], Answer]] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._status,
        }

    async def run(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer until cancelled. Says by `task_status` where, as a URL. Raises `BindError`."""
        listeners = await open_listeners(host, port)
        task_status.started(_url(listeners[0]))
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection, to its end. Whatever goes wrong in it, it is that connection's affair."""
        if self._connections >= MAX_CONNECTIONS:
            self._oddities.note("monitoring turned away", f"{MAX_CONNECTIONS} connections at once")
            return
        self._connections += 1
        try:
            await self._answer_all(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it is gone
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
                answer = Answer(error.error_status_hint, f"{error}\n".encode())
                with trio.move_on_after(REQUEST_S):
                    await stream.send_all(_rendered(connection, answer, closes=True))

    async def _exchange(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        """One question, one answer. Whether another pair may follow."""
        received: tuple[h11.Request, bytes] | None = None
        with trio.move_on_after(REQUEST_S):
            received = await next_request(connection, stream)
        if received is None:
            return False
        head, _ = received
        data = _rendered(connection, self._answer(head), head_only=head.method == b"HEAD")
        with trio.move_on_after(REQUEST_S) as patience:
            await stream.send_all(data)
        is_over = connection.our_state is h11.DONE and connection.their_state is h11.DONE
        return is_over and not patience.cancelled_caught

    def _answer(self, head: h11.Request) -> Answer:
        route = self._routes.get(head.target.decode("ascii", "replace").partition("?")[0])
        if route is None:
            there_is = ", ".join(self._routes)
            return Answer(HTTPStatus.NOT_FOUND, f"there is {there_is}\n".encode())
        if head.method not in (b"GET", b"HEAD"):
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n")
        return route(head)

    def _metrics(self, head: h11.Request) -> Answer:
        accepts = b",".join(value for name, value in head.headers if name == b"accept")
        content_type, body = self._renderer.render(accepts.decode("ascii", "replace"))
        return Answer(HTTPStatus.OK, body, content_type)

    def _health(self, head: h11.Request) -> Answer:
        return Answer(HTTPStatus.OK, b"ok\n")

    def _readiness(self, head: h11.Request) -> Answer:
        waiting = self._monitor.not_live()
        if not waiting:
            return Answer(HTTPStatus.OK, b"ready\n")
        lines = "".join(f"{symbol} is {state}\n" for symbol, state in waiting.items())
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, lines.encode())

    def _status(self, head: h11.Request) -> Answer:
        return Answer(HTTPStatus.OK, msgspec.json.encode(self._monitor.stats()) + b"\n", JSON)


def _rendered(
    connection: h11.Connection, answer: Answer, *, head_only: bool = False, closes: bool = False
) -> bytes:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
    ]
    if closes:
        headers.append(("Connection", "close"))
    status = HTTPStatus(answer.status)
    head = h11.Response(status_code=status, reason=status.phrase, headers=headers)
    events = (head, h11.Data(data=b"" if head_only else answer.body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
