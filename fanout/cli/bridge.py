"""`fanout bridge`: pass channels on to another engine."""

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from msgspec.structs import replace

from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import exit_codes, say
from fanout.cli.source import Source
from fanout.cli.source_options import GroupB, Interface, Recovery, TokenFile
from fanout.config.duration import parse_duration
from fanout.config.size import parse_size
from fanout.errors import UsageError
from fanout.net.addresses import check_port
from fanout.protocol.request import Begin, Position

if TYPE_CHECKING:
    from fanout.bridge.nats.run import Bridged
    from fanout.clients.client import AsyncClient

bridge = typer.Typer(
    name="bridge",
    help="Pass channels on to another engine: nats.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@bridge.command("nats")
def bridge_nats(
    addresses: Annotated[
        list[str],
        typer.Argument(
            help="tcp://HOST:PORT, tls://HOST:PORT, ring://NAME, shm://NAME, "
            "multicast://GROUP:PORT or journal://DIR, with /CHANNEL for another channel than the "
            "first. Several of them for several channels.",
            metavar="ADDRESS...",
        ),
    ],
    url: Annotated[
        str,
        typer.Option(
            help="nats://HOST:4222 or nats+tls://HOST:4222; of a cluster several, comma-separated. "
            "A user and a password are better set in the variable.",
            envvar="FANOUT_NATS_URL",
            metavar="URL",
        ),
    ] = "nats://127.0.0.1:4222",
    creds: Annotated[
        str | None,
        typer.Option(
            help="File with the credentials of a NATS account.",
            envvar="FANOUT_CREDS",
            metavar="FILE",
        ),
    ] = None,
    tls_ca: Annotated[
        str | None,
        typer.Option(
            help="Certificates of the NATS server to trust (PEM), instead of the system's.",
            envvar="FANOUT_NATS_TLS_CA",
            metavar="FILE",
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Streams are named PREFIX-CHANNEL, subjects PREFIX.CHANNEL.*")
    ] = "fanout",
    replicas: Annotated[int, typer.Option(help="Servers of a cluster that keep each stream.")] = 1,
    max_age: Annotated[str, typer.Option(help="How long a stream keeps records.")] = "24h",
    max_bytes: Annotated[str, typer.Option(help="Most that a stream keeps.")] = "10GiB",
    by_symbol: Annotated[
        bool,
        typer.Option("--by-symbol", help="Subjects for each symbol: PREFIX.CHANNEL.records.SYMBOL"),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Change a stream that has other settings than these.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            help="Where to begin if the stream has no records: live (the default), oldest (that "
            "of a journal), EPOCH_NS:SEQ, or a time.",
        ),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(help="Answer /healthz, /readyz, /metrics and /status on this port."),
    ] = None,
    http_host: Annotated[str, typer.Option(help="Address to answer on.")] = "127.0.0.1",
    token_file: TokenFile = None,
    service_tls_ca: Annotated[
        str | None,
        typer.Option(
            help="Certificates of the service to trust for tls:// (PEM).",
            envvar="FANOUT_TLS_CA",
            metavar="FILE",
        ),
    ] = None,
    recovery: Recovery = None,
    group_b: GroupB = None,
    interface: Interface = "",
) -> None:
    """Keep channels in streams of NATS JetStream: each record once, in order.

    Example: fanout bridge nats tcp://127.0.0.1:9000 --url nats://127.0.0.1:4222

    It goes on behind the last record of the stream, whatever happened before, from
    the service's log or journal. What the service no longer has is told in the
    stream as lost. A second bridge with the same channels stands by, and takes
    over within seconds.
    """
    with exit_codes():
        from fanout.bridge.nats.options import NatsOptions

        options = NatsOptions(
            url=url,
            creds=creds,
            tls_ca=tls_ca,
            prefix=prefix,
            replicas=replicas,
            max_age_s=_option("--max-age", parse_duration, max_age),
            max_bytes=_option("--max-bytes", parse_size, max_bytes),
            by_symbol=by_symbol,
            apply=apply,
        )
        fault = options.fault()
        if fault:
            raise UsageError(fault)
        if http_port is not None:
            check_port(http_port)
        if len(set(addresses)) < len(addresses):
            raise UsageError("an address is named twice")
        sources = [
            _bridged(
                Source(
                    address=each,
                    start=start,
                    token_file=token_file,
                    tls_ca=service_tls_ca if each.startswith("tls://") else None,
                    recovery=recovery,
                    group_b=group_b,
                    interface=interface,
                )
            )
            for each in addresses
        ]
        log_to_stderr()
        number = asyncio.run(_run(options, sources, http_host, http_port))
        if number is not None:
            raise typer.Exit(128 + number)


def _option(name: str, parse: Callable[[str], int], text: str) -> int:
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def _bridged(source: Source) -> "Bridged":
    """A source of one channel. Raises `FanoutError` for an address that cannot be."""
    from fanout.bridge.nats.clients import (
        JournalRelay,
        MulticastRelay,
        RingRelay,
        ShmRelay,
        TcpRelay,
    )
    from fanout.bridge.nats.run import Bridged

    def open_client(begin: Begin | None) -> "AsyncClient":
        asked = source
        if isinstance(begin, Position) and _has_places(source):
            asked = replace(source, start=f"{begin.epoch_ns}:{begin.seq}")
        return asked.client(
            TcpRelay, ShmRelay, RingRelay, MulticastRelay, JournalRelay, _no_nats, follow=True
        )

    open_client(None)
    return Bridged(source.address, open_client)


def _no_nats(*_: object, **__: object) -> NoReturn:
    """Refuses an address of NATS, which may have a password."""
    raise UsageError("a bridge reads a service or a journal: a server of NATS can mirror a stream")


def _has_places(source: Source) -> bool:
    """Whether a client can ask for a place. A queue is read from where it was left, and a group
    from now on."""
    if source.address.startswith("multicast://"):
        return source.recovery is not None
    return not source.address.startswith("shm://")


async def _run(
    options: Any, sources: list["Bridged"], http_host: str, http_port: int | None
) -> int | None:
    """Run until a signal. Returns its number."""
    from fanout.bridge.nats.run import run_bridge

    received: list[int] = []
    http = None if http_port is None else (http_host, http_port)
    work = asyncio.ensure_future(run_bridge(options, sources, http, say))

    def end(number: int) -> None:
        received.append(number)
        work.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        await work
    except asyncio.CancelledError:
        if not received:
            raise
    return received[0] if received else None
