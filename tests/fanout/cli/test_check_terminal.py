"""`fanout check` on a terminal: a coloured table that fits, and the progress line."""

import re
import signal

import pytest

from tests.fanout.cli.processes import exchange
from tests.fanout.cli.terminals import at_terminal

SIM = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")


def test_on_a_terminal_the_report_is_a_coloured_table_that_fits() -> None:
    with exchange("silence ETHUSDT", "clock 2000") as options:
        arguments = (*options, "--stream", "trade", "check", "--timeout", "1", "tcp", "--port", "0")
        with at_terminal(*arguments, columns=80) as terminal:
            assert terminal.wait() == 69
    assert max(map(len, terminal.lines)) <= 80
    assert COLOUR.search(terminal.raw)
    shown = "\n".join(terminal.lines)
    assert re.search(r"^fail  first-trade  ETHUSDT  none within 1.0 s", shown, re.MULTILINE)
    assert re.search(r"^warn  clock ", shown, re.MULTILINE)
    assert re.search(r"^ {19}-> the stream is silent", shown, re.MULTILINE)
    assert "waiting for first trades: 1 of 2" in shown
    assert terminal.lines[-2].endswith("exit code 69")


def test_a_terminal_without_colour_gets_plain_text() -> None:
    with at_terminal(*SIM, "check", "tcp", "--port", "0", NO_COLOR="1") as terminal:
        assert terminal.wait() == 0
    assert not COLOUR.search(terminal.raw)
    assert "ok    first-trade  BTCUSDT" in "\n".join(terminal.lines)


def test_quiet_shows_no_progress() -> None:
    with at_terminal("-q", *SIM, "check", "tcp", "--port", "0") as terminal:
        assert terminal.wait() == 0
    assert "checking the network path" not in terminal.raw


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_interrupt_ends_check_without_a_traceback(arguments: tuple[str, ...]) -> None:
    with (
        exchange("silence") as options,
        at_terminal(*options, "check", *arguments, "tcp", "--port", "0") as terminal,
    ):
        terminal.until_shown("waiting for first trades")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    assert "Traceback" not in terminal.raw
    assert "\x1b[?25h" in terminal.raw, "the cursor is back"
