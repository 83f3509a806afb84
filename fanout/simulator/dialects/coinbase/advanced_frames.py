"""Messages of Advanced Trade, with fields in the documented order. `personal` puts the number in.

{"channel":"market_trades","client_id":"","timestamp":"...","sequence_num":0,"events":[...]}
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.coinbase.requests import by_channel
from fanout.simulator.dialects.coinbase.texts import instant
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import Tick, Trade

Levels = Sequence[tuple[str, str]]

HEARTBEATS: Final = "heartbeats"
UNNUMBERED: Final = b'"sequence_num":0,'
_STARTED_MS: Final = 1_750_000_000_000
"""When the heartbeats' counter was 0: long before any connection."""


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return trades("update", tick.trades, tick.trade.event_ms)
    assert tick.depth is not None, "no other stream has a name here"
    depth = tick.depth
    event = _book_event("update", depth.symbol, depth.bids, depth.asks, depth.time_ms)
    return _message("l2_data", depth.event_ms, event)


def personal(message: bytes, count: int) -> tuple[bytes, int]:
    """Errors have no number."""
    if UNNUMBERED not in message:
        return message, count
    return message.replace(UNNUMBERED, b'"sequence_num":%d,' % count, 1), count + 1


def trades(kind: str, rows: Sequence[Trade], now_ms: int) -> bytes:
    """The newest trade comes first."""
    event = {"type": kind, "trades": [trade_row(trade) for trade in reversed(rows)]}
    return _message("market_trades", now_ms, event)


def trade_row(trade: Trade) -> dict[str, str]:
    """`side` is that of the maker."""
    return {
        "trade_id": str(trade.trade_id),
        "product_id": trade.symbol,
        "price": trade.price,
        "size": trade.quantity,
        "side": "BUY" if trade.buyer_is_maker else "SELL",
        "time": instant(trade.time_ms, trade.beyond_us),
    }


def snapshot(symbol: str, book: Snapshot) -> bytes:
    event = _book_event("snapshot", symbol, book.bids, book.asks, book.time_ms)
    return _message("l2_data", book.time_ms, event)


def heartbeat(now_ms: int) -> bytes:
    """`current_time` is what a program in Go prints."""
    up_s = (now_ms - _STARTED_MS) / 1_000
    text = instant(now_ms, digits=9).replace("T", " ").removesuffix("Z")
    event = {
        "current_time": f"{text} +0000 UTC m=+{up_s:.9f}",
        "heartbeat_counter": int(up_s),
    }
    return _message(HEARTBEATS, now_ms, event)


def listed(streams: Sequence[str], now_ms: int) -> str:
    """The answer to a subscription."""
    found = {
        channel: [product or channel for product in products]
        for channel, products in by_channel(streams).items()
    }
    return _message("subscriptions", now_ms, {"subscriptions": found}).decode()


def error(reason: str) -> str:
    return msgspec.json.encode({"type": "error", "message": reason}).decode()


def _book_event(kind: str, symbol: str, bids: Levels, asks: Levels, time_ms: int) -> dict[str, Any]:
    time = instant(time_ms)
    rows = [
        {"side": side, "event_time": time, "price_level": price, "new_quantity": quantity}
        for side, levels in (("bid", bids), ("offer", asks))
        for price, quantity in levels
    ]
    return {"type": kind, "product_id": symbol, "updates": rows}


def _message(channel: str, now_ms: int, event: dict[str, Any]) -> bytes:
    return b'{"channel":"%b","client_id":"","timestamp":"%b",%b"events":[%b]}' % (
        channel.encode(),
        instant(now_ms, digits=9).encode(),
        UNNUMBERED,
        msgspec.json.encode(event),
    )
