"""What a simulator is asked to be. Nonsense is refused here, before anything opens."""

import math
from collections import Counter
from pathlib import Path

import msgspec

from fanout.errors import ConfigError, UsageError
from fanout.simulator.schedule import Scheduled
from fanout.simulator.symbols import TABLE, no_such_symbol

MAX_PORT = 65_535
MIN_KEPT_TRADES = 1_000  # what one answer of REST may hold


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Raises `UsageError` when a value makes no sense, `ConfigError` for an unknown symbol.

    `symbols`, `rate` and `seed` shape the synthetic market and mean nothing with `captures`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    symbols: tuple[str, ...] = tuple(TABLE)
    captures: tuple[Path, ...] = ()
    speed: float | None = 1.0
    """Market seconds per second; None is as fast as the readers take it."""
    rate: float = 200.0
    """Trades per market second over all synthetic symbols."""
    seed: int = 0
    duration_s: float | None = None
    hold: bool = False
    """The market waits for `Simulator.release()`, not only for the first subscriber."""
    start_ns: int | None = None
    """Unix time at which the exchange's clock starts; None is now. It follows trio's clock."""
    faults: tuple[Scheduled, ...] = ()
    """Misbehaviour that comes by itself. More can be asked of `Simulator.faults` at any time."""
    lifetime_s: float = 24 * 3600.0
    """After which a WebSocket connection is dropped."""
    requests_per_second: int = 15
    """Messages that a WebSocket connection may send; one more is a close with 1008."""
    weight_limit: int = 2_400
    """REST weight per UTC minute; over it, requests are answered with a 429."""
    tolerated_429s: int = 10
    """In a minute. One more is a ban, and 418 until it is over."""
    kept_trades: int = 5_000
    """Per symbol, for REST; each takes some 300 bytes."""
    kept_ids: int = 100_000
    """Per symbol, for `Simulator.issued` and `withheld`: kept as runs, which take little."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise UsageError(f"port {self.port} is not in 0..{MAX_PORT}; 0 takes any free one")
        _refuse_unless_positive("speed", self.speed)
        _refuse_unless_positive("rate", self.rate)
        _refuse_unless_positive("duration_s", self.duration_s)
        _refuse_unless_positive("lifetime_s", self.lifetime_s)
        _refuse_below(1, "requests_per_second", self.requests_per_second)
        _refuse_below(1, "weight_limit", self.weight_limit)
        _refuse_below(0, "tolerated_429s", self.tolerated_429s)
        _refuse_below(MIN_KEPT_TRADES, "kept_trades", self.kept_trades)
        _refuse_below(1, "kept_ids", self.kept_ids)
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative; give 0 or more")
        if not self.captures:
            _refuse_odd_symbols(self.symbols)


def _refuse_unless_positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value}; give a number above 0")


def _refuse_below(least: int, name: str, value: int) -> None:
    if value < least:
        raise UsageError(f"{name} is {value}; give {least:,} or more")


def _refuse_odd_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols:
        raise UsageError("no symbols; name at least one, or leave them out for all")
    symbol, count = Counter(symbols).most_common(1)[0]
    if count > 1:
        raise UsageError(f"symbol {symbol} is named {count} times; name it once")
    for symbol in symbols:
        if symbol not in TABLE:
            raise ConfigError(no_such_symbol(symbol, TABLE))
