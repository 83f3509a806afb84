"""Bybit's order books on the stream: quotes at depth 1, and books at depth 200. Pure.

    {"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT",
     "b":[["30247.20","30.028"],["30240.00","0"]],"a":[["30248.70","0"]],"u":177400507,
     "seq":66544703342},"cts":1687940967464}

The first message is a snapshot, and each one after it a delta. A new snapshot may come at any time
and replaces the book. A `u` of 1 is the snapshot after a restart of the service. Levels that leave
the best 200 are deleted like any other. `cts` is the time of the matching engine.
https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook

The docs call `u` only "update ID". It grew by 1 in each of 1,594 recorded deltas, so a delta here
follows the message whose id is one less. At depth 1 there are snapshots only. After three seconds
without a change the last one comes again, with the same `u`.

The two arrays are read by `packed_levels`, in one pass and without an object per level, and msgspec
reads the small rest. Where either finds something unusual, msgspec reads all of it.
"""

from typing import Annotated, Final, Literal

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import U64_MAX, BookFlags, Side
from fanout.protocol.instrument import Instrument
from fanout.protocol.level_text import packed_levels
from fanout.venues.bybit.trades import Millis
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN
from fanout.venues.values import VenueDepth, VenueQuote

RESTARTED: Final = 1
"""The `u` of the first snapshot after a restart of the service."""

_WHOLE: Final = BookFlags.WHOLE | BookFlags.TOP_ONLY
_NO_LEVEL: Final = ("0", "0")
_BIDS: Final = b'"b":'
_ASKS: Final = b'"a":'
_DONE: Final = b"0"
"""What stands in place of an array that `packed_levels` has read."""

_Id = Annotated[int, msgspec.Meta(ge=0)]
_Type = Literal["snapshot", "delta"]


class _Levels(msgspec.Struct, gc=False):
    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: _Id


class _Message(msgspec.Struct, gc=False):
    """A message with its levels."""

    type: _Type
    ts: Millis
    data: _Levels
    cts: Millis = 0


class _Rest(msgspec.Struct, gc=False):
    """The data of a message whose levels have been read. A number stands in place of each array, so
    that an array elsewhere in the message cannot be taken for it."""

    s: str
    b: int
    a: int
    u: _Id


class _RestMessage(msgspec.Struct, gc=False):
    type: _Type
    ts: Millis
    data: _Rest
    cts: Millis = 0


_decode = msgspec.json.Decoder(_Message).decode
_decode_rest = msgspec.json.Decoder(_RestMessage).decode


def read_quote(message: bytes) -> VenueQuote:
    """The quote in a message of depth 1. A side without an offer has quantity 0. Raises
    `VenueMessageError`."""
    try:
        row = _decode(message)
    except BROKEN as error:
        raise VenueMessageError("quote of the wrong shape", f"{error}: {message[:80]!r}") from error
    if row.type != "snapshot":
        raise VenueMessageError("quote that is no snapshot", f"{row.data.s}, {row.type}")
    if row.data.u > U64_MAX:
        raise VenueMessageError("quote of the wrong shape", f"{row.data.s}, id {row.data.u}")
    bid, ask = next(iter(row.data.b), _NO_LEVEL), next(iter(row.data.a), _NO_LEVEL)
    restarted = row.data.u == RESTARTED
    return VenueQuote(row.data.s, row.data.u, row.cts or row.ts, *bid, *ask, resets=restarted)


def read_depth(message: bytes, instrument: Instrument) -> VenueDepth:
    """The update in a message about this instrument's book.

    Raises `VenueMessageError` for anything else, and for levels that are no numbers of the
    instrument's exponents.
    """
    row, bids, asks = _read_quickly(message, instrument) or _read_slowly(message, instrument)
    symbol, update_id, time = row.data.s, row.data.u, row.cts or row.ts
    if symbol != instrument.symbol:
        raise VenueMessageError("depth of another symbol", f"{symbol} for {instrument.symbol}")
    if update_id > U64_MAX:
        raise VenueMessageError("depth of the wrong shape", f"{symbol}, id {update_id}")
    is_restart = update_id == RESTARTED
    if row.type == "delta" and not is_restart:
        update = BookUpdate(instrument, update_id, time, bids, asks)
        return VenueDepth(update, update_id, update_id - 1)
    update = BookUpdate(instrument, update_id, time, bids, asks, _WHOLE)
    return VenueDepth(update, update_id, None, resets=is_restart)


_Read = tuple[_RestMessage | _Message, bytes, bytes]
"""A message, its bids and its asks."""


def _read_quickly(message: bytes, instrument: Instrument) -> _Read | None:
    """None where the arrays are not in the ordinary form, or not in this order."""
    price, quantity = instrument.price_exponent, instrument.quantity_exponent
    bids_start = message.find(_BIDS) + len(_BIDS)
    bids = packed_levels(message, bids_start, price, quantity, Side.BID)
    if bids is None:
        return None
    asks_start = message.find(_ASKS, bids[1]) + len(_ASKS)
    asks = packed_levels(message, asks_start, price, quantity, Side.ASK)
    if asks is None or asks_start < bids[1]:
        return None
    rest = b"".join(
        (message[:bids_start], _DONE, message[bids[1] : asks_start], _DONE, message[asks[1] :])
    )
    try:
        return _decode_rest(rest), bids[0], asks[0]
    except BROKEN:
        return None


def _read_slowly(message: bytes, instrument: Instrument) -> _Read:
    try:
        row = _decode(message)
    except BROKEN as error:
        raise VenueMessageError("depth of the wrong shape", f"{error}: {message[:80]!r}") from error
    bids = packed_side(row.data.b, instrument, Side.BID)
    return row, bids, packed_side(row.data.a, instrument, Side.ASK)
