"""An order book at the exchange in memory that has more levels than a snapshot shows."""

import pytest

from fanout.venues.binance import whole_book
from tests.stand.book_reader import BTC
from tests.stand.loopback import Exchange

SHOWN = 80
"""Levels of a side in a snapshot, of a market that has five times as many."""


def levels(start: int, count: int, quantity: str = "1.000") -> dict[str, str]:
    """Levels at each tick from a price in ticks upwards."""
    return {f"{price / 100:.2f}": quantity for price in range(start, start + count)}


class DeepMarket:
    """A market of many levels at each tick around a middle, of which a snapshot shows the first."""

    def __init__(
        self, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, symbol: str = BTC
    ) -> None:
        monkeypatch.setattr(whole_book, "LEVELS", SHOWN)
        self._exchange, self._symbol = exchange, symbol
        self.middle = 6_180_000
        exchange.books[symbol].bids = levels(self.middle - 5 * SHOWN, 5 * SHOWN)
        exchange.books[symbol].asks = levels(self.middle, 5 * SHOWN)

    def touch(self) -> None:
        """Change the best bid."""
        self._exchange.change(self._symbol, levels(self.middle - 1, 1, "2.000"))

    def walk(self, ticks: int) -> None:
        """The best prices rise in one update, or fall."""
        start, count = min(self.middle, self.middle + ticks), abs(ticks)
        there, gone = levels(start, count), levels(start, count, "0.000")
        self.middle += ticks
        self._exchange.change(self._symbol, *((there, gone) if ticks > 0 else (gone, there)))

    @property
    def asked(self) -> int:
        """How many snapshots were asked for, of all symbols."""
        return sum(each.path.endswith("depth") for each in self._exchange.requests)
