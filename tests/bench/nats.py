"""The bridge to NATS JetStream, beside bridges that publish each trade as JSON.

Workload: a service in a process of its own, with a channel and TCP, and a real nats-server with
streams in files, both on one core. The bridge has the other core. It has published one trade when
the service publishes a backlog at once: so the bridge reads as fast as it can publish. The rate is
by the server's own times of the first and the last message. CPU is that of the process, user and
system, less what it took until then. Afterwards the stage reads the stream, which has to have
every number once and in order. The size of a stream is what the server says.

- fanout: `fanout bridge nats`, with blocks of 16 trades, as a busy exchange sends, and with blocks
  of one.
- JSON, awaited: fanout's own client for asyncio, and nats-py. Each trade is a message, and the next
  one waits for its acknowledgement. Nothing is done about failures, doubles and restarts.
- JSON, with a window: the same with as many acknowledgements under way as fanout has.

Then the peak: 25,000 trades a second of 800 symbols for five seconds, one block a millisecond, five
of them, and one with `--by-symbol`, where nearly each trade is a message. The lag of a message is
from the time at which the exchange's socket would have been read to the stream's acknowledgement at
the bridge.

Goals: ten times the trades a second of JSON, awaited, and a tenth of its CPU. In the peak with a
block a millisecond, no lag over a second.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.broadcast.children import Child, launch, running
from tests.bench.measure import REST_CORE, WORK_CORE, in_rounds, ratios
from tests.bench.nats_parts.kept import Kept, Message, kept_by
from tests.bench.report import Absent, Row, Unavailable, figure
from tests.stand.nats import NatsServer, installed_nats, running_nats

ROUNDS: Final = 3
PEAK_TRADES_S: Final = 25_000

PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}

_PARTS: Final = "tests.bench.nats_parts"
_PYTHON: Final = (sys.executable, "-m")


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge and its backlog."""

    name: str
    how: str = ""
    """Of a bridge of JSON; empty for fanout's."""
    block_trades: int = 16
    blocks: int
    small_blocks: int


OURS: Final = Way(name="fanout, blocks of 16", blocks=40_000, small_blocks=100)
SINGLE: Final = Way(name="fanout, blocks of one", block_trades=1, blocks=40_000, small_blocks=100)
AWAITED: Final = Way(name="JSON, awaited", how="awaited", blocks=600, small_blocks=10)
WINDOW: Final = Way(name="JSON, with a window", how="window", blocks=3_000, small_blocks=10)
WAYS: Final = (OURS, SINGLE, AWAITED, WINDOW)


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks at a steady pace."""

    symbols: int = 800
    blocks_ms: int
    """Blocks a millisecond."""
    seconds: float = 5
    by_symbol: bool = False

    @property
    def name(self) -> str:
        many = "a block" if self.blocks_ms == 1 else f"{self.blocks_ms} blocks"
        return f"peak, {many} a ms{', by symbol' if self.by_symbol else ''}"

    @property
    def has_goal(self) -> bool:
        return self.blocks_ms == 1 and not self.by_symbol


PEAKS: Final = (Peak(blocks_ms=1), Peak(blocks_ms=5), Peak(blocks_ms=1, by_symbol=True))
SMALL_PEAKS: Final = tuple(
    msgspec.structs.replace(each, symbols=20, seconds=0.1) for each in PEAKS if each.blocks_ms == 1
)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A backlog that was worked off."""

    trades_s: float
    cpu_us: float
    """Of the bridge, a trade."""
    messages_s: float
    server_cpu_us: float
    """Of the server, a message."""
    beyond_bytes: float
    """What the stream takes for a message beyond its data."""
    size_ratio: float
    """What the stream takes, by the data of its messages of trades."""


def run(*, small: bool) -> list[Row | Absent]:
    """Rates, CPU and lags. See `tests.bench.report.Stage`."""
    if installed_nats() is None:
        raise Unavailable("nats-server is not installed (Debian: apt-get install nats-server)")
    rounds = 1 if small else ROUNDS
    with tempfile.TemporaryDirectory() as directory, _server(Path(directory)) as server:
        ways = {way: partial(sample, way, server, small=small) for way in WAYS}
        found = in_rounds(ways, rounds, warm_up=False)
        peaks = SMALL_PEAKS if small else PEAKS
        by_peak = {each: partial(lags_ms, each, server) for each in peaks}
        lags = in_rounds(by_peak, rounds, warm_up=False)
    return [*_backlogs(found), *_peaks(lags)]


def _backlogs(found: dict[Way, list[Sample]]) -> Iterator[Row]:
    trades_s = {way: [each.trades_s for each in its] for way, its in found.items()}
    cpu_us = {way: [each.cpu_us for each in its] for way, its in found.items()}
    for way, its in found.items():
        yield figure(way.name, trades_s[way], "trades/s")
        if way is OURS:
            yield figure(f"{way.name}, messages", [each.messages_s for each in its], "messages/s")
        yield figure(f"{way.name}, CPU a trade", cpu_us[way], "µs")
        server_us = [each.server_cpu_us for each in its]
        yield figure(f"{way.name}, CPU of the server a message", server_us, "µs")
        beyond_bytes = [each.beyond_bytes for each in its]
        yield figure(f"{way.name}, a message in the stream - its data", beyond_bytes, "bytes")
        size_ratios = [each.size_ratio for each in its]
        yield figure(f"{way.name}, bytes of the stream / of its data", size_ratios, "times")
    for ours, goal in ((OURS, 10.0), (SINGLE, None)):
        rate = ratios(trades_s[ours], trades_s[AWAITED])
        yield figure(f"{ours.name} / {AWAITED.name}, trades/s", rate, "times", at_least=goal)
    for ours, most in ((OURS, 0.1), (SINGLE, None)):
        cpu = ratios(cpu_us[ours], cpu_us[AWAITED])
        yield figure(f"{ours.name} / {AWAITED.name}, CPU a trade", cpu, "times", at_most=most)


def _peaks(found: dict[Peak, list[list[float]]]) -> Iterator[Row]:
    for peak, samples in found.items():
        for name, at in PERCENTILES.items():
            goal = 1_000.0 if name == "max" and peak.has_goal else None
            values = [each[round((len(each) - 1) * at)] for each in samples]
            yield figure(f"{peak.name}, lag {name}", values, "ms", at_most=goal)


def sample(way: Way, server: NatsServer, *, small: bool) -> Sample:
    """One backlog. Raises `RuntimeError` if a trade is missing or comes twice."""
    blocks = way.small_blocks if small else way.blocks
    prefix = server.new_prefix()
    command = [*_PYTHON, f"{_PARTS}.json_bridge"] if way.how else [*_PYTHON, "fanout"]
    with _service(1, way.block_trades, blocks, 0) as (service, address):
        arguments = (
            (address, server.url, f"{prefix}.test", way.how)
            if way.how
            else _arguments(address, server, prefix)
        )

        async def watched() -> Sample:
            subject = f"{prefix}.test" if way.how else f"{prefix}.test.records"
            async with kept_by(server.url, f"{prefix}-test", subject) as kept:
                if way.how:
                    await kept.make()
                with _bridge([*command, *arguments]) as bridge:
                    return await _worked_off(kept, service, bridge, server, way, blocks)

        return asyncio.run(watched())


async def _worked_off(
    kept: Kept, service: Child, bridge: Child, server: NatsServer, way: Way, blocks: int
) -> Sample:
    trades = way.block_trades * blocks
    await kept.until(1)
    began_ns, server_began_ns = cpu_ns(bridge.pid), cpu_ns(server.pid)
    service.say("go")
    await kept.until(1 + trades)
    took_ns, server_ns = cpu_ns(bridge.pid) - began_ns, cpu_ns(server.pid) - server_began_ns
    messages = await kept.messages()
    _, first, *others = messages
    stored, data = await kept.stored_bytes(), sum(each.size for each in messages)
    await kept.remove()
    seconds = _seconds_between(first, others[-1])
    return Sample(
        trades_s=(trades - sum(map(len, first.runs))) / seconds,
        cpu_us=took_ns / 1_000 / trades,
        messages_s=len(others) / seconds,
        server_cpu_us=server_ns / 1_000 / (1 + len(others)),
        beyond_bytes=(stored - data) / len(messages),
        size_ratio=stored / data,
    )


def _seconds_between(first: Message, last: Message) -> float:
    return (last.at - first.at).total_seconds()


def lags_ms(peak: Peak, server: NatsServer) -> list[float]:
    """The lags of all messages of a peak, ascending. Raises `RuntimeError` if a trade is missing or
    comes twice."""
    prefix = server.new_prefix()
    blocks = round(1_000 * peak.seconds) * peak.blocks_ms
    block_trades = PEAK_TRADES_S // 1_000 // peak.blocks_ms
    period_s = 0.001 / peak.blocks_ms
    with _service(peak.symbols, block_trades, blocks, period_s) as (service, address):
        command = [*_PYTHON, f"{_PARTS}.noted_bridge", *_arguments(address, server, prefix)]
        subject = f"{prefix}.test.records"
        if peak.by_symbol:
            command.append("--by-symbol")
            subject += ".*"

        async def watched() -> list[int]:
            async with kept_by(server.url, f"{prefix}-test", subject) as kept:
                with _bridge(command) as bridge:
                    await kept.until(1)
                    service.say("go")
                    await kept.until(1 + block_trades * blocks)
                    os.kill(bridge.pid, signal.SIGTERM)
                    lags_ns: list[int] = json.loads(bridge.hear())
                assert len(await kept.messages()) == len(lags_ns)
                await kept.remove()
                return lags_ns

        return sorted(each / 1e6 for each in asyncio.run(watched())[1:])


def _arguments(address: str, server: NatsServer, prefix: str) -> tuple[str, ...]:
    """Those of `fanout` for its bridge."""
    urls = (address, "--url", server.url)
    return ("bridge", "nats", *urls, "--prefix", prefix, "--start", "oldest")


@contextmanager
def _bridge(command: Sequence[str]) -> Iterator[Child]:
    """A bridge that runs. What it logs is shown if something fails."""
    with tempfile.TemporaryFile() as log:
        try:
            with running(launch(command, core=WORK_CORE, stderr=log)) as bridge:
                yield bridge
        except Exception:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise


@contextmanager
def _service(
    symbols: int, block_trades: int, blocks: int, period_s: float
) -> Iterator[tuple[Child, str]]:
    """The service, and its address."""
    command = [*_PYTHON, f"{_PARTS}.service", symbols, block_trades, blocks, period_s]
    with running(launch(command, core=REST_CORE)) as service:
        yield service, service.hear()


@contextmanager
def _server(directory: Path) -> Iterator[NatsServer]:
    """A server on the core of what is not measured: a process begins on the cores of its parent.
    What it logged last is shown if something fails."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {REST_CORE})
    try:
        with running_nats(directory) as server:
            os.sched_setaffinity(0, cores)
            try:
                yield server
            except Exception:
                sys.stderr.write("\n".join([*server.said[-80:], ""]))
                raise
    finally:
        os.sched_setaffinity(0, cores)


def cpu_ns(pid: int) -> int:
    """User and system time of a process and all its threads, by its clock: see
    clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(~pid << 3 | 2)
