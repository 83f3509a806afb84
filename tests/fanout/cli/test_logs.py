import io
import json
import logging
import os
import re
import signal
import time
from datetime import datetime, timedelta

import pytest

from fanout.cli import logs
from tests.fanout.cli.processes import at_once, fanout, started


@pytest.fixture(autouse=True)
def outside_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("fanout", logging.WARNING, "", 0, text, None, None)


def test_a_stuck_stderr_does_not_block_the_service() -> None:
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


def test_messages_keep_the_count_of_dropped_log_lines() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "w") as stuck:
        handler = logs._Lines(stuck)
        for _ in range(2 * logs.MAX_LINES):
            handler.emit(record("x" * 1_000))
        dropped = handler._dropped
        assert dropped > 0
        pipe.readline()
        while not handler.put("serving"):
            pipe.readline()
        assert handler._dropped >= dropped
        for _ in range(logs.MAX_LINES):
            pipe.readline()


def test_a_line_names_its_level_and_a_traceback_is_not_shown() -> None:
    stream = io.StringIO()
    handler = logs._Lines(stream)
    error = record("accept failed: %s")
    error.args, error.exc_info = ("why",), (ValueError, ValueError("x"), None)
    handler.emit(error)
    handler.flush()
    assert re.fullmatch(r"\d\d:\d\d:\d\d fanout: warning: accept failed: why\n", stream.getvalue())


def test_a_librarys_repeated_message_is_logged_once_a_minute() -> None:
    seldom = logs._Seldom()
    assert [seldom.filter(record("same")) for _ in range(3)] == [True, False, False]
    assert seldom.filter(record("other"))


def test_lines_for_the_journal_have_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert logs.line_of(logging.INFO, "x") == "fanout: info: x"


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (1, ["DEBUG", "INFO", "WARNING", "ERROR"]),
        (2, ["DEBUG", "INFO", "WARNING", "ERROR"]),
        (0, ["INFO", "WARNING", "ERROR"]),
        (-1, ["WARNING", "ERROR"]),
        (-2, ["ERROR"]),
        (-3, ["ERROR"]),
    ],
)
def test_v_logs_more_and_q_logs_less(verbosity: int, shown: list[str]) -> None:
    try:
        logs.choose(logs.LogFormat.HUMAN, verbosity)
        levels = logging.getLevelNamesMapping()
        names = ("DEBUG", "INFO", "WARNING", "ERROR")
        assert [each for each in names if logs.is_said(levels[each])] == shown
    finally:
        logs.choose(logs.LogFormat.HUMAN, 0)


def test_with_json_every_line_of_a_service_is_an_object() -> None:
    options = ("--log-format", "json", "-v", "--venue", "sim")
    with started(*options, "tcp", "--port", "0", FANOUT_TOKEN="sesame") as service:
        url = json.loads(service.until_said("serving"))["message"].split()[-1]
        assert at_once("tail", url, "--limit", "1", FANOUT_TOKEN="sesame").returncode == 0
        refused = fanout("--log-format", "json", "tail", url, FANOUT_TOKEN="open", FANOUT_QUIET="1")
        assert service.end(signal.SIGTERM) == 143
    lines = [json.loads(line) for line in "".join(service.said).splitlines()]
    assert all(set(each) == {"time", "level", "message"} for each in lines)
    assert {each["level"] for each in lines} >= {"info", "debug"}
    assert datetime.fromisoformat(lines[0]["time"]).utcoffset() == timedelta(0)
    (line,) = refused.stderr.splitlines()
    assert json.loads(line)["level"] == "error"
    assert "sesame" not in "".join(service.said) + refused.stderr


def test_command_line_errors_are_json_too() -> None:
    for words in (["tcp", "--port", "x"], ["tcp", "--port", "70000"], ["tcp", "nonsense"]):
        result = fanout("--log-format", "json", *words)
        assert result.returncode == 2
        assert json.loads(result.stderr)["level"] == "error"
