"""What holds for every test."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _heeded_signals() -> None:
    """A suite that a shell started in the background, or by nohup, ignores signals, and what it
    starts would inherit that."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
