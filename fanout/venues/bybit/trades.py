"""Bybit's trades on the stream, and the ids of trades. Pure.

    {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[
     {"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",
      "i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617}]}

`S` is the side of the taker. A message has up to 1,024 trades, oldest first. `type` is always
"snapshot", but no past trades come on subscribing. `BT` marks a block trade, and `RPI` a fill
against a retail-price-improvement order.
https://bybit-exchange.github.io/docs/v5/websocket/public/trade

Ids are UUIDs, without an order. An id on the wire has 64 bits, so it is the first half of the UUID.
60 of these bits are random: two of 10,000 trades share them with a probability of one in twenty
billion. Spot has decimal numbers as ids, by an example in the docs of `/v5/market/recent-trade`.
They are kept as they are.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

from fanout.errors import VenueMessageError, VenueTradesError
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import VenueItem, VenueTrade

Side = Literal["Buy", "Sell"]
Millis = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]

_UUID: Final = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII
)
_TOPIC: Final = re.compile(rb'"topic"\s*:\s*"publicTrade\.([^"]{1,64})"')
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)


class _Trade(msgspec.Struct, gc=False):
    T: Millis
    s: str
    S: Side
    v: str
    p: str
    i: str
    BT: bool = False
    RPI: bool = False


class _Message(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Rows(msgspec.Struct):
    data: list[msgspec.Raw]


_decode = msgspec.json.Decoder(_Message).decode
_decode_rows = msgspec.json.Decoder(_Rows).decode
_decode_row = msgspec.json.Decoder(_Trade).decode


def read_trades(message: bytes, out: list[VenueItem]) -> None:
    """Append the trades of a message. Raises `VenueTradesError`, after all readable trades are
    appended, if some are unreadable."""
    try:
        out += [_meaning(row) for row in _decode(message).data]
    except (*BROKEN, VenueMessageError):
        _read_one_by_one(message, out)


def _read_one_by_one(message: bytes, out: list[VenueItem]) -> None:
    """Nothing would fill the hole if one unreadable trade took 1,023 others with it."""
    topic = _TOPIC.search(message)
    symbol = topic[1].decode(errors="replace") if topic else ""
    try:
        rows = _decode_rows(message).data
    except BROKEN as error:
        detail = f"{error}: {message[:80]!r}"
        raise VenueTradesError("trades of the wrong shape", detail, symbol=symbol) from error
    faults: list[Exception] = []
    for raw in rows:
        try:
            out.append(_meaning(_decode_row(raw)))
        except (*BROKEN, VenueMessageError) as error:
            faults.append(error)
    if faults:
        detail = f"{len(faults)} of {len(rows)} in a message, the first: {faults[0]}"
        raise VenueTradesError("trade of the wrong shape", detail, symbol=symbol) from faults[0]


def _meaning(row: _Trade) -> VenueTrade:
    return VenueTrade(
        row.s, trade_id(row.i), row.T, row.p, row.v, row.S == "Sell", kind_of(row.BT, row.RPI)
    )


def kind_of(is_block: bool, is_rpi: bool) -> TradeKind:
    if is_block:
        return TradeKind.OTHER
    return TradeKind.RPI if is_rpi else TradeKind.MARKET


def trade_id(text: str) -> int:
    """The first 64 bits of a UUID, or a decimal number. Raises `VenueMessageError` for other
    text."""
    found = _UUID.fullmatch(text)
    if found:
        return int(found[1] + found[2] + found[3], 16)
    if _NUMBER.fullmatch(text) and int(text) <= U64_MAX:
        return int(text)
    raise VenueMessageError("trade id that is neither a UUID nor a number", repr(text[:80]))
