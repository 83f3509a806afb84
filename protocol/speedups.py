"""Chooses between compiled and plain functions.

The hot functions have *twins* in C with the same names, values and errors. The wire's twins are in
`protocol/_speedups.pyx`. The build compiles them if there is a compiler. The plain functions are
the reference for tests, and the fallback without twins. FANOUT_PURE=1 in the environment switches
the twins off.
"""

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Twins:
    """A decorator that replaces a function with its compiled twin from one module, if there is one.

    It also works for methods of classes with slots.
    """

    def __init__(self, module: str) -> None:
        self.plain: dict[str, Callable[..., Any]] = {}
        """The decorated plain functions, by the name of the twin."""
        self._module = _imported(module)

    @property
    def is_compiled(self) -> bool:
        """Whether the twins are in use."""
        return self._module is not None

    def __call__(self, plain: F) -> F:
        name = plain.__qualname__.replace(".", "_")
        self.plain[name] = plain
        compiled: F = getattr(self._module, name, plain)
        return compiled


def _imported(module: str) -> ModuleType | None:
    if os.environ.get("FANOUT_PURE", "0") not in ("", "0"):
        return None
    try:
        return import_module(module)
    except (ImportError, AttributeError, AssertionError):
        # Missing, or compiled from other sources: it asks for names that are gone, or finds that a
        # constant differs. In an editable installation that is so until it is compiled anew.
        return None


twin: Final = Twins("fanout.protocol._speedups")

PLAIN: Final = twin.plain

IS_COMPILED: Final = twin.is_compiled
"""Whether the compiled twins are in use."""
