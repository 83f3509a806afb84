"""Pulls and resets the kill switch of a run from another process: see `kill`."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fanout.cli.trading.files import COMMAND, KILL, RESET, ask, locked, owner_of, take_away
from fanout.cli.trading.lines import moment_of
from fanout.cli.trading.standings import NoDesksError, NoStandingError, running_standing
from fanout.errors import ConfigError, OperatorError, UsageError
from fanout.trading.errors import TradingError
from fanout.trading.kill import KillCause, KillState
from fanout.trading.reports import KillReport, Report
from fanout.trading.running.floor import Floor
from fanout.trading.running.plans import resting_floor
from fanout.trading.running.standing import Standing

WAIT_S: Final = 10.0
"""How long a running process gets. It looks every 50 ms; a cancel takes its latency."""

LOOK_S: Final = 0.05


def kill_run(directory: Path, why: str) -> str:
    """Pull the switch, and return in words once nothing is open. Raises `OperatorError`."""
    owner = owner_of(directory)
    words = COMMAND + (f": {why}" if why else "")
    ask(directory / KILL, words)
    while True:
        killed = None if owner is None else _kill_running(directory, owner)
        if killed is not None:
            return killed
        try:
            return _kill_kept(directory, words)
        except UsageError:
            owner = owner_of(directory)  # a process has begun there meanwhile, or looked


def _kill_running(directory: Path, owner: str) -> str | None:
    """Wait until the process has cancelled everything. None if it has ended."""
    try:
        standing = _until(directory, owner, _is_killed)
    except NoDesksError:
        return "killed: the run waits for its inputs, and will send nothing"
    if standing is not None:
        return "killed: nothing is open"
    if owner_of(directory) is None:
        return None
    raise OperatorError(
        f"process {owner} has not cancelled everything within {WAIT_S:g} s: it will when it goes "
        f"on; to end it now: kill -9 {owner}"
    )


def _kill_kept(directory: Path, words: str) -> str:
    """Pull the switch of a run that is not running."""
    said = _kept(directory, lambda floor: floor.pull(KillCause.COMMAND, words))
    when = f" {moment_of(said[-1].time_ns)}" if said else ""
    return f"killed{when}: nothing is open; no process runs there"


def reset_run(directory: Path, who: str) -> str:
    """Reset the switch, and return in words. Raises `OperatorError`."""
    owner = owner_of(directory)
    if owner is None:
        return _reset_kept(directory, who)
    try:
        _require_killed(running_standing(directory, owner), directory)
    except NoDesksError:
        if not _is_taken_away(directory):
            raise
        return "the kill file is gone; the run waits for its inputs"
    take_away(directory / KILL)
    ask(directory / RESET, who)
    if _until(directory, owner, lambda now: _was_reset(now, who)) is None:
        take_away(directory / RESET)
        raise OperatorError(f"process {owner} has not reset the switch: its messages say why")
    return f"armed again by {who}"


def _reset_kept(directory: Path, who: str) -> str:
    """Reset the switch of a run that is not running. A kill that no start has seen yet is a file
    alone."""
    said = _kept(directory, lambda floor: floor.reset(who))
    was_there = _is_taken_away(directory)  # now: where the disk is full, the switch stays pulled
    if any(isinstance(each, KillReport) and each.state == KillState.ARMED for each in said):
        return f"armed again by {who}; no process runs there"
    if not was_there:
        raise UsageError(f"the kill switch of {directory} is not pulled")
    return "the kill file is gone: the next start trades; no process runs there"


def _is_taken_away(directory: Path) -> bool:
    """Whether there was a kill file, which is gone now."""
    was_there = os.path.lexists(directory / KILL)
    take_away(directory / KILL)
    return was_there


def _require_killed(standing: Standing, directory: Path) -> None:
    states = {each.kill.state for each in standing.desks}
    if KillState.CANCELLING in states:
        raise UsageError("orders are still being cancelled: wait until nothing is open")
    if KillState.LATCHED not in states:
        raise UsageError(f"the kill switch of {directory} is not pulled")


def _is_killed(standing: Standing) -> bool:
    return all(each.kill.state == KillState.LATCHED for each in standing.desks)


def _was_reset(standing: Standing, who: str) -> bool:
    """Whether all are armed. A limit may have pulled one again, after the reset."""
    words = f"reset by {who}"
    return any(each.kill.why == words for each in standing.desks) or all(
        each.kill.state == KillState.ARMED for each in standing.desks
    )


def _until(directory: Path, owner: str, is_so: Callable[[Standing], bool]) -> Standing | None:
    """Look until it is so. None if it is not within `WAIT_S`. Raises `NoDesksError`."""
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            standing = running_standing(directory, owner)
            if is_so(standing):
                return standing
        except NoDesksError:
            raise
        except NoStandingError:
            if not (directory / KILL).exists():
                raise
        if time.monotonic() > until_s or owner_of(directory) is None:
            return None
        time.sleep(LOOK_S)


def _kept(directory: Path, act: Callable[[Floor], list[Report]]) -> list[Report]:
    """Let something happen to a run that is not running, and write it into its journal. What was
    open is cancelled: no order outlives its process. Raises `OperatorError`."""
    with locked(os.fspath(directory)) as files:
        earlier = files.earlier()
        if earlier.started is None:
            return []
        try:
            floor = resting_floor(earlier)
            said = [*floor.restored, *floor.settle(), *act(floor), *floor.settle()]
        except (TradingError, ValueError) as error:
            raise ConfigError(f"{directory}: {error}") from error
        if said:
            files.begin(earlier.started)
            files.append(said)
        return said
