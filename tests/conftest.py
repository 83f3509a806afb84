"""What holds for every test."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing: the machine may be busy.
settings.register_profile(
    "suite",
    settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_xdist_auto_num_workers() -> int:
    """More than cores: many tests wait for processes, or for a moment that has to pass."""
    return (os.cpu_count() or 1) + 1


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
