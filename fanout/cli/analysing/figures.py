"""What a consumer counts, and the line that it prints every few seconds."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fanout.analytics.consumer.merge import Merger
from fanout.cli.analysing.output import Taker
from fanout.cli.figures import brief

RATES_S: Final = 5.0
"""How often the rates are printed."""


class StreamFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What `/status` has of a stream."""

    address: str
    channel: str
    venue: str
    is_connected: bool
    has_ended: bool
    records: int
    late: int
    lost: int
    reconnects: int
    why: str
    """Why it is not connected; empty while it is."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What `/status` has."""

    uptime_s: float
    records: int
    rows: int
    late: int
    dropped: int
    """Rows that an output had to drop."""
    failed_models: int | None
    """Models of signals that failed, one for each signal and instrument. None where there can be no
    signals."""
    waiting: int
    """Records between the inputs and the processing."""
    instruments: int
    lag_ns: int | None
    """From the receipt of the newest record at the service to its rows. None for inputs on disk."""
    streams: tuple[StreamFigures, ...]


class StreamState:
    """What is noted of one stream."""

    def __init__(self, address: str, *, is_kept: bool) -> None:
        self.address = address
        self.is_kept = is_kept
        """Whether it is read from a disk, where times say nothing of a lag."""
        self.channel = self.venue = ""
        self.is_connected = self.has_ended = False
        self.why = "not connected yet"
        self.records = self.lost = self.reconnects = 0

    def figures(self, late: int) -> StreamFigures:
        """With the counts of the merger."""
        return StreamFigures(
            address=self.address,
            channel=self.channel,
            venue=self.venue,
            is_connected=self.is_connected,
            has_ended=self.has_ended,
            records=self.records,
            late=late,
            lost=self.lost,
            reconnects=self.reconnects,
            why="" if self.is_connected else self.why,
        )


class Counts:
    """The counts of a whole consumer."""

    def __init__(
        self,
        consumer: Taker[Any],
        merger: Merger,
        states: Sequence[StreamState],
        *,
        dropped: Callable[[], int],
        failed_models: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float],
        noun: str = "rows",
    ) -> None:
        """`dropped` and `failed_models` give what `Figures` has. `clock` gives seconds that never
        step back. `noun` is what the consumer makes."""
        self._noun = noun
        self.lag_ns: int | None = None
        self.states = tuple(states)
        self._consumer = consumer
        self._merger = merger
        self._dropped = dropped
        self._failed_models = failed_models
        self._clock = clock
        self._begun_s = self._told_s = clock()
        self._told = (0, 0)

    def figures(self) -> Figures:
        """All of them now."""
        return Figures(
            uptime_s=self._clock() - self._begun_s,
            records=self._consumer.records,
            rows=self._consumer.rows,
            late=self._merger.late,
            dropped=self._dropped(),
            failed_models=self._failed_models(),
            waiting=self._merger.waiting,
            instruments=self._consumer.instruments,
            lag_ns=self.lag_ns,
            streams=tuple(
                each.figures(self._merger.late_of(index)) for index, each in enumerate(self.states)
            ),
        )

    def rates(self) -> str:
        """The rates since the last call, as a line."""
        now_s = self._clock()
        span_s = max(now_s - self._told_s, 1e-9)
        records, rows = self._consumer.records, self._consumer.rows
        before_records, before_rows = self._told
        self._told_s, self._told = now_s, (records, rows)
        lag = "" if self.lag_ns is None else f"lag {brief(self.lag_ns)}, "
        return (
            f"{(records - before_records) / span_s:,.0f} records/s, "
            f"{(rows - before_rows) / span_s:,.0f} {self._noun}/s, {lag}"
            f"{self._merger.late:,} late, {self._dropped():,} dropped"
        )

    def total(self) -> str:
        """Everything so far, as a line."""
        return (
            f"{self._consumer.records:,} records, {self._consumer.rows:,} {self._noun}, "
            f"{self._merger.late:,} late, {self._dropped():,} dropped"
        )

    def troubles(self) -> list[str]:
        """A line for each stream that is not connected and has not ended."""
        return [
            f"{each.address}: {each.why}"
            for each in self.states
            if not (each.is_connected or each.has_ended)
        ]
