"""Targets of order books: what a venue says of one, and whatever is applied to one."""

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from fanout.protocol import BookFlags, BookUpdate, FanoutError, OrderBook, Side, pack_levels
from fanout.protocol.book import twin as book_twin
from fanout.venues.binance.depth import read_depth
from fanout.venues.binance.depth import twin as depth_twin
from tests.protocol.golden import BTC

_LEVEL: Final = Struct("<hB")
"""A price and a quantity, few enough that levels meet."""

_PLAIN_BOOK: Final[Callable[..., OrderBook]] = book_twin.plain["OrderBook"]


def depth(message: bytes) -> None:
    """The compiled function and the plain one read a message alike, from the best outwards, and a
    book takes what is read."""
    found = _outcome(read_depth, message, BTC)
    assert found == _outcome(depth_twin.plain["read_depth"], message, BTC)
    update = read_depth(message, BTC).update
    bids, asks = ([level.price for level in side] for side in (update.bids, update.asks))
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    book = OrderBook(BTC)
    book.replace(update.packed_bids, update.packed_asks, update.update_id, update.time)
    assert book.is_consistent


def order_book(data: bytes) -> None:
    """Both books show the same after any updates.

    An update is a byte with its flags and the number of its bids, times 8, a byte with that of its
    asks, and its levels.
    """
    book, plain = OrderBook(BTC), _PLAIN_BOOK(BTC)
    at, number = 0, 0
    while at + 2 <= len(data):
        flags, bid_count, ask_count = data[at] & 7, data[at] & 0xF8, data[at + 1]
        bids, at = _levels(data, at + 2, bid_count)
        asks, at = _levels(data, at, ask_count)
        number += 1
        update = BookUpdate(BTC, number, number, bids, asks, BookFlags(flags))
        assert _outcome(book.apply, update) == _outcome(plain.apply, update)
        assert book.best_bid == plain.best_bid
        assert book.best_ask == plain.best_ask
        assert book.is_crossed == plain.is_crossed
        assert book.is_consistent == plain.is_consistent
    assert book.packed() == plain.packed()
    for side in Side:
        assert book.depth(side, 100) == plain.depth(side, 100)
        assert book.vwap(side, 1_000) == plain.vwap(side, 1_000)
    if book.is_consistent:
        copy = OrderBook()
        for piece in book.whole():
            copy.apply(piece)
        assert copy.digest() == plain.digest()


def _levels(data: bytes, at: int, count: int) -> tuple[bytes, int]:
    end = at + min(count, (len(data) - at) // _LEVEL.size) * _LEVEL.size
    return pack_levels(_LEVEL.iter_unpack(data[at:end])), end


def _outcome(call: Callable[..., Any], *arguments: Any) -> object:
    try:
        return call(*arguments)
    except FanoutError as error:
        return type(error), str(error)
