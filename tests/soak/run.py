"""One soak: an exchange that misbehaves, a service, fifty consumers, and proxies between them.

    simulator --stream, rest: spoiled--> service (a process) --way: spoiled--> consumers
                                             |'------------------------------> consumers, witnesses
                                             |'-- two queues and a ring -----> four readers
                                             '--- journal

It ends with a while of calm, in which everybody catches up, and an orderly end of the service.
Then the journal is read.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import trio

from fanout.net.rest import BAN_S
from fanout.protocol import LossReason
from fanout.simulator import Simulator, SimulatorConfig
from tests.soak import kept
from tests.soak.crowd import Crowd
from tests.soak.figures import Sampler
from tests.soak.mischief import SYMBOLS, Mischief
from tests.stand.exchange import Market
from tests.stand.exchange_books import ExchangeBooks
from tests.stand.inside import running_simulator
from tests.stand.oracle import Book, Oracle
from tests.stand.proxy import Proxy, proxying
from tests.stand.service import Service, serving
from tests.stand.tails import instruments_of

RATE: Final = 100.0
LOG_BYTES: Final = "1MiB"
"""Full within a minute, so that memory has nothing left to grow for."""

CHANNEL: Final = "binance"
DATA: Final = "trades,quotes,book"

CALM_S: Final = 4.0
"""The while without faults at the end. A short soak has a shorter one: as long as itself."""
CATCH_UP_S: Final = 60.0
RECOVERY_S: Final = BAN_S + 30.0
"""The longest until all is well once nothing goes wrong any more. A ban whose end cannot be read,
or is past, is taken to be as long as the shortest one, and then each book asks again."""

ORDERLY: Final = 143
"""The exit code after SIGTERM."""


class Outcome(msgspec.Struct, kw_only=True):
    """What a soak found."""

    seed: int
    minutes: float
    complaints: list[str]
    issued: int = 0
    delivered: int = 0
    losses: dict[str, int] = {}
    ids: dict[str, int] = {}
    reasons: dict[str, int] = {}
    """Of the ids that are lost: by what was said of them."""
    consumers: int = 0
    sources: int = 1
    reconnects: int = 0
    comes: int = 0
    quotes: int = 0
    updates: int = 0
    """Of books."""
    compared: int = 0
    """How often a consumer's book was held against the exchange's."""
    feed_connections: int = 0
    mischief: dict[str, int] = {}
    deeds: list[str] = []
    """What went wrong, in order, each with its unix time: for the JSON report."""
    findings: dict[str, float] = {}
    """Further figures of a form."""
    filling_mib: float = 0.0
    """Growth of memory that is none in the long run."""
    exit_code: int = 0


class Soak:
    """The parts, while it runs."""

    def __init__(self, simulator: Simulator, seed: int, directory: Path) -> None:
        self.simulator = simulator
        self.oracle = Oracle(
            Market(simulator, *SYMBOLS), ExchangeBooks(simulator, SYMBOLS, SYMBOLS)
        )
        self.crowd = Crowd(self.oracle, seed)
        self.sampler: Sampler
        self.service: Service
        self._seed = seed
        self._directory = directory
        self._journal = directory / "journal"

    async def run(self, stream: Proxy, rest: Proxy, duration_s: float) -> Outcome:
        queues = [f"soak-{random.randrange(10**9)}-{each}" for each in ("quick", "slow")]
        options = [
            *_options(stream, rest),
            *map("shm --capacity 64KiB --name {}".format, queues),
            f"ring --capacity 512KiB --name {queues[0]}-ring",
            kept.options(self._journal),
        ]
        words, log = " ".join(options).split(), self._directory / "log"
        async with serving(*words, log=log) as self.service:
            url = await self.service.address("tcp")
            self.sampler = Sampler(self.service, await self.service.address("http"))
            async with proxying(url) as way, trio.open_nursery() as nursery:
                self.crowd.gather(url, way.url("tcp"), await instruments_of(url))
                for queue, pause_s in zip(queues, (0.0, 0.05), strict=True):
                    self.crowd.attach(f"shm://{queue}", pause_s=pause_s)
                    self.crowd.attach(f"ring://{queues[0]}-ring", pause_s=pause_s)
                await self.sampler.look()
                for each in self.crowd.all:
                    nursery.start_soon(each.run)
                nursery.start_soon(self.sampler.run)
                nursery.start_soon(self._watch)
                self.simulator.release()
                proxies = {"stream": stream, "rest": rest, "way": way}
                mischief = Mischief(
                    self.simulator, proxies, self._seed, crowd=self.crowd, longest_s=duration_s
                )
                with trio.move_on_after(duration_s):
                    await mischief.run()
                mischief.stop()
                outcome = await self._finish(duration_s, mischief)
                nursery.cancel_scope.cancel()
        return outcome

    async def _watch(self) -> None:
        """Silence has to be told to those who read all the time."""
        while True:
            await trio.sleep(0.5)
            for each in self.crowd.witnesses:
                each.reader.watch(trio.current_time())

    async def _finish(self, duration_s: float, mischief: Mischief) -> Outcome:
        self.crowd.settle()
        await trio.sleep(min(CALM_S, duration_s))
        await self._until_fed()
        await self._until_level()
        for each in self.crowd.all:
            each.reader.require_books()
        await self.sampler.look()
        exit_code = await self.service.end()
        with trio.move_on_after(10):
            while not all(each.is_over for each in self.crowd.all):  # noqa: ASYNC110  threads
                await trio.sleep(0.05)
        self._judge(exit_code)
        findings = await kept.looked_through(self._journal, {CHANNEL: self.oracle})
        return self._outcome(duration_s, mischief, exit_code, findings)

    async def _until_fed(self) -> None:
        """Until trades of each symbol come again, and each has a book."""
        trades, reader = self._book().trades, self.crowd.witnesses[0].reader
        enough = {symbol: trades[symbol] + 5 for symbol in SYMBOLS}
        with trio.move_on_after(RECOVERY_S):
            while reader.unknown_books or any(  # noqa: ASYNC110
                trades[symbol] < enough[symbol] for symbol in SYMBOLS
            ):
                await trio.sleep(0.1)
            return
        self.oracle.complain("P4", f"nothing goes wrong, and the feed is not back: {trades}")

    def _book(self) -> Book:
        return self.oracle.book(self.crowd.witnesses[0].reader.epoch_ns)

    async def _until_level(self) -> None:
        """Until everybody has come to where the witnesses are now, and has all books."""
        due = self.crowd.witnesses[0].reader.due or 0
        with trio.move_on_after(CATCH_UP_S):
            while any(  # noqa: ASYNC110
                (each.reader.due or 0) < due or each.reader.unknown_books for each in self.crowd.all
            ):
                await trio.sleep(0.05)

    def _judge(self, exit_code: int) -> None:
        complain = self.oracle.complain
        for each in self.crowd.all:
            if each.refusal is not None:
                complain("P5", f"{each.reader.name} was refused: {each.refusal}")
            each.reader.require_goodbye()
        if exit_code != ORDERLY:
            complain("P6", f"the service ended with {exit_code}")
        for line in self.service.said:
            if "Traceback" in line or "fault of ours" in line:
                complain("P5", f"the service said: {line}")

    def _outcome(
        self, duration_s: float, mischief: Mischief, exit_code: int, findings: dict[str, float]
    ) -> Outcome:
        readers = [each.reader for each in self.crowd.all]
        losses = sum((each.losses for each in readers), Counter[LossReason]())
        last = self.sampler.last
        return Outcome(
            seed=self._seed,
            minutes=duration_s / 60,
            issued=self.oracle.market.issued_count,
            delivered=sum(each.trades for each in readers),
            quotes=sum(each.quotes for each in readers),
            updates=sum(each.updates for each in readers),
            compared=sum(each.books.compared for each in readers if each.books),
            losses={reason.name: count for reason, count in losses.items()},
            ids=dict(self._book().account(goes_on=True)),
            reasons=dict(self._book().reasons()),
            consumers=len(readers),
            reconnects=sum(len(each.disconnects) for each in readers),
            comes=self.crowd.comes,
            feed_connections=last.feed.connections if last else 0,
            mischief=dict(mischief.done),
            deeds=mischief.deeds,
            findings=findings,
            exit_code=exit_code,
            complaints=self.oracle.complaints,
        )


def _options(stream: Proxy, rest: Proxy) -> list[str]:
    return [
        f"--assets {','.join(SYMBOLS)} --ws-url {stream.url('ws')} --rest-url {rest.url('http')}",
        f"--data {DATA} --log-bytes {LOG_BYTES} --http-port 0 tcp --port 0",
    ]


async def soak(duration_s: float, seed: int, directory: Path) -> tuple[Outcome, Sampler]:
    """Run one. What went wrong is among the outcome's complaints."""
    config = SimulatorConfig(symbols=SYMBOLS, rate=RATE, seed=seed, hold=True, kept_ids=10_000_000)
    async with (
        running_simulator(config) as simulator,
        proxying(simulator.ws_url) as stream,
        proxying(simulator.rest_url) as rest,
    ):
        this = Soak(simulator, seed, directory)
        return await this.run(stream, rest, duration_s), this.sampler
