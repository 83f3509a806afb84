"""The REST budget: each request has a weight, and a venue limits the weight in a window of time.

The window is a minute at Binance, and 2 s at OKX. The venue counts all programs at one address
together. Binance counts per clock minute, and reports its count with each answer. The service uses
only a share of the limit and leaves the rest to other programs. Since the share is a half, our
windows need not begin when the venue's do: one of the venue's windows meets two of ours at most.

This module does no I/O; the clock is an argument.
"""

from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0

SHARE: Final = 0.5
"""The share of the venue's limit that the service uses. The user's other programs use the same
address."""


class Budget:
    """The remaining weight of this window."""

    def __init__(
        self,
        limit: int,
        *,
        window_s: float = MINUTE_S,
        share: float = SHARE,
        wall_s: Callable[[], float],
    ) -> None:
        """`limit` is the venue's limit of weight in `window_s`, `share` the part of it to use.
        `wall_s` gives unix seconds."""
        self.limit = limit
        self.window_s = window_s
        self._share = share
        self._wall_s = wall_s
        self._window = 0
        self._used = 0
        self._ours = 0

    @property
    def others(self) -> int:
        """The part of `used` that the venue counted, and that no request of ours explains."""
        self._turn()
        return self._used - self._ours

    @property
    def used(self) -> int:
        """The weight used in this window: the venue's last count plus our requests since."""
        self._turn()
        return self._used

    @property
    def left_s(self) -> float:
        """Seconds to the end of this window."""
        return self.window_s - self._wall_s() % self.window_s

    def wait_s(self, weight: int) -> float:
        """Seconds to wait before a request of this weight; 0 if the budget allows it now."""
        if self.used + weight <= self.limit * self._share or not self._used:
            return 0.0
        return self.left_s

    def spend(self, weight: int) -> int:
        """Count a request of this weight. Returns its window, for `counted`."""
        self._turn()
        self._used += weight
        self._ours += weight
        return self._window

    def counted(self, used: int, window: int) -> None:
        """Take over the venue's count, from the answer to a request made in `window`."""
        self._turn()
        if window == self._window:
            self._used = max(self._used, used)

    def _turn(self) -> None:
        window = int(self._wall_s() // self.window_s)
        if window != self._window:
            self._window, self._used, self._ours = window, 0, 0
