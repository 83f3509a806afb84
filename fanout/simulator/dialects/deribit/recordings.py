"""Reads recordings of Deribit's channels of trades and books, raw or of 100 ms.

The books of a raw channel are played to those without access too, on their channel of 100 ms, which
would be empty otherwise.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from fanout.simulator.dialects.deribit.table import described
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedLevels,
    RecordedMessage,
)
from fanout.simulator.market.ticks import BLOCK, LIQUIDATION, MARKET, Trade, depth_kind

BATCH_MS: Final = 100

_HEAD: Final = re.compile(
    rb'\{"jsonrpc":"2\.0","method":"subscription","params":'
    rb'\{"channel":"(trades|book)\.([^."]+)\.(raw|100ms)","data":'
)
_TAIL: Final = len(b"}}")


class _Row(msgspec.Struct):
    trade_seq: int
    timestamp: int
    price: msgspec.Raw
    amount: msgspec.Raw
    direction: Literal["buy", "sell"]
    liquidation: str | None = None
    block_trade_id: str | None = None


class _Book(msgspec.Struct):
    type: Literal["snapshot", "change"]
    change_id: int
    bids: list[tuple[str, msgspec.Raw, msgspec.Raw]]
    asks: list[tuple[str, msgspec.Raw, msgspec.Raw]]
    timestamp: int = 0


_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_decode_book = msgspec.json.Decoder(_Book).decode


class DeribitReader(ReaderDefaults):
    def read(self, frame: bytes) -> Sequence[Found]:
        """Raises ValueError for trades that cannot be read."""
        head = _HEAD.match(frame)
        if head is None:
            return ()
        kind, symbol, interval = (each.decode() for each in head.groups())
        payload = frame[head.end() : -_TAIL]
        if kind == "book":
            intervals_ms = (BATCH_MS,) if interval == "100ms" else (0, BATCH_MS)
            return [RecordedMessage(symbol, depth_kind(each), payload) for each in intervals_ms]
        trades = [_trade(symbol, row) for row in _decode_rows(payload)]
        return [Recorded(trades[0], payload, tuple(trades[1:]))] if trades else ()

    def levels(self, payload: bytes) -> RecordedLevels:
        book = _decode_book(payload)
        bids, asks = (
            [
                (_text(price), "0" if action == "delete" else _text(amount))
                for action, price, amount in side
            ]
            for side in (book.bids, book.asks)
        )
        return RecordedLevels(book.change_id, bids, asks, book.timestamp, book.type == "snapshot")

    def described(self, listing: Listing) -> Listing:
        return described(listing)


def _trade(symbol: str, row: _Row) -> Trade:
    kind = LIQUIDATION if row.liquidation else BLOCK if row.block_trade_id else MARKET
    return Trade(
        event_ms=row.timestamp,
        time_ms=row.timestamp,
        symbol=symbol,
        trade_id=row.trade_seq,
        price=_text(row.price),
        quantity=_text(row.amount),
        kind=kind,
        buyer_is_maker=row.direction == "sell",
    )


def _text(number: msgspec.Raw) -> str:
    return bytes(number).decode()
