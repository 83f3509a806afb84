"""Rows of features: numbers that a consumer of the stream computes, in the same columns for a whole
epoch. A row is a record like a trade, so it is numbered, sent and read like one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fanout.protocol.book_records import UpdateBlock
from fanout.protocol.instrument import Instrument


class FeatureRow(msgspec.Struct, frozen=True, gc=False):
    """The features of one instrument at one moment.

    `values[i]` belongs to `Header.columns[i]`. It is None where there is no value, never a NaN or
    an infinity; then `absences[i]` is the code of the reason, a `fanout.protocol.Absence`. The code
    is 0 for every value that is there. `time_ns` is the moment, unix ns: the `received_ns` of the
    record after which the features were taken, or a multiple of the interval at which they are.
    `seq` and `received_ns` are as in `Trade`: those of the channel that carries the rows.
    """

    instrument: Instrument
    time_ns: int
    values: tuple[float | None, ...]
    absences: bytes
    seq: int = 0
    received_ns: int = 0

    @property
    def symbol(self) -> str:
        """The venue's name of the instrument."""
        return self.instrument.symbol


class FeatureBlock(UpdateBlock, frozen=True, kw_only=True, gc=False):
    """A run of rows that travel together. A snapshot has the newest row of each instrument."""

    rows: Sequence[FeatureRow]

    @property
    def records(self) -> Sequence[FeatureRow]:
        """The rows, by the name that all blocks of updates have for their records."""
        return self.rows
