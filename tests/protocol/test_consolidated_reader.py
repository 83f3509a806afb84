"""A reader of a ring accounts for every number, whatever the ring and its writer do."""

import random
import struct
from collections.abc import Iterable

import pytest

from fanout.protocol import consolidated_reader
from fanout.protocol.consolidated_reader import (
    HEAD_TRIES,
    RingReader,
    RingRecord,
    Start,
    Unread,
    Why,
)
from fanout.protocol.errors import MalformedError
from tests.stand.packed_ring import PackedRing

Got = list[RingRecord | Unread]


def ring(count: int, *, size: int = 40, **options: int) -> PackedRing:
    made = PackedRing(**options)
    for number in range(count):
        made.append(bytes([number % 256]) * size)
    return made


def seqs(found: Got) -> list[int]:
    return [each.seq for each in found if isinstance(each, RingRecord)]


def unread(found: Got) -> list[tuple[int, int, Why]]:
    return [(each.first_seq, each.last_seq, each.why) for each in found if isinstance(each, Unread)]


def numbers(found: Iterable[RingRecord | Unread]) -> list[int]:
    """All numbers that are accounted for."""
    return [
        seq
        for each in found
        for seq in (
            range(each.first_seq, each.last_seq + 1) if isinstance(each, Unread) else (each.seq,)
        )
    ]


def test_a_reader_follows_a_writer() -> None:
    made = ring(3)
    reader = RingReader(made)
    assert reader.read() == []
    made.append(b"four", kind=0)
    (record,) = reader.read()
    assert isinstance(record, RingRecord)
    assert (record.seq, record.kind, record.payload) == (4, 0, b"four")
    assert record.stop == made.tail
    assert reader.read() == []


def test_it_begins_where_it_is_told() -> None:
    made = ring(5)
    assert seqs(RingReader(made, start=Start.OLDEST).read()) == [1, 2, 3, 4, 5]
    assert seqs(RingReader(made, start=4).read()) == [4, 5]
    assert seqs(RingReader(made, start=9).read()) == []
    assert seqs(RingReader(made, start=Start.OLDEST).read(2)) == [1, 2]
    empty = RingReader(PackedRing(), start=Start.OLDEST)
    assert (empty.oldest_seq, empty.next_seq, empty.read()) == (1, 1, [])


def test_records_wrap_anywhere() -> None:
    for size in range(1, 130):
        made = PackedRing(4096, 128)
        reader = RingReader(made)
        for number in range(60):
            made.append(bytes([number]) * size)
            (record,) = reader.read()
            assert isinstance(record, RingRecord)
            assert record.payload == bytes([number]) * size


def test_it_goes_back_as_far_as_the_data_has_room() -> None:
    made = ring(1_000, size=76)  # 100 bytes each
    reader = RingReader(made, start=Start.OLDEST)
    assert reader.oldest_seq == 1_000 - (8192 - 1024) // 100 + 1
    assert seqs(reader.read()) == list(range(reader.oldest_seq, 1_001))


def test_it_goes_back_as_far_as_a_small_index_has_slots() -> None:
    made = ring(1_000, slots=16)
    reader = RingReader(made, start=Start.OLDEST)
    assert reader.oldest_seq == 985 == reader.head.oldest_slot
    assert seqs(reader.read()) == list(range(985, 1_001))


def test_a_reader_that_is_lapped_by_the_index_is_told_exactly() -> None:
    made = ring(2, slots=16)
    reader = RingReader(made, start=Start.OLDEST)
    for _ in range(100):
        made.append(b"x")
    found = reader.read()
    assert unread(found) == [(1, 86, Why.LAPPED)]
    assert numbers(found) == list(range(1, 103))


def test_a_reader_that_is_lapped_by_the_data_is_told_exactly() -> None:
    made = ring(2, size=976, slots=1024)
    reader = RingReader(made, start=Start.OLDEST)
    for _ in range(100):
        made.append(bytes(976))
    found = reader.read()
    ((first, last, why),) = unread(found)
    assert (first, why) == (1, Why.LAPPED)
    assert last == 102 - 7
    assert numbers(found) == list(range(1, 103))


def test_a_reader_that_comes_to_the_margin_may_read_or_miss_it() -> None:
    """What is not overwritten yet can be read, and what is counts as lapped."""
    made = ring(8, size=1000, slots=1024)
    reader = RingReader(made, start=1)
    made.append(bytes(1000), counts=False)
    found = reader.read()
    assert numbers(found) == list(range(reader.oldest_seq, 9))
    assert {each for _, _, each in unread(found)} <= {Why.LAPPED}


def test_a_reader_is_lapped_while_it_reads() -> None:
    made = ring(40, size=176)  # 200 bytes each: nearly all there is room for

    class Overtaken(PackedRing):
        def data(self, offset: int, size: int) -> bytes:
            if made.seq < 400:
                made.append(bytes(176))
            return made.data(offset, size)

        def meta(self, offset: int, size: int) -> bytes:
            return made.meta(offset, size)

    reader = RingReader(Overtaken(), start=Start.OLDEST)
    first, found = reader.next_seq, list[RingRecord | Unread]()
    while got := reader.read(7):
        found += got
    assert numbers(found) == list(range(first, 401))
    assert {each for _, _, each in unread(found)} == {Why.LAPPED}


def test_a_damaged_record_is_told_and_the_next_one_read() -> None:
    made = ring(3)
    at = made.append(b"wrong")
    made.append(b"right")
    made.damage(at + 21)
    found = RingReader(made, start=Start.OLDEST).read()
    assert seqs(found) == [1, 2, 3, 5]
    (one,) = [each for each in found if isinstance(each, Unread)]
    assert (one.first_seq, one.count, one.why) == (4, 1, Why.DAMAGED)
    assert "CRC" in one.detail


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        ((4, 8192, 64, 1), "beyond the data"),
        ((4, 0, 9000, 1), "9,000 bytes"),
        ((4, 10, 64, 1), "no record begins at 10"),
        ((4, 64, 64, 1), "no record begins at 64"),
        ((5, 0, 64, 1), "number 5"),
        ((0, 0, 0, 0), "number 0"),
    ],
)
def test_a_slot_that_lies_is_told(slot: tuple[int, int, int, int], words: str) -> None:
    made = ring(6)
    seq, offset, size, kind = slot
    made.slot(seq, offset, size, kind, number=4)
    found = RingReader(made, start=Start.OLDEST).read()
    assert seqs(found) == [1, 2, 3, 5, 6]
    (one,) = [each for each in found if isinstance(each, Unread)]
    assert one.why is Why.DAMAGED
    assert words in one.detail


def test_a_slot_that_gives_a_record_many_bytes_has_none_of_them_read() -> None:
    made = ring(3, capacity=2**20)
    made.slot(2, 0, 2**19)
    reads = []
    real = made.data

    def data(offset: int, size: int) -> bytes:
        reads.append(size)
        return real(offset, size)

    made.data = data  # type: ignore[method-assign]
    found = RingReader(made, start=Start.OLDEST).read()
    assert unread(found) == [(2, 2, Why.DAMAGED)]
    assert max(reads) < 1_000


def test_much_damage_takes_little_reading() -> None:
    made = ring(4_000, size=8, capacity=160_000, slots=4_096)
    reader = RingReader(made, start=Start.OLDEST)
    first = reader.next_seq
    for at in range(0, 160_000, 20):
        made.damage(at)
    made.calls = 0
    found = reader.read(10_000)
    assert numbers(found) == list(range(first, 4_001))
    assert made.calls < 5 * len(found)


@pytest.mark.parametrize("at_once", [1, 4_096])
def test_the_count_of_what_has_room_goes_on_with_the_writer(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(consolidated_reader, "_SLOTS_AT_ONCE", at_once)
    made = ring(90, size=76)
    reader = RingReader(made, start=Start.OLDEST)
    found, first = list[RingRecord | Unread](), reader.next_seq
    for _ in range(300):
        at = made.append(bytes(76))
        made.damage(at)
        found += reader.read(1)
    found += reader.read()
    assert numbers(found) == list(range(first, 391))
    assert Why.LAPPED in {each for _, _, each in unread(found)}


def test_an_index_that_is_wiped_while_it_is_counted_is_told_as_well() -> None:
    made = ring(60, size=76)
    reader = RingReader(made, start=Start.OLDEST)
    made.damage(made.append(bytes(76)))
    found = reader.read()
    for _ in range(60):
        made.append(bytes(76))
    made.meta_file[40:] = bytes(128 * 24)
    found += reader.read()
    assert numbers(found) == list(range(1, 122))
    assert seqs(found) == list(range(1, 61))


def test_a_slot_with_a_wrong_size_hides_no_older_record() -> None:
    made = ring(40)
    made.slot(20, 19 * 64, 8_000)
    reader = RingReader(made, start=Start.OLDEST)
    assert reader.oldest_seq == 1
    found = reader.read()
    assert unread(found) == [(20, 20, Why.DAMAGED)]
    assert numbers(found) == list(range(1, 41))


def test_a_record_that_does_not_count_is_not_read() -> None:
    """Its writer was killed before it stored the sequence. The next one stores another there."""
    made = ring(3)
    made.append(b"never", counts=False)
    reader = RingReader(made, start=Start.OLDEST)
    assert seqs(reader.read()) == [1, 2, 3]
    made.append(b"other")
    (record,) = reader.read()
    assert isinstance(record, RingRecord)
    assert record.payload == b"other"


def test_a_slot_that_is_stored_and_does_not_count_yet_is_no_damage() -> None:
    made = ring(40, slots=16)
    reader = RingReader(made, start=Start.OLDEST)
    made.append(b"never", counts=False)
    found = reader.read()
    assert unread(found) == [(25, 25, Why.LAPPED)]
    assert numbers(found) == list(range(25, 41))


def test_a_ring_that_begins_anew_in_its_place_is_told() -> None:
    made = ring(9)
    reader = RingReader(made)
    made.seq = made.tail = 0
    made.append(b"first")
    found = reader.read()
    assert unread(found) == [(10, 9, Why.ANEW)]
    assert found[0] == Unread(10, 9, Why.ANEW)
    assert seqs(found) == [1]


def test_a_head_that_is_stored_meanwhile_is_read_again() -> None:
    made = ring(3)
    torn = made.meta(0, 24) + struct.pack("<Q", 0xFF03) + made.meta(32, 8)

    class Torn(PackedRing):
        turns = 0

        def meta(self, offset: int, size: int) -> bytes:
            self.turns += offset == 0
            if offset == 0 and self.turns == 3:
                return torn
            return made.meta(offset, size)

        def data(self, offset: int, size: int) -> bytes:
            return made.data(offset, size)

    reader = RingReader(Torn())
    made.append(b"x")
    assert seqs(reader.read()) == [4]


def test_a_head_that_never_stands_still_is_believed_in_the_end() -> None:
    made = ring(3)

    class Busy(PackedRing):
        def meta(self, offset: int, size: int) -> bytes:
            if offset == 0:
                made.append(b"x")
            return made.meta(offset, size)

        def data(self, offset: int, size: int) -> bytes:
            return made.data(offset, size)

    reader = RingReader(Busy(), start=1)
    assert len(seqs(reader.read())) >= HEAD_TRIES


def test_an_index_that_is_cut_is_refused_and_ends_a_reader() -> None:
    made = ring(100)
    reader = RingReader(made, start=Start.OLDEST)
    del made.meta_file[2_000:]
    with pytest.raises(MalformedError, match="has not the 128 slots"):
        RingReader(made)
    with pytest.raises(MalformedError, match="ends in the middle"):
        reader.read()


def test_data_that_is_cut_is_refused_and_told() -> None:
    made = ring(100)
    reader = RingReader(made, start=Start.OLDEST)
    del made.data_file[3_000:]
    with pytest.raises(MalformedError, match="has not the 8,192 bytes"):
        RingReader(made)
    found = reader.read()
    assert {each for _, _, each in unread(found)} == {Why.DAMAGED}
    assert seqs(found) == list(range(1, 47))
    assert numbers(found) == list(range(1, 101))


def test_files_that_are_too_long_are_another_rings() -> None:
    for grow in ("meta_file", "data_file"):
        made = ring(1)
        getattr(made, grow).append(0)
        with pytest.raises(MalformedError, match="has not the"):
            RingReader(made)


def test_whatever_is_damaged_no_wrong_record_comes_and_every_number_is_accounted_for() -> None:
    rng = random.Random(3)
    for _ in range(60):
        made = ring(rng.randrange(1, 150), size=rng.randrange(1, 100), slots=rng.choice((16, 128)))
        right = {
            each.seq: each.payload
            for each in RingReader(made, start=Start.OLDEST).read()
            if isinstance(each, RingRecord)
        }
        for _ in range(rng.randrange(30)):
            file = rng.choice((made.data_file, made.data_file, made.meta_file))
            at = rng.randrange(40 if file is made.meta_file else 0, len(file))
            file[at] ^= 1 << rng.randrange(8)
        reader = RingReader(made, start=Start.OLDEST)
        first = reader.next_seq
        found = reader.read()
        assert numbers(found) == list(range(first, made.seq + 1))
        for each in found:
            if isinstance(each, RingRecord):
                assert right.get(each.seq, each.payload) == each.payload
