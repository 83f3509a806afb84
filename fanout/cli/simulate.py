"""`fanout simulate`: a simulated exchange on loopback, with faults on request."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import exit_codes
from fanout.config.assets import typed_symbols
from fanout.config.options import made_from
from fanout.config.simulate import SimulateConfig
from fanout.errors import UsageError

if TYPE_CHECKING:
    from fanout.simulator import SimulatorConfig


def simulate(context: typer.Context, **said: Any) -> None:
    """Run an exchange on loopback, with WebSocket and REST on one port.

    Prints one line of JSON once ready: {"ws": "ws://...", "rest": "http://..."}

    Example: fanout simulate --port 9500 --symbols BTCUSDT,ETHUSDT --rate 500

    --symbols 800 adds made-up symbols to those it knows: S0021USDT, ... The
    listing also has a few rows that do not trade.

    Faults are injected on a schedule, or from another shell:

      fanout simulate --port 9500 --fault "drop every 30s" --fault "stall 2"
      curl -X POST 'http://127.0.0.1:9500/control/skip?symbol=BTCUSDT&count=3'
      curl http://127.0.0.1:9500/control   connections, faults, usage

    A fault is a name, values in the order below or as FIELD=VALUE, and when:
    after 10s, every 5m, until 1h. Fields have defaults; no symbol means all.

    Connections: all, or which=oldest, which=newest, or those of one route:
    route=public, route=market (binance-usdm), route=business (okx)
      drop       how (close, cut, reset, half-open), code, reason
      stall      for_s: nothing is sent, then all at once
      shutdown   within_s: announced, then closed
      malformed  text: a frame that is not JSON
      event      name: an event that nobody subscribed to
      garbage    size_bytes, framed (true, or false to break WebSocket)
      lose       count: messages are numbered, but not sent

    Answers, announcements and books, where the exchange has the feature
      refuse     symbol, count, how (topic, request, missing): subscriptions
      ignore     symbol, count: requests that subscribe get no answer
      mute       for_s: the venue's own kind of ping gets no answer
      auth       how (reject, expire, revoke), for_s: credentials or tokens
      maintain   for_s: announced, then silent, then announced to be over
      resnapshot symbol, resets: the whole book again, with ids from 1
      checksum   symbol: a wrong one

    Streams: the next messages, or at random with chance=0.01. The names of
    streams are the market's own, the same for all exchanges.
      silence    symbol, stream (trade, aggTrade, bookTicker, depth), for_s:
                 acked, then silent
      skip       symbol, count, stream, chance: not sent, but in REST
      garble     symbol, count, stream, chance,
                 how (cut, price, negative, types)
      repeat     symbol, count, stream, chance, later: sent twice
      delay      symbol, count, stream, chance, by: sent after BY others
      shuffle    symbol, count, stream, chance, window: sent in another order
      cross      symbol, count, chance: depth with a bid above the best ask

    REST, and by their path WebSocket handshakes
      http       status, path, requests (or null), retry_after_s, delay_s,
                 rows, body, sent_bytes, banned_for_s
      spend      weight: used up by others at our address
      forget     symbol, kept: REST has only the newest KEPT
      stale      symbol, age_s, requests: snapshots of a book are old

    The market
      insert     symbol, kind (NA, ADL, MARKET, ...), count, away, quantity
      renumber   symbol, next_id: ids jump, or start again
      list       symbol, price, tick_size, step_size, status: a new symbol
      relist     symbol, tick_size, step_size, status
      decimals   symbol, price, quantity: how many they have
      rename     symbol, to
      delist     symbol
      odd        symbol, how (null-type, no-filters, twice, conflict)
      unchain    symbol, by: ids of a book jump, so that its updates break
      empty      symbol: all levels of a book go, and come again
      deepen     symbol, levels: more of them than a snapshot shows
      clock      offset_ms
    """
    with exit_codes():
        from fanout.cli.running import run_market

        config = _config(made_from(SimulateConfig, said))
        log_to_stderr()
        run_market(config)


def _config(typed: SimulateConfig) -> "SimulatorConfig":
    from fanout.simulator import SimulatorConfig
    from fanout.simulator.faults.schedule import scheduled

    config = SimulatorConfig(
        dialect=typed.dialect,
        host=typed.host,
        port=typed.port,
        symbols=_symbols(typed),
        captures=tuple(map(Path, typed.captures)),
        speed=_speed(typed.speed),
        rate=typed.rate,
        seed=typed.seed,
        duration_s=typed.duration_s,
        faults=tuple(map(scheduled, typed.faults)),
    )
    if typed.lifetime_s is None:
        return config
    return msgspec.structs.replace(config, lifetime_s=typed.lifetime_s)


def _symbols(typed: SimulateConfig) -> tuple[str, ...] | None:
    """The symbols that trade: those named, as many as the number says, or None for all."""
    from fanout.simulator import made_up_symbols

    if not typed.symbols:
        return None
    if len(typed.symbols) == 1 and typed.symbols[0].isdecimal():
        return made_up_symbols(int(typed.symbols[0]), typed.dialect)
    return typed_symbols(typed.symbols)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--speed {text!r}: a number, or max") from None
