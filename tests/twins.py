"""Compiled twins beside their plain functions, for the tests that hold them against each other."""

import importlib
import os
import shutil
from collections.abc import Callable, Mapping
from types import ModuleType

import pytest


def twins_of(module: str) -> ModuleType:
    """The compiled module; the test is left out where it is not built and need not be."""
    return twins_if_built(module) or pytest.skip("the compiled twins are not built")


def twins_if_built(module: str) -> ModuleType | None:
    """The compiled module; None where it is not built and need not be."""
    try:
        return importlib.import_module(module)
    except ImportError:
        if os.environ.get("FANOUT_REQUIRE_TWINS") == "1" and shutil.which("cc"):
            raise
        return None


def outcome(function: Callable[..., object], *arguments: object) -> object:
    """What a call gives, or raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error), str(error)


def same_outcome(
    compiled: ModuleType,
    plain: Mapping[str, Callable[..., object]],
    name: str,
    *arguments: object,
) -> object:
    """What both give, which is the same."""
    ours = outcome(getattr(compiled, name), *arguments)
    reference = outcome(plain[name], *arguments)
    assert ours == reference
    assert repr(ours) == repr(reference)  # 1 equals True, and an enumeration its number
    return ours
