"""`fanout simulate`: an exchange on loopback, for trying things out."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import exit_codes
from fanout.config import check_port, split_symbols
from fanout.errors import UsageError


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            help="Symbols, comma-separated or repeated. [default: all it knows]",
            metavar="SYMBOL,...",
        ),
    ] = None,
    capture: Annotated[
        list[Path] | None,
        typer.Option(help="Replay a recording instead. Repeat to merge several."),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="1 is real time, 10 ten times that, max without waiting.")
    ] = "1",
    rate: Annotated[float, typer.Option(help="Trades a second, over all symbols.")] = 200.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same market.")] = 0,
    duration: Annotated[
        float | None, typer.Option(help="Seconds until it ends. [default: runs on]")
    ] = None,
) -> None:
    """Be a Binance USDⓈ-M on loopback: WebSocket and REST on one port.

    Prints one line of JSON once ready: {"ws": "ws://...", "rest": "http://..."}

    Example: fanout simulate --port 9500 --symbols BTCUSDT,ETHUSDT --rate 500
    """
    with exit_codes():
        from fanout.cli.running import run_market
        from fanout.simulator import SimulatorConfig

        check_port(port)
        config = SimulatorConfig(
            host=host,
            port=port,
            captures=tuple(capture or ()),
            speed=_speed(speed),
            rate=rate,
            seed=seed,
            duration_s=duration,
        )
        if symbols:
            config = msgspec.structs.replace(config, symbols=split_symbols(symbols))
        log_to_stderr()
        run_market(config)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--speed {text!r}: a number, or max") from None
