"""Levels of JSON text, read plainly and compiled: each test is for both."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanout.protocol import MAX_BOOK_LEVELS, Side
from fanout.protocol.book import twin
from fanout.protocol.book_records import pack_levels
from fanout.protocol.level_text import packed_levels
from tests.twins import twins_of

BID, ASK = Side.BID, Side.ASK
Read = Callable[..., tuple[bytes, int] | None]


def plain() -> Read:
    assert packed_levels  # it is imported, so its plain function is known
    return twin.plain["packed_levels"]


def compiled() -> Read:
    read: Read = twins_of("fanout.protocol._book").packed_levels
    return read


@pytest.fixture(params=[plain, compiled])
def read(request: pytest.FixtureRequest) -> Read:
    made: Read = request.param()
    return made


@pytest.mark.parametrize(
    ("text", "side", "levels"),
    [
        ("[]", BID, []),
        ('[["1.50","2"]]', BID, [(150, 2_000)]),
        ('[["1","2"],["2","0.001"]]', ASK, [(100, 2_000), (200, 1)]),
        ('[["1","2"],["2","0.001"]]', BID, [(200, 1), (100, 2_000)]),
        (
            '[["3.00","1"],["2.00","2"],["1.00","3"]]',
            BID,
            [(300, 1_000), (200, 2_000), (100, 3_000)],
        ),
        (
            '[["3.00","1"],["2.00","2"],["1.00","3"]]',
            ASK,
            [(100, 3_000), (200, 2_000), (300, 1_000)],
        ),
        ('[["0.00","0.000"]]', ASK, [(0, 0)]),
        ('[["1.500000","2.0000"]]', ASK, [(150, 2_000)]),
        ('[["9999999999999999","0"]]', ASK, [(999999999999999900, 0)]),
    ],
)
def test_levels_come_from_the_best_outwards(
    read: Read, text: str, side: Side, levels: list[tuple[int, int]]
) -> None:
    message = b'{"b":%b,"a":[]}' % text.encode()
    assert read(message, 5, -2, -3, side) == (pack_levels(levels), 5 + len(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[[",
        "[]"[1:],
        "[[]]",
        '[["1"]]',
        '[["1","2"]',
        '[["1","2"],]',
        '[["1","2"]["2","2"]]',
        '[["1","2","3"]]',
        '[["1", "2"]]',
        '[ ["1","2"]]',
        "[[1,2]]",
        '[["-1","2"]]',
        '[["1e3","2"]]',
        '[["1.","2"]]',
        '[[".5","2"]]',
        '[["","2"]]',
        '[["1.2.3","2"]]',
        '[["1.001","2"]]',
        '[["1","2.0001"]]',
        '[["10000000000000000","2"]]',
        '[["1","1000000000000000"],["1234567890123456789","1"]]',
        '[["0.1234567890123456780","1"]]',
        '[["1.00","2"],["1.0","3"]]',
        '[["1","2"],["3","3"],["2","3"]]',
        '[["3","2"],["1","3"],["2","3"]]',
        '[["\u0661","2"]]',
        '[["1\\u0030","2"]]',
        '[["1\x00","2"]]',
        "null",
    ],
)
def test_what_is_not_ordinary_is_left_to_others(read: Read, text: str) -> None:
    assert read(text.encode(), 0, -2, -3, BID) is None
    assert read(b"x" + text.encode(), 1, -2, -3, BID) is None


def test_arguments_that_name_no_array_give_nothing(read: Read) -> None:
    text: Any
    for text in (bytearray(b"[]"), "[]", memoryview(b"[]")):
        assert read(text, 0, 0, 0, BID) is None
    for start in (-1, -2, 2, 3, 2**70):
        assert read(b"[]", start, 0, 0, BID) is None


def test_more_levels_than_a_book_holds_are_left_to_others(read: Read) -> None:
    levels = [[str(price), "1"] for price in range(MAX_BOOK_LEVELS + 1)]
    text = json.dumps(levels[:-1], separators=(",", ":")).encode()
    found = read(text, 0, 0, 0, ASK)
    assert found is not None
    assert len(found[0]) == 16 * MAX_BOOK_LEVELS
    assert read(json.dumps(levels, separators=(",", ":")).encode(), 0, 0, 0, ASK) is None


@pytest.mark.parametrize("end", range(44))
def test_text_that_is_cut_short_is_left_to_others(read: Read, end: int) -> None:
    text = b'[["1.50","2"],["1.60","3"],["17.10","0.5"]]'
    assert len(text) == 43
    assert (read(text[:end], 0, -2, -3, ASK) is None) == (end < 43)


DIGITS = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,10})?", fullmatch=True)
TEXTS = st.lists(st.tuples(DIGITS, DIGITS), max_size=5)
EXPONENTS = st.integers(-18, 8)


@given(TEXTS, EXPONENTS, EXPONENTS, st.sampled_from(Side))
def test_arrays_are_read_alike(
    pairs: list[tuple[str, str]], price: int, quantity: int, side: Side
) -> None:
    text = json.dumps(sorted(pairs), separators=(",", ":")).encode()
    assert compiled()(text, 0, price, quantity, side) == plain()(text, 0, price, quantity, side)


@given(st.text('[]",.019 -e\\', max_size=60), st.integers(-3, 3), st.sampled_from(Side))
@example('[["1","1"],["2","2"]]', 0, BID)
def test_any_text_is_read_alike(text: str, exponent: int, side: Side) -> None:
    data = text.encode()
    assert compiled()(data, 0, exponent, 0, side) == plain()(data, 0, exponent, 0, side)


def test_every_changed_byte_is_read_alike() -> None:
    text = b'[["1.50","2"],["1.60","3"],["17.10","0.5"]]'
    for place in range(len(text)):
        for byte in b'\x000159[]",.-\xff':
            changed = text[:place] + bytes([byte]) + text[place + 1 :]
            assert compiled()(changed, 0, -2, -3, ASK) == plain()(changed, 0, -2, -3, ASK)
