"""Stream messages: the parts that all markets of Binance share, and recorded trades read back."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs

import msgspec

from fanout.simulator.market.ticks import (
    Recorded,
    RecordedBook,
    RecordedLevels,
    RecordedMessage,
    Trade,
)

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


class _LevelsFrame(msgspec.Struct):
    """Of an update, `u`, `b` and `a`; of a whole book, the others. Spot has no `T`."""

    u: int = 0
    b: list[tuple[str, str]] = []
    a: list[tuple[str, str]] = []
    lastUpdateId: int = 0  # noqa: N815
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    T: int = 0


_HEAD: Final = re.compile(rb'\{\s*"stream"\s*:\s*"([^"@]+)@([^"]+)"\s*,\s*"data"\s*:\s*')
_BOOK: Final = re.compile(rb'\{\s*"lastUpdateId"\s*:')

_decode_levels = msgspec.json.Decoder(_LevelsFrame).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def envelope(stream: str, payload: bytes) -> bytes:
    return b'{"stream":%b,"data":%b}' % (json_of(stream), payload)


def recorded(
    frame: bytes, trade_of: Callable[[msgspec.Raw], Trade], books: Mapping[str, str]
) -> Recorded | RecordedMessage | None:
    """The message in a recorded frame of a combined stream; None for a frame of another stream.

    `trade_of` parses a trade. `books` has the streams of books, and the market's names of them.
    Their payloads are not parsed. Raises ValueError for an invalid trade.
    """
    if _MARK not in frame:
        return _message(frame, books)
    found = _decode_envelope(frame)
    if not found.stream.endswith(TRADE_SUFFIX):
        return None
    trade = trade_of(found.data)
    if found.stream != trade.symbol.lower() + TRADE_SUFFIX:
        raise ValueError(f"a trade of {trade.symbol} on stream {found.stream}")
    return Recorded(trade, bytes(found.data))


def _message(frame: bytes, books: Mapping[str, str]) -> RecordedMessage | None:
    head = _HEAD.match(frame)
    kind = None if head is None else books.get(head[2].decode())
    if head is None or kind is None:
        return None
    return RecordedMessage(head[1].decode().upper(), kind, frame[head.end() : -1].rstrip())


def recorded_book(url: str | None, body: bytes) -> RecordedBook | None:
    if not _BOOK.match(body):
        return None
    path, _, query = (url or "").partition("?")
    if url is not None and not path.endswith("/depth"):
        return None
    return RecordedBook(parse_qs(query).get("symbol", [None])[0], body)


def recorded_levels(payload: bytes) -> RecordedLevels:
    found = _decode_levels(payload)
    return RecordedLevels(
        found.u or found.lastUpdateId, found.b or found.bids, found.a or found.asks, found.T
    )


def levels(rows: Iterable[tuple[str, str]]) -> bytes:
    """Levels as JSON. Decimals need no escaping."""
    return b"[%b]" % ",".join([f'["{price}","{quantity}"]' for price, quantity in rows]).encode()


@lru_cache(maxsize=8192)
def json_of(text: str) -> bytes:
    """The JSON of a symbol, a stream or a kind. There are few of them, so each is encoded once."""
    return msgspec.json.encode(text)
