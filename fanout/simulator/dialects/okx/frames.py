"""Encodes the messages of OKX's channels, as documented in 2026. A recorded message is sent as it
is."""

from typing import Any, Final

import msgspec

from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import RPI, Aggregate, Depth, Quote, Tick, Trade

CONNECTION: Final = "a4d3ae55"
NOTICE: Final = (
    b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service '
    b'upgrade. Please reconnect.","connId":"a4d3ae55"}'
)
FIRST: Final = -1
"""The `prevSeqId` of a snapshot."""

_Level = tuple[str, str, str, str]


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return _message("trades-all", tick.trade.symbol, [_fill(tick.trade)])
    if tick.depth is not None:
        return _update(tick.depth)
    if tick.quote is not None:
        return _quote(tick.quote)
    assert tick.aggregate is not None, "a tick without another message has an aggregate"
    return _message("trades", tick.aggregate.symbol, [_sum(tick.aggregate)])


def past(newest: Aggregate | Trade) -> bytes:
    """The newest message of `trades`, as it is sent on subscribing. A trade is one from before the
    market opened."""
    if isinstance(newest, Aggregate):
        return _message("trades", newest.symbol, [_sum(newest)])
    return _message("trades", newest.symbol, [{**_fill(newest), "count": "1"}])


def whole(symbol: str, book: Snapshot, levels: int) -> bytes:
    """The best levels. A recorded book without ids is sent without them."""
    bids, asks = book.bids[:levels], book.asks[:levels]
    row = _book(bids, asks, book.time_ms, book.last_id, FIRST)
    if not book.last_id:
        del row["seqId"], row["prevSeqId"]
    return _message("books", symbol, [row], action="snapshot")


def keep_alive(symbol: str, last_id: int, now_ms: int) -> bytes:
    return _message("books", symbol, [_book([], [], now_ms, last_id, last_id)], action="update")


def _update(depth: Depth) -> bytes:
    row = _book(depth.bids, depth.asks, depth.time_ms, depth.last_id, depth.previous_id)
    return _message("books", depth.symbol, [row], action="update")


def _quote(quote: Quote) -> bytes:
    row = {
        "asks": [_level(quote.ask)],
        "bids": [_level(quote.bid)],
        "ts": str(quote.time_ms),
        "seqId": quote.update_id,
    }
    return _message("bbo-tbt", quote.symbol, [row])


def _fill(trade: Trade) -> dict[str, Any]:
    return {
        "instId": trade.symbol,
        "tradeId": str(trade.trade_id),
        "px": trade.price,
        "sz": trade.quantity,
        "side": _taker(trade.buyer_is_maker),
        "ts": str(trade.time_ms),
        "source": "1" if trade.kind == RPI else "0",
    }


def _sum(row: Aggregate) -> dict[str, Any]:
    return {
        "instId": row.symbol,
        "tradeId": str(row.last_id),
        "px": row.price,
        "sz": row.quantity,
        "side": _taker(row.buyer_is_maker),
        "ts": str(row.time_ms),
        "count": str(row.last_id - row.first_id + 1),
        "source": "0",
    }


def _taker(buyer_is_maker: bool) -> str:
    return "sell" if buyer_is_maker else "buy"


def _book(
    bids: list[tuple[str, str]],
    asks: list[tuple[str, str]],
    time_ms: int,
    last_id: int,
    previous_id: int,
) -> dict[str, Any]:
    return {
        "asks": [_level(each) for each in asks],
        "bids": [_level(each) for each in bids],
        "ts": str(time_ms),
        "checksum": 0,
        "seqId": last_id,
        "prevSeqId": previous_id,
    }


def _level(level: tuple[str, str]) -> _Level:
    """With the number of its orders, which is made up."""
    price, quantity = level
    return price, quantity, "0", "1" if quantity.strip("0.") else "0"


def _message(channel: str, symbol: str, rows: list[Any], **more: str) -> bytes:
    arg = {"channel": channel, "instId": symbol}
    return msgspec.json.encode({"arg": arg, **more, "data": rows})
