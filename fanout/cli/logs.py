"""The log on stderr, which never blocks the service.

A reader of stderr may be slow or stuck, such as a paused terminal or a dead log collector. So log
lines go into a bounded queue, and a separate thread writes them. When the queue is full, lines are
dropped and counted. The next line that fits reports the count.

A line is text for people, or a JSON object for a collector with `LogFormat.JSON`. `line_of` formats
lines of the log, and `message_of` messages of the command line itself.
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
"""Most lines in the queue: some hundred kilobytes."""

GOODBYE_S: Final = 1.0
"""Longest wait at exit for the last lines to be written."""

REPEAT_S: Final = 60.0
"""A repeated message of a library is logged once in this time."""


class LogFormat(StrEnum):
    HUMAN = "human"
    JSON = "json"


_LEVELS: Final = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


class _Style:
    """Format and level of every line that this process writes to stderr."""

    format = LogFormat.HUMAN
    level = logging.INFO


def choose(chosen: LogFormat, verbosity: int) -> None:
    """Set the format and the level.

    `verbosity` 0 logs events, 1 also details, -1 only warnings and errors, -2 only errors.
    """
    _Style.format = chosen
    _Style.level = _LEVELS[min(max(verbosity + 2, 0), len(_LEVELS) - 1)]


def choose_level(level: int) -> None:
    """Set the level alone."""
    _Style.level = level


def is_said(level: int) -> bool:
    return level >= _Style.level


def line_of(level: int, text: str) -> str:
    """Format a line of the log."""
    if _Style.format is LogFormat.JSON:
        return _json_line(level, text)
    # The journal sets this variable, and adds a time of its own to each line.
    time_text = "" if "JOURNAL_STREAM" in os.environ else f"{datetime.now(UTC):%H:%M:%S} "
    return f"{time_text}fanout: {logging.getLevelName(level).lower()}: {text}"


def message_of(level: int, text: str) -> str:
    """Format a message to the user who typed the command."""
    return _json_line(level, text) if _Style.format is LogFormat.JSON else f"fanout: {text}"


def _json_line(level: int, text: str) -> str:
    time_text = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {"time": time_text, "level": logging.getLevelName(level).lower(), "message": text}
    return json.dumps(fields, ensure_ascii=False)


class _Lines(logging.Handler):
    """Writes one line for each log record, without tracebacks."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines = SimpleQueue[str]()
        self._put = self._written = self._dropped = 0
        # `threading.Thread` and `Queue` are written in Python. When memory runs out, they keep
        # CPython 3.11 in an endless loop while it handles the MemoryError.
        start_new_thread(self._write, ())

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self._dropped:
            text += f" ({self._dropped:,} lines before this one were dropped)"
        if self.put(line_of(record.levelno, text)):
            self._dropped = 0

    def put(self, line: str) -> bool:
        """Queue a line. False if the queue is full; the next log record reports the loss."""
        if self._lines.qsize() >= MAX_LINES:
            self._dropped += 1
            return False
        self._lines.put(line)
        self._put += 1
        return True

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with suppress(OSError, ValueError):  # the reader is gone, or the stream is closed
                print(line, file=self._stream, flush=True)
            self._written += 1

    def flush(self) -> None:
        """Wait up to `GOODBYE_S` for the queued lines to be written."""
        deadline = time.monotonic() + GOODBYE_S
        while self._written < self._put and time.monotonic() < deadline:
            time.sleep(0.001)


class _Seldom(logging.Filter):
    """Passes each message once a minute. Without descriptors, trio's listeners repeat theirs ten
    times a second."""

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
    """Log this project's and trio's messages to stderr. Python calls `logging.shutdown` at exit,
    which waits for the last lines."""
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
    """A second file object on the same descriptor.

    A blocked writer thread holds the lock of its file object. Python needs the lock of
    `sys.stderr` at exit, so the thread must not use that object.
    """
    try:
        return open(stream.fileno(), "w", errors="backslashreplace", buffering=1, closefd=False)
    except (OSError, ValueError):  # it has no descriptor
        return stream


def hand_over(line: str) -> bool:
    """Queue a line behind the log's earlier lines. False if there is no log yet."""
    handlers = [each for each in logging.getLogger("fanout").handlers if isinstance(each, _Lines)]
    for handler in handlers:
        handler.put(line)
    return bool(handlers)
