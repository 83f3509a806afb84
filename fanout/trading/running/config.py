"""The configuration of a run on paper: text in, frozen values out. Nothing here opens a file.

    [trading]
    symbols = ["BTCUSDT"]

    [exchange]
    maker-fee-bps = 2.0
    taker-fee-bps = 5.0
    acknowledge = "10ms"
    cancel = "10ms"
    lead = "conservative"           # or probabilistic: the fills that the strategy sees

    [strategy]
    name = "basic"                  # avellaneda-stoikov, glft, or MODULE:CLASS
    quantity = 0.01
    position-limit = 0.05
    spread-bps = 4.0
    ...
    [strategy.ETHUSDT]              # other values for one symbol
    quantity = 0.1

    [risk]                          # every limit, for each symbol; "none" switches one off
    position = 0.1
    daily-loss = 500
    stale = "2s"
    kills = ["daily-loss"]
    ...

    [system]
    journal = "paper"
    keep-bytes = "10GiB"            # of the journal; none of it is removed without
    log-level = "info"

Numbers are decimals until the instrument is known: `plans` makes integers of them, and refuses what
does not fit it. Every refusal is one line with the file, the key, the value and the limit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec

from fanout.analytics.consumer.config import BATCH_RECORDS, MAX_RECORDS, QUEUE_RECORDS, WAIT_NS
from fanout.analytics.consumer.sizes import size_text
from fanout.analytics.consumer.tables import Table
from fanout.protocol.constants import MAX_SYMBOL_BYTES
from fanout.trading.errors import LimitsError
from fanout.trading.exchange.queues import Model, Weight
from fanout.trading.limits import Check
from fanout.trading.money import FEE_DIGITS
from fanout.trading.orders import Latencies
from fanout.trading.settings import ExchangeSettings, JournalSettings

MAX_SYMBOLS: Final = 64
"""Limit of the symbols of a run. A desk takes some 10 us for each of its records."""

MIN_SEGMENT_BYTES: Final = 1024 * 1024
"""Limit of a file of the journal."""

SYMBOL_BYTES: Final = 64 * 1024
"""What a file has for each symbol at least. The checkpoint with which it begins takes some 20 KiB
of that where 100 orders work, the most that a strategy may quote. A head that leaves no room for
reports would be written with each of them."""

MAX_BYTES: Final = 2**50

MIN_SYNC_NS: Final = 10_000_000

LOG_LEVELS: Final = ("debug", "info", "warning", "error")

DEFAULT_JOURNAL: Final = "paper"

BUILT_IN: Final = ("basic", "avellaneda-stoikov", "glft")

_SECRET: Final = re.compile(
    r"api.?key|api.?secret|secret|secret.?key|private.?key|passphrase|password", re.IGNORECASE
)
"""Keys of what opens an account, wherever they stand."""

_ACCOUNT: Final = re.compile(
    r"testnet|sandbox|account|sub.?account|leverage|margin|margin.?(mode|type)|live", re.IGNORECASE
)
"""Keys that mean nothing without an account. A strategy may have such a parameter."""

_BPS_DIGITS: Final = FEE_DIGITS - 4

LIMIT_KEYS: Final[Mapping[Check, str]] = {
    each: "stale" if each is Check.STALE_DATA else each.value.replace("_", "-") for each in Check
}
"""The limits as a file has them. A file has no milliseconds: durations have a unit there."""

_WHOLE: Final = (Check.ORDERS_PER_SECOND, Check.OPEN_ORDERS, Check.PRICE_DEVIATION)
_MOST: Final = 10**9
_NONE: Final = "none"

MAX_DIGITS: Final = 15
"""Of a decimal. So many come back from the double in the journal's settings, digit by digit."""

MAX_MAGNITUDE: Final = 18
"""Of a decimal, as a power of ten and as its reciprocal. What is beyond overflows doubles later."""


class StrategyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The strategy of one symbol. `quantity` and `position_limit` are in units of the instrument's
    quantity. `parameters` are the other keys, with dashes."""

    name: str
    quantity: Decimal
    position_limit: Decimal
    min_life_ns: int
    parameters: Mapping[str, Any]


class RiskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one symbol. Quantities are in units of the instrument's quantity, amounts in
    its settlement currency, `stale_ms` in milliseconds. None is "none"."""

    limits: Mapping[Check, Decimal | int | None]
    order_burst: int | None
    kills: frozenset[Check]
    kill_on_feed_loss: bool


class SystemConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What has no effect on the orders."""

    journal: str = DEFAULT_JOURNAL
    kept: JournalSettings = JournalSettings()
    """How that is kept."""
    kill_file: str | None = None
    """Besides `kill` in the journal's directory."""
    log_level: str | None = None
    http_port: int | None = None
    http_host: str = "127.0.0.1"
    cpu: int | None = None
    wait_ns: int = WAIT_NS
    queue_records: int = QUEUE_RECORDS
    batch_records: int = BATCH_RECORDS


class PaperConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `strategies` and `risks` have an entry for each symbol. `settings` are the tables of
    the file that decide on the orders, as text where JSON has no exact number."""

    source: str
    symbols: tuple[str, ...]
    venue: str | None
    exchange: ExchangeSettings
    strategies: Mapping[str, StrategyConfig]
    risks: Mapping[str, RiskConfig]
    system: SystemConfig
    settings: Mapping[str, Any]


def parse_paper(
    text: str, source: str, *, environment: Mapping[str, str] | None = None
) -> PaperConfig:
    """A configuration in TOML. `source` names it in errors. `environment` may have TRADING_SYMBOL,
    which takes the place of the symbols, and LOG_LEVEL. Raises `LimitsError`, and
    `fanout.analytics.consumer.tables.ConsumerConfigError`."""
    environment = environment or {}
    if environment.get("API_KEY"):
        raise LimitsError(f"API_KEY is set: {_NO_ACCOUNT}: unset it")
    try:
        said = tomllib.loads(text.removeprefix("\ufeff"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise LimitsError(f"{source} is no TOML: {error}") from error
    return paper_of(said, source, environment)


def paper_of(
    said: Mapping[str, Any], source: str, environment: Mapping[str, str] | None = None
) -> PaperConfig:
    """The same from tables, such as the settings in a `Started` line. Raises as `parse_paper`."""
    environment = environment or {}
    _refuse_accounts(source, said)
    top = Table(source, "", said)
    top.require("exchange", "strategy", "risk")
    symbols = _symbols(top, environment.get("TRADING_SYMBOL", ""))
    config = PaperConfig(
        source=source,
        symbols=symbols,
        venue=_venue(top),
        exchange=_exchange(_table(top, "exchange")),
        strategies=_strategies(source, said, symbols),
        risks=_risks(source, said, symbols),
        system=_system(top.table("system"), source, environment.get("LOG_LEVEL", "")),
        settings={
            "trading": {"symbols": list(symbols)},
            **{name: _plain(said[name]) for name in ("exchange", "strategy", "risk")},
        },
    )
    for name in ("exchange", "strategy", "risk"):
        top.has(name)
    top.close()
    _require_consistent(config)
    _require_room(config)
    return config


_NO_ACCOUNT: Final = "trading on paper has no account, and sends no order to an exchange"


def _refuse_accounts(source: str, said: Mapping[str, Any], path: str = "") -> None:
    """Refuse what needs an account, without its value: that may be a secret."""
    for key, value in said.items():
        name = f"{path}.{key}" if path else key
        is_own = name.partition(".")[0] == "strategy"
        if _SECRET.fullmatch(key) or (_ACCOUNT.fullmatch(key) and not is_own):
            raise LimitsError(f"{source}: {name} is for an account: {_NO_ACCOUNT}: leave it out")
        if isinstance(value, Mapping) and len(name) < 100:
            _refuse_accounts(source, value, name)


def _plain(value: object) -> Any:
    """A value for JSON, from which `paper_of` makes the same again: `decimal_of` allows no more
    digits than a double keeps, so each is the double's shortest text."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else str(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _table(top: Table, key: str) -> Table:
    table = top.table(key)
    assert table is not None, "it has been required"
    return table


def _symbols(top: Table, from_environment: str) -> tuple[str, ...]:
    table = top.table("trading")
    named: tuple[str, ...] = ()
    if table is not None:
        key = table.either("symbols", "symbol")
        several = table.texts("symbols", most=MAX_SYMBOLS)
        named = (table.text(key),) if key == "symbol" else several or ()
        table.close()
    if from_environment:
        named = tuple(each.strip() for each in from_environment.split(",") if each.strip())
    if not named:
        raise LimitsError(f"{top.name}: trading.symbols is missing: name at least one symbol")
    for each in named:
        if named.count(each) > 1:
            raise LimitsError(f"{top.name}: trading.symbols: {each} is named twice")
        if len(each.encode()) > MAX_SYMBOL_BYTES:
            raise LimitsError(
                f"{top.name}: trading.symbols: {each[:40]!r}: at most {MAX_SYMBOL_BYTES} bytes"
            )
    return named


def _venue(top: Table) -> str | None:
    return _table(top, "exchange").text("venue") or None


def _exchange(table: Table) -> ExchangeSettings:
    table.require("maker-fee-bps", "taker-fee-bps", "acknowledge", "cancel")
    table.has("venue")
    settings = ExchangeSettings(
        latencies=Latencies(
            acknowledge_ns=table.duration("acknowledge", 0), cancel_ns=table.duration("cancel", 0)
        ),
        maker_fee=_fee(table, "maker-fee-bps"),
        taker_fee=_fee(table, "taker-fee-bps"),
        weight=_one_of(table, "weight", Weight),
        lead=_one_of(table, "lead", Model),
    )
    table.close()
    return settings


def _one_of(table: Table, key: str, kind: Any) -> Any:
    names = {each.name.lower(): each for each in kind}
    name = table.text(key, next(iter(names)))
    if name not in names:
        raise table.fault(key, " or ".join(names))
    return names[name]


def _fee(table: Table, key: str) -> int:
    bps = decimal_of(table, key)
    fee = bps.scaleb(_BPS_DIGITS)
    if fee != fee.to_integral_value() or abs(bps) > 10_000:
        raise table.fault(key, f"-10,000 to 10,000, with at most {_BPS_DIGITS} digits")
    return int(fee)


def decimal_of(table: Table, key: str, *, least: Decimal | None = None) -> Decimal:
    """A number that is there, exactly as it is written."""
    value = table.raw(key)
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    number = Decimal(str(value)) if is_number else Decimal("NaN")
    if not number.is_finite():
        raise table.fault(key, "a number is needed, without quotes and unit")
    if least is not None and number < least:
        raise table.fault(key, f"at least {least}")
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if len(digits) > MAX_DIGITS or (digits and abs(number.adjusted()) > MAX_MAGNITUDE):
        raise table.fault(
            key, f"at most {MAX_DIGITS} digits, from 1e-{MAX_MAGNITUDE} to 1e{MAX_MAGNITUDE}"
        )
    return number


# Tables with values for single symbols.


def _merged(source: str, said: Mapping[str, Any], name: str, symbols: Sequence[str]) -> Any:
    """A table for each symbol: what is said for all, with what is said for that one in its place.
    Raises for a table of a symbol that is not traded."""
    table = said[name]
    Table(source, name, table)  # refuses what is no table
    general = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    own = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for key in own:
        if key not in symbols:
            traded = ", ".join(symbols)
            raise LimitsError(f"{source}: [{name}.{key[:40]}]: {traded} is traded, and not that")
    return {
        symbol: Table(
            source,
            f"{name}.{symbol}" if symbol in own else name,
            {**_inherited(general, own.get(symbol, {})), **own.get(symbol, {})},
        )
        for symbol in symbols
    }


_OF_ANY_STRATEGY: Final = ("quantity", "position-limit", "min-life")


def _inherited(general: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a symbol takes over. Another strategy has other parameters, and none of the general."""
    if own.get("name", general.get("name")) == general.get("name"):
        return general
    return {key: value for key, value in general.items() if key in _OF_ANY_STRATEGY}


def _strategies(
    source: str, said: Mapping[str, Any], symbols: Sequence[str]
) -> dict[str, StrategyConfig]:
    tables = _merged(source, said, "strategy", symbols)
    return {symbol: _strategy(table) for symbol, table in tables.items()}


def _strategy(table: Table) -> StrategyConfig:
    table.require("name", "quantity", "position-limit")
    name = table.text("name")
    if name not in BUILT_IN and ":" not in name:
        raise table.fault("name", f"{', '.join(BUILT_IN)}, or MODULE:CLASS")
    quantity = decimal_of(table, "quantity")
    limit = decimal_of(table, "position-limit")
    for key, value in (("quantity", quantity), ("position-limit", limit)):
        if value <= 0:
            raise table.fault(key, "above 0 is needed")
    if quantity > limit:
        raise table.fault("quantity", f"above the position-limit of {limit}")
    min_life_ns = table.duration("min-life", 0)
    parameters = {key: _parameter(table, key) for key in table.rest()}
    return StrategyConfig(
        name=name,
        quantity=quantity,
        position_limit=limit,
        min_life_ns=min_life_ns,
        parameters=parameters,
    )


def _parameter(table: Table, key: str) -> object:
    """A value for the strategy. A number of JSON is as TOML would have it."""
    value = table.raw(key)
    if isinstance(value, int | float | Decimal) and not _is_double(value):
        raise table.fault(key, "a finite number is needed, of at most 1e308")
    return Decimal(str(value)) if isinstance(value, float) else value


def _is_double(number: float | Decimal) -> bool:
    try:
        return isfinite(float(number))
    except OverflowError:
        return False


def _risks(source: str, said: Mapping[str, Any], symbols: Sequence[str]) -> dict[str, RiskConfig]:
    tables = _merged(source, said, "risk", symbols)
    return {symbol: _risk(table) for symbol, table in tables.items()}


def _risk(table: Table) -> RiskConfig:
    table.require(*LIMIT_KEYS.values())
    limits = {check: _limit(table, check, key) for check, key in LIMIT_KEYS.items()}
    burst = table.whole("order-burst", None, 1, _MOST)
    if burst is not None and limits[Check.ORDERS_PER_SECOND] is None:
        raise table.fault("order-burst", 'orders-per-second is "none": leave it out')
    config = RiskConfig(
        limits=limits,
        order_burst=burst,
        kills=_kills(table, limits),
        kill_on_feed_loss=table.switch("kill-on-feed-loss", False),
    )
    table.close()
    return config


def _limit(table: Table, check: Check, key: str) -> Decimal | int | None:
    value = table.raw(key)
    if value == _NONE:
        return None
    if check is Check.STALE_DATA:
        ns = table.duration(key, 0)
        if ns % 1_000_000:
            raise table.fault(key, "whole milliseconds are needed")
        return ns // 1_000_000
    if isinstance(value, str):
        raise table.fault(key, 'a number is needed, or "none" to switch the limit off')
    if check in _WHOLE:
        return table.whole(key, None, 0, _MOST)
    return decimal_of(table, key, least=Decimal(0))


def _kills(table: Table, limits: Mapping[Check, Decimal | int | None]) -> frozenset[Check]:
    checks = {key: check for check, key in LIMIT_KEYS.items()}
    found = set()
    for name in table.texts("kills", most=len(checks)) or ():
        if name not in checks:
            raise table.fault("kills", f"{', '.join(checks)}", name)
        if limits[checks[name]] is None:
            raise table.fault("kills", f'{name} is "none", so it can never be exceeded', name)
        found.add(checks[name])
    return frozenset(found)


def _system(table: Table | None, source: str, log_level: str) -> SystemConfig:
    table = Table(source, "system", {}) if table is None else table
    level = log_level.lower() or table.text("log-level") or None
    if level is not None and level not in LOG_LEVELS:
        where = "LOG_LEVEL" if log_level else f"{source}: system.log-level"
        raise LimitsError(f"{where} = {level[:40]!r}: {', '.join(LOG_LEVELS)}")
    table.has("log-level")
    config = SystemConfig(
        journal=table.text("journal", DEFAULT_JOURNAL),
        kept=_kept(table),
        kill_file=table.text("kill-file") or None,
        log_level=level,
        http_port=table.whole("http-port", None, 0, 65_535),
        http_host=table.text("http-host", "127.0.0.1"),
        cpu=table.whole("cpu", None, 0, 65_535),
        wait_ns=table.duration("wait", WAIT_NS),
        queue_records=table.whole("queue-records", QUEUE_RECORDS, 1, MAX_RECORDS),
        batch_records=table.whole("batch-records", BATCH_RECORDS, 1, MAX_RECORDS),
    )
    table.close()
    return config


def _kept(table: Table) -> JournalSettings:
    default = JournalSettings()
    segment_bytes = table.size("segment-bytes", default.segment_bytes, MIN_SEGMENT_BYTES, MAX_BYTES)
    keep_bytes = default.keep_bytes
    if table.raw("keep-bytes") != _NONE:
        # The newest file may grow to its limit, and the one before is there until it has begun.
        keep_bytes = table.size("keep-bytes", keep_bytes, 2 * segment_bytes, MAX_BYTES)
    return JournalSettings(
        segment_bytes=segment_bytes,
        keep_bytes=keep_bytes,
        sync_ns=table.duration("sync", default.sync_ns, least_ns=MIN_SYNC_NS),
    )


def _require_room(config: PaperConfig) -> None:
    """Raises `LimitsError` where a file of the journal would be too short for all symbols."""
    size, least = config.system.kept.segment_bytes, SYMBOL_BYTES * len(config.symbols)
    if size < least:
        raise LimitsError(
            f"{config.source}: system.segment-bytes = {size_text(size)!r}: at least "
            f"{size_text(least)} for {len(config.symbols)} symbols"
        )


def _require_consistent(config: PaperConfig) -> None:
    """Raises `LimitsError` where a strategy wants what the limits always refuse."""
    for symbol in config.symbols:
        strategy, limits = config.strategies[symbol], config.risks[symbol].limits
        for key, wanted, check in (
            ("quantity", strategy.quantity, Check.ORDER_QUANTITY),
            ("position-limit", strategy.position_limit, Check.POSITION),
        ):
            limit = limits[check]
            if limit is not None and wanted > limit:
                raise LimitsError(
                    f"{config.source}: strategy.{key} = {wanted} for {symbol}: above "
                    f"risk.{LIMIT_KEYS[check]}, {limit}"
                )
