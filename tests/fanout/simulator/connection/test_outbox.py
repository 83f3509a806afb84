"""The outbox: bounded, in order, and never a reason to wait for the market."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fanout.simulator.connection.outbox import BURST_BYTES, OUTBOX_BYTES, Outbox


async def test_frames_come_out_joined_and_in_order() -> None:
    outbox = Outbox()
    for frame in (b"one", b"two", b"three"):
        outbox.put(frame)
    assert await outbox.take() == b"onetwothree"


async def test_a_burst_is_bounded_and_cuts_no_frame() -> None:
    outbox = Outbox()
    for _ in range(3):
        outbox.put(b"x" * (BURST_BYTES // 2))
    assert len(await outbox.take()) == BURST_BYTES
    assert len(await outbox.take()) == BURST_BYTES // 2


async def test_a_frame_larger_than_a_burst_goes_alone() -> None:
    outbox = Outbox()
    outbox.put(b"x" * (BURST_BYTES + 1))
    outbox.put(b"y")
    assert len(await outbox.take()) == BURST_BYTES + 1


async def test_taking_waits_for_a_frame(nursery: trio.Nursery) -> None:
    outbox, taken = Outbox(), []

    async def take() -> None:
        taken.append(await outbox.take())

    nursery.start_soon(take)
    await wait_all_tasks_blocked()
    assert taken == []
    outbox.put(b"frame")
    await wait_all_tasks_blocked()
    assert taken == [b"frame"]


async def test_a_backlog_over_the_limit_overflows_and_is_dropped() -> None:
    outbox = Outbox()
    outbox.put(b"x" * OUTBOX_BYTES)
    assert not outbox.overflown.is_set()
    outbox.put(b"x")
    assert outbox.overflown.is_set()
    assert outbox.backlog_bytes == 0


async def test_a_burst_counts_as_backlog_until_it_is_written() -> None:
    outbox = Outbox()
    outbox.put(b"12345")
    await outbox.take()
    assert outbox.backlog_bytes == 5
    outbox.written(5)
    assert outbox.backlog_bytes == 0


async def test_settling_waits_for_the_backlog_to_shrink(nursery: trio.Nursery) -> None:
    outbox, settled = Outbox(), trio.Event()

    async def settle() -> None:
        await outbox.settled(2)
        settled.set()

    outbox.put(b"12345")
    nursery.start_soon(settle)
    outbox.written(2)
    await wait_all_tasks_blocked()
    assert not settled.is_set()
    outbox.written(1)
    await settled.wait()


async def test_a_closed_outbox_releases_all_waiting_tasks_and_takes_nothing(
    nursery: trio.Nursery,
) -> None:
    outbox = Outbox()
    outbox.put(b"12345")
    nursery.start_soon(outbox.settled, 0)
    await wait_all_tasks_blocked()
    outbox.close()
    outbox.put(b"12345")
    outbox.written(5)
    assert outbox.backlog_bytes == 0
    with trio.fail_after(1):
        await outbox.settled(0)


async def test_closing_an_outbox_does_not_end_a_wait_for_frames(nursery: trio.Nursery) -> None:
    outbox = Outbox()
    outbox.put(b"12345")
    outbox.close()
    nursery.start_soon(outbox.take)
    await wait_all_tasks_blocked()
    assert len(nursery.child_tasks) == 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sizes", [(1,), (10, 20), (BURST_BYTES, 1, BURST_BYTES)])
async def test_every_frame_put_is_taken(sizes: tuple[int, ...]) -> None:
    outbox, taken = Outbox(), b""
    for number, size in enumerate(sizes):
        outbox.put(bytes([number]) * size)
    while outbox.backlog_bytes:
        burst = await outbox.take()
        outbox.written(len(burst))
        taken += burst
    assert taken == b"".join(bytes([number]) * size for number, size in enumerate(sizes))
