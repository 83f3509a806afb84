"""What one run on paper is asked for: the file, with the options of the command line in its
place."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from fanout.analytics.errors import AnalyticsError
from fanout.cli.inputs import fitting
from fanout.cli.logs import choose_level
from fanout.cli.source import Source
from fanout.cli.trading.running import Input
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.errors import reason
from fanout.trading.errors import TradingError
from fanout.trading.running.config import PaperConfig, parse_paper

MAX_FILE_BYTES: Final = 1024 * 1024
"""Protects from reading what is no configuration."""


def read_paper(path: str, environment: Mapping[str, str]) -> PaperConfig:
    """The configuration in a file. Raises `ConfigError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"{path} has more than {MAX_FILE_BYTES:,} bytes: no configuration")
        return parse_paper(data.decode(), path, environment=environment)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8: {error}") from error
    except (TradingError, AnalyticsError) as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(f"cannot read --config {shown(path)}: {shown(reason(error))}") from error


def combined(config: PaperConfig, said: Mapping[str, Any]) -> PaperConfig:
    """The configuration with what was said on the command line of `[system]`. Raises `ConfigError`
    for a kill file that nobody could make."""
    system = replace(
        config.system, **{name: value for name, value in said.items() if value is not None}
    )
    if system.kill_file is not None and not Path(system.kill_file).parent.is_dir():
        raise ConfigError(
            f"{config.source}: system.kill-file = {shown(system.kill_file)}: there is no folder "
            f"{shown(Path(system.kill_file).parent)}"
        )
    return replace(config, system=system)


def inputs_of(
    source: Source, addresses: Sequence[str], history: str | None, *, follow: bool
) -> list[Input]:
    """The inputs, with the options that are for their kinds of addresses. Raises `UsageError`."""
    if history is not None and not history.startswith("journal://"):
        raise UsageError(f"--from {shown(history)}: journal://DIR/CHANNEL is needed")
    if history is None and not addresses:
        raise UsageError("no input: give an address, or --from journal://DIR")
    for each in addresses:
        if addresses.count(each) > 1:
            raise UsageError(f"{shown(each)} is named twice")
    if history is not None and len(addresses) > 1:
        raise UsageError("--from goes with one address, which it goes on with")
    all_of_them = [*addresses, *([history] if history else [])]
    found = {each: fitting(replace(source, address=each), all_of_them) for each in all_of_them}
    if history is None:
        several = len(addresses) > 1
        # With several inputs each has some of the symbols: they are looked for in the headers.
        return [
            Input(
                source=replace(found[each], symbols=None) if several else found[each], follow=follow
            )
            for each in addresses
        ]
    if not addresses:
        return [Input(source=found[history])]
    if addresses[0].startswith("journal://"):
        raise UsageError("--from and a journal:// as ADDRESS: give one of them")
    live = replace(found[addresses[0]], start=None)
    return [Input(source=live, history=found[history])]


def chosen_level(name: str | None) -> None:
    """Have messages begin at a level of the file, if it has one."""
    if name is not None:
        choose_level(logging.getLevelNamesMapping()[name.upper()])
