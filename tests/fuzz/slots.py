"""Targets of other programs' layouts: a ring of slots that somebody wrote over, and datagrams."""

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
