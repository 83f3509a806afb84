"""When the best prices are reported: before fills, at the ends of horizons, and now and then."""

from fanout.protocol import FeedState
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.reports import Fill, Mark
from fanout.trading.strategies.base import Quoted, Quotes, View
from tests.fanout.trading.test_risk import OFF
from tests.fanout.trading.world import MS, SELL, START_MS, World

S_MS = 1_000


class Bidder:
    """Wants to buy 5 at 100 until it has them."""

    def quote(self, view: View) -> Quotes:
        bids = () if view.position else (Quoted(100, 5),)
        return Quotes(bids=bids, asks=(), fair_value=view.mid, skew=0.0)

    def filled(self, fill: Fill) -> None: ...

    def stopped(self, why: str) -> None: ...


def marked(world: World) -> list[tuple[int | None, int | None, int, int]]:
    """Bid, ask, since when and reported when, in ms from the first record."""
    return [
        (each.bid, each.ask, each.since_ns // MS - START_MS - 1, each.time_ns // MS - START_MS - 1)
        for each in world.said
        if isinstance(each, Mark)
    ]


def begun() -> World:
    """A world whose records go through a desk."""
    world = World()
    settings = DeskSettings(min_life_ns=0)
    desk = Desk(world.exchange, "X", Bidder(), limits=OFF, settings=settings)
    world.said += desk.answer([])
    exchange = world.exchange

    class Through:
        take = staticmethod(desk.take)
        advance = staticmethod(desk.advance)

        def __getattr__(self, name: str) -> object:
            return getattr(exchange, name)

    world.exchange = Through()  # type: ignore[assignment]
    return world


def bid(world: World, price: int) -> None:
    """Let the best ask stay, and the best bid be this one."""
    world.book([(100, 0), (99, 0), (98, 0), (price, 10)])


def test_the_first_prices_are_reported_at_once() -> None:
    assert marked(begun()) == [(100, 101, 0, 0)]


def test_changes_are_reported_once_in_a_tenth_of_a_second_with_the_time_of_the_change() -> None:
    world = begun()
    world.ms += 97
    bid(world, 98)  # after 98 ms
    world.ms += 7
    world.book([(97, 5)])  # after 106 ms, and not at the best prices
    world.book([(96, 5)])
    assert marked(world)[1:] == [(98, 101, 98, 106)]


def test_prices_that_are_lost_and_known_again_are_reported_at_once() -> None:
    world = begun()
    world.status(FeedState.STALE)
    world.status(FeedState.LIVE)
    world.book([(98, 7)])
    assert [each[:2] for each in marked(world)] == [(100, 101), (None, None), (100, 101)]


def test_a_fill_comes_behind_the_prices_that_it_met() -> None:
    world = begun()
    world.pass_time(20)
    bid(world, 99)
    world.trade(99, 30, SELL)
    at = next(n for n, each in enumerate(world.said) if isinstance(each, Fill))
    before = [each for each in world.said[:at] if isinstance(each, Mark)]
    assert (before[-1].bid, before[-1].ask) == (99, 101)
    assert before[-1].since_ns == world.said[at].time_ns - MS


def test_the_prices_at_the_ends_of_the_horizons_are_exact() -> None:
    world = begun()
    world.pass_time()
    world.trade(99, 30, SELL)
    filled_ms = world.ms
    bid(world, 99)
    world.ms = filled_ms + S_MS - 11
    world.book([(99, 0), (98, 10)])  # reported: a tenth of a second has passed
    world.book([(98, 0), (97, 10)])  # not reported for itself
    world.ms = filled_ms + S_MS
    world.book([(96, 10), (97, 0)])  # 1 ms behind the end of the horizon
    world.ms = filled_ms + 40 * S_MS
    world.book([(96, 9)])
    at = marked(world)
    assert (97, 101, world_ms(filled_ms) + S_MS - 9, world_ms(filled_ms) + S_MS + 1) in at
    assert at[-1][:2] == (96, 101)
    assert at[-1][3] == world_ms(filled_ms) + 40 * S_MS + 1


def world_ms(ms: int) -> int:
    return ms - START_MS - 1
