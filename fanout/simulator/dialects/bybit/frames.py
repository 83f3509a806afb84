"""Encodes the messages of Bybit's topics, with fields in the documented order."""

from typing import Any, Final, Protocol

import msgspec

from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import (
    RPI,
    Depth,
    Quote,
    Tick,
    Trade,
)

TRADES: Final = "publicTrade"
QUOTES: Final = "orderbook.1"
BOOK: Final = "orderbook.200"
DEPTH: Final = 200
"""Levels of a whole book."""


class Ids(Protocol):
    """How a market spells the ids of trades, and the number that `fanout` makes of one."""

    def spelled(self, symbol: str, trade_id: int) -> str: ...
    def wire_id(self, symbol: str, trade_id: int) -> int: ...
    def number(self, symbol: str, text: str) -> int:
        """The market's number of a spelled id. Raises ValueError."""


def payload(tick: Tick, ids: Ids) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return _trades((tick.trade, *tick.others), ids)
    if tick.depth is not None:
        return _delta(tick.depth)
    assert tick.quote is not None, "no stream has aggregates"
    return quote(tick.quote)


def quote(row: Quote) -> bytes:
    data = {
        "s": row.symbol,
        "b": [row.bid],
        "a": [row.ask],
        "u": row.update_id,
        "seq": row.update_id,
    }
    topic = f"{QUOTES}.{row.symbol}"
    return _encode(
        {"topic": topic, "ts": row.event_ms, "type": "snapshot", "data": data, "cts": row.time_ms}
    )


def whole(symbol: str, book: Snapshot) -> bytes:
    """The first message of a book, and any later one that replaces it."""
    data = {
        "s": symbol,
        "b": book.bids[:DEPTH],
        "a": book.asks[:DEPTH],
        "u": book.number,
        "seq": book.last_id,
    }
    return _book(symbol, "snapshot", data, book.time_ms, book.time_ms)


def _delta(depth: Depth) -> bytes:
    data = {
        "s": depth.symbol,
        "b": depth.bids,
        "a": depth.asks,
        "u": depth.number,
        "seq": depth.last_id,
    }
    return _book(depth.symbol, "delta", data, depth.event_ms, depth.time_ms)


def _book(symbol: str, kind: str, data: Any, event_ms: int, time_ms: int) -> bytes:
    topic = f"{BOOK}.{symbol}"
    return _encode({"topic": topic, "type": kind, "ts": event_ms, "data": data, "cts": time_ms})


def _trades(rows: tuple[Trade, ...], ids: Ids) -> bytes:
    data = [
        {
            "T": row.time_ms,
            "s": row.symbol,
            "S": "Sell" if row.buyer_is_maker else "Buy",
            "v": row.quantity,
            "p": row.price,
            "L": "PlusTick",
            "i": ids.spelled(row.symbol, row.trade_id),
            "BT": False,
            "RPI": row.kind == RPI,
            "seq": rows[0].trade_id,
        }
        for row in rows
    ]
    topic = f"{TRADES}.{rows[0].symbol}"
    return _encode({"topic": topic, "type": "snapshot", "ts": rows[0].event_ms, "data": data})


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
