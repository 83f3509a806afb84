"""Readers that join in the midst of faults of a depth stream. Nobody tells them the states from
before, so a book that they get has to be the exchange's of now."""

import random

import pytest
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed.book_sync import WAIT_S
from fanout.feed.books import FIRST_PAUSE_S, LONGEST_PAUSE_S
from fanout.protocol.book_records import BookUpdate
from fanout.venues.binance.venue import DEPTH_BYTES
from tests.fanout.feed.running import running_feed
from tests.stand.book_reader import BOOK, BTC, BookReader, Joiner, settled
from tests.stand.loopback import Exchange


@pytest.mark.parametrize("outage", [1, 4])
async def test_nobody_who_joins_gets_a_book_whose_snapshot_came_during_an_outage(
    outage: int, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        exchange.rest_fault = VenueUnreachableError("no route")
        exchange.change(BTC, {"61800.10": "1.000"})
        await settled()
        exchange.refusals = [VenueUnreachableError("no route")] * outage
        joiners = [Joiner(running)]
        exchange.sockets[0].break_off()
        exchange.rest_fault = None
        await settled(2 * FIRST_PAUSE_S)
        assert not any(isinstance(each, BookUpdate) for each in reader.read())
        exchange.change(BTC, {"61800.10": "2.000"})
        joiners.append(Joiner(running))
        assert [each.shows() for each in joiners] == [False] * 2, "its feed is DOWN"
        await settled(LONGEST_PAUSE_S)
        exchange.change(BTC, {"61800.10": "3.000"})
        await settled(2 * FIRST_PAUSE_S)
        assert reader.is_live()
        joiners.append(Joiner(running))
        assert [each.shows() for each in joiners] == [True] * 3


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_who_joins_amid_many_faults_ever_gets_a_wrong_book(
    seed: int, autojump_clock: MockClock
) -> None:
    dice = random.Random(seed)
    exchange = Exchange(BTC)
    connections = 1 + seed % 2
    config = FeedConfig(connections=connections)
    async with running_feed(exchange, config, data=BOOK) as running:
        await settled(2)
        reader = BookReader(running)
        joiners: list[Joiner] = []
        seen = set[bool]()
        for _ in range(40):
            _do_mischief(exchange, dice)
            await settled(dice.choice((0, 0, 0.1, 1)))
            exchange.change(BTC, _some_levels(dice))
            await settled(WAIT_S * 1.5 if connections > 1 else 0)
            joiners.append(Joiner(running))
            seen |= {reader.is_live(), *(each.shows() for each in joiners[-4:])}
        assert seen == {True, False}
        exchange.rest_fault = None
        exchange.snapshots.clear()
        for _ in range(int(LONGEST_PAUSE_S) + 10):
            exchange.change(BTC, _some_levels(dice))
            await settled(1)
        assert reader.is_live()
        assert all(each.shows() for each in joiners)


def _some_levels(dice: random.Random) -> dict[str, str]:
    return {f"61800.{dice.randrange(10, 20)}": f"{dice.randrange(4)}.000"}


def _do_mischief(exchange: Exchange, dice: random.Random) -> None:
    """One fault of the stream or of REST, which the next change brings to light."""
    levels = _some_levels(dice)
    match dice.randrange(10):
        case 0:
            exchange.change(BTC, levels, skip=True)
        case 1:
            late = exchange.change(BTC, levels, skip=True)
            exchange.change(BTC, _some_levels(dice))
            exchange.tell_change(late, *exchange.sockets)
        case 2:
            exchange.change(BTC, levels, b=7)
        case 3:
            exchange.change(BTC, levels, pad="x" * DEPTH_BYTES)
        case 4:
            exchange.change(BTC, levels, b=[("61900.00", "1.000")])
        case 5:
            for socket in exchange.sockets:
                socket.break_off()
            exchange.refusals = [VenueUnreachableError("no route")] * dice.randrange(3)
        case 6:
            exchange.snapshots[BTC] = [exchange.books[BTC].snapshot()] * dice.randrange(1, 3)
        case 7:
            exchange.rest_fault = dice.choice((None, VenueUnreachableError("no route")))
        case 8:
            exchange.rest_delay_s = dice.choice((0, 0.05, 2.0))
        case _:
            for socket in exchange.sockets[:1]:  # the other one, if there is one, brings it
                exchange.tell_change(exchange.change(BTC, levels, skip=True), socket)
