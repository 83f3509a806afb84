"""What a simulator is asked to be. Nonsense is refused here, before anything opens."""

import math
from collections import Counter
from pathlib import Path

import msgspec

from fanout.errors import ConfigError, UsageError
from fanout.simulator.symbols import TABLE

MAX_PORT = 65_535


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

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise UsageError(f"port {self.port} is not in 0..{MAX_PORT}; 0 takes any free one")
        _refuse_unless_positive("speed", self.speed)
        _refuse_unless_positive("rate", self.rate)
        _refuse_unless_positive("duration_s", self.duration_s)
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative; give 0 or more")
        if not self.captures:
            _refuse_odd_symbols(self.symbols)


def _refuse_unless_positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value}; give a number above 0")


def _refuse_odd_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols:
        raise UsageError("no symbols; name at least one, or leave them out for all")
    symbol, count = Counter(symbols).most_common(1)[0]
    if count > 1:
        raise UsageError(f"symbol {symbol} is named {count} times; name it once")
    for symbol in symbols:
        if symbol not in TABLE:
            known = ", ".join(TABLE)
            raise ConfigError(f"the simulator has no symbol {symbol}; choose from {known}")
