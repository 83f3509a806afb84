"""A model of a user's own. It remembers, and fails in the end."""

from collections.abc import Sequence

from fanout.analytics.signals.models import Signal
from fanout.protocol.feature_rows import FeatureRow

LAST = 30


class Alternating:
    def __init__(self, columns: Sequence[str]) -> None:
        self._count = 0

    def signal(self, row: FeatureRow) -> Signal:
        self._count += 1
        if self._count == LAST:
            raise RuntimeError("tired")
        return Signal((-1) ** self._count, 0.5, 0.5, f"row {self._count}")
