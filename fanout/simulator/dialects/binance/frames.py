"""Stream messages: the parts that all markets of Binance share, and recorded trades read back."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from fanout.simulator.market.ticks import Recorded, Trade

TRADE_SUFFIX: Final = "@trade"
_MARK: Final = f'{TRADE_SUFFIX}"'.encode()


class TradeFrame(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    """The fields of a trade that all markets send."""

    event_ms: int = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")

    def trade(self, kind: str) -> Trade:
        return Trade(
            event_ms=self.event_ms,
            time_ms=self.time_ms,
            symbol=self.symbol,
            trade_id=self.trade_id,
            price=self.price,
            quantity=self.quantity,
            kind=kind,
            buyer_is_maker=self.buyer_is_maker,
        )


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def envelope(stream: str, payload: bytes) -> bytes:
    return b'{"stream":%b,"data":%b}' % (json_of(stream), payload)


def recorded(frame: bytes, trade_of: Callable[[msgspec.Raw], Trade]) -> Recorded | None:
    """The trade in a recorded frame of a combined stream; None for a frame of another stream.

    `trade_of` parses the payload. Raises ValueError for an invalid frame.
    """
    if _MARK not in frame:
        return None
    found = _decode_envelope(frame)
    if not found.stream.endswith(TRADE_SUFFIX):
        return None
    trade = trade_of(found.data)
    if found.stream != trade.symbol.lower() + TRADE_SUFFIX:
        raise ValueError(f"a trade of {trade.symbol} on stream {found.stream}")
    return Recorded(trade, bytes(found.data))


@lru_cache(maxsize=8192)
def json_of(text: str) -> bytes:
    """The JSON of a symbol, a stream or a kind. There are few of them, so each is encoded once."""
    return msgspec.json.encode(text)
