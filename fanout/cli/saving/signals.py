"""The signals that end a recording.

The first asks for an orderly end; what was received is saved. Another one, a second or more later,
ends the work that is left, which for a long recording in Parquet can take its time.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

import trio

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

REPEATED_S: Final = 1.0
"""Within this time a second signal is the first once more: `timeout` sends its own twice, and a
shell and its wrapper both pass on a Ctrl-C."""


class Signals:
    """A context in which signals are noted."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._first_s = 0.0
        self._stop: Callable[[], None] | None = None
        self._is_interruptible = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it so
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.first is None:
            self.first, self._first_s = number, time.monotonic()
        if self._stop is not None:
            self._stop()
        elif self._is_interruptible and time.monotonic() - self._first_s > REPEATED_S:
            raise KeyboardInterrupt

    @contextmanager
    def cancelling(self, scope: trio.CancelScope) -> Iterator[None]:
        """Within this, signals cancel `scope` and do nothing else."""
        token = trio.lowlevel.current_trio_token()
        self._stop = lambda: token.run_sync_soon(scope.cancel)
        try:
            if self.first is not None:
                scope.cancel()
            yield
        finally:
            self._stop = None

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within this, another signal than the first raises `KeyboardInterrupt`."""
        self._is_interruptible = True
        try:
            yield
        finally:
            self._is_interruptible = False
