"""A line on the terminal that is written over and over. Where stderr is no terminal there is none:
a log or a pipe is not to be filled with it."""

import os
import sys
from contextlib import suppress
from typing import Final

from fanout.cli.outcome import is_terminal, say

_ERASED: Final = "\r\x1b[K"


class Progress:
    """What is known so far, below what is said."""

    def __init__(self) -> None:
        self._is_shown = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
        self._line = ""

    def show(self, line: str) -> None:
        """Put this line in place of the one before."""
        if self._is_shown:
            # One that is as wide as the terminal would go on in the next, and stay there.
            self._line = line[: _columns() - 1]
            self._write(_ERASED + self._line)

    def say(self, message: str) -> None:
        """A line that stays, above the one that changes."""
        self._write(_ERASED)
        say(message)
        self._write(self._line)

    def close(self) -> None:
        self._line = ""
        self._write(_ERASED)

    def _write(self, text: str) -> None:
        if self._is_shown:
            with suppress(OSError):  # nobody is there to see it
                sys.stderr.write(text)
                sys.stderr.flush()


def _columns() -> int:
    """How wide the terminal is; 80 where it does not say."""
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
