"""Hundreds of clients that stall at random, and one that does not."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from fanout.clients.tcp_client import parse_address
from fanout.transports.base import CHUNK_BYTES
from fanout.transports.tcp.config import TcpConfig
from tests.bench.report import Row
from tests.stress.tcp.herd import herd, keep_up
from tests.stress.tcp.service import ANY_RATE, serve
from tests.stress.tcp.worker import Worker

CLIENT_BYTES: Final = CHUNK_BYTES + 64 * 1024
"""Most that a client may take of the service's memory beside the log, whatever it does: the piece
it is in the middle of, and the objects and tasks that stand for it."""

SLACK_BYTES: Final = 32 * 1024 * 1024
"""What a small dose grants beside that, to allocators that it does not know."""

MAX_RATIO: Final = 2.0
"""Of the median delay with the others to the one without."""

HERDS: Final = 2
"""Processes that the clients who stall are spread over, to account for what they read."""


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How long a client is measured alone, and then with the others; and how long the log is, so
    that who stalls falls off it."""

    alone_s: float
    together_s: float
    log_bytes: int


WHOLE: Final = Dose(alone_s=20, together_s=60, log_bytes=4 * 1024 * 1024)
SMALL: Final = Dose(alone_s=0.3, together_s=1.5, log_bytes=256 * 1024)


def run(count: int, seed: int, *, small: bool) -> list[Row]:
    """So many clients, each process its own: the service, the one, and the herds."""
    assert count > HERDS, f"{count} clients: more than {HERDS} are needed"
    dose = SMALL if small else WHOLE
    config = TcpConfig(port=0, accept_rate=ANY_RATE, stall_timeout_s=600)
    with ExitStack() as workers:
        service = workers.enter_context(Worker(serve, config, dose.log_bytes, seed))
        one = workers.enter_context(Worker(keep_up))
        sizes = [(count - 1 + step) // HERDS for step in range(HERDS)]
        herds = [
            workers.enter_context(Worker(herd, size, dose.together_s, seed + step))
            for step, size in enumerate(sizes)
        ]
        url, _ = service.hear(), [each.hear() for each in herds]
        empty = service.memory("VmRSS")
        service.say("fill the log, and publish")
        service.hear()
        one.say(url)
        first_seq = one.hear()
        alone = spend(service, dose.alone_s)
        full = service.memory("VmRSS")
        for each in herds:
            each.say(url)
        together = spend(service, dose.together_s)
        most, kernel = service.memory("VmHWM"), kernel_bytes(url)
        for each in (*herds, service):
            each.say("end")
        numbers, lost, next_seq, arrivals = one.hear()
        got, published = (lost, first_seq + numbers, next_seq), service.hear()
        assert got == (0, published, published), (got, published)
        told = sum((each.hear() for each in herds), Counter[str]())
        for each in (service, one, *herds):
            each.finish()
    assert most - empty <= dose.log_bytes + count * CLIENT_BYTES + SLACK_BYTES, (empty, full, most)
    return [
        *delay_rows(alone, together, arrivals, count),
        Row(name="numbers that the one got", value=numbers, unit=""),
        Row(name="lost to it", value=lost, unit="", at_most=0),
        *memory_rows(dose, count, empty, full, most),
        Row(name="in the kernel for each", value=kernel / count / 1024, unit="KiB"),
        *[Row(name=name, value=told[name], unit="") for name in told],
    ]


class Span(msgspec.Struct, frozen=True):
    """A time in which something was measured: when it was, in unix ns, and how much of a core the
    service took."""

    began_ns: int
    ended_ns: int
    load: float

    def delays_us(self, arrivals: list[tuple[int, int]]) -> list[float]:
        """Of the blocks that were published in it, sorted."""
        return sorted(
            delay_ns / 1000
            for at_ns, delay_ns in arrivals
            if self.began_ns <= at_ns < self.ended_ns
        )

    def rate(self, arrivals: list[tuple[int, int]]) -> float:
        return len(self.delays_us(arrivals)) / (self.ended_ns - self.began_ns) * 1e9


def spend(service: Worker, span_s: float) -> Span:
    began_ns, cpu_s = time.time_ns(), service.cpu_s()
    time.sleep(span_s)
    return Span(began_ns, time.time_ns(), (service.cpu_s() - cpu_s) / span_s)


def delay_rows(
    alone: Span, together: Span, arrivals: list[tuple[int, int]], count: int
) -> Iterator[Row]:
    medians = []
    for name, span in (("alone", alone), (f"with {count - 1} others", together)):
        delays = span.delays_us(arrivals)
        medians.append(statistics.median(delays))
        yield Row(name=f"blocks a second, {name}", value=span.rate(arrivals), unit="")
        yield Row(name=f"service's load, {name}", value=span.load * 100, unit="%")
        yield Row(name=f"delay p50, {name}", value=medians[-1], unit="µs")
        yield Row(name=f"delay p99, {name}", value=delays[len(delays) * 99 // 100], unit="µs")
    ratio = medians[1] / medians[0]
    yield Row(name="delay p50, ratio", value=ratio, unit="", at_most=MAX_RATIO)


def memory_rows(dose: Dose, count: int, empty: int, full: int, most: int) -> Iterator[Row]:
    """What the service took, beside what it takes without a log and clients."""
    bound = dose.log_bytes + count * CLIENT_BYTES
    yield Row(name="memory of the service, empty", value=empty / 2**20, unit="MiB")
    yield Row(name="of a full log", value=(full - empty) / 2**20, unit="MiB")
    each = (most - full) / (count - 1) / 1024
    yield Row(name="of each client", value=each, unit="KiB", at_most=CLIENT_BYTES / 1024)
    yield Row(
        name="of log and clients", value=(most - empty) / 2**20, unit="MiB", at_most=bound / 2**20
    )


def kernel_bytes(url: str) -> int:
    """What the kernel holds of what the service has sent, for all its clients."""
    _, port, _ = parse_address(url)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4][:8], 16) for row in rows if row[1].endswith(f":{port:04X}"))
