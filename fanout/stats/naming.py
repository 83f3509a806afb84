"""Log lines that name the source they are about, where a service has several.

The name travels with the task: whatever a source's tasks log, from whichever module, bears its
name. A service with one source logs as if there were no names.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_NAME: Final[ContextVar[str]] = ContextVar("source", default="")


def name_lines(name: str) -> None:
    """Have this task, and those that it starts from now on, log under this name."""
    _NAME.set(name)


class _Naming(logging.Filter):
    """Puts the name in front of each line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if name := _NAME.get():
            record.msg = f"{name}: {record.msg}"
        return True


@contextmanager
def lines_named() -> Iterator[None]:
    """Show the names as long as the block runs."""
    logger, naming = logging.getLogger("fanout"), _Naming()
    logger.addFilter(naming)
    try:
        yield
    finally:
        logger.removeFilter(naming)
