"""`[[source]]` tables of the configuration file: sources with more to say than `--assets` can.

    [[source]]
    venue = "binance-spot"
    assets = ["BTCUSDT", "ETH*"]
    channel = "spot"
    connections = 2

The keys are the fields of `SourceConfig` and `FeedConfig`, spelled as options are. A key that a
table leaves out is what the option says, and without one its default.
"""

import re
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from fanout.cli.venues import check_venue, spelled
from fanout.config import FeedConfig, SimConfig, SourceConfig
from fanout.config.assets import split_words
from fanout.config.options import options_of
from fanout.errors import ConfigError, UsageError, shown


class SourceTable(msgspec.Struct, frozen=True):
    """One table: its place in the file, for messages, and its values by field."""

    where: str
    values: dict[str, Any]


KEYS: Final = {each.name: each for each in options_of(SourceConfig, in_tables=True)}
"""What a table may say, by its spelling there."""

NAMES: Final = {each.field: name for name, each in KEYS.items()}
"""How each field is spelled."""


def read_tables(path: str, value: object) -> list[SourceTable]:
    """The tables of a file. Raises `ConfigError` for what is not a list of tables, a key that does
    not exist, with the nearest that does, and a value of the wrong kind."""
    if not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
        raise ConfigError(
            f"{path}: source is a list of tables: write [[source]], and below it its keys"
        )
    return [
        _read_table(f"{path}: [[source]] {number}", each) for number, each in enumerate(value, 1)
    ]


def _read_table(where: str, said: dict[str, Any]) -> SourceTable:
    values: dict[str, Any] = {}
    for key, value in said.items():
        field = KEYS.get(key)
        if field is None:
            raise ConfigError(f"{where}: {shown(key)} is unknown: {_advice(key)}")
        is_one = field.is_list and isinstance(value, str)
        try:
            values[field.field] = msgspec.convert(
                split_words([value]) if is_one else value, field.type
            )
        except msgspec.ValidationError as error:
            why = shown(str(error).partition(" - at ")[0].lower())
            raise ConfigError(f"{where}: {key}: {why}") from None
    if "assets" not in values:
        raise ConfigError(f'{where}: assets is missing: assets = ["BTCUSDT"], or "all"')
    return SourceTable(where, values)


def _advice(key: str) -> str:
    """The key that resembles one that does not exist, or else all keys."""
    close = get_close_matches(key, KEYS, n=1)
    return f"did you mean {close[0]}?" if close else f"a source has {', '.join(KEYS)}"


def source_of(
    table: SourceTable,
    *,
    venue: str,
    data: tuple[str, ...],
    feed: FeedConfig,
    checksums: bool = False,
) -> SourceConfig:
    """The source of a table. What it does not say is as given. Raises `ConfigError`."""
    own = {name for name in table.values if name in FeedConfig.__struct_fields__}
    values = {name: value for name, value in table.values.items() if name not in own}
    venue = values.setdefault("venue", venue)
    values.setdefault("data", data)
    values.setdefault("checksums", checksums)
    try:
        check_venue("venue", venue)
        values["assets"] = spelled(venue, values["assets"])
        if venue == "sim" and (values.get("ws_url") or values.get("rest_url")):
            raise UsageError("the venue sim brings its own URLs: leave ws-url and rest-url out")
        return SourceConfig(
            **values,
            feed=msgspec.structs.replace(feed, **{name: table.values[name] for name in own}),
            sim=SimConfig() if venue == "sim" else None,
        )
    except UsageError as error:
        raise ConfigError(f"{table.where}: {_in_keys(table, str(error))}") from error


def _in_keys(table: SourceTable, message: str) -> str:
    """An error with the keys of the table in place of the options of the same names."""
    for field in table.values:
        message = re.sub(rf"(?<!\S)--{NAMES[field]}(?![\w-])", NAMES[field], message)
    return message
