"""Prints the rows of `fanout check`: a table on a terminal, aligned lines elsewhere.

On a terminal, a progress line on stderr shows the current step.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fanout.checks import Check, Name, Report, State
from fanout.cli.logs import is_said
from fanout.cli.outcome import emit, is_terminal

STYLES: Final = {
    State.OK: "green",
    State.WARN: "bold yellow",
    State.FAIL: "bold red",
    State.SKIP: "dim",
}


def show(report: Report, exit_code: int) -> None:
    """Print all rows, and a line with their counts and the exit code."""
    if is_terminal(sys.stdout):
        console = Console(highlight=False)
        console.print(_table(report))
        console.print(_summary(report, exit_code))
        return
    for line in _lines(report):
        emit(line)
    emit(_summary(report, exit_code).plain)


@contextmanager
def progress_shown() -> Iterator[Callable[[str], None]]:
    """Show the current step and the elapsed time while the block runs."""
    if not (is_terminal(sys.stderr) and is_said(logging.INFO)):
        yield lambda words: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("checking")
        yield lambda words: shown.update(task, description=words)


def _table(report: Report) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=max(map(len, State)))
    table.add_column(no_wrap=True, min_width=max(map(len, Name)))
    table.add_column(overflow="fold")
    for each in report.checks:
        style = STYLES[each.state]
        table.add_row(Text(each.state, style), Text(each.name), _words(each))
    return table


def _words(check: Check) -> Text:
    is_quiet = check.state is State.SKIP
    words = Text.assemble((check.target, "" if is_quiet else "bold"), "  ", check.found)
    if is_quiet:
        words.stylize("dim")
    if check.advice:
        words.append(f"\n-> {check.advice}", "cyan")
    return words


def _lines(report: Report) -> Iterator[str]:
    names = max(len(each.name) for each in report.checks)
    targets = max(len(each.target) for each in report.checks)
    for each in report.checks:
        yield f"{each.state:<4}  {each.name:<{names}}  {each.target:<{targets}}  {each.found}"
        if each.advice:
            yield f"{'':<{names + 8}}-> {each.advice}"


def _summary(report: Report, exit_code: int) -> Text:
    counts = ", ".join(f"{report.count(state)} {state}" for state in State if report.count(state))
    worst = next(state for state in (State.FAIL, State.WARN, State.OK) if report.count(state))
    return Text(f"{counts}: exit code {exit_code}", STYLES[worst])
