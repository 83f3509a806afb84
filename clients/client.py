"""What clients look like from outside, whatever they read from: one shape that blocks, one that
awaits.

A client of a new kind says how it takes one step (connect, or read once) and what it lets go of at
the end; `connect`, iteration and the context manager are here.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Final, Self, TypedDict, Unpack

from fanout.clients.outcomes import (
    DisconnectedError,
    Received,
    Reconnect,
    RefusedError,
    UnknownSymbolError,
)
from fanout.clients.subscription import LONGEST_PAUSE_S, Subscription
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


class Client:
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
        self._attempt_at_s: float | None = None
        self._subscription = Subscription(
            url,
            reconnect=reconnect,
            request=request,
            resume=resume,
            wanted=Wanted.of(symbols, market_only),
            longest_pause_s=self._longest_pause_s,
        )

    @property
    def header(self) -> Header | None:
        """The header that counts now: instruments, units, epoch. None before the first."""
        return self._subscription.header

    @property
    def statistics(self) -> SessionStatistics:
        """Counts so far, as a frozen value."""
        return self._subscription.statistics

    @property
    def position(self) -> Position | None:
        """The place behind the last record that was handed over: the epoch, and the sequence
        number that is due. Kept somewhere, it is where another client, tomorrow or in another
        process, can start. None before the first header."""
        return self._subscription.position

    @property
    def reconnects(self) -> tuple[Reconnect, ...]:
        """The last hundred reconnects: why, after how long, and what was lost by each."""
        return tuple(self._subscription.reconnects)

    @property
    def _is_over(self) -> bool:
        return self._subscription.is_over

    def _is_connected(self) -> bool:
        """Whether `connect` has nothing more to wait for."""
        return self._is_over or self.header is not None

    def _connected_header(self) -> Header:
        failure = self._subscription.failure
        if self.header is None or isinstance(failure, RefusedError | UnknownSymbolError):
            raise failure or DisconnectedError(f"{self.url}: ended without header")
        return self.header

    def _pause_left_s(self, now_s: float) -> float:
        """What is left of the pause before the next attempt. A caller that gives up waiting, and
        comes back, does not begin it anew."""
        if self._attempt_at_s is None:
            self._attempt_at_s = now_s + self._subscription.pause_s
        return max(0.0, self._attempt_at_s - now_s)

    def _disconnected(self, error: Exception) -> None:
        self._attempt_at_s = None
        self._subscription.disconnected(error)


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
        self._closed = threading.Event()
        self._handing = threading.RLock()
        """Held while it is settled who gives the connection back."""
        self._thread_id: int | None = None
        """Of the thread that reads, whose the connection is while it does."""

    @abstractmethod
    def _step(self) -> None:
        """Connect, or read once."""

    @abstractmethod
    def _let_go(self) -> None:
        """Give back the connection, if there is one."""

    def connect(self) -> Header:
        """Connect, if need be, and return once it is known that the service serves this client.
        Records are kept. Raises `RefusedError` if it does not."""
        self._read_until(self._is_connected)
        return self._connected_header()

    def close(self) -> None:
        """End the iteration, and give back what the client holds: now, or where another thread is
        waiting for a record, as soon as it comes back from that."""
        with self._handing:
            self._closed.set()
            if self._thread_id in (None, threading.get_ident()):
                self._let_go()

    @property
    def _is_over(self) -> bool:
        return self._subscription.is_over or self._closed.is_set()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Received:
        ready = self._subscription.ready
        if not ready:
            self._read_until(self._is_ready)
            if not ready:
                raise self._subscription.failure or StopIteration
        return ready.popleft()

    def _is_ready(self) -> bool:
        return bool(self._subscription.ready) or self._is_over

    def _read_until(self, is_enough: Callable[[], bool]) -> None:
        with self._handing:
            self._thread_id = threading.get_ident()
        try:
            while not is_enough():
                self._step()
        finally:
            with self._handing:
                self._thread_id = None
                is_done = self._is_over and not self._subscription.ready
                if is_done or self._closed.is_set():
                    self._let_go()

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

    @abstractmethod
    async def _let_go(self) -> None:
        """Give back the connection, if there is one."""

    async def connect(self) -> Header:
        """Connect, if need be, and return once it is known that the service serves this client.
        Records are kept. Raises `RefusedError` if it does not."""
        while not self._is_connected():
            await self._step()
        return self._connected_header()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        ready = self._subscription.ready
        while not ready:
            if self._is_over:
                raise self._subscription.failure or StopAsyncIteration
            await self._step()
        return ready.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._let_go()
