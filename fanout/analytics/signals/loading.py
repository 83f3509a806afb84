"""Models, and other objects of a user's own, by the name of a module and a class in it."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from fanout.analytics.errors import AnalyticsError
from fanout.analytics.signals.models import SignalModel
from fanout.protocol.errors import FanoutError
from fanout.protocol.text import fitting

MAX_WHY_BYTES: Final = 300
"""Of what a module says itself when it fails."""

EXAMPLE: Final = "my_signals:Breakout"


class ModelError(AnalyticsError):
    """A model cannot be loaded or made."""


def load_model(
    name: str, columns: Sequence[str], options: Mapping[str, Any] | None = None
) -> SignalModel:
    """The model of `MODULE:CLASS`, made with the columns' names and the options by their names.

    The module has to be importable: it is installed, or in a folder of PYTHONPATH. Raises
    `ModelError`, and what the class raises of this project's errors. The module runs with all
    rights of this process, so load none that you would not run.
    """
    made = made_of(name, found_class(name, EXAMPLE), columns, options or {})
    if not (isinstance(made, SignalModel) and callable(made.signal)):
        raise ModelError(f"{name} has no method signal(row): see fanout.analytics.SignalModel")
    return made


def found_class(name: str, example: str) -> Any:
    """The class of `MODULE:CLASS`. `example` is one, for the error. Raises `ModelError`."""
    module_name, colon, class_name = name.partition(":")
    if not (colon and class_name.isidentifier() and _is_module(module_name)):
        raise ModelError(f"{name[:80]!r} is not MODULE:CLASS, such as {example}")
    try:
        found = getattr(import_module(module_name), class_name, None)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{name}: module {module_name} cannot be imported: {_why(error)}"
        ) from error
    if not isinstance(found, type):
        raise ModelError(f"{name}: module {module_name} has no class {class_name}")
    return found


def _is_module(name: str) -> bool:
    return bool(name) and all(each.isidentifier() for each in name.split("."))


def made_of(name: str, found: Any, first: object, options: Mapping[str, Any]) -> object:
    """An object of the class, made with `first` and the options by their names. Raises
    `ModelError`, and what the class raises of this project's errors."""
    try:
        return found(first, **options)
    except FanoutError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name} cannot be made with these options: {_why(error)}") from error


def _why(error: BaseException) -> str:
    """In one line, whatever the module wrote."""
    return fitting(" ".join(f"{type(error).__name__}: {error}".split()), MAX_WHY_BYTES)
