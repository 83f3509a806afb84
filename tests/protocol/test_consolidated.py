"""The layout of a consolidator's rings, against its golden bytes and an independent packing."""

import random

import pytest

import fanout.protocol.consolidated as layout
from fanout.protocol.consolidated import (
    MARGIN_BYTES,
    TRADE,
    Head,
    Slot,
    channel_of,
    decode_head,
    decode_record,
    decode_slots,
    encode_head,
    encode_record,
    ring_name,
    slot_fault,
    stores_of,
)
from fanout.protocol.errors import ChecksumError, MalformedError
from tests.stand.packed_ring import PackedRing

PAYLOAD = b'{"exchange":"BINANCE","asset":"BTCUSDT","px":1.5}'
RECORD = bytes.fromhex(
    "31000000010000000000000001000000000000007b2265786368616e6765223a2242494e414e4345222c2261737365"
    "74223a2242544355534454222c227078223a312e357d5ceb99b9"
)
HEAD = bytes.fromhex(
    "52494e47563100000020000000000000490000000000000001000000000000008000000000000000"
)
EMPTY = Head(8192, 0, 0, 128)


def test_the_golden_record_and_head() -> None:
    assert encode_record(TRADE, 1, PAYLOAD) == RECORD
    stores = stores_of(EMPTY, [RECORD], TRADE)
    assert encode_head(stores.head) == HEAD
    assert decode_head(HEAD) == stores.head == Head(8192, 73, 1, 128)
    assert stores.head.meta_bytes == 40 + 128 * 24
    assert stores.data == [(0, RECORD)]
    ((at, slot),) = stores.slots
    assert (at, slot.hex()) == (64, "000000000000000049000000010000000000000001000000")
    assert decode_record(RECORD, *map(Slot._make, decode_slots(slot))) == PAYLOAD


def test_the_documented_bytes_are_the_golden_ones() -> None:
    text = "".join(str(layout.__doc__).split())
    assert RECORD.hex() in text
    assert HEAD.hex() in text


def test_what_is_appended_is_what_an_independent_packing_makes() -> None:
    rng, packed = random.Random(5), PackedRing(4096, 16)
    meta, data, head = bytearray(packed.meta_file), bytearray(4096), Head(4096, 0, 0, 16)
    for _ in range(300):
        batch = [bytes(rng.randrange(256) for _ in range(rng.randrange(120))) for _ in range(3)]
        records = [encode_record(TRADE, head.seq + 1 + i, each) for i, each in enumerate(batch)]
        stores = stores_of(head, records, TRADE)
        for file, stored in ((data, stores.data), (meta, stores.slots)):
            for at, each in stored:
                file[at : at + len(each)] = each
        head = stores.head
        meta[:40] = encode_head(head)
        for each in batch:
            packed.append(each)
        assert (meta, data) == (packed.meta_file, packed.data_file)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HEAD[:39], "39 bytes"),
        (b"RINGV2\0\0" + HEAD[8:], "RINGV2"),
        (encode_head(Head(4095, 0, 0, 128)), "4,095 bytes"),
        (encode_head(Head(2**36, 0, 0, 128)), "a ring of"),
        (encode_head(Head(8192, 0, 0, 15)), "15 slots"),
        (encode_head(Head(8192, 0, 0, 2**33)), "slots"),
        (encode_head(Head(8192, 0, 2**63, 128)), "at number 9,223,372"),
        (encode_head(Head(8192, 8192, 1, 128)), "tail 8,192"),
    ],
)
def test_what_is_no_head_is_refused_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words) as error:
        decode_head(data)
    assert "\n" not in str(error.value)


def test_every_bit_of_a_record_counts() -> None:
    slot = Slot(0, len(RECORD), 1, TRADE)
    zeros = range(5, 12)  # of the header, which the CRC covers as well
    for bit in range(8 * len(RECORD)):
        damaged = bytearray(RECORD)
        damaged[bit // 8] ^= 1 << bit % 8
        kind = ChecksumError if bit // 8 >= 20 or bit // 8 in zeros else MalformedError
        with pytest.raises(kind):
            decode_record(bytes(damaged), slot)


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        (Slot(0, 73, 1, 1), ""),
        (Slot(8191, 8192, 1, 1), ""),
        (Slot(0, 73, 129, 1), "number 129"),
        (Slot(8192, 73, 1, 1), "beyond the data's 8,192 bytes"),
        (Slot(0, 23, 1, 1), "23 bytes"),
        (Slot(0, 8193, 1, 1), "8,193 bytes"),
    ],
)
def test_a_slot_that_cannot_be_is_named(slot: Slot, words: str) -> None:
    fault = slot_fault(slot, 1, EMPTY)
    assert words in fault
    assert bool(words) == bool(fault)


def test_a_head_knows_what_its_index_has_and_what_may_be_overwritten() -> None:
    assert EMPTY.oldest_slot == Head(8192, 0, 128, 128).oldest_slot == 1
    assert Head(8192, 0, 129, 128).oldest_slot == 2
    assert EMPTY.margin == 1024
    assert Head(2**30, 0, 0, 128).margin == MARGIN_BYTES


def test_a_ring_is_named_after_its_channel_and_its_part() -> None:
    assert ring_name("binance", 3) == "binance_trade_chunk3"
    assert channel_of("binance_trade_chunk3") == channel_of("binance") == "binance"
