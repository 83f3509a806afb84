"""Reads recordings of OKX's public channels.

A message of `trades` is an aggregate, also from before 2024, when it had no `count` and was one
fill. The first one behind the answer to a subscription is the newest trade of before. Books for
subscribers who pay (`books-l2-tbt`) have the form of `books`, and are played under that name. Those
of 2022 have no ids.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from fanout.simulator.dialects.okx.table import described
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedAggregate,
    RecordedLevels,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.ticks import (
    AGGREGATE,
    MARKET,
    QUOTE,
    RPI,
    Aggregate,
    Trade,
    depth_kind,
)

BOOK: Final = depth_kind(100)

_HEAD: Final = re.compile(rb'\{"arg":\{"channel":"([a-z0-9-]+)","instId":"([^"]+)"')
_KINDS: Final = {"books": BOOK, "books-l2-tbt": BOOK, "bbo-tbt": QUOTE}
_PAID, _FREE = b'"books-l2-tbt"', b'"books"'


class _Arg(msgspec.Struct):
    channel: str
    instId: str  # noqa: N815  the venue's name


class _Answer(msgspec.Struct):
    event: str
    arg: _Arg | None = None


class _Row(msgspec.Struct):
    tradeId: int  # noqa: N815
    px: str
    sz: str
    side: str
    ts: int
    count: int = 1
    source: str = "0"


class _Book(msgspec.Struct):
    asks: list[tuple[str, str, str, str]]
    bids: list[tuple[str, str, str, str]]
    ts: int
    seqId: int = 0  # noqa: N815


class _Trades(msgspec.Struct):
    data: tuple[_Row]


class _Books(msgspec.Struct):
    data: tuple[_Book]
    action: str = ""


# Not strict: some numbers come as text.
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_trades = msgspec.json.Decoder(_Trades, strict=False).decode
_decode_books = msgspec.json.Decoder(_Books, strict=False).decode


class OkxReader(ReaderDefaults):
    def __init__(self) -> None:
        self._fresh: set[str] = set()
        """Symbols that are subscribed to `trades`, and of which none has come."""
        self._begun: set[str] = set()

    def read(self, frame: bytes) -> Sequence[Found]:
        head = _HEAD.match(frame)
        if head is None:
            self._note(frame)
            return ()
        channel, symbol = head[1].decode(), head[2].decode()
        if channel in _KINDS:
            payload = frame.replace(_PAID, _FREE, 1)
            return (RecordedMessage(symbol, _KINDS[channel], payload),)
        if channel not in ("trades", "trades-all"):
            return ()
        (row,) = _decode_trades(frame).data
        trade = _trade(symbol, row)
        if channel == "trades-all":
            return (Recorded(trade, frame),)
        if symbol in self._fresh:
            self._fresh.remove(symbol)
            return (RecordedPast(symbol, AGGREGATE, (trade,), frame),)
        fills = (trade,) if row.count == 1 else ()
        return (RecordedAggregate(_aggregate(symbol, row), frame, fills),)

    def levels(self, payload: bytes) -> RecordedLevels:
        found = _decode_books(payload)
        (row,) = found.data
        bids, asks = ([level[:2] for level in side] for side in (row.bids, row.asks))
        return RecordedLevels(row.seqId, bids, asks, row.ts, found.action == "snapshot")

    def described(self, listing: Listing) -> Listing:
        return described(listing)

    def _note(self, frame: bytes) -> None:
        answer = _decode_answer(frame)
        if answer.event != "subscribe" or answer.arg is None or answer.arg.channel != "trades":
            return
        # A second subscription is confirmed again, and brings no trade again.
        if answer.arg.instId not in self._begun:
            self._begun.add(answer.arg.instId)
            self._fresh.add(answer.arg.instId)


def _trade(symbol: str, row: _Row) -> Trade:
    return Trade(
        event_ms=row.ts,
        time_ms=row.ts,
        symbol=symbol,
        trade_id=row.tradeId,
        price=row.px,
        quantity=row.sz,
        kind=RPI if row.source == "1" else MARKET,
        buyer_is_maker=row.side == "sell",
    )


def _aggregate(symbol: str, row: _Row) -> Aggregate:
    return Aggregate(
        event_ms=row.ts,
        aggregate_id=row.tradeId,
        symbol=symbol,
        price=row.px,
        quantity=row.sz,
        normal_quantity="0" if row.source == "1" else row.sz,
        first_id=row.tradeId - row.count + 1,
        last_id=row.tradeId,
        time_ms=row.ts,
        buyer_is_maker=row.side == "sell",
    )
