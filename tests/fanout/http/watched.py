"""A service with an HTTP port, in the test's own process, and an HTTP client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import msgspec
import trio
from msgspec.structs import replace

from fanout.config import Config, HttpConfig, SourceConfig
from fanout.simulator import Simulator, SimulatorConfig
from fanout.stats.snapshots import ServiceStats
from fanout.transports.tcp.config import TcpConfig
from tests.stand.inside import Running, config_for, running_service, running_simulator


class Watched:
    """A service with an HTTP port, and an HTTP client."""

    def __init__(self, running: Running, simulator: Simulator) -> None:
        self.simulator = simulator
        self.url, self.tcp_url = running.urls[:2]

    async def get(self, path: str, method: str = "GET", **headers: str) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=10) as client:
            return await client.request(method, self.url + path, headers=headers)

    async def stats(self) -> ServiceStats:
        answer = await self.get("/status")
        assert answer.headers["content-type"] == "application/json"
        return msgspec.json.decode(answer.content, type=ServiceStats)

    async def stream(self, data: bytes) -> bytes:
        """What comes back for these bytes, to the end."""
        host, port = self.url.removeprefix("http://").split(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(data)
            received = b""
            while some := await stream.receive_some():
                received += some
            return received


async def until_ready(service: Watched) -> None:
    while (await service.get("/readyz")).status_code != 200:  # noqa: ASYNC110  over a socket
        await trio.sleep(0.02)


@asynccontextmanager
async def watched(
    *, data: tuple[str, ...] = ("trades",), **changes: object
) -> AsyncIterator[Watched]:
    """`data` are the kinds of records that the service takes."""
    symbols = ("BTCUSDT", "ETHUSDT")
    with trio.fail_after(30):
        async with running_simulator(SimulatorConfig(symbols=symbols, rate=400.0)) as simulator:
            config: Config = replace(config_for(simulator), http=HttpConfig(), **changes)
            sources = tuple(replace(each, data=data) for each in config.sources)
            config = replace(config, sources=sources)
            async with running_service(config) as running:
                yield Watched(running, simulator)


@asynccontextmanager
async def watched_pair(*, is_one_venue: bool = False) -> AsyncIterator[Watched]:
    """The same with two sources of a symbol each, which feed the channels `first` and `second`: at
    one venue, or at a venue each. The simulator is the second's."""
    symbols = ("BTCUSDT", "ETHUSDT")
    with trio.fail_after(30):
        async with (
            running_simulator(SimulatorConfig(symbols=symbols, rate=400.0)) as one,
            running_simulator(SimulatorConfig(symbols=symbols, rate=400.0)) as other,
        ):
            places = (other, other) if is_one_venue else (one, other)
            sources = tuple(
                SourceConfig(assets=(symbol,), channel=name, ws_url=at.ws_url, rest_url=at.rest_url)
                for symbol, name, at in zip(symbols, ("first", "second"), places, strict=True)
            )
            config = Config(sources=sources, transports=(TcpConfig(port=0),), http=HttpConfig())
            async with running_service(config) as running:
                yield Watched(running, other)
