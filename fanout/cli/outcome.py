"""From errors to exit codes, and from log records to stderr."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from clients.subscription import AddressError
from fanout.errors import (
    ConfigError,
    UsageError,
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
)
from protocol.errors import FanoutError, reason

EXIT_CODES: Final[dict[type[FanoutError], int]] = {
    UsageError: 2,
    AddressError: 2,
    VenueForbiddenError: 77,
    VenueBusyError: 75,
    VenueError: 69,
    ConfigError: 78,
    FanoutError: 1,
}
"""The first that fits counts. 69, 75, 77 and 78 are those of sysexits.h."""


def say(message: str) -> None:
    """A line for the person at the terminal."""
    try:
        print(f"fanout: {message}", file=sys.stderr, flush=True)
    except OSError:
        return  # nobody is there to read it


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn this project's errors, alone or in a group, into a line and an exit code."""
    try:
        yield
    except FanoutError as error:
        raise _told(error) from None
    except BaseExceptionGroup as group:
        known, other = group.split((FanoutError, KeyboardInterrupt))
        if known is None or other is not None:
            raise
        raise _told(_first(known)) from None
    except KeyboardInterrupt as error:
        raise _told(error) from None
    except BrokenPipeError:
        _discard_stdout()
        raise typer.Exit(0) from None
    except OSError as error:
        _discard_stdout()
        say(f"cannot write: {reason(error)}")
        raise typer.Exit(1) from None


def _told(error: BaseException) -> typer.Exit:
    if isinstance(error, KeyboardInterrupt):
        return typer.Exit(130)
    say(str(error))
    return typer.Exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _discard_stdout() -> None:
    """Nobody takes what is written: keep the interpreter from flushing into nothing at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Lines(logging.Formatter):
    """One line a record. A traceback, which libraries may attach, is not for the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return f"fanout: {record.levelname.lower()}: {record.getMessage()}"


def log_to_stderr() -> None:
    """Show this project's log, and what trio's listeners have to say."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    for name, level in (("fanout", logging.INFO), ("trio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
