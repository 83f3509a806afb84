"""Without compiled twins the plain functions are what is used."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from fanout.protocol.speedups import Twins


@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_module_that_is_not_built_leaves_the_plain_functions(
    monkeypatch: pytest.MonkeyPatch, pure: str
) -> None:
    monkeypatch.setenv("FANOUT_PURE", pure)
    twin = Twins("protocol._not_built")

    def function() -> str:
        return "plain"

    assert twin(function) is function
    assert not twin.is_compiled
    assert list(twin.plain.values()) == [function]


@pytest.mark.parametrize("line", ["constants.GONE", "assert constants.MAX_SEQ == 1"])
def test_a_module_that_was_built_from_other_sources_leaves_the_plain_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    """In an editable installation, until it is compiled anew."""
    monkeypatch.delenv("FANOUT_PURE", raising=False)
    (tmp_path / "stale_twins.py").write_text(f"from fanout.protocol import constants\n{line}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not Twins("stale_twins").is_compiled


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that is built, with a twin of a function and one of a method."""
    module = ModuleType("protocol._built")
    vars(module).update(function="compiled function", Class_method="compiled method")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def function() -> str:
    return "plain"


def other() -> str:
    return "plain"


class Class:
    def method(self) -> str:
        return "plain"


@pytest.mark.parametrize("pure", [None, "", "0"])
def test_a_module_that_is_built_has_twins_by_name(
    monkeypatch: pytest.MonkeyPatch, built: ModuleType, pure: str | None
) -> None:
    monkeypatch.delenv("FANOUT_PURE", raising=False)
    if pure is not None:
        monkeypatch.setenv("FANOUT_PURE", pure)
    twin = Twins(built.__name__)
    assert twin.is_compiled is True
    assert [twin(function), twin(Class.method), twin(other)] == [
        "compiled function",
        "compiled method",
        other,
    ]
    assert twin.plain == {"function": function, "Class_method": Class.method, "other": other}


@pytest.mark.parametrize("pure", ["1", "yes"])
def test_the_environment_switches_off_what_is_built(
    monkeypatch: pytest.MonkeyPatch, built: ModuleType, pure: str
) -> None:
    monkeypatch.setenv("FANOUT_PURE", pure)
    twin = Twins(built.__name__)
    assert twin.is_compiled is False
    assert twin(function) is function
