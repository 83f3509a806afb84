"""Time limits of the checks: one for each step, and one for all steps together."""

import math

import trio


class Patience:
    """The time that remains for all steps together."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._ends_s = trio.current_time() + seconds

    def deadline_s(self, seconds: float) -> float:
        """The deadline, by trio's clock, of a step that may take `seconds`."""
        return min(trio.current_time() + seconds, self._ends_s)
