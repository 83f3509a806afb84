"""Calls of `quote`, by CPU time.

    python -m tests.bench.paper_parts.quoting SECONDS

prints a line of JSON for each line on its input: what one `sample` gives.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from fanout.protocol import BookUpdate, OrderBook
from fanout.trading.strategies.avellaneda_stoikov import AvellanedaStoikov
from fanout.trading.strategies.base import Stateless, View
from fanout.trading.strategies.basic import Basic
from fanout.trading.strategies.glft import Glft
from tests.bench.paper_parts.recorded import INSTRUMENT, stream

SIZES: Final = {"quantity": 100, "position_limit": 1_000}
HELD: Final = 150
"""The position, so that prices are skewed and a side is smaller."""
STRATEGIES: Final[dict[str, Stateless]] = {
    "basic": Basic(spread_bps=0.5, min_spread=0.1, max_spread=50, skew_bps=0.5, **SIZES),
    "Avellaneda-Stoikov": AvellanedaStoikov(gamma=0.01, sigma=2, k=2, tau=10, **SIZES),
    "GLFT": Glft(gamma=0.05, sigma=2, k=2, a=20, delta=0.1, **SIZES),
}
MADE: Final = "a View made, and basic"


class Quoting:
    """What the strategies saw in so many seconds of the recording."""

    def __init__(self, seconds: float) -> None:
        self.views = list(dict.fromkeys(_views(seconds)))

    def sample(self) -> dict[str, float]:
        """Nanoseconds of a call, by strategy, with the loop around it."""
        found = {name: self._taken_ns(each.quote) for name, each in STRATEGIES.items()}
        return found | {MADE: self._taken_ns(_as_the_desk)}

    def _taken_ns(self, quote: Callable[[View], object]) -> float:
        views = self.views
        began_ns = time.thread_time_ns()
        for view in views:
            quote(view)
        return (time.thread_time_ns() - began_ns) / len(views)


def _as_the_desk(view: View) -> object:
    made = View(
        time_ns=view.time_ns,
        instrument=view.instrument,
        bid=view.bid,
        ask=view.ask,
        position=view.position,
    )
    return STRATEGIES["basic"].quote(made)


def _views(seconds: float) -> list[View]:
    book, views = OrderBook(), []
    for each in stream(seconds):
        if isinstance(each, BookUpdate):
            book.apply(each)
            bid, ask = book.best_bid, book.best_ask
            assert bid is not None, "the recorded book has bids"
            assert ask is not None, "the recorded book has asks"
            views.append(
                View(
                    time_ns=each.received_ns,
                    instrument=INSTRUMENT,
                    bid=bid,
                    ask=ask,
                    position=HELD,
                )
            )
    return views


def main(seconds: float, hear: Callable[[], str]) -> None:
    quoting = Quoting(seconds)
    while hear():
        print(msgspec.json.encode(quoting.sample()).decode(), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.stdin.readline)
