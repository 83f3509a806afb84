"""Printing of data and messages, and the exit code of each kind of error."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, TextIO

import typer

from fanout.cli.config_file import flag_of, source_of
from fanout.cli.logs import hand_over, is_said, message_of
from fanout.cli.memory import OUT_OF_MEMORY, is_out_of_memory
from fanout.clients.outcomes import AddressError, UnknownChannelError, UnknownSymbolError
from fanout.errors import (
    ConfigError,
    EngineError,
    EngineForbiddenError,
    EngineRefusedError,
    OperatorError,
    UsageError,
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueKeyError,
)
from fanout.protocol.errors import FanoutError, MissingPackageError, reason

EXIT_CODES: Final[dict[type[FanoutError], int]] = {
    UsageError: 2,
    AddressError: 2,
    UnknownSymbolError: 2,
    UnknownChannelError: 2,
    VenueForbiddenError: 77,
    VenueKeyError: 77,
    VenueBusyError: 75,
    VenueError: 69,
    EngineForbiddenError: 77,
    EngineRefusedError: 78,
    EngineError: 69,
    ConfigError: 78,
    MissingPackageError: 78,
    FanoutError: 1,
}
"""Exit code by kind of error; the first matching kind counts. 69, 75, 77 and 78 are the codes of
sysexits.h."""

_KNOWN: Final = (FanoutError, KeyboardInterrupt, MemoryError, OSError)


class OutputError(OperatorError):
    """The command cannot write its output."""


def emit(line: str) -> None:
    """Print a line of data and flush it, so that a program behind a pipe gets it at once.

    Raises `BrokenPipeError` if the reader has left, and `OutputError` for a full disk.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed: open it, or redirect it to a file")
    try:
        print(line, flush=True)
    except BrokenPipeError:
        _discard_stdout()
        raise
    except UnicodeEncodeError as error:
        encoding = sys.stdout.encoding
        raise OutputError(
            f"cannot write {error.object[error.start]!a} in {encoding}: set PYTHONIOENCODING=utf-8"
        ) from error
    except OSError as error:
        _discard_stdout()
        raise OutputError(f"cannot write: {reason(error)}") from error


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal."""
    return stream is not None and stream.isatty()


def say(message: str, level: int = logging.INFO) -> None:
    """Print a message to stderr.

    Once the log is set up, the message goes through its queue, so that a stuck reader of stderr
    cannot block the service.
    """
    if sys.stderr is None or not is_said(level):
        return
    line = message_of(level, message)
    try:
        if not hand_over(line):
            print(line, file=sys.stderr, flush=True)
    except OSError:
        return  # the reader of stderr is gone


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn this project's errors, alone or in a group, into a message and an exit code."""
    try:
        yield
    except _KNOWN as error:
        raise _told(error) from None
    except (Exception, BaseExceptionGroup) as error:
        if is_out_of_memory(error):
            raise _told(MemoryError()) from None
        if not isinstance(error, BaseExceptionGroup):
            raise
        known, other = error.split(_KNOWN)
        if known is None or other is not None:
            raise
        raise _told(first_of(known)) from None


def refuse(error: typer.TyperException) -> NoReturn:
    """Print the error in the command line's arguments, and exit."""
    context = getattr(error, "ctx", None)
    text = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":
        print(text, file=sys.stderr)
    else:
        command = context.command_path if context else "fanout"
        say(f"{_misfit(error) or text} ({command} --help)", logging.ERROR)
    sys.exit(getattr(error, "exit_code", 1))


def _misfit(error: typer.TyperException) -> str:
    """The error in an option's value, with the flag, variable or file key that set it.

    Empty if the error is not about an option.
    """
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    why = str(getattr(error, "message", "")).removeprefix("Value error, ").rstrip(".")
    is_option = getattr(parameter, "param_type_name", "") == "option"
    if context is None or not is_option or not why:
        return ""
    name = flag_of(parameter)
    source = source_of(context, name)
    given = f"{source}: {name}" if source == context.find_root().params.get("config") else source
    return f"{given}: {why[0].lower()}{why[1:]}"


def first_of(error: BaseException) -> BaseException:
    """The first error in a group; the error itself, if it is alone."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _told(error: BaseException) -> typer.Exit:
    """Print the error, unless it is an interrupt or a closed pipe, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return typer.Exit(130)
    if isinstance(error, BrokenPipeError):
        return typer.Exit(0)
    if isinstance(error, FanoutError):
        say(str(error), logging.ERROR)
        return typer.Exit(
            next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
        )
    if isinstance(error, MemoryError):
        say(OUT_OF_MEMORY, logging.ERROR)
        return typer.Exit(1)
    is_out = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    say(reason(error) + (": raise ulimit -n" if is_out else ""), logging.ERROR)
    return typer.Exit(1)


def _discard_stdout() -> None:
    """Redirect stdout to /dev/null, so that the flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
