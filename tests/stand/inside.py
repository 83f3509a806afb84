"""A service or a simulator inside the test's own process, over real sockets on free ports.
The clock may be virtual. `tests.stand.service` is the service as a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from msgspec.structs import replace

from fanout.config import (
    DEFAULT_LOG_BYTES,
    Config,
    HttpConfig,
    SourceConfig,
    TransportConfig,
)
from fanout.service import run_service
from fanout.simulator import Simulator, SimulatorConfig, run_simulator
from fanout.transports.tcp.config import TcpConfig


class Running:
    """A service that is up: where it is, and how to end it."""

    def __init__(self, stop: trio.Event, *, urls: int = 1) -> None:
        """It is up once it has announced so many `urls`."""
        self.stop = stop
        self._expected = urls
        self.urls: list[str] = []
        self.up = trio.Event()

    @property
    def url(self) -> str:
        return self.urls[0]

    def announce(self, url: str) -> None:
        self.urls.append(url)
        if len(self.urls) == self._expected:
            self.up.set()


@asynccontextmanager
async def running_simulator(config: SimulatorConfig) -> AsyncIterator[Simulator]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(run_simulator, config))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_service(config: Config, **options: Any) -> AsyncIterator[Running]:
    """Yields once the service listens; asks it to end at the end, and waits until it has. `options`
    are those of `run_service`: its clocks."""
    running = Running(trio.Event(), urls=len(config.transports) + (config.http is not None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(run_service, config, stop=running.stop, announce=running.announce, **options)
        )
        await running.up.wait()
        yield running
        running.stop.set()


def one_source(
    *,
    transports: tuple[TransportConfig, ...],
    log_bytes: int = DEFAULT_LOG_BYTES,
    http: HttpConfig | None = None,
    **source: Any,
) -> Config:
    """A service with a single source, which has these fields of `SourceConfig`."""
    sources = (SourceConfig(**source),)
    return Config(sources=sources, transports=transports, log_bytes=log_bytes, http=http)


def with_source(config: Config, **changes: Any) -> Config:
    """The same service with its single source changed."""
    (source,) = config.sources
    return replace(config, sources=(replace(source, **changes),))


def config_for(simulator: Simulator, *assets: str) -> Config:
    """A service of the simulator's symbols on a free TCP port."""
    return one_source(
        assets=assets or ("BTCUSDT", "ETHUSDT"),
        transports=(TcpConfig(port=0),),
        ws_url=simulator.ws_url,
        rest_url=simulator.rest_url,
    )
