"""Reads recordings of Bybit's topics: trades, quotes and books of 200 levels.

Payloads of quotes and books are not parsed before somebody asks for their levels.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from fanout.simulator.dialects.bybit.frames import BOOK, QUOTES, TRADES, Ids
from fanout.simulator.dialects.bybit.table import described
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedLevels,
    RecordedMessage,
)
from fanout.simulator.market.ticks import MARKET, QUOTE, RPI, Trade

_HEAD: Final = re.compile(rb'\{\s*"topic"\s*:\s*"([a-zA-Z.0-9]+)\.([^".]+)"')


class _Row(msgspec.Struct):
    T: int
    s: str
    S: Literal["Buy", "Sell"]
    v: str
    p: str
    i: str
    RPI: bool = False


class _Trades(msgspec.Struct):
    data: list[_Row]
    ts: int


class _Levels(msgspec.Struct):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int


class _Book(msgspec.Struct):
    type: str
    data: _Levels
    cts: int = 0


_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_book = msgspec.json.Decoder(_Book).decode


class BybitReader(ReaderDefaults):
    """`depth` is the market's name of the streams of books, and `category` the venue's of the
    market."""

    def __init__(self, ids: Ids, depth: str, category: str) -> None:
        self._ids = ids
        self._kinds = {QUOTES: QUOTE, BOOK: depth}
        self._category = category

    def read(self, frame: bytes) -> Sequence[Found]:
        head = _HEAD.match(frame)
        if head is None:
            return ()
        topic, symbol = head[1].decode(), head[2].decode()
        if topic in self._kinds:
            return (RecordedMessage(symbol, self._kinds[topic], frame),)
        if topic != TRADES:
            return ()
        found = _decode_trades(frame)
        trades = [self._trade(row, symbol, found.ts) for row in found.data]
        return (Recorded(trades[0], frame, tuple(trades[1:])),) if trades else ()

    def levels(self, payload: bytes) -> RecordedLevels:
        found = _decode_book(payload)
        data, is_whole = found.data, found.type == "snapshot"
        return RecordedLevels(data.u, data.b, data.a, found.cts, is_whole)

    def described(self, listing: Listing) -> Listing:
        return described(listing, self._category)

    def _trade(self, row: _Row, symbol: str, event_ms: int) -> Trade:
        if row.s != symbol:
            raise ValueError(f"a trade of {row.s} in a message of {symbol}")
        return Trade(
            event_ms=event_ms,
            time_ms=row.T,
            symbol=symbol,
            trade_id=self._ids.number(symbol, row.i),
            price=row.p,
            quantity=row.v,
            kind=RPI if row.RPI else MARKET,
            buyer_is_maker=row.S == "Sell",
        )
