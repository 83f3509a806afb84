"""A trade as the JSON payload of a consolidator's record.

    {"exchange":"BINANCE","asset":"BTCUSDT","kind":"Perpetual","px":61800.30,"sz":0.004,
     "side":"Sell","exchange_trade_id":123,"exchange_ts_ms":1762632731000,"event_u":null,
     "writer_seq":7,"writer_ts_ms":1762632731012,"recv_ts_ms":1762632731005,
     "parse_ts_ms":1762632731005,"enqueue_ts_ms":1762632731006,"persist_ts_ms":1762632731012}

in one line, and with the fields in this order. `px` and `sz` are numbers with all digits: read them
as decimals, not as floats. They have as many decimals as the instrument's exponents say. Where the
venue writes prices as text, those are its own digits. Where it writes JSON numbers, nobody can know
how many zeros it would have put at the end: the value is the venue's, the zeros are ours.

`side` is the aggressor's. `event_u` is the update id of a book, so a trade has none. `writer_seq`
is the record's own sequence number. Times are unix ms: `exchange_ts_ms` is the venue's;
`recv_ts_ms` when the socket brought the trade; `parse_ts_ms` when it was parsed and published;
`enqueue_ts_ms` when it was handed to the writer; `writer_ts_ms` and `persist_ts_ms` when its batch
was made and stored, which is one moment here.

The layout has no place for the kind of a trade. Prints of the insurance fund and of
auto-deleveraging look like all others here.
"""

import re
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from fanout.protocol.constants import InstrumentType
from fanout.protocol.errors import MalformedError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade

KINDS: Final = {
    InstrumentType.SPOT: "Spot",
    InstrumentType.LINEAR_PERPETUAL: "Perpetual",
    InstrumentType.INVERSE_PERPETUAL: "Perpetual",
    InstrumentType.FUTURE: "Future",
    InstrumentType.INVERSE_FUTURE: "Future",
    InstrumentType.OPTION: "Option",
    InstrumentType.OTHER: "Other",
}
"""The `kind` of each type of instrument."""

EXCHANGES: Final = {"binance-usdm": "BINANCE"}
"""The `exchange` of venues that are not named as the header names them, in capitals."""

SIDES: Final = ("Buy", "Sell")
"""By `Trade.buyer_is_maker`."""

SHORTEST_RECORD_BYTES: Final = 256
"""No record with such a payload is shorter. So an index with a slot for each so many bytes covers
all data."""

_NUMBER: Final = re.compile(rb"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


class Stamps(NamedTuple):
    """When a trade was parsed, published, taken by the writer, and stored; unix ms."""

    parse_ms: int
    enqueue_ms: int
    writer_ms: int
    persist_ms: int


class ConsolidatedTrade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A trade in a consolidator's ring. `px` and `sz` are decimal text with all digits, and `side`
    is Buy or Sell, the aggressor's. Times are unix ms, 0 where the writer gave none."""

    exchange: str
    asset: str
    kind: str
    px: str
    sz: str
    side: str
    exchange_trade_id: int | str
    exchange_ts_ms: int
    event_u: int | None
    writer_seq: int
    writer_ts_ms: int
    recv_ts_ms: int
    parse_ts_ms: int
    enqueue_ts_ms: int
    persist_ts_ms: int


class _Payload(msgspec.Struct, gc=False):
    exchange: str
    asset: str
    px: msgspec.Raw
    sz: msgspec.Raw
    side: str
    exchange_trade_id: int | str
    exchange_ts_ms: int
    kind: str = ""
    event_u: int | None = None
    writer_seq: int = 0
    writer_ts_ms: int = 0
    recv_ts_ms: int = 0
    parse_ts_ms: int = 0
    enqueue_ts_ms: int = 0
    persist_ts_ms: int = 0


_decoder: Final = msgspec.json.Decoder(_Payload)


class PayloadMaker:
    """Makes the payloads of one instrument."""

    def __init__(self, venue: str, instrument: Instrument) -> None:
        """`venue` as the header names it."""
        exchange = EXCHANGES.get(venue, venue.upper())
        self._price_text = instrument.price_text
        self._quantity_text = instrument.quantity_text
        fields = {"exchange": exchange, "asset": instrument.symbol, "kind": KINDS[instrument.type]}
        self._begun = msgspec.json.encode(fields).decode()[:-1]

    def payload(self, trade: Trade, seq: int, stamps: Stamps) -> bytes:
        """The payload of a trade. `seq` is the number of its record."""
        received_ms = trade.received_ns // 1_000_000
        return (
            f'{self._begun},"px":{self._price_text(trade.price)}'
            f',"sz":{self._quantity_text(trade.quantity)},"side":"{SIDES[trade.buyer_is_maker]}"'
            f',"exchange_trade_id":{trade.trade_id},"exchange_ts_ms":{trade.time_ms}'
            f',"event_u":null,"writer_seq":{seq},"writer_ts_ms":{stamps.writer_ms}'
            f',"recv_ts_ms":{received_ms},"parse_ts_ms":{stamps.parse_ms}'
            f',"enqueue_ts_ms":{stamps.enqueue_ms},"persist_ts_ms":{stamps.persist_ms}}}'
        ).encode()


def decode_trade(payload: bytes) -> ConsolidatedTrade:
    """The trade in a payload. Fields that say nothing of the trade itself may be missing. Raises
    `MalformedError`."""
    try:
        found = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(str(error)) from error
    if found.side not in SIDES:
        raise MalformedError(f"side {found.side[:20]!r}, neither Buy nor Sell")
    return ConsolidatedTrade(
        exchange=found.exchange,
        asset=found.asset,
        kind=found.kind,
        px=_digits(found.px, "px"),
        sz=_digits(found.sz, "sz"),
        side=found.side,
        exchange_trade_id=found.exchange_trade_id,
        exchange_ts_ms=found.exchange_ts_ms,
        event_u=found.event_u,
        writer_seq=found.writer_seq,
        writer_ts_ms=found.writer_ts_ms,
        recv_ts_ms=found.recv_ts_ms,
        parse_ts_ms=found.parse_ts_ms,
        enqueue_ts_ms=found.enqueue_ts_ms,
        persist_ts_ms=found.persist_ts_ms,
    )


def _digits(raw: msgspec.Raw, name: str) -> str:
    """The digits of a number, which may stand in quotes. One with an exponent, as programs write
    small numbers, is written out."""
    text = bytes(raw).strip(b'"')
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise MalformedError(f"{name} {text[:40]!r} is not a decimal number")
    return f"{Decimal(text.decode()):f}" if found[2] else text.decode()
