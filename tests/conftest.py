"""What holds for every test."""

import fcntl
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.heeding import heed_signals
from tests.stand.nats import NatsServer, running_nats
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

# Each service, and each client of REST, reads the certificates that this machine trusts: some 140,
# which takes 25 ms. Nothing here connects to another machine, so one that signs nothing will do.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "data" / "authority.pem")


def pytest_xdist_auto_num_workers() -> int:
    """More than cores: many tests wait for processes, or for a moment that has to pass."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """One worker at a time imports a test file. After a fresh clone the first one compiles it, and
    the others read its byte code. To compile all of them takes 8 s of CPU time."""
    if not isinstance(collector, pytest.Module):
        return (yield)
    with collector.path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _heeded_signals() -> None:
    heed_signals()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server that the test may kill, pause and restart."""
    with running_nats(tmp_path / "nats") as server:
        yield server


@pytest.fixture(scope="session")
def shared_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server for the tests that leave it alone. Each takes `new_prefix` for its streams."""
    with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server
