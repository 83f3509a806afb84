"""Processes that are killed, stopped or starved at random moments, a round each.

Killing a bare writer of a queue, hundreds of times, is `tests.stress.shm kills`; killing `fanout
tail`, and going on where it was, is part of the soak.
"""

import random
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from fanout.net.websocket import IDLE_TIMEOUT_S
from fanout.protocol import LossReason
from tests.faults.house import IDLE_S, ORDERLY, RING_BYTES, House, opened
from tests.faults.journal import service_with_journal_killed
from tests.faults.multicast import (
    door_shut_to_receiver_of_multicast,
    receiver_of_multicast_stopped,
    service_with_multicast_killed,
    service_with_multicast_stopped,
)
from tests.stand.consumers import TrioConsumer, of_ring
from tests.stand.service import serving

LONGEST_WAIT_S: Final = 0.4
STOPPED_S: Final = IDLE_S + 1.0
LONG_S: Final = 2 * IDLE_TIMEOUT_S + 2.0
SCARCE_BYTES: Final = 4 * 1024 * 1024
"""About where memory is out amid the work: what is missing, or left, is less than that."""

ENDS: Final = (1, ORDERLY, -signal.SIGALRM)
"""How a service without memory may end: with a line, in good order, or by the system."""

Round = Callable[[Path, random.Random], Awaitable[None]]


@asynccontextmanager
async def _visited(house: House) -> AsyncIterator[trio.Nursery]:
    """Consumers that have got something."""
    async with trio.open_nursery() as nursery:
        house.admit(nursery)
        await house.more_trades(1)
        yield nursery


async def service_killed(directory: Path, chance: random.Random) -> None:
    """Those of TCP and of the queue are told, come back to the next one, and lose nothing that
    they are not told of."""
    async with opened(directory) as house, trio.open_nursery() as nursery:
        async with house.forked() as service:
            house.admit(nursery)
            await house.more_trades(1)
            await trio.sleep(chance.random() * LONGEST_WAIT_S)
            service.signal(signal.SIGKILL)
            await house.until(lambda: all(each.reader.disconnects for each in house.consumers))
        async with house.forked():
            await house.more_trades()
            await house.end()
    assert all(each.reader.restarts == 1 for each in house.consumers)


async def service_stopped(directory: Path, chance: random.Random) -> None:
    """For longer than consumers wait: they go, come back and have lost nothing."""
    async with opened(directory) as house, house.forked() as service, _visited(house):
        await trio.sleep(chance.random() * LONGEST_WAIT_S)
        service.signal(signal.SIGSTOP)
        began_s = trio.current_time()
        await house.until(lambda: all(each.reader.disconnects for each in house.consumers))
        assert trio.current_time() - began_s < STOPPED_S + 1, "silence is told within seconds"
        service.signal(signal.SIGCONT)
        await house.more_trades()
        await house.end()
    over_tcp = [each for each in house.consumers if each.reader.name != "shm"]
    assert not any(each.reader.losses for each in over_tcp)


async def service_stopped_for_long(directory: Path, chance: random.Random) -> None:
    """For longer than any wait of ours or of its own: it finds the exchange and its consumers
    again, and what it missed."""
    async with opened(directory) as house, house.forked() as service, _visited(house):
        service.signal(signal.SIGSTOP)
        await trio.sleep(LONG_S)
        service.signal(signal.SIGCONT)
        await house.more_trades()
        await house.end()


async def consumer_stopped(directory: Path, chance: random.Random) -> None:
    """For longer than the service waits for it. Nobody else notices."""
    async with opened(directory) as house, house.forked(), _visited(house) as nursery:
        tail = house.tail("tail", house.door.url("tcp"), nursery)
        await house.until(lambda: tail.reader.trades > 0)
        await trio.sleep(chance.random() * LONGEST_WAIT_S)
        tail.signal(signal.SIGSTOP)
        await trio.sleep(STOPPED_S)
        tail.signal(signal.SIGCONT)
        house.consumers.append(tail)
        await house.more_trades()
        await house.end()
    assert not any(each.reader.disconnects for each in house.consumers if each is not tail)


async def reader_of_queue_killed(directory: Path, chance: random.Random) -> None:
    """What it was handing over comes again to the next one, and nothing is missing in between."""
    async with opened(directory) as house, house.forked():
        house.simulator.release()
        due = None
        for number in range(3):
            async with trio.open_nursery() as nursery:
                tail = house.tail(f"reader {number}", f"shm://{house.queue}", nursery)
                await house.until(lambda: tail.reader.trades > 0)  # noqa: B023
                first = (tail.reader.due or 0) - tail.reader.got - tail.reader.losses.total()
                assert due is None or first <= due, "the next one begins where this one was"
                await trio.sleep(chance.random() * LONGEST_WAIT_S)
                tail.kill()
            due = tail.reader.due
        house.require_calm()
        house.oracle.check()


async def reader_of_queue_stopped(directory: Path, chance: random.Random) -> None:
    """Until the queue is full: it is told exactly what it missed."""
    loud = opened(directory, rate=1_000)
    async with loud as house, house.forked(), trio.open_nursery() as nursery:
        house.watch(nursery)
        tail = house.tail("reader", f"shm://{house.queue}", nursery)
        await house.until(lambda: tail.reader.trades > 0)
        await trio.sleep(chance.random() * LONGEST_WAIT_S)
        tail.signal(signal.SIGSTOP)
        await trio.sleep(1.5)
        tail.signal(signal.SIGCONT)
        house.consumers.append(tail)
        await house.more_trades()
        await house.end()
    assert set(tail.reader.losses) == {LossReason.QUEUE_FULL}


async def reader_of_ring_stopped(directory: Path, chance: random.Random) -> None:
    """Until the ring has gone round: it is told exactly what it missed, and nobody else notices."""
    loud = opened(directory, rate=3_000)
    async with loud as house, house.forked(), trio.open_nursery() as nursery:
        house.watch(nursery)
        quick = of_ring(house.oracle, "quick", f"ring://{house.ring}", start="oldest")
        nursery.start_soon(quick.run)
        tail = house.tail("reader", f"ring://{house.ring}", nursery)
        await house.until(lambda: tail.reader.trades > 0 and quick.reader.trades > 0)
        await trio.sleep(chance.random() * LONGEST_WAIT_S)
        tail.signal(signal.SIGSTOP)
        began = quick.reader.trades
        # A trade takes more than ten bytes of the ring.
        await house.until(lambda: quick.reader.trades - began > RING_BYTES // 10)
        tail.signal(signal.SIGCONT)
        house.consumers += [quick, tail]
        await house.more_trades()
        await house.end()
    assert LossReason.SLOW in tail.reader.losses
    assert LossReason.SLOW not in quick.reader.losses


async def short_of_memory_at_start(directory: Path, chance: random.Random) -> None:
    """It serves or says that it cannot, and ends when it is told to."""
    async with opened(directory) as house:
        async with house.served() as service:
            needed = service.peak_bytes
        limit = needed - chance.randrange(SCARCE_BYTES)
        limit_it = partial(resource.setrlimit, resource.RLIMIT_AS, (limit, limit))
        log = directory / "log-short"
        async with serving(*house.options(), log=log, preexec_fn=limit_it) as service:
            with trio.move_on_after(STOPPED_S):
                await service.wait()
            code = await service.end()
            # It may be still at its imports, and has said nothing of signals yet.
            assert code in (*ENDS, -signal.SIGTERM), (code, service.said)


async def short_of_memory_when_crowded(directory: Path, chance: random.Random) -> None:
    """Nobody is told what is not so, and it ends when it is told to."""
    async with (
        opened(directory) as house,
        house.served() as service,
        trio.open_nursery() as nursery,
    ):
        house.watch(nursery)
        await house.more_trades()
        limit = service.peak_bytes + chance.randrange(SCARCE_BYTES)
        resource.prlimit(service.pid, resource.RLIMIT_AS, (limit, limit))
        for number in range(30):
            late = TrioConsumer(house.oracle, f"{number}", house.door.url("tcp"), start="oldest")
            nursery.start_soon(late.run)
        with trio.move_on_after(STOPPED_S):
            await service.wait()
        code = await service.end()
        assert code in ENDS, (code, service.said)
        nursery.cancel_scope.cancel()
        house.oracle.check()


ROUNDS: Final[tuple[Round, ...]] = (
    service_killed,
    service_with_journal_killed,
    service_with_multicast_killed,
    service_stopped,
    consumer_stopped,
    reader_of_queue_killed,
    reader_of_queue_stopped,
    short_of_memory_at_start,
    short_of_memory_when_crowded,
)
"""Those that take seconds, and that the suite plays once each."""

LONG_ROUNDS: Final[tuple[Round, ...]] = (
    service_stopped_for_long,
    reader_of_ring_stopped,
    service_with_multicast_stopped,
    receiver_of_multicast_stopped,
    door_shut_to_receiver_of_multicast,
)
"""Those that take longer."""
