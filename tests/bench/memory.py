"""What the service takes in memory after 10 million trades and 1,000 clients.

Workload: a service in a process of its own, put together as `fanout` does it: feed, publisher, a
log of the default 64 MiB, TCP; with the compiled twins where they are built. Its feed is connected
to a WebSocket that brings 20,000 recorded trades a second, with ids that go on. As many more as
make up the 10 million are given to the publisher, in the blocks in which they were received: those
of one millisecond, 4.2 on average. They go through encoder, log and transport like the others, only
quicker. In 20 waves 50 clients come, read while half a million trades are published, and go: most
stay to the end of the wave, some leave before, some ask for the oldest trade there is, some stop
reading (see `memory_parts.crowd`). One in ten accounts for every number it is due.

Between the waves, when nobody is there, the kernel is asked for the process's resident memory. The
first three waves are the warm-up: the log is full then, and for each frame that comes others go.

Goal: at no time more than 5 % above what it was after the warm-up. That is some 6 MB over 8.5
million trades and 850 clients, less than a byte a trade: a service that keeps anything of a trade,
of a block or of a client misses it by far, while what an allocator makes of 2 million blocks of
ever other lengths stays within it. Beside that stands the slope by least squares. Open descriptors
and tasks have to be as many at the end as at the beginning, or the stage fails.
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
    yield Row(name="at the end, its share of what is shared", value=proportional, unit="MiB")
    yield Row(name="the log, by its own count", value=last.look.log_bytes / 2**20, unit="MiB")
    yield Row(name="trades", value=last.look.trades, unit="")
    yield Row(name="of them through the feed", value=last.look.from_feed, unit="")
    yield Row(name="clients that came and went", value=last.look.accepted, unit="")
    yield Row(name="sent to them", value=received / 2**20, unit="MiB")
    yield Row(name="descriptors, as before", value=last.look.descriptors, unit="")
    yield Row(name="tasks, as before", value=last.look.tasks, unit="")
