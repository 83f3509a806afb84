"""What one run is asked for: the file, with the options of the command line in its place."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fanout.analytics.consumer.config import (
    ConsumerConfig,
    InputConfig,
    OutputConfig,
    ProcessingConfig,
    parse_consumer,
)
from fanout.analytics.consumer.durations import duration_ns
from fanout.analytics.consumer.tables import ConsumerConfigError
from fanout.analytics.errors import FitError
from fanout.analytics.fits import fit_file
from fanout.analytics.fits.microprice_fits import NamedFit, read_fits
from fanout.cli.inputs import fitting
from fanout.cli.source import Source
from fanout.config.assets import typed_symbols
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.errors import reason
from fanout.venues import VENUES

MAX_FILE_BYTES: Final = 1024 * 1024
"""Room for 2,048 symbols. Protects from reading what is no configuration."""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line. None is what was not said there."""

    addresses: tuple[str, ...] = ()
    microprices: tuple[str, ...] = ()
    every: str | None = None
    wait: str | None = None
    outputs: dict[str, Any] = {}
    """Fields of `OutputConfig`."""
    processing: dict[str, Any] = {}
    """Fields of `ProcessingConfig`."""


def read_consumer(path: str | None) -> ConsumerConfig:
    """The configuration in a file; the defaults without one. Raises `ConfigError`."""
    if path is None:
        return ConsumerConfig()
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"{path} has more than {MAX_FILE_BYTES:,} bytes: no configuration")
        return parse_consumer(data.decode("utf-8-sig"), path, venues=known_venues())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8: {error}") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ConsumerConfigError):
            raise ConfigError(str(error)) from error
        raise ConfigError(f"cannot read --config {shown(path)}: {shown(reason(error))}") from error


def known_venues() -> dict[str, str]:
    """The names of venues that a configuration can have, each with that in a header."""
    own = {each.name: each.name for each in VENUES.values()}
    return {name: each.name for name, each in VENUES.items()} | own


def combined(config: ConsumerConfig, wishes: Wishes) -> ConsumerConfig:
    """The configuration with what was said on the command line. Addresses there take the place of
    the file's. Raises `UsageError`."""
    inputs = config.inputs
    if wishes.addresses:
        inputs = tuple(InputConfig(address=each) for each in wishes.addresses)
    if not inputs:
        raise UsageError("no input: give an address, or an [[input]] in --config")
    addresses = [each.address for each in inputs]
    for each in addresses:
        if addresses.count(each) > 1:
            raise UsageError(f"{each} is named twice")
    processing = dict(wishes.processing)
    if wishes.wait is not None:
        processing["wait_ns"] = _duration("--wait", wishes.wait, least_ns=0)
    every_ns = config.every_ns
    if wishes.every is not None:
        every_ns = _duration("--every", wishes.every, least_ns=1_000_000)
    outputs = _said(config.outputs, wishes.outputs)
    if outputs.format == "none" and not outputs.has_others:
        raise UsageError("--format none leaves no output: add --parquet, --tcp-port or --nats")
    return replace(
        config,
        inputs=inputs,
        microprices=wishes.microprices or config.microprices,
        every_ns=every_ns,
        outputs=outputs,
        processing=_said(config.processing, processing),
    )


def _said(config: Any, said: dict[str, Any]) -> Any:
    assert isinstance(config, OutputConfig | ProcessingConfig), "their fields are options"
    return replace(config, **{name: value for name, value in said.items() if value is not None})


def _duration(flag: str, text: str, *, least_ns: int) -> int:
    try:
        ns = duration_ns(text)
    except ValueError as error:
        raise UsageError(f"{flag} {shown(text)[:40]!r}: {error}") from None
    if ns < least_ns:
        raise UsageError(f"{flag} {text}: at least {least_ns // 1_000_000}ms")
    return ns


def sources_of(config: ConsumerConfig, source: Source) -> list[Source]:
    """A source for each input, with the options that are for its kind of address. Raises
    `UsageError`.

    The symbols of the command line are for all inputs, and each may have some of them only. So
    they are left out here, and looked for in the headers."""
    found = []
    source = replace(source, symbols=None)
    addresses = [each.address for each in config.inputs]
    for each in config.inputs:
        fit = fitting(replace(source, address=each.address), addresses)
        found.append(_with_own(fit, each))
    return found


def _with_own(source: Source, config: InputConfig) -> Source:
    """With what the file says of one input. The command line goes before."""
    own: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("start", "recovery", "group_b", "interface", "buffer_bytes")
        if getattr(config, name) and not getattr(source, name)
    }
    if config.symbols:
        own["symbols"] = list(config.symbols)
    return replace(source, **own)


def named_fits(paths: Sequence[str]) -> tuple[NamedFit, ...]:
    """The fits in these files. Raises `ConfigError`."""
    try:
        return read_fits([(each, fit_bytes(each)) for each in paths])
    except OSError as error:
        raise ConfigError(f"cannot read --microprice: {error.filename}: {reason(error)}") from error
    except FitError as error:
        raise ConfigError(str(error)) from error


def fit_bytes(path: str) -> bytes:
    """What the file of a fit has, up to a byte more than such a file may have. Raises `OSError`."""
    with open(path, "rb") as file:
        return file.read(fit_file.MAX_FILE_BYTES + 1)


def symbols_in(typed: Sequence[str] | None) -> tuple[str, ...]:
    """Symbols as they were typed, one by one; empty for all."""
    return typed_symbols(typed or ())


def pin(cpu: int | None, config_path: str | None) -> None:
    """Keep this process on one core. Raises `UsageError` for a core that it cannot have, and
    `ConfigError` if the core was named in a file, whose path is given."""
    if cpu is None:
        return
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        cores = ", ".join(map(str, sorted(allowed)))
        fault = f"core {cpu} is not there for this process: it can have {cores}"
        if config_path is not None:
            raise ConfigError(f"{shown(config_path)}: {fault}")
        raise UsageError(fault)
    os.sched_setaffinity(0, {cpu})


def parquet_path(config: OutputConfig) -> Path | None:
    """The file of Parquet, if one is wanted."""
    return None if config.parquet is None else Path(config.parquet)
