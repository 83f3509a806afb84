"""Queues for the tests of their readers: a writer in the test's own hand."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from fanout.clients import shared_client
from fanout.protocol import (
    Block,
    End,
    EndReason,
    Header,
    Loss,
    Trade,
    encode_block,
    encode_event,
    frame,
)
from fanout.transports.shm.queue_file import OwnedQueue, create
from tests.protocol.golden import BTC, HEADER

NOTICED_S = shared_client.CHECK_S + shared_client.LONGEST_NAP_S
"""Within this time a reader notices what it checks."""


class Writer:
    """A queue `q` in a directory, and what writes to it."""

    def __init__(
        self, directory: Path, *, epoch_ns: int = 1, next_seq: int = 1, capacity_bytes: int = 65536
    ) -> None:
        self.header = msgspec.structs.replace(HEADER, epoch_ns=epoch_ns, next_seq=next_seq)
        self.next_seq = next_seq
        self.path = directory / "q"
        self.queue: OwnedQueue = create(
            str(self.path), capacity_bytes=capacity_bytes, header=self.header
        )

    def trades(self, count: int = 1) -> bool:
        """Push a block whose trade ids are its sequence numbers; False if there is no room."""
        if not self.queue.writer.push(block(self.header, self.next_seq, count)):
            return False
        self.next_seq += count
        self.queue.writer.mark(self.next_seq)
        return True

    def end(self, *, keep: bool = False, in_queue: bool = True) -> None:
        """An orderly end."""
        end = frame(encode_event(goodbye(self.next_seq - 1)))
        if in_queue:
            self.queue.writer.push(end)
        self.queue.writer.end(b"" if in_queue else end)
        self.queue.close(keep=keep)

    def die(self) -> None:
        """What is left when a process is killed: a file that nobody has locked."""
        self.queue.close(keep=True)


@contextmanager
def writing(directory: Path, **options: Any) -> Iterator[Writer]:
    """A writer that dies at the end, unless it is gone already."""
    writer = Writer(directory, **options)
    try:
        yield writer
    finally:
        with suppress(OSError, ValueError):
            writer.die()


def block(header: Header, first_seq: int, count: int) -> bytes:
    trades = [Trade(BTC, seq, 5, 6, 7, False) for seq in range(first_seq, first_seq + count)]
    return frame(encode_block(Block(first_seq=first_seq, trades=trades, received_ns=1), header))


def goodbye(last_seq: int) -> End:
    return End(reason=EndReason.SHUTDOWN, last_seq=last_seq, retry_ms=0, why="over")


def overwrite(path: Path, at: int, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, at)
    os.close(fd)


def numbers(records: list[Any]) -> list[int]:
    """The numbers that a reader got or was told of as lost, in order."""
    found: list[int] = []
    for each in records:
        if isinstance(each, Loss):
            found += range(each.first_seq, each.last_seq + 1)
        elif isinstance(each, Trade):
            found.append(each.seq)
    return found


class SleptTime:
    """A clock in place of the module `time`, for a client of shared memory: only its sleeps take
    time, and none is waited for."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._alarm_s = inf
        self._alarm: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= self._alarm_s:
            self._alarm_s = inf
            self._alarm()

    def call(self, at_s: float, act: Callable[[], None]) -> None:
        """Act in the first sleep that ends at that time or later."""
        self._alarm_s, self._alarm = at_s, act
