"""Quotes and order books at equal update ids."""

import pytest
from msgspec.structs import replace

from fanout.clients.outcomes import Restarted
from fanout.compare import What
from fanout.protocol import BookFlags, BookUpdate, OrderUpdate, Position, Quote
from fanout.protocol.book_records import pack_levels, pack_orders
from tests.fanout.compare.streams import BTC, LIFE, MS, Found, S, compared

WHOLE = BookFlags.WHOLE


def quote(number: int, **fields: int) -> Quote:
    return replace(Quote(BTC, number, MS, 100, 5, 101, 6, seq=number), **fields)


def book(
    number: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: BookFlags = BookFlags.NONE,
    seq: int | None = None,
) -> BookUpdate:
    packed = pack_levels(bids), pack_levels(asks)
    return BookUpdate(BTC, number, MS, *packed, flags, seq=number if seq is None else seq)


BIDS = [(100 - each, 1 + each) for each in range(30)]
ASKS = [(101 + each, 1 + each) for each in range(30)]


def test_equal_quotes_match_and_ids_of_one_side_are_counted() -> None:
    found = compared([quote(1), quote(2), quote(4)], [quote(2), quote(3), quote(4)])
    states = found.report.symbols[0].quotes
    assert found.differences == []
    assert (states.matched, states.only_a, states.only_b) == (2, 1, 1)


def test_states_wait_for_a_stream_that_is_far_behind() -> None:
    quotes = [quote(each) for each in range(1, 5_001)]
    other = [replace(each, bid_price=99) if each.seq == 10 else each for each in quotes]
    found = Found()
    found.take([(1, each) for each in quotes], [(S, each) for each in other])
    assert found.differences == [(What.QUOTE, 10, "bid 1")]
    assert found.report.symbols[0].quotes.matched == 5_000


def test_states_that_are_too_many_to_keep_are_undecided_which_is_a_difference() -> None:
    """Those of the symbol that has most. The other one is compared in full."""
    quotes = [quote(each) for each in range(1, 500)]
    few = [replace(each, instrument=LIFE) for each in quotes[:20]]
    found = Found(most_states=100)
    found.take([(1, each) for each in [*few, *quotes]], [(S, each) for each in [*few, *quotes]])
    states = {each.symbol: each.quotes for each in found.report.symbols}
    assert states[LIFE.symbol].matched == 20
    btc = states[BTC.symbol]
    assert 70 <= btc.matched <= 81
    assert btc.undecided + btc.matched == 499
    assert found.report.differences == btc.undecided


def test_an_id_that_is_shown_twice_is_compared_with_what_it_showed_each_time() -> None:
    twice = [quote(1), quote(2), quote(2, bid_price=99), quote(3)]
    found = Found()
    found.take([(1, each) for each in twice], [(S, each) for each in twice])
    assert (found.differences, found.report.symbols[0].quotes.matched) == ([], 4)
    found = Found()
    found.take([(1, each) for each in twice], [(S, each) for each in twice[2:]])
    assert (found.differences, found.report.symbols[0].quotes.matched) == ([], 2)
    found = Found()
    wrong = quote(2, bid_price=98)
    found.take([(1, each) for each in twice], [(S, wrong)])
    assert found.differences == [(What.QUOTE, 2, "bid 1")]


def test_an_id_that_the_other_stream_has_passed_waits_no_longer() -> None:
    found = Found(most_states=5)
    a = [(each, quote(each)) for each in range(1, 100)]
    found.take(a, [(each + 1, quote(each)) for each in range(2, 100, 3)])
    states = found.report.symbols[0].quotes
    assert (states.undecided, states.matched, states.only_a) == (0, 33, 66)


@pytest.mark.parametrize(
    ("fields", "place", "there"),
    [
        ({"bid_price": 99}, "bid 1", "0.005 @ 0.99"),
        ({"bid_quantity": 7}, "bid 1", "0.007 @ 1.00"),
        ({"ask_price": 102}, "ask 1", "0.006 @ 1.02"),
        ({"ask_quantity": 0}, "ask 1", "none"),
    ],
)
def test_a_quote_that_differs_is_found(fields: dict[str, int], place: str, there: str) -> None:
    found = compared([quote(1), quote(2)], [quote(1, **fields), quote(2)])
    assert found.differences == [(What.QUOTE, 1, place)]
    assert found.findings[0].b == there
    assert found.report.differences == 1


def test_quotes_without_an_id_or_a_number_are_left_out() -> None:
    stream = [quote(0), quote(1, seq=0)]
    assert compared(stream, stream).report.compared == 0


def test_books_that_follow_each_other_alike_match() -> None:
    stream = [
        book(1, BIDS, ASKS, WHOLE),
        book(2, [(100, 9)], []),
        book(3, [], [(101, 0)], BookFlags.MORE),
        book(3, [(98, 0)], []),
    ]
    found = compared(stream, stream)
    assert found.differences == []
    assert found.report.symbols[0].books.matched == 3


def test_a_book_that_misses_a_change_differs_from_there_on() -> None:
    start, changed, other = (
        book(1, BIDS, ASKS, WHOLE),
        book(2, [(100, 9)], []),
        book(3, [(99, 8)], []),
    )
    found = compared([start, changed, other], [start, other])
    assert found.differences == [(What.BOOK, 3, "bid 1")]
    assert (found.findings[0].a, found.findings[0].b) == ("0.009 @ 1.00", "0.001 @ 1.00")
    assert found.report.symbols[0].books.only_a == 1


def test_levels_beyond_the_first_twenty_may_differ() -> None:
    other = [*ASKS[:20], (200, 1)]
    found = compared([book(1, BIDS, ASKS, WHOLE)], [book(1, BIDS, other, WHOLE)])
    assert found.differences == []
    other = [*ASKS[:19], (200, 1)]
    found = compared([book(1, BIDS, ASKS, WHOLE)], [book(1, BIDS, other, WHOLE)])
    assert found.differences == [(What.BOOK, 1, "ask 20")]


def test_nothing_is_compared_beyond_where_a_book_is_cut_off() -> None:
    cut = WHOLE | BookFlags.TOP_ONLY
    found = compared([book(1, BIDS, ASKS, WHOLE)], [book(1, BIDS[:5], ASKS[:5], cut)])
    assert found.differences == []
    found = compared([book(1, BIDS[:4], ASKS, cut)], [book(1, BIDS, ASKS[:5], WHOLE)])
    assert found.differences == [(What.BOOK, 1, "ask 6")]


def test_a_book_from_before_the_join_is_followed_and_not_compared() -> None:
    stream = [book(1, BIDS, ASKS, WHOLE, seq=0), book(2, [(100, 9)], [])]
    found = compared(stream, stream)
    assert found.report.symbols[0].books.matched == 1


def test_a_book_that_is_unknown_is_not_compared() -> None:
    restarted = Restarted(before=Position(epoch_ns=1, seq=9), epoch_ns=2)
    stream = [book(1, BIDS, ASKS, WHOLE), book(2, [(100, 9)], [])]
    found = compared([stream[0], restarted, stream[1]], stream)
    assert found.report.symbols[0].books.matched == 1
    assert found.report.differences == 0


def test_books_by_order_are_compared_by_their_levels() -> None:
    def orders(number: int, quantity: int) -> OrderUpdate:
        bids = pack_orders([(7, 100, quantity), (8, 100, 2)])
        return OrderUpdate(BTC, number, MS, bids, b"", WHOLE, seq=number)

    found = compared([orders(1, 3), orders(2, 3)], [orders(1, 3), orders(2, 4)])
    assert found.differences == [(What.BOOK, 2, "bid 1")]


def test_update_ids_of_a_services_own_are_not_compared() -> None:
    found = compared([quote(1)], [quote(1, bid_price=1)], compares_books=False)
    assert found.report.compared == 0
    stream = [book(1, BIDS, ASKS, WHOLE)]
    assert compared(stream, stream, compares_books=False).report.compared == 0


def test_states_that_wait_for_the_other_stream_are_bounded() -> None:
    found = compared([quote(number) for number in range(1, 1_200)], [quote(1)])
    states = found.report.symbols[0].quotes
    assert (states.matched, states.only_a) == (1, 1_198)
