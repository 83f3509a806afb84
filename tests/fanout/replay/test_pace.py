import math

import pytest
import trio
from trio.testing import MockClock

from fanout.replay.pace import LONGEST_HOLE_NS, Pace

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
async def test_a_time_is_due_as_long_after_the_first_as_it_was(
    autojump_clock: MockClock, speed: float
) -> None:
    pace, begun_s = Pace(speed), trio.current_time()
    for after_s in (0, 0.25, 3, 3, 4.5):
        await trio.sleep(pace.wait_s(BEGIN_NS + int(after_s * SECOND_NS)))
        assert trio.current_time() - begun_s == pytest.approx(after_s / speed)


async def test_without_limit_nothing_is_waited_for(autojump_clock: MockClock) -> None:
    pace = Pace(math.inf)
    assert [pace.wait_s(BEGIN_NS + each * SECOND_NS) for each in (0, 1, 86_400)] == [0.0] * 3
    assert pace.time_ns == BEGIN_NS + 86_400 * SECOND_NS


async def test_a_time_that_goes_back_is_due_at_once(autojump_clock: MockClock) -> None:
    pace = Pace(1.0)
    pace.wait_s(BEGIN_NS)
    assert pace.wait_s(BEGIN_NS - SECOND_NS) == 0.0
    assert pace.time_ns == BEGIN_NS


async def test_a_hole_of_hours_is_waited_for_as_one_of_seconds(autojump_clock: MockClock) -> None:
    pace = Pace(2.0)
    pace.wait_s(BEGIN_NS)
    hole_s = LONGEST_HOLE_NS / SECOND_NS
    wait_s = pace.wait_s(BEGIN_NS + 7_200 * SECOND_NS)
    assert wait_s == pytest.approx(hole_s / 2)
    await trio.sleep(wait_s)
    assert pace.wait_s(BEGIN_NS + 7_201 * SECOND_NS) == pytest.approx(0.5)


async def test_a_replay_that_is_late_catches_up(autojump_clock: MockClock) -> None:
    pace = Pace(1.0)
    pace.wait_s(BEGIN_NS)
    await trio.sleep(1.0)
    assert pace.wait_s(BEGIN_NS + SECOND_NS // 2) == 0.0
    assert pace.wait_s(BEGIN_NS + 3 * SECOND_NS // 2) == pytest.approx(0.5)
