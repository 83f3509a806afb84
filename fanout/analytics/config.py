"""The configuration of a consumer: text in, frozen values out. Nothing here opens a file.

    [[symbol]]                      # none: all that the inputs have
    venue = "binance"
    symbol = "BTCUSDT"
    tick = "0.10"                   # optional: compared with the venue's own
    enabled = true

    [[input]]
    address = "tcp://127.0.0.1:9000"
    start = "live"

    [features]
    windows = ["1s", "10s"]         # of flows, vwap and intensity
    volatility = ["60s"]
    lags = ["100ms", "300ms"]       # of the weighted price
    depths = [10, 20]               # basis points from the mid
    levels = [5]                    # of queue_imbalance
    every = "100ms"                 # none: a row for every update
    microprices = ["btc.json"]      # fits of Stoikov's microprice

    [outputs]
    format = "jsonl"                # jsonl, csv or none, on standard output
    parquet = "features.parquet"
    tcp-port = 9100
    nats = "nats://127.0.0.1:4222"

    [processing]
    wait = "50ms"
    cpu = 2

`fanout.analytics.described` reads the JSON layout that other consumers have.
"""

import tomllib
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from fanout.analytics.durations import duration_text
from fanout.analytics.errors import SettingsError
from fanout.analytics.settings import (
    MAX_DEPTH_BPS,
    MAX_QUEUE_LEVELS,
    MAX_VALUES,
    FeatureSettings,
)
from fanout.analytics.tables import ConsumerConfigError, Table
from fanout.protocol.constants import MAX_SYMBOL_BYTES

MAX_SYMBOLS: Final = 2_048
"""Limit of the enabled symbols of a consumer. Protects its memory: a deep book takes 100 kB."""

MAX_INPUTS: Final = 64
"""Limit of the inputs of a consumer."""

MAX_RECORDS: Final = 16_777_216
"""Limit of the records between inputs and processing."""

QUEUE_RECORDS: Final = 65_536
BATCH_RECORDS: Final = 64
"""In a burst the first rows leave while later ones are computed: 64 records take some 2 ms. More
records in a batch save less than 0.5 us each."""
WAIT_NS: Final = 50_000_000
_MS: Final = 1_000_000

LEAST_EVERY_NS: Final = _MS
"""Rows more often than each millisecond are better made for every update."""

FORMATS: Final = ("jsonl", "csv", "none")


class SymbolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol that is wanted. `venue` is as headers name it. `tick` is the smallest step of its
    price, if it has to be that."""

    venue: str
    symbol: str
    tick: Decimal | None = None


class InputConfig(msgspec.Struct, frozen=True, kw_only=True):
    """An address, and the options of `fanout tail` that are for it alone."""

    address: str
    start: str | None = None
    symbols: tuple[str, ...] = ()
    recovery: str | None = None
    group_b: str | None = None
    interface: str = ""
    buffer_bytes: int | None = None
    """The receive buffer of each line of multicast."""


class OutputConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows go. What is None is left out."""

    format: str = "jsonl"
    parquet: str | None = None
    tcp_port: int | None = None
    tcp_host: str = "127.0.0.1"
    nats: str | None = None
    nats_subject: str = "fanout.features"


class ProcessingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How records are processed."""

    cpu: int | None = None
    """The core that the process is kept on."""
    queue_records: int = QUEUE_RECORDS
    """Most records between the inputs and the processing. A full queue stops the reading."""
    batch_records: int = BATCH_RECORDS
    """Most records that are processed before the outputs get their rows."""
    max_symbols: int = MAX_SYMBOLS
    wait_ns: int = WAIT_NS
    """How long a record waits for the other inputs, which may have an older one."""
    http_port: int | None = None
    http_host: str = "127.0.0.1"


class ConsumerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer."""

    inputs: tuple[InputConfig, ...] = ()
    symbols: tuple[SymbolConfig, ...] = ()
    """Those that are enabled. None: all that the inputs have."""
    features: FeatureSettings = FeatureSettings()
    microprices: tuple[str, ...] = ()
    """Files of Stoikov's microprices, one for each symbol that has one."""
    every_ns: int | None = None
    """Rows at each multiple of this time. None: a row for every update."""
    signals: Mapping[str, Any] | None = None
    """The table `[signals]`, which is not checked here."""
    outputs: OutputConfig = OutputConfig()
    processing: ProcessingConfig = ProcessingConfig()


def parse_consumer(text: str, source: str, *, venues: Mapping[str, str]) -> ConsumerConfig:
    """A configuration in TOML, or in JSON if it begins with a brace. `source` names it in errors.
    `venues` are the names that a symbol's venue can have, each with that in a header. Raises
    `ConsumerConfigError`."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        from fanout.analytics.described import parse_described

        return parse_described(text, source, venues=venues)
    try:
        said = tomllib.loads(text.removeprefix("\ufeff"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConsumerConfigError(f"{source} is no TOML: {error}") from error
    top = Table(source, "", said)
    processing = _processing(top.table("processing"))
    table = top.table("features")
    microprices = table.texts("microprices", most=MAX_SYMBOLS) if table is not None else None
    features, every_ns = _features(table)
    config = ConsumerConfig(
        inputs=_inputs(top),
        symbols=symbols_of(
            top.tables("symbol", most=MAX_INPUTS * MAX_SYMBOLS),
            source,
            venues=venues,
            most=processing.max_symbols,
        ),
        features=features,
        microprices=microprices or (),
        every_ns=every_ns,
        signals=_signals(top),
        outputs=_outputs(top.table("outputs")),
        processing=processing,
    )
    top.close()
    return config


def symbols_of(
    tables: Collection[Table],
    source: str,
    *,
    venues: Mapping[str, str],
    most: int,
    venue_key: str = "venue",
    tick_key: str = "tick",
) -> tuple[SymbolConfig, ...]:
    """The enabled symbols. Raises `ConsumerConfigError` for a venue that is not known, a symbol
    that is named twice, and for more than `most`."""
    found: dict[tuple[str, str], SymbolConfig] = {}
    for table in tables:
        is_enabled = table.switch("enabled", True)
        each = _symbol(table, venue_key, tick_key, venues)
        key = each.venue, each.symbol
        if key in found:
            raise table.fault("symbol", f"{each.venue} {each.symbol} is named twice")
        if is_enabled:
            found[key] = each
    if tables and not found:
        raise ConsumerConfigError(f"{source}: no symbol is enabled")
    if len(found) > most:
        raise ConsumerConfigError(f"{source}: {len(found):,} symbols are enabled: at most {most:,}")
    return tuple(found.values())


def _symbol(table: Table, venue_key: str, tick_key: str, venues: Mapping[str, str]) -> SymbolConfig:
    table.require(venue_key, "symbol")
    venue, symbol = table.text(venue_key).lower(), table.text("symbol")
    if venue not in venues:
        raise table.fault(venue_key, f"no venue that is known: {', '.join(venues)}")
    if len(symbol.encode()) > MAX_SYMBOL_BYTES:
        raise table.fault("symbol", f"at most {MAX_SYMBOL_BYTES} bytes")
    tick = table.raw(tick_key)
    config = SymbolConfig(
        venue=venues[venue],
        symbol=symbol,
        tick=None if tick is None else _tick(table, tick_key, tick),
    )
    table.close()
    return config


def _tick(table: Table, key: str, value: object) -> Decimal:
    """A tick as it is written: `0.1` in a file is one tenth, not the double beside it."""
    try:
        tick = Decimal(str(value) if not isinstance(value, bool) else "")
    except InvalidOperation:
        tick = Decimal(0)
    if not tick.is_finite() or tick <= 0:
        raise table.fault(key, "a number above 0 is needed, such as 0.01")
    return tick


def _inputs(top: Table) -> tuple[InputConfig, ...]:
    named = tuple(InputConfig(address=each) for each in top.texts("inputs", most=MAX_INPUTS) or ())
    tables = tuple(map(_input, top.tables("input", most=MAX_INPUTS)))
    return named + tables


def _input(table: Table) -> InputConfig:
    table.require("address")
    config = InputConfig(
        address=table.text("address"),
        start=table.text("start") or None,
        symbols=table.texts("symbols", most=MAX_SYMBOLS) or (),
        recovery=table.text("recovery") or None,
        group_b=table.text("group-b") or None,
        interface=table.text("interface"),
        buffer_bytes=table.whole("buffer-bytes", None, 4_096, 2**30),
    )
    table.close()
    return config


def _features(table: Table | None) -> tuple[FeatureSettings, int | None]:
    if table is None:
        return FeatureSettings(), None
    every_ns = table.duration("every", None, least_ns=LEAST_EVERY_NS)
    values: dict[str, tuple[int, ...] | int] = {}
    for key, names in _SHARED.items():
        values |= dict.fromkeys(names, given) if (given := _given(table, key)) is not None else {}
    for name in FeatureSettings.__struct_fields__:
        if (own := _own(table, name)) is not None:
            values[name] = own
    table.close()
    try:
        return FeatureSettings.of(values), every_ns
    except SettingsError as error:
        raise ConsumerConfigError(f"{table.name}: {error}") from error


_SHARED: Final = {
    "windows": ("order_flow_ms", "trade_flow_ms", "vwap_ms", "intensity_ms"),
    "lags": ("wap_lags_ms",),
    "depths": ("quantity_bps", "wap_bps", "liquidity_bps", "level_bps"),
    "levels": ("queue_levels",),
}
"""Keys that set several fields of `FeatureSettings`. A field's own key overrides them."""


def _given(table: Table, key: str) -> tuple[int, ...] | None:
    if key == "windows":
        return _in_ms(table, key, table.durations(key, least_ns=_MS, most=MAX_VALUES))
    if key == "lags":
        lags = _in_ms(table, key, table.durations(key, least_ns=0, most=MAX_VALUES))
        # The price without a lag is a column of its own, and is always there.
        return None if lags is None else tuple(each for each in lags if each)
    most = MAX_DEPTH_BPS if key == "depths" else MAX_QUEUE_LEVELS
    wholes = table.wholes(key, 1, most, most=MAX_VALUES)
    return None if wholes is None else tuple(sorted({*wholes}))


def _own(table: Table, name: str) -> tuple[int, ...] | int | None:
    """The value of one field, whose key has hyphens and no unit where durations have theirs."""
    stem, _, unit = name.rpartition("_")
    key = (stem if unit == "ms" else name).replace("_", "-")
    if name == "volatility_sample_ms":
        sample_ns = table.duration(key, None, least_ns=_MS)
        return None if sample_ns is None else (_in_ms(table, key, (sample_ns,)) or (0,))[0]
    if unit == "ms":
        return _in_ms(table, key, table.durations(key, least_ns=_MS, most=MAX_VALUES))
    most = MAX_DEPTH_BPS if unit == "bps" else MAX_QUEUE_LEVELS
    return table.wholes(key, 1, most, most=MAX_VALUES)


def _in_ms(table: Table, key: str, ns: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Durations in whole ms, from the shortest to the longest."""
    if ns is None:
        return None
    for each in ns:
        if each % _MS:
            raise table.fault(key, "no whole number of milliseconds", duration_text(each))
    return tuple(sorted({each // _MS for each in ns}))


def _signals(top: Table) -> Mapping[str, Any] | None:
    value = top.raw("signals")
    if value is not None and not isinstance(value, Mapping):
        raise top.fault("signals", "a table is needed: [signals]")
    return value


def _outputs(table: Table | None) -> OutputConfig:
    if table is None:
        return OutputConfig()
    form = table.text("format", "jsonl")
    if form not in FORMATS:
        raise table.fault("format", f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    config = OutputConfig(
        format=form,
        parquet=table.text("parquet") or None,
        tcp_port=table.whole("tcp-port", None, 0, 65_535),
        tcp_host=table.text("tcp-host", "127.0.0.1"),
        nats=table.text("nats") or None,
        nats_subject=table.text("nats-subject", "fanout.features"),
    )
    table.close()
    return config


def _processing(table: Table | None) -> ProcessingConfig:
    if table is None:
        return ProcessingConfig()
    config = ProcessingConfig(
        cpu=table.whole("cpu", None, 0, 65_535),
        queue_records=table.whole("queue-records", QUEUE_RECORDS, 1, MAX_RECORDS),
        batch_records=table.whole("batch-records", BATCH_RECORDS, 1, MAX_RECORDS),
        max_symbols=table.whole("max-symbols", MAX_SYMBOLS, 1, MAX_SYMBOLS),
        wait_ns=table.duration("wait", WAIT_NS),
        http_port=table.whole("http-port", None, 0, 65_535),
        http_host=table.text("http-host", "127.0.0.1"),
    )
    table.close()
    return config
