"""A soak of the best price across six venues: cut, stale and misbehaving in turn.

    a simulator for each venue --stream, rest: spoiled--> its source --> its channel
                                            a service (a process)          |
                                                   NBBO <--- a client for each channel

    python -m tests.soak.nbbo --minutes 10

All six have BTC, ETH and SOL against USDT as perpetual futures: two venues of each of three
dialects, with different exponents and sizes of contracts. In its turn a venue is cut off, or
nothing comes from it, or it does all that its dialect knows. At the end of a round nothing comes
from any of them. Every state of the best prices is held against the exchanges' own books, by
fractions (`nbbo_oracle`). The exit code is 0 only if none was wrong, each venue counted again after
its turn, and there were stale venues, crossed prices and moments without a price.
"""

import random
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from time import time, time_ns
from typing import Final

import msgspec
import trio
from msgspec.structs import replace

from fanout.analytics.nbbo.assets import parse_asset
from fanout.analytics.nbbo.nbbo import Why
from fanout.analytics.nbbo.nbbos import BestPricesOf, Changed, VenueStream
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol.records import Header
from fanout.simulator import Simulator, SimulatorConfig
from tests.fanout.cli.processes import environment
from tests.soak.mischief import Mischief
from tests.soak.nbbo_oracle import MAX_STALE_MS, Exchange, ExchangeTops, NbboOracle
from tests.stand.inside import running_simulator
from tests.stand.proxy import Proxy, proxying
from tests.stand.service import Service, serving

RATE: Final = 12.0
"""Trades a second of a venue."""
COME_UP_S: Final = 30.0
RECOVERY_S: Final = 150.0
"""The longest until a venue counts again: a limit of REST ends with its minute, a ban after two."""
AFTERMATH_S: Final = 10.0
"""For so long after its turn a venue may still be out."""
LOOK_EVERY_S: Final = 0.1
LONGEST_TURN_S: Final = 20.0

_USDT: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
_SWAP: Final = ("BTC-USDT-SWAP", "ETH-USDT-SWAP", "SOL-USDT-SWAP")


class Plan(msgspec.Struct, frozen=True):
    """A venue's name, the adapter of its source, the dialect of its simulator, and its symbols."""

    name: str
    adapter: str
    dialect: str
    symbols: tuple[str, ...]


PLANS: Final = (
    Plan("binance", "binance", "binance-usdm", _USDT),
    Plan("bybit", "bybit", "bybit", _USDT),
    Plan("okx", "okx", "okx", _SWAP),
    Plan("binance-2", "binance", "binance-usdm", _USDT),
    Plan("bybit-2", "bybit", "bybit", _USDT),
    Plan("okx-2", "okx", "okx", _SWAP),
)


class Site:
    """A venue: its simulator, the proxies in front of it, and how the oracle sees it."""

    def __init__(self, plan: Plan, simulator: Simulator, stream: Proxy, rest: Proxy) -> None:
        self.plan = plan
        self.simulator = simulator
        self.stream = stream
        self.rest = rest
        self.exchange = Exchange(plan.name, ExchangeTops(simulator, plan.symbols))
        self.calm_from_s = 0.0
        """From when on nothing may be wrong with it, if it counts by then."""

    def table(self) -> str:
        """Its source in the configuration file."""
        return (
            f'[[source]]\nvenue = "{self.plan.adapter}"\nchannel = "{self.plan.name}"\n'
            f'assets = "{",".join(self.plan.symbols)}"\ndata = ["trades", "book"]\n'
            f'ws-url = "{self.stream.url("ws")}"\nrest-url = "{self.rest.url("http")}"\n'
        )


Deed = Callable[[Site, int, float], Awaitable[None]]


class NbboSoak:
    def __init__(self, sites: Sequence[Site], seed: int) -> None:
        self.sites = sites
        self.prices = BestPricesOf(
            [parse_asset(f"{base}-USDT:perpetual") for base in ("BTC", "ETH", "SOL")],
            max_stale_ms=MAX_STALE_MS,
        )
        self.oracle = NbboOracle({each.plan.name: each.exchange for each in sites})
        self.done: Counter[str] = Counter()
        self.slowest_s = 0.0
        """The longest from the end of a turn until the venue counted again."""
        self._seed = seed

    async def run(self, duration_s: float, directory: Path) -> None:
        config = directory / "fanout.toml"
        config.write_text("\n".join(each.table() for each in self.sites))
        words = f"--config {config} --log-bytes 8MiB tcp --port 0".split()
        async with serving(*words, log=directory / "log", env=environment()) as service:
            url = await service.address("tcp")
            async with trio.open_nursery() as nursery:
                for site in self.sites:
                    stream = self.prices.stream()
                    nursery.start_soon(self._read, f"{url}/{site.plan.name}", site, stream)
                nursery.start_soon(self._look)
                for site in self.sites:
                    site.simulator.release()
                await self._until_all_count(COME_UP_S, "after the beginning")
                await self._trouble(duration_s)
                await self._until_all_count(RECOVERY_S, "after the last turn")
                nursery.cancel_scope.cancel()
            self._judge(service, duration_s)

    async def _read(self, url: str, site: Site, stream: VenueStream) -> None:
        async with TrioTcpClient(url) as client:
            header: Header | None = None
            async for record in client:
                if client.header is not header and client.header is not None:
                    header = client.header
                    # Two of each adapter are two venues here.
                    stream.meet(replace(header, venue=site.plan.name))
                self._compare(stream.take(record))

    def _compare(self, changed: Changed) -> None:
        for each in changed:
            self.oracle.judge(each)

    async def _look(self) -> None:
        """Time passes, also where nothing comes."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            self._compare(self.prices.advance(time_ns()))
            self._compare(self.prices.assets)
            for site in self.sites:
                if site.exchange.is_concerned and 0 < site.calm_from_s < time():
                    self._settle(site)

    def _settle(self, site: Site) -> None:
        late_s = time() - site.calm_from_s
        if self._counts(site):
            self.slowest_s = max(self.slowest_s, late_s)
            site.exchange.is_concerned = False
        elif late_s > RECOVERY_S:
            site.calm_from_s = 0.0
            self.oracle.complaints.append(
                f"{site.plan.name} does not count {RECOVERY_S:g} s after its turn"
            )

    def _counts(self, site: Site) -> bool:
        name = site.plan.name
        return len(self.prices.assets) == len(site.plan.symbols) and all(
            name in each.names and each.best.whys[each.names.index(name)] is Why.FRESH
            for each in self.prices.assets
        )

    async def _until_all_count(self, within_s: float, when: str) -> None:
        with trio.move_on_after(within_s):
            while not all(self._counts(each) for each in self.sites):  # noqa: ASYNC110
                await trio.sleep(LOOK_EVERY_S)
            for site in self.sites:
                site.calm_from_s = site.calm_from_s or time()
            return
        out = [each.plan.name for each in self.sites if not self._counts(each)]
        self.oracle.complaints.append(f"{within_s:g} s {when} {', '.join(out)} did not count")

    async def _trouble(self, duration_s: float) -> None:
        """One venue after another, and then all of them at once."""
        turn_s = self._turn_s(duration_s)
        deeds = (self._cut, self._hold, self._misbehave)
        turns = cycle([*([each] for each in self.sites), self.sites])
        with trio.move_on_after(duration_s):
            for number, sites in enumerate(turns):
                # In each round a venue has another deed than in the one before.
                deed = deeds[(number + number // (len(self.sites) + 1)) % len(deeds)]
                if len(sites) > 1:
                    deed = self._hold
                async with trio.open_nursery() as nursery:
                    for site in sites:
                        nursery.start_soon(self._turn, site, deed, number, turn_s)

    def _turn_s(self, duration_s: float) -> float:
        return min(LONGEST_TURN_S, duration_s / (len(self.sites) + 1))

    async def _turn(self, site: Site, deed: Deed, number: int, turn_s: float) -> None:
        site.exchange.is_concerned, site.calm_from_s = True, 0.0
        self.done[deed.__name__.strip("_")] += 1
        try:
            with trio.move_on_after(turn_s):
                await deed(site, number, turn_s)
        finally:
            site.exchange.is_silent_from_s = None
            site.stream.clear()
            site.rest.clear()
            site.calm_from_s = time() + AFTERMATH_S

    async def _cut(self, site: Site, number: int, turn_s: float) -> None:
        """Every connection breaks, and no new one is made."""
        for each in (site.stream, site.rest):
            each.is_refusing = True
            each.reset()
        site.exchange.is_silent_from_s = time()
        await trio.sleep_forever()

    async def _hold(self, site: Site, number: int, turn_s: float) -> None:
        """Nothing comes, and nobody is told."""
        site.stream.down.hold()
        site.exchange.is_silent_from_s = time()
        await trio.sleep_forever()

    async def _misbehave(self, site: Site, number: int, turn_s: float) -> None:
        """All that a dialect knows, among them books that are crossed."""
        mischief = Mischief(
            site.simulator,
            {f"{site.plan.name} stream": site.stream, f"{site.plan.name} rest": site.rest},
            self._seed + number,
            symbols=site.plan.symbols,
            with_books=site.plan.symbols,
            venue=site.plan.adapter,
            dialect=site.plan.dialect,
            longest_s=turn_s,
        )
        try:
            await mischief.run()
        finally:
            mischief.stop()
            self.done += mischief.done

    def _judge(self, service: Service, duration_s: float) -> None:
        tried_s = self._turn_s(duration_s) - MAX_STALE_MS / 1_000
        for state in (Why.STALE.value, "states without a bid or an ask", "states that are crossed"):
            if not self.oracle.counts[state] and tried_s > 1.0:
                self.oracle.complaints.append(f"{state}: there was none, so it was not tried")
        for line in service.said:
            if "Traceback" in line or "fault of ours" in line:
                self.oracle.complaints.append(f"the service logged: {line}")


@asynccontextmanager
async def _running(seed: int) -> AsyncIterator[list[Site]]:
    async with AsyncExitStack() as stack:
        sites = []
        for number, plan in enumerate(PLANS):
            config = SimulatorConfig(
                dialect=plan.dialect,
                symbols=plan.symbols,
                rate=RATE,
                seed=seed + number,
                hold=True,
                kept_trades=1_000,
            )
            simulator = await stack.enter_async_context(running_simulator(config))
            stream = await stack.enter_async_context(proxying(simulator.ws_url))
            rest = await stack.enter_async_context(proxying(simulator.rest_url))
            sites.append(Site(plan, simulator, stream, rest))
        yield sites


async def nbbo_soak(duration_s: float, seed: int, directory: Path) -> NbboSoak:
    """Run one. What went wrong is among its oracle's complaints."""
    async with _running(seed) as sites:
        soak = NbboSoak(sites, seed)
        await soak.run(duration_s, directory)
    return soak


def main(words: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m tests.soak.nbbo", description="Six venues, in turn.")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args(words)
    print(f"soak of best prices, {options.minutes:g} minutes (seed {options.seed})", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        soak = trio.run(nbbo_soak, options.minutes * 60, options.seed, Path(directory))
    return report(soak)


MOST_SHOWN: Final = 40


def report(soak: NbboSoak) -> int:
    """Print what was compared, and what was wrong. Returns the exit code."""
    oracle = soak.oracle
    print(f"{oracle.compared:>10,}  states of best prices compared with the exchanges' own books")
    for name, count in sorted(oracle.counts.items()):
        print(f"{count:>10,}  {name}")
    for name, count in sorted(soak.done.items()):
        print(f"{count:>10,}  deeds: {name}")
    late = f"s beyond {AFTERMATH_S:g}, the longest until a venue counted after its turn"
    print(f"{soak.slowest_s:>10.1f}  {late}")
    print(f"{len(oracle.complaints):>10,}  were wrong")
    for fault in oracle.complaints[:MOST_SHOWN]:
        print(f"BROKEN {fault}")
    return 1 if oracle.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
