"""Runs a bridge: a task for each channel, and the HTTP port."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from fanout.bridge.http import HttpServer
from fanout.bridge.nats.channel import ChannelBridge, Open
from fanout.bridge.nats.connection import package
from fanout.bridge.nats.monitor import routes
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.stats import ChannelStats
from fanout.clients.outcomes import Disconnected
from fanout.errors import BindError, ConfigError
from fanout.protocol.errors import reason
from fanout.protocol.jetstream import stream_of

Tell = Callable[[str], None]


class Bridged(msgspec.Struct, frozen=True):
    """A channel to pass on."""

    address: str
    open: Open


async def run_bridge(
    options: NatsOptions,
    sources: Sequence[Bridged],
    http: tuple[str, int] | None,
    tell: Tell,
) -> None:
    """Pass channels on until cancelled. `tell` gets a line for people when something begins.

    Raises `ConfigError` and `EngineError` for what is wrong at the start, `BindError` for the HTTP
    port, and the errors of the clients.
    """
    package()
    stats: list[ChannelStats] = []
    server: asyncio.Server | None = None
    try:
        if http is not None:
            server = await _listen(HttpServer(routes(stats)), *http)
            port = server.sockets[0].getsockname()[1]
            tell(f"answering http://{http[0]}:{port}/status, /metrics, /healthz and /readyz")
        names = await asyncio.gather(*(_channel_of(each, tell) for each in sources))
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"channel {name} is named twice: a stream has one source")
        async with asyncio.TaskGroup() as tasks:
            for name, each in zip(names, sources, strict=True):
                its = ChannelStats(name, stream_of(options.prefix, name))
                stats.append(its)
                tell(f"bridging {name} from {each.address} to stream {its.stream}")
                bridge = ChannelBridge(options, name, each.open, its)
                tasks.create_task(bridge.run())
    finally:
        if server is not None:
            server.close()


async def _listen(server: HttpServer, host: str, port: int) -> asyncio.Server:
    try:
        return await server.listen(host, port)
    except OSError as error:
        raise BindError(f"cannot listen on {host}:{port}: {reason(error)}") from error


async def _channel_of(source: Bridged, tell: Tell) -> str:
    """The name of a source's channel, which its header says. Waits for the service."""
    told = ""
    async with source.open(None) as client:
        async for item in client:
            if isinstance(item, Disconnected) and item.why != told:
                told = item.why
                tell(f"waiting for {source.address}: {item.why}")
            if client.header is not None:
                return client.header.channel
    raise ConfigError(f"{source.address} ended before its header came")
