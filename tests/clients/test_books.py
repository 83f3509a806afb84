"""What the books of a stream show, rule by rule, and against a model of what a reader may show."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.books import Book, Books
from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import (
    MAX_BOOK_LEVELS,
    BookFlags,
    BookUpdate,
    CallerError,
    End,
    EndReason,
    FeatureRow,
    FeedState,
    Gap,
    GapState,
    LimitExceededError,
    Loss,
    LossReason,
    OrderUpdate,
    Position,
    Quote,
    Skipped,
    Snapshot,
    Status,
    Trade,
    pack_levels,
    pack_orders,
)
from fanout.protocol.book import OrderBook
from fanout.protocol.orders_book import OrdersBook
from tests.clients.book_world import OPERATIONS, World
from tests.protocol.golden import BTC, HEADER, LIFE

WHOLE, MORE = BookFlags.WHOLE, BookFlags.MORE
BID, ASK = [(10, 5), (9, 1)], [(11, 2)]


def update(
    update_id: int,
    bids: list[tuple[int, int]] | None = None,
    asks: list[tuple[int, int]] | None = None,
    flags: BookFlags = BookFlags.NONE,
    *,
    seq: int = 1,
    instrument: Any = BTC,
) -> BookUpdate:
    packed = pack_levels(bids or []), pack_levels(asks or [])
    return BookUpdate(instrument, update_id, 7, *packed, flags, seq)


def whole(update_id: int = 1, *, seq: int = 1, instrument: Any = BTC) -> BookUpdate:
    return update(update_id, BID, ASK, WHOLE, seq=seq, instrument=instrument)


def snapshot(update_id: int = 1, *, instrument: Any = BTC) -> BookUpdate:
    return whole(update_id, seq=0, instrument=instrument)


LOSS = Loss(first_seq=2, last_seq=3, reason=LossReason.SLOW)
AWAY = Disconnected(why="cut", pause_s=0.1)
ANEW = Restarted(before=Position(epoch_ns=1, seq=2), epoch_ns=2)
END = End(reason=EndReason.SHUTDOWN, last_seq=1, retry_ms=1)
TRADE = Trade(BTC, 1, 2, 3, 4, False, seq=9)
GAP = Gap(seq=9, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)


def status(state: FeedState, instrument: Any = BTC) -> Status:
    return Status(seq=9, instrument=instrument, state=state, since_ns=1)


def books_after(*records: Any) -> Books:
    books = Books()
    for each in records:
        books.apply(each)
    return books


def after(*records: Any) -> Book:
    return books_after(*records)["BTCUSDT"]


def test_a_book_is_unknown_until_a_whole_one_has_come() -> None:
    book = after(update(1, BID, ASK))
    assert (book.is_known, book.best_bid, book.best_ask, book.levels(5)) == (
        *(False, None, None),
        ([], []),
    )
    assert (book.update_id, book.time, book.orders, book.instrument) == (0, 0, None, None)
    assert repr(book) == "<Book of BTCUSDT, unknown>"


@pytest.mark.parametrize("first", [whole(), snapshot()], ids=["numbered", "snapshot"])
def test_a_book_follows_the_updates_behind_a_whole_one(first: BookUpdate) -> None:
    book = after(first, update(2, [(10, 0), (9, 3)], [(12, 1)], seq=2))
    assert book.is_known
    assert (book.best_bid, book.best_ask) == ((9, 3), (11, 2))
    assert book.levels(1) == ([(9, 3)], [(11, 2)])
    assert book.levels() == ([(9, 3)], [(11, 2), (12, 1)])
    assert (book.update_id, book.time, book.instrument) == (2, 7, BTC)
    assert book.prices.imbalance(1) == 0.2
    assert repr(book) == "<OrderBook of BTCUSDT, 1 bids, 2 asks, update 2>"


def test_a_book_of_a_snapshot_is_ahead_until_an_update_above_it_has_come() -> None:
    books = books_after(whole())
    book = books["BTCUSDT"]
    assert not book.is_ahead
    for record, is_ahead in (
        (LOSS, False),
        (snapshot(5), True),
        (update(4, [(10, 0)]), True),
        (update(6, [(10, 0)]), False),
    ):
        books.apply(record)
        assert book.is_ahead is is_ahead


def test_a_book_is_live_unless_the_newest_status_says_otherwise() -> None:
    books = Books()
    book = books["BTCUSDT"]
    stale, live = FeedState.STALE, FeedState.LIVE
    for record, is_live in (
        (whole(), True),
        (status(stale), False),
        (status(stale, None), False),
        (status(live), False),
        (status(live, None), True),
        (status(FeedState.DOWN, None), False),
        (status(live, None), False),
        (AWAY, False),
        (LOSS, True),
        (AWAY, True),
    ):
        books.apply(record)
        assert book.is_live is is_live


def test_books_of_symbols_are_apart_and_known_ones_can_be_listed() -> None:
    books = books_after(whole(), whole(3, instrument=LIFE), status(FeedState.STALE))
    assert [each.symbol for each in books.known] == ["币安人生USDT"]
    assert books["BTCUSDT"] is books["BTCUSDT"]
    assert not books["ETHUSDT"].is_known


@pytest.mark.parametrize("disturbance", [LOSS, ANEW], ids=["loss", "restarted"])
def test_a_book_that_may_miss_something_is_unknown_until_the_next_whole_one(
    disturbance: Any,
) -> None:
    books = books_after(whole(), disturbance, TRADE, update(2, BID, seq=10))
    assert not books["BTCUSDT"].is_known
    assert books["BTCUSDT"].best_bid is None
    books.apply(whole(3))
    assert books["BTCUSDT"].best_bid == (10, 5)


def test_after_a_feed_was_down_each_symbol_has_to_be_live_by_its_own() -> None:
    books = books_after(whole(), status(FeedState.DOWN, None), whole(instrument=LIFE))
    books.apply(status(FeedState.CONNECTING, None))
    books.apply(status(FeedState.LIVE, None))
    assert books.known == []
    books.apply(whole())
    assert books.known == []
    books.apply(status(FeedState.LIVE))
    assert [each.symbol for each in books.known] == ["BTCUSDT"]
    books.apply(status(FeedState.LIVE, LIFE))
    assert len(books.known) == 2


FOR_A_WHILE = [each for each in FeedState if each not in (FeedState.LIVE, FeedState.DOWN)]


@pytest.mark.parametrize(
    ("state", "instrument"),
    [*((each, of) for each in FOR_A_WHILE for of in (BTC, None)), (FeedState.DOWN, BTC)],
    ids=lambda each: each.name if isinstance(each, FeedState) else "feed" if each is None else "",
)
def test_a_book_is_hidden_while_its_symbol_or_the_feed_is_not_live(
    state: FeedState, instrument: Any
) -> None:
    books = books_after(whole(), status(state, instrument), update(2, [(10, 6)], seq=2))
    assert not books["BTCUSDT"].is_known
    books.apply(status(FeedState.LIVE, LIFE if instrument else BTC))
    assert not books["BTCUSDT"].is_known, "that was the state of something else"
    books.apply(status(FeedState.LIVE, instrument))
    assert books["BTCUSDT"].best_bid == (10, 6)


@pytest.mark.parametrize("instrument", [BTC, None], ids=["symbol", "feed"])
def test_a_state_that_came_before_the_book_counts(instrument: Any) -> None:
    books = books_after(status(FeedState.STALE, instrument), whole())
    assert not books["BTCUSDT"].is_known
    books.apply(status(FeedState.LIVE, instrument))
    assert books["BTCUSDT"].is_known


@pytest.mark.parametrize("instrument", [BTC, None], ids=["symbol", "feed"])
@pytest.mark.parametrize("disturbance", [LOSS, ANEW], ids=["loss", "restarted"])
def test_with_a_loss_the_states_are_forgotten_since_live_may_be_lost(
    disturbance: Any, instrument: Any
) -> None:
    assert after(whole(), status(FeedState.STALE, instrument), disturbance, snapshot(3)).is_known


def test_a_lost_connection_and_a_silence_both_have_to_end() -> None:
    books = books_after(whole(), status(FeedState.STALE), AWAY, TRADE)
    assert not books["BTCUSDT"].is_known
    books.apply(AWAY)
    books.apply(status(FeedState.LIVE))
    assert books["BTCUSDT"].is_known


@pytest.mark.parametrize(
    "other",
    [
        status(FeedState.LIVE),
        status(FeedState.DOWN, LIFE),
        TRADE,
        GAP,
        Quote(BTC, 5, 1, 2, 3, 4, 5, seq=9),
        FeatureRow(BTC, 5, (1.5,), bytes(1), seq=9),
        Quote(BTC, 5, 1, 2, 3, 4, 5),
        Snapshot(trades=()),
        Skipped(first_seq=1, last_seq=2, kind=0x1E),
    ],
    ids=str,
)
def test_other_records_leave_a_book_known(other: Any) -> None:
    assert after(whole(), other).is_known


@pytest.mark.parametrize("away", [AWAY, END], ids=["disconnected", "end"])
@pytest.mark.parametrize(
    "numbered",
    [
        TRADE,
        GAP,
        update(2, [(9, 0)], seq=2),
        status(FeedState.LIVE),
        Quote(BTC, 5, 1, 2, 3, 4, 5, seq=9),
        FeatureRow(BTC, 5, (1.5,), bytes(1), seq=9),
        Skipped(first_seq=1, last_seq=2, kind=0x1E),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_book_is_hidden_while_the_client_is_away_and_kept_if_nothing_was_lost(
    away: Any, numbered: Any
) -> None:
    books = books_after(whole(), away, AWAY)
    book = books["BTCUSDT"]
    assert (book.is_known, book.best_bid, books.known) == (False, None, [])
    row = FeatureRow(BTC, 5, (1.5,), bytes(1))
    for without_a_number in (Snapshot(trades=()), Quote(BTC, 5, 1, 2, 3, 4, 5), row):
        books.apply(without_a_number)
        assert not book.is_known
    books.apply(numbered)
    assert book.best_bid == (10, 5)


def test_a_book_that_missed_something_while_the_client_was_away_stays_unknown() -> None:
    books = books_after(whole(), AWAY, LOSS, TRADE)
    assert not books["BTCUSDT"].is_known
    books.apply(snapshot(5))
    assert books["BTCUSDT"].update_id == 5


def test_a_snapshot_is_shown_before_the_first_numbered_record_of_a_connection() -> None:
    books = books_after(whole(), whole(instrument=LIFE), AWAY, LOSS, snapshot(5))
    assert [each.update_id for each in books.known] == [5]


# Updates in several parts.


@pytest.mark.parametrize("seq", [0, 1], ids=["snapshot", "numbered"])
def test_a_book_is_unknown_until_its_last_part_has_come(seq: int) -> None:
    books = Books()
    for bids, asks, flags in [(BID[:1], [], WHOLE | MORE), (BID[1:], [], MORE)]:
        books.apply(update(1, bids, asks, flags, seq=seq))
        assert not books["BTCUSDT"].is_known
    books.apply(update(1, [], ASK, seq=seq))
    assert books["BTCUSDT"].levels() == (BID, ASK)


def test_a_book_is_unknown_between_the_parts_of_an_update() -> None:
    books = books_after(whole(), update(2, [(10, 0)], [(11, 0)], MORE, seq=2))
    assert not books["BTCUSDT"].is_known
    assert books["BTCUSDT"].levels() == ([], [])
    books.apply(update(2, [], [(12, 4)], seq=3))
    assert books["BTCUSDT"].levels() == ([(9, 1)], [(12, 4)])


def test_the_rest_of_a_whole_book_after_a_loss_is_no_book() -> None:
    first = update(1, BID, [], WHOLE | MORE)
    assert not after(first, LOSS, update(1, [], ASK, seq=4)).is_known


def test_parts_that_arrive_over_two_connections_are_one_update() -> None:
    parts = update(2, [(10, 0)], [], MORE, seq=2), update(2, [], [(12, 1)], seq=3)
    book = after(whole(), parts[0], AWAY, parts[1])
    assert book.levels() == ([(9, 1)], [(11, 2), (12, 1)])


# Joining by a snapshot.


def test_updates_that_the_snapshot_has_already_are_ignored() -> None:
    old = [update(each, [(10, 99)], seq=each) for each in (3, 4, 5)]
    book = after(snapshot(5), *old, update(6, [(8, 1)], seq=6))
    assert book.levels() == ([*BID, (8, 1)], ASK)


def test_parts_of_an_update_that_the_snapshot_has_already_are_ignored() -> None:
    old = update(5, [(10, 0)], [], MORE, seq=3), update(5, [], [(11, 0)], seq=4)
    books = books_after(snapshot(5), old[0])
    assert books["BTCUSDT"].levels() == (BID, ASK)
    books.apply(old[1])
    assert books["BTCUSDT"].levels() == (BID, ASK)


def test_a_numbered_whole_book_counts_whatever_its_id() -> None:
    book = after(snapshot(5), whole(3), update(4, [(10, 6)], seq=2))
    assert (book.update_id, book.best_bid) == (4, (10, 6))


def test_once_it_has_joined_a_book_takes_every_update() -> None:
    """Some venues number updates anew every day."""
    book = after(snapshot(5), update(6, [(10, 7)], seq=6), update(1, [(10, 8)], seq=7))
    assert (book.update_id, book.best_bid) == (1, (10, 8))


def test_a_snapshot_that_is_older_than_the_book_changes_nothing() -> None:
    parts = update(3, [(1, 1)], [], WHOLE | MORE, seq=0), update(3, [], [(99, 1)], seq=0)
    book = after(whole(4), snapshot(4), *parts, update(5, [(8, 1)], seq=5))
    assert book.levels() == ([*BID, (8, 1)], ASK)


def test_a_snapshot_that_is_newer_than_the_book_replaces_it() -> None:
    newer = update(9, [(5, 5)], [(6, 6)], WHOLE, seq=0)
    book = after(whole(4), newer, update(7, BID, seq=5), update(10, [(4, 4)], seq=6))
    assert book.levels() == ([(5, 5), (4, 4)], [(6, 6)])


def test_a_snapshot_that_is_not_completed_is_no_book() -> None:
    first = update(5, BID, [], WHOLE | MORE, seq=0)
    assert not after(first, update(5, [(8, 1)], seq=2)).is_known  # in the snapshot already
    book = after(first, update(6, [(8, 1)], seq=3), update(5, [], ASK, seq=0))
    assert not book.is_known
    assert after(first, update(4, [], ASK, seq=0), update(5, [], ASK, seq=0)).is_known
    assert after(first, snapshot(5)).is_known


# Updates by order.


def by_order(update_id: int, flags: BookFlags = BookFlags.NONE, *, seq: int = 1) -> OrderUpdate:
    bids = pack_orders([(7, 10, 2), (8, 10, 3)] if flags else [(7, 10, 0)])
    return OrderUpdate(BTC, update_id, 7, bids, b"", flags, seq)


def test_a_book_by_order_gives_prices_and_orders() -> None:
    book = after(by_order(1, WHOLE), by_order(2, seq=2))
    assert book.best_bid == (10, 3)
    assert book.orders is not None
    assert book.orders.order(8) == (8, 10, 3)
    book = after(by_order(1, WHOLE), LOSS)
    assert (book.orders, book.best_bid) == (None, None)
    assert after(by_order(5, WHOLE, seq=0), by_order(4, seq=1)).best_bid == (10, 5)


def test_the_first_whole_book_decides_between_prices_and_orders() -> None:
    book = after(whole(), by_order(2, WHOLE), by_order(3), update(4, [(8, 1)], seq=4))
    assert (book.orders, book.levels()) == (None, ([*BID, (8, 1)], ASK))
    book = after(whole(), by_order(2), LOSS, by_order(3), by_order(4, WHOLE), whole(5))
    assert (book.update_id, book.best_bid) == (4, (10, 5))
    assert after(by_order(1, WHOLE), LOSS, whole(2)).levels() == (BID, ASK)


# What cannot be applied.


@pytest.mark.parametrize("flags", [BookFlags.NONE, MORE])
def test_a_book_whose_units_change_is_unknown(flags: BookFlags) -> None:
    finer = replace(BTC, price_exponent=-4)
    books = books_after(whole(), update(2, [(1000, 5)], [], flags, seq=2, instrument=finer))
    assert not books["BTCUSDT"].is_known
    books.apply(whole(3, instrument=finer))
    assert books["BTCUSDT"].instrument == finer


def test_a_book_that_is_too_deep_is_refused_and_then_unknown() -> None:
    books = books_after(whole())
    levels = [(price, 1) for price in range(-MAX_BOOK_LEVELS, 0)]
    with pytest.raises(LimitExceededError, match="MAX_BOOK_LEVELS"):
        books.apply(update(2, levels[::-1], seq=2))
    assert not books["BTCUSDT"].is_known


class Given(TcpClient):
    """A client whose records, and errors, are given."""

    def __init__(self, *given: Any) -> None:
        super().__init__("tcp://127.0.0.1:1")
        self.given = iter(given)

    def __next__(self) -> Any:
        each = next(self.given)
        if isinstance(each, BaseException):
            raise each
        return each


class GivenAsync(TrioTcpClient):
    def __init__(self, *given: Any) -> None:
        super().__init__("tcp://127.0.0.1:1")
        self.given = Given(*given)

    async def __anext__(self) -> Any:
        try:
            return next(self.given)
        except StopIteration:
            raise StopAsyncIteration from None


def test_books_without_a_client_cannot_be_iterated() -> None:
    with pytest.raises(CallerError, match="these books have no client"):
        next(Books())


def test_the_end_of_the_stream_hides_the_books() -> None:
    books = Books(Given(whole()))
    assert list(books) == [whole()]
    assert not books["BTCUSDT"].is_known


async def test_the_end_of_an_async_stream_hides_the_books() -> None:
    books = Books(GivenAsync(whole()))
    assert [each async for each in books] == [whole()]
    assert not books["BTCUSDT"].is_known


def test_an_error_of_the_client_hides_the_books() -> None:
    books = Books(Given(whole(), DisconnectedError("cut")))
    assert next(books) == whole()
    assert books["BTCUSDT"].is_known
    with pytest.raises(DisconnectedError):
        next(books)
    assert not books["BTCUSDT"].is_known


@pytest.mark.parametrize("part", ["apply", "_take", "_apply"])
def test_an_interrupt_loses_no_record(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    books = Books(Given(whole(), update(2, [(8, 1)], seq=2), whole(3)))
    next(books)
    owner = Books if part == "apply" else Book
    with monkeypatch.context() as patch:
        patch.setattr(owner, part, interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(books)
    assert next(books) == update(2, [(8, 1)], seq=2)
    assert books["BTCUSDT"].levels() == ([*BID, (8, 1)], ASK)


async def test_an_interrupt_loses_no_record_of_an_async_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    books = Books(GivenAsync(whole(), TRADE))
    with monkeypatch.context() as patch:
        patch.setattr(Books, "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            await anext(books)
    assert [await anext(books), await anext(books)] == [whole(), TRADE]
    assert books["BTCUSDT"].is_known


def test_an_interrupt_within_an_update_makes_the_book_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    books = Books(Given(whole(), by_order(2, WHOLE), whole(3), update(4, seq=4)))
    next(books)
    book = books["BTCUSDT"]
    book._orders, book._prices = OrdersBook(), OrderBook()
    book._prices = book._orders.prices
    with monkeypatch.context() as patch:
        patch.setattr(OrdersBook, "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(books)
    assert not book.is_known
    assert [next(books).update_id for _ in range(3)] == [2, 3, 4]  # type: ignore[union-attr]
    assert book.is_known


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_update_that_is_refused_is_not_applied_again() -> None:
    levels = [(price, 1) for price in range(-1, -MAX_BOOK_LEVELS - 1, -1)]
    books = Books(Given(whole(), update(2, levels, seq=2), TRADE))
    next(books)
    with pytest.raises(LimitExceededError):
        next(books)
    assert next(books) == TRADE


@given(st.lists(OPERATIONS, max_size=40))
def test_a_book_shows_what_the_venue_had_or_nothing(operations: list[Callable[..., None]]) -> None:
    """P8: any interleaving of updates, breaks, losses, snapshots, reconnects and restarts."""
    world = World()
    for each in operations:
        each(world)
    world.read(1_000)


def test_an_unlisted_symbol_is_refused_with_those_that_are_listed() -> None:
    class Listed(Given):
        header = HEADER

    books = Books(Listed())
    assert not books["BTCUSDT"].is_known
    with pytest.raises(UnknownSymbolError, match="XRPUSDT is not served here: BTCUSDT, "):
        books["XRPUSDT"]
