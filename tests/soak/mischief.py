"""What goes wrong during a soak: one thing after another, at random moments, from a seed.

Left out of the simulator's table are the faults after which an id names two trades, or a price two
numbers (renumber, relist, delist): what is held to account here is each id. They are tried in
`tests/misbehaviour`. So is a 403 or 451, after which an exchange is left alone for five minutes.
"""

import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio

from fanout.errors import UsageError
from fanout.simulator import Simulator
from fanout.simulator.faults import (
    Delay,
    Drop,
    Fault,
    Forget,
    Garbage,
    Garble,
    Http,
    Insert,
    Malformed,
    Repeat,
    ShiftClock,
    Shuffle,
    Silence,
    Skip,
    Spend,
    Stall,
    UnknownEvent,
)
from tests.soak.crowd import Crowd
from tests.stand.proxy import Proxy

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
PAUSE_S: Final = (0.2, 2.0)
MAX_HTTP: Final = 3
"""Faults of REST that wait for a request, at most."""

SHOWING: Final = 0x80
"""Bits that no text has: a byte with one of them flipped is no digit any more. Neither WebSocket
nor HTTP has a checksum, so another digit would be another price."""

Deed = Callable[[], Awaitable[None]]


class Mischief:
    """Does one thing after another, until cancelled; then `stop` undoes what stands."""

    def __init__(
        self,
        simulator: Simulator,
        proxies: Mapping[str, Proxy],
        seed: int,
        *,
        crowd: Crowd | None = None,
        symbols: Sequence[str] = SYMBOLS,
    ) -> None:
        """`proxies` by name: `way` leads to consumers, others to the exchange. Processes of the
        `crowd` are killed."""
        self.done: Counter[str] = Counter()
        self._simulator = simulator
        self._proxies = proxies
        self._crowd = crowd
        self._symbols = symbols
        self._chance = random.Random(seed)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            faults: list[Deed] = [self._inject] * 3
            if self._crowd is not None:
                faults.append(self._kill)
            nursery.start_soon(self._go_on, faults)
            nursery.start_soon(self._go_on, (self._spoil,))

    async def _go_on(self, deeds: Sequence[Deed]) -> None:
        while True:
            await self._chance.choice(deeds)()
            await trio.sleep(self._chance.uniform(*PAUSE_S))

    def stop(self) -> None:
        self._simulator.faults.clear()
        for each in self._proxies.values():
            each.clear()

    async def _inject(self) -> None:
        fault = self._fault()
        standing = [each for each in self._simulator.faults.standing if isinstance(each, Http)]
        if isinstance(fault, Http) and len(standing) >= MAX_HTTP:
            return  # who waits after each of them would be left with nothing else for ever
        self.done[type(fault).__name__.lower()] += 1
        try:
            self._simulator.faults.inject(fault)
        except UsageError:
            self.done["refused by the simulator"] += 1

    async def _kill(self) -> None:
        """One of those that are processes."""
        self.done["client killed"] += 1
        assert self._crowd is not None, "without a crowd there is nobody to kill"
        self._chance.choice(self._crowd.tails).signal(signal.SIGKILL)

    def _fault(self) -> Fault:
        chance = self._chance
        symbol, few = chance.choice(self._symbols), chance.randint(1, 20)
        path = chance.choice(("/fapi", "/fapi/v1/trades", "/public"))
        return chance.choice(
            (
                Drop(how=chance.choice(("close", "cut", "reset", "half-open"))),
                Stall(for_s=chance.uniform(0.1, 4)),
                Malformed(),
                UnknownEvent(),
                Garbage(size_bytes=500, framed=chance.random() < 0.7),
                Silence(symbol, for_s=chance.uniform(1, 10)),
                Skip(symbol, count=few),
                Garble(symbol, count=few, how=chance.choice(("cut", "price", "types"))),
                Repeat(symbol, count=few, later=few),
                Delay(symbol, by=few, count=few),
                Shuffle(symbol, window=few + 1),
                Http(status=chance.choice((429, 500, 503)), path=path, retry_after_s=1),
                Http(status=418, path="/fapi", banned_for_s=3),
                Http(delay_s=chance.uniform(0.1, 12), path=path),
                Http(sent_bytes=100, path="/fapi"),
                Http(body="<html>", path="/fapi"),
                Spend(weight=few * 50),
                Forget(symbol, kept=500),
                Insert(symbol, count=few),
                Insert(symbol, kind=chance.choice(("INSURANCE_FUND", "ADL", "MARKET", "NEW"))),
                ShiftClock(chance.randint(-3_000, 3_000)),
            )
        )

    async def _spoil(self) -> None:
        """One proxy, for a while; it may be a leg with the other one spoiled a moment later."""
        name, proxy = self._chance.choice(list(self._proxies.items()))
        deeds = (self._slow, self._hold, self._flip, self._break)
        deed = self._chance.choice(deeds)
        self.done[f"{name} {deed.__name__.strip('_')}"] += 1
        await deed(proxy)
        proxy.clear()

    async def _slow(self, proxy: Proxy) -> None:
        chance = self._chance
        proxy.down.delay_s = chance.choice((0, 0.01, 0.2))
        proxy.down.bytes_per_s = chance.choice((5_000, 50_000, float("inf")))
        proxy.down.slice_bytes = chance.choice((7, 100, 65_536))
        await trio.sleep(chance.uniform(0.5, 4))

    async def _hold(self, proxy: Proxy) -> None:
        self._chance.choice((proxy.up, proxy.down)).hold()
        await trio.sleep(self._chance.uniform(0.5, 14))

    async def _flip(self, proxy: Proxy) -> None:
        chance = self._chance
        mask = chance.randint(1, 255) if proxy is self._proxies.get("way") else SHOWING
        proxy.down.flip(
            after=chance.randint(0, 3_000), every=chance.randint(1, 900), count=5, mask=mask
        )
        await trio.sleep(1)

    async def _break(self, proxy: Proxy) -> None:
        match self._chance.randrange(4):
            case 0:
                proxy.reset()
            case 1:
                proxy.half_close_down()
            case 2:
                proxy.half_close_up()
            case _:
                proxy.is_refusing = True
                proxy.reset()
                await trio.sleep(self._chance.uniform(0.5, 5))
