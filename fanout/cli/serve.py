"""`fanout ... tcp`: run the service until a signal ends it."""

import signal
from typing import Annotated, Final

import msgspec
import trio
import typer

from fanout.cli.outcome import exit_codes, log_to_stderr, say
from fanout.config import (
    DEFAULT_ASSETS,
    Config,
    SimConfig,
    TcpConfig,
    TransportConfig,
    is_loopback,
    parse_assets,
    parse_size,
)
from fanout.errors import UsageError
from fanout.service import run_service
from fanout.venues import VENUES

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options in front of the transports, as they were typed."""

    assets: tuple[str, ...]
    venue: str
    ws_url: str | None
    rest_url: str | None
    log_bytes: str


def serve_tcp(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", envvar="FANOUT_TCP_PORT")
    ] = 9000,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 opens it to the network.", envvar="FANOUT_TCP_HOST"
        ),
    ] = "127.0.0.1",
) -> None:
    """Serve trades to any number of TCP clients.

    Example: fanout --assets BTCUSDT,ETHUSDT tcp --port 9000
    """
    with exit_codes():
        _serve(context.obj, (TcpConfig(host=host, port=port),))


def _serve(options: ServeOptions, transports: tuple[TransportConfig, ...]) -> None:
    config = _config(options, transports)
    for each in transports:
        if not is_loopback(each.host):
            say(f"{each.host} is open to the network: whoever reaches it gets the trades")
    log_to_stderr()
    received = trio.run(_run, config)
    if received is not None:
        raise typer.Exit(128 + received)


def _config(options: ServeOptions, transports: tuple[TransportConfig, ...]) -> Config:
    if options.venue not in VENUES:
        raise UsageError(f"unknown venue {options.venue!r}: {', '.join(VENUES)}")
    assets = options.assets or (",".join(DEFAULT_ASSETS),)
    if not options.assets:
        say(f"no --assets given: taking {','.join(DEFAULT_ASSETS)}")
    is_simulated = options.venue == "sim"
    if is_simulated and (options.ws_url or options.rest_url):
        raise UsageError("--venue sim brings its own URLs: leave --ws-url and --rest-url out")
    return Config(
        assets=parse_assets(assets),
        transports=transports,
        venue=options.venue,
        ws_url=options.ws_url,
        rest_url=options.rest_url,
        log_bytes=parse_size(options.log_bytes),
        sim=SimConfig() if is_simulated else None,
    )


async def _run(config: Config) -> int | None:
    """The number of the signal that ended the service, if one did."""
    stop = trio.Event()
    received: list[int] = []
    symbols = ", ".join(config.assets)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_signals, stop, received, nursery.cancel_scope)
        await run_service(
            config,
            stop=stop,
            announce=lambda url: say(f"serving {symbols} from {config.venue} on {url}"),
        )
        nursery.cancel_scope.cancel()
    return received[0] if received else None


async def _watch_signals(
    stop: trio.Event, received: list[int], everything: trio.CancelScope
) -> None:
    """Ask for an orderly end on the first signal; a second one ends at once."""
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async for number in signals:
            received.append(number)
            if stop.is_set():
                everything.cancel()
            stop.set()
