"""Messages of the Exchange feed, with fields in the order recorded in 2021. Heartbeats and their
order are from the documentation."""

from collections.abc import Sequence
from typing import Final

import msgspec

from fanout.simulator.dialects.coinbase.requests import by_channel
from fanout.simulator.dialects.coinbase.texts import instant, json_of, order_id
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import Depth, Tick, Trade

BOOK: Final = "level2_batch"
LISTED_BOOK: Final = "level2_50"
"""How the answer to a subscription names the book's channel."""
SEQUENCES_A_TRADE: Final = 7
"""The sequence number of a product counts orders too."""


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return match(tick.trade, b"match")
    assert tick.depth is not None, "no other stream has a name here"
    return change(tick.depth)


def match(trade: Trade, kind: bytes) -> bytes:
    """`side` is that of the maker."""
    return (
        b'{"type":"%b","trade_id":%d,"maker_order_id":"%b","taker_order_id":"%b","side":"%b","size":'
        b'"%b","price":"%b","product_id":%b,"sequence":%d,"time":"%b"}'
        % (
            kind,
            trade.trade_id,
            order_id(trade.symbol, trade.trade_id, "maker").encode(),
            order_id(trade.symbol, trade.trade_id, "taker").encode(),
            b"buy" if trade.buyer_is_maker else b"sell",
            trade.quantity.encode(),
            trade.price.encode(),
            json_of(trade.symbol),
            trade.trade_id * SEQUENCES_A_TRADE,
            instant(trade.time_ms, trade.beyond_us).encode(),
        )
    )


def change(depth: Depth) -> bytes:
    rows = [("buy", *level) for level in depth.bids] + [("sell", *level) for level in depth.asks]
    return b'{"type":"l2update","product_id":%b,"changes":%b,"time":"%b"}' % (
        json_of(depth.symbol),
        msgspec.json.encode(rows),
        instant(depth.time_ms).encode(),
    )


def snapshot(symbol: str, book: Snapshot) -> bytes:
    """Asks come before bids, as recorded."""
    if book.raw is not None:
        return book.raw
    return b'{"type":"snapshot","product_id":%b,"asks":%b,"bids":%b}' % (
        json_of(symbol),
        msgspec.json.encode(book.asks),
        msgspec.json.encode(book.bids),
    )


def heartbeat(symbol: str, newest: Trade | None, now_ms: int) -> bytes:
    last_id = 0 if newest is None else newest.trade_id
    return msgspec.json.encode(
        {
            "type": "heartbeat",
            "sequence": last_id * SEQUENCES_A_TRADE,
            "last_trade_id": last_id,
            "product_id": symbol,
            "time": instant(now_ms),
        }
    )


def listed(streams: Sequence[str]) -> str:
    """The answer to a subscription. `account_ids` is what users have shown."""
    rows = [
        {
            "name": LISTED_BOOK if channel == BOOK else channel,
            "product_ids": [product for product in products if product],
            "account_ids": None,
        }
        for channel, products in by_channel(streams).items()
    ]
    return msgspec.json.encode({"type": "subscriptions", "channels": rows}).decode()


def error(reason: str) -> str:
    words = {"type": "error", "message": "Failed to subscribe", "reason": reason}
    return msgspec.json.encode(words).decode()
