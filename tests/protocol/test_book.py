"""The order book, plain and compiled: each test is for both."""

import pickle
import zlib
from collections.abc import Callable, Iterable
from copy import copy, deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    MAX_BOOK_LEVELS,
    Depth,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    OrderBook,
    Side,
    UnknownBookError,
    WrongInstrumentError,
)
from fanout.protocol.book import twin
from fanout.protocol.book_records import BookUpdate, Level, pack_levels
from fanout.protocol.constants import MAX_BLOCK_LEVELS, BookFlags
from tests.protocol.book_model import BTC, Model, answers, refusal, update, what_it_shows
from tests.protocol.golden import LIFE
from tests.thoroughness import examples
from tests.twins import twins_of

BID, ASK = Side.BID, Side.ASK
WHOLE, MORE, TOP_ONLY = BookFlags.WHOLE, BookFlags.MORE, BookFlags.TOP_ONLY
NONE = BookFlags.NONE

Make = Callable[..., OrderBook]


def compiled_book() -> Make:
    made: Make = twins_of("fanout.protocol._book").OrderBook
    return made


def plain_book() -> Make:
    return twin.plain["OrderBook"]


@pytest.fixture(params=[plain_book, compiled_book], ids=["plain", "compiled"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param()
    return made


@pytest.fixture
def book(make: Make) -> OrderBook:
    """Three bids, 100 to 98, and three asks, 101 to 103."""
    book = make(BTC)
    book.apply(update([(100, 5), (99, 10), (98, 15)], [(101, 2), (102, 4), (103, 6)], WHOLE, 7, 8))
    return book


def test_a_new_book_is_unknown_and_shows_nothing(make: Make) -> None:
    book = make()
    assert (book.instrument, book.update_id, book.time) == (None, 0, 0)
    assert not book.is_known
    assert not book.is_consistent
    assert not book.is_crossed
    assert not book.is_top_only
    assert (book.best_bid, book.best_ask, book.levels()) == (None, None, ([], []))
    assert (book.bid_count, book.ask_count) == (0, 0)
    assert book.vwap(BID, 1) is None
    assert book.imbalance(5) is None
    assert book.depth(ASK, 3) == Depth(0, 0, None)
    assert book.depth(ASK, 3).vwap is None
    assert repr(book) == "<OrderBook, unknown>"


def test_a_change_of_an_unknown_book_is_refused_with_the_reason(make: Make) -> None:
    book = make(BTC)
    with pytest.raises(UnknownBookError) as caught:
        book.apply(update([(1, 1)], update_id=12))
    assert str(caught.value) == (
        "update 12 of BTCUSDT was applied to a book that is unknown: a whole book has to come first"
    )
    assert not book.is_known


def test_a_whole_book_is_known(book: OrderBook) -> None:
    assert book.is_known
    assert book.is_consistent
    assert (book.update_id, book.time) == (7, 8)
    assert (book.best_bid, book.best_ask) == (Level(100, 5), Level(101, 2))
    assert type(book.best_bid) is type(book.best_ask) is Level
    assert (book.bid_count, book.ask_count) == (3, 3)
    assert book.levels(2) == ([(100, 5), (99, 10)], [(101, 2), (102, 4)])
    assert {type(each) for each in book.levels()[0]} == {Level}
    assert hash(book.best_bid) == hash((100, 5))
    assert book.packed(1) == (pack_levels([(100, 5)]), pack_levels([(101, 2)]))
    assert repr(book) == "<OrderBook of BTCUSDT, 3 bids, 3 asks, update 7>"


def test_an_update_sets_and_removes_levels(book: OrderBook) -> None:
    book.apply(update([(100, 0), (99, 11), (97, 1), (50, 0)], [(100, 3)], update_id=9, time=10))
    assert book.levels() == (
        [(99, 11), (98, 15), (97, 1)],
        [(100, 3), (101, 2), (102, 4), (103, 6)],
    )
    assert (book.update_id, book.time) == (9, 10)


def test_a_whole_update_replaces_the_book(book: OrderBook) -> None:
    book.apply(update([(5, 1)], [], WHOLE))
    assert book.levels() == ([(5, 1)], [])


def test_a_book_that_comes_in_pieces_is_unknown_until_the_last(book: OrderBook) -> None:
    for flags in (WHOLE | MORE, MORE):
        book.apply(update([(10 - flags, 1)], [], flags))
        assert not book.is_known
        assert not book.is_consistent
        assert (book.best_bid, book.bid_count, book.levels()) == (None, 0, ([], []))
        assert book.quantity_at(BID, 10 - flags) == 0
    book.apply(update([], [(11, 1)]))
    assert book.is_known
    assert book.is_consistent
    assert book.levels() == ([(8, 1), (7, 1)], [(11, 1)])


def test_between_the_pieces_of_an_update_a_book_is_not_consistent(book: OrderBook) -> None:
    for _ in range(2):
        book.apply(update([(105, 1)], [], MORE))
        assert book.is_known
        assert not book.is_consistent
        assert book.is_crossed
        for ask in (book.digest, book.whole):
            with pytest.raises(UnknownBookError, match="of BTCUSDT waits for the rest of an upd"):
                ask()
    book.apply(update([(105, 0)]))
    assert book.is_consistent
    assert not book.is_crossed


def test_clear_makes_a_book_unknown(book: OrderBook) -> None:
    book.clear()
    assert not book.is_known
    assert (book.update_id, book.time, book.instrument) == (0, 0, BTC)
    assert book.levels() == ([], [])
    assert isinstance(refusal(book, update()), UnknownBookError)
    with pytest.raises(UnknownBookError, match="the book of BTCUSDT is unknown"):
        book.digest()


@pytest.mark.parametrize(("bid", "crossed"), [(99, False), (100, True), (101, True)])
def test_a_book_whose_bid_reaches_its_ask_is_crossed(make: Make, bid: int, crossed: bool) -> None:
    book = make()
    book.replace([(bid, 1)], [(100, 1)], 1, 1)
    assert book.is_crossed is crossed
    book.apply(update(asks=[(100, 0)]))
    assert book.is_crossed is False


def test_of_a_top_nothing_is_known_beyond_its_last_level(book: OrderBook) -> None:
    book.apply(update([(100, 1), (99, 1)], [], TOP_ONLY))
    assert book.is_top_only
    assert book.levels() == ([(100, 1), (99, 1)], [(101, 2), (102, 4), (103, 6)])
    book.apply(update([], [(101, 1), (102, 0)], TOP_ONLY))
    assert book.levels() == ([(100, 1), (99, 1)], [(101, 1)])
    book.apply(update([(98, 1)]))
    assert book.is_top_only
    assert [each.flags for each in book.whole()] == [WHOLE | TOP_ONLY]
    book.apply(update([(98, 1)], [], WHOLE))
    assert not book.is_top_only


def test_a_top_may_leave_nothing_of_a_side(book: OrderBook) -> None:
    book.apply(update([(200, 0)], [(50, 0)], TOP_ONLY))
    assert book.levels() == ([], [])
    assert book.is_known
    book.apply(update([(200, 1)], [(250, 1)]))
    assert book.levels() == ([(200, 1)], [(250, 1)])


def test_an_update_of_another_instrument_is_refused_and_changes_nothing(book: OrderBook) -> None:
    before = what_it_shows(book)
    with pytest.raises(WrongInstrumentError, match=r"of 币安人生USDT was applied .* of BTCUSDT"):
        book.apply(update([(1, 1)], [], WHOLE, instrument=LIFE))
    assert what_it_shows(book) == before


def test_a_book_takes_the_first_instrument_and_then_a_newer_one_of_that_symbol(make: Make) -> None:
    book = make()
    book.apply(update([(1, 1)], [], WHOLE))
    assert book.instrument is BTC
    newer = replace(BTC, tick=20)
    book.apply(update([(2, 1)], instrument=newer))
    assert book.instrument is newer
    assert book.levels() == ([(2, 1), (1, 1)], [])


@pytest.mark.parametrize("change", [{"price_exponent": -3}, {"quantity_exponent": 0}])
def test_other_exponents_make_a_book_unknown(book: OrderBook, change: dict[str, Any]) -> None:
    newer = replace(BTC, **change)
    assert isinstance(refusal(book, update([(1, 1)], instrument=newer)), UnknownBookError)
    book.apply(update([(1, 1)], [], WHOLE, instrument=newer))
    assert book.levels() == ([(1, 1)], [])


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (bytes(17), "bytes of 17 in place of packed levels, 16 bytes each"),
        (bytearray(16), "bytearray in place of packed levels, 16 bytes each"),
        (None, "NoneType in place of packed levels, 16 bytes each"),
    ],
)
@pytest.mark.parametrize("side", ["packed_bids", "packed_asks"])
def test_levels_that_are_not_packed_leave_the_book_unknown(
    book: OrderBook, packed: Any, words: str, side: str
) -> None:
    for flags in (NONE, WHOLE):
        book.apply(update([(1, 1)], [], WHOLE))
        with pytest.raises(MalformedError) as caught:
            book.apply(replace(update([(2, 1)], [], flags), **{side: packed}))
        assert str(caught.value) == words
        assert not book.is_known
        assert isinstance(refusal(book, update()), UnknownBookError)


def test_what_is_no_update_is_refused(book: OrderBook) -> None:
    for wrong in (None, "text", 7):
        with pytest.raises((AttributeError, TypeError)):
            book.apply(wrong)  # type: ignore[arg-type]


def test_an_update_of_a_type_of_its_own_is_applied(book: OrderBook) -> None:
    class Own(BookUpdate, frozen=True):
        pass

    own = Own(BTC, 30, 31, pack_levels([(100, 50)]), b"", NONE)
    book.apply(own)
    assert book.best_bid == (100, 50)
    assert book.update_id == 30


@pytest.mark.parametrize("side", [BID, ASK])
def test_a_book_deeper_than_the_limit_is_refused_by_the_limits_name(make: Make, side: Side) -> None:
    def change(levels: Iterable[tuple[int, int]], flags: BookFlags = NONE) -> BookUpdate:
        return update(levels, [], flags) if side == BID else update([], levels, flags)

    book = make(BTC)
    book.apply(change([(price, 1) for price in range(MAX_BOOK_LEVELS)], WHOLE))
    book.apply(change([(5, 2), (6, 0), (MAX_BOOK_LEVELS, 1)]))
    assert book.bid_count + book.ask_count == MAX_BOOK_LEVELS
    with pytest.raises(LimitExceededError) as caught:
        book.apply(change([(-1, 1)]))
    name = side.name.lower()
    assert str(caught.value) == f"more than 100,000 {name}s in a book: MAX_BOOK_LEVELS"
    assert not book.is_known
    levels = [(price, 1) for price in range(MAX_BOOK_LEVELS + 1)]
    with pytest.raises(LimitExceededError, match="MAX_BOOK_LEVELS"):
        book.replace(*((levels, []) if side == BID else ([], levels)), 1, 1)
    assert not book.is_known


def test_replace_takes_pairs_and_packed_levels_in_any_order(make: Make) -> None:
    book = make(BTC)
    book.replace([(1, 1), (3, 3), (2, 2), (4, 0)], pack_levels([(7, 7), (6, 6)]), 5, 6)
    assert book.levels() == ([(3, 3), (2, 2), (1, 1)], [(6, 6), (7, 7)])
    assert (book.is_consistent, book.update_id, book.time) == (True, 5, 6)
    book.apply(update([(9, 9)], [], TOP_ONLY))
    book.replace(iter([(1, 1)]), b"", 5, 6)
    assert book.levels() == ([(1, 1)], [])
    assert not book.is_top_only


@pytest.mark.parametrize("level", [(1, -1), (2**63, 1), (1, 2**64), (1, "1")])
def test_replace_refuses_what_fits_no_level(book: OrderBook, level: Any) -> None:
    with pytest.raises(NotRepresentableError, match="does not fit 64 bits"):
        book.replace([level], [], 1, 1)
    assert not book.is_known
    with pytest.raises(MalformedError):
        book.replace(b"12345", b"", 1, 1)


def test_quantities_and_prices_to_a_depth(book: OrderBook) -> None:
    assert [book.quantity_at(BID, price) for price in (101, 100, 98, 97)] == [0, 5, 15, 0]
    assert [book.count_to(BID, price) for price in (101, 100, 99, 98, 1)] == [0, 1, 2, 3, 3]
    assert [book.count_to(ASK, price) for price in (100, 101, 102, 999)] == [0, 1, 2, 3]
    assert [book.quantity_to(BID, price) for price in (101, 100, 99, 98, 1)] == [0, 5, 15, 30, 30]
    assert [book.quantity_to(ASK, price) for price in (100, 101, 102, 999)] == [0, 2, 6, 12]
    assert book.depth(BID, 2) == Depth(15, 100 * 5 + 99 * 10, 99)
    assert book.depth(ASK, 99) == Depth(12, 101 * 2 + 102 * 4 + 103 * 6, 103)
    assert book.depth(ASK, 0) == Depth(0, 0, None)
    assert book.depth_to(ASK, 102) == Depth(6, 101 * 2 + 102 * 4, 102)
    assert type(book.depth(BID, 2)) is Depth
    assert book.depth(BID, 2).vwap == 1490 / 15


def test_a_sweep_takes_what_an_order_of_that_quantity_would_take(book: OrderBook) -> None:
    assert book.sweep(ASK, 0) == Depth(0, 0, None)
    assert book.sweep(ASK, 2) == Depth(2, 202, 101)
    assert book.sweep(ASK, 5) == Depth(5, 202 + 3 * 102, 102)
    assert book.sweep(ASK, 100) == book.depth(ASK, 3)
    assert book.sweep(BID, 2**80) == book.depth(BID, 3)
    assert book.vwap(ASK, 5) == (202 + 306) / 5
    assert book.vwap(ASK, 12) == book.depth(ASK, 3).vwap
    assert [book.vwap(ASK, quantity) for quantity in (0, 13, 2**80)] == [None] * 3


def test_the_imbalance_of_the_first_levels(book: OrderBook) -> None:
    assert book.imbalance(1) == (5 - 2) / 7
    assert book.imbalance(3) == (30 - 12) / 42
    assert book.imbalance(0) is None
    book.replace([], [(1, 5)], 1, 1)
    assert book.imbalance(2) == -1.0
    book.replace([(1, 2**64 - 1), (2, 2**64 - 1)], [(4, 1)], 1, 1)
    assert book.imbalance(2) == (2**65 - 3) / (2**65 - 1)


def test_sums_of_the_largest_numbers_are_exact(make: Make) -> None:
    most = 2**64 - 1
    prices = [2**63 - 1 - step for step in range(8)]
    book = make(BTC)
    book.replace([(price, most) for price in prices], [(-price, most) for price in prices], 1, 1)
    notional = sum(prices) * most
    assert book.depth(BID, 8) == Depth(8 * most, notional, prices[-1])
    assert book.depth_to(ASK, 0) == Depth(8 * most, -notional, -prices[-1])
    swept = sum(prices[:4]) * most + 4 * prices[4]
    assert book.sweep(BID, 2**66) == Depth(2**66, swept, prices[4])
    assert book.quantity_to(BID, 0) == 8 * most
    assert book.vwap(ASK, most) == -(prices[0] * most) / most
    assert book.vwap(ASK, 2**64) == -(prices[0] * most + prices[1]) / 2**64


def test_the_least_and_the_greatest_price_are_prices(make: Make) -> None:
    levels = [(2**63 - 1, 1), (0, 2), (-1, 3), (-(2**63), 4)]
    book = make(BTC)
    book.apply(update(levels, levels[::-1], WHOLE))
    assert book.levels() == (levels, levels[::-1])
    assert book.depth_to(BID, -(2**70)).quantity == book.depth_to(ASK, 2**70).quantity == 10
    assert book.depth_to(BID, 2**70).quantity == book.depth_to(ASK, -(2**70)).quantity == 0


def test_what_cannot_be_asked_for_is_refused(book: OrderBook) -> None:
    for ask in (book.levels, book.packed, book.imbalance):
        with pytest.raises(NotRepresentableError, match="-1 levels: 0 or more can be asked for"):
            ask(-1)
    with pytest.raises(NotRepresentableError, match="-1 of quantity: 0 or more"):
        book.sweep(BID, -1)
    wrong: Any
    for wrong in (2, -1, "bid", None):
        with pytest.raises(NotRepresentableError, match="is no side of a book: BID or ASK"):
            book.quantity_at(wrong, 1)
    for wrong in (1.5, "1", None):
        for method in (
            book.quantity_at,
            book.count_to,
            book.quantity_to,
            book.depth_to,
            book.sweep,
            book.depth,
        ):
            with pytest.raises(TypeError):
                method(BID, wrong)


def test_the_digest_is_what_its_documentation_says(book: OrderBook) -> None:
    counts = bytes([3, 0, 0, 0, 3, 0, 0, 0])
    levels = pack_levels([(100, 5), (99, 10), (98, 15), (101, 2), (102, 4), (103, 6)])
    assert book.digest() == zlib.crc32(counts + levels) == 647_915_991
    other = type(book)()
    for price in (102, 103, 101):
        other.replace([(98, 1)], [(102, 4)], 1, 1)
        other.apply(update([(100, 5)], [(price, 9)]))
        other.apply(update([(98, 15), (99, 10), (97, 0)], [(103, 6), (101, 2), (102, 4)]))
        assert other.digest() == book.digest()
    other.apply(update([(99, 11)]))
    assert other.digest() != book.digest()


@pytest.mark.parametrize(
    ("bids", "asks"),
    [(0, 0), (0, 1), (2_048, 0), (2_048, 1), (2_049, 0), (5_000, 3_000), (10, 9_000)],
)
def test_a_whole_book_comes_in_pieces_that_fit_a_block(make: Make, bids: int, asks: int) -> None:
    book, other = make(BTC), make()
    book.replace(
        [(-price, 1) for price in range(bids)], [(price, 2) for price in range(1, asks + 1)], 5, 6
    )
    pieces = book.whole()
    for piece in pieces:
        assert not other.is_known
        assert len(piece.bids) + len(piece.asks) <= MAX_BLOCK_LEVELS
        assert (piece.update_id, piece.time, piece.seq) == (5, 6, 0)
        other.apply(piece)
    assert len(pieces) == max(1, -(-(bids + asks) // MAX_BLOCK_LEVELS))
    assert what_it_shows(other) == what_it_shows(book)
    assert other.digest() == book.digest()
    later = book.pieces()
    book.replace([(5, 5)], [(6, 6)], 7, 8)
    book.is_top_only = True
    assert list(later) == pieces, "those of the book as it was"
    book.clear()
    with pytest.raises(UnknownBookError):
        book.pieces()


def pickled(book: OrderBook) -> OrderBook:
    found: OrderBook = pickle.loads(pickle.dumps(book))
    return found


COPIES = [copy, deepcopy, pickled]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("flags", [NONE, MORE, TOP_ONLY, TOP_ONLY | MORE, WHOLE, WHOLE | MORE])
def test_a_copy_is_the_same_book_and_goes_its_own_way(
    book: OrderBook, copied: Callable[[OrderBook], OrderBook], flags: BookFlags
) -> None:
    book.apply(update([(100, 1), (99, 3)], [(101, 9)], flags, 20, 21))
    before = what_it_shows(book)
    other = copied(book)
    assert what_it_shows(other) == before
    other.apply(update([(98, 7)], [], NONE, 30, 31))
    assert what_it_shows(book) == before
    book.apply(update([(98, 7)], [], NONE, 30, 31))
    assert what_it_shows(other) == what_it_shows(book)
    other.clear()
    assert book.is_consistent


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_an_unknown_book_is_unknown(
    make: Make, copied: Callable[[OrderBook], OrderBook]
) -> None:
    for book in (make(), make(BTC)):
        other = copied(book)
        assert other.instrument == book.instrument
        assert what_it_shows(other) == what_it_shows(book)
        assert isinstance(refusal(other, update()), UnknownBookError)


@pytest.mark.parametrize("copied", [copy, deepcopy])
def test_a_copy_has_the_type_and_the_instrument_of_its_book(
    book: OrderBook, copied: Callable[[OrderBook], OrderBook]
) -> None:
    assert type(copied(book)) is type(book)
    assert copied(book).instrument is BTC


def test_a_pickle_is_read_by_the_class_in_use(book: OrderBook) -> None:
    assert type(pickled(book)) is OrderBook


def test_a_book_without_instrument_has_no_updates(make: Make) -> None:
    book = make()
    book.replace([], [], 1, 1)
    assert repr(book) == "<OrderBook, 0 bids, 0 asks, update 1>"
    with pytest.raises(UnknownBookError, match="no instrument, which an update has to name"):
        book.whole()


# Plain, compiled and the model side by side.

PRICES = st.integers(-40, 40) | st.sampled_from([-(2**63), 2**63 - 1])
QUANTITIES = st.integers(0, 3) | st.sampled_from([2**53, 2**64 - 1])
FEW = st.lists(st.tuples(PRICES, QUANTITIES), max_size=6)


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Many levels in a row, or with gaps between them, so that chunks fill, divide and merge."""
    start, step = draw(st.integers(-600, 600)), draw(st.sampled_from([1, 2, 3, -1, -2, 7]))
    count, quantity = draw(st.integers(0, 300)), draw(QUANTITIES)
    return [(start + step * place, quantity) for place in range(count)]


LEVELS = FEW | runs()
FLAGS = st.sampled_from([NONE] * 6 + [WHOLE, MORE, TOP_ONLY, WHOLE | MORE, WHOLE | TOP_ONLY])
ACTIONS = st.one_of(
    st.tuples(st.just("apply"), LEVELS, LEVELS, FLAGS),
    st.tuples(st.just("apply"), LEVELS, LEVELS, FLAGS),
    st.tuples(st.just("replace"), LEVELS, LEVELS),
    st.tuples(st.just("pieces")),
    st.tuples(st.just("clear")),
)


def act(book: Any, number: int, action: tuple[Any, ...]) -> None:
    match action:
        case "apply", bids, asks, flags:
            refusal(book, update(bids, asks, flags, number, number + 1))
        case "replace", bids, asks:
            book.replace(bids, asks, number, number + 1)
        case "pieces":
            # As a joiner gets it: a whole book in pieces.
            bids, asks = [(5, 1), (4, 1)], [(6, 1)]
            book.apply(update(bids, [], WHOLE | MORE, number, 1))
            book.apply(update([], asks, NONE, number, 1))
        case "clear", *_:
            book.clear()


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(ACTIONS, max_size=14))
def test_every_interleaving_gives_the_same_book_everywhere(actions: list[tuple[Any, ...]]) -> None:
    plain, compiled, model = plain_book()(BTC), compiled_book()(BTC), Model()
    for number, action in enumerate(actions, 1):
        for book in (plain, compiled, model):
            act(book, number, action)
        assert what_it_shows(plain) == what_it_shows(compiled) == model.shown()
    assert answers(plain) == answers(compiled)
    for side in Side:
        for quantity in (1, 7, 2**60):
            assert plain.vwap(side, quantity) == model.vwap(side, quantity)
