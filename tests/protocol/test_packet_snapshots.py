"""Openings and blocks from the packets of snapshots, in any order and with holes."""

import random

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    BookFlags,
    Header,
    MalformedError,
    Packer,
    Packet,
    PeerError,
    decode_book,
    decode_packet,
    encode_packet,
    frame,
)
from fanout.protocol.constants import DataKinds
from fanout.protocol.framing import seal
from fanout.protocol.packet_snapshots import PacketOpenings, SnapshotBlocks
from fanout.protocol.packets import LAST, SNAPSHOT, frames_of
from tests.protocol.golden import BTC, HEADER, payload
from tests.stand.packet_sender import Sender


def header_of(count: int) -> Header:
    return replace(
        HEADER,
        instruments=tuple(
            replace(BTC, index=index, symbol=f"SYMBOL-{index}") for index in range(count)
        ),
        references=(HEADER.references[0],) * count,
    )


def opening_of(header: Header) -> list[Packet]:
    return [decode_packet(each) for each in Packer(header, packet_bytes=600).opening(1)]


def taken(openings: PacketOpenings, packets: list[Packet]) -> list[Header]:
    return [found for each in packets if (found := openings.take(each)) is not None]


def test_an_opening_is_put_together_in_any_order() -> None:
    header = header_of(20)
    packets = opening_of(header)
    assert len(packets) > 4
    for seed in range(5):
        random.Random(seed).shuffle(packets)
        assert taken(PacketOpenings(), packets) == [header]


def test_an_opening_is_put_together_from_several_repetitions() -> None:
    packets = opening_of(header_of(20))
    openings = PacketOpenings()
    assert taken(openings, packets[1::2]) == []
    assert taken(openings, packets[::2]) == [header_of(20)]


def test_the_frames_of_another_listing_are_not_mixed_in() -> None:
    old, new = opening_of(header_of(20)), opening_of(replace(header_of(20), next_seq=1_002))
    other = header_of(20)
    other = replace(other, instruments=tuple(replace(each, lot=9) for each in other.instruments))
    openings = PacketOpenings()
    assert taken(openings, old[:3] + opening_of(other)[3:]) == []
    assert taken(openings, new) == [replace(header_of(20), next_seq=1_002)]


def test_a_header_without_instruments_is_whole_at_once() -> None:
    header = replace(HEADER, instruments=(), references=())
    assert taken(PacketOpenings(), opening_of(header)) == [header]


def test_entries_that_do_not_make_the_listing_are_no_opening() -> None:
    (packet,) = opening_of(HEADER)
    wrong = encode_packet(
        list(frames_of(packet.frames)),
        next_seq=1_001,
        number=1,
        epoch_ns=1,
        listing=1,
        sent_ns=1,
        flags=SNAPSHOT,
    )
    assert taken(PacketOpenings(), [decode_packet(wrong)]) == []


def test_a_broken_opening_is_refused() -> None:
    broken = frame(seal(payload("header")[:-9]))
    packet = encode_packet(
        [broken], next_seq=1, number=1, epoch_ns=1, listing=1, sent_ns=1, flags=SNAPSHOT
    )
    with pytest.raises(PeerError):
        PacketOpenings().take(decode_packet(packet))


def book_snapshot(levels: int) -> tuple[list[Packet], Header]:
    sender = Sender(has_books=True)
    sender.trades(2)
    sender.quotes(2)
    sender.whole_book(levels)
    sender.whole_book(levels, index=1)
    return [decode_packet(each) for each in sender.snapshot()], sender.channel.header


def kinds(blocks: SnapshotBlocks, packets: list[Packet], header: Header | None) -> list[int]:
    return [each[4] for packet in packets for each in blocks.passed(packet, header)]


def test_a_reader_that_joined_gets_all_blocks_once() -> None:
    packets, header = book_snapshot(3)
    blocks = SnapshotBlocks()
    assert kinds(blocks, packets, header) == []
    blocks.need_all()
    found = kinds(blocks, packets, header)
    assert set(found) == {0x10, 0x11, 0x12}
    assert not blocks.are_needed
    assert kinds(blocks, packets, header) == []


def test_a_reader_that_lost_something_gets_quotes_and_books_and_no_trades() -> None:
    packets, header = book_snapshot(3)
    blocks = SnapshotBlocks()
    blocks.need_books(header)
    assert set(kinds(blocks, packets, header)) == {0x11, 0x12}
    assert not blocks.are_needed


def test_without_books_nothing_is_needed_after_a_loss() -> None:
    header = replace(HEADER, data=DataKinds.TRADES | DataKinds.QUOTES)
    assert not header.has_books
    blocks = SnapshotBlocks()
    blocks.need_books(header)
    assert not blocks.are_needed


def test_a_book_with_a_hole_is_left_out_up_to_the_next_one() -> None:
    packets, header = book_snapshot(400)
    pieces = [packet for packet in packets if packet.frames[4] == 0x12]
    assert len(pieces) > 4
    blocks = SnapshotBlocks()
    blocks.need_books(header)
    assert kinds(blocks, pieces[:1], header) == [0x12]
    blocks.lost()
    found = kinds(blocks, pieces[2:], header)
    is_whole = [packet.frames for packet in pieces[2:]]
    begins = next(
        place
        for place, frames in enumerate(is_whole)
        if _flags_of(frames, header) & BookFlags.WHOLE
    )
    assert len(found) == len(pieces) - 2 - begins
    assert blocks.are_needed, "some of the snapshot was lost"


def _flags_of(frames: bytes, header: Header) -> BookFlags:
    return decode_book(next(frames_of(frames))[4:], header).updates[0].flags


def test_a_snapshot_is_under_way_until_something_is_lost_or_it_is_whole() -> None:
    packets, header = book_snapshot(3)
    blocks = SnapshotBlocks()
    blocks.need_all()
    assert not blocks.is_under_way
    kinds(blocks, packets[:1], header)
    assert blocks.is_under_way
    kinds(blocks, packets[1:2], None)  # of another place
    assert not blocks.is_under_way
    assert packets[-1].flags & LAST
    kinds(blocks, packets[-1:], header)
    assert blocks.are_needed


def test_blocks_of_unknown_kinds_are_left_out() -> None:
    blocks = SnapshotBlocks()
    blocks.need_all()
    unknown = seal(b"\x1e\2\0\1\0" + (5).to_bytes(8, "little"))
    assert not blocks.takes(unknown, HEADER)
    assert not blocks.takes(seal(b"\x30new"), HEADER)


def test_a_block_that_is_not_in_order_is_refused() -> None:
    blocks = SnapshotBlocks()
    blocks.need_all()
    with pytest.raises(MalformedError):
        blocks.takes(seal(payload("quotes")[:-9]), HEADER)
