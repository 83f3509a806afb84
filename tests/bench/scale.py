"""Hundreds of symbols in one channel.

Workload: an exchange on loopback in a process of its own (`scale_parts.exchange`), the service as
`fanout --assets all` with its default log, and one TCP consumer. There are 800 symbols, and then
100 at the same rate. First the service starts. The stage measures the time until a consumer has its
header, until every symbol has delivered a trade, and until every symbol has its reference. The
references of 800 symbols are asked for within the venue's REST budget, which takes some minutes.
Then the exchange sends 1,200 trades a second for ten minutes (one minute with 100 symbols), and
25,000 a second for five seconds.

Age is from the service's read of the venue's socket to the consumer's read: what the service takes,
and the way over loopback. A consumer that misses a trade fails the stage.

Goals: 99 of 100 trades are younger than 10 ms in the ten minutes, and again two seconds after the
burst. The service takes 200 MiB of memory at most. The first consumer is served within 5 s, and one
that joins later within 100 ms. All references are there once the REST weight allows. Compared with
100 symbols, 800 take at most 1.2 times the CPU time and 1.15 times the bytes a trade.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from fanout.feed.upkeep import REFERENCE_PART
from fanout.net.budget import MINUTE_S, SHARE
from fanout.venues.binance.usdm import NEWEST, WEIGHT_LIMIT
from tests.bench.measure import REST_CORE, ROOT, WORK_CORE, cpu_s
from tests.bench.memory_parts.dialogue import Part, part
from tests.bench.report import Row
from tests.bench.scale_parts.consumer import Consumer, join_s

PATIENCE_S: Final = 600.0
AFTER_BURST_S: Final = 2.0
QUIET_S: Final = 5.0
START_S: Final = 30.0
"""What the start may take beside the REST weight of the references."""
JOINS: Final = 5
TICK_S: Final = 0.05
CALLS_S: Final = 0.5
"""Between two trades of each symbol, while not all are served."""
SETTLE_S: Final = 10.0
"""How long trades that were sent may take to arrive."""
MIB: Final = 2**20


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many symbols, the fewer ones to compare with, and how long each rate lasts."""

    symbols: int = 800
    few: int = 100
    rate: int = 1_200
    steady_s: float = 600
    few_steady_s: float = 60
    burst: int = 25_000
    burst_s: float = 5


WHOLE: Final = Dose()
SMALL: Final = Dose(symbols=20, few=10, steady_s=2, few_steady_s=2, burst=5_000, burst_s=1)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one number of symbols gave. Times are in seconds."""

    first_s: float
    all_s: float
    references_s: float
    joins_s: list[float]
    p99_ms: float
    p99_after_burst_ms: float
    cpu_us: float
    """A trade."""
    bytes_a_trade: float
    peak_mib: float
    trades: int


class LostError(Exception):
    """The consumer did not get what the exchange sent."""


def run(*, small: bool) -> list[Row]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    many = measured(dose.symbols, dose.steady_s, dose)
    few = measured(dose.few, dose.few_steady_s, dose)
    return [*rows(many, dose.symbols), *compared(many, few, dose)]


def rows(found: Found, symbols: int) -> Iterator[Row]:
    label = f"{symbols} symbols"
    yield Row(name=f"{label}, start to the first", value=found.first_s, unit="s", at_most=5)
    yield Row(name=f"{label}, start to all", value=found.all_s, unit="s")
    name, allowed_s = f"{label}, start to all references", references_s(symbols)
    yield Row(name=name, value=found.references_s, unit="s", at_most=allowed_s)
    join_ms = median(found.joins_s) * 1_000
    yield Row(name=f"{label}, a join", value=join_ms, unit="ms", at_most=100)
    yield Row(name=f"{label}, p99", value=found.p99_ms, unit="ms", at_most=10)
    after = found.p99_after_burst_ms
    yield Row(name=f"{label}, p99 after a burst", value=after, unit="ms", at_most=10)
    yield Row(name=f"{label}, memory at most", value=found.peak_mib, unit="MiB", at_most=200)
    yield Row(name=f"{label}, trades, none lost", value=found.trades, unit="")


def references_s(symbols: int) -> float:
    """How long the references may take, by the REST weight of their requests. The service uses half
    of the venue's budget, and a tenth of that half is left for other requests."""
    weight = symbols * NEWEST.weight
    return START_S + weight / (WEIGHT_LIMIT * SHARE * REFERENCE_PART) * MINUTE_S


def compared(many: Found, few: Found, dose: Dose) -> Iterator[Row]:
    label = f"{dose.symbols} symbols / {dose.few}"
    cpu, size = many.cpu_us / few.cpu_us, many.bytes_a_trade / few.bytes_a_trade
    yield Row(name=f"{dose.symbols} symbols, CPU", value=many.cpu_us, unit="µs/trade")
    yield Row(name=f"{label}, CPU", value=cpu, unit="times", at_most=1.2)
    yield Row(name=f"{dose.symbols} symbols, size", value=many.bytes_a_trade, unit="bytes/trade")
    yield Row(name=f"{label}, size", value=size, unit="times", at_most=1.15)


def measured(symbols: int, steady_s: float, dose: Dose) -> Found:
    """One exchange, service and consumer, from the start to the end."""
    with (
        part("exchange", symbols, core=REST_CORE, package="scale_parts") as exchange,
        serving(exchange.hear()) as service,
    ):
        consumer = Consumer(service.url())
        first_s = service.age_s
        await_all(symbols, exchange, service, consumer)
        all_s = service.age_s
        await_references(symbols, service, consumer)
        references_s = service.age_s
        account = Account(exchange, consumer)
        begin, cpu_s, bytes_before = account.settled(), service.cpu_s, consumer.bytes
        exchange.ask(f"play {dose.rate} {steady_s}")
        end, cpu_s = account.settled(), service.cpu_s - cpu_s
        bytes_a_trade = (consumer.bytes - bytes_before) / (end - begin)
        joins_s = [join_s(service.url()) for _ in range(JOINS)]
        exchange.ask(f"play {dose.burst} {dose.burst_s}")
        exchange.ask(f"play {dose.rate} {AFTER_BURST_S}")
        calm = consumer.trades
        exchange.ask(f"play {dose.rate} {QUIET_S}")
        trades = account.settled()
        consumer.close()
        return Found(
            first_s=first_s,
            all_s=all_s,
            references_s=references_s,
            joins_s=joins_s,
            p99_ms=p99_ms(consumer.ages_ns[begin:end]),
            p99_after_burst_ms=p99_ms(consumer.ages_ns[calm:]),
            cpu_us=cpu_s / (end - begin) * 1e6,
            bytes_a_trade=bytes_a_trade,
            peak_mib=service.peak_bytes / MIB,
            trades=trades,
        )


def await_all(symbols: int, exchange: Part, service: "Service", consumer: Consumer) -> None:
    """Until the consumer has had a trade of every symbol."""
    while len(consumer.symbols) < symbols:
        service.require_patience(f"{len(consumer.symbols)} of {symbols} symbols are served")
        exchange.ask("once")
        time.sleep(CALLS_S)


def await_references(symbols: int, service: "Service", consumer: Consumer) -> None:
    """Until the consumer has been sent the reference of every symbol."""
    while consumer.references < symbols:
        service.require_patience(f"{consumer.references} of {symbols} symbols have references")
        time.sleep(TICK_S)


class Account:
    """From its making on, what the exchange sends has to reach the consumer, all of it. To be made
    once all symbols are served: what is sent before a subscription reaches nobody."""

    def __init__(self, exchange: Part, consumer: Consumer) -> None:
        self._exchange = exchange
        self._consumer = consumer
        time.sleep(CALLS_S)
        self._ahead = exchange.ask("sent") - consumer.trades

    def settled(self) -> int:
        """How many trades the consumer has once all have come. Raises `LostError` if they do not
        come, or if it was told of a loss."""
        due = self._exchange.ask("sent") - self._ahead
        until_s = time.monotonic() + SETTLE_S
        while self._consumer.trades < due and time.monotonic() < until_s:
            time.sleep(TICK_S)
        if self._consumer.trades != due or self._consumer.lost:
            raise LostError(
                f"{self._consumer.trades:,} trades of {due:,} were received, and "
                f"{self._consumer.lost} losses reported"
            )
        return due


def p99_ms(ages_ns: list[int]) -> float:
    return sorted(ages_ns)[int(len(ages_ns) * 0.99)] / 1e6


class Service:
    """`fanout` as a process, from outside."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._began_s = time.monotonic()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began_s

    def url(self, scheme: str = "tcp") -> str:
        """Of its TCP port, or of another one, once it has printed it."""
        while True:
            for word in self._log.read_text().split():
                if word.startswith(f"{scheme}://"):
                    return word.rstrip(",").removesuffix("/status")
            self.require_patience(f"no {scheme} address was printed")
            time.sleep(TICK_S)

    def require_patience(self, so_far: str) -> None:
        """Raises `RuntimeError` if the service has ended, or is too slow."""
        if self._process.poll() is not None or self.age_s > PATIENCE_S:
            raise RuntimeError(f"{so_far} after {self.age_s:.0f} s: {self._log.read_text()[-500:]}")

    @property
    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)

    @property
    def peak_bytes(self) -> int:
        rows = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (peak,) = (each.split()[1] for each in rows if each.startswith("VmHWM:"))
        return int(peak) * 1024


def serving(port: int, *options: str) -> AbstractContextManager[Service]:
    """The service of an exchange on this port, with all of its symbols."""
    urls = ("--ws-url", f"ws://127.0.0.1:{port}", "--rest-url", f"http://127.0.0.1:{port}")
    return running_service("--assets", "all", *options, *urls)


@contextmanager
def running_service(*options: str) -> Iterator[Service]:
    """`fanout` with these options, and TCP at a free port."""
    command = [sys.executable, "-m", "fanout", *options, "tcp", "--port", "0"]
    kept = {name: each for name, each in os.environ.items() if not name.startswith("FANOUT_")}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=kept,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                preexec_fn=partial(os.sched_setaffinity, 0, {WORK_CORE}),
            )
        try:
            yield Service(process, log)
        finally:
            process.kill()
            process.wait()
