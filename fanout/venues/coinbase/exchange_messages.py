"""Messages of the Exchange feed: trades, heartbeats, and books. Pure.

    {"type":"match","trade_id":881614,"maker_order_id":"...","taker_order_id":"...","side":"sell",
     "size":"0.04","price":"14.7775","product_id":"BAND-GBP","sequence":333938798,
     "time":"2021-04-17T16:43:30.244075Z"}

`side` is the maker's: for "sell" the taker bought. `last_match` has the same fields. It is the
newest trade from before the subscription. Ids of a product are consecutive. The venue may drop
matches, and says so by `last_trade_id` in the heartbeat of each second:

    {"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"..."}

    {"type":"snapshot","product_id":"BTC-USD","asks":[["14.8024","12.77"],...],"bids":[...]}
    {"type":"l2update","product_id":"BTC-USD","changes":[["buy","1872.79","0.00000000"]],"time":"..."}

A snapshot has the whole book, a megabyte perhaps. A size of 0 removes a level. There is no number,
so no change of a book can be missed.
https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from typing import Annotated, Final, Literal

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import Side, TradeKind
from fanout.protocol.instrument import Instrument
from fanout.protocol.level_text import packed_levels
from fanout.venues.coinbase.books import Change
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN
from fanout.venues.times import micros_of
from fanout.venues.values import VenueTrade

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
MakerSide = Literal["buy", "sell"]

_WRONG_DEPTH: Final = "depth of the wrong shape"
_DONE: Final = b"0"
"""What stands in place of an array that `packed_levels` has read."""


class _Match(msgspec.Struct, gc=False):
    type: Literal["match", "last_match"]
    trade_id: Id
    side: MakerSide
    size: str
    price: str
    product_id: str
    time: str


class Heartbeat(msgspec.Struct, gc=False):
    product_id: str
    last_trade_id: Id


class _Snapshot(msgspec.Struct, gc=False):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time: str = ""


class _Rest(msgspec.Struct, gc=False):
    """A snapshot whose levels have been read, with a number in place of each array."""

    bids: int
    asks: int
    time: str = ""


class _Update(msgspec.Struct, gc=False):
    changes: list[tuple[MakerSide, str, str]]
    time: str


_decode_match = msgspec.json.Decoder(_Match).decode
_decode_heartbeat = msgspec.json.Decoder(Heartbeat).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_rest = msgspec.json.Decoder(_Rest).decode
_decode_update = msgspec.json.Decoder(_Update).decode


def read_match(message: bytes) -> VenueTrade:
    """Raises `VenueMessageError`."""
    try:
        row = _decode_match(message)
    except BROKEN as error:
        raise VenueMessageError("trade of the wrong shape", f"{error}: {message[:80]!r}") from error
    return VenueTrade(
        row.product_id,
        row.trade_id,
        micros_of(row.time),
        row.price,
        row.size,
        row.side == "buy",
        TradeKind.MARKET,
        is_past=row.type == "last_match",
    )


def read_heartbeat(message: bytes) -> Heartbeat:
    """Raises `VenueMessageError`."""
    try:
        return _decode_heartbeat(message)
    except BROKEN as error:
        detail = f"{error}: {message[:80]!r}"
        raise VenueMessageError("heartbeat of the wrong shape", detail) from error


def read_update(message: bytes, instrument: Instrument) -> Change:
    """Raises `VenueMessageError`."""
    try:
        row = _decode_update(message)
    except BROKEN as error:
        raise VenueMessageError(_WRONG_DEPTH, f"{error}: {message[:80]!r}") from error
    bids = [(price, size) for side, price, size in row.changes if side == "buy"]
    asks = [(price, size) for side, price, size in row.changes if side == "sell"]
    return Change(
        is_whole=False,
        time=micros_of(row.time),
        bids=packed_side(bids, instrument, Side.BID),
        asks=packed_side(asks, instrument, Side.ASK),
    )


def read_snapshot(message: bytes, instrument: Instrument) -> Change:
    """Raises `VenueMessageError`. Snapshots recorded in 2021 have no time, so it may be missing."""
    return _read_quickly(message, instrument) or _read_slowly(message, instrument)


def _read_quickly(message: bytes, instrument: Instrument) -> Change | None:
    """None where the arrays are not in the ordinary form."""
    found = sorted(
        (message.find(name) + len(name), side)
        for name, side in ((b'"bids":', Side.BID), (b'"asks":', Side.ASK))
    )
    sides: dict[Side, bytes] = {}
    rest: list[bytes] = []
    done = 0
    for start, side in found:
        packed = packed_levels(
            message, start, instrument.price_exponent, instrument.quantity_exponent, side
        )
        if packed is None:
            return None
        rest += (message[done:start], _DONE)
        sides[side], done = packed
    try:
        row = _decode_rest(b"".join((*rest, message[done:])))
    except BROKEN:
        return None
    return _whole(row.time, sides[Side.BID], sides[Side.ASK])


def _read_slowly(message: bytes, instrument: Instrument) -> Change:
    try:
        row = _decode_snapshot(message)
    except BROKEN as error:
        raise VenueMessageError(_WRONG_DEPTH, f"{error}: {message[:80]!r}") from error
    return _whole(
        row.time,
        packed_side(row.bids, instrument, Side.BID),
        packed_side(row.asks, instrument, Side.ASK),
    )


def _whole(time: str, bids: bytes, asks: bytes) -> Change:
    return Change(is_whole=True, time=micros_of(time) if time else 0, bids=bids, asks=asks)
