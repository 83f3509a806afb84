"""The layout is another program's, so its bytes are written out here, and not taken from ours."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol.constants import I64_MAX, I64_MIN, U64_MAX, Side
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.protocol.slots import (
    BOOK,
    DELETE,
    FILE_BYTES,
    SLOT_COUNT,
    TRADE,
    UPDATE,
    Slot,
    SlotEncoder,
    SlotsReader,
    SlotsWriter,
    decode_slot,
    delete_slot,
)

FINE = Instrument(index=0, symbol="tBTCUSD", price_exponent=-8, quantity_exponent=-8)
"""The units of Bitfinex."""

GOLDEN_TRADE = "01f153650000000020a107000000000081256200000000000100010000000000"


def price(text: str) -> int:
    return from_text(text, FINE.price_exponent)


def trade(number: int, at: str, quantity: str, *, sold: bool = False) -> Trade:
    return Trade(FINE, number, 1, price(at), price(quantity), sold)


def order_slot(at: str, quantity: str, *, is_exact: bool = True) -> Slot:
    encoder = SlotEncoder(FINE, is_exact=is_exact)
    return decode_slot(encoder.order(7, price(at), price(quantity), Side.BID))


def test_a_trade_has_the_bytes_of_the_layout() -> None:
    """`te`, id 1700000001, amount -0.5, price 64321.29."""
    slot = SlotEncoder(FINE).trade(trade(1_700_000_001, "64321.29", "0.5", sold=True))
    assert slot.hex() == GOLDEN_TRADE
    assert decode_slot(slot) == Slot(1_700_000_001, 500_000, 6_432_129, Side.ASK, UPDATE, TRADE)


def test_an_order_has_the_bytes_of_the_layout() -> None:
    """The R0 row [34753002978, 7294.7, 1.543]: the id is its first element, the price its second,
    and an amount above zero is a bid."""
    slot = SlotEncoder(FINE).order(34_753_002_978, price("7294.7"), price("1.543"), Side.BID)
    assert slot.hex() == (
        "e2bd701708000000"  # 34753002978
        "588b170000000000"  # 1543000
        "7e210b0000000000"  # 729470
        "000000"  # bid, update, book
        "0000000000"
    )


def test_a_delete_has_the_bytes_of_the_venues_row() -> None:
    """The R0 row [34753002978, 0, -1] removes an ask."""
    slot = delete_slot(34_753_002_978, Side.ASK)
    assert slot.hex() == (
        "e2bd701708000000"
        "40420f0000000000"  # 1000000
        "0000000000000000"
        "010100"  # ask, delete, book
        "0000000000"
    )
    assert decode_slot(slot).action == DELETE


def test_a_buyer_that_was_the_aggressor_bought() -> None:
    slot = decode_slot(SlotEncoder(FINE).trade(trade(1, "1", "1")))
    assert (slot.side, slot.status) == (Side.BID, TRADE)


@pytest.mark.parametrize(
    ("instrument", "cents", "millionths"),
    [
        ((-2, -6), 12, 34),
        ((0, 0), 1_200, 34_000_000),
        ((2, 3), 120_000, 34_000_000_000),
        ((-1, -3), 120, 34_000),
    ],
)
def test_coarser_units_fit_always(instrument: tuple[int, int], cents: int, millionths: int) -> None:
    of = replace(FINE, price_exponent=instrument[0], quantity_exponent=instrument[1])
    slot = decode_slot(SlotEncoder(of).order(1, 12, 34, Side.BID))
    assert (slot.price, slot.size) == (cents, millionths)


@pytest.mark.parametrize(
    ("at", "quantity", "words"),
    [
        ("64321.295", "1", r"price 64321.29500000 of tBTCUSD: a slot has room for 2 decimals"),
        ("64321.29", "0.0000001", "size 0.00000010 of tBTCUSD: a slot has room for 6 decimals"),
        ("-0.001", "1", "price -0.00100000"),
    ],
)
def test_a_value_with_more_decimals_is_refused(at: str, quantity: str, words: str) -> None:
    encoder = SlotEncoder(FINE)
    with pytest.raises(NotRepresentableError, match=words):
        encoder.trade(trade(1, at, quantity))
    assert encoder.rounded == 0


@pytest.mark.parametrize(
    ("at", "cents"),
    [
        ("1.004", 100),
        ("1.006", 101),
        ("1.005", 100),
        ("1.015", 102),
        ("-1.004", -100),
        ("-1.006", -101),
        ("-1.005", -100),
        ("-1.015", -102),
        ("1.00500001", 101),
    ],
)
def test_it_is_rounded_to_the_nearest_where_that_is_allowed(at: str, cents: int) -> None:
    assert order_slot(at, "1", is_exact=False).price == cents


def test_each_price_and_each_size_that_is_rounded_counts() -> None:
    encoder = SlotEncoder(FINE, is_exact=False)
    for at, quantity in [("1.001", "1"), ("1", "1.0000001"), ("1.001", "1.0000001"), ("1", "1")]:
        encoder.trade(trade(1, at, quantity))
    assert encoder.rounded == 4


@pytest.mark.parametrize(("quantity", "millionths"), [("0.0000001", 1), ("0", 0)])
def test_no_size_is_rounded_to_nothing(quantity: str, millionths: int) -> None:
    assert order_slot("1", quantity, is_exact=False).size == millionths


@pytest.mark.parametrize(
    ("cents", "size"),
    [(I64_MAX + 1, 1), (I64_MIN - 1, 1), (1, U64_MAX + 1), (1, -1)],
)
def test_what_exceeds_64_bits_is_refused_also_where_rounding_is_allowed(
    cents: int, size: int
) -> None:
    of = replace(FINE, price_exponent=-3, quantity_exponent=-6)
    encoder = SlotEncoder(of, is_exact=False)
    with pytest.raises(NotRepresentableError, match=r"tBTCUSD 1: price .* or size .* 64 bits"):
        encoder.order(1, cents * 10 + 1, size, Side.BID)
    assert encoder.rounded == 0


def test_the_limits_fit() -> None:
    of = replace(FINE, price_exponent=-2, quantity_exponent=-6)
    for cents in (I64_MIN, I64_MAX):
        slot = decode_slot(SlotEncoder(of).order(U64_MAX, cents, U64_MAX, Side.ASK))
        assert slot == Slot(U64_MAX, U64_MAX, cents, Side.ASK, UPDATE, BOOK)


@given(
    st.builds(
        Slot,
        st.integers(0, U64_MAX),
        st.integers(0, U64_MAX),
        st.integers(I64_MIN, I64_MAX),
        st.sampled_from(Side),
        st.integers(0, 1),
        st.integers(0, 1),
    )
)
def test_a_slot_is_read_as_the_c_program_reads_it(slot: Slot) -> None:
    data = struct.pack("<QQqbbb5x", *slot)
    assert decode_slot(data) == slot


def ring(written: int = 0, read: int = 0) -> bytearray:
    buffer = bytearray(FILE_BYTES)
    struct.pack_into("<Q", buffer, 0, written)
    struct.pack_into("<Q", buffer, 64, read)
    return buffer


def indices(buffer: bytearray) -> tuple[int, int]:
    return struct.unpack_from("<Q56xQ", buffer)  # type: ignore[return-value]


def slot_of(number: int) -> bytes:
    return struct.pack("<QQqbbb5x", number, 1, 2, 0, 0, 1)


def ids(reader: SlotsReader) -> list[int]:
    return [slot.id for slot in iter(reader.pop, None)]


def test_the_file_is_as_long_as_the_other_program_makes_it() -> None:
    assert FILE_BYTES == 524_416 == 128 + 16_384 * 32


@pytest.mark.parametrize("begin", [0, 16_383, 20_000, 2**40 - 5])
def test_slots_stand_where_their_number_says(begin: int) -> None:
    buffer = ring(begin, begin)
    writer = SlotsWriter(buffer)
    assert all(writer.push(slot_of(begin + each)) for each in range(3))
    for each in range(begin, begin + 3):
        at = 128 + each % 16_384 * 32
        assert buffer[at : at + 32] == slot_of(each)
    assert indices(buffer) == (begin + 3, begin)
    assert (writer.position, writer.unread, writer.read_position) == (begin + 3, 3, begin)


def test_slots_are_read_once_and_in_order() -> None:
    buffer = ring()
    writer, reader = SlotsWriter(buffer), SlotsReader(buffer)
    assert reader.pop() is None
    for first in range(0, 40_000, 1_000):
        for each in range(first, first + 1_000):
            writer.push(slot_of(each))
        assert ids(reader) == list(range(first, first + 1_000))
    assert indices(buffer) == (40_000, 40_000)


def test_a_full_ring_refuses_the_newest_and_keeps_the_rest() -> None:
    buffer = ring()
    writer, reader = SlotsWriter(buffer), SlotsReader(buffer)
    pushed = [writer.push(slot_of(each)) for each in range(SLOT_COUNT + 3)]
    assert pushed == [True] * SLOT_COUNT + [False] * 3
    assert (writer.free, writer.unread) == (0, SLOT_COUNT)
    assert reader.pop() == decode_slot(slot_of(0))
    assert writer.free == 1
    assert writer.push(slot_of(99_999))
    assert ids(reader) == [*range(1, SLOT_COUNT), 99_999]


def test_a_reader_that_starts_skips_what_is_there() -> None:
    buffer = ring()
    writer = SlotsWriter(buffer)
    writer.push(slot_of(1))
    reader = SlotsReader(buffer)
    reader.skip()
    writer.push(slot_of(2))
    assert ids(reader) == [2]


def test_a_writer_goes_on_where_an_earlier_run_ended() -> None:
    buffer = ring()
    first = SlotsWriter(buffer)
    for each in range(5):
        first.push(slot_of(each))
    reader = SlotsReader(buffer)
    assert reader.pop() is not None
    second = SlotsWriter(buffer)
    assert not second.mend()
    second.push(slot_of(5))
    assert ids(reader) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("written", "read", "mended"),
    [
        (5, 9, (9, 9)),  # a reader that is ahead waits for the writer to come there
        (0, 2**63 - 1, (2**63 - 1, 2**63 - 1)),
        (2**63, 5, (0, 0)),
        (5, 2**64 - 1, (0, 0)),
        (2**64 - 1, 2**64 - 1, (0, 0)),
    ],
)
def test_indices_that_contradict_each_other_are_mended(
    written: int, read: int, mended: tuple[int, int]
) -> None:
    buffer = ring(written, read)
    writer = SlotsWriter(buffer)
    assert writer.mend()
    assert indices(buffer) == mended
    assert writer.free == SLOT_COUNT
    assert not writer.mend()
    assert writer.push(slot_of(1))
    assert ids(SlotsReader(buffer)) == [1]


@pytest.mark.parametrize(("written", "read"), [(0, 0), (7, 7), (7, 3), (20_000, 3_616)])
def test_indices_that_can_be_are_left_alone(written: int, read: int) -> None:
    buffer = ring(written, read)
    assert not SlotsWriter(buffer).mend()
    assert indices(buffer) == (written, read)


def test_a_reader_that_set_its_index_back_reads_up_to_the_writer_first() -> None:
    buffer = ring(20_000, 0)
    writer, reader = SlotsWriter(buffer), SlotsReader(buffer)
    assert not writer.mend()
    assert (writer.free, writer.unread) == (0, 20_000)
    assert not writer.push(slot_of(1))
    for _ in range(20_000 - SLOT_COUNT + 1):
        assert reader.pop() is not None
    assert writer.push(slot_of(1))


def test_whatever_a_reader_says_the_writer_writes_inside_of_the_ring() -> None:
    buffer = ring(5, 5)
    writer = SlotsWriter(buffer)
    struct.pack_into("<Q", buffer, 64, 9)
    assert (writer.unread, writer.free) == (0, SLOT_COUNT)
    assert writer.push(slot_of(1))
    assert len(buffer) == FILE_BYTES
    assert indices(buffer) == (6, 9)


def kept(writer: SlotsWriter) -> Iterator[int]:
    return (decode_slot(each).id for each in writer.kept())


def test_what_is_still_in_the_ring_is_known_read_or_not() -> None:
    buffer = ring()
    writer, reader = SlotsWriter(buffer), SlotsReader(buffer)
    assert list(kept(writer)) == []
    for each in range(20_000):
        writer.push(slot_of(each))
        reader.pop()
    assert list(kept(writer)) == list(range(20_000 - SLOT_COUNT, 20_000))


def test_places_that_were_never_written_are_no_slots() -> None:
    writer = SlotsWriter(ring(5, 900))
    writer.mend()
    writer.push(slot_of(7))
    assert list(kept(writer)) == [7]


def test_a_slot_is_stored_before_the_index_that_counts_it() -> None:
    buffer = ring()
    writer = SlotsWriter(buffer)
    stored: list[bytes] = []

    class Words:
        """The indices. It looks at the slot when the write index is stored."""

        def __getitem__(self, word: int) -> int:
            return 0

        def __setitem__(self, word: int, value: int) -> None:
            assert (word, value) == (0, 1)
            stored.append(bytes(buffer[128:160]))

    words: Any = Words()
    writer._words = words
    writer.push(slot_of(1))
    assert stored == [slot_of(1)]


def test_a_reader_gives_a_slot_back_after_it_was_read() -> None:
    """Otherwise the writer could store another one in its place meanwhile."""
    buffer = ring(1, 0)
    buffer[128:160] = slot_of(1)
    reader = SlotsReader(buffer)

    class Words:
        """The indices. It overwrites the slot when the read index is stored."""

        def __getitem__(self, word: int) -> int:
            return 1

        def __setitem__(self, word: int, value: int) -> None:
            assert (word, value) == (8, 1)
            buffer[128:160] = slot_of(2)

    words: Any = Words()
    reader._words = words
    assert reader.pop() == decode_slot(slot_of(1))


def test_a_buffer_can_be_closed_once_it_is_released() -> None:
    buffer = ring()
    writer = SlotsWriter(buffer)
    with pytest.raises(BufferError):
        buffer.append(0)
    writer.release()
    buffer.append(0)
