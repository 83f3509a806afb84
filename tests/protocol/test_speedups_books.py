"""The compiled twins of quotes and books give what the plain functions give, value for value and
error for error."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import BlockFlags, BookFlags, pack_levels, pack_orders
from fanout.protocol.constants import MAX_BLOCK_LEVELS, MAX_BLOCK_ORDERS
from fanout.protocol.framing import seal, unseal
from fanout.protocol.speedups import PLAIN
from tests.protocol.golden import BOOK, BTC, HEADER, ORDERS, QUOTES
from tests.protocol.strategies import book_blocks, headers, order_blocks, quote_blocks
from tests.protocol.test_speedups import STRANGE, both, twins
from tests.thoroughness import examples


class Kind(NamedTuple):
    name: str
    block: Any
    blocks: Any
    records: str
    byte: int


KINDS = [
    Kind("quotes", QUOTES, quote_blocks, "quotes", 0x11),
    Kind("book", BOOK, book_blocks, "updates", 0x12),
    Kind("orders", ORDERS, order_blocks, "updates", 0x13),
]
UPDATES = KINDS[1:]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=[each.name for each in KINDS])
each_update = pytest.mark.parametrize("kind", UPDATES, ids=[each.name for each in UPDATES])


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    twins()


def write(kind: Kind, block: Any, header: Any = HEADER) -> object:
    return both(f"encode_{kind.name}", block, header)


def read(kind: Kind, payload: Any, header: Any = HEADER) -> object:
    return both(f"decode_{kind.name}", payload, header)


def with_records(kind: Kind, *records: Any) -> Any:
    return replace(kind.block, **{kind.records: list(records)})


@each_kind
@given(st.data())
def test_blocks_are_written_and_read_alike(kind: Kind, data: st.DataObject) -> None:
    header = data.draw(headers())
    payload = write(kind, data.draw(kind.blocks(header)), header)
    assert isinstance(payload, bytes)
    read(kind, payload, header)


@each_kind
@given(st.data())
def test_broken_payloads_are_refused_alike(kind: Kind, data: st.DataObject) -> None:
    header = data.draw(headers())
    payload = PLAIN[f"encode_{kind.name}"](data.draw(kind.blocks(header)), header)
    body = bytearray(unseal(payload))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(
            st.sampled_from([0, 1, 2, 0x7E, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
        )
    end = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    read(kind, seal(body[:end]), header)


@each_kind
def test_every_cut_and_every_flipped_bit_is_refused_alike(kind: Kind) -> None:
    payload = PLAIN[f"encode_{kind.name}"](kind.block, HEADER)
    for end in range(len(payload)):
        read(kind, payload[:end])
        read(kind, seal(payload[:end]))
    body = unseal(payload)
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        read(kind, bytes(flipped) + payload[-4:])
        read(kind, seal(flipped))


@each_kind
@settings(max_examples=examples(100))
@given(tail=st.binary(max_size=80), flags=st.integers(0, 3), count=st.integers(0, 1026))
def test_bytes_that_may_be_records_are_read_alike(
    kind: Kind, tail: bytes, flags: int, count: int
) -> None:
    prefix = bytes([kind.byte, flags, 0]) + count.to_bytes(2, "little")
    read(kind, seal(prefix + bytes([7, *[0] * 7] * 2) + tail))


@each_kind
@pytest.mark.parametrize("payload", [bytearray(40), memoryview(bytes(40)), None, "text", b""])
def test_what_is_no_payload_is_refused_alike(kind: Kind, payload: Any) -> None:
    read(kind, payload)


@each_kind
def test_a_bytearray_with_a_block_is_read_alike(kind: Kind) -> None:
    read(kind, bytearray(PLAIN[f"encode_{kind.name}"](kind.block, HEADER)))


@each_kind
@pytest.mark.parametrize("value", [*STRANGE, BookFlags.WHOLE, b"", bytes(16), bytes(24)], ids=repr)
def test_strange_records_are_written_or_refused_alike(kind: Kind, value: Any) -> None:
    records = getattr(kind.block, kind.records)
    for field in records[0].__struct_fields__:
        if field not in ("seq", "received_ns"):
            strange = replace(records[0], **{field: value})
            write(kind, with_records(kind, *records, strange))
            write(kind, with_records(kind, strange, *records))


@each_kind
@pytest.mark.parametrize(
    "value", [*STRANGE, BlockFlags.SNAPSHOT, 255, 256, [], (), "abc", [1]], ids=repr
)
def test_strange_blocks_are_written_or_refused_alike(kind: Kind, value: Any) -> None:
    for field in kind.block.__struct_fields__:
        write(kind, replace(kind.block, **{field: value}))


@each_kind
@pytest.mark.parametrize("first_seq", [1, 2**63 - 4, 2**63 - 3, 2**63 - 2, 2**63 - 1, 2**63])
@pytest.mark.parametrize("flags", [BlockFlags.NONE, BlockFlags.SNAPSHOT])
def test_the_last_numbers_are_used_alike(kind: Kind, first_seq: int, flags: BlockFlags) -> None:
    payload = write(kind, replace(kind.block, first_seq=first_seq, flags=flags))
    if isinstance(payload, bytes):
        read(kind, payload)


@each_kind
@pytest.mark.parametrize(
    "header",
    [
        None,
        replace(HEADER, references=()),
        replace(HEADER, instruments=()),
        replace(HEADER, instruments=HEADER.instruments[:1]),
        replace(HEADER, references=list(HEADER.references)),
        replace(HEADER, references=(None, None)),
        replace(HEADER, references=(replace(HEADER.references[0], price=2**70),) * 2),
        replace(HEADER, references=(replace(HEADER.references[0], time=-1),) * 2),
        replace(HEADER, references=(replace(HEADER.references[0], update_id=2**64),) * 2),
        replace(HEADER, references=(replace(HEADER.references[0], update_id=1.5),) * 2),
    ],
)
def test_strange_headers_are_used_or_refused_alike(kind: Kind, header: Any) -> None:
    write(kind, kind.block, header)
    read(kind, PLAIN[f"encode_{kind.name}"](kind.block, HEADER), header)


@each_kind
def test_other_sequences_of_records_are_written_alike(kind: Kind) -> None:
    class Records(tuple[Any, ...]):
        __slots__ = ()

    records = getattr(kind.block, kind.records)
    for make in (tuple, Records):
        write(kind, replace(kind.block, **{kind.records: make(records)}))
    write(kind, with_records(kind, replace(records[0], instrument=SimpleNamespace(index=0))))
    write(kind, with_records(kind, *(each.block for each in KINDS if each is not kind)))
    for index in (-1, 2, 31, 32, 127, 128, 1_023, 1_024, 2**70, None):
        record = replace(records[0], instrument=replace(BTC, index=index))
        write(kind, with_records(kind, record))


@each_kind
def test_all_instruments_are_written_and_read_alike(kind: Kind) -> None:
    instruments = tuple(replace(BTC, index=i, symbol=str(i)) for i in range(1_024))
    header = replace(HEADER, instruments=instruments, references=HEADER.references[:1] * 1_024)
    record = getattr(kind.block, kind.records)[0]
    for indices in (range(512), range(1_023, 511, -1), (31, 32, 31, 32, 1_023)):
        records = [replace(record, instrument=instruments[index]) for index in indices]
        payload = write(kind, with_records(kind, *records), header)
        assert isinstance(payload, bytes)
        read(kind, payload, header)


@each_update
@pytest.mark.parametrize("flags", [*range(16), 0x40, 0xF8, 0xFF, 256, -1, 2**70])
def test_flags_of_an_update_are_written_alike(kind: Kind, flags: int) -> None:
    update = replace(getattr(kind.block, kind.records)[0], flags=flags)
    payload = write(kind, with_records(kind, update))
    assert isinstance(payload, bytes)
    read(kind, payload)


@each_update
def test_levels_up_to_the_limit_and_beyond_are_written_and_read_alike(kind: Kind) -> None:
    most = MAX_BLOCK_LEVELS if kind is KINDS[1] else MAX_BLOCK_ORDERS
    update = getattr(kind.block, kind.records)[0]

    def side(count: int) -> bytes:
        far = range(-(2**63), 2**63, 2**64 // count)[:count]
        if kind is KINDS[1]:
            return pack_levels((price, 2**64 - 1) for price in far)
        return pack_orders((price % 2**64, price, 2**64 - 1) for price in far)

    for count in (most - 1, most, most + 1):
        long = replace(update, packed_bids=b"", packed_asks=side(count))
        payload = write(kind, with_records(kind, long))
        if isinstance(payload, bytes):
            read(kind, payload)
        write(kind, with_records(kind, update, long))
    long = replace(update, packed_bids=b"", packed_asks=side(most))
    body = bytearray(unseal(PLAIN[f"encode_{kind.name}"](with_records(kind, long), HEADER)))
    at = body.index(bytes([0, most & 0x7F | 0x80, most >> 7]), 24)
    for counts in ([0, most + 1 & 0x7F | 0x80, most + 1 >> 7], [1, 0x80 | most & 0x7F, most >> 7]):
        body[at : at + 3] = counts
        read(kind, seal(body))


@pytest.mark.parametrize("prices", [(5, 5), (5, 6), (6, 5), (5, 2**63 - 1, -(2**63)), (5, 4, 5)])
@pytest.mark.parametrize("side", ["packed_bids", "packed_asks"])
def test_levels_that_go_inwards_are_refused_alike(side: str, prices: tuple[int, ...]) -> None:
    update = replace(BOOK.updates[0], **{side: pack_levels((price, 1) for price in prices)})
    write(KINDS[1], with_records(KINDS[1], BOOK.updates[0], update))
