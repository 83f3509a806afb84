"""`fanout paper kill` and `fanout paper reset`: the kill switch from another shell.

Both write a file in the directory of the run, which looks for it all the time and when it starts.
So a kill also reaches a run that hangs or has ended: the next start finds it.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from fanout.cli.outcome import emit, exit_codes
from fanout.cli.trading import DEFAULT_JOURNAL
from fanout.errors import UsageError, shown

MAX_WHO_CHARS: Final = 100

Directory = Annotated[Path, typer.Argument(help="Directory of the run's journal.", metavar="[DIR]")]


def kill(
    directory: Directory = Path(DEFAULT_JOURNAL),
    why: Annotated[str, typer.Option(help="The reason, for the journal.", metavar="TEXT")] = "",
) -> None:
    """Pull the kill switch of a run: cancel every order, and send no more.

    Example: fanout paper kill
    Example: fanout paper kill /data/paper --why "the exchange announced a halt"

    Returns once nothing is open. The switch stays pulled, also over a restart,
    until fanout paper reset. It needs no answer from the run: if that hangs, the
    switch is pulled as soon as it goes on, or at its next start.
    """
    with exit_codes():
        from fanout.cli.trading.killing import kill_run

        emit(kill_run(directory, shown(why)))


def reset(
    directory: Directory = Path(DEFAULT_JOURNAL),
    *,
    who: Annotated[str, typer.Option(help="Your name, for the journal.", metavar="NAME")],
) -> None:
    """Arm the kill switch again, after a person has looked.

    Example: fanout paper reset --who alice

    A run that goes on quotes again at once. A limit that is still exceeded pulls
    the switch again.
    """
    with exit_codes():
        from fanout.cli.trading.killing import reset_run

        name = shown(who).strip()
        if not name or len(name) > MAX_WHO_CHARS:
            raise UsageError(f"--who {name!r}: 1 to {MAX_WHO_CHARS} characters")
        emit(reset_run(directory, name))
