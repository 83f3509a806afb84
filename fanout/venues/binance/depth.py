"""Binance's changes of order books (`@depth`), the same for USDⓈ-M and spot. Pure.

    {"e":"depthUpdate","E":...,"T":...,"s":"BTCUSDT","U":...,"u":...,"pu":...,
     "b":[["61496.50","0.010"],...],"a":[...]}

`U` and `u` are the first and the last update id in the message, and `pu` is the last of the message
before it (USDⓈ-M only). Quantities are absolute. Bids come with the lowest first.
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

A message holds some 68 levels, and there are dozens a second for each symbol. So the two arrays are
read by `packed_levels`, in one pass and without an object per level, and msgspec reads the small
rest. Where either finds something unusual, msgspec reads all of it. The compiled twin reads the
whole message in that one pass.
"""

from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import U64_MAX, Side
from fanout.protocol.instrument import Instrument
from fanout.protocol.level_text import packed_levels
from fanout.protocol.speedups import Twins
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN
from fanout.venues.values import VenueDepth

twin: Final = Twins("fanout.venues.binance._depth")

_Id = Annotated[int, msgspec.Meta(ge=0)]
_BIDS: Final = b'"b":'
_ASKS: Final = b'"a":'
_DONE: Final = b"0"
"""What stands in place of an array that `packed_levels` has read."""


class _Message(msgspec.Struct, gc=False):
    """A message with its levels."""

    e: str
    s: str
    E: _Id
    U: _Id
    u: _Id
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    T: _Id | None = None
    pu: int | None = None


class _Rest(msgspec.Struct, gc=False):
    """A message whose levels have been read. A number stands in place of each array, so that an
    array elsewhere in the message cannot be taken for it."""

    e: str
    s: str
    E: _Id
    U: _Id
    u: _Id
    b: int
    a: int
    T: _Id | None = None
    pu: int | None = None


class _Envelope(msgspec.Struct, gc=False):
    data: _Message


class _RestEnvelope(msgspec.Struct, gc=False):
    data: _Rest


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_rest = msgspec.json.Decoder(_RestEnvelope).decode


@twin
def read_depth(message: bytes, instrument: Instrument) -> VenueDepth:
    """The update in a message of a combined stream, which is about this instrument.

    Raises `VenueMessageError` for anything else, and for levels that are no numbers of the
    instrument's exponents.
    """
    read = _read_quickly(message, instrument) or _read_slowly(message, instrument)
    row, bids, asks = read
    if row.e != "depthUpdate" or row.s != instrument.symbol:
        raise VenueMessageError("unexpected event", f"{row.e!r}, {row.s}")
    time = row.E if row.T is None else row.T
    if row.u > U64_MAX or time > U64_MAX or row.u < row.U:
        raise VenueMessageError("depth of the wrong shape", f"{row.s}, ids {row.U} to {row.u}")
    return VenueDepth(BookUpdate(instrument, row.u, time, bids, asks), row.U, row.pu)


def _read_quickly(
    message: bytes, instrument: Instrument
) -> tuple[_Rest | _Message, bytes, bytes] | None:
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
        return _decode_rest(rest).data, bids[0], asks[0]
    except BROKEN:
        return None


def _read_slowly(message: bytes, instrument: Instrument) -> tuple[_Rest | _Message, bytes, bytes]:
    try:
        row = _decode(message).data
    except BROKEN as error:
        raise VenueMessageError("depth of the wrong shape", f"{error}: {message[:80]!r}") from error
    return row, packed_side(row.b, instrument, Side.BID), packed_side(row.a, instrument, Side.ASK)
