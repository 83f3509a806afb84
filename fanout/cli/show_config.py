"""`fanout config`: the configuration in force, and where each value came from."""

import json
from typing import Annotated, Any, Final

import msgspec
import typer

from fanout.cli.config_file import DEFAULT, SOURCE, settings_of, source_of
from fanout.cli.outcome import emit, exit_codes
from fanout.cli.secrets import known_variables
from fanout.cli.serve import ServeOptions, add_transports, config_of, fanout_of, transports_in
from fanout.cli.source_tables import KEYS, NAMES, SourceTable
from fanout.config import SourceConfig
from fanout.net.addresses import parse_proxy
from fanout.venues import VENUES

NOTES_COLUMN: Final = 36
"""Where the source of a value is printed, unless the value is longer."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One option: its name in a file, its value, and where that came from: a flag, a variable of
    the environment, a file or the default."""

    name: str
    value: Any
    source: str


def show_config(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object, for programs, instead of TOML.")
    ] = False,
) -> None:
    """Print the configuration in force, and where each value came from.

    The output can be kept as a file for --config. Nothing is opened; errors are those of serving.
    Secrets are not shown.

    Example: fanout --config fanout.toml --stream trade config tcp --port 9001
    """
    with exit_codes():
        parent = fanout_of(context)
        options: ServeOptions = context.obj
        options.contexts.append(parent)
        options.act = _show_json if as_json else _show_toml
        words = context.args or transports_in(parent) or ["tcp"]
        add_transports(parent, words, behind="config")


def _show_toml(options: ServeOptions) -> None:
    config_of(options)
    front, *transports = options.contexts
    for line in _lines(front):
        emit(line)
    for variable, is_set in known_variables().items():
        if is_set:
            emit(f"# {variable} is set in the environment, and not shown")
    for table in options.tables:
        emit("")
        emit("[[source]]")
        for setting in _settings_of_table(table):
            emit(_line(setting))
    for context in transports:
        emit("")
        emit(f"[{context.info_name}]")
        for line in _lines(context):
            emit(line)


def _show_json(options: ServeOptions) -> None:
    config = config_of(options)
    front, *transports = options.contexts
    shown: dict[str, Any] = {
        "options": _settings(front),
        "sources": [_shown_source(each) for each in config.sources],
        "transports": [
            {"transport": context.info_name, "options": _settings(context)}
            for context in transports
        ],
        "secrets": known_variables(),
    }
    emit(msgspec.json.encode(shown).decode())


def _settings_of_table(table: SourceTable) -> list[Setting]:
    """What a table says, as `--config` would read it."""
    where = table.where.rpartition(": ")[0]
    return [
        Setting(name=NAMES[name], value=_public(name, value), source=where)
        for name, value in table.values.items()
    ]


def _shown_source(source: SourceConfig) -> dict[str, Any]:
    """All that is in force for a source, by the names that a table has."""
    return {
        "channel": source.name,
        "venue": source.venue,
        "assets": source.assets,
        **{
            name: _public(name, getattr(whose, each.field))
            for name, each in KEYS.items()
            for whose in (source, source.feed)
            if isinstance(whose, each.owner) and name not in ("channel", "venue", "assets")
        },
    }


def _public(name: str, value: Any) -> Any:
    """A value without the password that the URL of a proxy may hold."""
    return str(parse_proxy("--proxy", value)) if name == "proxy" and value else value


def _settings(context: typer.Context) -> list[Setting]:
    return [
        Setting(name=name, value=_value(context, name), source=source_of(context, name))
        for name in settings_of(context.command)
    ]


def _value(context: typer.Context, name: str) -> Any:
    if name == "assets" and source_of(context, name) == DEFAULT:
        is_all = _has_tables(context)  # the tables name all assets
        return None if is_all else VENUES[context.params["venue"]].default_assets
    return _public(name, context.params[settings_of(context.command)[name].name])


def _has_tables(context: typer.Context) -> bool:
    return bool((context.default_map or {}).get(SOURCE))


def _lines(context: typer.Context) -> list[str]:
    return [_line(each) for each in _settings(context)]


def _line(setting: Setting) -> str:
    is_set = setting.value is not None
    text = f"{setting.name} = {_toml(setting.value)}" if is_set else f"# {setting.name}"
    return f"{text:<{NOTES_COLUMN - 1}} # {setting.source if is_set else 'not set'}"


def _toml(value: Any) -> str:
    """TOML's strings are JSON's, where nothing outside of ASCII is escaped."""
    return json.dumps(value, ensure_ascii=False)
