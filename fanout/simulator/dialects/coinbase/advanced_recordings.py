"""Reads recordings of Advanced Trade: trades, and changes of books.

A `snapshot` of trades is of trades from before the recording. That of a book comes on the stream of
its changes, and replaces it. Each connection numbers the messages anew.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from fanout.simulator.dialects.coinbase.advanced_frames import UNNUMBERED
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

_CHANNEL: Final = re.compile(rb'\{\s*"channel"\s*:\s*"(market_trades|l2_data)"')
_NUMBER: Final = re.compile(rb'"sequence_num":[0-9]+,')
_BOOK: Final = depth_kind(INTERVAL_MS)


class _Row(msgspec.Struct):
    trade_id: str
    product_id: str
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    time: str

    def trade(self) -> Trade:
        time_ms, beyond_us = divmod(unix_us(self.time), 1_000)
        return Trade(
            event_ms=time_ms,
            time_ms=time_ms,
            symbol=self.product_id,
            trade_id=int(self.trade_id),
            price=self.price,
            quantity=self.size,
            kind=MARKET,
            buyer_is_maker=self.side == "BUY",
            beyond_us=beyond_us,
        )


class _Level(msgspec.Struct):
    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str


class _Event(msgspec.Struct):
    type: Literal["snapshot", "update"]
    product_id: str = ""
    trades: list[_Row] = []
    updates: list[_Level] = []


class _Message(msgspec.Struct):
    events: tuple[_Event]
    """A message with several has not been seen."""


_decode = msgspec.json.Decoder(_Message).decode


class AdvancedReader(ReaderDefaults):
    """Trades are spelled without the zeros that levels have."""

    def read(self, frame: bytes) -> Sequence[Found]:
        channel = _CHANNEL.match(frame)
        if channel is None:
            return ()
        (event,), payload = _decode(frame).events, _NUMBER.sub(UNNUMBERED, frame, 1)
        if channel[1] == b"l2_data":
            return (RecordedMessage(event.product_id, _BOOK, payload),)
        trades = tuple(row.trade() for row in reversed(event.trades))
        symbols = {trade.symbol for trade in trades}
        if len(symbols) > 1:
            raise ValueError(f"trades of {' and '.join(sorted(symbols))} in one message")
        if not trades:
            return ()
        if event.type == "snapshot":
            return (RecordedPast(trades[0].symbol, TRADE, trades, payload),)
        return (Recorded(trades[0], payload, trades[1:]),)

    def levels(self, payload: bytes) -> RecordedLevels:
        (event,) = _decode(payload).events
        bids, asks = (
            [(row.price_level, row.new_quantity) for row in event.updates if row.side == side]
            for side in ("bid", "offer")
        )
        times = [row.event_time for row in event.updates]
        time_ms = unix_us(max(times)) // 1_000 if times else 0
        return RecordedLevels(0, bids, asks, time_ms, event.type == "snapshot")
