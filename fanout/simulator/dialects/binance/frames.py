"""Stream messages: the parts that all markets of Binance share."""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from fanout.simulator.market.ticks import Trade


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


def envelope(stream: str, payload: bytes) -> bytes:
    return b'{"stream":%b,"data":%b}' % (json_of(stream), payload)


def levels(rows: Iterable[tuple[str, str]]) -> bytes:
    """Levels as JSON. Decimals need no escaping."""
    return b"[%b]" % ",".join([f'["{price}","{quantity}"]' for price, quantity in rows]).encode()


@lru_cache(maxsize=8192)
def json_of(text: str) -> bytes:
    """The JSON of a symbol, a stream or a kind. There are few of them, so each is encoded once."""
    return msgspec.json.encode(text)
