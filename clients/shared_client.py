"""The common part of the clients of a queue and of a ring. It never waits, but for the blocking
client at the end.

A `SharedClient` attaches, reads and checks on the file. The bytes go through a `Subscription`, like
those of a TCP connection. The clients around it only sleep.
"""

import os
import platform
import time
from abc import abstractmethod
from enum import Enum
from typing import Final, Generic, TypeVar, Unpack

from fanout.clients.client import BlockingClient, Client, ClientOptions
from fanout.clients.outcomes import AddressError
from fanout.clients.shared_file import AttachedFile, Outcome, SharedFileError, outcome_of
from fanout.clients.subscription import Mark
from fanout.protocol.errors import PeerError
from fanout.protocol.queue_file import DIRECTORY, name_fault, require_supported_machine
from fanout.protocol.records import End
from fanout.protocol.request import Request

CHECK_S: Final = 0.2
"""How often a reader checks on the file, by a few system calls. Within this time it notices
everything that can happen to a queue or a ring, except silence."""

LONGEST_PAUSE_S: Final = 0.5
"""Longest pause before the next attempt to attach. It costs the service nothing."""

FIRST_NAP_S: Final = 50e-6
LONGEST_NAP_S: Final = 1e-3

YIELDS: Final = 100
"""Polls without a frame, some 50 µs, before a reader with `Wait.SLEEP` sleeps."""

A = TypeVar("A", bound=AttachedFile)
"""What is attached."""


def parse_name(url: str, scheme: str, noun: str) -> str:
    """The name in `SCHEME://NAME`. Raises `AddressError`."""
    prefix = f"{scheme}://"
    name = url.removeprefix(prefix)
    fault = name_fault(name) if name != url else f"it does not begin with {prefix}"
    if fault:
        raise AddressError(f"{url!r} is not a {noun}'s address, {prefix}NAME: {fault}")
    return name


def nap_s(idle: int) -> float:
    """How long to sleep after `idle` polls without a frame in a row: 0 after none, then from
    `FIRST_NAP_S` up to `LONGEST_NAP_S`."""
    return min(FIRST_NAP_S * 2 ** min(idle - 1, 10), LONGEST_NAP_S) if idle else 0.0


class SharedClient(Client, Generic[A]):
    """A subscriber to a file in shared memory."""

    _longest_pause_s = LONGEST_PAUSE_S

    _scheme: str
    _noun: str

    def __init__(
        self,
        url: str,
        *,
        directory: str = DIRECTORY,
        request: Request | None = None,
        resume: bool = True,
        **options: Unpack[ClientOptions],
    ) -> None:
        require_supported_machine(platform.machine())
        super().__init__(url, request=request, resume=resume, **options)
        self.outcome: Outcome | None = None
        """How the last queue or ring ended, or the last attempt to attach."""
        name = parse_name(url, self._scheme, self._noun)
        self._path = os.path.join(directory, name)
        self._file: A | None = None
        self._ended_epoch_ns: int | None = None
        """Of the file whose END has been handed over."""
        self._corrupt_epoch_ns: int | None = None
        """Of the file that holds broken bytes, until they have been skipped."""
        self._next_check_s = 0.0
        self._idle = 0
        self._retired: A | None = None
        """A file that was lost, until all records from it are settled."""

    @abstractmethod
    def _open(self, now_s: float) -> A:
        """Attach, behind any bytes that were found broken there, and set `_file`. Raises
        `PeerError`."""

    @abstractmethod
    def _require_worth(self, file: A, now_s: float) -> None:
        """Raises `SharedFileError` for a file that is in trouble and has nothing to be read."""

    @abstractmethod
    def _give_up(self, file: A, trouble: SharedFileError) -> None:
        """Leave a file in trouble that is read to its end, except perhaps for its last words.
        Raises `trouble`, or nothing if there is more to be read now."""

    def _attached(self) -> A:
        """What is attached now, and in order as far as is known. Raises `PeerError`."""
        now_s = time.monotonic()
        file = self._open(now_s)
        self._next_check_s = now_s + CHECK_S
        return file

    def _attach(self) -> None:
        """Attach and begin a session. If that fails there is a `Disconnected` in `ready`."""
        self._begin()
        try:
            file = self._attached()
            self._require_worth(file, time.monotonic())
            self._mark = None
            opening = file.opening()
            if opening:
                self._receive(file, opening)
        except (OSError, PeerError) as error:
            self._detach(error)
        self._settle()
        self._close_retired()

    def _take(self) -> bool:
        """Take what comes next; False if there is nothing. A file in trouble is read to its end."""
        assert self._file is not None, "the caller has attached"
        file = self._file
        file.commit()
        self._begin()
        try:
            trouble = self._trouble(file)
            data = file.read()
            if data:
                self._receive(file, data)
            elif trouble:
                self._give_up(file, trouble)
        except PeerError as error:
            self._detach(error)
            data = b"?"  # not idle: `ready` has a Disconnected
        self._settle()
        if self._retired is not None:
            self._close_retired()
        return bool(data)

    def _trouble(self, file: A) -> SharedFileError | None:
        now_s = time.monotonic()
        if now_s < self._next_check_s:
            return None
        trouble = file.trouble(now_s, self._idle_timeout_s)
        if trouble is None:
            self._next_check_s = now_s + CHECK_S
        return trouble

    def _receive(self, file: A, data: bytes) -> None:
        """Pass bytes to the session. Raises `PeerError`, and `DisconnectedError` for END."""
        self._mark = None
        ready = self._subscription.ready
        self._subscription.receive(data)
        if ready and isinstance(ready[-1], End):
            self._ended_epoch_ns = file.epoch_ns
            self._subscription.receive(b"")

    def _detach(self, error: Exception) -> None:
        """Give up the file. It is closed once all records from it are settled."""
        self._retired, self._file = self._file, None
        error = self._explained(self._retired, error)
        self._disconnected(error)
        if self._subscription.failure:
            self._subscription.failure.__cause__ = error

    def _close_retired(self) -> None:
        file, self._retired = self._retired, None
        if file is not None:
            file.close()

    def _explained(self, file: A | None, error: Exception) -> Exception:
        """The cause of an error, which also sets `outcome`."""
        if file is not None:
            error = file.explained(error)
            if outcome_of(error) is Outcome.CORRUPT:
                self._corrupt_epoch_ns = file.epoch_ns
        self.outcome = outcome_of(error)
        return error

    def _undo(self, doubt: Mark) -> None:
        """Go back to read the bytes again. Unlike a socket, the file still has them."""
        if self._file is None:
            self._file, self._retired = self._retired, None
        if self._file is None or doubt.is_fresh:
            super()._undo(doubt)
        else:
            self._file.rewind()
            self._subscription.return_to(doubt)

    def _has_connection(self) -> bool:
        return self._file is not None or self._retired is not None

    def _close_copy(self) -> None:
        files = (self._file, self._retired)
        self._file = self._retired = None
        for each in files:
            if each is not None:
                each.close()

    def _drop(self) -> None:
        self._close_retired()
        file, self._file = self._file, None
        if file is not None:
            file.close()


class Wait(Enum):
    """What a blocking reader does while there is nothing to read."""

    SPIN = "spin"
    """Poll again at once. The fastest, but it takes a whole core."""
    YIELD = "yield"
    """Let other threads have the core, then poll again."""
    SLEEP = "sleep"
    """Yield for a short while, then sleep, up to a millisecond at a time."""


class BlockingSharedClient(SharedClient[A], BlockingClient):
    """The same for a program without an event loop."""

    _wait: Wait

    def _step(self) -> None:
        """Attach, or poll once, and pause if there was nothing."""
        if self._file is None:
            if not self._is_closed_within(self._subscription.state.pause_s):
                self._attach()
        elif self._take():
            self._idle = 0
        else:
            self._pause(self._idle)
            self._idle += 1

    def _pause(self, idle: int) -> None:
        if self._wait is Wait.SLEEP and idle >= YIELDS:
            time.sleep(nap_s(idle - YIELDS))
        elif self._wait is not Wait.SPIN:
            os.sched_yield()
