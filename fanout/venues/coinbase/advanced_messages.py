"""Events in the messages of Advanced Trade: trades, and changes of books. Pure.

    {"channel":"market_trades","client_id":"","timestamp":"...","sequence_num":5,"events":[
     {"type":"update","trades":[{"trade_id":"995098700","product_id":"BTC-USD","price":"68900.50",
      "size":"0.00150000","side":"BUY","time":"2026-04-07T14:30:02.789012Z"}]}]}

The newest trade comes first. A `snapshot` has trades from before the subscription. `side` is the
maker's: of 71 live trades, all with SELL were at the ask or above, and all with BUY at the bid or
below. The documentation does not say it for this channel.

    {"channel":"l2_data",...,"sequence_num":1,"events":[{"type":"update","product_id":"BTC-USD",
     "updates":[{"side":"bid","event_time":"2026-04-07T14:30:01.456789Z","price_level":"68900.00",
      "new_quantity":"2.00000000"}]}]}

A `snapshot` has the whole book. A quantity of 0 removes a level, also one that is not there. A
level without a time has 0001-01-01T00:00:00Z.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

import re
from contextlib import suppress
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from fanout.errors import VenueMessageError
from fanout.protocol.constants import Side, TradeKind
from fanout.protocol.instrument import Instrument
from fanout.venues.coinbase.books import Change
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN
from fanout.venues.times import micros_of
from fanout.venues.values import VenueItem, VenueTrade

EventType = Literal["snapshot", "update"]

_NO_TIME: Final = "0001-01-01T00:00:00Z"

_ID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


class Trade(msgspec.Struct, gc=False):
    """A trade on the stream, and in an answer of REST."""

    trade_id: str
    product_id: str
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    time: str

    def meaning(self, *, is_past: bool = False) -> VenueTrade:
        """Raises `VenueMessageError` for an id that is no number, and a time that is none."""
        return VenueTrade(
            self.product_id,
            trade_id(self.trade_id),
            micros_of(self.time),
            self.price,
            self.size,
            self.side == "BUY",
            TradeKind.MARKET,
            is_past=is_past,
        )


class _Part(msgspec.Struct):
    """What has to be readable of a trade, so that it can be missed."""

    trade_id: str
    product_id: str = ""
    time: str = ""


class _Trades(msgspec.Struct):
    type: EventType
    trades: list[msgspec.Raw]


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str


class DepthEvent(msgspec.Struct):
    """Changes of one book."""

    type: EventType
    product_id: str
    updates: list[_Level]

    def change(self, instrument: Instrument) -> Change:
        """Raises `VenueMessageError`. The time is that of the last change, 0 if none has one."""
        times = {row.event_time for row in self.updates}
        bids = [(row.price_level, row.new_quantity) for row in self.updates if row.side == "bid"]
        asks = [(row.price_level, row.new_quantity) for row in self.updates if row.side == "offer"]
        return Change(
            is_whole=self.type == "snapshot",
            time=max((micros_of(time) for time in times if time != _NO_TIME), default=0),
            bids=packed_side(bids, instrument, Side.BID),
            asks=packed_side(asks, instrument, Side.ASK),
        )


class _Product(msgspec.Struct):
    product_id: str


_decode_trades = msgspec.json.Decoder(list[_Trades]).decode
_decode_trade = msgspec.json.Decoder(Trade).decode
_decode_part = msgspec.json.Decoder(_Part).decode
_decode_events = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_depth = msgspec.json.Decoder(DepthEvent).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def trade_id(text: str) -> int:
    """Raises `VenueMessageError`."""
    if not _ID.fullmatch(text):
        raise VenueMessageError("trade id that is no number", repr(text[:80]))
    return int(text)


def unreadable(raw: msgspec.Raw, symbol: str = "") -> VenueTrade:
    """A trade that cannot be read, with empty values, which fit no field. So it counts as missing.
    Raises `VenueMessageError`, or one of `BROKEN`, if its id is unreadable too."""
    part = _decode_part(raw)
    try:
        time = micros_of(part.time)
    except VenueMessageError:
        time = 0
    symbol = symbol or part.product_id
    return VenueTrade(symbol, trade_id(part.trade_id), time, "", "", False, TradeKind.OTHER)


def read_trades(events: msgspec.Raw, out: list[VenueItem]) -> None:
    """Append trades, oldest first. Raises `VenueMessageError`, after all trades with a readable id
    are appended, if some are unreadable."""
    try:
        rows = _decode_trades(events)
    except BROKEN as error:
        raise VenueMessageError("trades of the wrong shape", error) from error
    faults: list[Exception] = []
    for event in rows:
        is_past = event.type == "snapshot"
        for raw in reversed(event.trades):
            try:
                out.append(_decode_trade(raw).meaning(is_past=is_past))
            except (*BROKEN, VenueMessageError) as error:
                faults.append(error)
                with suppress(*BROKEN, VenueMessageError):
                    out.append(replace(unreadable(raw), is_past=is_past))
    if faults:
        count = sum(len(event.trades) for event in rows)
        detail = f"{len(faults)} of {count} in a message, the first: {faults[0]}"
        raise VenueMessageError("trade of the wrong shape", detail) from faults[0]


def depth_events(events: msgspec.Raw) -> list[tuple[str, msgspec.Raw]]:
    """The events about books, each with its product. Raises `VenueMessageError`."""
    try:
        return [(_decode_product(raw).product_id, raw) for raw in _decode_events(events)]
    except BROKEN as error:
        raise VenueMessageError("depth of the wrong shape", error) from error


def read_depth(raw: msgspec.Raw, instrument: Instrument) -> Change:
    """The change in an event. Raises `VenueMessageError`."""
    try:
        event = _decode_depth(raw)
    except BROKEN as error:
        raise VenueMessageError("depth of the wrong shape", error) from error
    return event.change(instrument)
