"""Multicast on loopback: groups that no other test has, and a receiver without a client."""

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from fanout.clients.multicast_socket import Receivers
from fanout.protocol.group import Group
from fanout.protocol.lines import Lines
from tests.stand.subscriber import StreamSubscriber

LOOPBACK = "127.0.0.1"

_tens = itertools.count(1)


def free_groups() -> tuple[Group, Group]:
    """Groups for lines A and B, with room for ten channels, at a port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    number = 10 * next(_tens)
    return Group(f"239.211.{number // 200}.{number % 200}", port), Group(
        f"239.212.{number // 200}.{number % 200}", port
    )


class GroupSubscriber(StreamSubscriber):
    """Receives groups, and reports what is missing after a short while."""

    def __init__(self, receivers: Receivers, patience_s: float = 0.02) -> None:
        super().__init__(self._next)
        self.lines = Lines()
        self._receivers = receivers
        self._patience_s = patience_s

    async def _next(self) -> bytes:
        while not (frames := self.lines.take()):
            if self.lines.is_over:
                return b""
            if not self._receivers.receive(self.lines, time.monotonic()):
                with trio.move_on_after(self._patience_s):
                    await trio.lowlevel.wait_readable(self._receivers.fileno())
            missing = self.lines.missing
            if missing and time.monotonic() - missing.since_s >= self._patience_s:
                self.lines.give_up()
            await trio.lowlevel.checkpoint()
        return frames


@contextmanager
def receiving(*groups: Group, buffer_bytes: int = 1 << 20) -> Iterator[GroupSubscriber]:
    """A receiver that has joined these groups."""
    receivers = Receivers(groups, interface=LOOPBACK, buffer_bytes=buffer_bytes)
    try:
        yield GroupSubscriber(receivers)
    finally:
        receivers.close()


def overrun(group: Group) -> list[int]:
    """How many packets each socket that is bound to a group had no room for."""
    number = int.from_bytes(socket.inet_aton(group.address), "little")
    rows = [each.split() for each in Path("/proc/net/udp").read_text().splitlines()]
    return [int(row[-1]) for row in rows if row[1] == f"{number:08X}:{group.port:04X}"]


@contextmanager
def datagrams(group: Group) -> Iterator[socket.socket]:
    """A socket that gets what is sent to a group, as it is."""
    receivers = Receivers([group], interface=LOOPBACK, buffer_bytes=1 << 20)
    try:
        yield receivers.sockets[0]
    finally:
        receivers.close()
