"""Plays a market's ticks: on time, or as fast as the readers take them.

On time, everything due is published as one burst, and nobody is waited for. Flat out, nothing is
lost: a burst follows when the slowest subscriber has nearly caught up with the one before, and
while nobody listens at all the market stands still.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import trio

from fanout.simulator.clock import NS_PER_S
from fanout.simulator.streams import Streams
from fanout.simulator.ticks import Tick

BURST_TICKS: Final = 512  # published without giving others a turn

Publish = Callable[[list[Tick]], None]


async def play_on_time(ticks: Iterator[Tick], publish: Publish, speed: float) -> None:
    """Play every tick at its `due_ns`, in market time, which runs `speed` times as fast as ours."""
    started_s = trio.current_time()
    tick = next(ticks, None)
    while tick is not None:
        await trio.sleep_until(started_s + tick.due_ns / NS_PER_S / speed)
        elapsed_ns = int((trio.current_time() - started_s) * speed * NS_PER_S)
        # The tick we woke for is due, whatever the rounding of floats says.
        burst, tick = _due(tick, ticks, max(elapsed_ns, tick.due_ns))
        publish(burst)


async def play_flat_out(ticks: Iterator[Tick], publish: Publish, streams: Streams) -> None:
    while burst := list(islice(ticks, BURST_TICKS)):
        await streams.audience()
        publish(burst)
        await streams.settled()


def _due(first: Tick, rest: Iterator[Tick], now_ns: int) -> tuple[list[Tick], Tick | None]:
    """The first tick and those that are due with it; and the one after them."""
    burst = [first]
    for tick in rest:
        if tick.due_ns > now_ns or len(burst) == BURST_TICKS:
            return burst, tick
        burst.append(tick)
    return burst, None
