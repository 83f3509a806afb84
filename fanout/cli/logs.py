"""The log, to stderr, without ever waiting for it.

Whoever reads stderr may be slow or stuck: a terminal that was paused, a collector that died. The
service must not stand still for that. So records go into a bounded queue, and a thread of its own
writes them; what finds no room is dropped and counted, and the count is said when there is room.

A line is for a person, or with `LogFormat.JSON` an object for a collector. `line_of` makes those of
the log, and `message_of` what the command line itself says.
"""

import json
import logging
import os
import sys
import time
from _thread import start_new_thread
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from queue import SimpleQueue
from typing import Final, TextIO

MAX_LINES: Final = 1_000
"""Lines that wait to be written. Some hundred kilobytes."""

GOODBYE_S: Final = 1.0
"""How long the end waits for the last lines to be written."""

REPEAT_S: Final = 60.0
"""For how long a library's message is not said again."""


class LogFormat(StrEnum):
    HUMAN = "human"
    JSON = "json"


_LEVELS: Final = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


class _Style:
    """What is chosen once, and holds for every line that this process writes to stderr."""

    format = LogFormat.HUMAN
    level = logging.INFO


def choose(chosen: LogFormat, verbosity: int) -> None:
    """How lines look, and which there are: `verbosity` 0 says what happens, 1 the details too, -1
    warnings, -2 errors only."""
    _Style.format = chosen
    _Style.level = _LEVELS[min(max(verbosity + 2, 0), len(_LEVELS) - 1)]


def is_said(level: int) -> bool:
    return level >= _Style.level


def line_of(level: int, text: str) -> str:
    """A line of the log."""
    if _Style.format is LogFormat.JSON:
        return _json_line(level, text)
    # The journal, which sets this, has a time for each line.
    time_text = "" if "JOURNAL_STREAM" in os.environ else f"{datetime.now(UTC):%H:%M:%S} "
    return f"{time_text}fanout: {logging.getLevelName(level).lower()}: {text}"


def message_of(level: int, text: str) -> str:
    """A line for the person who typed the command."""
    return _json_line(level, text) if _Style.format is LogFormat.JSON else f"fanout: {text}"


def _json_line(level: int, text: str) -> str:
    time_text = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {"time": time_text, "level": logging.getLevelName(level).lower(), "message": text}
    return json.dumps(fields, ensure_ascii=False)


class _Lines(logging.Handler):
    """One line a record. A traceback, which libraries may attach, is not for the terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines = SimpleQueue[str]()
        self._put = self._written = self._dropped = 0
        # Not `threading.Thread`, nor `Queue`: their Python, where memory is out, keeps CPython 3.11
        # busy for ever, amid the handling of that error.
        start_new_thread(self._write, ())

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self._dropped:
            text += f" ({self._dropped:,} lines before this one were dropped)"
        if self.put(line_of(record.levelno, text)):
            self._dropped = 0

    def put(self, line: str) -> bool:
        """Have a line written, when its turn comes. False if there is no room for it, which the
        next record says."""
        if self._lines.qsize() >= MAX_LINES:
            self._dropped += 1
            return False
        self._lines.put(line)
        self._put += 1
        return True

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with suppress(OSError, ValueError):  # nobody is there to read it, or it is closed
                print(line, file=self._stream, flush=True)
            self._written += 1

    def flush(self) -> None:
        """Wait for the lines to be written, but not for long."""
        deadline = time.monotonic() + GOODBYE_S
        while self._written < self._put and time.monotonic() < deadline:
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
    handler = _Lines(_apart(sys.stderr))
    for name, lowest in (("fanout", logging.DEBUG), ("trio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(max(lowest, _Style.level))
        logger.propagate = False
    logging.getLogger("trio.serve_listeners").addFilter(_Seldom())


def _apart(stream: TextIO) -> TextIO:
    """The same place, by a file of our own. While nobody reads there, the thread that writes holds
    the lock of that file; of stderr itself it would be one that Python wants when it ends."""
    try:
        return open(stream.fileno(), "w", errors="backslashreplace", buffering=1, closefd=False)
    except (OSError, ValueError):  # it has no descriptor
        return stream


def hand_over(line: str) -> bool:
    """Leave a line to the log, behind what was logged before. False if there is none."""
    handlers = [each for each in logging.getLogger("fanout").handlers if isinstance(each, _Lines)]
    for handler in handlers:
        handler.put(line)
    return bool(handlers)
