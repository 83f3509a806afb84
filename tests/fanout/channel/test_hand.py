"""What a transport does with what was published concerns that transport alone."""

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Final

import pytest
import trio
import trio.testing

from fanout.channel.hand import Hand
from fanout.channel.log import Log

NAME: Final[ContextVar[str]] = ContextVar("name", default="nobody's")


class Transport:
    """A reader of a log with a hand in it. `pieces` are the reads of the hand and of the task."""

    def __init__(
        self, log: Log[None], *, trouble: Callable[[], bool | None] = lambda: None
    ) -> None:
        """`trouble` is called in the hand, and may say what the hand returns."""
        self.pieces: list[tuple[str, bytes]] = []
        self.name_in_hand = ""
        self.scope = trio.CancelScope()
        self._log = log
        self._cursor = log.live()
        self._trouble = trouble

    @property
    def received(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    async def run(
        self,
        *,
        is_quick: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        NAME.set("the transport's")
        with self.scope, self._log.hand(self._take, is_quick=is_quick) as hand:
            task_status.started()
            await self._keep_reading(hand)

    async def _keep_reading(self, hand: Hand) -> None:
        while not self._log.closed:
            await hand.wait()
            self._read("task")

    def _take(self) -> bool:
        self.name_in_hand = NAME.get()
        said = self._trouble()
        if said is not False:
            self._read("hand")
        return said is not False

    def _read(self, by: str) -> None:
        piece = self._log.read(self._cursor, 1_000)
        assert isinstance(piece, bytes)
        if piece:
            self.pieces.append((by, piece))


@pytest.fixture
def log() -> Log[None]:
    return Log(capacity_bytes=100_000, context=None)


def publish(log: Log[None], *frames: bytes) -> None:
    for frame in frames:
        log.append(frame, count=1)
    log.hand_on()


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_burst_is_taken_in_one_piece_before_its_publisher_goes_on(
    log: Log[None], nursery: trio.Nursery
) -> None:
    transport = Transport(log)
    await nursery.start(transport.run)
    await settle()
    publish(log, b"1 ", b"2 ")
    assert transport.pieces == [("hand", b"1 2 ")]
    await settle()
    publish(log, b"3 ")
    await settle()
    assert transport.pieces == [("hand", b"1 2 "), ("hand", b"3 ")]


async def test_later_bursts_of_one_pass_are_left_to_the_task_in_one_piece(
    log: Log[None], nursery: trio.Nursery
) -> None:
    """As when several connections to a venue bring something at once. A hand that takes long, since
    it has a thousand clients, say, costs the feed no more than its task would."""
    transport = Transport(log)
    await nursery.start(transport.run)
    await settle()
    for frame in (b"1 ", b"2 ", b"3 ", b"4 "):
        publish(log, frame)
    assert transport.pieces == [("hand", b"1 ")]
    await settle()
    assert transport.pieces == [("hand", b"1 "), ("task", b"2 3 4 ")]


async def test_a_hand_is_not_used_in_a_pass_in_which_its_task_runs(
    log: Log[None], nursery: trio.Nursery
) -> None:
    transport = Transport(log)
    await nursery.start(transport.run)
    await settle()
    for number in range(1, 100, 2):
        # The task is due from the second on. It may run before or after this one in a pass.
        publish(log, b"%d " % number)
        publish(log, b"%d " % (number + 1))
        await trio.lowlevel.checkpoint()
    await settle()
    assert transport.received == b"".join(b"%d " % number for number in range(1, 101))
    by_hand = sum(by == "hand" for by, _ in transport.pieces)
    assert 1 <= by_hand <= 34  # after each, a pass in which the task runs


async def test_what_a_hand_cannot_take_is_left_to_the_task(
    log: Log[None], nursery: trio.Nursery
) -> None:
    transport = Transport(log, trouble=lambda: False)
    await nursery.start(transport.run)
    await settle()
    publish(log, b"1 ")
    assert transport.pieces == []
    await settle()
    assert transport.pieces == [("task", b"1 ")]


def fail() -> None:
    raise ZeroDivisionError


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("trouble", "error"), [(fail, ZeroDivisionError), (interrupt, KeyboardInterrupt)]
)
async def test_what_a_hand_raises_is_raised_in_its_own_task_and_nowhere_else(
    log: Log[None], trouble: Callable[[], None], error: type[BaseException]
) -> None:
    before, after = Transport(log), Transport(log)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        trouble()

    broken = Transport(log, trouble=count)
    async with trio.open_nursery() as others:
        await others.start(before.run)
        with pytest.RaisesGroup(error):
            async with trio.open_nursery() as own:
                await own.start(broken.run)
                await others.start(after.run)
                others.start_soon(log.wait_beyond, log.end)
                await settle()
                publish(log, b"1 ")
                publish(log, b"2 ")
                assert before.received == after.received == b"1 "
        publish(log, b"3 ")
        await settle()
        assert before.received == after.received == b"1 2 3 "
        assert (calls, broken.pieces) == (1, [])
        others.cancel_scope.cancel()


async def test_a_hand_that_cancels_its_transport_is_taken_out_and_the_others_are_served(
    log: Log[None], nursery: trio.Nursery
) -> None:
    leaving, other = Transport(log), Transport(log)
    leaving._trouble = leaving.scope.cancel
    for each in (leaving, other):
        await nursery.start(each.run)
    await settle()
    publish(log, b"1 ")
    await settle()
    assert leaving.scope.cancelled_caught
    publish(log, b"2 ")
    await settle()
    assert (leaving.received, other.received) == (b"1 ", b"1 2 ")


async def test_a_hand_that_is_slow_takes_time_once_a_pass_and_the_others_get_all(
    log: Log[None], autojump_clock: trio.testing.MockClock
) -> None:
    slow = Transport(log, trouble=lambda: autojump_clock.jump(3))
    quick = Transport(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(slow.run)
        await nursery.start(quick.run)
        await settle()
        begun_s = trio.current_time()
        for _ in range(10):
            publish(log, b".")
        assert trio.current_time() == begun_s + 3
        await settle()
        assert slow.received == quick.received == b"." * 10
        nursery.cancel_scope.cancel()


async def test_quick_hands_come_first(log: Log[None], nursery: trio.Nursery) -> None:
    order: list[int] = []
    for number, is_quick in enumerate((False, True, False, True)):
        transport = Transport(log, trouble=partial(order.append, number))
        await nursery.start(partial(transport.run, is_quick=is_quick))
    await settle()
    publish(log, b"1 ")
    assert order == [3, 1, 0, 2]


async def test_a_hand_has_the_context_variables_of_its_transport(
    log: Log[None], nursery: trio.Nursery
) -> None:
    transport = Transport(log)
    await nursery.start(transport.run)
    await settle()
    NAME.set("the feed's")
    publish(log, b"1 ")
    assert transport.name_in_hand == "the transport's"
    assert NAME.get() == "the feed's"


async def test_where_nothing_was_appended_no_hand_is_bothered(
    log: Log[None], nursery: trio.Nursery
) -> None:
    transport = Transport(log, trouble=fail)
    await nursery.start(transport.run)
    await settle()
    log.hand_on()
    await settle()
    assert not transport.scope.cancel_called


async def test_the_task_looks_at_what_was_there_before_its_hand(
    log: Log[None], nursery: trio.Nursery
) -> None:
    transport = Transport(log)
    publish(log, b"1 ")
    await nursery.start(transport.run)
    await settle()
    assert transport.pieces == [("task", b"1 ")]


async def test_a_wait_that_is_cancelled_loses_nothing(log: Log[None]) -> None:
    with log.hand(lambda: False) as hand:
        for publishing in ((), (b"1 ",)):
            if publishing:
                await hand.wait()
                publish(log, *publishing)
            with trio.move_on_after(0) as scope:
                await hand.wait()
            assert scope.cancelled_caught
        await hand.wait()  # returns, since nothing was taken


async def test_the_task_is_woken_when_the_log_is_closed(log: Log[None]) -> None:
    transport = Transport(log, trouble=fail)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        await settle()
        log.append(b"end", count=0)
        log.close()
    assert transport.pieces == [("task", b"end")]
