from fanout.protocol.journal import (
    INDEX_MAGIC,
    FileHeader,
    Place,
    PlaceKind,
    decode_places,
    encode_file_header,
    encode_places,
)
from fanout.protocol.journal_index import Index

HEADER = FileHeader(epoch_ns=7, first_seq=5, created_ns=1)
PLACES = [
    Place(seq=5, time_ns=0, offset=100, opening=73),
    Place(seq=9, time_ns=50, offset=200, opening=73, kind=PlaceKind.CHANGE),
    Place(seq=9, time_ns=50, offset=300, opening=73, kind=PlaceKind.OPENING),
    Place(seq=20, time_ns=60, offset=400, opening=300, kind=PlaceKind.CHANGE),
    Place(seq=31, time_ns=70, offset=500, opening=300),
]
WHOLE = encode_file_header(HEADER, INDEX_MAGIC) + encode_places(PLACES)
INDEX = Index(WHOLE, 7, 5)


def offsets(places: object) -> list[int]:
    return [each.offset for each in places]  # type: ignore[attr-defined]


def test_places_are_found_by_number_by_time_and_by_offset() -> None:
    assert list(INDEX.before_seq(31)) == PLACES[::-1]
    assert offsets(INDEX.before_seq(19)) == [300, 200, 100]
    assert offsets(INDEX.before_seq(4)) == []
    assert offsets(INDEX.before_time(60)) == [300, 200, 100]
    assert offsets(INDEX.before_time(61)) == [400, 300, 200, 100]
    assert offsets(INDEX.behind(300)) == [400, 500]
    assert offsets(INDEX.behind(500)) == []


def test_changes_of_the_header_are_found_by_offset() -> None:
    assert INDEX.changes(0, 1_000) == [200, 400]
    assert INDEX.changes(201, 400) == []
    assert INDEX.has_header(201, 301)
    assert not INDEX.has_header(301, 400)


def test_a_place_that_is_damaged_is_passed_over() -> None:
    for at in range(64 + 3 * 40, 64 + 4 * 40):
        data = bytearray(WHOLE)
        data[at] ^= 1
        assert 400 not in offsets(Index(bytes(data), 7, 5).before_seq(31))


def test_places_behind_what_was_asked_for_are_passed_over_whatever_a_search_meets() -> None:
    for at in range(64, len(WHOLE), 40):
        for garbage in (bytes(16), b"\xff" * 16):
            index = Index(WHOLE[:at] + garbage + WHOLE[at + 16 :], 7, 5)
            right = [each for each in PLACES if PLACES.index(each) != (at - 64) // 40]
            for seq in range(4, 33):
                assert all(each in right and each.seq <= seq for each in index.before_seq(seq))
            for time_ns in range(0, 80, 10):
                found = list(index.before_time(time_ns))
                assert all(each in right and each.time_ns < time_ns for each in found)


def test_an_index_of_which_a_power_cut_left_zeros_has_the_places_before() -> None:
    for size in range(64, len(WHOLE)):
        data = WHOLE[:size] + bytes(len(WHOLE) - size)
        index, left = Index(data, 7, 5), decode_places(data[64:])
        assert list(index.behind(0)) == left
        for seq in range(4, 33):
            assert list(index.before_seq(seq)) == [each for each in left if each.seq <= seq][::-1]
        changes = [each.offset for each in left if each.kind is PlaceKind.CHANGE]
        assert index.changes(0, 1_000) == changes


def test_an_index_that_is_cut_has_the_places_before() -> None:
    for size in range(len(WHOLE)):
        assert list(Index(WHOLE[:size], 7, 5).behind(0)) == PLACES[: max(size - 64, 0) // 40]


def test_the_index_of_another_segment_has_no_places() -> None:
    for index in (
        Index(WHOLE, 7, 6),
        Index(WHOLE, 8, 5),
        Index(b"", 7, 5),
        Index(b"x" * 500, 7, 5),
    ):
        assert list(index.before_seq(31)) == []
        assert list(index.behind(0)) == []
        assert index.changes(0, 1_000) == []
