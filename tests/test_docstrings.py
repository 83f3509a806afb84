"""Every public name of the wire and of the clients says what it is."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import fanout.clients
from fanout.clients import columns

MODULES = [
    "fanout.protocol",
    "fanout.clients.columns",
    *(f"fanout.clients.{each.name}" for each in pkgutil.iter_modules(fanout.clients.__path__)),
    *(f"fanout.clients.columns.{each.name}" for each in pkgutil.iter_modules(columns.__path__)),
]


def public_names(name: str) -> Iterator[tuple[str, object]]:
    module = import_module(name)
    for attribute, value in vars(module).items():
        is_ours = name == "fanout.protocol" or getattr(value, "__module__", None) == name
        is_code = inspect.isclass(value) or inspect.isfunction(value)
        if not attribute.startswith("_") and is_ours and is_code:
            yield attribute, value
            if inspect.isclass(value):
                yield from members(attribute, value)


def members(name: str, owner: type) -> Iterator[tuple[str, object]]:
    for attribute, value in vars(owner).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not attribute.startswith("_") and inspect.isfunction(function):
            yield f"{name}.{attribute}", getattr(owner, attribute)


@pytest.mark.parametrize("module", MODULES)
def test_what_is_public_has_a_docstring(module: str) -> None:
    assert import_module(module).__doc__
    # One that overrides a method may leave the words to the one it overrides.
    assert [name for name, value in public_names(module) if not inspect.getdoc(value)] == []
