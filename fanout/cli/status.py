"""`fanout status`: shows the state of a running service, read from its HTTP port."""

import http.client
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
import typer

from fanout.cli.outcome import emit, exit_codes, is_terminal
from fanout.cli.serve import ServeOptions
from fanout.errors import OperatorError, UsageError, shown
from fanout.net.addresses import authority, check_url
from fanout.protocol.errors import reason
from fanout.stats.snapshots import ServiceStats

TIMEOUT_S: Final = 5.0
"""Time limit for an answer. A healthy service answers in milliseconds."""

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Largest answer. Ten thousand consumers take two megabytes."""


class NoAnswerError(OperatorError):
    """No service answers at that address."""


def status(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Argument(
            help="http://HOST:PORT of the service; default: this machine, port of --http-port.",
            metavar="[URL]",
            envvar="FANOUT_STATUS_URL",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all counters, one JSON object a line.")
    ] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between updates with --watch.", min=0.1, max=3600)
    ] = 1.0,
    consumers: Annotated[
        int,
        typer.Option(help="Most consumers shown of each transport, the slowest first.", min=0),
    ] = 20,
    symbols: Annotated[
        int, typer.Option(help="Most symbols shown of each channel, the worst first.", min=0)
    ] = 20,
    show_all: Annotated[bool, typer.Option("--all", help="Show all symbols.")] = False,
) -> None:
    """Show the state of a running service: channels, symbols, consumers, connections, process.

    Start the service with --http-port.

    Example: fanout --http-port 9464 --assets BTCUSDT tcp, and: fanout status http://127.0.0.1:9464
    """
    with exit_codes():
        address = _address(context, url)
        if as_json:
            text: Callable[[ServiceStats], str] = _as_json
        else:
            from fanout.cli.status_view import Limits, rendered, watch_live

            limits = Limits(consumers=consumers, symbols=None if show_all else symbols)
            if watch and is_terminal(sys.stdout):
                watch_live(lambda: fetch(address), address, interval, limits)
            text = partial(rendered, limits=limits)
        while True:
            emit(text(fetch(address)))
            if not watch:
                return
            time.sleep(interval)


def _as_json(stats: ServiceStats) -> str:
    return msgspec.json.encode(stats).decode()


def fetch(url: str) -> ServiceStats:
    """Fetch the status of a service. Raises `NoAnswerError`."""
    code, body = fetch_status(url)
    try:
        return msgspec.json.decode(body, type=ServiceStats)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = f"HTTP {code} without the status of a fanout {_own_version()}"
        raise NoAnswerError(f"{url} answers {what}") from error


def fetch_status(url: str) -> tuple[int, bytes]:
    """Fetch what a process answers at /status: HTTP's code, and the body. Raises
    `NoAnswerError`."""
    parts = urlsplit(url)
    assert parts.hostname, "the URL was checked"
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        body = _read(answer)
    except OSError as error:
        why = f"{reason(error).lower()}: check that it runs with --http-port"
        raise NoAnswerError(f"no answer from {url}: {why}") from error
    except http.client.HTTPException as error:
        raise NoAnswerError(f"{url} does not speak HTTP: {shown(reason(error))}") from error
    finally:
        connection.close()
    return answer.status, body


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Read the body within the time limit. Raises `OSError`."""
    deadline_s = time.monotonic() + TIMEOUT_S
    body = bytearray()
    while (data := answer.read1(64 * 1024)) and len(body) <= MAX_BODY_BYTES:
        body += data
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"answer incomplete after {TIMEOUT_S:g} s")
    return bytes(body)


def _own_version() -> str:
    from fanout.versions import versions

    return versions()["fanout"]


def _address(context: typer.Context, url: str | None) -> str:
    if url is not None:
        url = url if "://" in url else f"http://{url}"
        check_url("status", url, ("http",))
        return url.rstrip("/")
    options: ServeOptions = context.obj
    host, port = options.said["http-host"], options.said["http-port"]
    if not port:
        raise UsageError("no URL given: fanout status http://HOST:PORT, with its --http-port")
    return f"http://{authority(host, port)}"
