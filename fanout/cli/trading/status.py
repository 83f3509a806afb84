"""`fanout paper status`: how a run stands."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanout.cli.outcome import emit, exit_codes, is_terminal, say
from fanout.cli.trading import DEFAULT_JOURNAL

if TYPE_CHECKING:
    from fanout.trading.running.standing import Standing


def status(
    place: Annotated[
        str,
        typer.Argument(
            help="Directory of the run's journal, or the http://HOST:PORT of its --http-port.",
            metavar="[DIR|URL]",
        ),
    ] = DEFAULT_JOURNAL,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between updates with --watch.", min=0.1, max=3600)
    ] = 1.0,
) -> None:
    """Show positions, orders in their queues, quotes with reasons, limits, and the kill switch.

    Example: fanout paper status --watch
    Example: fanout paper status /data/paper --json

    It asks the process that runs in the directory. Without one it shows what the
    journal has: without a market, so without profits that are not realised.
    """
    with exit_codes():
        import msgspec

        from fanout.cli.trading.standings import standing_at
        from fanout.cli.trading.view import rendered, watch_live

        if watch and not as_json and is_terminal(sys.stdout):
            watch_live(lambda: standing_at(place), interval)
            return
        while True:
            standing = standing_at(place)
            emit(msgspec.json.encode(standing).decode() if as_json else rendered(standing))
            _say_what_waits(place, standing)
            if not watch:
                return
            time.sleep(interval)


def _say_what_waits(place: str, standing: "Standing") -> None:
    """Say that a kill file waits for the next start: the journal does not have it yet."""
    from fanout.cli.trading.files import KILL
    from fanout.trading.kill import KillState

    path = Path(place) / KILL
    is_armed = any(each.kill.state == KillState.ARMED for each in standing.desks)
    if not standing.is_running and is_armed and path.exists():
        say(f"{path} is there: the next start pulls the kill switch")
