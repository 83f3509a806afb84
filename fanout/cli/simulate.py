"""`fanout simulate`: an exchange on loopback, for trying things out, mishaps included."""

import math
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import exit_codes
from fanout.config.assets import typed_symbols
from fanout.errors import UsageError
from fanout.net.addresses import check_port


def simulate(
    dialect: Annotated[
        str, typer.Option(help="The exchange: binance-usdm or binance-spot.", metavar="DIALECT")
    ] = "binance-usdm",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            help="Symbols, comma-separated or repeated; or how many. \\[default: all it knows]",
            metavar="SYMBOL,...",
        ),
    ] = None,
    capture: Annotated[
        list[Path] | None,
        typer.Option(help="Replay a recording instead. Repeat to merge several.", metavar="FILE"),
    ] = None,
    speed: Annotated[
        str,
        typer.Option(
            help="1 is real time, 10 ten times that, max without waiting.", metavar="NUMBER"
        ),
    ] = "1",
    rate: Annotated[float, typer.Option(help="Trades a second, over all symbols.")] = 200.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same market.")] = 0,
    duration: Annotated[
        float | None, typer.Option(help="Seconds until it ends. \\[default: runs on]")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help='A fault, such as "drop every 30s". Repeat for more.',
            metavar="FAULT",
        ),
    ] = None,
    lifetime: Annotated[
        float | None,
        typer.Option(help="Seconds until a connection is dropped. \\[default: 24 hours]"),
    ] = None,
) -> None:
    """Run a Binance on loopback: USDⓈ-M or spot, WebSocket and REST on one port.

    Prints one line of JSON once ready: {"ws": "ws://...", "rest": "http://..."}

    Example: fanout simulate --port 9500 --symbols BTCUSDT,ETHUSDT --rate 500

    With --symbols 800 it makes names up behind those it knows: S0021USDT, ...

    It misbehaves on request, by itself or from another shell:

      fanout simulate --port 9500 --fault "drop every 30s" --fault "stall 2"
      curl -X POST 'http://127.0.0.1:9500/control/skip?symbol=BTCUSDT&count=3'
      curl http://127.0.0.1:9500/control   how things stand; what fields hold

    A fault is a name, values in the order below or as FIELD=VALUE, and when:
    after 10s, every 5m, until 1h. Fields have defaults; no symbol means all.

    Connections: all, or route=public, route=market, which=oldest, which=newest
      drop       how (close, cut, reset, half-open), code, reason
      stall      for_s: nothing is sent, then all at once
      shutdown   within_s: announced, then closed (spot has it)
      malformed  text: a frame that is no JSON
      event      name: one that no document has, such as serverShutdown
      garbage    size_bytes, framed (true, or false to break WebSocket)

    Streams: the next messages, or now and again with chance=0.01
      silence    symbol, stream (trade, aggTrade), for_s: acked, and silent
      skip       symbol, count, stream, chance: only REST has them
      garble     symbol, count, stream, chance, how (cut, price, types)
      repeat     symbol, count, stream, chance, later: sent twice
      delay      symbol, count, stream, chance, by: sent after so many others
      shuffle    symbol, count, stream, chance, window: sent in another order

    REST, and by their path WebSocket handshakes
      http       status, path, requests (or null), retry_after_s, delay_s,
                 rows, body, sent_bytes, banned_for_s
      spend      weight: others at our address have used it up
      forget     symbol, kept: older trades are no longer to be had

    The market
      insert     symbol, kind (NA, ADL, MARKET, ...), count, away, quantity
      renumber   symbol, next_id: ids jump, or start anew
      list       symbol, price, tick_size, step_size, status: a new one
      relist     symbol, tick_size, step_size, status
      decimals   symbol, price, quantity: how many they have
      rename     symbol, to
      delist     symbol
      odd        symbol, how (null-type, no-filters, twice, conflict)
      clock      offset_ms
    """
    with exit_codes():
        from fanout.cli.running import run_market
        from fanout.simulator import SimulatorConfig
        from fanout.simulator.faults.schedule import scheduled

        check_port(port)
        refuse_no_time("--duration", duration)
        refuse_no_time("--lifetime", lifetime)
        config = SimulatorConfig(
            dialect=dialect,
            host=host,
            port=port,
            captures=tuple(capture or ()),
            speed=_speed(speed),
            rate=rate,
            seed=seed,
            duration_s=duration,
            faults=tuple(map(scheduled, fault or ())),
        )
        if symbols:
            chosen = _symbols(symbols, dialect)
            config = msgspec.structs.replace(config, symbols=chosen)
        if lifetime is not None:
            config = msgspec.structs.replace(config, lifetime_s=lifetime)
        log_to_stderr()
        run_market(config)


def refuse_no_time(option: str, seconds: float | None) -> None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"{option} {seconds}: give a number of seconds above 0")


def _symbols(given: list[str], dialect: str) -> tuple[str, ...]:
    """Names, or a number of them."""
    from fanout.simulator import made_up_symbols

    if len(given) == 1 and given[0].isdecimal():
        return made_up_symbols(int(given[0]), dialect)
    return typed_symbols(given)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--speed {text!r}: a number, or max") from None
