"""Scenes that make sense at every venue, whatever its ids prove and wherever its books come from.

The suite plays three of them: a connection that is lost, messages that are lost, and a book that is
broken. FANOUT_EVERY_VENUE=1 plays all.
"""

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import UsageError
from fanout.simulator.faults import (
    Delay,
    Drop,
    Empty,
    Fault,
    Garbage,
    Http,
    Malformed,
    Repeat,
    Shuffle,
    Shutdown,
    Silence,
    Skip,
    Stall,
    Unchain,
    UnknownEvent,
)
from fanout.venues import VENUES, Continuity
from tests.misbehaviour.scene import Scene, playing
from tests.thoroughness import EVERY_VENUE

LOST_CHANGES = Skip(count=3, stream="depth")
BREAK = Unchain()
"""Where books have no ids, `LOST_CHANGES` takes its place. Nothing tells of those but a
book that they leave crossed."""

ALWAYS: tuple[Fault, ...] = (Drop(), Skip(count=3))
MORE: tuple[Fault, ...] = (
    *(Drop(how="cut"), Drop(how="reset"), Drop(how="half-open"), Drop(code=1008)),
    *(Stall(for_s=3), Stall(for_s=30), Shutdown(), Malformed(), UnknownEvent()),
    *(Garbage(), Garbage(framed=False)),
    *(Silence(for_s=5), Skip(count=50), Repeat(count=5), Delay(count=5, by=3), Shuffle(window=4)),
    *(Http(status=503, requests=3), Http(status=429, retry_after_s=2), Http(body="<html>")),
)
ALWAYS_OF_BOOKS: tuple[Fault, ...] = (BREAK,)
MORE_OF_BOOKS: tuple[Fault, ...] = (
    *(Drop(), Drop(how="half-open"), LOST_CHANGES, Empty()),
    *(Shuffle(window=3, stream="depth"), Repeat(count=3, stream="depth"), Silence(for_s=5)),
)

A_WHILE_S = 8.0
"""Longer than the service needs to ask REST for what a new connection may have missed."""


def played(always: tuple[Fault, ...], more: tuple[Fault, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", always + more * EVERY_VENUE, ids=repr)


def inject(scene: Scene, fault: Fault) -> None:
    """A venue may refuse a fault that it cannot have. Then the scene goes on without."""
    try:
        scene.inject(fault)
    except UsageError as error:
        pytest.skip(str(error))


async def trades_go_on(scene: Scene) -> None:
    """Wait until each symbol trades again after a while."""
    await trio.sleep(A_WHILE_S)
    before = len(scene.trades)
    everything = set(scene.symbols)
    await scene.until(lambda: {each.symbol for each in scene.trades[before:]} == everything)
    await scene.until(lambda: scene.is_quiet)


@played(ALWAYS, MORE)
async def test_every_trade_is_received_or_accounted_for(
    autojump_clock: MockClock, any_venue: str, fault: Fault
) -> None:
    async with playing(venue=any_venue) as scene:
        inject(scene, fault)
        await trades_go_on(scene)
    scene.account()
    if VENUES[any_venue].continuity is Continuity.IDS and not isinstance(fault, Http):
        assert not any(map(scene.lost, scene.symbols)), "REST has what is missing"
        if isinstance(fault, Skip):
            assert sum(each.back_filled for each in scene.trades) >= fault.count


@pytest.mark.skipif(not EVERY_VENUE, reason="FANOUT_EVERY_VENUE=1 plays it")
async def test_trades_of_a_restart_with_a_journal_are_back_filled_or_accounted_for(
    autojump_clock: MockClock, any_venue: str
) -> None:
    async with playing(venue=any_venue, away_s=3) as scene:
        await trades_go_on(scene)
    scene.account()
    assert sum(each.back_filled for each in scene.trades) >= 10, "of some 60 ids"


@played(ALWAYS_OF_BOOKS, MORE_OF_BOOKS)
async def test_the_books_are_the_exchanges_again(
    autojump_clock: MockClock, any_venue: str, fault: Fault
) -> None:
    has_ids = VENUES[any_venue].has_book_ids
    if fault == BREAK and not has_ids:
        fault = LOST_CHANGES
    async with playing(venue=any_venue, rate=2, data=("trades", "book"), count=1) as scene:
        await scene.until(lambda: scene.are_books_the_exchanges)
        scene.told()
        inject(scene, fault)
        await trades_go_on(scene)
        states = [each[-1] for each in scene.told(scene.symbols[0])]
        if fault == BREAK:
            assert states == ["STALE", "LIVE"]
        elif not has_ids and isinstance(fault, Skip | Shuffle):
            assert scene.wrong_books or states == ["STALE", "LIVE"]
            scene.wrong_books.clear()
        await scene.until(lambda: scene.are_books_the_exchanges)
    scene.account()
