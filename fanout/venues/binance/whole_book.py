"""Whole order books over REST, the same for USDⓈ-M and spot. Pure.

    GET /fapi/v1/depth?symbol=BTCUSDT&limit=1000
    {"lastUpdateId":5123107852948,"E":...,"T":...,"bids":[["61800.20","2.909"],...],"asks":[...]}

Spot has no times. A side with as many levels as were asked for may have more of them. As in
`depth`, `packed_levels` reads the two arrays, since each has a thousand levels.
"""

from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.book_records import LEVEL, BookUpdate
from fanout.protocol.constants import U64_MAX, BookFlags, Side
from fanout.protocol.instrument import Instrument
from fanout.protocol.level_text import packed_levels
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN
from fanout.venues.values import Request

LEVELS: Final = 1_000
"""Levels of a side to ask for: the most at USDⓈ-M. Spot has up to 5,000, for five times the
weight."""

_BIDS: Final = b'"bids":'
_ASKS: Final = b'"asks":'
_Id = Annotated[int, msgspec.Meta(ge=0)]


class _Head(msgspec.Struct):
    """A number stands in place of each array that has been read."""

    lastUpdateId: _Id  # noqa: N815  the venue's name
    bids: int
    asks: int
    T: _Id = 0


_Read = tuple["_Head | _Whole", bytes, bytes]
"""A message's small fields, the bids and the asks."""


class _Whole(msgspec.Struct):
    lastUpdateId: _Id  # noqa: N815
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    T: _Id = 0


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode


def book_request(api: str, symbol: str, *, weight: int) -> Request:
    query = {"symbol": symbol, "limit": str(LEVELS)}
    return Request(path=f"{api}/depth", query=query, weight=weight)


def parse_book(body: bytes, instrument: Instrument) -> BookUpdate:
    """Raises `VenueMessageError`."""
    head, bids, asks = _read_quickly(body, instrument) or _read_slowly(body, instrument)
    if max(head.lastUpdateId, head.T) > U64_MAX:
        raise VenueMessageError("whole book of the wrong shape", f"update {head.lastUpdateId}")
    flags = BookFlags.WHOLE
    if max(len(bids), len(asks)) >= LEVELS * LEVEL.size:
        flags |= BookFlags.TOP_ONLY
    return BookUpdate(instrument, head.lastUpdateId, head.T, bids, asks, flags)


def _read_quickly(body: bytes, instrument: Instrument) -> _Read | None:
    """None where the arrays are not in the ordinary form, or not in this order."""
    price, quantity = instrument.price_exponent, instrument.quantity_exponent
    bids_start = body.find(_BIDS) + len(_BIDS)
    bids = packed_levels(body, bids_start, price, quantity, Side.BID)
    if bids is None:
        return None
    asks_start = body.find(_ASKS, bids[1]) + len(_ASKS)
    asks = packed_levels(body, asks_start, price, quantity, Side.ASK)
    if asks is None or asks_start < bids[1]:
        return None
    rest = b"".join((body[:bids_start], b"0", body[bids[1] : asks_start], b"0", body[asks[1] :]))
    try:
        return _decode_head(rest), bids[0], asks[0]
    except BROKEN:
        return None


def _read_slowly(body: bytes, instrument: Instrument) -> _Read:
    try:
        whole = _decode_whole(body)
    except BROKEN as error:
        raise VenueMessageError("whole book of the wrong shape", error) from error
    bids = packed_side(whole.bids, instrument, Side.BID)
    return whole, bids, packed_side(whole.asks, instrument, Side.ASK)
