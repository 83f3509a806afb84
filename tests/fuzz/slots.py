"""Targets of other programs' layouts: rings that somebody wrote over, and datagrams."""

from fractions import Fraction

from fanout.protocol.consolidated_reader import RingReader, RingRecord, Start, Unread, Why
from fanout.protocol.consolidated_trade import decode_trade
from fanout.protocol.hftp import decode_packet, encode_packet
from fanout.protocol.slots import (
    FILE_BYTES,
    HEAD_BYTES,
    SLOT_BYTES,
    SLOT_COUNT,
    SlotsReader,
    SlotsWriter,
    decode_slot,
)
from tests.stand.packed_ring import PackedRing, payload_of

_CAPACITY, _SLOTS = 4_096, 16


def ring(head: bytes) -> None:
    """Whatever stands in a file of the right size: the writer finds sense in it, writes inside of
    the ring or refuses, and a reader that starts gets what is written then."""
    buffer = bytearray(FILE_BYTES)
    buffer[: min(len(head), FILE_BYTES)] = head[:FILE_BYTES]
    writer, reader = SlotsWriter(buffer), SlotsReader(buffer)
    writer.mend()
    assert not writer.mend()
    assert 0 <= writer.free <= SLOT_COUNT
    slots = [bytes([each]) * SLOT_BYTES for each in range(3)]
    has_room = writer.free > 0
    assert writer.push(slots[0]) == has_room
    reader.skip()
    assert writer.free == SLOT_COUNT
    assert all(map(writer.push, slots))
    assert [reader.pop() for _ in range(4)] == [*map(decode_slot, slots), None]
    assert len(buffer) == FILE_BYTES


def heads() -> list[bytes]:
    """The beginnings of files."""
    pairs = [(0, 0), (5, 1), (SLOT_COUNT, 0), (50_000, 1), (1, 50_000), (5, 2**63), (2**64 - 1, 5)]
    written = [
        pair[0].to_bytes(8, "little").ljust(64, b"\0") + pair[1].to_bytes(8, "little")
        for pair in pairs
    ]
    return [*written, b"\1" * (HEAD_BYTES + SLOT_BYTES)]


def packet(data: bytes) -> None:
    """A datagram that is understood is the one that its packet is encoded to."""
    assert encode_packet(decode_packet(data)) == data


def kept_ring(data: bytes) -> None:
    """Whatever stands in the files of a consolidator's ring: a reader refuses them, or accounts for
    each number that the head counts and the index has, once."""
    files = PackedRing(_CAPACITY, _SLOTS)
    meta_bytes = len(files.meta_file)
    files.meta_file[: min(len(data), meta_bytes)] = data[:meta_bytes]
    rest = data[meta_bytes : meta_bytes + _CAPACITY]
    files.data_file[: len(rest)] = rest
    reader = RingReader(files, start=Start.OLDEST)
    first, found = reader.next_seq, list[RingRecord | Unread]()
    while read := reader.read(5):
        found += read
    seqs = [
        seq
        for each in found
        for seq in (
            range(each.first_seq, each.last_seq + 1) if isinstance(each, Unread) else [each.seq]
        )
    ]
    assert seqs == list(range(first, reader.head.seq + 1))
    assert Why.ANEW not in {each.why for each in found if isinstance(each, Unread)}


def kept_rings() -> list[bytes]:
    """Rings, with the data behind the index."""
    found = []
    for count in (0, 1, 5, 40):
        files = PackedRing(_CAPACITY, _SLOTS)
        for number in range(count):
            files.trade(number)
        found.append(bytes(files.meta_file + files.data_file))
    return found


def kept_trade(data: bytes) -> None:
    """A payload that is understood has numbers for its price and its size."""
    trade = decode_trade(data)
    assert trade.side in ("Buy", "Sell")
    for each in (trade.px, trade.sz):
        Fraction(each)


def kept_trades() -> list[bytes]:
    return [payload_of(1), payload_of(2**64, px="0.10", event_u=5, exchange_trade_id="x")]
