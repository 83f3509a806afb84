"""What goes wrong during a soak: one thing after another, at random moments, from a seed.

Left out of the simulator's table are the faults after which an id names two trades, or a price two
numbers (renumber, relist, delist), and those after which an update id names two books (unchain with
a negative step): what is held to account here is each id. They are tried in `tests/misbehaviour`.
So is a 403 or 451, after which an exchange is left alone for five minutes.
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
    Cross,
    Deepen,
    Delay,
    Drop,
    Empty,
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
    Stale,
    Stall,
    Unchain,
    UnknownEvent,
)
from tests.soak.crowd import Crowd
from tests.stand.proxy import Proxy

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
PAUSE_S: Final = (0.2, 2.0)
MAX_HTTP: Final = 3
"""Faults of REST that wait for a request, at most."""

LASTING_S: Final = 60.0
"""A limit of REST lasts until the end of a minute, and a half-open connection until it counts as
dead."""

SHOWING: Final = 0x80
"""Bits that no text has: a byte with one of them flipped is no digit any more. Neither WebSocket
nor HTTP has a checksum, so another digit would be another price."""

PATHS: Final = {
    "binance-usdm": ("/fapi", "/fapi/v1/trades", "/fapi/v1/depth", "/public"),
    "binance-spot": ("/api", "/api/v3/historicalTrades", "/api/v3/depth", "/stream"),
}
"""What faults of REST and of handshakes act on, by dialect. The first is all of REST."""

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
        with_books: Sequence[str] = SYMBOLS,
        dialect: str = "binance-usdm",
        longest_s: float = 3600.0,
    ) -> None:
        """`proxies` by name: `way` leads to consumers, others to the exchange. Processes of the
        `crowd` are killed. A fault whose effect would last longer than `longest_s` is shortened, or
        left out."""
        self._longest_s = longest_s
        self._paths = PATHS[dialect]
        self.done: Counter[str] = Counter()
        self._simulator = simulator
        self._proxies = proxies
        self._crowd = crowd
        self._symbols = symbols
        self._with_books = with_books
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
        booked = chance.choice(self._with_books)
        rest, path = self._paths[0], chance.choice(self._paths)
        sent = chance.choice(((symbol, few, "trade"), (booked, few, "depth")))
        any_sent = chance.choice((sent, sent, (symbol, few, "bookTicker")))
        ends = ["close", "cut", "reset"]
        lasting: list[Fault] = []
        if self._longest_s > LASTING_S:
            ends.append("half-open")
            lasting.append(Spend(weight=few * 50))
        return chance.choice(
            (
                *lasting,
                Drop(how=chance.choice(ends)),
                Stall(for_s=self._up_to(0.1, 4)),
                Malformed(),
                UnknownEvent(),
                Garbage(size_bytes=500, framed=chance.random() < 0.7),
                Silence(chance.choice((symbol, booked)), for_s=self._up_to(1, 10)),
                Silence(booked, "depth", for_s=self._up_to(1, 10)),
                Skip(*any_sent),
                Garble(*sent, how=chance.choice(("cut", "price", "types"))),
                Repeat(*any_sent, later=few),
                Delay(*any_sent, by=few),
                Shuffle(*any_sent, window=few + 1),
                Cross(booked, chance.randint(1, 3)),
                Unchain(booked, chance.choice((1, 1_000))),
                Empty(booked),
                Deepen(booked, chance.choice((300, 1_500))),
                Stale(booked, chance.choice((0.0, 1.0, 5.0)), requests=chance.randint(1, 3)),
                Http(status=chance.choice((429, 500, 503)), path=path, retry_after_s=1),
                Http(status=418, path=rest, banned_for_s=min(3, self._longest_s)),
                Http(delay_s=self._up_to(0.1, 12), path=path),
                Http(sent_bytes=100, path=path),
                Http(body="<html>", path=rest),
                Forget(symbol, kept=500),
                Insert(symbol, count=few),
                Insert(symbol, kind=chance.choice(("INSURANCE_FUND", "ADL", "MARKET", "NEW"))),
                ShiftClock(chance.randint(-3_000, 3_000)),
            )
        )

    def _up_to(self, least_s: float, most_s: float) -> float:
        return min(self._chance.uniform(least_s, most_s), self._longest_s)

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
        await trio.sleep(self._up_to(0.5, 4))

    async def _hold(self, proxy: Proxy) -> None:
        self._chance.choice((proxy.up, proxy.down)).hold()
        await trio.sleep(self._up_to(0.5, 14))

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
                await trio.sleep(self._up_to(0.5, 5))
