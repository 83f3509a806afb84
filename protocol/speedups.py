"""Which functions are compiled.

The hot functions of the wire have *twins* in C, `protocol/_speedups.pyx`: same names, same values,
same errors. They are built where there is a compiler, and left out where there is none; the plain
functions are what the twins are checked against, and what is used without them. FANOUT_PURE=1 in
the environment switches the twins off.
"""

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PLAIN: Final[dict[str, Callable[..., Any]]] = {}
"""The plain functions that may have a twin, by its name."""


def _twins() -> ModuleType | None:
    if os.environ.get("FANOUT_PURE", "0") not in ("", "0"):
        return None
    try:
        return import_module("protocol._speedups")
    except ImportError:
        return None


def twin(plain: F) -> F:
    """Decorates a function, or a method of a class with slots: its compiled twin instead, if there
    is one."""
    name = plain.__qualname__.replace(".", "_")
    PLAIN[name] = plain
    compiled: F = getattr(_TWINS, name, plain)
    return compiled


_TWINS: Final = _twins()

IS_COMPILED: Final = _TWINS is not None
"""Whether the compiled twins are in use."""
