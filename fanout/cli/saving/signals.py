"""The signals that end a recording.

The first signal ends it in good order: the received records are saved and the file is completed.
Completing a long Parquet recording takes time. A second signal, a second or more later, aborts it.
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
"""A second signal within this time counts as a repetition of the first: `timeout` sends its signal
twice, and a shell and its wrapper both forward a Ctrl-C."""


class Signals:
    """A context that handles the signals."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._first_s = 0.0
        self._stop: Callable[[], None] | None = None
        self._is_interruptible = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
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
        """In this block signals only cancel `scope`."""
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
        """In this block a second signal raises `KeyboardInterrupt`."""
        self._is_interruptible = True
        try:
            yield
        finally:
            self._is_interruptible = False
