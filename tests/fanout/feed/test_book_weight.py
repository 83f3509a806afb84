"""Fifty order books after a reconnect: how soon they are whole, and what that costs at REST."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from fanout.feed.recovery import FIRST_SYMBOLS
from fanout.net.budget import MINUTE_S, Budget
from fanout.protocol import DataKinds, FeedState
from fanout.venues import Request
from fanout.venues.binance.usdm import WEIGHT_LIMIT
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.stand.book_reader import ALL, BOOK, BookReader, settled
from tests.stand.loopback import Exchange

SYMBOLS = [f"SYM{number}USDT" for number in range(50)]
ANSWER_S = 0.25
WHOLE_S = 10.0
BOOK_WEIGHT = 20


class Rest:
    """REST that takes its time, within a budget, in place of the exchange's own."""

    def __init__(self, exchange: Exchange) -> None:
        self._fetch = exchange.fetch
        self._budget = exchange.budget = Budget(WEIGHT_LIMIT, wall_s=trio.current_time)
        self.asked: list[Request] = []

    async def fetch(self, request: Request, parse: Callable[[bytes], object]) -> object:
        while (pause_s := self._budget.wait_s(request.weight)) > 0:  # noqa: ASYNC110
            await trio.sleep(pause_s)
        self._budget.spend(request.weight)
        self.asked.append(request)
        await trio.sleep(ANSWER_S)
        return await self._fetch(request, parse)

    def symbols_of(self, resource: str) -> list[str]:
        """Of each request, in order."""
        return [each.query["symbol"] for each in self.asked if each.path.endswith(resource)]


async def tick(exchange: Exchange) -> None:
    """A quarter of a second, in which everything of every symbol comes once."""
    for symbol in SYMBOLS:
        exchange.trade(symbol)
        exchange.quote(symbol)
        exchange.change(symbol, {"61800.00": "1.000"})
    await settled(0.25)


def are_whole(exchange: Exchange, reader: BookReader) -> bool:
    """Whether all symbols are LIVE, and each book is the exchange's."""
    reader.read()
    return all(
        reader.states.get(symbol) is FeedState.LIVE
        and reader.books[symbol].update_id == exchange.books[symbol].update_id
        for symbol in SYMBOLS
    )


async def cut(exchange: Exchange, stale: int) -> None:
    """Cut the connection, and change every symbol meanwhile. So many of the next snapshots are
    older than that."""
    exchange.sockets[0].break_off()
    await settled()
    for symbol in SYMBOLS:
        exchange.trade(symbol)
        exchange.change(symbol, {"61800.00": "2.000"})
    for symbol in SYMBOLS[:stale]:
        exchange.snapshots[symbol] = [exchange.books[symbol].snapshot()]
        exchange.change(symbol, {"61800.00": "3.000"})


def are_closed(running: RunningFeed) -> bool:
    """Whether every symbol had a gap, and none is open."""
    accounts = [running.accounted(symbol) for symbol in SYMBOLS]
    return all(opened and opened == closed for _, opened, closed in accounts)


@pytest.mark.parametrize(
    ("data", "stale"),
    [(BOOK, 0), (BOOK, 8), (ALL, 8)],
    ids=["books", "books, eight snapshots twice", "books and gaps, eight snapshots twice"],
)
async def test_fifty_books_are_whole_within_ten_seconds_for_less_than_half_a_minutes_weight(
    data: DataKinds, stale: int, autojump_clock: MockClock
) -> None:
    exchange = Exchange(*SYMBOLS)
    rest = Rest(exchange)
    exchange.fetch = rest.fetch  # type: ignore[method-assign, assignment]
    for symbol in SYMBOLS:
        exchange.trade(symbol)
    async with running_feed(exchange, data=data, patterns=tuple(SYMBOLS)) as running:
        reader = BookReader(running)
        for _ in range(12):  # the weight of the start was that of minutes before
            await tick(exchange)
            await trio.sleep(MINUTE_S / 6)
        assert are_whole(exchange, reader)

        rest.asked.clear()
        began_s = trio.current_time()
        await cut(exchange, stale)
        await tick(exchange)
        while not are_whole(exchange, reader):
            await tick(exchange)
        assert trio.current_time() - began_s < WHOLE_S
        assert len(rest.symbols_of("/depth")) == len(SYMBOLS) + stale
        assert BOOK_WEIGHT * (len(SYMBOLS) + stale) < 0.5 * WEIGHT_LIMIT
        assert sum(each.weight for each in rest.asked) <= 0.5 * WEIGHT_LIMIT
        if DataKinds.TRADES in data:
            early = rest.symbols_of("/trades")[:FIRST_SYMBOLS]
            assert sorted(early) == SYMBOLS[:FIRST_SYMBOLS], "these wait for no book"
            await trio.sleep(MINUTE_S)
            assert are_closed(running)
