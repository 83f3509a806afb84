"""What an output of rows is."""

from collections.abc import Sequence
from typing import Protocol

from fanout.analytics.consumer import PlacedRow


class Output(Protocol):
    """Takes rows, in batches. Opened and closed by a context manager beside it."""

    def add(self, rows: Sequence[PlacedRow]) -> None:
        """Take rows, which go out with the next `flush`."""
        ...

    async def flush(self) -> None:
        """Write what was added. Waits for a reader that is slow, so that nothing is lost and the
        inputs are read more slowly. A cancellation may leave the last row in half."""
        ...
