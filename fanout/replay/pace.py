"""When the frames of a journal are due again."""

import math
from typing import Final

import trio

LONGEST_HOLE_NS: Final = 5_000_000_000
"""A hole in the journal that is longer counts as one of this length. A journal has a HEARTBEAT each
second, so only a service that did not run leaves longer ones."""

LEAST_S: Final = 0.000_5
"""A frame that is due sooner goes out at once: no event loop waits for shorter times."""


class Pace:
    """Turns the times of a journal into waiting, on trio's clock. Times never go back."""

    def __init__(self, speed: float) -> None:
        """`speed` is infinite for no waiting."""
        self._speed = speed
        self._begun_s = 0.0
        self._begun_ns = 0
        """The time in the journal that was due at `_begun_s`, less the holes that were cut short
        since."""
        self.time_ns = 0
        """The time that was reached, unix ns; 0 before the first."""

    def wait_s(self, time_ns: int) -> float:
        """Go on to a time, and give how long it takes until that is due; 0 if it is now."""
        if time_ns <= self.time_ns:
            return 0.0
        if not self.time_ns:
            self._begun_s, self._begun_ns = trio.current_time(), time_ns
        else:
            self._begun_ns += max(0, time_ns - self.time_ns - LONGEST_HOLE_NS)
        self.time_ns = time_ns
        if self._speed == math.inf:
            return 0.0
        due_s = self._begun_s + (time_ns - self._begun_ns) / 1e9 / self._speed
        wait_s = due_s - trio.current_time()
        return wait_s if wait_s >= LEAST_S else 0.0
