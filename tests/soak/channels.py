"""A service of several channels, each at a simulator that may misbehave, and consumers of each.

    a simulator for each market --stream, rest: spoiled--> its sources --> their channels

Which markets there are, and what goes wrong when, is the business of a form: `wide` and `venues`.
A channel has an oracle of its own, which holds what its consumers received against what its market
did. It ends as the other soak does: with some seconds without faults, in which everybody catches
up, and an orderly end.
"""

import gc
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import trio

from fanout.protocol import LossReason
from fanout.simulator import Simulator, SimulatorConfig, made_up_symbols
from fanout.simulator.dialects import dialect_of, listing_of
from fanout.venues import VENUES, BookSource, Continuity
from tests.fanout.cli.processes import environment
from tests.soak import kept
from tests.soak.figures import Sampler
from tests.soak.mischief import Mischief
from tests.soak.run import CALM_S, CATCH_UP_S, DATA, ORDERLY, RECOVERY_S, Outcome
from tests.stand.consumers import Consumer
from tests.stand.exchange import Market
from tests.stand.exchange_books import ExchangeBooks
from tests.stand.inside import running_simulator
from tests.stand.oracle import SILENCE_S, Oracle
from tests.stand.proxy import Proxy, proxying
from tests.stand.service import Service, serving
from tests.stand.shown_books import ShownBooks

PATIENT_FOR_TRADES: Final = 150
"""A symbol that is quiet for the usual time of so many of its trades is told. Its trades come in
sweeps of six on average, and the service allows twice the longest pause it has seen of late."""

FREEZE_EVERY_S: Final = 2.0

_KEPT_TRADES: Final = 1_000
_KEPT_IDS: Final = 10_000_000


class Plan(msgspec.Struct, frozen=True):
    """A market of an exchange: the venue of its sources, the dialect of its simulator, how many
    symbols each channel has, and which kinds of data, and the trades a second of all of them."""

    name: str
    venue: str
    dialect: str
    channels: Mapping[str, tuple[int, str]]
    """By name."""
    rate: float
    skipped: int = 0
    """Symbols of the dialect that are left out: its first ones, which are the busiest."""

    @property
    def symbols(self) -> tuple[str, ...]:
        count = sum(count for count, _ in self.channels.values())
        return made_up_symbols(self.skipped + count, self.dialect)[self.skipped :]

    @property
    def rates(self) -> dict[str, float]:
        """Trades a second of each symbol."""
        dialect = dialect_of(self.dialect)
        listed = {each: listing_of(dialect, each) for each in self.symbols}
        weights = {symbol: row.weight for symbol, row in listed.items() if row}
        return {
            symbol: self.rate * each / sum(weights.values()) for symbol, each in weights.items()
        }


class Site(msgspec.Struct, frozen=True):
    """A simulator, and the proxies in front of it."""

    plan: Plan
    simulator: Simulator
    stream: Proxy
    rest: Proxy


class Channel:
    """One channel's symbols, oracle and consumers."""

    def __init__(self, name: str, site: Site, symbols: tuple[str, ...], kinds: str) -> None:
        self.name = name
        self.site = site
        self.symbols = symbols
        self.kinds = kinds
        self.with_books = symbols if kinds == DATA else ()
        self.consumers: list[Consumer] = []
        venue = VENUES[site.plan.venue]
        books = ExchangeBooks if venue.book_source is BookSource.REST else ShownBooks
        self.oracle = Oracle(
            Market(site.simulator, *symbols),
            books(site.simulator, symbols, self.with_books),
            has_ids=venue.continuity is Continuity.IDS,
        )
        self._rates = site.plan.rates

    @property
    def witness(self) -> Consumer:
        return self.consumers[0]

    @property
    def trades(self) -> Counter[str]:
        """How many the witness has, by symbol."""
        return self.oracle.book(self.witness.reader.epoch_ns).trades

    @property
    def is_level(self) -> bool:
        """Whether all have come to where the witness is, and have all books."""
        due = self.witness.reader.due or 0
        return all(
            (each.reader.due or 0) >= due and not each.reader.unknown_books
            for each in self.consumers
        )

    def silence_s(self, symbol: str) -> float:
        """How long a symbol may be quiet before that is told."""
        return max(SILENCE_S, PATIENT_FOR_TRADES / self._rates[symbol])

    def table(self) -> str:
        """Its source in the configuration file."""
        return (
            f'[[source]]\nvenue = "{self.site.plan.venue}"\n'
            f'channel = "{self.name}"\nassets = "{",".join(self.symbols)}"\n'
            f"data = {self.kinds.split(',')}\n"
            f'ws-url = "{self.site.stream.url("ws")}"\n'
            f'rest-url = "{self.site.rest.url("http")}"\n'
        )

    def judge(self) -> None:
        for each in self.consumers:
            if each.refusal is not None:
                self.oracle.complain("P5", f"{each.reader.name} was refused: {each.refusal}")
            each.reader.require_goodbye()


class ManyChannels(ABC):
    """The parts, while it runs. A form says who reads, and what goes wrong."""

    log_bytes: str
    """For all channels: full within some minutes, so that memory can be judged after ten."""

    has_journal: bool = False
    """Whether the service keeps one, which is read at the end."""

    filling_mib: float = 0.0
    """Memory that the service takes bit by bit, up to a bound that is reached after the run."""

    def __init__(self, sites: Sequence[Site], seed: int, directory: Path) -> None:
        self.sites = sites
        self.channels = list(_channels(sites))
        self.sampler: Sampler
        self.seed = seed
        self.deeds: list[str] = []
        self._directory = directory
        self._journal = directory / "journal"

    @abstractmethod
    def consumers(self, channel: Channel, url: str) -> list[Consumer]:
        """Those of a channel. The first one is the witness: it reads as a task, and nothing is
        wrong with it."""

    @abstractmethod
    async def trouble(self, duration_s: float) -> Counter[str]:
        """Let things go wrong for a while, and give what did."""

    def environment(self) -> dict[str, str]:
        """The service's."""
        return environment()

    def findings(self) -> dict[str, float]:
        """Further figures for the report."""
        return {}

    async def run(self, duration_s: float) -> Outcome:
        config = self._directory / "fanout.toml"
        config.write_text("\n".join(each.table() for each in self.channels))
        words = f"--config {config} --log-bytes {self.log_bytes} --http-port 0 tcp --port 0".split()
        if self.has_journal:
            words += kept.options(self._journal).split()
        log = self._directory / "log"
        async with serving(*words, log=log, env=self.environment()) as service:
            url = await service.address("tcp")
            self.sampler = Sampler(service, await service.address("http"))
            async with trio.open_nursery() as nursery:
                for channel in self.channels:
                    channel.consumers = self.consumers(channel, f"{url}/{channel.name}")
                    for each in channel.consumers:
                        nursery.start_soon(each.run)
                nursery.start_soon(self._sample)
                nursery.start_soon(self._watch)
                nursery.start_soon(_keep_collections_short)
                for site in self.sites:
                    site.simulator.release()
                done = await self.trouble(duration_s)
                exit_code = await self._finish(service, duration_s)
                nursery.cancel_scope.cancel()
        findings = self.findings()
        if self.has_journal:
            oracles = {each.name: each.oracle for each in self.channels}
            findings |= await kept.looked_through(self._journal, oracles)
        return self._outcome(duration_s, done, exit_code, findings)

    def mischief(self, site: Site, number: int, longest_s: float) -> Mischief:
        """What goes wrong at a site, from a seed of its own."""
        channels = [each for each in self.channels if each.site is site]
        name = site.plan.name
        return Mischief(
            site.simulator,
            {f"{name} stream": site.stream, f"{name} rest": site.rest},
            self.seed + number,
            symbols=[each for channel in channels for each in channel.symbols],
            with_books=[each for channel in channels for each in channel.with_books],
            venue=site.plan.venue,
            dialect=site.plan.dialect,
            longest_s=longest_s,
        )

    @property
    def is_everybody_reading(self) -> bool:
        """Whether all sources are connected, and everybody has had something."""
        return all(c.trades and all(e.reader.got for e in c.consumers) for c in self.channels)

    async def _watch(self) -> None:
        """Silence has to be reported to those who read all the time."""
        while True:
            await trio.sleep(0.5)
            for channel in self.channels:
                channel.witness.reader.watch(trio.current_time(), channel.silence_s)

    async def _sample(self) -> None:
        """From the moment on at which everybody reads: what is open at the end is compared with
        that."""
        while not self.is_everybody_reading:  # noqa: ASYNC110
            await trio.sleep(0.1)
        await self.sampler.run()

    async def _finish(self, service: Service, duration_s: float) -> int:
        for channel in self.channels:
            for each in channel.consumers:
                each.pause_s = 0.0
        await trio.sleep(min(CALM_S, duration_s))
        await self._until_fed()
        with trio.move_on_after(CATCH_UP_S):
            while not all(each.is_level for each in self.channels):  # noqa: ASYNC110
                await trio.sleep(0.05)
        for channel in self.channels:
            for each in channel.consumers:
                each.reader.require_books()
        await self.sampler.look()
        exit_code = await service.end()
        with trio.move_on_after(10):
            everybody = [each for channel in self.channels for each in channel.consumers]
            while not all(each.is_over for each in everybody):  # noqa: ASYNC110  threads
                await trio.sleep(0.05)
        self._judge(service, exit_code)
        return exit_code

    async def _until_fed(self) -> None:
        """Until each channel has trades again, and all books."""
        enough = {each.name: each.trades.total() + 5 for each in self.channels}
        with trio.move_on_after(RECOVERY_S):
            while any(  # noqa: ASYNC110
                each.trades.total() < enough[each.name] or each.witness.reader.unknown_books
                for each in self.channels
            ):
                await trio.sleep(0.1)
            return
        for each in self.channels:
            if each.trades.total() < enough[each.name]:
                each.oracle.complain("P4", f"{each.name} has no trades, and no fault stands")

    def _judge(self, service: Service, exit_code: int) -> None:
        for each in self.channels:
            each.judge()
        complain = self.channels[0].oracle.complain
        if exit_code != ORDERLY:
            complain("P6", f"the service ended with {exit_code}")
        for line in service.said:
            if "Traceback" in line or "fault of ours" in line:
                complain("P5", f"the service logged: {line}")

    def _outcome(
        self, duration_s: float, done: Counter[str], exit_code: int, findings: dict[str, float]
    ) -> Outcome:
        books = [c.oracle.book(c.witness.reader.epoch_ns) for c in self.channels]
        readers = [each.reader for channel in self.channels for each in channel.consumers]
        losses = sum((each.losses for each in readers), Counter[LossReason]())
        accounts = sum((each.account(goes_on=self.has_journal) for each in books), Counter[str]())
        complaints = [
            f"{channel.name}: {each}"
            for channel in self.channels
            for each in channel.oracle.complaints
        ]
        return Outcome(
            seed=self.seed,
            minutes=duration_s / 60,
            issued=sum(each.oracle.market.issued_count for each in self.channels),
            delivered=sum(each.trades for each in readers),
            quotes=sum(each.quotes for each in readers),
            updates=sum(each.updates for each in readers),
            compared=sum(each.books.compared for each in readers if each.books),
            losses={reason.name: count for reason, count in losses.items()},
            ids=dict(accounts),
            reasons=dict(sum((each.reasons() for each in books), Counter[str]())),
            consumers=len(readers),
            sources=len(self.channels),
            reconnects=sum(len(each.disconnects) for each in readers),
            mischief=dict(done),
            deeds=self.deeds,
            findings=findings,
            filling_mib=self.filling_mib,
            exit_code=exit_code,
            complaints=complaints,
        )


def _channels(sites: Sequence[Site]) -> Iterator[Channel]:
    for site in sites:
        symbols = iter(site.plan.symbols)
        for name, (count, kinds) in site.plan.channels.items():
            yield Channel(name, site, tuple(islice(symbols, count)), kinds)


async def _keep_collections_short() -> None:
    """What the judges keep are millions of objects. A collection of garbage that looks at all of
    them stops the simulators for seconds, and then the service is right to call them silent."""
    while True:
        await trio.sleep(FREEZE_EVERY_S)
        gc.freeze()


async def soak_of(
    form: type[ManyChannels],
    plans: Sequence[Plan],
    duration_s: float,
    seed: int,
    directory: Path,
) -> tuple[Outcome, Sampler]:
    """Run one. What went wrong is among the outcome's complaints."""
    async with trio.open_nursery() as nursery:
        sites = [await nursery.start(_site, each, seed) for each in plans]
        this = form(sites, seed, directory)
        outcome = await this.run(duration_s)
        nursery.cancel_scope.cancel()
    return outcome, this.sampler


async def _site(plan: Plan, seed: int, *, task_status: trio.TaskStatus[Site]) -> None:
    config = SimulatorConfig(
        dialect=plan.dialect,
        symbols=plan.symbols,
        rate=plan.rate,
        seed=seed,
        hold=True,
        kept_trades=_KEPT_TRADES,
        kept_ids=_KEPT_IDS,
    )
    async with (
        running_simulator(config) as simulator,
        proxying(simulator.ws_url) as stream,
        proxying(simulator.rest_url) as rest,
    ):
        task_status.started(Site(plan, simulator, stream, rest))
        await trio.sleep_forever()
