"""The messages of Binance spot streams, byte for byte in the recorded order of fields, and their
recordings read back.

Times are milliseconds, or microseconds on a connection whose URL asks for them. `M` is documented
as a field to ignore, and has always been true.
"""

from functools import lru_cache
from typing import Final

import msgspec

from fanout.simulator.market.ticks import MARKET, Aggregate, Recorded, Tick, Trade

TRADE_SUFFIX: Final = "@trade"
_MARK: Final = f'{TRADE_SUFFIX}"'.encode()
_US_PER_MS: Final = 1_000


class _TradeFrame(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    event_ms: int = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_trade = msgspec.json.Decoder(_TradeFrame).decode


def payload(tick: Tick, *, microseconds: bool) -> bytes:
    if tick.recorded is not None and not microseconds:
        return tick.recorded
    if tick.trade is not None:
        return _trade(tick.trade, microseconds)
    assert tick.aggregate is not None, "a tick is of one or the other"
    return _aggregate(tick.aggregate, microseconds)


def envelope(stream: str, payload: bytes) -> bytes:
    return b'{"stream":%b,"data":%b}' % (_json(stream), payload)


def shutdown(now_ms: int, *, combined: bool, microseconds: bool) -> bytes:
    """Documented, developers.binance.com, "WebSocket Streams", serverShutdown."""
    now = now_ms * _US_PER_MS if microseconds else now_ms
    event = b'{"e":"serverShutdown","E":%d}' % now
    return envelope("!serverShutdown", event) if combined else event


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
        kind=MARKET,
        buyer_is_maker=row.buyer_is_maker,
    )
    return Recorded(trade, bytes(found.data))


def in_unit(time_ms: int, beyond_us: int, microseconds: bool) -> int:
    return time_ms * _US_PER_MS + beyond_us if microseconds else time_ms


def _trade(trade: Trade, microseconds: bool) -> bytes:
    return b'{"e":"trade","E":%d,"s":%b,"t":%d,"p":"%b","q":"%b","T":%d,"m":%b,"M":true}' % (
        in_unit(trade.event_ms, trade.beyond_us, microseconds),
        _json(trade.symbol),
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
            "a": row.aggregate_id,
            "p": row.price,
            "q": row.quantity,
            "f": row.first_id,
            "l": row.last_id,
            "T": in_unit(row.time_ms, row.beyond_us, microseconds),
            "m": row.buyer_is_maker,
            "M": True,
        }
    )


@lru_cache(maxsize=8192)
def _json(text: str) -> bytes:
    """Symbols and streams are few: their JSON is made once."""
    return msgspec.json.encode(text)
