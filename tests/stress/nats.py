"""A channel that goes into a stream of NATS JetStream, while all that takes part is killed.

    python -m tests.stress.nats                         200 kills, one server; some minutes
    python -m tests.stress.nats --cluster --bridges 2   three servers, and two bridges at once
    python -m tests.stress.nats --kills 20 --seed 7     fewer, and the same once more

    simulator --> service with a journal --> proxy --> bridge --> nats-server --> readers
                                               '-----> a witness over TCP

The bridge, the service and the NATS server are killed by SIGKILL in random order: while they work,
while they start, and before the others have caught up. At the end all messages of the stream are
read, as they are, and judged: each number of the service's journal stands there once and in order,
with the journal's record under it, and each trade once. A client that reads the stream meanwhile,
from its beginning and over all kills, gets each number once as well, and with `--by-symbol` one of
a single symbol gets each of this symbol. With `--books` there are quotes and books, too, and each
book that the client knows is the exchange's. Whatever is not so makes the exit code 1.
"""

import random
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec
import trio

from fanout.clients.nats_trio import TrioNatsClient
from fanout.protocol import Gap, Loss, OrderUpdate, Status, Trade
from tests.faults.house import IDLE_S, ORDERLY, SYMBOLS, House, opened
from tests.faults.journal import require_kept
from tests.stand.consumers import Consumer, TrioConsumer
from tests.stand.exchange import Market, stream_of
from tests.stand.exchange_books import ExchangeBooks
from tests.stand.nats import SIZE, NatsServer, running_cluster, running_nats
from tests.stand.nats_account import Kept, Message, StreamAccount
from tests.stand.nats_reader import Place, Tip, read_all, watching
from tests.stand.oracle import Oracle
from tests.stand.service import Service, forked
from tests.stand.tails import header_of

KILLS: Final = 200
KINDS: Final = ("bridge", "service", "nats-server")
RATE: Final = 400.0
LONGEST_WAIT_S: Final = 0.3
CATCH_UP_S: Final = 60.0
"""A cluster that lost the leader of a stream elects another within ten seconds."""

CHANCE_OF_WAITING: Final = 0.6
"""How likely all catch up before the next kill."""
CHANCE_OF_NO_START: Final = 0.2
"""How likely a part is killed once more while it starts."""

BY_SYMBOL: Final = "--by-symbol"
WITH_BOOKS: Final = ("--data", "trades,quotes,book")
"""Options of a service."""
UNAVAILABLE: Final = 69
"""Exit code of a bridge that finds no NATS server when it starts."""
ENDS: Final = (0, ORDERLY)
"""Exit codes of a bridge after SIGTERM."""


class Outcome(msgspec.Struct, kw_only=True):
    """What a run has shown."""

    kills: Counter[str] = msgspec.field(default_factory=Counter)
    catch_ups_s: list[float] = msgspec.field(default_factory=list)
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    """Of the stream, by what is counted."""
    complaints: list[str] = msgspec.field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Figures, each with its name."""
        yield f"{self.kills.total():,}", "kills"
        for kind, count in sorted(self.kills.items()):
            yield f"{count:,}", f"    of the {kind}"
        for name, count in self.counts.items():
            yield f"{count:,}", name
        if self.catch_ups_s:
            yield f"{median(self.catch_ups_s):.2f}", "s until all had caught up, in the median"
            yield f"{max(self.catch_ups_s):.2f}", "s at the longest"
        yield f"{len(self.complaints):,}", "complaints"


class Bridges:
    """Processes that write to the stream, of which each is started anew after its death."""

    def __init__(self, directory: Path, arguments: Sequence[str], count: int) -> None:
        self._directory = directory
        self._arguments = arguments
        self._stacks = [AsyncExitStack() for _ in range(count)]
        self._running: list[Service] = []
        self._starts = 0

    async def start(self) -> None:
        for place in range(len(self._stacks)):
            self._running.append(await self._begun(place))

    async def kill(self, chance: random.Random) -> None:
        """Kill one, and perhaps the next one while it starts."""
        place = chance.randrange(len(self._stacks))
        while True:
            await self.supervise()
            self._running[place].signal(signal.SIGKILL)
            await self._stacks[place].aclose()
            await trio.sleep(chance.random() * LONGEST_WAIT_S)
            self._running[place] = await self._begun(place)
            if chance.random() >= CHANCE_OF_NO_START:
                return
            await trio.sleep(chance.random() * LONGEST_WAIT_S)

    async def supervise(self) -> None:
        """Start again who found no NATS server at the start. Nothing else ends a bridge."""
        for place, each in enumerate(self._running):
            if not each.is_running:
                code = await each.wait()
                assert code == UNAVAILABLE, f"a bridge ended with {code}:\n{self.said}"
                await self._stacks[place].aclose()
                self._running[place] = await self._begun(place)

    async def end(self) -> list[str]:
        """In good order. Gives what was not."""
        codes = [await each.end() for each in self._running]
        await self.close()
        wrong = [f"a bridge ended with {each}" for each in codes if each not in ENDS]
        return [*wrong, *self._faults()]

    async def close(self) -> None:
        for each in self._stacks:
            await each.aclose()

    @property
    def said(self) -> str:
        """Their last lines."""
        return "\n".join(line for each in self._running for line in each.said[-5:])

    def _faults(self) -> Iterator[str]:
        """Lines of theirs that should not be."""
        for log in sorted(self._directory.glob("bridge-*")):
            for line in log.read_text(errors="replace").splitlines():
                if "Traceback" in line or "fault of ours" in line:
                    yield f"{log.name}: {line}"

    async def _begun(self, place: int) -> Service:
        self._starts += 1
        log = self._directory / f"bridge-{self._starts}"
        return await self._stacks[place].enter_async_context(forked(*self._arguments, log=log))


class Where(NamedTuple):
    """Where the channel's stream is."""

    url: str
    channel: str

    @property
    def stream(self) -> str:
        return f"fanout-{self.channel}"

    @property
    def subject(self) -> str:
        return f"fanout.{self.channel}"


class QuickClient(TrioNatsClient):
    """One that does not pause for long while a server is away."""

    _longest_pause_s = LONGEST_WAIT_S


class OneSymbol:
    """A client of one symbol, and what it got."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.numbers: list[tuple[int, int]] = []
        """The epoch and the number of each record."""
        self.losses: list[Loss] = []

    async def run(self, url: str) -> None:
        async with QuickClient(
            url, start="oldest", symbols=[self.symbol], idle_timeout_s=IDLE_S
        ) as client:
            async for record in client:
                if isinstance(record, Loss):
                    self.losses.append(record)
                elif isinstance(record, Trade | Status | Gap):  # updates stand as hashes there
                    assert client.header is not None, "it came before the record"
                    self.numbers.append((client.header.epoch_ns, record.seq))

    def due(self, house: House, messages: Sequence[Message]) -> list[tuple[int, int]]:
        """What it has to get of these messages of the stream."""
        numbers = (place for each in messages for place in _places_of(each))
        found = ((place, house.oracle.book(place[0]).records.get(place[1])) for place in numbers)
        return sorted(
            {
                place
                for place, record in found
                if isinstance(record, Trade | Status | Gap)
                and (record.instrument is None or record.instrument.symbol == self.symbol)
            }
        )


def _places_of(message: Message) -> Iterator[Place]:
    """The epoch and each of the numbers that a message, or the block that it is of, takes."""
    epoch_ns, first, count = (
        int(message.headers[f"Fanout-{each}"]) for each in ("Epoch", "Seq", "Count")
    )
    for seq in range(first, first + count):
        yield epoch_ns, seq


class Scene:
    """What there is to kill."""

    def __init__(
        self,
        house: House,
        bridges: Bridges,
        servers: Sequence[NatsServer],
        tip: Tip,
        service: AsyncExitStack,
        chance: random.Random,
        nursery: trio.Nursery,
        words: Sequence[str],
    ) -> None:
        """`words` are options of the service."""
        self.house = house
        self._words = words
        self.reader: Consumer
        self.of_symbol: OneSymbol | None = None
        self.bridges = bridges
        self.outcome = Outcome()
        self._servers = servers
        self._tip = tip
        self._service = service
        self._chance = chance
        self._nursery = nursery
        self._reading: list[trio.CancelScope] = []
        self._kinds: list[str] = []
        """What is killed next: each kind once before one comes again."""

    @property
    def witness(self) -> Place:
        """How far the witness is."""
        return max(each.reader.place for each in self.house.consumers)

    async def read(self, where: Where, *, by_symbol: bool) -> None:
        """Let clients read the stream from its beginning on."""
        await self.catch_up()  # so that there is a stream
        url = f"{where.url}/{where.channel}"
        options: dict[str, Any] = {"start": "oldest", "idle_timeout_s": IDLE_S}
        oracle = self.house.oracle
        self.reader = TrioConsumer(oracle, "a reader of NATS", url, kind=QuickClient, **options)
        self._nursery.start_soon(self._read, self.reader.run)
        if by_symbol:
            self.of_symbol = OneSymbol(SYMBOLS[0])
            self._nursery.start_soon(self._read, partial(self.of_symbol.run, url))

    async def _read(self, run: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope() as scope:
            self._reading.append(scope)
            await run()

    async def require_books(self) -> None:
        """Nothing goes wrong any more, so the client knows all books before long."""
        reader = self.reader.reader
        with trio.move_on_after(CATCH_UP_S):
            while reader.unknown_books:  # noqa: ASYNC110  a thread
                await trio.sleep(0.05)
        reader.require_books()

    async def all_read(self, messages: Sequence[Message]) -> None:
        """Until the clients have what the stream has, and end them."""
        reader, of_symbol = self.reader, self.of_symbol
        with trio.move_on_after(CATCH_UP_S):
            while reader.reader.place < self._tip.place:  # noqa: ASYNC110  a thread
                await trio.sleep(0.01)
            due = of_symbol.due(self.house, messages) if of_symbol else []
            while of_symbol and len(of_symbol.numbers) < len(due):  # noqa: ASYNC110
                await trio.sleep(0.1)
        for each in self._reading:
            each.cancel()

    async def kill(self) -> None:
        if not self._kinds:
            self._kinds = self._chance.sample(KINDS, len(KINDS))
        kind = self._kinds.pop()
        self.outcome.kills[kind] += 1
        match kind:
            case "bridge":
                await self.bridges.kill(self._chance)
            case "service":
                await self._kill_service()
            case _:
                await self._kill_server()
        if self._chance.random() < CHANCE_OF_WAITING:
            await self.catch_up()
        await trio.sleep(self._chance.random() * LONGEST_WAIT_S)

    async def catch_up(self) -> None:
        """Until the stream has what the witness has by now, and goes on."""
        began_s, goal = trio.current_time(), self.witness
        with trio.move_on_after(CATCH_UP_S) as waiting:
            while self._tip.place < goal:
                await self.bridges.supervise()
                for each in self._servers:
                    assert each.is_running, "\n".join([f"{each.name} ended", *each.said[-40:]])
                await trio.sleep(0.01)
        assert not waiting.cancelled_caught, (
            f"the stream is at {self._tip.place}, the witness at {goal}:\n{self.bridges.said}"
        )
        self.outcome.catch_ups_s.append(trio.current_time() - began_s)

    async def serve(self) -> None:
        """Start the service, and kill it perhaps before it is up."""
        while self._chance.random() < CHANCE_OF_NO_START:
            async with self.house.forked(*self._words, until_up=False) as service:
                await trio.sleep(self._chance.random() * LONGEST_WAIT_S)
                service.signal(signal.SIGKILL)
        await self._service.enter_async_context(self.house.forked(*self._words))

    async def _kill_service(self) -> None:
        self.house.service.signal(signal.SIGKILL)
        await self._service.aclose()
        await trio.sleep(self._chance.random() * LONGEST_WAIT_S)
        await self.serve()

    async def _kill_server(self) -> None:
        server = self._chance.choice(self._servers)
        server.kill()
        await trio.sleep(self._chance.random() * LONGEST_WAIT_S)
        server.begin()
        await trio.to_thread.run_sync(server.until_ready)


@contextmanager
def _servers(directory: Path, *, is_cluster: bool) -> Iterator[tuple[str, Sequence[NatsServer]]]:
    """Their addresses, and they."""
    with ExitStack() as stack:
        if is_cluster:
            cluster = stack.enter_context(running_cluster(directory))
            yield cluster.url, cluster.servers
        else:
            server = stack.enter_context(running_nats(directory))
            yield server.url, [server]


@asynccontextmanager
async def _opened(
    directory: Path,
    seed: int,
    *,
    bridges: int,
    is_cluster: bool,
    options: Sequence[str],
    books: bool,
) -> AsyncIterator[tuple[Scene, Where]]:
    """Everything in its place, and the market open."""
    journal = ("--dir", str(directory / "journal"), "--sync", "never")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        url, servers = stack.enter_context(_servers(directory / "nats", is_cluster=is_cluster))
        house = await enter(opened(directory, rate=RATE, journal=journal))
        service = stack.push_async_exit(AsyncExitStack())
        words = WITH_BOOKS if books else ()
        if books:
            shown = ExchangeBooks(house.simulator, SYMBOLS, SYMBOLS)
            house.oracle = Oracle(Market(house.simulator, *SYMBOLS), shown)
        await service.enter_async_context(house.forked(*words))
        address = house.door.url("tcp")
        where = Where(url, (await header_of(address)).channel)
        records = "records.*" if BY_SYMBOL in options else "records"
        tip = stack.enter_context(watching(url, where.stream, where.subject, records))
        replicas = ("--replicas", str(SIZE if is_cluster else 1))
        arguments = (
            "bridge",
            "nats",
            address,
            "--url",
            url,
            "--start",
            "oldest",
            *replicas,
            *options,
        )
        own = Bridges(directory, arguments, bridges)
        stack.push_async_callback(own.close)
        nursery = await enter(trio.open_nursery())
        witness = TrioConsumer(
            house.oracle, "witness", address, start="oldest", idle_timeout_s=IDLE_S
        )
        house.consumers.append(witness)
        nursery.start_soon(witness.run)
        await own.start()
        house.simulator.release()
        await house.more_trades(1)
        chance = random.Random(seed)
        yield Scene(house, own, servers, tip, service, chance, nursery, words), where


async def run(
    directory: Path,
    kills: int,
    seed: int,
    *,
    bridges: int = 1,
    is_cluster: bool = False,
    options: Sequence[str] = (),
    books: bool = False,
) -> Outcome:
    """Kill so often, and judge. `options` are for the bridge."""
    async with _opened(
        directory, seed, bridges=bridges, is_cluster=is_cluster, options=options, books=books
    ) as (scene, where):
        await scene.read(where, by_symbol=BY_SYMBOL in options)
        for _ in range(kills):
            await scene.kill()
        house, outcome = scene.house, scene.outcome
        await house.level()
        await house.more_trades()
        await house.until(lambda: not house.oracle.open_ids())
        await scene.catch_up()  # so that a bridge is connected when the service ends
        await scene.require_books()
        await house.end()
        await scene.catch_up()
        outcome.complaints += await scene.bridges.end()
        kept = await require_kept(house, directory / "journal")
        messages = await trio.to_thread.run_sync(read_all, where.url, where.stream)
        await scene.all_read(messages)
        judge(outcome, house, where.subject, messages, kept)
        outcome.complaints += faults_of_readers(scene, messages)
    return outcome


def judge(
    outcome: Outcome,
    house: House,
    subject: str,
    messages: Sequence[Message],
    kept: Mapping[int, int],
) -> None:
    """Hold the stream against what the service's journal keeps: `kept` has the last number of each
    epoch. What the stream has beyond that comes again in the next epoch."""
    ids: Counter[tuple[str, str, int]] = Counter()
    trades = 0

    def receive(record: Kept, epoch_ns: int) -> None:
        nonlocal trades
        if isinstance(record, Loss | OrderUpdate):
            return
        house.oracle.book(epoch_ns).enter("the stream", record)
        if isinstance(record, Trade):
            trades += 1
            if record.seq <= kept.get(epoch_ns, 0):
                ids[record.symbol, stream_of(record), record.trade_id] += 1

    account = StreamAccount(subject, receive)
    for each in messages:
        account.take(each)
    account.end()
    last_seqs = {epoch_ns: each.due - 1 for epoch_ns, each in account.numbers.items()}
    missing = {
        epoch_ns: last_seq - last_seqs.get(epoch_ns, 0)
        for epoch_ns, last_seq in kept.items()
        if last_seq > last_seqs.get(epoch_ns, 0)
    }
    first_seqs = [each.first_seq for each in account.numbers.values()]
    twice = [each for each, count in ids.items() if count > 1]
    outcome.counts = {
        "messages": account.messages,
        "epochs": len(last_seqs),
        "numbers that the journal keeps": sum(kept.values()),
        "records in the stream": account.records,
        "of them trades": trades,
        "numbers that a LOSS names": account.lost,
        "numbers twice": account.doubles,
        "numbers missing": account.holes + sum(missing.values()),
        "trade ids twice": len(twice),
        "records that the service sent, and did not write before it was killed": sum(
            max(0, last_seq - kept.get(epoch_ns, 0)) for epoch_ns, last_seq in last_seqs.items()
        ),
    }
    outcome.complaints += [
        *account.complaints,
        *(f"epoch {epoch_ns}: the last {count} are missing" for epoch_ns, count in missing.items()),
        *(f"epoch {each} is not in the journal" for each in last_seqs.keys() - kept.keys()),
        *(f"the stream begins at {each}" for each in first_seqs[:1] if each != 1),
        *(f"trade {each} is there twice" for each in twice[:9]),
        *[f"{account.lost} numbers are told as lost, and are in the journal"] * bool(account.lost),
        *house.oracle.complaints,
    ]


def faults_of_readers(scene: Scene, messages: Sequence[Message]) -> Iterator[str]:
    """What the clients did not get, or got twice. The oracle has complained of each number out of
    its turn."""
    reader, counts = scene.reader.reader, scene.outcome.counts
    counts["records that a reader of it got"] = reader.got
    told = reader.losses.total()
    if (reader.got, told) != (counts["records in the stream"], counts["numbers that a LOSS names"]):
        yield f"a reader got {reader.got} records and {told} losses: {reader.told[-5:]}"
    if (of_symbol := scene.of_symbol) is not None:
        due = of_symbol.due(scene.house, messages)
        counts["records that a reader of one symbol got"] = len(of_symbol.numbers)
        missing = sorted({*due} - {*of_symbol.numbers})[:9]
        if of_symbol.numbers != due or of_symbol.losses:
            yield f"a reader of one symbol lacks {missing}, losses {of_symbol.losses[:9]}"


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.stress.nats", description="Kills, with NATS.")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--cluster", action="store_true", help="three servers")
    parser.add_argument("--bridges", type=int, choices=(1, 2), default=1)
    parser.add_argument("--books", action="store_true", help="quotes and books, too")
    parser.add_argument(BY_SYMBOL, action="store_true", help="a message for each symbol")
    asked = parser.parse_args()
    words = f"{asked.kills} kills, {SIZE if asked.cluster else 1} of nats-server"
    print(f"{words}, {asked.bridges} of the bridge (seed {asked.seed})", flush=True)
    began_s = time.monotonic()
    play = partial(
        run,
        bridges=asked.bridges,
        is_cluster=asked.cluster,
        options=[BY_SYMBOL] if asked.by_symbol else [],
        books=asked.books,
    )
    with tempfile.TemporaryDirectory() as directory:
        outcome = trio.run(play, Path(directory), asked.kills, asked.seed)
    for figure, name in outcome.rows():
        print(f"{figure:>16}  {name}")
    print(f"{time.monotonic() - began_s:16.0f}  s in all")
    for each in outcome.complaints:
        print(f"BROKEN {each}")
    return 1 if outcome.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
