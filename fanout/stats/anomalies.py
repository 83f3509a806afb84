"""Oddities that are not fatal: each is counted, and each kind is logged once a minute.

A venue that sends a thousand broken messages a second must not fill the disk, and must be noticed.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from fanout.errors import shown

_LOG = logging.getLogger("fanout")

QUIET_S: Final = 60.0
"""How long a kind is not logged again after a line."""


class Anomalies:
    """Counts by kind, and a throttled warning for each."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, and never goes back."""
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, detail: object, *, level: int = logging.WARNING) -> None:
        """Count one of `kind`, and log it with `detail` unless the kind is quiet."""
        self.counts[kind] += 1
        now = self._clock()
        said_at, said_count = self._said.get(kind, (now - QUIET_S, 0))
        if now - said_at < QUIET_S:
            return
        count = self.counts[kind]
        more = count - said_count - 1
        suffix = f" ({more:,} more since the last such line)" if more else ""
        _LOG.log(level, "%s: %s%s", kind, shown(detail), suffix)
        self._said[kind] = (now, count)
