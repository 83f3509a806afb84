import gc
from collections.abc import Callable, Iterator

import pytest
import trio

from fanout.cli import running
from fanout.config import Config
from fanout.transports.tcp.config import TcpConfig
from tests.stand.inside import one_source


@pytest.fixture
def frozen() -> Iterator[list[int]]:
    """How many objects the collector leaves alone, while the service runs."""
    yield []
    gc.unfreeze()


def test_objects_from_the_start_are_exempt_from_garbage_collection(
    monkeypatch: pytest.MonkeyPatch, frozen: list[int]
) -> None:
    async def run_service(
        config: Config, *, stop: trio.Event, announce: Callable[[str], None]
    ) -> None:
        assert gc.get_freeze_count() == 0
        announce("tcp://127.0.0.1:9000")
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(running, "run_service", run_service)
    config = one_source(assets=("BTCUSDT",), transports=(TcpConfig(port=0),))
    trio.run(running._run, running.work_of(config), [])
    assert frozen[0] > 1_000
