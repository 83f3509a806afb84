"""The filter on records: by symbol, and by kind of trade."""

from collections.abc import Collection
from typing import Final

import msgspec

from fanout.clients.outcomes import AddressError, UnknownSymbolError
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import TradeKind
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Gap, Header, Record, Snapshot, Status, Trade

MARKET_KINDS: Final = frozenset({TradeKind.MARKET, TradeKind.RPI, TradeKind.AGGREGATE})
"""Trades at market prices. Trades of the insurance fund and of auto-deleveraging can be far from
the market."""


class Wanted(msgspec.Struct, frozen=True):
    """Which records the caller wants. The client counts the others and drops them."""

    symbols: frozenset[str] = frozenset()
    """Empty: all."""
    market_only: bool = False

    @classmethod
    def of(cls, symbols: Collection[str], market_only: bool) -> "Wanted":
        """Raises `AddressError` if `symbols` is one string instead of a collection."""
        if isinstance(symbols, str):
            raise AddressError(f"symbols={symbols!r}: pass a collection, such as [{symbols!r}]")
        return cls(frozenset(symbols), market_only)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is filtered out."""
        return not (self.symbols or self.market_only)

    def check(self, header: Header) -> None:
        """Raises `UnknownSymbolError` for a symbol that is not in the header, which has some."""
        served = [each.symbol for each in header.instruments]
        for symbol in sorted(self.symbols.difference(served)):
            raise UnknownSymbolError(f"{symbol} is not served here: {', '.join(served)}")

    def select(self, records: list[Record]) -> list[Record]:
        """The records that the caller wants. Records on the whole stream always pass."""
        return [each for each in map(self._reduced, records) if each is not None]

    def _reduced(self, record: Record) -> Record | None:
        match record:
            case Trade():
                return record if self._wants(record) else None
            case Snapshot():
                trades = tuple(filter(self._wants, record.trades))
                return Snapshot(trades=trades) if trades else None
            case Quote() | BookUpdate() | OrderUpdate() | FeatureRow():
                return record if self._wants_symbol(record.instrument.symbol) else None
            case Status(instrument=instrument) | Gap(instrument=instrument):
                is_wanted = instrument is None or self._wants_symbol(instrument.symbol)
                return record if is_wanted else None
            case _:
                return record

    def _wants(self, trade: Trade) -> bool:
        if self.market_only and trade.kind not in MARKET_KINDS:
            return False
        return self._wants_symbol(trade.instrument.symbol)

    def _wants_symbol(self, symbol: str) -> bool:
        return not self.symbols or symbol in self.symbols
