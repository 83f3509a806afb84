"""Targets of everything else that is said by strangers: WebSocket, HTTP, proxies; and of the file
that an operator writes."""

import logging
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import trio
import typer.main
from websockets.client import ClientProtocol
from websockets.utils import accept_key

from fanout.cli.app import app
from fanout.cli.config_file import read_config
from fanout.errors import VenueBusyError, VenueError
from fanout.http.server import HttpServer
from fanout.net.addresses import Proxy
from fanout.net.proxy import open_tcp
from fanout.net.websocket import MAX_MESSAGE_BYTES, WebSocket
from fanout.net.ws_frames import frame_bytes, take_texts
from fanout.stats import pieces
from fanout.stats.snapshots import FeedStats, LogStats, ProcessStats, ServiceStats
from fanout.transports import TRANSPORTS
from tests.fanout.net.test_ws_frames import URI, Script, heard, heard_by_the_core
from tests.fuzz.target import Pieces, run, run_on, slices
from tests.fuzz.venue import require_pause

ACCEPT: Final = b"{accept}"
"""In a handshake: what the client wants to see there."""


def websocket(data: bytes) -> None:
    """The messages behind a handshake are those that the protocol core finds, however they are
    cut."""
    expected = heard_by_the_core(data)
    messages, why = run(heard, Script(slices(data), in_one=False))
    assert messages == expected
    assert (messages, why) == run(heard, Script([data] if data else [], in_one=True))
    taken: list[bytes] = []
    at = take_texts(data, 0, taken)
    assert taken == expected[: len(taken)]
    size = frame_bytes(data, at)
    assert size is None or size >= 2


def handshake(data: bytes) -> None:
    """An answer to the opening handshake, and what follows."""
    protocol = ClientProtocol(URI, max_size=MAX_MESSAGE_BYTES)
    data = data.replace(ACCEPT, accept_key(protocol.key).encode())
    run(_open, WebSocket(Pieces(slices(data)), protocol))


async def _open(client: WebSocket) -> None:
    try:
        await client.open()
    except VenueBusyError as error:
        require_pause(error)
        raise
    try:
        while True:
            await client.receive()
    except VenueError:
        return  # it was open, and every connection ends


class _Quiet:
    """A monitor of a service that does nothing."""

    transports = ()
    sources = ()

    def feed_of(self, channel: str) -> None:
        return None

    def not_live(self, channel: str | None = None) -> list[str]:
        if channel is not None:
            raise KeyError(channel)
        return ["BTCUSDT is STALE"]

    def pieces(self) -> pieces.Pieces[ServiceStats]:
        yield
        return self.stats()

    def stats(self) -> ServiceStats:
        log = dict.fromkeys(LogStats.__struct_fields__, 0)
        process = dict.fromkeys(ProcessStats.__struct_fields__, 0)
        counts = dict.fromkeys(FeedStats.__struct_fields__, 0)
        feed = counts | {"state": "LIVE", "links": (), "instruments": (), "anomalies": {}}
        return ServiceStats(
            venue="",
            epoch_ns=0,
            uptime_s=0.0,
            is_ready=False,
            versions={},
            feed=FeedStats(**feed),
            log=LogStats(**log),
            transports=(),
            process=ProcessStats(**process),
        )


class _Alarm(logging.Handler):
    """Whatever is said with this level is a fault."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


def http(data: bytes) -> None:
    """Whatever is asked of the service's monitoring, it is answered in HTTP or not at all, and
    nothing goes wrong in it."""
    log, alarm = logging.getLogger("fanout"), _Alarm(level=logging.ERROR)
    log.addHandler(alarm)
    try:
        sent = run(_answers, Pieces(slices(data)))
    finally:
        log.removeHandler(alarm)
    assert not sent or sent.startswith(b"HTTP/1.1 ")


async def _answers(client: Any) -> bytes:
    server = HttpServer()
    server.show(_Quiet())  # type: ignore[arg-type]
    await server._serve(client)
    return bytes(client.sent)


def proxy(data: bytes) -> None:
    """What a proxy answers: one of HTTP, or of SOCKS if the first byte is odd."""
    run_on(None, _through, "socks5" if data[:1] and data[0] & 1 else "http", data[1:])


async def _through(scheme: str, data: bytes) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            # Of HTTP python-socks reads only what the first read brings.
            for each in slices(data) if scheme == "socks5" else [data]:
                await stream.send_all(each)
            await stream.send_eof()
            while await stream.receive_some():
                pass

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, answer, 0)
            port = listeners[0].socket.getsockname()[1]
            try:
                proxy = Proxy(scheme=scheme, host="127.0.0.1", port=port)
                stream = await open_tcp("venue", 443, proxy)
                await trio.aclose_forcefully(stream)
            finally:
                nursery.cancel_scope.cancel()


@cache
def _command() -> Any:
    return typer.main.get_command(app)


def config(data: bytes) -> None:
    """A configuration file."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".toml") as file:
        Path(file.name).write_bytes(data)
        read_config(file.name, _command(), frozenset(TRANSPORTS))
