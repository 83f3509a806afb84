"""Encodes the messages of Binance USDⓈ-M streams, with fields in the recorded order, and parses
recorded trades."""

from typing import Any

import msgspec

from fanout.simulator.dialects.binance.frames import TradeFrame, json_of, levels
from fanout.simulator.market.ticks import Aggregate, Depth, Quote, Tick, Trade


class _TradeFrame(TradeFrame, frozen=True, gc=False, tag_field="e", tag="trade"):
    kind: str = msgspec.field(name="X")
    universe: int = msgspec.field(name="st", default=1)


_decode_trade = msgspec.json.Decoder(_TradeFrame).decode


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return _trade(tick.trade)
    if tick.depth is not None:
        return _depth(tick.depth)
    if tick.quote is not None:
        return _quote(tick.quote)
    assert tick.aggregate is not None, "a tick without another message has an aggregate"
    return _aggregate(tick.aggregate)


def trade_of(payload: msgspec.Raw) -> Trade:
    row = _decode_trade(payload)
    return row.trade(row.kind)


def _trade(trade: Trade) -> bytes:
    # Recorded in production on 2026-09-25. `st` is 1 for USDⓈ-M.
    return b'{"e":"trade","E":%d,"T":%d,"s":%b,"t":%d,"p":"%b","q":"%b","X":%b,"m":%b,"st":1}' % (
        trade.event_ms,
        trade.time_ms,
        json_of(trade.symbol),
        trade.trade_id,
        trade.price.encode(),
        trade.quantity.encode(),
        json_of(trade.kind),
        b"true" if trade.buyer_is_maker else b"false",
    )


def _aggregate(row: Aggregate) -> bytes:
    """In the order of fields recorded on 2026-10-07."""
    return msgspec.json.encode(
        {
            "e": "aggTrade",
            "E": row.event_ms,
            "a": row.aggregate_id,
            "s": row.symbol,
            **aggregate_fields(row),
            "st": 1,
        }
    )


def _depth(row: Depth) -> bytes:
    """In the order of fields recorded on 2026-10-07, and bids in the order recorded in 2024."""
    return (
        b'{"e":"depthUpdate","E":%d,"T":%d,"s":%b,"ps":%b,"U":%d,"u":%d,"pu":%d,"b":%b,"a":%b,"st":1}'
        % (
            row.event_ms,
            row.time_ms,
            json_of(row.symbol),
            json_of(pair_of(row.symbol)),
            row.first_id,
            row.last_id,
            row.previous_id,
            levels(reversed(row.bids)),
            levels(row.asks),
        )
    )


def _quote(row: Quote) -> bytes:
    """In the order of fields recorded on 2026-10-07."""
    return msgspec.json.encode(
        {
            "e": "bookTicker",
            "u": row.update_id,
            "s": row.symbol,
            "ps": pair_of(row.symbol),
            "b": row.bid[0],
            "B": row.bid[1],
            "a": row.ask[0],
            "A": row.ask[1],
            "T": row.time_ms,
            "E": row.event_ms,
            "st": 1,
        }
    )


def pair_of(symbol: str) -> str:
    return symbol.partition("_")[0]


def aggregate_fields(row: Aggregate) -> dict[str, Any]:
    """The fields behind the id that both the stream and REST have, in their order."""
    return {
        "p": row.price,
        "q": row.quantity,
        "nq": row.normal_quantity,
        "f": row.first_id,
        "l": row.last_id,
        "T": row.time_ms,
        "m": row.buyer_is_maker,
    }
