"""`fanout check`: tests everything that a service needs, before it is started."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from fanout.cli.outcome import emit, exit_codes
from fanout.cli.serve import ServeOptions, add_transports, config_of, fanout_of, transports_in
from fanout.errors import UsageError

if TYPE_CHECKING:
    from fanout.checks import Check, Report

EXIT_CODES: Final = {
    "forbidden": 77,
    "config": 78,
    "busy": 75,
    "unreachable": 69,
    "machine": 1,
}
"""Exit code by `fanout.checks.Fault`, in its order. Of several failures, the first in this order
counts."""

MAX_TIMEOUT_S: Final = 3_600.0


class Shown(msgspec.Struct, frozen=True):
    """The object that `--json` prints."""

    ok: bool
    exit_code: int
    checks: "tuple[Check, ...]"


def check(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object, for programs, instead of lines.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(help="Seconds to wait for a first trade on every symbol.", metavar="SECONDS"),
    ] = 20.0,
) -> None:
    """Check everything that a service with these options needs.

    Tests the network path to the exchange, its answers and its clock, every
    symbol and its first trade, ports, shared memory and descriptors. Names a
    remedy for each failure. Changes nothing, and takes at most --timeout and
    some ten seconds.

    Example: fanout --assets BTCUSDT,ETHUSDT check tcp --port 9000 shm --name a

    Exit code: 0 if nothing failed. Of several failures, the first in this list
    sets it:

      77  the exchange refuses this region or network (451, 403), or rejects
          the credentials
      78  a symbol is unknown or does not trade, a certificate cannot be used
      75  the exchange limits or bans this address (429, 418)
      69  the exchange, or a symbol's trades, cannot be reached
       1  a port, a queue, a ring, memory or descriptors of this machine
    """
    with exit_codes():
        if not 0 < timeout <= MAX_TIMEOUT_S:  # NaN included
            raise UsageError(f"--timeout {timeout:g}: above 0, to {MAX_TIMEOUT_S:,.0f}")
        parent = fanout_of(context)
        options: ServeOptions = context.obj
        options.act = partial(_check, timeout_s=timeout, as_json=as_json)
        words = context.args or transports_in(parent) or ["tcp"]
        add_transports(parent, words, behind="check")


def _check(options: ServeOptions, *, timeout_s: float, as_json: bool) -> None:
    config = config_of(options)
    import trio

    from fanout.checks import run_checks
    from fanout.cli.check_view import progress_shown, show

    with progress_shown() as progress:
        report = trio.run(partial(run_checks, config, timeout_s=timeout_s, progress=progress))
    exit_code = _exit_code(report)
    if as_json:
        shown = Shown(ok=exit_code == 0, exit_code=exit_code, checks=report.checks)
        emit(msgspec.json.encode(shown).decode())
    else:
        show(report, exit_code)
    raise typer.Exit(exit_code)


def _exit_code(report: "Report") -> int:
    return EXIT_CODES[report.fault] if report.fault else 0
