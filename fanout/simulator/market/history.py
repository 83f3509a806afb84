"""The newest trades and aggregates of each symbol, for REST to answer with.

Only fills are kept. Rows of other kinds leave holes in the ids, which REST never fills.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Generic, TypeVar

from fanout.simulator.market.ticks import Aggregate, Trade

R = TypeVar("R", Trade, Aggregate)


class Shelf(Generic[R]):
    """The newest rows of one symbol, ascending in id and in time."""

    def __init__(self, kept: int) -> None:
        self._rows: deque[R] = deque(maxlen=kept)

    def add(self, row: R) -> None:
        self._rows.append(row)

    def forget(self, kept: int) -> None:
        """Drop all rows but the newest `kept`."""
        while len(self._rows) > kept:
            self._rows.popleft()

    @property
    def oldest_id(self) -> int | None:
        return _id(self._rows[0]) if self._rows else None

    def newest(self, limit: int) -> list[R]:
        return self._from(max(0, len(self._rows) - limit), limit)

    def since(self, first_id: int, limit: int) -> list[R]:
        """The first `limit` of the kept rows from `first_id` on."""
        return self._from(bisect_left(self._rows, first_id, key=_id), limit)

    def numbered(
        self, first_id: int | None, last_id: int | None, limit: int, *, newest: bool
    ) -> list[R]:
        """The newest `limit` rows of a range of ids, or the oldest, ascending. None is an open
        end."""
        rows = self._rows
        start = 0 if first_id is None else bisect_left(rows, first_id, key=_id)
        stop = len(rows) if last_id is None else bisect_right(rows, last_id, key=_id)
        if newest:
            start = max(start, stop - limit)
        return self._from(start, max(0, min(limit, stop - start)))

    def between(self, start_ms: int, end_ms: int | None) -> list[R]:
        """The rows of that time, both ends included; without an end, to the newest."""
        start = bisect_left(self._rows, start_ms, key=_time_ms)
        stop = None if end_ms is None else bisect_right(self._rows, end_ms, key=_time_ms)
        return list(islice(self._rows, start, stop))

    def _from(self, start: int, limit: int) -> list[R]:
        return list(islice(self._rows, start, start + limit))


def _id(row: Trade | Aggregate) -> int:
    return row.trade_id if isinstance(row, Trade) else row.aggregate_id


def _time_ms(row: Trade | Aggregate) -> int:
    return row.time_ms


class History:
    def __init__(self, symbols: Iterable[str], kept: int) -> None:
        self._kept = kept
        self.trades: dict[str, Shelf[Trade]] = {}
        self.aggregates: dict[str, Shelf[Aggregate]] = {}
        for symbol in symbols:
            self.enlist(symbol)

    def enlist(self, symbol: str) -> None:
        """Add a symbol. A known one keeps its rows."""
        self.trades.setdefault(symbol, Shelf(self._kept))
        self.aggregates.setdefault(symbol, Shelf(self._kept))

    def add(self, trade: Trade) -> None:
        if trade.is_fill:
            self.trades[trade.symbol].add(trade)

    def add_aggregate(self, aggregate: Aggregate) -> None:
        self.aggregates[aggregate.symbol].add(aggregate)

    def forget(self, symbol: str, kept: int) -> None:
        """Drop all trades of a symbol but the newest `kept`, and as many aggregates."""
        for shelf in (self.trades[symbol], self.aggregates[symbol]):
            shelf.forget(kept)

    def newest(self, symbol: str, limit: int) -> list[Trade]:
        """Ascending in id."""
        return self.trades[symbol].newest(limit)
