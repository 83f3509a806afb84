"""A trio run that stands still between two steps of a test.

Sockets in it are real; the time is not: the run is a guest of the test, and its clock is a mock
one, so that silence, heartbeats and age come when they are told to. Nothing here sleeps.
"""

import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from queue import Empty, SimpleQueue
from typing import Final

import outcome
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

Act = Callable[[], Awaitable[None] | None]

PATIENCE_S: Final = 20.0
"""Of real time: for one step of the test. It takes milliseconds, or hangs."""


class Loop(trio.abc.SocketFactory):
    """A trio run that goes on only while it is asked to do something, and until that is done and
    all of its tasks wait. An exception in any of them is raised by whoever asks next."""

    def __init__(self) -> None:
        self.complaints = Complaints()
        logging.getLogger("fanout").addHandler(self.complaints)
        self.clock = MockClock()
        self.receive_bytes: int | None = None
        """Of the sockets that are made; None leaves them as they are."""
        self._ticks: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._ended: list[outcome.Outcome[None]] = []
        self._nursery: trio.Nursery | None = None
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._ticks.put,
            done_callback=self._ended.append,
            host_uses_signal_set_wakeup_fd=True,
            clock=self.clock,
        )
        self._go_on(until=lambda: self._nursery is not None)

    async def _main(self) -> None:
        trio.socket.set_custom_socket_factory(self)
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def do(self, act: Act) -> None:
        """Do it, and let everything come of it that does."""
        results: list[Exception | None] = []

        async def task() -> None:
            try:
                if (coming := act()) is not None:
                    await coming
                await wait_all_tasks_blocked()
                results.append(None)
            except Exception as error:
                results.append(error)

        self.start(task)
        self._go_on(until=lambda: bool(results))
        if results[0] is not None:
            raise results[0]
        assert not self.complaints.said

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None, "it is there from the beginning"
        self._token.run_sync_soon(self._nursery.start_soon, task)

    def close(self) -> None:
        """End the run, with whatever is in it."""
        logging.getLogger("fanout").removeHandler(self.complaints)
        if not self._ended:
            assert self._nursery is not None, "it is there from the beginning"
            self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
            self._go_on(until=lambda: bool(self._ended))
        self._ended[0].unwrap()

    def socket(
        self, family: int = socket.AF_INET, type_: int = socket.SOCK_STREAM, proto: int = 0
    ) -> trio.socket.SocketType:
        sock = socket.socket(family, type_, proto)
        if self.receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_bytes)
        return trio.socket.from_stdlib_socket(sock)

    async def let_pass(self, seconds: float) -> None:
        """Time passes once all tasks wait: none of them is that slow."""
        await wait_all_tasks_blocked()
        self.clock.jump(seconds)
        await wait_all_tasks_blocked()

    def _go_on(self, until: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not until():
            if self._ended:
                self._ended[0].unwrap()
                raise AssertionError("the run ended before it was to")
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, "it goes on for ever"
            try:
                tick = self._ticks.get(timeout=left_s)
            except Empty:
                raise AssertionError("all wait, and for ever") from None
            tick()


class Complaints(logging.Handler):
    """Keeps what the service says of faults of its own. It survives them; the test must not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
