"""Sending blocks to many clients over TCP, by one core.

Workload: recorded trades of two symbols in ready blocks of 1, 16 and 64, sent to 1, 10, 100 and
1,000 clients on loopback. A delivery is one trade that has reached one client. The server has a
core to itself. One program in C on the other core, `c/drain.c`, is all the clients: it counts bytes
and discards them. It never sleeps, so no server pays for waking it. Its clock runs from the first
twentieth of the bytes to the last. Each client must receive exactly the bytes that were sent. In
each round, the stage compares one client's bytes, a different one each time, with what was sent.

- fanout: its TCP transport and log, in a process of their own. The stage appends one block, and the
  next one when no client is behind. The blocks come from a list; the codec stage measures encoding.
- C limit: `c/limit.c` only sends each block to each client, under the same rule and with the same
  socket options. It shows what the kernel takes for one send per client and block.
- tasks and channels: a first solution with trio, with one task and one bounded channel per client.
- nats-server and redis-server, used through their own protocols, without a client library. As is
  usual with them, each trade is one message: a block of this one trade, without its length, so that
  it decodes alone as ours does. One write publishes all messages of a block. A message per block is
  measured too. The next block is published while the previous one is on its way, so the server
  never waits. It may combine both in one write to a client, which halves its writes and favours it.

All contenders run with 100 clients, and with 1,000 at the largest block. fanout and the C limit run
with every number of clients.

Goals, for 100 clients and blocks of 64: 0.6 of the C limit in plain Python and 0.85 with the
compiled twins, and three times nats-server with a message a trade. Beside the last one stands how
many times as fast the C limit is: no server that sends each block to each client does better.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final

import msgspec

from fanout.protocol import Trade
from tests.bench.broadcast.blocks import blocks, recorded, write_pieces
from tests.bench.broadcast.contenders import (
    COMPILED,
    CONTENDERS,
    LIMIT,
    NATS_BY_TRADE,
    PLAIN,
    Contender,
    Work,
)
from tests.bench.broadcast.drain import Reading, draining
from tests.bench.measure import in_rounds, ratios
from tests.bench.report import Absent, Row, figure


class Cell(msgspec.Struct, frozen=True):
    """So many clients, trades in a block, and blocks."""

    clients: int
    trades: int
    blocks: int
    is_for_all: bool = True
    """Or only for those who are measured everywhere."""

    @property
    def label(self) -> str:
        return f"{self.clients:,} x {self.trades}"


GOAL: Final = Cell(100, 64, 1_000)
GRID: Final = (
    *(Cell(1, size, 3_000, is_for_all=False) for size in (1, 16, 64)),
    *(Cell(10, size, 3_000, is_for_all=False) for size in (1, 16, 64)),
    *(Cell(100, size, 500) for size in (1, 16)),
    GOAL,
    *(Cell(1_000, size, 50, is_for_all=False) for size in (1, 16)),
    Cell(1_000, 64, 50),
)
UNIT: Final = "deliveries/s"

GOAL_ROUNDS: Final = 5
ROUNDS: Final = 3

SMALL_GOAL: Final = Cell(10, 16, 200)
SMALL_GRID: Final = (Cell(1, 1, 200, is_for_all=False), SMALL_GOAL)


def run(*, small: bool) -> list[Row | Absent]:
    """Deliveries a second by clients and trades in a block. See `tests.bench.report.Stage`."""
    absent = {name: each.why_absent() for name, each in CONTENDERS.items()}
    present = {name: each for name, each in CONTENDERS.items() if not absent[name]}
    grid, goal = (SMALL_GRID, SMALL_GOAL) if small else (GRID, GOAL)
    rows: list[Row | Absent] = []
    with tempfile.TemporaryDirectory() as directory:
        trades = recorded(max(each.trades * each.blocks for each in grid))
        for cell in grid:
            rounds = 1 if small else GOAL_ROUNDS if cell is goal else ROUNDS
            rates = measured(cell, present, trades, Path(directory), rounds)
            rows += (figure(f"{name}, {cell.label}", rates[name], UNIT) for name in rates)
            if cell is goal:
                goals = list(compared(cell, rates))
    return [*rows, *goals, *(Absent(name, why) for name, why in absent.items() if why)]


def measured(
    cell: Cell,
    contenders: Mapping[str, Contender],
    trades: list[Trade],
    directory: Path,
    rounds: int,
) -> dict[str, list[float]]:
    """Deliveries a second of each contender that is measured there."""
    run = trades[: cell.blocks * cell.trades]
    singles = blocks(run, 1) if cell.is_for_all else []
    work = Work(cell.clients, len(run), cell.trades, blocks(run, cell.trades), singles)
    runs: dict[str, Callable[[], float]] = {}
    for name, contender in contenders.items():
        is_here = contender.is_everywhere or cell.is_for_all
        broadcast = contender.broadcast(work) if is_here else None
        if broadcast is not None:
            pieces = write_pieces(directory / f"{name}.pieces", broadcast.pieces)
            reading = contender.reading(work, broadcast.received)
            kept = cycle(range(cell.clients))
            runs[name] = partial(rate, contender, work, reading, pieces, kept)
    # A server is warm when the clock starts.
    return in_rounds(runs, rounds, warm_up=False)


def rate(
    contender: Contender, work: Work, reading: Reading, pieces: Path, kept: Iterator[int]
) -> float:
    """Deliveries a second of one run. Raises `ValueError` if clients do not get what was sent."""
    received = pieces.with_suffix(".received")
    with contender.serving(work, pieces) as service:
        publication = service.publication
        with draining(service.port, reading, received, next(kept), publication) as drain:
            drain.start()
            service.begin()
            return work.trades * work.clients / drain.seconds()


def compared(cell: Cell, rates: Mapping[str, list[float]]) -> Iterator[Row]:
    """The goals, as far as those who are in them are there."""
    best = COMPILED if COMPILED in rates else PLAIN
    for ours, theirs, times in (
        (PLAIN, LIMIT, 0.6),
        (COMPILED, LIMIT, 0.85),
        (best, NATS_BY_TRADE, 3),
        (LIMIT, NATS_BY_TRADE, None),
    ):
        if ours in rates and theirs in rates:
            name = f"{ours} / {theirs}, {cell.label}"
            yield figure(name, ratios(rates[ours], rates[theirs]), "times", at_least=times)
