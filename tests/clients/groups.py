"""A service that sends packets by hand, and clients that say when they have joined."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from msgspec.structs import replace

from fanout.clients.client import Client
from fanout.clients.connecting import Address
from fanout.clients.multicast import MulticastClient
from fanout.clients.multicast_asyncio import AsyncioMulticastClient
from fanout.clients.multicast_client import GroupClient
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.outcomes import Received
from fanout.protocol import End, EndReason, Header
from fanout.protocol.constants import BlockFlags
from fanout.protocol.group import Group
from fanout.protocol.packets import Line, on_line
from fanout.protocol.packing import Packer
from tests.protocol.golden import HEADER
from tests.protocol.test_session import block
from tests.stand.groups import LOOPBACK, free_groups

Act = Callable[[int], None]
"""What happens once a client has joined, for the first time (0) or again."""


class Service:
    """Sends packets to groups of its own."""

    def __init__(self, a: Group, b: Group, epoch_ns: int = 7) -> None:
        self.groups = (a, b)
        self.url = f"multicast://{a}"
        self.options: dict[str, Any] = {"group_b": str(b), "interface": LOOPBACK}
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in self.groups]
        for each in self._sockets:
            own = socket.inet_aton(LOOPBACK)
            each.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        self.packer = self.restarted(epoch_ns)

    def restarted(self, epoch_ns: int) -> Packer:
        """A new epoch begins."""
        header: Header = replace(HEADER, next_seq=1, epoch_ns=epoch_ns)
        self.packer = Packer(header, packet_bytes=1_400)
        return self.packer

    def send(self, packets: Sequence[bytes], on: str = "ab") -> None:
        """Send packets on one of the lines, on both, or on none."""
        for packet in packets:
            for name, line in zip("ab", Line, strict=True):
                if name in on:
                    group = self.groups[line]
                    self._sockets[line].sendto(on_line(packet, line), (group.address, group.port))

    def opening(self, on: str = "ab") -> None:
        self.send(self.packer.opening(5, is_last=True), on)

    def trades(self, count: int = 1, on: str = "ab") -> None:
        """A packet with a block of the next trades."""
        self.send(self.packer.pack(block(self.packer.next_seq, count), 5), on)

    def heartbeat(self, on: str = "ab") -> None:
        self.send([self.packer.heartbeat(5)], on)

    def end(self, retry_ms: int | None = 10, times: int = 2) -> None:
        last = self.packer.next_seq - 1
        end = End(reason=EndReason.SHUTDOWN, last_seq=last, retry_ms=retry_ms, why="enough")
        self.send([self.packer.end(end, 5) for _ in range(times)])

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@contextmanager
def sending() -> Iterator[Service]:
    service = Service(*free_groups())
    try:
        yield service
    finally:
        service.close()


def snapshot(first_seq: int) -> bytes:
    return block(first_seq, 1, BlockFlags.SNAPSHOT)


class _Acting(GroupClient):
    """A client whose tests act once it has joined."""

    act: Act
    joined = 0

    def _open(self, addresses: Sequence[Address]) -> None:
        super()._open(addresses)
        self.joined += 1
        self.act(self.joined - 1)


class Blocking(_Acting, MulticastClient):
    pass


class OfAsyncio(_Acting, AsyncioMulticastClient):
    pass


class OfTrio(_Acting, TrioMulticastClient):
    pass


Until = Callable[[list[Received]], bool]
Collect = Callable[..., tuple[list[Received], Client]]


def collect_blocking(
    url: str, act: Act, until: Until, **options: Any
) -> tuple[list[Received], Client]:
    records: list[Received] = []
    client = Blocking(url, **options)
    client.act = act
    with client:
        for record in client:
            records.append(record)
            if until(records):
                break
        return records, client


def collect_asyncio(
    url: str, act: Act, until: Until, **options: Any
) -> tuple[list[Received], Client]:
    async def run() -> tuple[list[Received], Client]:
        return await _collected(OfAsyncio(url, **options), act, until)

    return asyncio.run(run())


def collect_trio(url: str, act: Act, until: Until, **options: Any) -> tuple[list[Received], Client]:
    async def run() -> tuple[list[Received], Client]:
        with trio.fail_after(20):
            return await _collected(OfTrio(url, **options), act, until)

    return trio.run(run)


async def _collected(
    client: OfAsyncio | OfTrio, act: Act, until: Until
) -> tuple[list[Received], Client]:
    records: list[Received] = []
    client.act = act
    async with client:
        async for record in client:
            records.append(record)
            if until(records):
                break
        return records, client
