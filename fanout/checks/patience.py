"""How long a check may take: each step has a bound of its own, and all of them together another."""

import math

import trio


class Patience:
    """Time that is left for all steps together."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._ends_s = trio.current_time() + seconds

    def deadline_s(self, seconds: float) -> float:
        """When a step that may take so long has to be done, by trio's clock."""
        return min(trio.current_time() + seconds, self._ends_s)
