"""How a run stands: from the process that runs it, or from its journal."""

import http.client
from pathlib import Path

import msgspec

from fanout.cli.status import fetch_status
from fanout.cli.trading.files import SOCKET, owner_of
from fanout.errors import ConfigError, OperatorError, UsageError
from fanout.net.addresses import check_url
from fanout.net.local import ask_in
from fanout.protocol.errors import reason
from fanout.trading.earlier import Earlier
from fanout.trading.errors import TradingError
from fanout.trading.journal import entries_of, needed_files
from fanout.trading.plans import resting_floor
from fanout.trading.standing import Standing, standing_of


class NoStandingError(OperatorError):
    """The process that runs there does not answer."""


class NoDesksError(NoStandingError):
    """The run waits for its inputs, and cannot have an order yet."""


def standing_at(place: str) -> Standing:
    """How the run in a directory, or at an address of HTTP, stands. Raises `OperatorError`."""
    if place.startswith(("http://", "https://")):
        check_url("status", place, ("http",))
        return _decoded(fetch_status(place.rstrip("/"))[1], place)
    directory = Path(place)
    owner = owner_of(directory)
    return standing_in_journal(directory) if owner is None else running_standing(directory, owner)


def running_standing(directory: Path, owner: str) -> Standing:
    """From the process. Raises `NoStandingError`."""
    try:
        body = ask_in(directory, SOCKET, "/status")
    except (OSError, http.client.HTTPException) as error:
        raise NoStandingError(
            f"process {owner}, which runs in {directory}, does not answer: {reason(error)}"
        ) from error
    return _decoded(body, str(directory))


def _decoded(body: bytes, place: str) -> Standing:
    if body.strip() == b"{}":
        raise NoDesksError(f"{place}: the run waits for its inputs, and has no desks yet")
    try:
        return msgspec.json.decode(body, type=Standing)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoStandingError(f"{place} does not answer as fanout paper does: {error}") from error


def standing_in_journal(directory: Path) -> Standing:
    """From the journal, of a run that is not running. Raises `ConfigError`."""
    earlier = earlier_in(directory)
    try:
        floor = resting_floor(earlier)
    except (TradingError, ValueError) as error:
        raise ConfigError(f"{directory}: {error}") from error
    assert earlier.started is not None, "it has desks"
    return standing_of(floor, earlier.started.venue, is_running=False)


def earlier_in(directory: Path) -> Earlier:
    """What the starts of a run have left, whose journal is not changed. Raises `ConfigError`, and
    `UsageError` where there is none."""
    try:
        earlier = Earlier.of(entries_of(needed_files(directory)))
    except TradingError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename or directory}: {reason(error)}") from error
    if earlier.started is None:
        raise UsageError(f"{directory} has no run on paper: nothing has been started there")
    return earlier
