"""Runs a command on a terminal of a given width, and reads the screen."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fanout.cli.processes import FANOUT, TIMEOUT_S, environment

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command that runs at a terminal, and all that it has written there."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self.raw = ""
        self._terminal = terminal
        self._deadline_s = time.monotonic() + TIMEOUT_S

    @property
    def lines(self) -> list[str]:
        """What was written, without colours; a line that was written over is several."""
        return [each.rstrip() for each in re.split(r"[\r\n]+", ESCAPE.sub("", self.raw))]

    def until_shown(self, words: str) -> None:
        while words not in self.raw:
            assert self._read(), f"{words!r} is not in {self.raw!r}"

    def wait(self) -> int:
        """The exit code."""
        while self._read():
            pass
        return self.process.wait(TIMEOUT_S)

    def _read(self) -> bool:
        left_s = self._deadline_s - time.monotonic()
        readable, _, _ = select.select([self._terminal], [], [], max(0, left_s))
        assert readable, f"nothing more is written to {self.raw!r}"
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # so Linux says that nobody has the other end
            return False
        self.raw += data.decode()
        return bool(data)


@contextmanager
def at_terminal(*arguments: str, columns: int = 80, **extra: str) -> Iterator[Terminal]:
    """Run a command at a terminal. A variable that is "" is not set."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    variables = {**environment(COLUMNS="", NO_COLOR=""), "TERM": "xterm-256color", **extra}
    with subprocess.Popen(
        [*FANOUT, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={name: value for name, value in variables.items() if value},
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)
