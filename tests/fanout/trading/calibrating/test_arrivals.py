"""What counts as a taker order, how far it reached, and how long was watched."""

from fanout.protocol import FeedState, TradeKind
from fanout.trading.calibrating.arrivals import BLIND, NO_MID, Arrivals
from tests.fanout.trading.world import BUY, MS, SELL, World


class Watched(World):
    """A stream that is counted: the best prices are 100 and 102, the mid is 101."""

    def __init__(self, horizon_ms: int = 10) -> None:
        self.arrivals = Arrivals("X", horizon_ms * MS)
        super().__init__(bids=[(100, 10), (90, 10)], asks=[(102, 10), (110, 10)])

    def take(self, record: object) -> list:  # type: ignore[type-arg]
        self.arrivals.take(record)  # type: ignore[arg-type]
        return []

    def reaches(self) -> list[int]:
        """In half units of the price."""
        self.arrivals.end()
        return list(self.arrivals.reaches)


def test_a_taker_order_reaches_to_its_farthest_price() -> None:
    world = Watched()
    time = world.ms + 5
    world.trade(100, 1, SELL, time=time)
    world.trade(97, 1, SELL, time=time)
    world.trade(105, 1, BUY, time=time)
    world.trade(98, 1, SELL, time=time)
    assert world.reaches() == [2 * 4, 2 * 4]


def test_an_order_that_is_older_than_all_books_is_left_out() -> None:
    world = Watched()
    world.trade(97, 1, SELL, time=7_000)
    world.book([(90, 11)])
    assert world.reaches() == []
    assert world.arrivals.left_out == {NO_MID: 1}


def test_the_mid_is_that_of_the_newest_book_before_the_trade_by_the_venues_clock() -> None:
    world = Watched()
    made = world.ms
    world.book([(100, 0), (96, 5)], time=made + 10)  # the trade's own effect comes first
    world.trade(100, 1, SELL, time=made + 10)
    world.book([(96, 6)], time=made + 11)
    assert world.reaches() == [2]
    world = Watched()
    world.book([(100, 0), (96, 5)], time=made + 9)
    world.trade(96, 1, SELL, time=made + 10)
    assert world.reaches() == [2 * 3]


def test_a_book_that_comes_late_and_is_older_counts() -> None:
    world = Watched()
    made = world.ms
    world.trade(96, 1, SELL, time=made + 10)
    world.book([(100, 0), (96, 5)], time=made + 8)
    world.book([(96, 6)], time=made + 12)
    assert list(world.arrivals.reaches) == [2 * 3]


def test_an_order_that_did_not_get_beyond_the_mid_reached_nothing() -> None:
    world = Watched()
    world.trade(103, 1, SELL)
    assert world.reaches() == [-4]


def test_without_times_of_the_venue_the_newest_book_counts() -> None:
    world = Watched()
    world.trade(98, 1, SELL, time=0)
    assert list(world.arrivals.reaches) == [2 * 3]


def test_trades_that_did_not_take_from_the_book_are_no_orders() -> None:
    world = Watched()
    world.trade(90, 1, SELL, kind=TradeKind.ADL)
    world.trade(90, 1, SELL, back_filled=True)
    assert world.reaches() == []
    assert not world.arrivals.left_out


def test_time_with_an_unknown_book_does_not_count_and_its_trades_are_left_out() -> None:
    world = Watched()
    world.ms += 99
    world.book([(90, 11)])
    assert world.arrivals.observed_ns == 100 * MS
    world.trade(97, 1, SELL)
    world.status(FeedState.STALE)
    world.ms += 500
    world.trade(97, 1, SELL)
    world.status(FeedState.LIVE)
    world.ms += 500
    world.trade(97, 1, SELL)
    assert world.arrivals.observed_ns < 1_000 * MS
    assert world.arrivals.left_out == {NO_MID: 1, BLIND: 1}


def test_time_with_one_side_or_with_crossed_prices_does_not_count() -> None:
    for asks in ([(102, 0), (110, 0)], [(99, 5)]):
        world = Watched()
        world.book([], asks)
        before_ns = world.arrivals.observed_ns
        world.ms += 1_000
        world.book([], [(130, 5)])
        assert world.arrivals.observed_ns == before_ns


def test_the_mid_moves_from_one_multiple_of_the_horizon_to_the_next() -> None:
    world = Watched(horizon_ms=10)
    world.ms += 95
    world.book([(90, 11)])
    assert len(world.arrivals.squares) == 8
    assert not any(world.arrivals.squares)
    world.book([(100, 0), (96, 5)])
    world.ms += 30
    world.book([(90, 11)])
    assert [bool(each) for each in world.arrivals.squares[8:]] == [True, False, False]


def test_no_move_goes_over_a_time_without_a_mid() -> None:
    world = Watched(horizon_ms=10)
    world.ms += 20
    world.lose()
    world.whole([(50, 10)], [(60, 10)])
    world.ms += 25
    world.book([(50, 11)])
    assert not any(world.arrivals.squares)
    assert len(world.arrivals.squares) >= 1


def test_the_spread_is_weighted_by_time() -> None:
    world = Watched()
    world.ms += 29
    world.book([], [(102, 0)])  # 30 ms with 2, from now on 10
    world.ms += 9
    world.book([(90, 11)])
    assert world.arrivals.spread_ns == (30 * 2 + 10 * 10) * MS
