"""`--config FILE`: a TOML file with the same names as the options.

    assets = ["BTCUSDT", "ETHUSDT"]
    log-format = "json"

    [[source]]
    venue = "binance-spot"
    assets = "BTCUSDT"

    [tcp]
    port = 9000

What stands there takes the place of the built-in defaults: a flag goes before a variable of the
environment, a variable before the file. Values go the same way as those of the environment, as
text, so that what is refused there is refused here.
"""

import reprlib
import tomllib
from difflib import get_close_matches
from typing import Any, Final

import typer

from fanout.cli.source_tables import read_tables
from fanout.errors import ConfigError, shown
from fanout.protocol.errors import reason

MAX_FILE_BYTES: Final = 16 * 1024
"""A file that is longer holds something else. All options take 2 KiB, and what `tomllib` makes of a
long key takes time that grows with its square."""

NOT_SETTINGS: Final = frozenset(
    {"config", "help", "version", "install-completion", "show-completion"}
)
"""Options that say what to do now, and have no place in a file."""

DEFAULT: Final = "default"

SOURCE: Final = "source"
"""The name of the tables that are sources."""

Tables = dict[str, Any]


def settings_of(command: Any) -> dict[str, Any]:
    """A command's parameters by the names they have in a file: those of their flags."""
    named = {flag_of(each): each for each in command.params if each.param_type_name == "option"}
    return {name: each for name, each in named.items() if name not in NOT_SETTINGS}


def name_variables(group: Any) -> None:
    """Give every option that has none a variable named after its command and its flag."""
    for name, command in group.commands.items():
        for flag, parameter in settings_of(command).items():
            if not parameter.envvar:
                parameter.envvar = f"FANOUT_{name}_{flag}".upper().replace("-", "_")


def flag_of(parameter: Any) -> str:
    """The name of an option in a file: its longest flag."""
    return str(max(parameter.opts, key=len)).lstrip("-")


def source_of(context: typer.Context, name: str) -> str:
    """Who said what an option is: its flag, a variable of the environment, the file, or
    `DEFAULT`."""
    parameter: Any = settings_of(context.command).get(name)
    source = context.get_parameter_source(parameter.name) if parameter else None
    match source.name if source else "DEFAULT":
        case "COMMANDLINE":
            return f"--{name}"
        case "ENVIRONMENT":
            return str(parameter.envvar)
        case "DEFAULT_MAP":
            return str(context.find_root().params["config"])
    return DEFAULT


def read_config(path: str, command: Any, tables: frozenset[str]) -> Tables:
    """What a file says, by parameter name, with a table for each of the subcommands `tables`.

    Raises `ConfigError` for what cannot be read, for a name that is not known, with the nearest
    that is, and for a value that is not of a kind that options have.
    """
    said = _load(path)
    commands = {name: command.commands[name] for name in tables}
    values: Tables = {}
    for name, value in said.items():
        if name == SOURCE:
            values[SOURCE] = read_tables(path, value)
        elif name in commands:
            if not isinstance(value, dict):
                raise ConfigError(f"{path}: {name} is a table: [{name}], and below it its options")
            settings = settings_of(commands[name])
            values[name] = _values(path, f"[{name}] ", value, settings, sorted(settings))
        else:
            known = settings_of(command)
            values |= _values(path, "", {name: value}, known, [*known, *commands, SOURCE])
    return values


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"{path} has more than {MAX_FILE_BYTES:,} bytes: no configuration")
        return tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {shown(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read --config {path}: {shown(reason(error))}") from error


def _values(
    path: str, table: str, said: dict[str, Any], settings: dict[str, Any], known: list[str]
) -> Tables:
    values: Tables = {}
    for name, value in said.items():
        parameter = settings.get(name)
        if parameter is None:
            nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise ConfigError(f"{path}: {table}{shown(name)} is unknown: did you mean {nearest}?")
        if not _is_kind(value, parameter):
            words = shown(_REPR.repr(value))
            raise ConfigError(f"{path}: {table}{name} = {words}: {_kind(parameter)} is needed")
        values[parameter.name] = _as_text(value, parameter)
    return values


def _is_kind(value: object, parameter: Any) -> bool:
    if isinstance(value, list):
        return bool(parameter.multiple) and all(isinstance(each, str) for each in value)
    if isinstance(value, bool) or parameter.is_flag:
        return isinstance(value, bool) and bool(parameter.is_flag)
    return isinstance(value, str | float) or (isinstance(value, int) and _is_short(value))


def _is_short(number: int) -> bool:
    """Whether a number can be an option's. In hexadecimal digits a file can say such as Python
    does not turn into text."""
    return number.bit_length() <= 64


class _Repr(reprlib.Repr):
    """Values in few words, however long or deep they are."""

    def repr_int(self, number: int, level: int) -> str:
        return super().repr_int(number, level) if _is_short(number) else "a number too long"


_REPR: Final = _Repr()
_REPR.maxstring = _REPR.maxother = 60


def _kind(parameter: Any) -> str:
    if parameter.is_flag:
        return "true or false"
    return "a list of strings, or one," if parameter.multiple else "a string or a number"


def _as_text(value: Any, parameter: Any) -> Any:
    if isinstance(value, bool | list):
        return value
    return [str(value)] if parameter.multiple else str(value)
