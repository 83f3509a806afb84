"""Plays a market's ticks: on time, or as fast as the readers take them.

On time, all ticks that are due are published at once, and no subscriber is waited for. Flat out,
nothing is lost: a burst follows when the slowest subscriber has nearly caught up with the one
before, and without a subscriber the market stands still.

A tick is published before the next one is asked for, since a fault may change what follows.
"""

from collections.abc import Callable, Iterator
from typing import Final

import trio

from fanout.simulator.connection.streams import Streams
from fanout.simulator.market.clock import NS_PER_S
from fanout.simulator.market.ticks import Tick

BURST_TICKS: Final = 512  # published without giving others a turn

Publish = Callable[[Tick], None]


async def play_on_time(ticks: Iterator[Tick], publish: Publish, speed: float) -> None:
    """Play every tick at its `due_ns`, in market time, which runs `speed` times as fast as ours."""
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
