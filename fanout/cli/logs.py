"""The log, to stderr, without ever waiting for it.

Whoever reads stderr may be slow or stuck: a terminal that was paused, a collector that died. The
service must not stand still for that. So records go into a bounded queue, and a thread of its own
writes them; what finds no room is dropped and counted, and the count is said when there is room.
"""

import logging
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import Final, TextIO

MAX_LINES: Final = 1_000
"""Lines that wait to be written. Some hundred kilobytes."""

GOODBYE_S: Final = 1.0
"""How long the end waits for the last lines to be written."""

REPEAT_S: Final = 60.0
"""For how long a library's message is not said again."""


class _Lines(logging.Handler):
    """One line a record. A traceback, which libraries may attach, is not for the terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(MAX_LINES)
        self._dropped = 0
        threading.Thread(target=self._write, name="fanout-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        line = f"fanout: {record.levelname.lower()}: {record.getMessage()}"
        if self._dropped:
            line += f" ({self._dropped:,} lines before this one were dropped)"
        try:
            self._lines.put_nowait(line)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with suppress(OSError, ValueError):  # nobody is there to read it, or it is closed
                print(line, file=self._stream, flush=True)
            self._lines.task_done()

    def flush(self) -> None:
        """Wait for the lines to be written, but not for long."""
        deadline = time.monotonic() + GOODBYE_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.001)


class _Seldom(logging.Filter):
    """Lets a message through once a minute: trio's listeners repeat theirs ten times a second
    while descriptors are out."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._said.get(record.msg, now - REPEAT_S) < REPEAT_S:
            return False
        self._said[record.msg] = now
        return True


def log_to_stderr() -> None:
    """Show this project's log, and what trio's listeners have to say. `logging.shutdown`, which
    Python calls at exit, waits for the last lines."""
    if sys.stderr is None:
        return
    handler = _Lines(sys.stderr)
    for name, level in (("fanout", logging.INFO), ("trio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("trio.serve_listeners").addFilter(_Seldom())


def flush_log() -> None:
    """Wait, not for long, until what was logged stands on stderr: for who says something there
    that belongs behind it."""
    for handler in logging.getLogger("fanout").handlers:
        handler.flush()
