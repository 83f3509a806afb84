"""What clients look like from outside, whatever they read from: one shape that blocks, one that
awaits.

A client of a new kind says how it takes one step (connect, or read once) and what it lets go of at
the end; `connect`, iteration and the context manager are here.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypedDict, Unpack

from fanout.clients.forks import tell_of_forks
from fanout.clients.outcomes import (
    DisconnectedError,
    ForkedError,
    Received,
    Reconnect,
    RefusedError,
    UnknownSymbolError,
)
from fanout.clients.subscription import LONGEST_PAUSE_S, Mark, Subscription
from fanout.clients.wanted import Wanted
from fanout.protocol.records import Header
from fanout.protocol.request import Position, Request
from fanout.protocol.session import SessionStatistics

IDLE_TIMEOUT_S: Final = 5.0
"""Default for how long a connection may bring nothing. A service is never silent for more than a
second, so this is a connection that died without saying so."""


class ClientOptions(TypedDict, total=False):
    """What every client can be told. `Client` says what each of them means."""

    reconnect: bool
    idle_timeout_s: float
    symbols: Collection[str]
    market_only: bool


class Client(ABC):
    """A subscriber."""

    _longest_pause_s = LONGEST_PAUSE_S

    def __init__(
        self,
        url: str,
        *,
        reconnect: bool = True,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        symbols: Collection[str] = (),
        market_only: bool = False,
        request: Request | None = None,
        resume: bool = True,
    ) -> None:
        """With `reconnect=False` the iteration stops after an `End`, and raises
        `DisconnectedError` when the connection is lost otherwise, or cannot be made.
        `idle_timeout_s` is how long a connection may be silent before it counts as lost; over TCP
        one frame may take twice that.

        `symbols` leaves out what concerns other symbols; one that is not served there raises
        `UnknownSymbolError`. `market_only` leaves out trades that are no fills between two
        parties: insurance fund and auto-deleveraging. Neither leaves a hole: what is left out is
        accounted for, and no loss."""
        self.url = url
        self._idle_timeout_s = idle_timeout_s
        self._attempt_at: tuple[object, float] | None = None
        """When the next attempt to connect is due, and by the clock of which event loop."""
        self._mark: Mark | None = None
        """Where the subscription stands, while nothing changes that."""
        self._doubt: Mark | None = None
        """Where to return to. None between steps, unless one was cut off."""
        self._is_busy = False
        """Whether a step is under way."""
        self._parent_pid: int | None = None
        """In a forked child, the process that the connection belongs to."""
        self._subscription = Subscription(
            url,
            reconnect=reconnect,
            request=request,
            resume=resume,
            wanted=Wanted.of(symbols, market_only),
            longest_pause_s=self._longest_pause_s,
        )
        self._ready = self._subscription.ready
        tell_of_forks(self)

    @property
    def header(self) -> Header | None:
        """The header that counts now: instruments, units, epoch. None before the first."""
        self._recover()
        return self._subscription.header

    @property
    def statistics(self) -> SessionStatistics:
        """Counts so far, as a frozen value."""
        self._recover()
        return self._subscription.statistics

    @property
    def position(self) -> Position | None:
        """The place behind the last record that was handed over: the epoch, and the sequence
        number that is due. Kept somewhere, it is where another client, tomorrow or in another
        process, can start. None before the first header."""
        self._recover()
        return self._subscription.position

    @property
    def reconnects(self) -> tuple[Reconnect, ...]:
        """The last hundred reconnects: why, after how long, and what was lost by each."""
        self._recover()
        return self._subscription.reconnects

    @property
    def _is_over(self) -> bool:
        return self._subscription.is_over

    def _is_connected(self) -> bool:
        """Whether `connect` has nothing more to wait for."""
        return self._is_over or self._subscription.header is not None

    def _is_ready(self) -> bool:
        return bool(self._ready) or self._is_over

    def _connected_header(self) -> Header:
        failure = self._subscription.failure
        header = self._subscription.header
        if header is None or isinstance(failure, RefusedError | UnknownSymbolError):
            raise failure or DisconnectedError(f"{self.url}: ended without header")
        return header

    def _pause_left_s(self, now_s: float, loop: object) -> float:
        """What is left of the pause before the next attempt, by the clock of `loop`. A caller that
        gives up waiting, and comes back, does not begin it anew, unless it comes back in another
        event loop, whose clock shows something else."""
        if self._attempt_at is None or self._attempt_at[0] is not loop:
            self._attempt_at = loop, now_s + self._subscription.pause_s
        return max(0.0, self._attempt_at[1] - now_s)

    def _disconnected(self, error: Exception) -> None:
        self._attempt_at = self._mark = None
        self._subscription.disconnected(error)

    def _lost(self, error: Exception) -> None:
        """The connection ended with `error`, or was not to be had."""
        if self._doubt is None:
            self._begin()
        self._drop()
        self._disconnected(error)
        self._settle()

    # Interrupts. `_begin` comes before anything is taken from a connection, `_settle` when the
    # records are in `ready` and the numbering is behind them. What stops the program in between
    # leaves `_doubt`, and whatever is asked of the client next begins with `_recover`.

    def _begin(self) -> None:
        """Remember where to return to, if what comes next is cut off by an interrupt."""
        if self._mark is None or self._mark.ready:
            self._mark = self._subscription.mark()
        self._doubt = self._mark

    def _settle(self) -> None:
        """What was taken since `_begin` is safe, or nothing was."""
        self._doubt = None

    def _recover(self) -> None:
        """Undo a step that was cut off, unless one is under way: in another thread or task, or
        below the signal handler that asks."""
        if self._doubt is not None and not self._is_busy:
            self._undo_step()

    def _undo_step(self) -> None:
        doubt = self._doubt
        if doubt is not None:
            self._mark = self._attempt_at = None
            self._undo(doubt)
            self._doubt = None

    def _undo(self, doubt: Mark) -> None:
        """Return to where the step began, and count the connection as lost. Can be interrupted
        itself, and is repeated then."""
        self._drop()
        self._subscription.interrupted(doubt)

    @abstractmethod
    def _drop(self) -> None:
        """Close the connection, if there is one, without waiting for anything."""

    # Forks.

    def _has_connection(self) -> bool:
        """Whether something is open that a forked process must not share."""
        raise NotImplementedError

    def _leave_to_parent(self, parent_pid: int) -> None:
        """Called in a forked child: what is open here is the parent's. Close this process's copies,
        which changes nothing for the parent, and refuse from now on."""
        if self._has_connection():
            self._parent_pid = parent_pid
            self._close_copy()

    def _close_copy(self) -> None:
        """Close this process's copy of the connection. The connection itself stays open."""
        self._drop()

    def _require_own(self) -> None:
        """Raises `ForkedError` in a process that was forked from the one that connected."""
        if self._parent_pid is not None:
            raise ForkedError(
                f"{self.url}: the connection belongs to process {self._parent_pid}, "
                f"and this is its fork {os.getpid()}: make a client in each process"
            )


class BlockingClient(Client, ABC):
    """A client for a program without an event loop. Iterate over it; it connects when it has to.

    `close` may be called from another thread, and ends the iteration. A `with` block calls it.
    """

    def __init__(
        self,
        url: str,
        *,
        request: Request | None = None,
        resume: bool = True,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(url, request=request, resume=resume, **options)
        self._is_closed = False
        self._closing = threading.Lock()
        """Held until `close`: what a pause waits for."""
        self._closing.acquire()

    @abstractmethod
    def _step(self) -> None:
        """Connect, or read once."""

    def connect(self) -> Header:
        """Connect, if need be, and return once it is known that the service serves this client.
        Records are kept. Raises `RefusedError` if it does not."""
        self._read_until(self._is_connected)
        return self._connected_header()

    def close(self) -> None:
        """End the iteration, and give back what the client holds: now, or where a thread is
        waiting for a record, as soon as it comes back from that."""
        # No lock, which an interrupt could leave locked. Either the thread that reads sees that the
        # client is closed, at the latest when it is done, or it is seen here that none reads.
        self._is_closed = True
        with suppress(RuntimeError):  # it is closed already
            self._closing.release()
        if not self._is_busy:
            self._drop()

    @property
    def _is_over(self) -> bool:
        return self._subscription.is_over or self._is_closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Received:
        if self._doubt is not None or not self._ready:
            self._read_until(self._is_ready)
            if not self._ready:
                raise self._subscription.failure or StopIteration
        # Python runs signal handlers behind calls. There is none between here and the caller's
        # loop, so no interrupt can take the record away. `popleft()` would be one.
        return self._ready.taken

    def _read_until(self, is_enough: Callable[[], bool]) -> None:
        try:
            self._is_busy = True
            if self._doubt is not None:
                self._undo_step()
            while not is_enough():
                if self._parent_pid is not None:
                    self._require_own()
                self._step()
        finally:
            self._is_busy = False
            if self._is_closed or (not self._ready and self._is_over):
                self._drop()

    def _is_closed_within(self, pause_s: float) -> bool:
        """Wait; whether the client was closed meanwhile."""
        if not self._is_closed and self._closing.acquire(timeout=pause_s):
            self._closing.release()
        return self._is_closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(Client, ABC):
    """A client for an event loop. A cancellation loses no record: what was not handed over comes
    with the next `async for`."""

    @abstractmethod
    async def _step(self) -> None:
        """Connect, or read once."""

    async def connect(self) -> Header:
        """Connect, if need be, and return once it is known that the service serves this client.
        Records are kept. Raises `RefusedError` if it does not."""
        await self._read_until(self._is_connected)
        return self._connected_header()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        if self._doubt is not None or not self._ready:
            await self._read_until(self._is_ready)
            if not self._ready:
                raise self._subscription.failure or StopAsyncIteration
        # As in `BlockingClient.__next__`: no call between here and the caller's loop.
        return self._ready.taken

    async def _read_until(self, is_enough: Callable[[], bool]) -> None:
        try:
            self._is_busy = True
            if self._doubt is not None:
                self._undo_step()
            while not is_enough():
                if self._parent_pid is not None:
                    self._require_own()
                await self._step()
        finally:
            self._is_busy = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._drop()
