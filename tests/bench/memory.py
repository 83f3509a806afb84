"""The service's memory after 10 million trades and 1,000 clients.

Workload: a service in a process of its own, composed as `fanout` composes it: feed, publisher, a
log of the default 64 MiB and TCP, with the compiled twins if they are built. Its feed reads 20,000
recorded trades a second from a WebSocket, with ids that continue. The rest of the 10 million trades
go directly to the publisher, in the blocks in which they were received: one per millisecond, 4.2
trades on average. They pass through encoder, log and transport like the others, only faster. In
each of 20 waves, 50 clients connect, read while half a million trades are published, and leave.
Most stay to the end of the wave, some leave early, some ask for the oldest trade, some stop reading
(see `memory_parts.crowd`). One client in ten accounts for every sequence number.

Between the waves, when no client is connected, the stage reads the process's resident memory. The
first three waves are the warm-up: after them the log is full, and each new frame evicts others.

Goal: never more than 5 % above the value after the warm-up. That is some 6 MB over 8.5 million
trades and 850 clients, less than a byte a trade. A service that keeps anything per trade, block or
client misses the goal by far; the allocator's fragmentation from 2 million blocks of varying length
stays within it. The slope by least squares stands beside it. The stage fails unless open
descriptors and tasks are as many at the end as at the beginning.
"""

from collections.abc import Iterator
from statistics import linear_regression
from typing import Final

import msgspec

from fanout.config import DEFAULT_LOG_BYTES
from tests.bench import market
from tests.bench.measure import REST_CORE, WORK_CORE
from tests.bench.memory_parts.dialogue import Memory, Part, part
from tests.bench.report import Row

FEED_TRADES_A_SECOND: Final = 20_000
WARM_UP_WAVES: Final = 3
MOST_GROWTH_PERCENT: Final = 5


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many waves of clients there are, of how many, while how many trades are published."""

    waves: int
    clients: int
    trades: int
    log_bytes: int


WHOLE: Final = Dose(waves=20, clients=50, trades=500_000, log_bytes=DEFAULT_LOG_BYTES)
SMALL: Final = Dose(waves=5, clients=10, trades=40_000, log_bytes=2 * 2**20)
"""Its log is full after the warm-up also on a busy machine, which makes fewer, longer blocks."""


class Look(msgspec.Struct, frozen=True):
    """What the service sees of itself, while no client is there."""

    trades: int
    from_feed: int
    accepted: int
    present: int
    evicted: int
    log_bytes: int
    descriptors: int
    tasks: int


class Checkpoint(msgspec.Struct, frozen=True):
    look: Look
    memory: Memory


class LeakError(Exception):
    """Something is left behind."""


def run(*, small: bool) -> list[Row]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    market.require()
    with part("venue", FEED_TRADES_A_SECOND, core=REST_CORE) as venue:
        words = (venue.hear(), dose.log_bytes)
        with part("service", *words, core=WORK_CORE) as service:
            port = service.hear()
            with part("crowd", port, core=REST_CORE) as crowd:
                begin, checkpoints, received = waves(service, crowd, dose)
    require_nothing_left(begin, checkpoints[-1].look, dose)
    return list(rows(checkpoints, received))


def waves(service: Part, crowd: Part, dose: Dose) -> tuple[Look, list[Checkpoint], int]:
    """What there was before the first client, after each wave, and the bytes that clients got."""
    begin, checkpoints, received = looked(service), [], 0
    for _ in range(dose.waves):
        crowd.ask(f"join {dose.clients}")
        service.ask(f"publish {dose.trades}")
        received = crowd.ask("leave")
        checkpoints.append(Checkpoint(looked(service), service.memory()))
    return begin, checkpoints, received


def looked(service: Part) -> Look:
    return msgspec.convert(service.ask("look"), Look)


def require_nothing_left(begin: Look, end: Look, dose: Dose) -> None:
    """Raises `LeakError`, and `RuntimeError` if it was not the work that is to be measured."""
    if end.accepted != dose.waves * dose.clients or end.trades < dose.waves * dose.trades:
        raise RuntimeError(f"{end.accepted:,} clients and {end.trades:,} trades")
    before, after = (begin.descriptors, begin.tasks), (end.descriptors, end.tasks)
    if end.present or before != after:
        raise LeakError(
            f"{end.present} clients; descriptors and tasks: {before} before, {after} after"
        )


def rows(checkpoints: list[Checkpoint], received: int) -> Iterator[Row]:
    settled = checkpoints[WARM_UP_WAVES - 1 :]
    first, last = settled[0], settled[-1]
    if not first.look.evicted:
        raise RuntimeError(f"the log is not full after {first.look.trades:,} trades")
    resident = [each.memory.resident / 2**20 for each in settled]
    millions = [each.look.trades / 1e6 for each in settled]
    growth = (max(resident) / resident[0] - 1) * 100
    slope = linear_regression(millions, resident).slope
    yield Row(name="resident after the warm-up", value=resident[0], unit="MiB")
    yield Row(name="resident at the end", value=resident[-1], unit="MiB")
    yield Row(name="resident at most", value=max(resident), unit="MiB")
    yield Row(name="growth at most", value=growth, unit="%", at_most=MOST_GROWTH_PERCENT)
    yield Row(name="slope", value=slope, unit="MiB per million trades")
    proportional = last.memory.proportional / 2**20
    yield Row(name="proportional set size at the end", value=proportional, unit="MiB")
    yield Row(name="the log, by its own count", value=last.look.log_bytes / 2**20, unit="MiB")
    yield Row(name="trades", value=last.look.trades, unit="")
    yield Row(name="of them through the feed", value=last.look.from_feed, unit="")
    yield Row(name="clients that came and went", value=last.look.accepted, unit="")
    yield Row(name="sent to them", value=received / 2**20, unit="MiB")
    yield Row(name="descriptors, as before", value=last.look.descriptors, unit="")
    yield Row(name="tasks, as before", value=last.look.tasks, unit="")
