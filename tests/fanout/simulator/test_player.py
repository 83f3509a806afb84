"""Playing: on time by a virtual clock, and flat out at the pace of the slowest reader."""

from collections.abc import Iterable, Iterator
from itertools import count

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fanout.simulator.connection.streams import SETTLED_BYTES, Streams, Subscriber
from fanout.simulator.dialects.base import Session
from fanout.simulator.dialects.binance_usdm.routes import PUBLIC
from fanout.simulator.market.ticks import Tick
from fanout.simulator.player import BURST_TICKS, play_flat_out, play_on_time
from tests.fanout.simulator.support import USDM, tick, trade

NS_PER_S = 1_000_000_000


def at(*seconds: float) -> list[Tick]:
    return [tick(trade(number), int(s * NS_PER_S)) for number, s in enumerate(seconds)]


class Recorder(trio.abc.Instrument):
    """How many ticks were published, and when, in each turn of the player's."""

    def __init__(self) -> None:
        self.bursts: list[tuple[float, int]] = []
        self._turn_is_over = True

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._turn_is_over = True

    def __call__(self, tick: Tick) -> None:
        if self._turn_is_over:
            self.bursts.append((trio.current_time(), 0))
            self._turn_is_over = False
        when, count = self.bursts[-1]
        self.bursts[-1] = (when, count + 1)

    @property
    def count(self) -> int:
        return sum(count for _, count in self.bursts)


async def played(ticks: Iterable[Tick], speed: float) -> list[tuple[float, int]]:
    recorder, started_s = Recorder(), trio.current_time()
    trio.lowlevel.add_instrument(recorder)
    await play_on_time(iter(ticks), recorder, speed)
    trio.lowlevel.remove_instrument(recorder)
    return [(round(when - started_s, 6), count) for when, count in recorder.bursts]


async def test_a_tick_is_published_before_the_next_one_is_asked_for(
    autojump_clock: MockClock,
) -> None:
    published: list[Tick] = []

    def ticks() -> Iterator[Tick]:
        for number, each in enumerate(at(0, 0, 0, 5)):
            assert len(published) == number
            yield each

    await play_on_time(ticks(), published.append, 1.0)
    assert len(published) == 4


async def test_a_tick_is_published_when_it_is_due(autojump_clock: MockClock) -> None:
    assert await played(at(0, 1.5, 60), speed=1.0) == [(0, 1), (1.5, 1), (60, 1)]


async def test_ticks_due_together_are_one_burst(autojump_clock: MockClock) -> None:
    assert await played(at(1, 1, 1, 2), speed=1.0) == [(1, 3), (2, 1)]


async def test_speed_divides_the_waiting(autojump_clock: MockClock) -> None:
    assert await played(at(0, 10, 30), speed=10.0) == [(0, 1), (1, 1), (3, 1)]
    assert await played(at(0, 10), speed=0.5) == [(0, 1), (20, 1)]


async def test_overdue_ticks_are_published_in_bounded_bursts(
    autojump_clock: MockClock,
) -> None:
    bursts = await played(at(*[1] * (BURST_TICKS + 5)), speed=1.0)
    assert bursts == [(1, BURST_TICKS), (1, 5)]


async def test_odd_due_times_and_speeds_come_to_an_end(autojump_clock: MockClock) -> None:
    ticks = at(*(number / 7 for number in range(300)))
    assert sum(count for _, count in await played(ticks, speed=1 / 3)) == 300


async def test_a_market_without_ticks_ends_at_once(autojump_clock: MockClock) -> None:
    assert await played([], speed=1.0) == []


def subscriber(streams: Streams) -> Subscriber:
    listener = Subscriber(PUBLIC)
    streams.tune(listener, Session(("btcusdt@trade",)))
    return listener


async def test_flat_out_the_market_waits_for_a_subscriber(
    nursery: trio.Nursery,
) -> None:
    streams, recorder = Streams(USDM, ["BTCUSDT"]), Recorder()
    nursery.start_soon(play_flat_out, iter(at(0, 0)), recorder, streams)
    await wait_all_tasks_blocked()
    assert recorder.count == 0
    subscriber(streams)
    await wait_all_tasks_blocked()
    assert recorder.count == 2


async def test_flat_out_the_market_waits_for_its_slowest_subscriber(nursery: trio.Nursery) -> None:
    streams = Streams(USDM, ["BTCUSDT"])
    quick, slow = subscriber(streams), subscriber(streams)
    endless = (tick(trade(number)) for number in count())
    nursery.start_soon(play_flat_out, endless, lambda each: streams.publish([each]), streams)
    await wait_all_tasks_blocked()
    first = len(await quick.outbox.take())
    quick.outbox.written(first)
    await wait_all_tasks_blocked()
    assert not slow.outbox.overflown.is_set()
    assert SETTLED_BYTES < slow.outbox.backlog_bytes < 2 * SETTLED_BYTES
    assert slow.outbox.backlog_bytes == quick.outbox.backlog_bytes + first


async def test_flat_out_a_subscriber_that_leaves_does_not_stop_the_market(
    nursery: trio.Nursery,
) -> None:
    streams, recorder = Streams(USDM, ["BTCUSDT"]), Recorder()

    def publish(each: Tick) -> None:
        recorder(each)
        streams.publish([each])

    stuck = subscriber(streams)
    nursery.start_soon(play_flat_out, iter(at(*[0] * 5_000)), publish, streams)
    await wait_all_tasks_blocked()
    assert recorder.count < 5_000
    subscriber(streams).outbox.close()
    streams.leave(stuck)
    await wait_all_tasks_blocked()
    assert recorder.count == 5_000
