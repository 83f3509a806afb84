"""The interface of all clients: `BlockingClient` and, with `await`, `AsyncClient`.

Here are `connect`, iteration and the context manager. A concrete client adds one step (connect, or
read once) and how to close its connection.
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
"""Default for the longest silence of a connection. A service sends at least once a second, so after
this time the connection is dead, although nothing closed it."""


class ClientOptions(TypedDict, total=False):
    """Options of every client. `Client` describes them."""

    reconnect: bool
    idle_timeout_s: float
    symbols: Collection[str]
    market_only: bool


class Client(ABC):
    """A subscriber."""

    _longest_pause_s = LONGEST_PAUSE_S
    _subscription_type = Subscription

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
        `DisconnectedError` if the connection cannot be made or is lost in another way.
        A connection that is silent for `idle_timeout_s` counts as lost; over TCP one frame may
        take twice as long.

        `symbols` selects symbols; `UnknownSymbolError` is raised for one that the service does not
        serve. `market_only` leaves out trades that are not fills between two parties: those of the
        insurance fund and of auto-deleveraging; quotes and book updates stay. Records that are left
        out count as received, not as lost."""
        self.url = url
        self._idle_timeout_s = idle_timeout_s
        self._attempt_at: tuple[object, float] | None = None
        """The event loop and, by its clock, the time of the next attempt to connect."""
        self._mark: Mark | None = None
        """Where the subscription stands, while nothing changes that."""
        self._doubt: Mark | None = None
        """The state to return to, while a step runs or after an interrupt cut it off."""
        self._is_busy = False
        """Whether a step is under way."""
        self._parent_pid: int | None = None
        """In a forked child, the process that the connection belongs to."""
        self._subscription = self._subscription_type(
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
        """The current session header: instruments, units, epoch. None before the first."""
        self._recover()
        return self._subscription.header

    @property
    def statistics(self) -> SessionStatistics:
        """Counts so far, as a frozen value."""
        self._recover()
        return self._subscription.statistics

    @property
    def position(self) -> Position | None:
        """The epoch and the next sequence number after the last record handed over. Store it, and
        another client can start there, later or in another process. None before the first
        header."""
        self._recover()
        return self._subscription.position

    @property
    def is_any_ready(self) -> bool:
        """Whether more is there than what was handed over, without another read."""
        return bool(self._ready)

    @property
    def heartbeat_ns(self) -> int:
        """The time of the newest heartbeat, unix ns by the service's clock. Once nothing is ready,
        the service had nothing more until then. 0 before the first."""
        return self._subscription.heartbeat_ns

    @property
    def reconnects(self) -> tuple[Reconnect, ...]:
        """The last hundred reconnects: reason, duration, and records lost."""
        self._recover()
        return self._subscription.state.reconnects

    @property
    def _is_over(self) -> bool:
        return self._subscription.state.is_over

    def _is_connected(self) -> bool:
        """Whether `connect` has nothing more to wait for."""
        return self._is_over or self._subscription.header is not None

    def _is_ready(self) -> bool:
        return bool(self._ready) or self._is_over

    def _connected_header(self) -> Header:
        failure = self._subscription.failure
        header = self._subscription.header
        if header is None or isinstance(failure, RefusedError | UnknownSymbolError):
            raise failure or DisconnectedError(
                f"{self.url}: the stream ended before the session header came"
            )
        return header

    def _pause_left_s(self, now_s: float, loop: object) -> float:
        """The rest of the pause before the next attempt, by the clock of `loop`. A caller that is
        cancelled and comes back does not start the pause again, except in another event loop,
        whose clock differs."""
        if self._attempt_at is None or self._attempt_at[0] is not loop:
            self._attempt_at = loop, now_s + self._subscription.state.pause_s
        return max(0.0, self._attempt_at[1] - now_s)

    def _disconnected(self, error: Exception) -> None:
        self._attempt_at = self._mark = None
        self._subscription.disconnected(error)

    def _lost(self, error: Exception) -> None:
        """The connection ended with `error`, or could not be made."""
        if self._doubt is None:
            self._begin()
        self._drop()
        self._disconnected(error)
        self._settle()

    # Interrupts. `_begin` runs before anything is read from a connection, `_settle` once the
    # records are in `ready` and the session's numbering is past them. An exception in between
    # leaves `_doubt` set, and the next use of the client starts with `_recover`.

    def _begin(self) -> None:
        """Remember where to return to, if what comes next is cut off by an interrupt."""
        mark = self._mark
        if mark is None or mark.ready:
            mark = self._mark = self._subscription.mark()
        self._doubt = mark

    def _settle(self) -> None:
        """The step is complete: nothing that was read since `_begin` can be lost."""
        self._doubt = None

    def _recover(self) -> None:
        """Undo a step that was cut off. A step that still runs is left alone: it may run in
        another thread or task, or below the signal handler that called this."""
        if self._doubt is not None and not self._is_busy:
            self._undo_step()

    def _undo_step(self) -> None:
        doubt = self._doubt
        if doubt is not None:
            self._mark = self._attempt_at = None
            self._undo(doubt)
            self._doubt = None

    def _undo(self, doubt: Mark) -> None:
        """Return to the state before the step, and count the connection as lost. If this is
        interrupted itself, it is repeated."""
        self._drop()
        self._subscription.interrupted(doubt)

    @abstractmethod
    def _drop(self) -> None:
        """Close the connection, if there is one, without waiting."""

    # Forks.

    @abstractmethod
    def _has_connection(self) -> bool:
        """Whether something is open that a forked process must not share."""

    def _leave_to_parent(self, parent_pid: int) -> None:
        """Called in a forked child. Close this process's copy of the connection, which does not
        affect the parent, and raise `ForkedError` from now on."""
        if self._has_connection():
            self._parent_pid = parent_pid
            self._close_copy()

    @abstractmethod
    def _close_copy(self) -> None:
        """Close this process's copy of the connection. The connection itself stays open."""

    def _require_own(self) -> None:
        """Raises `ForkedError` in a child of the process that connected."""
        if self._parent_pid is not None:
            raise ForkedError(
                f"{self.url}: the connection belongs to process {self._parent_pid}, "
                f"and this is its fork {os.getpid()}: make a client in each process"
            )


class BlockingClient(Client, ABC):
    """A client for a program without an event loop. Iterate over it; it connects by itself.

    `close` ends the iteration, also from another thread. A `with` block calls it.
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
        """Held until `close` releases it, which ends a pause."""
        self._closing.acquire()

    @abstractmethod
    def _step(self) -> None:
        """Connect, or read once."""

    def connect(self) -> Header:
        """Connect if necessary, and return the header once the service has accepted this client.
        Records that arrive meanwhile are kept. Raises `RefusedError` if it refuses."""
        self._read_until(self._is_connected)
        return self._connected_header()

    def close(self) -> None:
        """End the iteration and close the connection: at once, or, if a thread waits for a record,
        as soon as that wait ends."""
        # No lock: an interrupt could leave it locked. Either the reading thread sees `_is_closed`,
        # at the latest when its step ends, or this thread sees that none is reading.
        self._is_closed = True
        with suppress(RuntimeError):  # it is closed already
            self._closing.release()
        if not self._is_busy:
            self._drop()

    @property
    def _is_over(self) -> bool:
        return self._subscription.state.is_over or self._is_closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Received:
        if self._doubt is not None or not self._ready:
            self._read_until(self._is_ready)
            if not self._ready:
                raise self._subscription.failure or StopIteration
        # Python runs signal handlers after calls. From here to the caller's loop there is no call,
        # so no interrupt can lose the record. `popleft()` would be a call.
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
        """Wait for `pause_s`, or until the client is closed. Returns whether it is closed."""
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
    """A client for an event loop. A cancellation loses no record: the next `async for` hands over
    what the cancelled one did not."""

    @abstractmethod
    async def _step(self) -> None:
        """Connect, or read once."""

    async def connect(self) -> Header:
        """Connect if necessary, and return the header once the service has accepted this client.
        Records that arrive meanwhile are kept. Raises `RefusedError` if it refuses."""
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
