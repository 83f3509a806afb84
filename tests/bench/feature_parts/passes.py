"""Passes over the recorded stream, with the CPU time that each kind of record takes.

    python -m tests.bench.feature_parts.passes SECONDS MIXED_SECONDS

prints a line of JSON for each line on its input: what one `sample` gives.
"""

import sys
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Final, Protocol

import msgspec

from fanout.analytics import FeatureSettings, StreamFeatures
from fanout.clients.outcomes import Received
from fanout.protocol import BookUpdate, Trade
from tests.bench.feature_parts.recorded import recorded

ROWS: Final = 10_000
CLOCK_READS: Final = 1_000


class Taker(Protocol):
    """What is given the records of a stream."""

    def take(self, record: Received) -> Sequence[Any]: ...


class Sample(msgspec.Struct, frozen=True):
    """Nanoseconds of one pass, without reading the clock."""

    update: float
    trade: float
    row: float
    mixed: float
    """Of a record, with quotes among them."""


class Passes:
    """The records of `seconds` of the recording, and of so many seconds with quotes."""

    def __init__(self, seconds: float, mixed_seconds: float) -> None:
        self.records = recorded(seconds=seconds)
        self.mixed = recorded(seconds=mixed_seconds, quotes=True)

    def sample(self) -> Sample:
        """One pass of `StreamFeatures` over each of the two."""
        stream = StreamFeatures(FeatureSettings())
        taken = taken_ns(stream, self.records)
        row_ns = _row_ns(stream, self.records[0].instrument.symbol)
        mixed_ns = _whole_ns(StreamFeatures(FeatureSettings()), self.mixed)
        return Sample(taken[BookUpdate], taken[Trade], row_ns, mixed_ns)


def taken_ns(taker: Taker, records: Sequence[Received]) -> dict[type, float]:
    """The mean time of a record of each type but the first of all, which is the whole book."""
    clock, take = time.thread_time_ns, taker.take
    spent: dict[type, int] = {}
    counts: dict[type, int] = {}
    take(records[0])
    for record in records[1:]:
        began_ns = clock()
        take(record)
        spent_ns = clock() - began_ns
        kind = type(record)
        spent[kind] = spent.get(kind, 0) + spent_ns
        counts[kind] = counts.get(kind, 0) + 1
    read_ns = _clock_ns()
    return {kind: spent[kind] / count - read_ns for kind, count in counts.items()}


def _clock_ns() -> float:
    """What reading the clock adds to a record."""
    clock = time.thread_time_ns
    total = 0
    for _ in repeat(None, CLOCK_READS):
        began_ns = clock()
        total += clock() - began_ns
    return total / CLOCK_READS


def _whole_ns(taker: Taker, records: Sequence[Received]) -> float:
    take = taker.take
    take(records[0])
    began_ns = time.thread_time_ns()
    for record in records[1:]:
        take(record)
    return (time.thread_time_ns() - began_ns) / (len(records) - 1)


def _row_ns(stream: StreamFeatures, symbol: str) -> float:
    features = stream.features(symbol)
    assert features is not None, "its records were taken"
    now_ns, row = stream.now_ns, features.row
    began_ns = time.thread_time_ns()
    for _ in repeat(None, ROWS):
        row(now_ns)
    return (time.thread_time_ns() - began_ns) / ROWS


def main(seconds: float, mixed_seconds: float, hear: Callable[[], str]) -> None:
    passes = Passes(seconds, mixed_seconds)
    while hear():
        print(msgspec.json.encode(passes.sample()).decode(), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.stdin.readline)
