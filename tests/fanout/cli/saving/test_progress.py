import io
import sys

import pytest

from fanout.cli.saving.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, name: str) -> io.StringIO:
    """What takes the place of stderr for the rest of the test."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", name)
    return terminal


def test_messages_stay_above_the_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch, "xterm")
    progress = Progress()
    progress.show("1 trade")
    progress.say("a word")
    progress.show("2 trades")
    progress.close()
    erased = "\r\x1b[K"
    assert shown.getvalue() == (
        f"{erased}1 trade{erased}fanout: a word\n1 trade{erased}2 trades{erased}"
    )


def test_a_dumb_terminal_gets_no_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch, "dumb")
    progress = Progress()
    progress.show("1 trade")
    progress.say("a word")
    assert shown.getvalue() == "fanout: a word\n"


def test_without_stderr_no_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    progress = Progress()
    progress.show("1 trade")
    progress.say("a word")
