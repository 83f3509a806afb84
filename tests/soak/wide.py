"""A wide soak: two venues, 200 symbols, four channels of one service, and consumers of each.

    USDⓈ-M simulator --stream, rest: spoiled--> two sources --> channels usdm-a, usdm-b
    spot simulator   --stream, rest: spoiled--> two sources --> channels spot-a, spot-b

Of each venue, one source has 8 symbols with trades, quotes and books, and the other one 92 with
trades and quotes. Faults come to one venue after another. A channel has an oracle of its own, which
holds what its consumers received against what its venue did. It ends as the other soak does: with
some seconds without faults, in which everybody catches up, and an orderly end.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import trio

from fanout.clients.tcp import TcpClient
from fanout.protocol import LossReason
from fanout.simulator import Simulator, SimulatorConfig, made_up_symbols
from fanout.simulator.dialects import dialect_of, listing_of
from tests.soak.figures import Sampler
from tests.soak.mischief import Mischief
from tests.soak.run import CALM_S, CATCH_UP_S, DATA, ORDERLY, RECOVERY_S, Outcome
from tests.stand.consumers import AsyncioConsumer, BlockingConsumer, Consumer, TrioConsumer
from tests.stand.exchange import Market
from tests.stand.exchange_books import ExchangeBooks
from tests.stand.inside import running_simulator
from tests.stand.oracle import SILENCE_S, Oracle
from tests.stand.proxy import Proxy, proxying
from tests.stand.service import Service, serving

DIALECTS: Final = {"usdm": "binance-usdm", "spot": "binance-spot"}
"""Of the simulators."""
VENUES: Final = {"usdm": "binance", "spot": "binance-spot"}
"""Of the sources."""
SYMBOLS: Final = {"a": 8, "b": 92}
"""Of the channels of each venue. They need all REST requests that are allowed in a minute, so there
is no room for more books."""
KINDS: Final = {"a": DATA, "b": "trades,quotes"}
RATE: Final = 300.0
"""Trades a second of each venue."""
LOG_BYTES: Final = "4MiB"
"""For all four channels: full within some minutes, so that memory can be judged after ten."""
PATIENT_FOR_TRADES: Final = 150
"""A symbol that is quiet for the usual time of so many of its trades is told. Its trades come in
sweeps of six on average, and the service allows twice the longest pause it has seen of late."""


class Venue(msgspec.Struct, frozen=True):
    """A simulator, and the proxies in front of it."""

    simulator: Simulator
    stream: Proxy
    rest: Proxy


class Channel:
    """One channel's symbols, oracle and consumers."""

    def __init__(self, name: str, venue: Venue, symbols: tuple[str, ...]) -> None:
        self.name = name
        self.venue = venue
        self.symbols = symbols
        self.kinds = KINDS[name[-1]]
        self.with_books = symbols if self.kinds == DATA else ()
        exchange_books = ExchangeBooks(venue.simulator, symbols, self.with_books)
        self.oracle = Oracle(Market(venue.simulator, *symbols), exchange_books)
        self.consumers: list[Consumer] = []

    def gather(self, url: str) -> None:
        oracle, url = self.oracle, f"{url}/{self.name}"
        slow = TrioConsumer(oracle, f"{self.name} slow", url, start="oldest")
        slow.pause_s = 0.01
        self.consumers = [
            TrioConsumer(oracle, f"{self.name} witness", url, is_concerned=False),
            TrioConsumer(oracle, f"{self.name} trio", url, start="oldest"),
            BlockingConsumer(oracle, f"{self.name} blocking", TcpClient(url, start="oldest")),
            AsyncioConsumer(oracle, f"{self.name} asyncio", url, start="oldest"),
            slow,
        ]

    @property
    def trades(self) -> Counter[str]:
        """How many the witness has, by symbol."""
        return self.oracle.book(self.consumers[0].reader.epoch_ns).trades

    @property
    def is_level(self) -> bool:
        """Whether all have come to where the witness is, and have all books."""
        due = self.consumers[0].reader.due or 0
        return all(
            (each.reader.due or 0) >= due and not each.reader.unknown_books
            for each in self.consumers
        )

    def silence_s(self, symbol: str) -> float:
        """How long a symbol may be quiet before that is told."""
        usual = rates(self.name.partition("-")[0])[symbol]
        return max(SILENCE_S, PATIENT_FOR_TRADES / usual)

    def table(self) -> str:
        """Its source in the configuration file."""
        return (
            f'[[source]]\nvenue = "{VENUES[self.name.partition("-")[0]]}"\n'
            f'channel = "{self.name}"\nassets = "{",".join(self.symbols)}"\n'
            f"data = {self.kinds.split(',')}\n"
            f'ws-url = "{self.venue.stream.url("ws")}"\n'
            f'rest-url = "{self.venue.rest.url("http")}"\n'
        )

    def judge(self) -> None:
        for each in self.consumers:
            if each.refusal is not None:
                self.oracle.complain("P5", f"{each.reader.name} was refused: {each.refusal}")
            each.reader.require_goodbye()


class Wide:
    """The parts, while it runs."""

    def __init__(self, venues: dict[str, Venue], seed: int, directory: Path) -> None:
        self.channels = list(_channels(venues))
        self.sampler: Sampler
        self._venues = venues
        self._seed = seed
        self._directory = directory

    async def run(self, duration_s: float) -> Outcome:
        config = self._directory / "fanout.toml"
        config.write_text("\n".join(each.table() for each in self.channels))
        words = f"--config {config} --log-bytes {LOG_BYTES} --http-port 0 tcp --port 0".split()
        async with serving(*words, log=self._directory / "log") as service:
            url = await service.address("tcp")
            self.sampler = Sampler(service, await service.address("http"))
            async with trio.open_nursery() as nursery:
                for channel in self.channels:
                    channel.gather(url)
                    for each in channel.consumers:
                        nursery.start_soon(each.run)
                nursery.start_soon(self._sample)
                nursery.start_soon(self._watch)
                for venue in self._venues.values():
                    venue.simulator.release()
                done = await self._trouble(duration_s)
                exit_code = await self._finish(service, duration_s)
                nursery.cancel_scope.cancel()
        return self._outcome(duration_s, done, exit_code)

    async def _trouble(self, duration_s: float) -> Counter[str]:
        """Faults at both venues, each from a seed of its own."""
        all_mischief = []
        for number, (name, venue) in enumerate(self._venues.items()):
            channels = [each for each in self.channels if each.venue is venue]
            legs = {f"{name} stream": venue.stream, f"{name} rest": venue.rest}
            all_mischief.append(
                Mischief(
                    venue.simulator,
                    legs,
                    self._seed + number,
                    symbols=[each for channel in channels for each in channel.symbols],
                    with_books=[each for channel in channels for each in channel.with_books],
                    dialect=DIALECTS[name],
                    longest_s=duration_s,
                )
            )
        with trio.move_on_after(duration_s):
            async with trio.open_nursery() as nursery:
                for each in all_mischief:
                    nursery.start_soon(each.run)
        for each in all_mischief:
            each.stop()
        return sum((each.done for each in all_mischief), Counter[str]())

    async def _watch(self) -> None:
        """Silence has to be reported to those who read all the time."""
        while True:
            await trio.sleep(0.5)
            for channel in self.channels:
                channel.consumers[0].reader.watch(trio.current_time(), channel.silence_s)

    async def _sample(self) -> None:
        """From the moment on at which all sources are connected and everybody reads: what is open
        at the end is compared with that."""
        while not all(c.trades and all(e.reader.got for e in c.consumers) for c in self.channels):  # noqa: ASYNC110
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
                each.trades.total() < enough[each.name] or each.consumers[0].reader.unknown_books
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

    def _outcome(self, duration_s: float, done: Counter[str], exit_code: int) -> Outcome:
        books = [c.oracle.book(c.consumers[0].reader.epoch_ns) for c in self.channels]
        readers = [each.reader for channel in self.channels for each in channel.consumers]
        losses = sum((each.losses for each in readers), Counter[LossReason]())
        accounts = sum((each.account() for each in books), Counter[str]())
        complaints = [
            f"{channel.name}: {each}"
            for channel in self.channels
            for each in channel.oracle.complaints
        ]
        return Outcome(
            seed=self._seed,
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
            exit_code=exit_code,
            complaints=complaints,
        )


def _channels(venues: dict[str, Venue]) -> Iterator[Channel]:
    for name, venue in venues.items():
        symbols = iter(_symbols(name))
        for letter, count in SYMBOLS.items():
            yield Channel(f"{name}-{letter}", venue, tuple(islice(symbols, count)))


@cache
def rates(venue: str) -> dict[str, float]:
    """Trades a second of each symbol of a venue."""
    dialect = dialect_of(DIALECTS[venue])
    listed = {each: listing_of(dialect, each) for each in _symbols(venue)}
    weights = {symbol: row.weight for symbol, row in listed.items() if row}
    return {symbol: RATE * each / sum(weights.values()) for symbol, each in weights.items()}


def _symbols(venue: str) -> tuple[str, ...]:
    return made_up_symbols(sum(SYMBOLS.values()), DIALECTS[venue])


async def wide_soak(duration_s: float, seed: int, directory: Path) -> tuple[Outcome, Sampler]:
    """Run one. What went wrong is among the outcome's complaints."""
    venues: dict[str, Venue] = {}
    async with trio.open_nursery() as nursery:
        for name, dialect in DIALECTS.items():
            config = SimulatorConfig(
                dialect=dialect,
                symbols=_symbols(name),
                rate=RATE,
                seed=seed,
                hold=True,
                kept_trades=1_000,
                kept_ids=10_000_000,
            )
            venues[name] = await nursery.start(_venue, config)
        this = Wide(venues, seed, directory)
        outcome = await this.run(duration_s)
        nursery.cancel_scope.cancel()
    return outcome, this.sampler


async def _venue(config: SimulatorConfig, *, task_status: trio.TaskStatus[Venue]) -> None:
    async with (
        running_simulator(config) as simulator,
        proxying(simulator.ws_url) as stream,
        proxying(simulator.rest_url) as rest,
    ):
        task_status.started(Venue(simulator, stream, rest))
        await trio.sleep_forever()
