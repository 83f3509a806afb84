"""Records of one kind as frames: what fits a block, and what has to be divided."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    START,
    BookFlags,
    BookUpdate,
    OrderUpdate,
    Quote,
    SubscriberSession,
    Trade,
    pack_levels,
    pack_orders,
)
from fanout.protocol.constants import (
    MAX_BLOCK_LEVELS,
    MAX_BLOCK_ORDERS,
    MAX_BLOCK_QUOTES,
    MAX_BLOCK_ROWS,
    MAX_BLOCK_TRADES,
    MAX_BLOCK_UPDATES,
    MAX_BLOCK_VALUES,
    BlockFlags,
)
from fanout.protocol.encoding import FORMS, LONGEST_BYTES, shorter, snapshot_of, snapshots_of
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import opening
from tests.protocol.golden import BTC, FEATURES, ORDERS, QUOTES, ROWS_HEADER, TRADES

SEQ = 1_001
HEADER = ROWS_HEADER
"""Blocks of all kinds can be made under it."""
MORE, WHOLE, TOP_ONLY = BookFlags.MORE, BookFlags.WHOLE, BookFlags.TOP_ONLY


def by_price(levels: int, flags: BookFlags = WHOLE, asks: int = 0) -> BookUpdate:
    bids = pack_levels([(1_000_000 - each, 1 + each) for each in range(levels)])
    return BookUpdate(
        BTC, 5, 7, bids, pack_levels([(2_000_000 + each, 1) for each in range(asks)]), flags
    )


def by_order(orders: int) -> OrderUpdate:
    return OrderUpdate(
        BTC, 5, 7, pack_orders([(each, 1_000_000 - each, 3) for each in range(orders)]), b"", WHOLE
    )


TRADE = replace(TRADES.trades[0], seq=0)
QUOTE = replace(QUOTES.quotes[0], seq=0, received_ns=0)
ROW = replace(FEATURES.rows[1], seq=0, received_ns=0)
SAMPLES: list[Any] = [TRADE, QUOTE, by_price(3), by_order(3), ROW]


def read(frames: bytes) -> list[Any]:
    session = SubscriberSession()
    session.receive(frame(START) + opening(replace(HEADER, next_seq=SEQ)) + frames)
    records: list[Any] = []
    while (some := session.next_records()) is not None:
        records += some
    return records


@pytest.mark.parametrize("record", SAMPLES, ids=lambda each: type(each).__name__)
def test_a_form_encodes_numbered_blocks_and_snapshots(record: Any) -> None:
    kind = type(record)
    numbered = FORMS[kind].encode(SEQ, [record], 9, 2, BlockFlags.NONE, HEADER)
    (its,) = read(frame(numbered))
    assert its == replace(record, seq=SEQ, received_ns=9)
    (its,) = read(snapshot_of(kind, [record], SEQ, HEADER))
    assert (its.trades[0] if kind is Trade else its) == record


@pytest.mark.parametrize(
    ("record", "most"),
    [
        (TRADE, MAX_BLOCK_TRADES),
        (QUOTE, MAX_BLOCK_QUOTES),
        (by_price(0), MAX_BLOCK_UPDATES),
        (by_order(0), MAX_BLOCK_UPDATES),
        (ROW, MAX_BLOCK_ROWS),
        (replace(ROW, values=(1.5,) * 256, absences=bytes(256)), MAX_BLOCK_VALUES // 256),
        (replace(ROW, values=(), absences=b""), MAX_BLOCK_ROWS),
    ],
    ids=["trades", "quotes", "updates", "orders", "rows", "long rows", "rows of nothing"],
)
def test_a_run_is_divided_into_blocks(record: Any, most: int) -> None:
    divided = FORMS[type(record)].divided
    assert [len(each) for each in divided([record] * most)] == [most]
    assert [len(each) for each in divided([record] * (2 * most + 1))] == [most, most, 1]


def test_updates_are_divided_by_their_levels() -> None:
    divided = FORMS[BookUpdate].divided
    assert list(divided([])) == []
    half = by_price(MAX_BLOCK_LEVELS // 2)
    assert [len(each) for each in divided([half, half, half])] == [2, 1]


@pytest.mark.parametrize(
    ("update", "most"),
    [(by_price(MAX_BLOCK_LEVELS, asks=9), MAX_BLOCK_LEVELS), (by_order(2_000), MAX_BLOCK_ORDERS)],
    ids=["levels", "orders"],
)
def test_an_update_that_is_too_long_is_continued(update: Any, most: int) -> None:
    small = replace(update, packed_bids=b"", packed_asks=b"")
    blocks = list(FORMS[type(update)].divided([small, update, small]))
    assert [len(each) for each in blocks] == [1, 1, 2]
    first, rest = blocks[1][0], blocks[2][0]
    assert len(first.bids) == most
    assert (first.flags, rest.flags) == (WHOLE | MORE, BookFlags.NONE)
    assert first.packed_bids + rest.packed_bids == update.packed_bids
    assert rest.packed_asks == update.packed_asks


@pytest.mark.parametrize(
    ("flags", "first", "last"),
    [
        (WHOLE, WHOLE | MORE, BookFlags.NONE),
        (BookFlags.NONE, MORE, BookFlags.NONE),
        (MORE, MORE, MORE),
        (WHOLE | TOP_ONLY, WHOLE | TOP_ONLY | MORE, TOP_ONLY),
    ],
)
def test_the_parts_of_an_update_keep_its_flags(
    flags: BookFlags, first: BookFlags, last: BookFlags
) -> None:
    blocks = list(FORMS[BookUpdate].divided([by_price(2 * MAX_BLOCK_LEVELS, flags)]))
    assert [each.flags for (each,) in blocks] == [first, last]


def test_a_snapshot_that_is_short_enough_is_one_frame() -> None:
    whole = snapshot_of(Trade, [TRADE] * 9, SEQ, HEADER)
    assert snapshots_of(Trade, [TRADE] * 9, SEQ, HEADER, len(whole)) == whole
    assert shorter([TRADE] * 9, len(whole), LONGEST_BYTES) == []


@given(count=st.integers(2, 60), longest_bytes=st.integers(100, 400))
def test_a_longer_one_is_divided_and_says_the_same(count: int, longest_bytes: int) -> None:
    quotes = [replace(QUOTE, update_id=each) for each in range(count)]
    frames = snapshots_of(Quote, quotes, SEQ, HEADER, longest_bytes)
    assert read(frames) == quotes
    assert max(len(each) + 4 for each in payloads_of(frames)) <= longest_bytes


@pytest.mark.parametrize("update", [by_price(60, asks=60), by_order(120)], ids=["price", "order"])
def test_one_update_is_divided_into_parts_that_are_continued(update: Any) -> None:
    parts = read(snapshots_of(type(update), [update], SEQ, HEADER, 200))
    assert len(parts) > 2
    assert [each.has_more for each in parts] == [True] * (len(parts) - 1) + [False]
    assert b"".join(each.packed_bids for each in parts) == update.packed_bids
    assert b"".join(each.packed_asks for each in parts) == update.packed_asks


@pytest.mark.parametrize("record", [TRADE, QUOTE, by_price(1)], ids=["trade", "quote", "level"])
def test_one_record_that_cannot_be_divided_stays_as_it_is(record: Any) -> None:
    assert shorter([record], 90, 60) == []
    whole = snapshot_of(type(record), [record], SEQ, HEADER)
    assert snapshots_of(type(record), [record], SEQ, HEADER, 40) == whole


def test_orders_of_the_published_example_are_divided_too() -> None:
    orders = [replace(each, seq=0, received_ns=0) for each in ORDERS.updates]
    assert len(read(snapshots_of(OrderUpdate, orders, SEQ, HEADER, 95))) >= len(orders)
