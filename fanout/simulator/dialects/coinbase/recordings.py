"""Reads recordings of the Exchange feed.

A `last_match` is a trade from before the recording. A `snapshot` comes on the stream of the book's
changes, and replaces the book. Nothing numbers the changes.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from fanout.simulator.dialects.coinbase.table import INTERVAL_MS
from fanout.simulator.dialects.coinbase.texts import unix_us
from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedLevels,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.ticks import MARKET, TRADE, Trade, depth_kind

_TYPE: Final = re.compile(rb'\{\s*"type"\s*:\s*"(match|last_match|snapshot|l2update)"')
_BOOK: Final = depth_kind(INTERVAL_MS)


class _Match(msgspec.Struct):
    trade_id: int
    side: Literal["buy", "sell"]
    size: str
    price: str
    product_id: str
    time: str

    def trade(self) -> Trade:
        time_ms, beyond_us = divmod(unix_us(self.time), 1_000)
        return Trade(
            event_ms=time_ms,
            time_ms=time_ms,
            symbol=self.product_id,
            trade_id=self.trade_id,
            price=self.price,
            quantity=self.size,
            kind=MARKET,
            buyer_is_maker=self.side == "buy",
            beyond_us=beyond_us,
        )


class _Product(msgspec.Struct):
    product_id: str


class _Levels(msgspec.Struct):
    """Of a change, `changes` and `time`; of a whole book, `bids` and `asks`."""

    type: Literal["snapshot", "l2update"]
    changes: list[tuple[Literal["buy", "sell"], str, str]] = []
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    time: str = ""


_decode_match = msgspec.json.Decoder(_Match).decode
_decode_product = msgspec.json.Decoder(_Product).decode
_decode_levels = msgspec.json.Decoder(_Levels).decode


class ExchangeReader(ReaderDefaults):
    """Trades are spelled without the zeros that levels have."""

    def read(self, frame: bytes) -> Sequence[Found]:
        kind = _TYPE.match(frame)
        if kind is None:
            return ()
        if kind[1] == b"match":
            return (Recorded(_decode_match(frame).trade(), frame),)
        if kind[1] == b"last_match":
            trade = _decode_match(frame).trade()
            return (RecordedPast(trade.symbol, TRADE, (trade,), frame),)
        return (RecordedMessage(_decode_product(frame).product_id, _BOOK, frame),)

    def levels(self, payload: bytes) -> RecordedLevels:
        row = _decode_levels(payload)
        bids, asks = (
            [(price, size) for side, price, size in row.changes if side == which]
            for which in ("buy", "sell")
        )
        time_ms = unix_us(row.time) // 1_000 if row.time else 0
        is_whole = row.type == "snapshot"
        return RecordedLevels(0, row.bids + bids, row.asks + asks, time_ms, is_whole)
