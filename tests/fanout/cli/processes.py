"""Runs the command line like a user: real processes, real signals, real pipes.

Most are forks, which start six times as fast.
"""

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from threading import Timer
from typing import IO
from unittest import mock

from fanout.cli import main
from fanout.cli.logs import LogFormat, choose
from tests.stand.forks import Forked, can_fork

FANOUT = (sys.executable, "-m", "fanout")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TIMEOUT_S = 30


def environment(**extra: str) -> dict[str, str]:
    """This process's, without what would change the outcome; the twins are on or off as here."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "FANOUT_PURE" or not name.startswith("FANOUT_")
    }
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", **extra}


def fanout(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with _begun(arguments, environment(**extra)) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
        assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def at_once(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process: for many that end before anything is opened, or
    as soon as it is. A tenth of the time."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ, environment(**extra), clear=True),
        mock.patch.object(sys, "argv", ["fanout", *arguments]),
        mock.patch.object(sys, "unraisablehook", sys.unraisablehook),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            forget_log()
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


class Process:
    """A command that runs on. What it says on stderr is kept."""

    def __init__(self, process: subprocess.Popen[str] | Forked) -> None:
        self.process = process
        self.said: list[str] = []

    @property
    def out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def line(self) -> str:
        """The next line on stdout."""
        with self._killed_at_last():
            line = self.out.readline()
        assert line, "no more lines come"
        return line

    def until_said(self, words: str) -> str:
        """The line on stderr that has these words."""
        assert self.process.stderr is not None
        with self._killed_at_last():
            for line in self.process.stderr:
                self.said.append(line)
                if words in line:
                    return line
        raise AssertionError(f"never said {words!r}, but: {''.join(self.said)}")

    @contextmanager
    def _killed_at_last(self) -> Iterator[None]:
        """A command that says nothing fails its test, and does not hold up all others."""
        timer = Timer(TIMEOUT_S, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def end(self, number: int) -> int:
        """Send a signal, and give the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        _, rest = self.process.communicate(timeout=TIMEOUT_S)
        self.said.append(rest)
        assert self.process.returncode is not None
        return self.process.returncode


@contextmanager
def started(*arguments: str, **extra: str) -> Iterator[Process]:
    with _begun(arguments, environment(**extra)) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def _begun(arguments: tuple[str, ...], variables: dict[str, str]) -> subprocess.Popen[str] | Forked:
    if can_fork(variables):
        return Forked(arguments, variables)
    return subprocess.Popen(
        [*FANOUT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


@contextmanager
def serving(*options: str) -> Iterator[tuple[Process, str]]:
    """A service of the built-in simulator on a free port, and its URL."""
    arguments = (*options, "--venue", "sim", "--assets", "btcusdt,ETHUSDT", "tcp", "--port", "0")
    with started(*arguments) as service:
        yield service, service.until_said("serving").split()[-1]


@contextmanager
def exchange(*faults: str) -> Iterator[tuple[str, ...]]:
    """A simulator that misbehaves, and the options that lead a command to it."""
    flags = [word for each in faults for word in ("--fault", each)]
    with started("simulate", "--symbols", "BTCUSDT,ETHUSDT", "--rate", "100", *flags) as process:
        urls = json.loads(process.line())
        yield "--ws-url", urls["ws"], "--rest-url", urls["rest"], "--assets", "BTCUSDT,ETHUSDT"


def forget_log() -> None:
    """As if this process had never shown its log."""
    choose(LogFormat.HUMAN, 0)
    for name in ("fanout", "trio"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            handler.flush()
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    logging.getLogger("trio.serve_listeners").filters.clear()
