"""Records of several streams in, rows of features out. Pure: no socket, no clock.

Each stream has features of its own, with books of its own: a loss in one says nothing of another.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from fanout.analytics.consumer.config import ConsumerConfig
from fanout.analytics.consumer.merge import Merged
from fanout.analytics.consumer.roster import Listed, Need, Roster
from fanout.clients.outcomes import Received
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Header

PlacedRow = tuple[int, FeatureRow]
"""A row, and the place of its instrument in `Consumer.listed`."""


class Features(Protocol):
    """What is asked of the features of one stream: `fanout.analytics.StreamFeatures`."""

    def take(self, record: Received) -> Sequence[FeatureRow]: ...


Make = Callable[[Header, tuple[str, ...]], Features]
"""Makes the features of a stream with this header, for these symbols of it."""


class Consumer:
    """The features of all streams."""

    def __init__(
        self,
        config: ConsumerConfig,
        streams: Sequence[str],
        *,
        only: Sequence[Sequence[str]],
        named: Sequence[str] = (),
        needs: Sequence[Need] = (),
        make: Make,
    ) -> None:
        """`streams` are their names, `only[i]` the symbols that are asked of stream `i`, and
        `named` those of any stream. `needs` are instruments that one of the streams has to have."""
        self.records = 0
        self.rows = 0
        self.newest_ns = 0
        """The newest time of all records, unix ns."""
        self._roster = Roster(
            streams,
            config.symbols,
            only=only,
            named=named,
            needs=needs,
            most=config.processing.max_symbols,
        )
        self._make = make
        self._features: list[Features | None] = [None] * len(streams)

    @property
    def listed(self) -> list[Listed]:
        """The instruments of all rows so far. It only grows."""
        return self._roster.listed

    @property
    def instruments(self) -> int:
        """How many they are."""
        return len(self._roster.listed)

    def begin(self, stream: int, header: Header) -> None:
        """Take the header of a stream, before the records under it. Raises `ConsumerConfigError`,
        and what `make` raises."""
        symbols = self._roster.take(stream, header)
        if self._features[stream] is None and header.instruments:
            self._features[stream] = self._make(header, symbols)

    def take(self, merged: Sequence[Merged]) -> list[PlacedRow]:
        """The rows that these records cause, in their order."""
        found: list[PlacedRow] = []
        place = self._roster.place
        for stream, record in merged:
            features = self._features[stream]
            if features is None:
                continue  # the connection failed before a header came
            time_ns = getattr(record, "received_ns", 0)
            if time_ns > self.newest_ns:
                self.newest_ns = time_ns
            rows = features.take(record)
            if rows:
                found += [(place(stream, row.instrument), row) for row in rows]
        self.records += len(merged)
        self.rows += len(found)
        return found
