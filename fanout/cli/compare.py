"""`fanout compare`: two streams of the same instruments, matched one to one."""

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from msgspec.structs import replace

from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import emit, exit_codes
from fanout.cli.serve import ServeOptions
from fanout.cli.source import Source
from fanout.cli.source_options import takes_source
from fanout.config.duration import parse_duration

if TYPE_CHECKING:
    from fanout.compare import Clock, Report

DIFFERENT: Final = 3
"""Exit code of streams that differ."""

NOTHING: Final = 4
"""Exit code of streams that have no time in common."""

_ADDRESS: Final = (
    "An address as tail takes it: tcp://, tls://, shm://, ring://, multicast://, journal://, "
    "nats://; rings://DIR, rings of consolidate; or venue://NAME, the exchange itself."
)


class Match(StrEnum):
    ID = "id"
    CONTENT = "content"


@takes_source(without=("symbols", "start"))
def compare(
    context: typer.Context,
    a: Annotated[str, typer.Argument(help=_ADDRESS, metavar="A", show_default=False)],
    b: Annotated[
        str, typer.Argument(help="The same of the other stream.", metavar="B", show_default=False)
    ],
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbols",
            "--symbol",
            help="Only these, comma-separated or repeated.",
            metavar="SYMBOL,...",
        ),
    ] = None,
    duration: Annotated[
        str,
        typer.Option(
            "--for",
            help="End after that time: 10m. \\[default: with what is on disk, or by Ctrl-C]",
            metavar="DURATION",
            show_default=False,
        ),
    ] = "",
    within: Annotated[
        str,
        typer.Option(help="The longest that one may be later than the other.", metavar="DURATION"),
    ] = "60s",
    out: Annotated[
        Path | None,
        typer.Option(help="Write CSV for each symbol, and summaries.", metavar="DIR"),
    ] = None,
    match: Annotated[
        Match,
        typer.Option(help="By trade id, or, where ids differ, by time, price, quantity and side."),
    ] = Match.ID,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object, for programs, instead of a table.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            help="Where both begin, as for tail. \\[default: live; of two on disk, oldest]",
            show_default=False,
        ),
    ] = None,
    *,
    source: Source,
) -> None:
    """Compare two streams of the same instruments, trade by trade.

    Trades are matched one to one by their ids, quotes and order books at equal
    update ids. Only the time that both streams saw counts. Trades that a stream
    reported as lost are shown apart, and are no difference.

    Example: fanout compare tcp://127.0.0.1:9000 journal:///data/journal --for 10m
    Example: fanout compare tcp://10.0.0.5:9000 venue://binance --for 1h --out report
    Example: fanout compare journal://one journal://other

    venue://NAME takes the options in front of the command: --ws-url, --rest-url,
    --proxy, --connections. Ctrl-C ends the comparison, which then reports.

    Exit code: 0 if everything is equal, 3 if anything differs, 4 if nothing could
    be compared, since there is no time that both streams saw.
    """
    with exit_codes():
        import trio

        from fanout.cli.comparing.compared import Compared, wishes_of
        from fanout.cli.comparing.record import Findings
        from fanout.cli.comparing.sources import VENUE
        from fanout.cli.inputs import scheme_of

        within_s = parse_duration(within)
        for_s = float(parse_duration(duration)) if duration else math.inf
        addresses = (a, b)
        source = replace(source, address=a, symbols=symbols, start=start)
        options: ServeOptions = context.obj
        if any(scheme_of(each) == VENUE for each in addresses):
            log_to_stderr()
        by_content = match is Match.CONTENT
        wishes = wishes_of(
            source, addresses, options, by_content=by_content, for_s=for_s, within_s=within_s
        )
        findings = Findings(out)
        compared = Compared(wishes, findings, by_content=by_content, for_s=for_s, within_s=within_s)
        trio.run(compared.run)
        report, addresses = compared.report, compared.addresses
        assert report is not None, "it ran to its end"
        code = _code(report)
        summary = _summary(report, addresses, compared.clock, code)
        if as_json:
            emit(msgspec.json.encode(summary).decode())
        else:
            from fanout.cli.comparing.view import lines_of

            for line in lines_of(report, addresses, compared.clock, [*findings.first.values()]):
                emit(line)
        findings.complete(report, summary)  # last: its disk may be full
        raise typer.Exit(code)


def _code(report: "Report") -> int:
    if report.differences:
        return DIFFERENT
    return 0 if report.compared else NOTHING


def _summary(
    report: "Report", addresses: Sequence[str], clock: "Clock", code: int
) -> dict[str, Any]:
    """The object that `--json` prints, and `summary.json`."""
    return {
        "ok": code == 0,
        "exit_code": code,
        "a": addresses[0],
        "b": addresses[1],
        "clock": clock.value,
        "differences": report.differences,
        "compared": report.compared,
        **{
            f"reported_by_{name}": msgspec.to_builtins(side)
            for name, side in (("a", report.a), ("b", report.b))
        },
        "symbols": msgspec.to_builtins(report.symbols),
        "only_served_by_a": report.only_served_by_a,
        "only_served_by_b": report.only_served_by_b,
    }
