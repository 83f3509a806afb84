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

`signal_table` has `[[signal]]`, and `described` reads the JSON layout that other consumers have.
"""

import tomllib
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from fanout.analytics.consumer.feature_table import features_in
from fanout.analytics.consumer.signal_table import MAX_SIGNALS, SignalConfig, signals_in
from fanout.analytics.consumer.tables import ConsumerConfigError, Table
from fanout.analytics.features.settings import FeatureSettings
from fanout.protocol.constants import MAX_SYMBOL_BYTES

MAX_SYMBOLS: Final = 2_048
"""Limit of the enabled symbols of a consumer. Protects its memory: a deep book takes 100 kB."""

MAX_INPUTS: Final = 64
"""Limit of the inputs of a consumer."""

MAX_RECORDS: Final = 16_777_216
"""Limit of the records between inputs and processing."""

QUEUE_RECORDS: Final = 16_384
"""What waits for another input: at 100,000 records a second 5,000 in 50 ms. Some 20 MB of books'
updates."""

BATCH_RECORDS: Final = 64
"""In a burst the first rows leave while later ones are computed: 64 records take some 2 ms. More
records in a batch save less than 0.5 us each."""

WAIT_NS: Final = 50_000_000

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

    @property
    def has_others(self) -> bool:
        """Whether rows go anywhere but to standard output."""
        return any(each is not None for each in (self.parquet, self.tcp_port, self.nats))


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
    signals: tuple[SignalConfig, ...] = ()
    outputs: OutputConfig = OutputConfig()
    processing: ProcessingConfig = ProcessingConfig()


def parse_consumer(text: str, source: str, *, venues: Mapping[str, str]) -> ConsumerConfig:
    """A configuration in TOML, or in JSON if it begins with a brace. `source` names it in errors.
    `venues` are the names that a symbol's venue can have, each with that in a header. Raises
    `ConsumerConfigError`."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        from fanout.analytics.consumer.described import parse_described

        return parse_described(text, source, venues=venues)
    try:
        said = tomllib.loads(text.removeprefix("\ufeff"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConsumerConfigError(f"{source} is no TOML: {error}") from error
    top = Table(source, "", said)
    processing = _processing(top.table("processing"))
    table = top.table("features")
    microprices = table.texts("microprices", most=MAX_SYMBOLS) if table is not None else None
    features, every_ns = features_in(table)
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
        signals=signals_in(top.tables("signal", most=MAX_SIGNALS), venues),
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
    config = SymbolConfig(
        venue=venues[venue],
        symbol=symbol,
        tick=None if table.raw(tick_key) is None else table.decimal(tick_key),
    )
    table.close()
    return config


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
