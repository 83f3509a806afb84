"""A network that is not to be relied on: what is sent to one group comes out at another, with some
packets lost, doubled, overtaken or damaged."""

import random
import socket
from collections import Counter
from types import TracebackType
from typing import Self

import trio
from msgspec import Struct

from fanout.clients.multicast_socket import join
from fanout.protocol.group import Group
from tests.stand.groups import LOOPBACK


class Faults(Struct, frozen=True, kw_only=True):
    """How likely a packet is to suffer each fault, from 0 to 1."""

    lost: float = 0.0
    doubled: float = 0.0
    overtaken: float = 0.0
    """It comes behind one to three later ones."""
    damaged: float = 0.0
    """A bit is wrong, or the end is missing."""


class UnsteadyLine:
    """Carries packets from one group to another. Everything follows from the seed."""

    def __init__(
        self, source: Group, target: Group, faults: Faults, seed: int, *, interface: str = LOOPBACK
    ) -> None:
        """`interface` is where the packets come from. They go on over loopback."""
        self.counts: Counter[str] = Counter()
        self._faults = faults
        self._chance = random.Random(seed)
        self._inward = join(source, interface=interface, buffer_bytes=4 << 20)
        self._outward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outward.setblocking(False)
        own = socket.inet_aton(LOOPBACK)
        self._outward.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        self._outward.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._outward.connect((target.address, target.port))
        self._held: list[tuple[int, bytes]] = []
        """Packets that are overtaken, and by how many more."""

    async def run(self) -> None:
        """Carry packets until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._inward)
            try:
                while True:
                    self._carry(self._inward.recv(65_536))
            except BlockingIOError:
                continue

    def _carry(self, packet: bytes) -> None:
        chance, faults = self._chance.random, self._faults
        self.counts["packets"] += 1
        if chance() < faults.lost:
            self.counts["lost"] += 1
            return
        if chance() < faults.damaged:
            self.counts["damaged"] += 1
            packet = self._damaged(packet)
        if chance() < faults.overtaken:
            self.counts["overtaken"] += 1
            self._held.append((self._chance.randint(1, 3), packet))
            return
        self._outward.send(packet)
        if chance() < faults.doubled:
            self.counts["doubled"] += 1
            self._outward.send(packet)
        held, self._held = self._held, []
        for left, each in held:
            if left > 1:
                self._held.append((left - 1, each))
            else:
                self._outward.send(each)

    def _damaged(self, packet: bytes) -> bytes:
        if self._chance.random() < 0.3:
            return packet[: self._chance.randrange(len(packet))]
        wrong = bytearray(packet)
        wrong[self._chance.randrange(len(packet))] ^= 1 << self._chance.randrange(8)
        return bytes(wrong)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inward.close()
        self._outward.close()
