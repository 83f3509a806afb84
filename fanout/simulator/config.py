"""A simulator's configuration. Invalid values are refused here, before anything opens."""

import math
from collections import Counter
from pathlib import Path

import msgspec

from fanout.errors import ConfigError, UsageError
from fanout.simulator.dialects import DEFAULT, dialect_of, listing_of, symbols_of
from fanout.simulator.faults.schedule import Scheduled
from fanout.simulator.market.listing import Listing, no_such_symbol

MAX_PORT = 65_535
MAX_SYMBOLS = 4_000
MIN_KEPT_TRADES = 1_000  # most rows of a REST answer


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Raises `UsageError` for an invalid value, `ConfigError` for an unknown symbol.

    `symbols`, `rate` and `seed` are for the synthetic market. With `captures` they have no effect.
    """

    dialect: str = DEFAULT
    """The venue to simulate: a name in `dialects.DIALECTS`."""
    host: str = "127.0.0.1"
    port: int = 0
    symbols: tuple[str, ...] | None = None
    """The symbols that trade. None is the dialect's whole table; `made_up_symbols` adds more."""
    captures: tuple[Path, ...] = ()
    speed: float | None = 1.0
    """Market seconds per second; None is as fast as the subscribers read."""
    rate: float = 200.0
    """Trades per market second over all synthetic symbols."""
    seed: int = 0
    duration_s: float | None = None
    hold: bool = False
    """The market waits for `Simulator.release()`, and then for the first subscriber."""
    start_ns: int | None = None
    """Unix time at which the exchange's clock starts; None is now. It follows trio's clock."""
    faults: tuple[Scheduled, ...] = ()
    """Faults on a schedule. `Simulator.faults` injects others at any time."""
    lifetime_s: float = 24 * 3600.0
    """The age at which a WebSocket connection is dropped."""
    requests_per_second: int | None = None
    """Messages that a WebSocket connection may send; one more closes it with 1008. None is the
    venue's own limit, also in the next two fields."""
    weight_limit: int | None = None
    """REST weight in a window of the venue's limit, a UTC minute at Binance. Requests over it are
    refused, mostly with a 429."""
    ping_every_s: float | None = None
    tolerated_429s: int = 10
    """Refused requests in a window. One more is a ban, where the venue has bans: requests get a 418
    until it ends."""
    kept_trades: int = 5_000
    """Per symbol, for REST; each takes some 300 bytes."""
    kept_ids: int = 100_000
    """Per symbol, for `Simulator.issued` and `withheld`. Stored as ranges, which are small."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise UsageError(f"port {self.port} is not in 0..{MAX_PORT}; 0 takes any free one")
        _refuse_unless_positive("speed", self.speed)
        _refuse_unless_positive("rate", self.rate)
        _refuse_unless_positive("duration_s", self.duration_s)
        _refuse_unless_positive("lifetime_s", self.lifetime_s)
        _refuse_unless_positive("ping_every_s", self.ping_every_s)
        _refuse_below(1, "requests_per_second", self.requests_per_second)
        _refuse_below(1, "weight_limit", self.weight_limit)
        _refuse_below(0, "tolerated_429s", self.tolerated_429s)
        _refuse_below(MIN_KEPT_TRADES, "kept_trades", self.kept_trades)
        _refuse_below(1, "kept_ids", self.kept_ids)
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative; give 0 or more")
        dialect_of(self.dialect)
        if not self.captures:
            _refuse_odd_symbols(self.traded)
            _ = self.listings

    @property
    def traded(self) -> tuple[str, ...]:
        """The symbols of the synthetic market."""
        return tuple(dialect_of(self.dialect).table) if self.symbols is None else self.symbols

    @property
    def listings(self) -> tuple[Listing, ...]:
        """The instruments of the synthetic market. Raises `ConfigError` for an unknown symbol."""
        dialect = dialect_of(self.dialect)
        found = {symbol: listing_of(dialect, symbol) for symbol in self.traded}
        for symbol in (each for each, listing in found.items() if listing is None):
            raise ConfigError(no_such_symbol(symbol, dialect.table))
        return tuple(listing for listing in found.values() if listing is not None)


def made_up_symbols(count: int, dialect: str = DEFAULT) -> tuple[str, ...]:
    """`count` symbols: first those of the dialect's table, then made-up ones such as S0021USDT."""
    if not 1 <= count <= MAX_SYMBOLS:
        raise UsageError(f"{count} symbols: give 1 to {MAX_SYMBOLS:,}")
    return symbols_of(dialect_of(dialect), count)


def _refuse_unless_positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value}; give a number above 0")


def _refuse_below(least: int, name: str, value: int | None) -> None:
    if value is not None and value < least:
        raise UsageError(f"{name} is {value}; give {least:,} or more")


def _refuse_odd_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols:
        raise UsageError("no symbols; name at least one, or leave them out for all")
    symbol, count = Counter(symbols).most_common(1)[0]
    if count > 1:
        raise UsageError(f"symbol {symbol} is named {count} times; name it once")
