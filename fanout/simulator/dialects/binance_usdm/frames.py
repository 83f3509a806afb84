"""Encodes the messages of Binance USDⓈ-M streams, with fields in the recorded order, and parses
recorded trades."""

from typing import Any

import msgspec

from fanout.simulator.dialects.binance.frames import TradeFrame, json_of
from fanout.simulator.market.ticks import Aggregate, Tick, Trade


class _TradeFrame(TradeFrame, frozen=True, gc=False, tag_field="e", tag="trade"):
    kind: str = msgspec.field(name="X")
    universe: int = msgspec.field(name="st", default=1)


_decode_trade = msgspec.json.Decoder(_TradeFrame).decode


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return _trade(tick.trade)
    assert tick.aggregate is not None, "a tick has a trade or an aggregate"
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
