"""The REST budget: each request has a weight, and a venue limits the weight per minute.

The venue counts all programs at one address together, per clock minute, and reports its count with
each answer. The service uses only a share of the limit and leaves the rest to other programs.

This module does no I/O; the clock is an argument.
"""

from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0

SHARE: Final = 0.5
"""The share of the venue's limit that the service uses. The user's other programs use the same
address."""


class Budget:
    """The remaining weight of this minute."""

    def __init__(self, limit: int, *, share: float = SHARE, wall_s: Callable[[], float]) -> None:
        """`limit` is the venue's limit of weight a minute, `share` the part of it to use. `wall_s`
        gives unix seconds."""
        self.limit = limit
        self._share = share
        self._wall_s = wall_s
        self._minute = 0
        self._used = 0

    @property
    def used(self) -> int:
        """The weight used in this clock minute: the venue's last count plus our requests since."""
        self._turn()
        return self._used

    def wait_s(self, weight: int) -> float:
        """Seconds to wait before a request of this weight; 0 if the budget allows it now."""
        if self.used + weight <= self.limit * self._share or not self._used:
            return 0.0
        return MINUTE_S - self._wall_s() % MINUTE_S

    def spend(self, weight: int) -> int:
        """Count a request of this weight. Returns its clock minute, for `counted`."""
        self._turn()
        self._used += weight
        return self._minute

    def counted(self, used: int, minute: int) -> None:
        """Take over the venue's count, from the answer to a request made in `minute`."""
        self._turn()
        if minute == self._minute:
            self._used = max(self._used, used)

    def _turn(self) -> None:
        minute = int(self._wall_s() // MINUTE_S)
        if minute != self._minute:
            self._minute, self._used = minute, 0
