"""Where faults of processes are tried: a simulator here, and a service that is a process and can be
killed, stopped, starved and started anew. Consumers find it by a proxy, whose address stays.

    simulator --> service (a process) --> proxy --> consumers of each kind
                                      |-> queue --> a reader
                                      |-> ring --> a reader
    or, in place of queue and ring:   '-> two groups --> receivers with and without TCP
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from fanout.protocol import Instrument
from fanout.simulator import Simulator, SimulatorConfig
from tests.stand.consumers import (
    Consumer,
    TrioConsumer,
    all_kinds,
    of_multicast,
    of_queue,
    of_ring,
    one_of_trio,
)
from tests.stand.exchange import Market
from tests.stand.groups import LOOPBACK, free_groups
from tests.stand.inside import running_simulator
from tests.stand.oracle import Oracle
from tests.stand.proxy import Proxy, proxying
from tests.stand.service import Service, forked, serving
from tests.stand.tails import Tail, header_of

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
PATIENCE_S: Final = 40.0
IDLE_S: Final = 2.5
"""Of consumers. A service is silent for a second at most, and a busy machine may add another."""
RING_BYTES: Final = 512 * 1024
ORDERLY: Final = 143
"""The exit code after SIGTERM."""


class House:
    """What there is, and how to start the service."""

    def __init__(
        self,
        simulator: Simulator,
        directory: Path,
        journal: Sequence[str] = (),
        *,
        multicast: bool = False,
    ) -> None:
        """With options of a `journal` the service keeps one. With `multicast` it sends to groups.
        It has neither queue nor ring then."""
        self.simulator = simulator
        self.oracle = Oracle(Market(simulator, *SYMBOLS))
        self.directory = directory
        self.journal = journal
        self.groups = free_groups() if multicast else ()
        self.queue = f"faults-{random.randrange(10**12)}"
        self.ring = f"{self.queue}-ring"
        self.consumers: list[Consumer] = []
        self.service: Service
        self.door: Proxy
        self.instruments: dict[str, Instrument] = {}
        self.epoch_ns = 0
        """The service's present one."""
        self._starts = 0

    def options(self, *more: str) -> list[str]:
        return [
            *("--assets", ",".join(SYMBOLS), "--http-port", "0"),
            *("--ws-url", self.simulator.ws_url, "--rest-url", self.simulator.rest_url, *more),
            *("tcp", "--port", "0", "--stall-timeout", "1"),
            *self._second(),
        ]

    def _second(self) -> list[str]:
        if self.journal:
            return ["journal", *self.journal]
        if self.groups:
            a, b = map(str, self.groups)
            to = ("--group", a, "--group-b", b, "--interface", LOOPBACK)
            return ["multicast", *to, "--snapshot-s", "0.5"]
        queue = ("shm", "--name", self.queue, "--capacity", "4KiB")
        return [*queue, "ring", "--name", self.ring, "--capacity", str(RING_BYTES)]

    @asynccontextmanager
    async def served(self, *more: str, **process: Any) -> AsyncIterator[Service]:
        """A service, once it listens; the door leads to it. It is killed at the end."""
        self._starts += 1
        log = self.directory / f"log-{self._starts}"
        async with serving(*self.options(*more), log=log, **process) as self.service:
            await self._let_in()
            yield self.service

    @asynccontextmanager
    async def forked(self, *more: str, until_up: bool = True) -> AsyncIterator[Service]:
        """The same, started in a fraction of the time. Without `until_up` it has just begun to
        start, and nobody finds it."""
        self._starts += 1
        log = self.directory / f"log-{self._starts}"
        async with forked(*self.options(*more), log=log) as self.service:
            if until_up:
                await self._let_in()
            yield self.service

    async def _let_in(self) -> None:
        host, _, port = (await self.service.address("tcp"))[6:].rpartition(":")
        self.door.target = (host, int(port))
        header = await header_of(f"tcp://{host}:{port}")
        self.epoch_ns = header.epoch_ns
        self.instruments = {each.symbol: each for each in header.instruments}

    def admit(self, nursery: trio.Nursery, **options: Any) -> None:
        """Let consumers of all kinds in, and the market open."""
        tastes = {"idle_timeout_s": IDLE_S, "start": "oldest", **options}
        url = self.door.url("tcp")
        if self.groups:
            self.consumers += [*one_of_trio(self.oracle, url, **tastes), *self.receivers("")]
        else:
            self.consumers += all_kinds(self.oracle, url, **tastes)
        if not (self.journal or self.groups):
            queue = f"shm://{self.queue}"
            self.consumers.append(of_queue(self.oracle, "shm", queue, idle_timeout_s=IDLE_S))
            self.consumers.append(of_ring(self.oracle, "ring", f"ring://{self.ring}", **tastes))
        for each in self.consumers:
            nursery.start_soon(each.run)
        self.simulator.release()

    def receivers(self, name: str, *, idle_timeout_s: float = IDLE_S) -> list[Consumer]:
        """Receivers of both groups, one that asks over TCP and one that cannot."""
        return [
            of_multicast(
                self.oracle,
                f"{name} with{'' if url else 'out'} TCP".strip(),
                self.groups,
                recovery=url,
                idle_timeout_s=idle_timeout_s,
            )
            for url in (self.door.url("tcp"), None)
        ]

    def watch(self, nursery: trio.Nursery) -> None:
        """Let somebody read everything, beside whoever is tried, and the market open."""
        url = self.door.url("tcp")
        witness = TrioConsumer(self.oracle, "witness", url, is_concerned=False, start="oldest")
        self.consumers.append(witness)
        nursery.start_soon(witness.run)
        self.simulator.release()

    def tail(self, name: str, url: str, nursery: trio.Nursery, **options: Any) -> Tail:
        """A consumer that is a process."""
        tail = Tail(self.oracle, name, url, self.instruments, **options)
        nursery.start_soon(tail.run)
        return tail

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  processes and threads
                await trio.sleep(0.02)

    async def more_trades(self, count: int = 10) -> None:
        """Until everybody has got so many more."""
        enough = [(each, each.reader.trades + count) for each in self.consumers]
        await self.until(lambda: all(each.reader.trades >= goal for each, goal in enough))

    async def level(self) -> None:
        """Until everybody is in the present epoch, and then as far as the first of them."""
        await self.until(
            lambda: all(each.reader.epoch_ns == self.epoch_ns for each in self.consumers)
        )
        front = max(each.reader.place for each in self.consumers)
        await self.until(lambda: all(each.reader.place >= front for each in self.consumers))

    async def end(self) -> None:
        """End in good order, and judge."""
        code = await self.service.end()
        with trio.move_on_after(PATIENCE_S):
            while not all(each.is_over for each in self.consumers):  # noqa: ASYNC110  threads
                await trio.sleep(0.02)
        for each in self.consumers:
            if not each.is_over:
                last = each.reader.told[-3:]
                self.oracle.complain("P6", f"{each.reader.name} waits at {each.reader.due}: {last}")
        if code != ORDERLY:
            self.oracle.complain("P6", f"it ended with {code}: {self.service.said[-5:]}")
        for each in self.consumers:
            each.reader.require_goodbye()
        if not self.journal:
            self._account()
        self.require_calm()
        self.oracle.check()

    def _account(self) -> None:
        """Hold each epoch for itself against what was issued."""
        newest = max(self.oracle.books)
        for epoch_ns, book in self.oracle.books.items():
            book.account(is_whole=epoch_ns == newest)

    def require_calm(self) -> None:
        """No service has said that anything was wrong with itself."""
        for log in self.directory.glob("log-*"):
            for line in log.read_text(errors="replace").splitlines():
                if "Traceback" in line or "fault of ours" in line:
                    self.oracle.complain("P5", f"the service said: {line}")


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    rate: float = 200.0,
    journal: Sequence[str] = (),
    multicast: bool = False,
) -> AsyncIterator[House]:
    config = SimulatorConfig(symbols=SYMBOLS, rate=rate, hold=True)
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator(config))
        house = House(simulator, directory, journal, multicast=multicast)
        house.door = await stack.enter_async_context(proxying("tcp://127.0.0.1:1"))
        for name in (house.queue, house.ring):
            stack.callback(Path("/dev/shm", name).unlink, missing_ok=True)
        yield house
