"""A progress line that is redrawn in place. It appears only if stderr is a terminal, so that it
does not fill a log or a pipe."""

import os
import sys
from contextlib import suppress
from typing import Final

from fanout.cli.outcome import is_terminal, say

_ERASED: Final = "\r\x1b[K"


class Progress:
    """The progress line, which stays below all other messages."""

    def __init__(self) -> None:
        self._is_shown = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
        self._line = ""

    def show(self, line: str) -> None:
        """Replace the progress line."""
        if self._is_shown:
            # A line as wide as the terminal would wrap, and the rest would stay on screen.
            self._line = line[: _columns() - 1]
            self._write(_ERASED + self._line)

    def say(self, message: str) -> None:
        """Print a permanent line above the progress line."""
        self._write(_ERASED)
        say(message)
        self._write(self._line)

    def close(self) -> None:
        self._line = ""
        self._write(_ERASED)

    def _write(self, text: str) -> None:
        if self._is_shown:
            with suppress(OSError):  # the terminal is gone
                sys.stderr.write(text)
                sys.stderr.flush()


def _columns() -> int:
    """Width of the terminal; 80 if unknown."""
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
