"""What holds for every test."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.heeding import heed_signals
from tests.thoroughness import examples

# How long an example takes says nothing: the machine may be busy.
settings.register_profile(
    "suite",
    settings.default,
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

# Some containers set it. The workers, and the hundreds of processes that tests start, would compile
# every module anew. So they keep the byte code.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """More than cores: many tests wait for processes, or for a moment that has to pass."""
    return (os.cpu_count() or 1) + 2


@pytest.fixture(scope="session", autouse=True)
def _heeded_signals() -> None:
    heed_signals()
