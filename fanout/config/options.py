"""Options: how a field of a configuration is spelled on the command line, in the environment, in a
file and in the documentation.

A field says all of that where its type and its default stand:

    port: Annotated[int, Option("Port to listen on.", env="FANOUT_TCP_PORT")] = 9000

From it come the flag (`--port`), the name in a TOML table (`port`), the variable, the text of
`--help`, and the row in docs/configuration.md. So a new option is one annotated field. Nothing here
reads a command line: `fanout.cli.options` does that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum, auto
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from fanout.config.duration import duration_text, parse_duration
from fanout.config.size import parse_size, size_text

T = TypeVar("T")


class Kind(Enum):
    """How the text of an option becomes the value of its field."""

    PLAIN = auto()
    """It is the value: a text, a number, a switch, or several texts."""
    SIZE = auto()
    """Bytes, as `64MiB`."""
    DURATION = auto()
    """Seconds, as `12h30m`; empty for 0."""
    TOKEN = auto()
    """The path of a file with a secret."""


class Option(msgspec.Struct, frozen=True):
    """How a field is spelled outside of Python.

    `flag` is derived from the field's name unless it is given, and `env` from the flag. `default`
    takes the place of the field's own where an option that is not given means something else.
    `also` are other flags, such as `-v`. Some options stand in tables of a file only.
    """

    help: str
    flag: str = ""
    env: str = ""
    metavar: str | None = None
    kind: Kind = Kind.PLAIN
    choices: tuple[str, ...] = ()
    default: Any = msgspec.UNSET
    also: tuple[str, ...] = ()
    is_in_tables_only: bool = False


_UNITS: Final = ("_s", "_bytes")
"""Endings of a field's name that its flag leaves out."""


class OptionField(msgspec.Struct, frozen=True, kw_only=True):
    """A field that is an option."""

    owner: type[msgspec.Struct]
    field: str
    option: Option
    type: Any
    """As annotated, without the option."""
    own_default: Any
    """`msgspec.NODEFAULT` where the field needs a value."""

    @property
    def flag(self) -> str:
        """With its dashes."""
        if self.option.flag:
            return self.option.flag
        ending = next((each for each in _UNITS if self.field.endswith(each)), "")
        return "--" + self.field.removesuffix(ending).replace("_", "-")

    @property
    def name(self) -> str:
        """In a file."""
        return self.flag.lstrip("-")

    @property
    def is_required(self) -> bool:
        return self.default is msgspec.NODEFAULT

    @property
    def is_switch(self) -> bool:
        return self.type is bool

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def default(self) -> Any:
        """What the option is if nobody gives it."""
        given = self.option.default
        return self.own_default if given is msgspec.UNSET else given

    @property
    def default_text(self) -> Any:
        """The default as somebody would type it."""
        if self.option.kind is Kind.SIZE:
            return size_text(self.default)
        if self.option.kind is Kind.DURATION:
            return duration_text(self.default)
        return list(self.default) if self.is_list and not self.is_required else self.default

    def env(self, command: str = "") -> str:
        """The variable, in a command or in front of all of them."""
        words = f"fanout-{command}-{self.name}" if command else f"fanout-{self.name}"
        return self.option.env or words.upper().replace("-", "_")


def options_of(*types: type[msgspec.Struct], in_tables: bool = False) -> tuple[OptionField, ...]:
    """The options among the fields of configurations and of what they hold, in order. With
    `in_tables` those of tables in a file too."""
    found = (option for each in types for option in _options_in(each))
    return tuple(each for each in found if in_tables or not each.option.is_in_tables_only)


def _options_in(owner: type[msgspec.Struct]) -> Iterator[OptionField]:
    hints = get_type_hints(owner, include_extras=True)
    for field in msgspec.structs.fields(owner):
        annotation = hints[field.name]
        option = _option_in(annotation)
        if option is None:
            held = _struct_in(annotation)
            yield from () if held is None else _options_in(held)
        else:
            bare = get_args(annotation)[0]
            yield OptionField(
                owner=owner,
                field=field.name,
                option=option,
                type=bare,
                own_default=field.default,
            )


def _option_in(annotation: Any) -> Option | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((each for each in get_args(annotation)[1:] if isinstance(each, Option)), None)


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """The configuration that a field holds, if it holds one."""
    is_union = get_origin(annotation) in (Union, UnionType)
    for each in get_args(annotation) if is_union else (annotation,):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None


Reader = Callable[[str | None], Any]
"""Reads the file that an option names."""


def made_from(
    owner: type[T], said: Mapping[str, Any], *, token: Reader | None = None, **given: Any
) -> T:
    """A configuration from what was said, by the options' names in a file, and from fields that
    are no options. `token` reads a secret. Raises an `OperatorError`."""
    assert issubclass(owner, msgspec.Struct), "configurations are structs"
    values = {
        each.field: _value(each, said[each.name], token)
        for each in _options_in(owner)
        if each.owner is owner and each.field not in given
    }
    return owner(**values, **given)


def _value(field: OptionField, said: Any, token: Reader | None) -> Any:
    if field.option.kind is Kind.SIZE:
        return parse_size(said)
    if field.option.kind is Kind.DURATION:
        return parse_duration(said) if said else 0
    if field.option.kind is Kind.TOKEN:
        assert token is not None, f"{field.flag} needs somebody who reads it"
        return token(said)
    return tuple(said) if field.is_list else said


def markdown_table(fields: Iterable[OptionField], command: str = "") -> str:
    """The options as a table for the documentation."""
    rows = ["| option | variable | default | |", "|---|---|---|---|"]
    for each in fields:
        flags = ", ".join(f"`{flag}`" for flag in (each.flag, *each.option.also))
        help_text = each.option.help.replace("\\[", "[").replace("|", "\\|")
        rows.append(f"| {flags} | `{each.env(command)}` | {_default_cell(each)} | {help_text} |")
    return "\n".join(rows) + "\n"


def _default_cell(field: OptionField) -> str:
    if field.is_required:
        return "needed"
    value = field.default_text
    if value in (None, "", []) or field.is_switch:
        return ""
    return f"`{','.join(value) if isinstance(value, list) else value}`"
