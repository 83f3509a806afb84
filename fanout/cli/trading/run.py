"""`fanout paper run`: trade on paper, live or from a journal."""

import os
from enum import StrEnum
from typing import Annotated

import typer
from msgspec.structs import replace

from fanout.cli.outcome import exit_codes
from fanout.cli.run_options import Cpu, Follow, HttpHost, HttpPort
from fanout.cli.source import Source
from fanout.cli.source_options import takes_source
from fanout.errors import UsageError


class ReportFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


@takes_source(without=("symbols", "market_only"))
def run(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            help="tcp://HOST:PORT, tls://HOST:PORT, shm://NAME, ring://NAME, "
            "multicast://GROUP:PORT, journal://DIR or nats://HOST:PORT/CHANNEL, several at once.",
            metavar="ADDRESS",
        ),
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            help="File with symbols, exchange, strategy and limits: TOML.", metavar="FILE"
        ),
    ] = "paper.toml",
    history: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Trade on that journal first, to its end: journal://DIR. With ADDRESS, the run "
            "then goes on live with the next record.",
            metavar="JOURNAL",
        ),
    ] = None,
    journal: Annotated[
        str | None,
        typer.Option(
            help="Directory for the journal of the run. \\[default: paper]",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        ReportFormat, typer.Option("--format", help="On stdout: text, or json.")
    ] = ReportFormat.TEXT,
    follow: Follow = True,
    http_port: HttpPort = None,
    http_host: HttpHost = None,
    cpu: Cpu = None,
    *,
    source: Source,
) -> None:
    """Trade on paper: a strategy, limits and a kill switch. No order leaves this machine.

    Example: fanout paper run --config paper.toml tcp://127.0.0.1:9000
    Example: fanout paper run --config paper.toml --from journal:///data/journal
    Example: fanout paper run --from journal:///data/journal tcp://127.0.0.1:9000

    Orders, fills, quotes and decisions go to a journal of the run's own. Started
    again in the same directory, the run goes on with its positions, orders and
    limits. SIGUSR1 and fanout paper kill pull the kill switch.

    The channels need trades and books. docs/trading.md describes the file.
    """
    with exit_codes():
        from fanout.cli.analysing.wishes import pin
        from fanout.cli.trading.files import locked
        from fanout.cli.trading.wishes import chosen_level, combined, inputs_of, read_paper

        paper = combined(
            read_paper(config, os.environ),
            {"journal": journal, "http_port": http_port, "http_host": http_host, "cpu": cpu},
        )
        source = replace(source, symbols=list(paper.symbols))
        inputs = inputs_of(source, addresses or (), history, follow=follow)
        if not follow and not any(each.source.is_journal for each in inputs):
            raise UsageError("--no-follow is for a journal: a service has no end")
        chosen_level(paper.system.log_level)
        pin(paper.system.cpu, config if cpu is None else None)
        import trio

        from fanout.cli.trading.running import Trading

        with locked(paper.system.journal, paper.system.kept) as files:
            trading = Trading(paper, inputs, files, as_json=output is ReportFormat.JSON)
            trio.run(trading.run)
        if trading.signals:
            raise typer.Exit(128 + trading.signals[0])
