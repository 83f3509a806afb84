"""The newest trades of each symbol, as `GET /fapi/v1/trades` tells them.

Only fills are kept: the ids of NA, insurance-fund and ADL rows are holes in REST, and cannot be had
from it at any price. A replay has no past, so until a symbol's first trade is played its *preview*
stands in: the first rows of the recording, which are real, and whose ids the stream then repeats.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from fanout.simulator.ticks import Trade

KEPT_ROWS: Final = 1_000  # the most that one answer may hold


class History:
    """Also the list of symbols that REST knows at all."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self._played: dict[str, deque[Trade]] = {s: deque(maxlen=KEPT_ROWS) for s in symbols}
        self._previews: dict[str, list[Trade]] = {symbol: [] for symbol in self._played}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._played

    def add(self, trade: Trade) -> None:
        if trade.is_fill:
            self._played[trade.symbol].append(trade)

    def preview(self, trade: Trade) -> None:
        if trade.is_fill:
            self._previews[trade.symbol].append(trade)

    def rows(self, symbol: str, limit: int) -> list[Trade]:
        """Ascending, the newest `limit`; or the first of the preview, before the first trade."""
        played = self._played[symbol]
        if not played:
            return self._previews[symbol][:limit]
        return list(islice(played, max(0, len(played) - limit), None))
