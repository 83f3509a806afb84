"""A checkpoint: all that a restart needs of the lines before it, as one line of the journal.

    Started, Checkpoint, reports ...   |   Started, Checkpoint, reports ...
                     one file          |   the next one

Every file but the first of a run begins with one. So a restart reads the newest file alone, and the
older ones can be deleted. One line is written whole or not at all, as far as a reader can tell: a
checkpoint that was cut off is none, and the file before counts.

It is made from the reports, by the same code that reads them (`earlier`), and not from the desks
that wrote them. So a restart from a checkpoint is a restart from all lines before it.
"""

from __future__ import annotations

import msgspec

from fanout.trading.exchange.queues import Model
from fanout.trading.kill import KillRecord
from fanout.trading.orders import OrderRequest, OrderState
from fanout.trading.position import PositionRecord
from fanout.trading.reports import Mark, QuoteReport, Trust
from fanout.trading.risk import RiskRecord


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is not over. `states` and `remaining` have a value for each fill model."""

    order_id: int
    request: OrderRequest
    sent_ns: int
    states: tuple[OrderState, ...]
    remaining: tuple[int, ...]

    def __post_init__(self) -> None:
        _require_all("order", self.states, self.remaining)


class SymbolRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one symbol. `last_id` is the newest number of an order of it, `time_ns` the
    time of the newest report that an order may have come with. `positions` has one for each fill
    model. `quote`, `mark` and `trust` are the newest reports of these kinds, for those who read
    the journal from here on."""

    symbol: str
    last_id: int
    time_ns: int
    positions: tuple[PositionRecord, ...]
    orders: tuple[OrderRecord, ...] = ()
    kill: KillRecord = KillRecord()
    risk: RiskRecord | None = None
    quote: QuoteReport | None = None
    mark: Mark | None = None
    trust: Trust | None = None

    def __post_init__(self) -> None:
        _require_all(self.symbol, self.positions)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The second line of a file. `time_ns` is the time of the newest report before it."""

    time_ns: int
    symbols: tuple[SymbolRecord, ...]


def _require_all(name: str, *of_models: tuple[object, ...]) -> None:
    """Raises `ValueError`, which a decoder reports as a line that is damaged."""
    for each in of_models:
        if len(each) != len(Model):
            raise ValueError(f"{name} has {len(each)} values for {len(Model)} fill models")
