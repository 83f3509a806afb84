"""Encodes the messages of Binance spot streams, with fields in the recorded order, and parses
recorded trades.

Times are milliseconds, or microseconds on a connection whose URL asks for them. The documents say
to ignore `M`, which has always been true.
"""

import re
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.binance.frames import TradeFrame, envelope, json_of, levels
from fanout.simulator.market.ticks import MARKET, Aggregate, Depth, Quote, Tick, Trade

_US_PER_MS: Final = 1_000
_MILLISECONDS: Final = re.compile(rb'"E":[0-9]+')
"""In a recorded update. Quotes have no time."""

_decode_trade = msgspec.json.Decoder(TradeFrame).decode


def payload(tick: Tick, *, microseconds: bool) -> bytes:
    if tick.recorded is not None and not microseconds:
        return tick.recorded
    if tick.trade is not None:
        return _trade(tick.trade, microseconds)
    if tick.recorded is not None:
        return _MILLISECONDS.sub(rb"\g<0>000", tick.recorded)
    if tick.depth is not None:
        return _depth(tick.depth, microseconds)
    if tick.quote is not None:
        return _quote(tick.quote)
    assert tick.aggregate is not None, "a tick without another message has an aggregate"
    return _aggregate(tick.aggregate, microseconds)


def shutdown(now_ms: int, *, combined: bool, microseconds: bool) -> bytes:
    """As documented at developers.binance.com, "WebSocket Streams", serverShutdown."""
    now = now_ms * _US_PER_MS if microseconds else now_ms
    event = b'{"e":"serverShutdown","E":%d}' % now
    return envelope("!serverShutdown", event) if combined else event


def trade_of(payload: msgspec.Raw) -> Trade:
    return _decode_trade(payload).trade(MARKET)


def in_unit(time_ms: int, beyond_us: int, microseconds: bool) -> int:
    return time_ms * _US_PER_MS + beyond_us if microseconds else time_ms


def _trade(trade: Trade, microseconds: bool) -> bytes:
    return b'{"e":"trade","E":%d,"s":%b,"t":%d,"p":"%b","q":"%b","T":%d,"m":%b,"M":true}' % (
        in_unit(trade.event_ms, trade.beyond_us, microseconds),
        json_of(trade.symbol),
        trade.trade_id,
        trade.price.encode(),
        trade.quantity.encode(),
        in_unit(trade.time_ms, trade.beyond_us, microseconds),
        b"true" if trade.buyer_is_maker else b"false",
    )


def _aggregate(row: Aggregate, microseconds: bool) -> bytes:
    """As documented."""
    return msgspec.json.encode(
        {
            "e": "aggTrade",
            "E": in_unit(row.event_ms, row.beyond_us, microseconds),
            "s": row.symbol,
            **aggregate_fields(row, microseconds),
        }
    )


def _depth(row: Depth, microseconds: bool) -> bytes:
    """With fields and levels in the order recorded in 2024."""
    return b'{"e":"depthUpdate","E":%d,"s":%b,"U":%d,"u":%d,"b":%b,"a":%b}' % (
        in_unit(row.event_ms, 0, microseconds),
        json_of(row.symbol),
        row.previous_id + 1,
        row.last_id,
        levels(row.bids),
        levels(row.asks),
    )


def _quote(row: Quote) -> bytes:
    return msgspec.json.encode(
        {
            "u": row.update_id,
            "s": row.symbol,
            "b": row.bid[0],
            "B": row.bid[1],
            "a": row.ask[0],
            "A": row.ask[1],
        }
    )


def aggregate_fields(row: Aggregate, microseconds: bool) -> dict[str, Any]:
    """The fields of an aggregate that both the stream and REST have, in their order."""
    return {
        "a": row.aggregate_id,
        "p": row.price,
        "q": row.quantity,
        "f": row.first_id,
        "l": row.last_id,
        "T": in_unit(row.time_ms, row.beyond_us, microseconds),
        "m": row.buyer_is_maker,
        "M": True,
    }
