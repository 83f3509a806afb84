"""Makes faults from names and fields of a command line or a request, and describes their fields.

Every error is one line that names the fault, the field, the value and the values it takes.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from fanout.errors import UsageError, shown
from fanout.simulator.faults import FAULTS, Fault

F = TypeVar("F", bound=Fault)


def fault_from(name: str, given: Mapping[str, Any]) -> Fault:
    """The fault of that name. Values may be text, with null for None.

    Raises `UsageError` for an unknown fault, an unknown field, or an invalid value.
    """
    kind = FAULTS.get(name)
    if kind is None:
        raise UsageError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
    may_be_null = [name for name, field in _FIELDS[kind].items() if _may_be_null(field.type)]
    return _converted(
        kind,
        {
            name: None if value == "null" and name in may_be_null else value
            for name, value in given.items()
        },
    )


def checked(fault: F) -> F:
    """Returns the fault if its fields have valid values. Raises `UsageError` otherwise."""
    return _converted(type(fault), msgspec.structs.asdict(fault))


def described(kind: type[Fault]) -> dict[str, str]:
    """The values that each field takes, and its default."""
    return {name: _held(field.type) + _default(field) for name, field in _FIELDS[kind].items()}


def _converted(kind: type[F], given: dict[str, Any]) -> F:
    name, fields = kind.__struct_config__.tag, _FIELDS[kind]
    for unknown in (each for each in given if each not in fields):
        raise UsageError(f"fault {name} has no field {unknown!r}; it has {', '.join(fields)}")
    for missing in (each for each in fields if fields[each].required and each not in given):
        raise UsageError(f"fault {name}: give {missing}: {_held(fields[missing].type)}")
    try:
        fault = msgspec.convert(given, kind, strict=False)
        msgspec.json.encode(fault)
    except msgspec.ValidationError as error:
        _, _, path = str(error).partition("`$.")
        field = next(each for each in fields if path.rstrip("`").partition("[")[0] == each)
        holds = _held(fields[field].type)
        value = shown(repr(given[field]))
        raise UsageError(f"fault {name}: {field} is {value}; give {holds}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"fault {name}: it cannot be written as JSON: {error}") from error
    return fault


def _fields(kind: type[Fault]) -> dict[str, inspect.Field]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType), "a fault is a struct"
    return {field.name: field for field in info.fields}


_FIELDS: Final = {kind: _fields(kind) for kind in FAULTS.values()}


def _held(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return (schema or {}).get("description") or _held(inner)
        case inspect.UnionType(types=types):
            return ", or ".join(map(_held, types))
        case inspect.LiteralType(values=values):
            *others, last = map(str, values)
            return f"{', '.join(others)} or {last}"
        case inspect.IntType():
            return "a whole number" + _bounds(info)
        case inspect.FloatType():
            return "a number" + _bounds(info)
        case inspect.BoolType():
            return "true or false"
        case inspect.DictType():
            return "an object"
        case inspect.NoneType():
            return "null"
        case _:
            return "text"


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    """Every number field of a fault has a minimum, and most have a maximum."""
    most = "" if info.le is None else f" to {info.le:,.0f}"
    if info.gt is not None:
        return f" above {info.gt:,}{most and ',' + most}"
    return f", {info.ge:,}{most or ' or more'}"


def _may_be_null(info: inspect.Type) -> bool:
    return isinstance(info, inspect.UnionType) and any(
        isinstance(each, inspect.NoneType) for each in info.types
    )


def _default(field: inspect.Field) -> str:
    if field.required:
        return ""
    default = {} if field.default is msgspec.NODEFAULT else field.default
    return f"; {msgspec.json.encode(default).decode()} by default"
