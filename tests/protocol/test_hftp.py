"""The layout is another program's, so its bytes are written out here, and not taken from ours."""

import math
import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import BookFlags
from fanout.protocol.errors import (
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
)
from fanout.protocol.hftp import (
    MAX_PACKET_BYTES,
    BookPacket,
    Packet,
    TradePacket,
    decode_packet,
    encode_packet,
    packets_of,
)
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade

BOOK = BookPacket(
    sequence=7,
    time_us=1_700_000_000_000_000,
    exchange=0,
    symbol="BTC-USDT",
    is_snapshot=True,
    bids=((64_321.5, 0.25),),
    asks=((64_321.6, 0.5),),
)
TRADE = TradePacket(
    sequence=8,
    time_us=1_700_000_000_000_000,
    exchange=0,
    symbol="BTC-USDT",
    price=64_321.5,
    quantity=0.25,
    is_sell=True,
    trade_id="12345",
)
BOOK_BYTES = bytes.fromhex(
    "50544648070000000000000000401e18240a0600000008004254432d55534454010100000000003068ef40000000"
    "000000d03f0100333333333368ef40000000000000e03f"
)
TRADE_BYTES = bytes.fromhex(
    "50544648080000000000000000401e18240a0600000108004254432d55534454000000003068ef40000000000000"
    "d03f01053132333435"
)
GOLDEN: list[tuple[Packet, bytes]] = [(BOOK, BOOK_BYTES), (TRADE, TRADE_BYTES)]

BTC = Instrument(
    index=0, symbol="BTC-USDT", price_exponent=-1, quantity_exponent=-2, time_exponent=-6
)
SIDE_AT = 24 + 8 + 16
"""The side of the golden trade."""


@pytest.mark.parametrize(("packet", "data"), GOLDEN)
def test_a_packet_has_the_bytes_of_the_layout(packet: Packet, data: bytes) -> None:
    assert encode_packet(packet) == data
    assert decode_packet(data) == packet


@pytest.mark.parametrize(("packet", "data"), GOLDEN)
def test_a_packet_that_is_cut_or_longer_is_refused(packet: Packet, data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(MalformedError):
            decode_packet(data[:size])
    with pytest.raises(MalformedError, match="3 bytes behind the packet"):
        decode_packet(data + b"\0\0\0")


@pytest.mark.parametrize(("packet", "data"), GOLDEN)
def test_every_flipped_bit_is_refused_or_read_as_it_stands(packet: Packet, data: bytes) -> None:
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            other = decode_packet(bytes(flipped))
        except PeerError:
            continue
        assert other != packet
        assert encode_packet(other) == flipped


finite = st.floats(allow_nan=False, allow_infinity=False)
levels = st.lists(st.tuples(finite, finite), max_size=5).map(tuple)
texts = st.text("aB-\0é币\U0001f40c", max_size=20)
head: dict[str, Any] = {
    "sequence": st.integers(0, 2**64 - 1),
    "time_us": st.integers(-(2**63), 2**63 - 1),
    "exchange": st.integers(0, 255),
    "symbol": texts,
}


@given(
    st.builds(BookPacket, **head, is_snapshot=st.booleans(), bids=levels, asks=levels)
    | st.builds(
        TradePacket,
        **head,
        price=finite,
        quantity=finite,
        is_sell=st.booleans(),
        trade_id=texts,
    )
)
def test_a_packet_comes_back_as_it_was(packet: Packet) -> None:
    assert decode_packet(encode_packet(packet)) == packet


@given(st.binary(max_size=80), st.sampled_from(["", "book", "trade"]))
def test_bytes_of_any_kind_are_a_packet_or_refused(data: bytes, kind: str) -> None:
    starts = {"": b"", "book": BOOK_BYTES[:32], "trade": TRADE_BYTES[:32]}
    try:
        packet = decode_packet(starts[kind] + data)
    except PeerError:
        return
    assert encode_packet(packet) == starts[kind] + data


def changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "header of 24 bytes, and 0 are left"),
        (changed(BOOK_BYTES, 0, b"HFTP"), "magic 0x50544648: 0x48465450 is needed"),
        (changed(BOOK_BYTES, 21, b"\2"), "packet of kind 2: 0 is a book, 1 a trade"),
        (changed(BOOK_BYTES, 22, b"\xff\xff"), "symbol of 65,535 bytes, and 45 are left"),
        (changed(BOOK_BYTES, 24, b"\xff"), "symbol is not UTF-8"),
        (changed(BOOK_BYTES, 32, b"\2"), "snapshot flag 2: 0 or 1 is needed"),
        (changed(BOOK_BYTES, 33, b"\xff\xff"), "levels of 1,048,560 bytes, and 34 are left"),
        (changed(BOOK_BYTES, 35, struct.pack("<d", math.nan)), "price nan or quantity 0.25"),
        (changed(BOOK_BYTES, 43, struct.pack("<d", math.inf)), "quantity inf is no number"),
        (changed(TRADE_BYTES, 32, struct.pack("<d", -math.inf)), "price -inf"),
        (changed(TRADE_BYTES, SIDE_AT, b"\2"), "side 2: 0 or 1 is needed"),
        (changed(TRADE_BYTES, SIDE_AT + 1, b"\xff"), "id of 255 bytes, and 5 are left"),
        (changed(TRADE_BYTES, SIDE_AT + 2, b"\xff"), "id is not UTF-8"),
    ],
)
def test_the_refusal_says_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        decode_packet(data)


def test_what_is_no_datagram_is_not_looked_at() -> None:
    with pytest.raises(LimitExceededError, match="packet of 65,508 bytes exceeds 65,507"):
        decode_packet(bytes(MAX_PACKET_BYTES + 1))


@pytest.mark.parametrize(
    "packet",
    [
        replace(BOOK, sequence=-1),
        replace(BOOK, sequence=2**64),
        replace(BOOK, time_us=2**63),
        replace(BOOK, exchange=256),
        replace(BOOK, symbol="x" * 65_536),
        replace(BOOK, symbol="\ud800"),
        replace(BOOK, bids=((math.nan, 1.0),)),
        replace(BOOK, asks=((1.0, math.inf),)),
        replace(BOOK, asks=((1.0, 1.0),) * 65_536),
        replace(TRADE, price=math.nan),
        replace(TRADE, quantity=math.inf),
        replace(TRADE, trade_id="1" * 256),
        replace(TRADE, trade_id="\ud800"),
    ],
)
def test_what_does_not_fit_is_refused(packet: Packet) -> None:
    with pytest.raises(NotRepresentableError, match="does not fit its fields"):
        encode_packet(packet)


def test_a_packet_is_no_longer_than_a_datagram() -> None:
    most = (MAX_PACKET_BYTES - len(BOOK_BYTES)) // 16
    assert len(encode_packet(replace(BOOK, bids=((1.0, 2.0),) * (most + 1)))) <= MAX_PACKET_BYTES
    with pytest.raises(NotRepresentableError, match="exceeds the 65,507 of a datagram"):
        encode_packet(replace(BOOK, bids=((1.0, 2.0),) * (most + 2)))


def test_a_trade_becomes_one_packet() -> None:
    trade = Trade(BTC, 12_345, 1_700_000_000_000_000, 643_215, 25, True)
    assert packets_of(trade, sequence=8, exchange=0, max_bytes=1_400) == [TRADE_BYTES]


def update(bids: int, asks: int, flags: BookFlags = BookFlags.NONE) -> BookUpdate:
    return BookUpdate(
        BTC,
        1,
        1_700_000_000_000_000,
        pack_levels([(643_215 - each, 25) for each in range(bids)]),
        pack_levels([(643_216 + each, 50) for each in range(asks)]),
        flags,
    )


def test_a_book_update_becomes_one_packet_where_it_fits() -> None:
    whole = update(1, 1, BookFlags.WHOLE)
    assert packets_of(whole, sequence=7, exchange=0, max_bytes=1_400) == [BOOK_BYTES]
    change = packets_of(update(1, 1), sequence=7, exchange=0, max_bytes=1_400)
    assert list(map(decode_packet, change)) == [replace(BOOK, is_snapshot=False)]


def test_an_update_without_levels_becomes_a_packet() -> None:
    (packet,) = packets_of(update(0, 0, BookFlags.WHOLE), sequence=7, exchange=0, max_bytes=100)
    assert decode_packet(packet) == replace(BOOK, bids=(), asks=())


@pytest.mark.parametrize(("bids", "asks"), [(5, 0), (0, 5), (3, 4), (4, 3), (7, 7), (100, 85)])
def test_a_long_update_is_divided(bids: int, asks: int) -> None:
    whole = update(bids, asks, BookFlags.WHOLE)
    for max_bytes in (53, 70, 101, 102, 400, 10_000):
        packets = packets_of(whole, sequence=7, exchange=3, max_bytes=max_bytes)
        assert all(len(each) <= max_bytes for each in packets)
        # No packet could have taken a level of the next one.
        assert all(len(each) + 16 > max_bytes for each, _ in pairwise(packets))
        books = [each for each in map(decode_packet, packets) if isinstance(each, BookPacket)]
        assert [each.sequence for each in books] == list(range(7, 7 + len(packets)))
        assert [each.is_snapshot for each in books] == [True] + [False] * (len(packets) - 1)
        together = replace(
            BOOK,
            exchange=3,
            bids=sum((each.bids for each in books), ()),
            asks=sum((each.asks for each in books), ()),
        )
        (one,) = packets_of(whole, sequence=7, exchange=3, max_bytes=60_000)
        assert decode_packet(one) == together
        assert (len(together.bids), len(together.asks)) == (bids, asks)


@pytest.mark.parametrize("record", [update(1, 0), Trade(BTC, 1, 1, 1, 1, False)])
def test_a_record_that_cannot_be_divided_further_is_refused(record: Trade | BookUpdate) -> None:
    with pytest.raises(NotRepresentableError, match=r"packet of 5. bytes exceeds 50"):
        packets_of(record, sequence=1, exchange=0, max_bytes=50)


@pytest.mark.parametrize(
    ("exponent", "time", "micros"), [(-9, 1_999, 1), (-6, 5, 5), (-3, 5, 5_000), (0, 5, 5_000_000)]
)
def test_times_are_microseconds_whatever_the_venues_clock(
    exponent: int, time: int, micros: int
) -> None:
    trade = Trade(replace(BTC, time_exponent=exponent), 1, time, 1, 1, False)
    (packet,) = packets_of(trade, sequence=1, exchange=0, max_bytes=100)
    assert decode_packet(packet).time_us == micros
