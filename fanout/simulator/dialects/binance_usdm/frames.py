"""The messages of Binance USDⓈ-M streams, byte for byte in the recorded order of fields, and their
recordings read back."""

from functools import lru_cache
from typing import Final

import msgspec

from fanout.simulator.market.ticks import Aggregate, Recorded, Tick, Trade

TRADE_SUFFIX: Final = "@trade"
_MARK: Final = f'{TRADE_SUFFIX}"'.encode()


class _TradeFrame(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    event_ms: int = msgspec.field(name="E")
    time_ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    kind: str = msgspec.field(name="X")
    buyer_is_maker: bool = msgspec.field(name="m")
    universe: int = msgspec.field(name="st", default=1)


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_trade = msgspec.json.Decoder(_TradeFrame).decode


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return _trade(tick.trade)
    assert tick.aggregate is not None, "a tick is of one or the other"
    return _aggregate(tick.aggregate)


def envelope(stream: str, payload: bytes) -> bytes:
    return b'{"stream":%b,"data":%b}' % (_json(stream), payload)


def recorded(frame: bytes) -> Recorded | None:
    """A `@trade` frame of a combined stream. Raises ValueError for one that is not in order."""
    if _MARK not in frame:
        return None
    found = _decode_envelope(frame)
    if not found.stream.endswith(TRADE_SUFFIX):
        return None
    row = _decode_trade(found.data)
    if found.stream != row.symbol.lower() + TRADE_SUFFIX:
        raise ValueError(f"a trade of {row.symbol} on stream {found.stream}")
    trade = Trade(
        event_ms=row.event_ms,
        time_ms=row.time_ms,
        symbol=row.symbol,
        trade_id=row.trade_id,
        price=row.price,
        quantity=row.quantity,
        kind=row.kind,
        buyer_is_maker=row.buyer_is_maker,
    )
    return Recorded(trade, bytes(found.data))


def _trade(trade: Trade) -> bytes:
    # Recorded in production on 2026-09-25. `st` is 1 for USDⓈ-M.
    return b'{"e":"trade","E":%d,"T":%d,"s":%b,"t":%d,"p":"%b","q":"%b","X":%b,"m":%b,"st":1}' % (
        trade.event_ms,
        trade.time_ms,
        _json(trade.symbol),
        trade.trade_id,
        trade.price.encode(),
        trade.quantity.encode(),
        _json(trade.kind),
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
            "p": row.price,
            "q": row.quantity,
            "nq": row.normal_quantity,
            "f": row.first_id,
            "l": row.last_id,
            "T": row.time_ms,
            "m": row.buyer_is_maker,
            "st": 1,
        }
    )


@lru_cache(maxsize=8192)
def _json(text: str) -> bytes:
    """Symbols, streams and kinds are few: their JSON is made once."""
    return msgspec.json.encode(text)
