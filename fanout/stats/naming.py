"""Prefixes log lines with the name of their source, if the service has several.

A context variable holds the name, so every line logged by a source's tasks gets it, from any
module. With one source, lines have no prefix.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_NAME: Final[ContextVar[str]] = ContextVar("source", default="")


def name_lines(name: str) -> None:
    """Prefix log lines of this task, and of the tasks that it starts from now on, with `name`."""
    _NAME.set(name)


class _Naming(logging.Filter):
    """Adds the prefix."""

    def filter(self, record: logging.LogRecord) -> bool:
        if name := _NAME.get():
            record.msg = f"{name}: {record.msg}"
        return True


@contextmanager
def lines_named() -> Iterator[None]:
    """Add the prefixes while the block runs."""
    logger, naming = logging.getLogger("fanout"), _Naming()
    logger.addFilter(naming)
    try:
        yield
    finally:
        logger.removeFilter(naming)
