import io
import logging
import os
import time

from fanout.cli import logs


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("fanout", logging.WARNING, "", 0, text, None, None)


def test_a_stderr_that_nobody_reads_holds_up_nobody() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "w") as stuck:
        handler = logs._Lines(stuck)
        started = time.monotonic()
        for _ in range(5 * logs.MAX_LINES):
            handler.emit(record("x" * 1_000))
        handler.flush()
        assert time.monotonic() - started < logs.GOODBYE_S + 5
        # It is read now, and what was dropped is counted in the next line that finds room.
        for _ in range(logs.MAX_LINES):
            pipe.readline()
        handler.flush()
        handler.emit(record("at last"))
        handler.flush()
        while "at last" not in (line := pipe.readline()):
            assert line
    assert "lines before this one were dropped" in line


def test_a_line_names_its_level_and_a_traceback_is_not_shown() -> None:
    stream = io.StringIO()
    handler = logs._Lines(stream)
    error = record("accept failed: %s")
    error.args, error.exc_info = ("why",), (ValueError, ValueError("x"), None)
    handler.emit(error)
    handler.flush()
    assert stream.getvalue() == "fanout: warning: accept failed: why\n"


def test_what_a_library_repeats_is_said_once_a_minute() -> None:
    seldom = logs._Seldom()
    assert [seldom.filter(record("same")) for _ in range(3)] == [True, False, False]
    assert seldom.filter(record("other"))
