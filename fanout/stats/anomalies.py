"""Anomalies: faults that do not stop the service. All are counted; each kind is logged once a
minute.

If a venue sends a thousand broken messages a second, the log must show it without filling the
disk.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from fanout.errors import shown

_LOG = logging.getLogger("fanout")

QUIET_S: Final = 60.0
"""Shortest time between two log lines of one kind."""


class Anomalies:
    """Counts by kind, and a throttled warning for each."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, detail: object, *, level: int = logging.WARNING) -> None:
        """Count one of `kind`. Log it with `detail`, unless one was logged within `QUIET_S`."""
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
