"""How much may be asked of a venue's REST: each request has a weight, and a minute has a limit.

The venue counts the requests of an address in each clock minute, whichever program made them, and
says with each answer how much it has counted. A part of the limit is left to other programs.

Pure, but for a clock.
"""

from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0

SHARE: Final = 0.5
"""Part of the venue's limit that we take: the user's own programs ask from the same address."""


class Budget:
    """The weight that is left in this minute."""

    def __init__(self, limit: int, *, share: float = SHARE, wall_s: Callable[[], float]) -> None:
        """`limit` is the venue's, in weight a minute, and `share` what is taken of it. `wall_s`
        gives unix seconds."""
        self.limit = limit
        self._share = share
        self._wall_s = wall_s
        self._minute = 0
        self._used = 0

    @property
    def used(self) -> int:
        """Weight used in this clock minute: what the venue counted, and what we asked for since."""
        self._turn()
        return self._used

    def wait_s(self, weight: int) -> float:
        """How long to wait before asking for something of this weight; 0 if there is room."""
        if self.used + weight <= self.limit * self._share or not self._used:
            return 0.0
        return MINUTE_S - self._wall_s() % MINUTE_S

    def spend(self, weight: int) -> int:
        """Count a request that is made now. Gives its clock minute, for `counted`."""
        self._turn()
        self._used += weight
        return self._minute

    def counted(self, used: int, minute: int) -> None:
        """The venue's count, from the answer to a request of that minute."""
        self._turn()
        if minute == self._minute:
            self._used = max(self._used, used)

    def _turn(self) -> None:
        minute = int(self._wall_s() // MINUTE_S)
        if minute != self._minute:
            self._minute, self._used = minute, 0
