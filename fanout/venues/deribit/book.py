"""Deribit's order books, and quotes from books of one level. Pure.

    {"type":"snapshot","timestamp":1554373962454,"instrument_name":"BTC-PERPETUAL",
     "change_id":297217,"bids":[["new",5042.34,30],...],"asks":[...]}
    {"type":"change","timestamp":1554373911330,"prev_change_id":297217,"change_id":297218,
     "instrument_name":"BTC-PERPETUAL","bids":[["delete",5041.94,0],...],"asks":[]}

The first message after a subscription is a snapshot, and has the whole book. Each change names its
predecessor in `prev_change_id`. Ids ascend and are not consecutive; a book that never had an order
has id 0. Amounts are absolute. Prices of combos can be negative.
https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval

Levels are read in one pass, without an object for each, by writing them as pairs of strings, which
`packed_levels` reads. Levels that are not in the ordinary form are read one by one.

The channel of one level (`book.I.none.1.100ms`) sends the best bid and ask again and again, whole,
as pairs of price and amount, the best first.
"""

import re
from typing import Final, Literal

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import BookFlags, Side
from fanout.protocol.instrument import Instrument
from fanout.protocol.level_text import packed_levels
from fanout.venues.deribit.messages import Millis, Natural, fits
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN, decimal_text
from fanout.venues.values import VenueDepth, VenueQuote

_WRONG: Final = "depth of the wrong shape"

_DELETE: Final = b'"delete"'
_DELETED: Final = re.compile(rb'\["delete",([0-9.]+),[0-9.]+\]')
_TO_PAIRS: Final = (
    (b'["new",', b'["'),
    (b'["change",', b'["'),
    (b"],[", b'"]|['),
    (b",", b'","'),
    (b"|", b","),
    (b"]]", b'"]]'),
)
"""Replacements that make `[["new",5042.34,30],...]` an array of pairs of strings. In levels of any
other form they leave something that `packed_levels` does not read."""

_Level = tuple[Literal["new", "change", "delete"], msgspec.Raw, msgspec.Raw]
_Pair = tuple[msgspec.Raw, msgspec.Raw]


class _Depth(msgspec.Struct, gc=False):
    type: Literal["snapshot", "change"]
    timestamp: Millis
    instrument_name: str
    change_id: Natural
    bids: msgspec.Raw
    asks: msgspec.Raw
    prev_change_id: Natural | None = None

    @property
    def is_whole(self) -> bool:
        return self.type == "snapshot"


class _DepthParams(msgspec.Struct, gc=False):
    data: _Depth


class _DepthNotification(msgspec.Struct, gc=False):
    params: _DepthParams


class _Best(msgspec.Struct, gc=False):
    timestamp: Millis
    instrument_name: str
    change_id: Natural
    bids: list[_Pair]
    asks: list[_Pair]


class _BestParams(msgspec.Struct, gc=False):
    data: _Best


class _BestNotification(msgspec.Struct, gc=False):
    params: _BestParams


_decode_depth = msgspec.json.Decoder(_DepthNotification).decode
_decode_levels = msgspec.json.Decoder(list[_Level]).decode
_decode_best = msgspec.json.Decoder(_BestNotification).decode


def read_depth(message: bytes, instrument: Instrument) -> VenueDepth:
    """The update in a notification that is about this instrument. Raises `VenueMessageError` for
    anything else, and for levels that are no numbers of the instrument's exponents."""
    try:
        row = _decode_depth(message).params.data
    except BROKEN as error:
        raise VenueMessageError(_WRONG, f"{error}: {message[:80]!r}") from error
    if row.instrument_name != instrument.symbol:
        raise VenueMessageError("unexpected event", f"{row.type} of {row.instrument_name}")
    if not row.is_whole and row.prev_change_id is None:
        raise VenueMessageError(_WRONG, f"{instrument.symbol}, a change without prev_change_id")
    if not fits(row.change_id, row.prev_change_id or 0):
        raise VenueMessageError(_WRONG, f"{instrument.symbol}, change {row.change_id}")
    update = BookUpdate(
        instrument,
        row.change_id,
        row.timestamp,
        _packed(row, bytes(row.bids), instrument, Side.BID),
        _packed(row, bytes(row.asks), instrument, Side.ASK),
        BookFlags.WHOLE if row.is_whole else BookFlags.NONE,
    )
    return VenueDepth(update, row.change_id, None if row.is_whole else row.prev_change_id)


def _packed(row: _Depth, raw: bytes, instrument: Instrument, side: Side) -> bytes:
    found = None if row.is_whole and _DELETE in raw else _packed_fast(raw, instrument, side)
    return _packed_slowly(row, raw, instrument, side) if found is None else found


def _packed_fast(raw: bytes, instrument: Instrument, side: Side) -> bytes | None:
    """None for levels that are not in the ordinary form."""
    text = _DELETED.sub(rb'["\1,0]', raw) if _DELETE in raw else raw
    for old, new in _TO_PAIRS:
        text = text.replace(old, new)
    found = packed_levels(text, 0, instrument.price_exponent, instrument.quantity_exponent, side)
    return None if found is None or found[1] != len(text) else found[0]


def _packed_slowly(row: _Depth, raw: bytes, instrument: Instrument, side: Side) -> bytes:
    try:
        levels = _decode_levels(raw)
    except BROKEN as error:
        raise VenueMessageError(_WRONG, f"{error}: {raw[:80]!r}") from error
    if row.is_whole and any(action == "delete" for action, _, _ in levels):
        raise VenueMessageError(_WRONG, f"{instrument.symbol}, a snapshot that deletes levels")
    pairs = (
        (decimal_text(price), "0" if action == "delete" else decimal_text(amount))
        for action, price, amount in levels
    )
    return packed_side(pairs, instrument, side)


def read_quote(message: bytes) -> VenueQuote:
    """The quote in a notification of the channel of one level. An empty side has quantity 0. Raises
    `VenueMessageError`."""
    try:
        row = _decode_best(message).params.data
    except BROKEN as error:
        raise VenueMessageError("quote of the wrong shape", f"{error}: {message[:80]!r}") from error
    if not fits(row.change_id):
        raise VenueMessageError(
            "quote of the wrong shape", f"{row.instrument_name}, change {row.change_id}"
        )
    bid, ask = _best(row.bids), _best(row.asks)
    return VenueQuote(row.instrument_name, row.change_id, row.timestamp, *bid, *ask)


def _best(side: list[_Pair]) -> tuple[str, str]:
    for price, amount in side:
        return decimal_text(price), decimal_text(amount)
    return "0", "0"
