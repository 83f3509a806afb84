"""The packets of the HFTP layout: one trade or one change of a book by price in each datagram.

The layout is another program's, for receivers that speak it. Prices and quantities are doubles in
it, so a value with more than some fifteen digits is rounded to the nearest double, once. It has no
epoch, no checksum and no heartbeats. A receiver notices loss by a hole in the sequence, which each
sender counts for itself, and cannot ask for what it lost.

All is little-endian:

        0  magic      u32, 0x48465450
        4  sequence   u64, +1 for each packet of a sender, and for each record that gets no packet
       12  time       i64, the venue's, in microseconds since 1970; 0 if it gave none
       20  exchange   u8, as the sender and its receivers agree
       21  kind       u8, 0 book, 1 trade
       22  symbol     u16 length, then UTF-8

    book   u8 is snapshot | u16 count | bids | u16 count | asks     a level: f64 price, f64 quantity
    trade  f64 price | f64 quantity | u8 side, 0 buy, 1 sell | u8 length | id as text

A snapshot replaces the book. Else a quantity of 0 removes a level. A book that is too long for one
packet is continued in the next, which is no snapshot. The side of a trade is its aggressor's.
"""

import math
from collections.abc import Iterator, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final

import msgspec

from fanout.protocol.book_records import LEVEL, BookUpdate
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.fixedpoint import to_float
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade

MAGIC: Final = 0x48465450

MAX_PACKET_BYTES: Final = 65_507
"""The longest datagram that UDP over IPv4 carries."""

_HEAD: Final = Struct("<IQqBBH")
_COUNT: Final = Struct("<H")
_LEVEL: Final = Struct("<dd")
_TRADE: Final = Struct("<ddBB")
assert (_HEAD.size, _LEVEL.size, _TRADE.size) == (24, 16, 18)

_BOOK_KIND: Final = 0
_TRADE_KIND: Final = 1

Levels = tuple[tuple[float, float], ...]
"""Price and quantity of each, from the best outwards."""


class BookPacket(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an order book by price. `time_us` is in microseconds since 1970."""

    sequence: int
    time_us: int
    exchange: int
    symbol: str
    is_snapshot: bool
    bids: Levels
    asks: Levels


class TradePacket(msgspec.Struct, frozen=True, kw_only=True):
    """A trade. `time_us` is in microseconds since 1970."""

    sequence: int
    time_us: int
    exchange: int
    symbol: str
    price: float
    quantity: float
    is_sell: bool
    """Whether the aggressor sold."""
    trade_id: str


Packet = BookPacket | TradePacket


def encode_packet(packet: Packet) -> bytes:
    """The bytes of a packet. Raises `NotRepresentableError`."""
    is_book = isinstance(packet, BookPacket)
    try:
        symbol = packet.symbol.encode()
        head = _HEAD.pack(
            MAGIC,
            packet.sequence,
            packet.time_us,
            packet.exchange,
            _BOOK_KIND if is_book else _TRADE_KIND,
            len(symbol),
        )
        body = _book(packet) if isinstance(packet, BookPacket) else _trade(packet)
    except (StructError, UnicodeEncodeError, MalformedError) as error:
        raise NotRepresentableError(f"{packet} does not fit its fields: {error}") from error
    data = head + symbol + body
    if len(data) > MAX_PACKET_BYTES:
        raise NotRepresentableError(
            f"packet of {len(data):,} bytes exceeds the {MAX_PACKET_BYTES:,} of a datagram"
        )
    return data


def _book(packet: BookPacket) -> bytes:
    for each in (*packet.bids, *packet.asks):
        _require_numbers(*each)
    sides = [
        _COUNT.pack(len(levels)) + b"".join([_LEVEL.pack(*each) for each in levels])
        for levels in (packet.bids, packet.asks)
    ]
    return bytes([packet.is_snapshot]) + sides[0] + sides[1]


def _trade(packet: TradePacket) -> bytes:
    _require_numbers(packet.price, packet.quantity)
    trade_id = packet.trade_id.encode()
    fixed = _TRADE.pack(packet.price, packet.quantity, packet.is_sell, len(trade_id))
    return fixed + trade_id


def decode_packet(data: bytes) -> Packet:
    """The packet in a datagram. Raises `PeerError` for every other datagram."""
    if len(data) > MAX_PACKET_BYTES:
        raise LimitExceededError(f"packet of {len(data):,} bytes exceeds {MAX_PACKET_BYTES:,}")
    walk = _Walk(data)
    magic, sequence, time_us, exchange, kind, symbol_bytes = walk.unpack(_HEAD, "header")
    if magic != MAGIC:
        raise MalformedError(f"magic {magic:#010x}: {MAGIC:#010x} is needed")
    symbol = walk.text(symbol_bytes, "symbol")
    packet: Packet
    if kind == _BOOK_KIND:
        packet = BookPacket(
            sequence=sequence,
            time_us=time_us,
            exchange=exchange,
            symbol=symbol,
            is_snapshot=walk.code("snapshot flag"),
            bids=walk.levels(),
            asks=walk.levels(),
        )
    elif kind == _TRADE_KIND:
        price, quantity = walk.numbers()
        is_sell = walk.code("side")
        packet = TradePacket(
            sequence=sequence,
            time_us=time_us,
            exchange=exchange,
            symbol=symbol,
            price=price,
            quantity=quantity,
            is_sell=is_sell,
            trade_id=walk.text(walk.byte("id"), "id"),
        )
    else:
        raise MalformedError(f"packet of kind {kind}: 0 is a book, 1 a trade")
    walk.require_end()
    return packet


class _Walk:
    """A place in a datagram. Every step is checked against what is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        left = len(self._data) - self._at
        if size > left:
            raise MalformedError(f"{what} of {size:,} bytes, and {left:,} are left")
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def unpack(self, layout: Struct, what: str) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size, what))

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def code(self, what: str) -> bool:
        value = self.byte(what)
        if value > 1:
            raise MalformedError(f"{what} {value}: 0 or 1 is needed")
        return bool(value)

    def text(self, size: int, what: str) -> str:
        try:
            return self.take(size, what).decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"{what} is not UTF-8") from error

    def numbers(self) -> tuple[float, float]:
        price, quantity = _LEVEL.unpack(self.take(_LEVEL.size, "price and quantity"))
        _require_numbers(price, quantity)
        return price, quantity

    def levels(self) -> Levels:
        (count,) = self.unpack(_COUNT, "count of levels")
        packed = self.take(count * _LEVEL.size, "levels")
        levels = tuple(_LEVEL.iter_unpack(packed))
        for price, quantity in levels:
            _require_numbers(price, quantity)
        return levels

    def require_end(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise MalformedError(f"{left:,} bytes behind the packet")


def _require_numbers(price: float, quantity: float) -> None:
    if not (math.isfinite(price) and math.isfinite(quantity)):
        raise MalformedError(f"price {price} or quantity {quantity} is no number")


def packets_of(
    record: Trade | BookUpdate, *, sequence: int, exchange: int, max_bytes: int
) -> list[bytes]:
    """The packets of a record, each of at most `max_bytes`, with sequences from `sequence` on.

    Several where a book update is too long for one. Raises `NotRepresentableError` if not even one
    level fits, or a value.
    """
    of = record.instrument
    if isinstance(record, Trade):
        trade = TradePacket(
            sequence=sequence,
            time_us=_micros(record.time, of),
            exchange=exchange,
            symbol=of.symbol,
            price=record.price_float,
            quantity=record.quantity_float,
            is_sell=record.buyer_is_maker,
            trade_id=str(record.trade_id),
        )
        return [_fitting(encode_packet(trade), max_bytes)]
    packets: list[bytes] = []
    for bids, asks in _pieces(record, max_bytes):
        book = BookPacket(
            sequence=sequence + len(packets),
            time_us=_micros(record.time, of),
            exchange=exchange,
            symbol=of.symbol,
            is_snapshot=record.is_whole and not packets,
            bids=bids,
            asks=asks,
        )
        packets.append(_fitting(encode_packet(book), max_bytes))
    return packets


def _pieces(update: BookUpdate, max_bytes: int) -> Iterator[tuple[Levels, Levels]]:
    """Its bids and asks in pieces that fit a packet; one without levels if it has none."""
    of = update.instrument
    bids, asks = _floats(update.packed_bids, of), _floats(update.packed_asks, of)
    around = _HEAD.size + len(of.symbol.encode()) + 1 + 2 * _COUNT.size
    room = max((max_bytes - around) // _LEVEL.size, 1)
    for start in range(0, max(len(bids) + len(asks), 1), room):
        stop = start + room
        behind = max(start - len(bids), 0), max(stop - len(bids), 0)
        yield tuple(bids[start:stop]), tuple(asks[behind[0] : behind[1]])


def _floats(packed: bytes, of: Instrument) -> Sequence[tuple[float, float]]:
    return [
        (to_float(price, of.price_exponent), to_float(quantity, of.quantity_exponent))
        for price, quantity in LEVEL.iter_unpack(packed)
    ]


def _fitting(packet: bytes, max_bytes: int) -> bytes:
    if len(packet) > max_bytes:
        raise NotRepresentableError(f"packet of {len(packet):,} bytes exceeds {max_bytes:,}")
    return packet


def _micros(time: int, of: Instrument) -> int:
    """A venue's time in microseconds; floored where the venue's clock is finer."""
    nanos_per_unit = int(10 ** (of.time_exponent + 9))
    return time * nanos_per_unit // 1_000
