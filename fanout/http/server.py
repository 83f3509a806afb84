"""The HTTP server for monitoring.

    /metrics   metrics for Prometheus
    /healthz   200 while the process answers at all
    /readyz    200 while every symbol of every channel is live; otherwise 503, and a list of those
               that are not. /readyz?channel=NAME covers one channel
    /status    everything, as JSON: `fanout.stats.snapshots.ServiceStats`

Clients can change nothing and read no secrets. Expensive answers are cached for a moment, so that
even many requests delay trades only a few times a second.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import inf
from typing import Final, TypeVar
from urllib.parse import parse_qs

import h11
import msgspec
import trio

from fanout.http.answer import JSON, Answer
from fanout.http.metrics import Metrics
from fanout.http.monitor import Monitor
from fanout.http.serving import MAX_CONNECTIONS, RouteServer
from fanout.net.descriptors import RESERVED_DESCRIPTORS
from fanout.stats.pieces import Pieces
from fanout.transports.tcp.acceptor import MAX_TURNED_AWAY

assert MAX_CONNECTIONS + MAX_TURNED_AWAY + 32 <= RESERVED_DESCRIPTORS, "the feed needs the rest"

KEPT_S: Final = 0.25
"""How long an answer is cached. With hundreds of symbols, making one blocks the event loop for a
few milliseconds."""

T = TypeVar("T")

_NOT_YET: Final = Answer(
    HTTPStatus.SERVICE_UNAVAILABLE, b"starting: the exchange has not answered yet\n"
)


class HttpServer(RouteServer):
    """The server. It answers `/healthz` from the start, and the rest once it has a monitor."""

    def __init__(self) -> None:
        self._monitor: Monitor | None = None
        self._renderer: Metrics | None = None
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._making: dict[str, trio.Lock] = {}
        super().__init__(
            {
                "/metrics": self._metrics,
                "/healthz": self._health,
                "/readyz": self._readiness,
                "/status": self._status,
            }
        )

    def show(self, monitor: Monitor) -> None:
        """Answer from this monitor from now on."""
        self._monitor, self._renderer = monitor, Metrics(monitor)

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
