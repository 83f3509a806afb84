"""The open WebSocket connections, and the faults that act on them.

A `Connection` is the stream of one client. Everything that its protocol sends passes through it, so
a stall holds pongs and acknowledgements as well. A fault only marks a connection as dropped. The
task that serves the connection ends it, since only that task may write a close frame or release the
socket.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Final

import msgspec
import trio

from fanout.errors import UsageError
from fanout.simulator.connection.head import RefusedError
from fanout.simulator.connection.rate_limit import Rate
from fanout.simulator.connection.streams import Subscriber
from fanout.simulator.dialects.base import Form
from fanout.simulator.faults import MAX_STANDING, ConnectionFault, Drop, Lose, Stall

_AT_ONCE: Final = struct.pack("ii", 1, 0)  # a linger time of zero: closing the socket sends a reset


class Connection(trio.abc.Stream):
    """One connection's stream, and the subscriber behind it."""

    def __init__(self, stream: trio.abc.Stream, connections: "Connections", route: str) -> None:
        self.route = route
        self.subscriber = Subscriber(route)
        self.dropped = trio.Event()
        self.drop_as: Drop | None = None
        self.ends_after_replies = False
        """Whether a drop waits until all queued messages are sent."""
        self.ends = trio.CancelScope()
        """The connection ends at its deadline, without a close frame."""
        self._stream = stream
        self._connections = connections

    def drop(self, fault: Drop, *, after_replies: bool = False) -> None:
        """Mark the connection as dropped. A later call changes nothing."""
        if self.drop_as is None:
            self.drop_as, self.ends_after_replies = fault, after_replies
            self.dropped.set()

    def listed(self) -> AbstractContextManager[None]:
        """Faults find the connection inside this context."""
        return self._connections.listed(self)

    async def flowing(self) -> None:
        """Wait while the connection is stalled. Otherwise return at once, without a checkpoint."""
        await self._connections.flowing(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.flowing()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Stalled(msgspec.Struct, frozen=True):
    fault: Stall
    until_s: float
    chosen: frozenset[Connection] | None  # None: all of its route, later ones too

    def acts_on(self, connection: Connection) -> bool:
        if self.chosen is not None:
            return connection in self.chosen
        return self.fault.route in (None, connection.route)


class Connections:
    """All connections after their handshake. `most` may be open or in their handshake at once, and
    `per_window` is how many may begin in so many seconds. None is no limit."""

    def __init__(
        self, most: int | None = None, per_window: tuple[int, float] | None = None
    ) -> None:
        self._most = most
        self._per_window = per_window
        self._rate = None if per_window is None else Rate(*per_window)
        self._admitted = 0
        self._open: list[Connection] = []  # oldest first
        self._stalled: list[_Stalled] = []
        self._resumed = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._open)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """For a handshake, and the connection that it begins. Raises `RefusedError` beyond the
        limits."""
        if self._most is not None and self._admitted >= self._most:
            raise _too_many(f"{self._most:,} are open, and an address may have no more")
        if self._rate is not None and not self._rate.allows(trio.current_time()):
            assert self._per_window is not None, "the rate is made of it"
            count, window_s = self._per_window
            raise _too_many(f"an address may open {count:,} in {window_s:g} s")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextmanager
    def listed(self, connection: Connection) -> Iterator[None]:
        self._open.append(connection)
        try:
            yield
        finally:
            self._open.remove(connection)

    def drop(self, fault: Drop) -> None:
        for connection in self._concerned(fault):
            connection.drop(fault)

    def end_in(self, fault: ConnectionFault, seconds: float) -> None:
        """End the connections that are open now within `seconds`."""
        for connection in self._concerned(fault):
            ends = connection.ends
            ends.deadline = min(ends.deadline, trio.current_time() + seconds)

    def say(self, fault: ConnectionFault, frame: Callable[[Form], bytes]) -> None:
        """Queue a frame to each connection, in the connection's form."""
        for connection in self._concerned(fault):
            subscriber = connection.subscriber
            subscriber.outbox.put(frame(subscriber.form))

    def stall(self, fault: Stall) -> None:
        """Raises `UsageError` if `MAX_STANDING` stalls stand already."""
        if len(self._standing_stalls()) == MAX_STANDING:
            raise UsageError(f"{MAX_STANDING:,} stalls stand already: clear them")
        until_s = trio.current_time() + fault.for_s
        chosen = None if fault.which == "all" else frozenset(self._concerned(fault))
        self._stalled.append(_Stalled(fault, until_s, chosen))

    def lose(self, fault: Lose) -> None:
        for connection in self._concerned(fault):
            connection.subscriber.loses += fault.count

    def resume(self) -> None:
        """End all stalls and losses."""
        for connection in self._open:
            connection.subscriber.loses = 0
        self._stalled.clear()
        self._resumed.set()
        self._resumed = trio.Event()

    def standing(self) -> list[ConnectionFault]:
        """The stalls that are not over, and what connections have still to lose."""
        lost = {each.subscriber.loses for each in self._open if each.subscriber.loses}
        return [*self._standing_stalls(), *(Lose(count=count) for count in sorted(lost))]

    def _standing_stalls(self) -> list[Stall]:
        now_s = trio.current_time()
        self._stalled = [each for each in self._stalled if now_s < each.until_s]
        return [each.fault for each in self._stalled]

    async def flowing(self, connection: Connection) -> None:
        while self._standing_stalls():
            until_s = max((e.until_s for e in self._stalled if e.acts_on(connection)), default=None)
            if until_s is None:
                return
            with trio.move_on_at(until_s):
                await self._resumed.wait()

    def _concerned(self, fault: ConnectionFault) -> list[Connection]:
        on_route = [each for each in self._open if fault.route in (None, each.route)]
        return {"all": on_route, "oldest": on_route[:1], "newest": on_route[-1:]}[fault.which]


def _too_many(why: str) -> RefusedError:
    return RefusedError(HTTPStatus.TOO_MANY_REQUESTS, words=f"too many connections: {why}")


async def end_as(fault: Drop, stream: trio.abc.Stream) -> None:
    """Finish a drop once no task serves the stream. The caller closes the stream afterwards."""
    if fault.how == "half-open":
        # Read and discard, to notice when the client leaves.
        while await stream.receive_some():
            pass
    if fault.how == "reset" and isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
