"""What an output of rows is, and what makes the rows."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from fanout.analytics.consumer.merge import Merged
from fanout.protocol.records import Header

RowIn = TypeVar("RowIn", contravariant=True)
RowOut = TypeVar("RowOut", covariant=True)


class Taker(Protocol[RowOut]):
    """Takes the records of all streams, and gives rows: a `Consumer` those of features, a `Session`
    what happens on paper."""

    records: int
    rows: int
    newest_ns: int
    """The newest time of all records, unix ns."""

    @property
    def instruments(self) -> int:
        """How many instruments the rows have had so far."""
        ...

    def begin(self, stream: int, header: Header) -> None:
        """Take the header of a stream, before the records under it."""
        ...

    def take(self, merged: Sequence[Merged]) -> Sequence[RowOut]:
        """The rows that these records cause, in their order."""
        ...


class Output(Protocol[RowIn]):
    """Takes rows, in batches. Opened and closed by a context manager beside it."""

    def add(self, rows: Sequence[RowIn]) -> None:
        """Take rows, which go out with the next `flush`."""
        ...

    async def flush(self) -> None:
        """Write what was added. Waits for a reader that is slow, so that nothing is lost and the
        inputs are read more slowly. A cancellation may leave the last row in half."""
        ...
