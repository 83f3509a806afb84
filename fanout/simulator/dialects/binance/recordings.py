"""Reads recordings of Binance's combined streams.

Payloads of books are not parsed before somebody asks for a book.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

import msgspec

from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedAggregate,
    RecordedBook,
    RecordedLevels,
    RecordedMessage,
)
from fanout.simulator.market.ticks import Aggregate, Trade

TRADE_SUFFIX: Final = "@trade"
AGGREGATE_SUFFIX: Final = "@aggTrade"
_TRADE_MARK: Final = f'{TRADE_SUFFIX}"'.encode()
_AGGREGATE_MARK: Final = f'{AGGREGATE_SUFFIX}"'.encode()
_HEAD: Final = re.compile(rb'\{\s*"stream"\s*:\s*"([^"@]+)@([^"]+)"\s*,\s*"data"\s*:\s*')
_BOOK: Final = re.compile(rb'\{\s*"lastUpdateId"\s*:')


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _AggregateFrame(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="aggTrade"):
    """`nq` came in 2025, and only to futures."""

    event_ms: int = msgspec.field(name="E")
    aggregate_id: int = msgspec.field(name="a")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    first_id: int = msgspec.field(name="f")
    last_id: int = msgspec.field(name="l")
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")
    normal_quantity: str | None = msgspec.field(name="nq", default=None)

    def aggregate(self) -> Aggregate:
        return Aggregate(
            event_ms=self.event_ms,
            aggregate_id=self.aggregate_id,
            symbol=self.symbol,
            price=self.price,
            quantity=self.quantity,
            normal_quantity=self.normal_quantity or self.quantity,
            first_id=self.first_id,
            last_id=self.last_id,
            time_ms=self.time_ms,
            buyer_is_maker=self.buyer_is_maker,
        )


class _LevelsFrame(msgspec.Struct):
    """Of an update, `u`, `b` and `a`; of a whole book, the others. Spot has no `T`."""

    u: int = 0
    b: list[tuple[str, str]] = []
    a: list[tuple[str, str]] = []
    lastUpdateId: int = 0  # noqa: N815
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    T: int = 0


_decode_levels = msgspec.json.Decoder(_LevelsFrame).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_aggregate = msgspec.json.Decoder(_AggregateFrame).decode


class BinanceReader(ReaderDefaults):
    """`trade_of` parses a trade. `books` has the streams of books, and the market's names of
    them."""

    has_fixed_decimals = True

    def __init__(self, trade_of: Callable[[msgspec.Raw], Trade], books: Mapping[str, str]) -> None:
        self._trade_of = trade_of
        self._books = books

    def read(self, frame: bytes) -> Sequence[Found]:
        """Raises ValueError for an invalid trade or aggregate."""
        if _TRADE_MARK in frame or _AGGREGATE_MARK in frame:
            return self._rows(_decode_envelope(frame))
        found = self._message(frame) or _book(None, frame)
        return () if found is None else (found,)

    def answered(self, url: str, body: bytes) -> Sequence[Found]:
        found = _book(url, body)
        return () if found is None else (found,)

    def levels(self, payload: bytes) -> RecordedLevels:
        found = _decode_levels(payload)
        return RecordedLevels(
            found.u or found.lastUpdateId, found.b or found.bids, found.a or found.asks, found.T
        )

    def _rows(self, found: _Envelope) -> Sequence[Found]:
        payload = bytes(found.data)
        if found.stream.endswith(TRADE_SUFFIX):
            trade = self._trade_of(found.data)
            _refuse_other("a trade", trade.symbol, found.stream, TRADE_SUFFIX)
            return (Recorded(trade, payload),)
        if found.stream.endswith(AGGREGATE_SUFFIX):
            aggregate = _decode_aggregate(found.data).aggregate()
            _refuse_other("an aggregate", aggregate.symbol, found.stream, AGGREGATE_SUFFIX)
            return (RecordedAggregate(aggregate, payload),)
        return ()

    def _message(self, frame: bytes) -> RecordedMessage | None:
        head = _HEAD.match(frame)
        kind = None if head is None else self._books.get(head[2].decode())
        if head is None or kind is None:
            return None
        return RecordedMessage(head[1].decode().upper(), kind, frame[head.end() : -1].rstrip())


def _refuse_other(what: str, symbol: str, stream: str, suffix: str) -> None:
    if stream != symbol.lower() + suffix:
        raise ValueError(f"{what} of {symbol} on stream {stream}")


def _book(url: str | None, body: bytes) -> RecordedBook | None:
    if not _BOOK.match(body):
        return None
    path, _, query = (url or "").partition("?")
    if url is not None and not path.endswith("/depth"):
        return None
    return RecordedBook(parse_qs(query).get("symbol", [None])[0], body)
