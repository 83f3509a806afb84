"""The paper exchange beside a market that knows who stands where in the queue.

The market is one price with single orders in it. Like a venue it tells its trades, and now and then
what it displays, each with its time, on two streams that overtake each other. An order of our own
joins behind what is displayed. The conservative model must never fill it sooner than that market.
"""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fanout.trading.world import BUY, START_MS, World

PRICE, THROUGH = 100, 99
SIZE = 1_000
"""Of our order. It is never filled whole."""

Step = tuple[str, int, int]
"""What happens, how much of it, and how many milliseconds after the step before."""


class Market:
    """The bids at one price."""

    def __init__(self, first: int, steps: list[Step], joins_at: int) -> None:
        self.queue = [[first]]
        """Orders as lists of one number: two of a size are two."""
        self.time = START_MS + 1_000
        self.trades: list[tuple[int, int, int]] = []
        self.due: list[int] = []
        """For each trade, what our order has got once its aggressor is done."""
        self.books: list[tuple[int, int]] = []
        self._ahead: list[list[int]] | None = None
        self._got = 0
        for kind, quantity, later in [("show", 0, 0), *steps, ("show", 0, 1)]:
            self.time += later
            getattr(self, f"_{kind}")(quantity)
            if kind == "show" and len(self.books) == joins_at + 1:
                self._ahead = list(self.queue)

    def _show(self, _: int) -> None:
        self.books.append((self.time, sum(each for (each,) in self.queue)))

    def _add(self, quantity: int) -> None:
        self.queue.append([quantity])

    def _cancel(self, place: int) -> None:
        if self.queue:
            del self.queue[place % len(self.queue)]

    def _sell(self, volume: int) -> None:
        if self._ahead is not None:
            alive = {id(each) for each in self.queue}
            front = sum(each[0] for each in self._ahead if id(each) in alive)
            self._got += max(volume - front, 0)
        here = min(volume, sum(each for (each,) in self.queue))
        for price, quantity in ((PRICE, here), (THROUGH, volume - here)):
            if quantity:
                self.trades.append((self.time, price, quantity))
                self.due.append(self._got)
        while here:
            taken = min(self.queue[0][0], here)
            self.queue[0][0] -= taken
            here -= taken
            if not self.queue[0][0]:
                del self.queue[0]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "cancel", "sell", "sell", "show", "show"]),
        st.integers(1, 12),
        st.sampled_from([0, 0, 1, 2]),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 20), st.integers(0, 5), st.lists(st.booleans(), max_size=40))
@example([("sell", 5, 0), ("show", 0, 0), ("sell", 5, 1)], 10, 1, [True, True])
def test_no_order_is_filled_sooner_than_in_a_market_that_knows_its_place(
    steps: list[Step], first: int, joins_at: int, turns: list[bool]
) -> None:
    market = Market(first, steps, joins_at)
    world = World(bids=[(98, 1)], asks=[(110, 1)])
    books, trades, due = iter(market.books), iter(market.trades), iter(market.due)
    shown = 0
    for is_book in [*turns, *[True] * len(market.books), *[False] * len(market.trades)]:
        if is_book:
            for time, displayed in [each for each in [next(books, None)] if each]:
                world.book([(PRICE, displayed)], time=time)
                shown += 1
                if shown == joins_at + 1:
                    world.place(BUY, PRICE, SIZE)
        else:
            for time, price, quantity in [each for each in [next(trades, None)] if each]:
                world.trade(price, quantity, time=time)
                assert world.held() <= next(due)
