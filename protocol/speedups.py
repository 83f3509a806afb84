"""Which functions are compiled.

The hot functions have *twins* in C, those of the wire in `protocol/_speedups.pyx`: same names, same
values, same errors. They are built where there is a compiler, and left out where there is none; the
plain functions are what the twins are checked against, and what is used without them. FANOUT_PURE=1
in the environment switches the twins off.
"""

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Twins:
    """The twins in one module, as a decorator: of a function, or of a method of a class with slots,
    it makes the compiled twin, if there is one."""

    def __init__(self, module: str) -> None:
        self.plain: dict[str, Callable[..., Any]] = {}
        """The plain functions that may have a twin, by its name."""
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
    except ImportError:
        return None


twin: Final = Twins("fanout.protocol._speedups")

PLAIN: Final = twin.plain

IS_COMPILED: Final = twin.is_compiled
"""Whether the compiled twins are in use."""
