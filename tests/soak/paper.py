"""A soak of trading on paper: faults at the exchange, kills of every kind, and an oracle.

    simulator --stream, rest: spoiled--> service (a process) --proxy--> wild, calm: fanout paper run
        |                                     '--> journal --> calm again, twice, at the end
        '--> the exchange's record -----------------> PaperOracle <--- their journals

    python -m tests.soak.paper --minutes 60

Each run trades three symbols with the three strategies. The *wild* one has its kill switch pulled
at random moments, by a file, a signal, the command and limits, and is reset; or its process is
killed. The *calm* one is left alone: what it reported live has to be what the journal of market
data gives, byte for byte, and twice. In the second half the service is killed too, and connections
to it break: from then on a live reader loses what a journal has.

The oracle (`paper_oracle`) knows what must hold of both journals. The exit code is 0 only if
nothing was wrong, and each way of killing was tried.
"""

import os
import random
import signal
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from fractions import Fraction
from itertools import dropwhile
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from time import time_ns
from typing import Final

import trio

from fanout.simulator import Simulator, SimulatorConfig
from fanout.trading.reports import KillReport
from fanout.trading.running.checkpoint import Checkpoint
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.journal import (
    decode,
    entries_of,
    files_in,
    needed_files,
    reports_of,
    whole_lines,
)
from tests.fanout.cli.processes import FANOUT, environment
from tests.soak.mischief import Mischief
from tests.soak.paper_oracle import Allowed, PaperOracle, Row
from tests.stand.exchange import Market
from tests.stand.inside import running_simulator
from tests.stand.proxy import Proxy, proxying
from tests.stand.service import Service, serving

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
RATE: Final = 60.0
"""Trades a second of all symbols."""

COME_UP_S: Final = 20.0
CALM_S: Final = (4.0, 15.0)
TROUBLE_S: Final = 5.0
"""For so long the exchange misbehaves between two calm times."""
KILL_EVERY_S: Final = (2.0, 8.0)
STAYS_KILLED_S: Final = (0.2, 3.0)
PROOF_S: Final = 10.0
"""The longest from a pull until nothing is open: what a pause of the machine may add included."""
QUIET_NS: Final = 2 * 10**9
"""A report has the time of the newest record, which is older than that of a lost connection."""
REPLAY_S: Final = 600.0
LOOK_S: Final = 0.05
START_AGAIN_S: Final = 1.0
PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")
MOST_GROWTH: Final = 1.5
SPARE_BYTES: Final = 30 * 2**20
"""What the process that is left alone may need more at the end than after a third of the time."""

POSITIONS: Final = {"BTCUSDT": Decimal("0.05"), "ETHUSDT": Decimal(2), "SOLUSDT": Decimal(20)}
ORDERS_A_SECOND: Final = 20
KILLING_RATE: Final = 5
OPEN_ORDERS: Final = 4
MAKER_FEE: Final = Fraction(2, 10_000)

CONFIG: Final = """
[trading]
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]

[exchange]
maker-fee-bps = 2.0
taker-fee-bps = 5.0
acknowledge = "10ms"
cancel = "10ms"

[strategy]
min-life = "100ms"

[strategy.BTCUSDT]
name = "basic"
quantity = 0.010
position-limit = 0.050
spread-bps = 0.01
min-spread = 0.1
max-spread = 50
skew-bps = 0.1

[strategy.ETHUSDT]
name = "avellaneda-stoikov"
quantity = 0.5
position-limit = 2.0
gamma = 0.1
sigma = 0.3
k = 100
tau = 1

[strategy.SOLUSDT]
name = "glft"
quantity = 5
position-limit = 20
gamma = 0.05
sigma = 0.05
k = 100
a = 5

[risk]
order-quantity = "none"
order-value = "none"
position = 0.05
notional = 1000000
orders-per-second = {rate}
order-burst = {rate}
open-orders = {open_orders}
price-deviation-bps = 100
daily-loss = 1000
drawdown = 1000
stale = "3s"

[risk.BTCUSDT]
{btc}

[risk.ETHUSDT]
position = 2
{eth}

[risk.SOLUSDT]
position = 20
{sol}

[system]
segment-bytes = "1MiB"
"""
_COMMON: Final = {"rate": ORDERS_A_SECOND, "open_orders": OPEN_ORDERS}
_WILD: Final = {
    **_COMMON,
    "btc": 'kills = ["stale"]',
    "eth": f'orders-per-second = {KILLING_RATE}\nkills = ["orders-per-second"]',
    "sol": "kill-on-feed-loss = true",
}
_CALM: Final = {**_COMMON, "btc": "", "eth": "", "sol": ""}


class Kept:
    """A command that runs until it is told to end, and is started again when it has died."""

    def __init__(self, name: str, words: Sequence[str], directory: Path) -> None:
        self.name = name
        self.starts = 0
        self.process: Service | None = None
        self.codes: Counter[int] = Counter()
        self._words = words
        self._directory = directory
        self._is_ending = False

    async def run(self, started: Proxy | None = None) -> None:
        """Keep it running. A proxy then leads to what it serves."""
        while not self._is_ending:
            self.starts += 1
            async with serving(*self._words, log=self._log(self.starts), env=environment()) as each:
                self.process = each
                if started is not None:
                    await self._lead(started, each)
                while each.is_running:  # noqa: ASYNC110  a process
                    await trio.sleep(LOOK_S)
                self.codes[await each.wait()] += 1

    async def _lead(self, started: Proxy, process: Service) -> None:
        try:
            host, _, port = (await process.address("tcp"))[6:].partition(":")
        except AssertionError:
            # The exchange refuses for a while, and a service that cannot begin ends.
            await trio.sleep(START_AGAIN_S)
        else:
            started.target = (host, int(port))

    def kill(self) -> None:
        """Kill it, as a machine does that runs out of memory."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.process is not None and self.process.is_running:
            self.process.signal(number)

    async def end(self) -> None:
        """End it, and wait."""
        self._is_ending = True
        self.signal(signal.SIGTERM)
        if self.process is not None:
            await self.process.wait()

    @property
    def resident_bytes(self) -> int:
        """Memory in use now, 0 if it does not run."""
        if self.process is None or not self.process.is_running:
            return 0
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * PAGE_BYTES

    @property
    def said(self) -> list[str]:
        """What all of them said."""
        return [
            line
            for number in range(1, self.starts + 1)
            for line in self._log(number).read_text(errors="replace").splitlines()
        ]

    def _log(self, number: int) -> Path:
        return self._directory / f"{self.name}.{number}.log"


class Switches:
    """The kill switches of a run, as its journal has them. It is read as it grows."""

    def __init__(self, directory: Path) -> None:
        self.states: dict[str, str] = {}
        self._directory = directory
        self._read: dict[Path, int] = {}

    def look(self) -> set[str]:
        """The states that there are now."""
        for path in files_in(self._directory):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
            whole = whole_lines(data)
            self._read[path] = self._read.get(path, 0) + whole
            for line in data[:whole].splitlines():
                if b'"KillReport"' in line:
                    report = decode(line)
                    assert isinstance(report, KillReport), "its tag says so"
                    self.states[report.symbol] = report.state
        return {self.states.get(each, "armed") for each in SYMBOLS}


class PaperSoak:
    """One soak. `complaints` are what was wrong."""

    def __init__(self, simulator: Simulator, market: Market, directory: Path, seed: int) -> None:
        self.complaints: list[str] = []
        self.done: Counter[str] = Counter()
        self.slowest_s = 0.0
        """The longest from a pull until nothing was open."""
        self.oracles: dict[str, PaperOracle] = {}
        self.same = 0
        """Reports of the calm run that the journal of market data gave again."""
        self.grown_bytes = (0, 0)
        self._simulator = simulator
        self._market = market
        self._directory = directory
        self._chance = random.Random(seed)
        self._unsafe_from_ns = 0
        """From when on a live reader may miss what the journal has."""

    def _path(self, name: str) -> Path:
        return self._directory / name

    async def run(self, duration_s: float, stream: Proxy, rest: Proxy, way: Proxy) -> None:
        service = Kept("service", self._serve(stream, rest), self._directory)
        wild, calm = (
            Kept(name, self._trade(name, way, settings), self._directory)
            for name, settings in (("wild", _WILD), ("calm", _CALM))
        )
        switches = Switches(self._path("wild"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run, way)
            while way.target[1] == 0:  # noqa: ASYNC110  a process
                await trio.sleep(LOOK_S)
            nursery.start_soon(calm.run)
            nursery.start_soon(wild.run)
            await trio.sleep(min(COME_UP_S, 3 + duration_s / 10))
            self._simulator.release()
            with trio.move_on_after(duration_s):
                async with trio.open_nursery() as trouble:
                    trouble.start_soon(self._misbehave, stream, rest)
                    trouble.start_soon(self._kill, wild, switches)
                    trouble.start_soon(self._watch_memory, calm)
                    await trio.sleep(duration_s / 2)
                    self._unsafe_from_ns = time_ns() - QUIET_NS
                    trouble.start_soon(self._break, service, way)
                    await trio.sleep_forever()
            await self._command("kill", "--why", "the end")
            await self._proved(switches, "the end")
            for each in (calm, wild, service):
                await each.end()
            nursery.cancel_scope.cancel()
        await self._judge((service, wild, calm))

    def _serve(self, stream: Proxy, rest: Proxy) -> list[str]:
        exchange = f"--ws-url {stream.url('ws')} --rest-url {rest.url('http')}"
        return (
            f"--assets {','.join(SYMBOLS)} --data trades,book {exchange} --log-bytes 64MiB "
            f"tcp --port 0 journal --dir {self._path('market')}"
        ).split()

    def _trade(self, name: str, way: Proxy, settings: dict[str, object]) -> list[str]:
        config = self._path(f"{name}.toml")
        config.write_text(CONFIG.format(**settings))
        words = f"paper run --config {config} --journal {self._path(name)} --start oldest"
        return [*words.split(), way.url("tcp")]

    # What goes wrong.

    async def _misbehave(self, stream: Proxy, rest: Proxy) -> None:
        """All that the exchange knows, with calm times between, in which orders are filled."""
        while True:
            await trio.sleep(self._chance.uniform(*CALM_S))
            mischief = Mischief(
                self._simulator,
                {"stream": stream, "rest": rest},
                self._chance.randrange(10**6),
                symbols=SYMBOLS,
                with_books=SYMBOLS,
                longest_s=TROUBLE_S,
            )
            try:
                with trio.move_on_after(TROUBLE_S):
                    await mischief.run()
            finally:
                mischief.stop()
                self.done += mischief.done

    async def _break(self, service: Kept, way: Proxy) -> None:
        """Kill the service, or cut or hold the connections to it."""
        while True:
            deed = self._chance.choice(("killed", "cut", "held"))
            self.done[f"service {deed}"] += 1
            if deed == "killed":
                service.kill()
            elif deed == "cut":
                way.reset()
            else:
                way.down.hold()
                await trio.sleep(self._chance.uniform(0.5, 5.0))
                way.down.release()
            await trio.sleep(self._chance.uniform(5.0, 20.0))

    async def _kill(self, wild: Kept, switches: Switches) -> None:
        """Pull the kill switch in one way or another, or kill the process; then reset it."""
        while True:
            await trio.sleep(self._chance.uniform(*KILL_EVERY_S))
            how = self._chance.choice(("file", "signal", "command", "process"))
            self.done[f"killed: {how}"] += 1
            if how == "process":
                wild.kill()
                continue
            if how == "signal":
                wild.signal(signal.SIGUSR1)
            elif how == "file":
                self._path("wild/kill").write_text("a soak\n")
            else:
                await self._command("kill", "--why", "a soak")
            if self._chance.random() < 0.2:
                wild.kill()  # between the pull and the proof, or so
            if how != "signal":
                await self._proved(switches, how)
            await trio.sleep(self._chance.uniform(*STAYS_KILLED_S))
            await self._reset(switches)

    async def _proved(self, switches: Switches, how: str) -> None:
        began_s = trio.current_time()
        with trio.move_on_after(PROOF_S):
            while switches.look() != {"latched"}:  # noqa: ASYNC110  a process
                await trio.sleep(LOOK_S)
            self.slowest_s = max(self.slowest_s, trio.current_time() - began_s)
            return
        self.complaints.append(f"{PROOF_S:g} s after the kill by {how}: {switches.states}")

    async def _reset(self, switches: Switches) -> None:
        self._path("wild/kill").unlink(missing_ok=True)
        if "latched" in switches.look():
            await self._command("reset", "--who", "soak")

    async def _command(self, name: str, *words: str) -> None:
        done = await trio.run_process(
            [*FANOUT, "paper", name, str(self._path("wild")), *words],
            check=False,
            capture_stdout=True,
            stderr=STDOUT,
            env=environment(),
        )
        self.done[f"fanout paper {name}: exit code {done.returncode}"] += 1
        if b"Traceback" in done.stdout:
            self.complaints.append(f"fanout paper {name}: {done.stdout.decode()}")

    async def _watch_memory(self, calm: Kept) -> None:
        seen: list[int] = []
        while True:
            await trio.sleep(1.0)
            seen.append(calm.resident_bytes)
            self.grown_bytes = seen[len(seen) // 3], seen[-1]

    # The end.

    async def _judge(self, processes: Sequence[Kept]) -> None:
        for each in processes:
            faults = [line for line in each.said if "Traceback" in line or "Error:" in line]
            self.complaints += [f"{each.name} said: {line}" for line in faults[:5]]
        for name, eth in (("wild", KILLING_RATE), ("calm", ORDERS_A_SECOND)):
            oracle = PaperOracle(self._row_of, _allowed(eth))
            oracle.judge(reports_of(self._path(name)))
            oracle.end()
            self.oracles[name] = oracle
            self.complaints += [f"{name}: {each}" for each in oracle.complaints]
            self._judge_restart(name)
        await self._replay()
        before, after = self.grown_bytes
        if after > MOST_GROWTH * before + SPARE_BYTES:
            self.complaints.append(f"the calm run grew from {before:,} to {after:,} bytes")

    def _judge_restart(self, name: str) -> None:
        """The newest checkpoint and what follows it say the same as all lines."""
        every = (each for each in reports_of(self._path(name)) if not isinstance(each, Checkpoint))
        whole = Earlier.of(every).checkpoint()
        if Earlier.of(entries_of(needed_files(self._path(name)))).checkpoint() != whole:
            self.complaints.append(f"{name}: a restart would find something else than {whole}")

    def _row_of(self, symbol: str, trade_id: int) -> Row | None:
        facts = self._market.facts(symbol, trade_id)
        return None if facts is None else Row(facts[0], facts[1], facts[3])

    async def _replay(self) -> None:
        """The same from the journal of market data, twice, with other seeds of hashes."""
        texts = []
        for number in (1, 2):
            directory = self._path(f"replay{number}")
            words = f"--config {self._path('calm.toml')} --journal {directory} --no-follow"
            with trio.move_on_after(REPLAY_S):
                await trio.run_process(
                    [
                        *(*FANOUT, "paper", "run", *words.split()),
                        *("--from", f"journal://{self._path('market')}"),
                    ],
                    check=False,
                    stdout=DEVNULL,
                    env=environment(PYTHONHASHSEED=str(number)),
                )
            texts.append([each.read_bytes() for each in files_in(directory)])
        if texts[0] != texts[1] or not texts[0]:
            self.complaints.append("a run from the journal gave other bytes the second time")
        self._compare(b"".join(texts[0]))

    def _compare(self, replayed: bytes) -> None:
        """The calm run live and from the journal: equal from the first quote on, as long as the
        live one has lost nothing that the journal has."""
        live = b"".join(each.read_bytes() for each in files_in(self._path("calm")))
        lines = [_from_first_quote(each) for each in (live, replayed)]
        for one, other in zip(*lines, strict=False):
            if decode(one).time_ns >= self._unsafe_from_ns:  # type: ignore[union-attr]
                return
            if one != other:
                self.complaints.append(f"live {one!r}, and from the journal {other!r}")
                return
            self.same += 1


def _from_first_quote(journal: bytes) -> list[bytes]:
    """The reports from the first quote on. Before it the live stream has a whole book that no
    journal has: that of its join. So its files end at other reports."""
    reports = [line for line in journal.splitlines() if not line.startswith(_HEADS)]
    return list(dropwhile(lambda line: b'"QuoteReport"' not in line, reports))


_HEADS: Final = (b'{"type":"Started"', b'{"type":"Checkpoint"')


def _allowed(eth_rate: int) -> dict[str, Allowed]:
    return {
        symbol: Allowed(
            position=position,
            open_orders=OPEN_ORDERS,
            rate=eth_rate if symbol == "ETHUSDT" else ORDERS_A_SECOND,
            burst=ORDERS_A_SECOND,
            maker_fee=MAKER_FEE,
        )
        for symbol, position in POSITIONS.items()
    }


@asynccontextmanager
async def _exchange(seed: int) -> AsyncIterator[tuple[Simulator, Market]]:
    config = SimulatorConfig(symbols=SYMBOLS, rate=RATE, seed=seed, hold=True, kept_trades=1_000)
    async with running_simulator(config) as simulator:
        yield simulator, Market(simulator, *SYMBOLS)


async def paper_soak(duration_s: float, seed: int, directory: Path) -> PaperSoak:
    """Run one. What went wrong is among its complaints."""
    async with (
        _exchange(seed) as (simulator, market),
        proxying(simulator.ws_url) as stream,
        proxying(simulator.rest_url) as rest,
        proxying("tcp://127.0.0.1:0") as way,
    ):
        soak = PaperSoak(simulator, market, directory, seed)
        await soak.run(duration_s, stream, rest, way)
    return soak


MOST_SHOWN: Final = 40
WAYS: Final = ("file", "signal", "command", "limit", "feed")


def report(soak: PaperSoak) -> int:
    """Print what was seen, and what was wrong. Returns the exit code."""
    for name, oracle in soak.oracles.items():
        for count_of, count in sorted(oracle.counts.items()):
            print(f"{count:>10,}  {name}: {count_of}")
    for name, count in sorted(soak.done.items()):
        print(f"{count:>10,}  {name}")
    print(f"{soak.same:>10,}  reports were the same live and from the journal, byte for byte")
    print(f"{soak.slowest_s:>10.1f}  s, the longest from a kill until nothing was open")
    before, after = (each / 2**20 for each in soak.grown_bytes)
    print(f"{after:>10.1f}  MiB at the end, {before:.1f} after a third of the time")
    print(f"{len(soak.complaints):>10,}  complaints")
    for fault in soak.complaints[:MOST_SHOWN]:
        print(f"BROKEN {fault}")
    return 1 if soak.complaints else 0


def main(words: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m tests.soak.paper", description="Trading on paper.")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args(words)
    print(f"soak of paper trading, {options.minutes:g} minutes (seed {options.seed})", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        soak = trio.run(paper_soak, options.minutes * 60, options.seed, Path(directory))
        if options.minutes >= TRIED_MINUTES:
            killed = soak.oracles["wild"].counts
            soak.complaints += [
                f"there was no kill by {each}" for each in WAYS if not killed[f"kills by {each}"]
            ]
    return report(soak)


TRIED_MINUTES: Final = 5
"""A shorter soak may miss a way of killing."""


if __name__ == "__main__":
    sys.exit(main())
