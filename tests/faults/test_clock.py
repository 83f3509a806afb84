"""The wall clock is set by an hour, forward and back, by way of the service's `wall_ns`. Whatever
waits goes by a clock that nobody sets; what is shown is what the clock says."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from fanout.feed.recovery import PATIENCE_S
from fanout.feed.venue_clock import VenueClock
from fanout.protocol import GapState, Trade
from fanout.simulator.faults import Drop, Http, Silence, Skip
from tests.fanout.cli.processes import environment
from tests.faults.house import opened
from tests.faults.scene import BTC, playing
from tests.stand.consumers import one_of_trio

HOUR_S = 3_600


class WallClock:
    """Goes on with trio's, and can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0
        self._began_s, self._began_ns = trio.current_time(), time.time_ns()

    def __call__(self) -> int:
        passed_s = trio.current_time() - self._began_s + self.ahead_s
        return self._began_ns + int(passed_s * 1e9)


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S])
async def test_nobody_notices_but_by_the_times_that_are_shown(
    autojump_clock: MockClock, set_by_s: int
) -> None:
    wall = WallClock()
    async with playing(consume=one_of_trio, rate=20, wall_ns=wall) as scene:
        for fault in (Skip(BTC, count=3), Drop()):
            wall.ahead_s = set_by_s - wall.ahead_s
            scene.simulator.faults.inject(fault)
            await trio.sleep(20)
        assert scene.gap_ids(GapState.UNRECOVERABLE) == 0
        assert scene.states.count(("", "DOWN")) == 1
        assert not any(each.reader.disconnects for each in scene.all)


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S])
async def test_a_ban_is_as_long_as_it_was_said_to_be(
    autojump_clock: MockClock, set_by_s: int
) -> None:
    """And not an hour more: gaps would be lost for all that time."""
    wall = WallClock()
    async with playing(consume=one_of_trio, rate=20, wall_ns=wall) as scene:
        scene.simulator.faults.inject(Http(status=418, path="/fapi", banned_for_s=20))
        scene.simulator.faults.inject(Skip(BTC, count=3))
        await trio.sleep(3)
        wall.ahead_s = set_by_s
        await trio.sleep(PATIENCE_S / 2)
        assert scene.gap_ids(GapState.BACK_FILLED, GapState.NO_TRADE) == 3


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S])
async def test_a_symbol_that_falls_silent_is_mended(
    autojump_clock: MockClock, set_by_s: int
) -> None:
    wall = WallClock()
    async with playing(consume=one_of_trio, rate=20, wall_ns=wall) as scene:
        await trio.sleep(65)
        wall.ahead_s = set_by_s
        await trio.sleep(65)
        scene.simulator.faults.inject(Silence(BTC, stream="trade"))
        await trio.sleep(100)
        assert scene.states[-3:] == [(BTC, "STALE"), (BTC, "CONNECTING"), (BTC, "LIVE")]


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S])
def test_the_venue_s_clock_is_compared_anew(set_by_s: int) -> None:
    """The quickest round trip of before says nothing of a clock that was set since."""
    clock = VenueClock()
    measure: Callable[[int, int], None] = lambda our_ms, round_trip_ms: clock.measured(  # noqa: E731
        asked_ns=our_ms * 1_000_000,
        venue_ms=10**12,
        answered_ns=(our_ms + round_trip_ms) * 1_000_000,
    )
    measure(10**12, 2)
    measure(10**12 + set_by_s * 1_000, 80)
    assert clock.offset is not None
    assert round(clock.offset.offset_ns / 1e9) == -set_by_s


# The same, with a process whose clock is set.


FAKETIME: Final = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is missing")
async def test_a_service_whose_clock_is_set_serves_on(tmp_path: Path) -> None:
    """Forward by an hour, back by two, and to where it was."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    faked = environment(
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    async with (
        opened(tmp_path) as house,
        house.served(env=faked) as service,
        trio.open_nursery() as nursery,
    ):
        house.admit(nursery)
        await house.more_trades()
        for hours in ("+1h", "-1h", "+0"):
            offset.write_text(hours)
            await house.more_trades()
            house.door.reset()
            house.simulator.faults.inject(Drop())
            house.simulator.faults.inject(Skip(BTC, count=3))
            await house.more_trades()
        assert service.is_running
        await house.end()
    (book,) = house.oracle.books.values()
    received = [each.received_ns for each in book.records.values() if isinstance(each, Trade)]
    assert max(received) - min(received) > 7_000 * 10**9, "the clock was set"
    assert not any(each.reader.losses for each in house.consumers if each.reader.name != "shm")
