"""`fanout analytics run`: features of one or several streams, as rows."""

from enum import StrEnum
from typing import Annotated

import typer

from fanout.cli.outcome import exit_codes
from fanout.cli.run_options import Cpu, Follow, HttpHost, HttpPort
from fanout.cli.source import Source
from fanout.cli.source_options import takes_source
from fanout.errors import UsageError


class RowFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    NONE = "none"


@takes_source()
def run(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            help="tcp://HOST:PORT, tls://HOST:PORT, shm://NAME, ring://NAME, "
            "multicast://GROUP:PORT, journal://DIR or nats://HOST:PORT/CHANNEL, several at once. "
            "They take the place of the inputs of --config.",
            metavar="ADDRESS",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="File with symbols, features, signals, inputs and outputs: TOML, or the JSON of "
            "docs/analytics.md.",
            envvar="CONSUMER_CONFIG",
            metavar="FILE",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            help="Rows at each multiple of that time, such as 100ms. \\[default: for every update]",
            metavar="DURATION",
            show_default=False,
        ),
    ] = None,
    microprice: Annotated[
        list[str] | None,
        typer.Option(
            help="File of a fit for the column stoikov_microprice; repeated for several symbols.",
            metavar="FILE",
        ),
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            help="How long a record waits for older ones of other inputs. \\[default: 50ms]",
            metavar="DURATION",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        RowFormat | None,
        typer.Option("--format", help="On stdout. \\[default: jsonl]", show_default=False),
    ] = None,
    parquet: Annotated[
        str | None, typer.Option(help="Write rows to this file, too.", metavar="FILE")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --parquet if it exists.")
    ] = False,
    tcp_port: Annotated[
        int | None,
        typer.Option(help="Serve rows there, as a channel; 0 takes a free port.", min=0, max=65535),
    ] = None,
    tcp_host: Annotated[
        str | None,
        typer.Option(help="Address to serve them on. \\[default: 127.0.0.1]", show_default=False),
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option(
            help="Publish rows to this server of NATS, as JSON: nats://HOST:4222. A user and a "
            "password are better set in the variable.",
            envvar="FANOUT_ANALYTICS_NATS_URL",
            metavar="URL",
        ),
    ] = None,
    nats_subject: Annotated[
        str | None,
        typer.Option(
            help="Subjects are SUBJECT.VENUE.SYMBOL. \\[default: fanout.features]",
            metavar="SUBJECT",
            show_default=False,
        ),
    ] = None,
    nats_creds: Annotated[
        str | None,
        typer.Option(help="File with the credentials for --nats.", metavar="FILE"),
    ] = None,
    nats_tls_ca: Annotated[
        str | None,
        typer.Option(
            help="Certificates to trust for a --nats of nats+tls:// (PEM).", metavar="FILE"
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="End after that many rows.", min=1)] = None,
    follow: Follow = True,
    http_port: HttpPort = None,
    http_host: HttpHost = None,
    cpu: Cpu = None,
    *,
    source: Source,
) -> None:
    """Compute features of order books and trades, and write them as rows.

    Example: fanout analytics run tcp://127.0.0.1:9000
    Example: fanout analytics run tcp://10.0.0.5:9000 tcp://10.0.0.6:9000 --every 100ms --format csv
    Example: fanout analytics run journal:///data/journal --no-follow --parquet features.parquet

    Several inputs are merged by the time at which the services received their
    records. Times in rows come from the records, so a journal gives the same rows
    as the live stream did. A value that is not there has a reason.

    docs/analytics.md has the columns, the file of --config with its signals, and
    the outputs.
    Ctrl-C and SIGTERM complete the file of --parquet.
    """
    with exit_codes():
        from fanout.cli.analysing.wishes import (
            Wishes,
            combined,
            pin,
            read_consumer,
            sources_of,
            symbols_in,
        )

        wishes = Wishes(
            addresses=tuple(addresses or ()),
            microprices=tuple(microprice or ()),
            every=every,
            wait=wait,
            outputs={
                "format": None if output is None else output.value,
                "parquet": parquet,
                "tcp_port": tcp_port,
                "tcp_host": tcp_host,
                "nats": nats,
                "nats_subject": nats_subject,
            },
            processing={"cpu": cpu, "http_port": http_port, "http_host": http_host},
        )
        consumer = combined(read_consumer(config), wishes)
        sources = sources_of(consumer, source)
        if not follow and not any(each.is_journal for each in sources):
            raise UsageError("--no-follow is for a journal: a service has no end")
        pin(consumer.processing.cpu, config if cpu is None else None)
        import trio

        from fanout.cli.analysing.consume import Consuming, RunOptions

        options = RunOptions(
            symbols=symbols_in(source.symbols),
            follow=follow,
            force=force,
            limit=limit,
            nats_creds=nats_creds,
            nats_tls_ca=nats_tls_ca,
        )
        consuming = Consuming(consumer, sources, options)
        trio.run(consuming.run)
        if consuming.signals:
            raise typer.Exit(128 + consuming.signals[0])
