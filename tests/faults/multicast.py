"""What befalls receivers of multicast: a service that is killed or stopped, a receiver that is
stopped, and a network that loses while TCP is shut. A round each.

Receivers that ask over TCP lose nothing. Those that cannot are told exactly what they lost.
"""

import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from fanout.clients.client import AsyncClient, BlockingClient
from fanout.clients.multicast_client import RECOVERY_S
from fanout.clients.outcomes import Received
from fanout.protocol import Loss, LossReason
from tests.faults.house import IDLE_S, House, opened
from tests.stand.consumers import Consumer, TrioConsumer, of_multicast
from tests.stand.groups import LOOPBACK, free_groups, overrun
from tests.stand.tails import Tail
from tests.stand.unsteady import Faults, UnsteadyLine

LONGEST_WAIT_S: Final = 0.4
PATIENT_S: Final = 4 * IDLE_S
"""Receivers that wait so long hear the next epoch before they take the silence for its end."""

SMALL_BYTES: Final = 16 * 1024
"""A receive buffer that a burst overruns."""

SLACK_S: Final = 0.5
"""How much later than meant things may happen on a busy machine."""


async def service_with_multicast_killed(directory: Path, chance: random.Random) -> None:
    """Nobody gets an END. Some receivers notice the silence, and some the packets of the next
    epoch. All come to it, once."""
    async with opened(directory, multicast=True) as house, trio.open_nursery() as nursery:
        async with house.forked() as service:
            house.admit(nursery)
            hasty, patient = (
                house.consumers[1:],
                house.receivers("patient", idle_timeout_s=PATIENT_S),
            )
            house.consumers += patient
            for each in patient:
                nursery.start_soon(each.run)
            await house.more_trades(1)
            await trio.sleep(chance.random() * LONGEST_WAIT_S)
            service.signal(signal.SIGKILL)
            await house.until(lambda: all(each.reader.disconnects for each in hasty))
        async with house.forked():
            await house.level()
            await house.more_trades()
            await house.end()
    assert all(each.reader.restarts == 1 for each in house.consumers)
    assert all("silent for" in each.reader.disconnects[0].why for each in hasty)
    whys = [[told.why for told in each.reader.disconnects] for each in patient]
    assert whys == [["the service was started anew"]] * len(patient)


async def service_with_multicast_stopped(directory: Path, chance: random.Random) -> None:
    """For longer than receivers wait: they go, and come back."""
    async with (
        opened(directory, multicast=True) as house,
        house.forked() as service,
        trio.open_nursery() as nursery,
    ):
        house.admit(nursery)
        await house.more_trades(1)
        await trio.sleep(chance.random() * LONGEST_WAIT_S)
        service.signal(signal.SIGSTOP)
        await house.until(lambda: all(each.reader.disconnects for each in house.consumers))
        service.signal(signal.SIGCONT)
        await house.more_trades()
        await house.end()
    over_tcp, with_tcp, _ = house.consumers
    assert not over_tcp.reader.losses
    assert not with_tcp.reader.losses


async def receiver_of_multicast_stopped(directory: Path, chance: random.Random) -> None:
    """Until its buffer overruns, on both lines. Nobody else notices."""
    loud = opened(directory, rate=1_000, multicast=True)
    async with loud as house, house.forked(), trio.open_nursery() as nursery:
        house.watch(nursery)
        with_tcp, without = _tails(house, nursery)
        await house.until(lambda: bool(with_tcp.reader.trades and without.reader.trades))
        await trio.sleep(chance.random() * LONGEST_WAIT_S)
        before = [sum(overrun(each)) for each in house.groups]
        for tail in (with_tcp, without):
            tail.signal(signal.SIGSTOP)
        for group, lost in zip(house.groups, before, strict=True):
            await house.until(lambda: sum(overrun(group)) > lost + 500)  # noqa: B023
        for tail in (with_tcp, without):
            tail.signal(signal.SIGCONT)
        house.consumers += [with_tcp, without]
        await house.more_trades()
        await house.end()
    assert not with_tcp.reader.losses
    assert set(without.reader.losses) == {LossReason.UNANNOUNCED}


def _tails(house: House, nursery: trio.Nursery) -> Sequence[Tail]:
    """Processes that receive both lines with small buffers, one with TCP and one without."""
    a, b = map(str, house.groups)
    lines = ("--group-b", b, "--interface", LOOPBACK)
    return [
        house.tail(
            name,
            f"multicast://{a}",
            nursery,
            options=[*lines, *recovery],
            may_miss=not recovery,
            buffer_bytes=SMALL_BYTES,
        )
        for name, recovery in (
            ("with TCP", ("--recovery", house.door.url("tcp"))),
            ("without TCP", ()),
        )
    ]


async def door_shut_to_receiver_of_multicast(directory: Path, chance: random.Random) -> None:
    """While its line loses one packet in twenty. It loses only what it could not get for as long as
    it waits for TCP."""
    target, _ = free_groups()
    async with opened(directory, multicast=True) as house, house.forked() as service:
        line = UnsteadyLine(house.groups[0], target, Faults(lost=0.05), chance.randrange(10**6))
        with line:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.run)
                url = await service.address("tcp")
                witness = Witness(house.oracle, "witness", url, is_concerned=False, start="oldest")
                receiver = of_multicast(
                    house.oracle,
                    "receiver",
                    [target],
                    recovery=house.door.url("tcp"),
                    may_miss=True,
                    idle_timeout_s=PATIENT_S,
                )
                house.consumers += [witness, receiver]
                for each in house.consumers:
                    nursery.start_soon(each.run)
                house.simulator.release()
                await house.more_trades(200)
                assert not receiver.reader.losses
                shut_s = trio.current_time()
                house.door.is_refusing = True
                house.door.reset()
                await house.until(lambda: receiver.reader.losses.total() >= 10)
                house.door.clear()
                open_s = trio.current_time()
                await house.more_trades(200)
                await house.end()
                nursery.cancel_scope.cancel()
    _judge(receiver, witness, shut_s, open_s)


class Witness(TrioConsumer):
    """Notes when each number came."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.came_s: dict[int, float] = {}

    def take(self, client: AsyncClient | BlockingClient, record: Received, now_s: float) -> bool:
        self.came_s[getattr(record, "seq", 0)] = now_s
        return super().take(client, record, now_s)


def _judge(receiver: Consumer, witness: Witness, shut_s: float, open_s: float) -> None:
    """What was lost was published while the door was shut, and was waited for."""
    assert set(receiver.reader.losses) == {LossReason.UNANNOUNCED}
    for told_s, loss in receiver.reader.told:
        if isinstance(loss, Loss):
            came_s = witness.came_s[loss.first_seq]
            assert shut_s - SLACK_S < came_s < open_s - RECOVERY_S + SLACK_S, (shut_s, loss)
            assert told_s - came_s > RECOVERY_S - SLACK_S, loss
