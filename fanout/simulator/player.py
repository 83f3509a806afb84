"""Plays a market's ticks: on time, or as fast as the subscribers read.

On time, all due ticks are published at once, without waiting for any subscriber. Flat out, nothing
is lost: each burst waits until the slowest subscriber has read most of the one before, and without
a subscriber the market pauses.

Each tick is published before the next one is generated, since a fault may change the next one.
"""

from collections.abc import Callable, Iterator
from typing import Final

import trio

from fanout.simulator.connection.streams import Streams
from fanout.simulator.market.clock import NS_PER_S
from fanout.simulator.market.ticks import Tick

BURST_TICKS: Final = 512  # published before other tasks get a turn

Publish = Callable[[Tick], None]


async def play_on_time(ticks: Iterator[Tick], publish: Publish, speed: float) -> None:
    """Play each tick at its `due_ns`, in market time, which is `speed` times as fast as trio's."""
    started_s = trio.current_time()
    published = 0
    for tick in ticks:
        due_s = started_s + tick.due_ns / NS_PER_S / speed
        if published == BURST_TICKS or due_s > trio.current_time():
            await trio.sleep_until(due_s)
            published = 0
        publish(tick)
        published += 1


async def play_flat_out(ticks: Iterator[Tick], publish: Publish, streams: Streams) -> None:
    for number, tick in enumerate(ticks):
        if number % BURST_TICKS == 0:
            await streams.settled()
            await streams.audience()
        publish(tick)
