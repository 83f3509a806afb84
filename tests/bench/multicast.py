"""What many receivers cost, and when they have a block: multicast, and TCP beside it.

Workload: a block of 16 trades a millisecond, as a busy exchange sends. The service has a core to
itself, with nothing but a channel and one transport, and all receivers are on the other core. CPU
is the time of the service's process a block, user and system. The age of a block begins when it is
published, and ends when the last receiver has read it. Every block has to come.

- multicast: one group on loopback, with 1 and with 8 receivers. Over a network the cost is that of
  no receiver at all. On loopback the kernel copies each packet for every socket within the sender's
  call, which counts as the service's time here.
- tcp: 100 clients. Each gets every block by a call of its own.
- no transport: only publishes. What this costs is taken off where transports are compared.

Goals: the service takes the same CPU with 8 receivers as with one, within a tenth; multicast costs
a tenth of what 100 clients cost over TCP; and its p99 is ahead of theirs.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from tests.bench.broadcast.children import launch, running
from tests.bench.measure import REST_CORE, WORK_CORE, in_rounds, ratios
from tests.bench.report import Absent, Row, figure
from tests.stand.groups import free_groups

BLOCKS: Final = 3_000
ROUNDS: Final = 3
SMALL_BLOCKS: Final = 200

PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}


class Way(msgspec.Struct, frozen=True):
    """A transport, and how many receive."""

    transport: str
    readers: int

    @property
    def label(self) -> str:
        if not self.readers:
            return self.transport
        who = "clients" if self.transport == "tcp" else "receiver"
        many = "s" if self.readers > 1 and self.transport != "tcp" else ""
        return f"{self.transport}, {self.readers} {who}{many}"


NONE: Final = Way("no transport", 0)
ONE: Final = Way("multicast", 1)
EIGHT: Final = Way("multicast", 8)
TCP: Final = Way("tcp", 100)
SMALL_TCP: Final = Way("tcp", 10)


class Sample(msgspec.Struct, frozen=True):
    """One run: µs of CPU a block, and the ages in µs, ascending."""

    cpu_us: float
    ages_us: list[float]

    def age(self, at: float) -> float:
        return self.ages_us[round((len(self.ages_us) - 1) * at)]


def run(*, small: bool) -> list[Row | Absent]:
    """Microseconds by transport and receivers. See `tests.bench.report.Stage`."""
    tcp = SMALL_TCP if small else TCP
    blocks, rounds = (SMALL_BLOCKS, 1) if small else (BLOCKS, ROUNDS)
    ways = {each: partial(sample, each, blocks) for each in (NONE, ONE, EIGHT, tcp)}
    samples = in_rounds(ways, rounds, warm_up=False)
    rows: list[Row | Absent] = []
    for way, found in samples.items():
        rows.append(figure(f"{way.label}, CPU a block", [each.cpu_us for each in found], "µs"))
        rows += _ages(way, found) if way.readers else ()
    cpu = {way: [each.cpu_us for each in found] for way, found in samples.items()}
    cost = {way: [one - none for one, none in zip(cpu[way], cpu[NONE], strict=True)] for way in cpu}
    p99 = {way: [each.age(0.99) for each in samples[way]] for way in (EIGHT, tcp)}
    rows += [
        figure(
            f"{EIGHT.label} / {ONE.label}, CPU",
            ratios(cpu[EIGHT], cpu[ONE]),
            "times",
            at_most=1.1,
        ),
        figure(
            f"{EIGHT.label} / {tcp.label}, CPU less that of no transport",
            ratios(cost[EIGHT], cost[tcp]),
            "times",
            at_most=0.1,
        ),
        figure(
            f"{tcp.label} / {EIGHT.label}, p99", ratios(p99[tcp], p99[EIGHT]), "times", at_least=1
        ),
    ]
    return rows


def _ages(way: Way, found: list[Sample]) -> Iterator[Row]:
    for name, at in PERCENTILES.items():
        yield figure(f"{way.label}, {name}", [each.age(at) for each in found], "µs")


def sample(way: Way, blocks: int) -> Sample:
    """One run. Raises `RuntimeError` if a block does not come."""
    group = str(free_groups()[0])
    parts, python = "tests.bench.multicast_parts", (sys.executable, "-m")
    service = [*python, f"{parts}.service", way.transport, group, blocks]
    with running(launch(service, core=WORK_CORE)) as serving:
        if not way.readers:
            serving.hear()
            serving.say("go")
            return Sample(float(serving.hear()) * 1e6 / blocks, [])
        reader = [*python, f"{parts}.reader", serving.hear(), way.readers, blocks]
        with running(launch(reader, core=REST_CORE)) as reading:
            assert reading.hear() == "ready"
            serving.say("go")
            cpu_s = float(serving.hear())
            ages_us = sorted(json.loads(reading.hear()))
    return Sample(cpu_s * 1e6 / blocks, ages_us)
