"""The book by order, and the book of its prices."""

import pickle
from collections.abc import Callable, Iterable
from copy import copy, deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    OrderBook,
    OrdersBook,
    Side,
    UnknownBookError,
    WrongInstrumentError,
    orders_book,
)
from fanout.protocol.book_records import Order, OrderUpdate, pack_orders
from fanout.protocol.constants import MAX_BLOCK_ORDERS, BookFlags
from tests.protocol.book_model import BTC
from tests.protocol.golden import LIFE

BID, ASK = Side.BID, Side.ASK
WHOLE, MORE, NONE = BookFlags.WHOLE, BookFlags.MORE, BookFlags.NONE

Orders = Iterable[tuple[int, int, int]]


def update(
    bids: Orders = (), asks: Orders = (), flags: BookFlags = NONE, update_id: int = 1
) -> OrderUpdate:
    return OrderUpdate(BTC, update_id, 2, pack_orders(bids), pack_orders(asks), flags, 3, 4)


@pytest.fixture
def book() -> OrdersBook:
    """Two bids at 100 and one at 99; an ask at 101."""
    book = OrdersBook(BTC)
    book.apply(update([(1, 100, 5), (2, 100, 6), (3, 99, 7)], [(4, 101, 8)], WHOLE))
    return book


def test_orders_at_a_price_add_up(book: OrdersBook) -> None:
    assert book.is_known
    assert book.is_consistent
    assert book.order_count == 4
    assert book.prices.levels() == ([(100, 11), (99, 7)], [(101, 8)])
    assert book.order(2) == Order(2, 100, 6)
    assert book.order(4) == Order(4, 101, 8)
    assert book.order(5) is None
    assert book.orders(BID, 100) == [(1, 100, 5), (2, 100, 6)]
    assert book.orders(ASK) == [(4, 101, 8)]


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda book: pickle.loads(pickle.dumps(book))])
def test_a_copy_is_a_book_of_its_own(
    book: OrdersBook, copied: Callable[[OrdersBook], OrdersBook]
) -> None:
    other = copied(book)
    for changed, kept in ((book, other), (other, book)):
        before = kept.orders(BID), kept.prices.levels()
        changed.apply(update([(1, 100, 1)]))
        assert (kept.orders(BID), kept.prices.levels()) == before
        kept.apply(update([(1, 100, 1)]))
        assert changed.orders(BID) == kept.orders(BID)
        assert changed.prices.levels() == kept.prices.levels()
        changed.apply(update([(1, 100, 5)]))
        kept.apply(update([(1, 100, 5)]))


def test_a_book_that_is_cut_off_says_so_and_so_does_a_copy_of_it(book: OrdersBook) -> None:
    top = WHOLE | BookFlags.TOP_ONLY
    assert not book.prices.is_top_only
    book.apply(update([(1, 100, 5)], [(4, 101, 8)], top))
    book.apply(update([(2, 99, 5)]))
    assert book.prices.is_top_only
    assert book.prices.bid_count == 2
    assert [each.flags for each in book.whole()] == [top]
    book.apply(update([(1, 100, 5)], [(4, 101, 8)], WHOLE))
    assert not book.prices.is_top_only


def test_an_update_gives_what_it_changed_by_price(book: OrdersBook) -> None:
    by_price = book.apply(update([(1, 100, 0), (3, 100, 7), (9, 98, 1)], [(5, 101, 1)], NONE, 12))
    assert by_price.bids == [(100, 13), (99, 0), (98, 1)]
    assert by_price.asks == [(101, 9)]
    assert (by_price.update_id, by_price.time, by_price.seq, by_price.received_ns) == (12, 2, 3, 4)
    assert book.prices.levels() == ([(100, 13), (98, 1)], [(101, 9)])
    assert book.orders(BID, 100) == [(2, 100, 6), (3, 100, 7)], "an order that moves stands behind"
    assert book.apply(update([(77, 100, 0)])).bids == []


def test_a_change_of_quantity_keeps_an_orders_place(book: OrdersBook) -> None:
    book.apply(update([(1, 100, 2)]))
    assert book.orders(BID, 100) == [(1, 100, 2), (2, 100, 6)]


def test_a_book_by_order_is_unknown_until_it_is_whole(book: OrdersBook) -> None:
    new = OrdersBook()
    with pytest.raises(UnknownBookError, match="update 1 of BTCUSDT"):
        new.apply(update([(1, 1, 1)]))
    new.apply(update([(1, 1, 1)], [], WHOLE | MORE))
    assert (new.is_known, new.order_count, new.order(1), new.orders(BID)) == (False, 0, None, [])
    new.apply(update([(2, 1, 1)]))
    assert new.is_known
    assert new.prices.levels() == ([(1, 2)], [])
    new.apply(update([], [], MORE))
    assert not new.is_consistent
    new.clear()
    assert not new.is_known
    with pytest.raises(UnknownBookError):
        new.whole()


def test_an_update_of_another_instrument_or_of_other_units(book: OrdersBook) -> None:
    with pytest.raises(WrongInstrumentError):
        book.apply(replace(update([(1, 1, 1)]), instrument=LIFE))
    assert book.order_count == 4
    with pytest.raises(UnknownBookError):
        book.apply(replace(update([(1, 1, 1)]), instrument=replace(BTC, price_exponent=-1)))
    assert book.order_count == 0


@pytest.mark.parametrize("packed", [bytes(16), None, bytearray(24)])
def test_orders_that_are_not_packed_leave_the_book_unknown(book: OrdersBook, packed: Any) -> None:
    with pytest.raises(MalformedError, match="in place of packed orders, 24 bytes each"):
        book.apply(replace(update(), packed_asks=packed))
    assert not book.is_known


def test_orders_that_add_up_to_more_than_64_bits_leave_the_book_unknown(book: OrdersBook) -> None:
    with pytest.raises(NotRepresentableError, match="does not fit 64 bits"):
        book.apply(update([(10, 100, 2**64 - 1)]))
    assert not book.is_known


def test_more_orders_than_the_limit_are_refused_by_its_name(
    book: OrdersBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders_book, "MAX_BOOK_ORDERS", 5)
    book.apply(update([(1, 100, 0), (5, 99, 1), (6, 99, 1)]))
    book.apply(update([(5, 98, 9)]))
    with pytest.raises(LimitExceededError, match="more than 5 orders in a book: MAX_BOOK_ORDERS"):
        book.apply(update([], [(7, 101, 1)]))
    assert not book.is_known


@pytest.mark.parametrize("count", [0, 1, MAX_BLOCK_ORDERS, MAX_BLOCK_ORDERS + 1, 4_000])
def test_a_whole_book_comes_in_pieces_that_fit_a_block(count: int) -> None:
    book, copy = OrdersBook(), OrdersBook()
    book.apply(update([(n, n // 3, 1) for n in range(count)], [(-1 % 2**64, 9**9, 1)], WHOLE, 5))
    for piece in book.whole():
        assert len(piece.bids) + len(piece.asks) <= MAX_BLOCK_ORDERS
        copy.apply(piece)
    assert copy.prices.digest() == book.prices.digest()
    for side in Side:
        assert copy.orders(side) == book.orders(side)


ORDERS = st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3), st.integers(0, 4)), max_size=6)


@given(st.lists(st.tuples(ORDERS, ORDERS), min_size=1, max_size=8))
def test_prices_are_the_sums_of_the_orders_whatever_comes(
    updates: list[tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]],
) -> None:
    book, follower = OrdersBook(), OrderBook()
    expected: list[dict[int, tuple[int, int]]] = [{}, {}]
    for number, sides in enumerate(updates):
        follower.apply(book.apply(update(*sides, NONE if number else WHOLE)))
        for orders, changes in zip(expected, sides, strict=True):
            for order_id, price, quantity in changes:
                orders[order_id] = price, quantity
        for side, orders in zip(Side, expected, strict=True):
            sums: dict[int, int] = {}
            for price, quantity in orders.values():
                sums[price] = sums.get(price, 0) + quantity
            assert {k: v for k, v in sums.items() if v} == dict(book.prices.levels()[side])
            assert book.prices.levels() == follower.levels()
