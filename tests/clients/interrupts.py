"""Interrupts at every point: exceptions from outside, as a signal handler raises them.

Python runs signal handlers behind calls of built-in functions and at the begin of its own. There a
profiler counts the points in the code of the clients, and raises at the one whose turn it is; after
that at the one that comes one point later, and so on. To recover, connect and read takes some
hundred points, so that after enough interrupts each has been hit.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dis import opname
from types import FrameType
from typing import Any

import fanout.clients
from fanout.protocol import Loss, Trade, decode_request, framing, listing, queue, ring, session
from fanout.protocol.request import Position
from tests.protocol.test_session import block, opening

EPOCH_NS = 7
PIECE_BYTES = 100
"""Of the stream in one read: not whole frames."""


FILES = (
    *fanout.clients.__path__,
    *(each.__file__ for each in (framing, listing, queue, ring, session)),
)
"""The code of the clients, and the code of the wire that keeps state."""


class InterruptedByUserError(BaseException):
    """What a signal handler raises."""


class Interrupts:
    """Raises behind so many points of the clients' code, one more each time."""

    def __init__(self, last: int) -> None:
        self._after = 1
        self._last = last
        self._left = 0
        self.count = 0
        # Held here, since CPython 3.11 does not hold it while it makes the frame it is called with.
        # The garbage collection that may come there runs destructors, and a raise in one of them
        # removes the profiler: a method that only Python held would be freed and then called.
        self._profiler = self._look

    @property
    def is_over(self) -> bool:
        return self._after > self._last

    def arm(self) -> None:
        """The next one is due. A profiler that has raised looks no more."""
        self._left = self._after
        self._after += 1
        sys.setprofile(self._profiler)

    def rearm(self) -> None:
        """Arm again, if the one that was due was raised where Python drops exceptions."""
        if sys.getprofile() is None:
            self.arm()

    def caught(self) -> None:
        sys.setprofile(None)
        self.count += 1

    def _look(self, frame: FrameType, event: str, _: object) -> None:
        if is_point(frame, event):
            self._left -= 1
            if self._left == 0:
                raise InterruptedByUserError


def is_point(frame: FrameType, event: str) -> bool:
    """Whether a signal handler might run there. Functions of this test are in the place of built-in
    ones."""
    if event == "call":
        code = frame.f_code.co_code
        is_begin = opname[code[frame.f_lasti]] != "RESUME" or code[frame.f_lasti + 1] < 2
        return is_begin and is_ours(frame)
    if event == "return":
        return is_ours(frame.f_back) and not is_ours(frame)
    return event == "c_return" and is_ours(frame)


def is_ours(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename.startswith(FILES)


@contextmanager
def undisturbed() -> Iterator[None]:
    """What runs within this is the test's own, and not interrupted."""
    profiler = sys.getprofile()
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.setprofile(profiler)


class Oracle:
    """Received and told together are all numbers from 1 on, each once and in order."""

    def __init__(self) -> None:
        self.next_seq = 1

    def take(self, record: object) -> None:
        if isinstance(record, Trade):
            assert record.seq == self.next_seq, f"{record.seq} instead of {self.next_seq}"
            self.next_seq += 1
        elif isinstance(record, Loss):
            assert record.first_seq == self.next_seq
            self.next_seq = record.last_seq + 1

    def check_position(self, position: Position | None) -> None:
        """A position is behind what was handed over, whatever was under way."""
        assert position is None or position == Position(epoch_ns=EPOCH_NS, seq=self.next_seq)
        assert position is not None or self.next_seq == 1


class EndlessService:
    """What a client is sent that asks for a place: all from there on, in pieces."""

    def __init__(self) -> None:
        self._data = b""
        self._seq = 1
        self.connections = 0
        self.sockets: list[socket.socket] = []

    @undisturbed()
    def ask(self, hello: bytes) -> None:
        start = decode_request(hello[4:]).start
        self._seq = start.seq if isinstance(start, Position) else 1
        self._data = opening(self._seq, epoch_ns=EPOCH_NS)
        self.connections += 1

    @undisturbed()
    def read(self) -> bytes:
        while len(self._data) < PIECE_BYTES:
            self._data += block(self._seq, 3)
            self._seq += 3
        data, self._data = self._data[:PIECE_BYTES], self._data[PIECE_BYTES:]
        return data


class ScriptedSocket(socket.socket):
    """A socket that is connected to an `EndlessService`."""

    def __init__(self, service: EndlessService) -> None:
        super().__init__(socket.AF_UNIX)
        self._service = service
        service.sockets.append(self)

    def setsockopt(self, *_: Any) -> None:
        pass

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._service.ask(bytes(data))

    def recv(self, size: int, flags: int = 0) -> bytes:
        return self._service.read()
