"""Fifty consumers of all kinds: who keeps up and who does not, who stays and who comes and goes."""

import random
from collections.abc import Mapping
from math import inf
from typing import Any

import trio

from fanout.clients.ring import RingClient
from fanout.clients.shm import ShmClient
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Instrument
from tests.stand.consumers import AsyncioConsumer, BlockingConsumer, Consumer, TrioConsumer
from tests.stand.oracle import Oracle
from tests.stand.tails import Tail


class Wanderer(TrioConsumer):
    """Comes, leaves in the middle of whatever it does, and comes again at its position."""

    def __init__(self, oracle: Oracle, name: str, url: str, chance: random.Random) -> None:
        super().__init__(oracle, name, url)
        self._chance = chance
        self.comes = 0
        self._stays = False
        self._visit = trio.CancelScope()

    def stay(self) -> None:
        """Leave no more."""
        self._stays, self._visit.deadline = True, inf

    async def _run(self) -> None:
        start: Any = "live"
        while True:
            self.comes += 1
            stay_s = inf if self._stays else self._chance.uniform(0.2, 6)
            with trio.move_on_after(stay_s) as self._visit:
                async with TrioTcpClient(self.url, start=start) as client:
                    try:
                        async for record in client:
                            if self.take(client, record, trio.current_time()):
                                return
                    finally:
                        start = client.position or start
            await trio.sleep(self._chance.uniform(0, 1))


class Crowd:
    """All of them."""

    def __init__(self, oracle: Oracle, seed: int) -> None:
        self._oracle = oracle
        self._chance = random.Random(seed)
        self.witnesses: list[Consumer] = []
        self.others: list[Consumer] = []

    @property
    def all(self) -> list[Consumer]:
        return self.witnesses + self.others

    @property
    def tails(self) -> list[Tail]:
        return [each for each in self.others if isinstance(each, Tail)]

    @property
    def comes(self) -> int:
        return sum(each.comes for each in self.others if isinstance(each, Wanderer))

    def gather(self, direct: str, spoiled: str, instruments: Mapping[str, Instrument]) -> None:
        """Make those over TCP: at the service's own address, or at the one that is spoiled."""
        oracle = self._oracle
        for number in range(3):
            name = f"witness {number}"
            self.witnesses.append(TrioConsumer(oracle, name, direct, is_concerned=False))
        for number in range(8):
            url = (direct, spoiled)[number % 2]
            client = TcpClient(url, start="oldest")
            self.others.append(BlockingConsumer(oracle, f"blocking {number}", client))
            self.others.append(AsyncioConsumer(oracle, f"asyncio {number}", url))
        for number in range(11):
            url = (direct, spoiled)[number % 2]
            self.others.append(TrioConsumer(oracle, f"trio {number}", url, start="oldest"))
        for number in range(8):
            slow = TrioConsumer(oracle, f"slow {number}", direct, start="oldest")
            slow.pause_s = 0.02 * (number + 1)
            self.others.append(slow)
        for number in range(8):
            url = (direct, spoiled)[number % 2]
            self.others.append(Wanderer(oracle, f"wanderer {number}", url, self._chance))
        for number in range(2):
            self.others.append(Tail(oracle, f"tail {number}", direct, instruments))

    def attach(self, url: str, *, pause_s: float = 0.0) -> None:
        """Make a reader of a queue or a ring."""
        client = RingClient(url) if url.startswith("ring:") else ShmClient(url)
        reader = BlockingConsumer(self._oracle, f"{url} {pause_s:g}", client)
        reader.pause_s = pause_s
        self.others.append(reader)

    def settle(self) -> None:
        """Be slow no more, and come no more."""
        for each in self.others:
            each.pause_s = 0.0
            if isinstance(each, Wanderer):
                each.stay()
