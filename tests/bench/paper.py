"""Trading on paper: a quote, a recording with ten orders, and from the socket to the new quote.

A quote. Workload: what a strategy sees after each of the 6,546 updates of `btcusdt_20240808.gz`,
with a position of 15 % of its limit. The figure is a call of `quote(view)` from Python, which
gives the `Quotes` with their reasons, on the tick and in lots; with the loop around it, and without
making the `View`. Compiled, and in plain Python, in a process of its own. It is the thread's CPU
time, the best of the rounds.

A recording. Workload: the trades and the depth of the same file from the REST snapshot on, 27,854
records, in a journal in which the records of one read are together (`paper_parts/recorded.py`).
Ten orders stand all the time (`paper_parts/replay.py`). A pass reads and decodes the journal, keeps
the book, and fills both models. It is the thread's CPU time, the best of the rounds.

- decoding alone: the same journal, and nothing done with the records.
- without orders: the same, with an exchange on which there are none.
- hftbacktest: the same records and orders from a file of its own form, compiled by numba before.
  One model, without partial fills and reports: see `paper_parts/rival.py`. It is the CPU time of
  its process.

From the socket. Workload: trades and changes of the book of four symbols, played to a service with
its complete path on one core: five seconds of each recording from its beginning on, and from the
burst on, with 568 records in 10 ms. `fanout paper run`, on BTCUSDT in the burst with the strategy
of Avellaneda and Stoikov, is a process of its own on the other core, together with the reader of
its output. An age starts with the service's read of the socket and ends with the reader's read of
the line of a new quote. First at the recorded pace, then at four times that pace, without a goal.

Other programs on the machine make these times worse.

A queue and a pool. What a bounded queue between two threads and a pool of orders would take, beside
a call in one thread and a frozen order made anew. `docs/trading.md` draws the conclusion.

A restart. Workload: a million lines of the journal of a run (`paper_parts/restart.py`), in files of
the usual size, and in one file without a checkpoint. The figure is the CPU time until the state is
known. A report written is its CPU time where twenty are written at once.

Goals: 250 ns for a quote; 300,000 records a second from the journal; 99 of 100 new quotes within
2 ms of the socket.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Final

import msgspec
import numpy as np

from fanout.trading.strategies.speedups import twin
from tests.bench.book import best, ratio
from tests.bench.books_parts.market import MARGIN_S, Market, dealt
from tests.bench.broadcast.children import Child, running
from tests.bench.measure import WORK_CORE, in_rounds, start
from tests.bench.paper_parts import queues, restart, rival
from tests.bench.paper_parts.live import STREAMS, Quoted, quotes_of
from tests.bench.paper_parts.quoting import MADE, STRATEGIES, Quoting
from tests.bench.paper_parts.recorded import kept, stream
from tests.bench.paper_parts.replay import Replayed, decoded, replayed
from tests.bench.report import Absent, Row, figure

GOAL_NS: Final = 250.0
GOAL_RATE: Final = 300_000.0
GOAL_MS: Final = 2.0

SYMBOLS: Final = 4
"""Two of each recording. The command trades the third, which has BTCUSDT from the burst on."""
TRADED: Final = 2
BURST_S: Final = 215.5
"""Where the busiest five seconds of that recording begin."""
HASTE: Final = 4

COMPILED: Final = "compiled"
PLAIN: Final = "plain"
TEN: Final = "ten orders, both models, from the journal"
EMPTY: Final = "without orders"
DECODED: Final = "decoding alone"
HURRIED: Final = "at four times its pace"
RESTART: Final = "a restart, a million lines"
RIVAL: Final = "hftbacktest, ten orders, one model"


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the recording is taken, how often, and how long it is played."""

    seconds: float = 400.0
    rounds: int = 7
    played_s: float = 5.0
    burst_s: float = BURST_S
    live_rounds: int = 3
    handed: int = 50_000
    lines: int = 1_000_000
    alone: int = 500


WHOLE: Final = Dose()
SMALL: Final = Dose(
    seconds=4.0,
    rounds=1,
    played_s=0.5,
    burst_s=2.0,
    live_rounds=1,
    handed=1_000,
    lines=1_000,
    alone=20,
)


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    rows: list[Row | Absent] = [*_quote_rows(dose), *_replay_rows(dose)]
    rows += [*_live_rows(dose), *_queue_rows(dose), *_restart_rows(dose)]
    if not twin.is_compiled:
        why = "fanout.trading.strategies._quotes is not built, or switched off"
        rows.append(Absent(COMPILED, why))
    return rows


# A quote.


def _quote_rows(dose: Dose) -> list[Row]:
    quoting = Quoting(dose.seconds)
    module = "tests.bench.paper_parts.quoting"
    with running(start(module, dose.seconds, core=WORK_CORE, pure=True, stdin=PIPE)) as child:
        ways: dict[str, Callable[[], dict[str, float]]] = {PLAIN: partial(_asked, child)}
        if twin.is_compiled:
            ways = {COMPILED: quoting.sample, **ways}
        samples = in_rounds(ways, dose.rounds)
    rows = []
    for name in (*STRATEGIES, MADE):
        for way, of in samples.items():
            is_judged = way == COMPILED and name in STRATEGIES
            goal = {"at_most": GOAL_NS} if is_judged else {}
            rows.append(best(f"a quote: {name}, {way}", [each[name] for each in of], "ns", **goal))
    return rows


def _asked(child: Child) -> dict[str, float]:
    child.say("pass")
    return msgspec.json.decode(child.hear(), type=dict[str, float])


# A recording.


def _replay_rows(dose: Dose) -> list[Row | Absent]:
    records = stream(dose.seconds)
    with tempfile.TemporaryDirectory() as name:
        url = kept(Path(name), records)
        ways: dict[str, Callable[[], Replayed]] = {
            TEN: partial(replayed, url),
            EMPTY: partial(replayed, url, orders=False),
            DECODED: partial(decoded, url),
        }
        samples = in_rounds(ways, dose.rounds)
        rows: list[Row | Absent] = [_rate_row(name, of) for name, of in samples.items()]
        ours = samples[TEN]
        rows += [
            Row(name=f"{TEN}: orders", value=ours[0].orders, unit="orders"),
            Row(name=f"{TEN}: fills, conservative", value=ours[0].fills[0], unit="fills"),
            Row(name=f"{TEN}: fills, probabilistic", value=ours[0].fills[1], unit="fills"),
        ]
        why = rival.why_missing()
        if why:
            return [*rows, Absent("hftbacktest", why)]
        theirs = rival.played(records, Path(name), dose.rounds)
    rates = [len(records) / each for each in theirs.s]
    return [
        *rows,
        Row(name=RIVAL, value=max(rates), unit="records/s", low=min(rates), high=max(rates)),
        Row(name=f"{RIVAL}: fills", value=theirs.fills, unit="fills"),
        ratio(f"{TEN} / {RIVAL}", max(each.rate for each in ours) / max(rates)),
    ]


def _rate_row(name: str, samples: Sequence[Replayed]) -> Row:
    rates = [each.rate for each in samples]
    goal = {"at_least": GOAL_RATE} if name == TEN and twin.is_compiled else {}
    return Row(
        name=name, value=max(rates), unit="records/s", low=min(rates), high=max(rates), **goal
    )


# From the socket.


def _live_rows(dose: Dose) -> list[Row]:
    reach_s = 2 * dose.burst_s + dose.played_s + MARGIN_S
    recorded = dealt(SYMBOLS, dose.played_s, streams=STREAMS, reach_s=reach_s)
    loads = {"the recorded burst": recorded, HURRIED: recorded.at_rate(HASTE * recorded.rate)}
    runs = {name: partial(quotes_of, market, TRADED) for name, market in loads.items()}
    samples = in_rounds(runs, dose.live_rounds, warm_up=False)
    return [row for name, of in samples.items() for row in _age_rows(name, loads[name], of)]


def _age_rows(name: str, market: Market, samples: Sequence[Quoted]) -> list[Row]:
    ages_ms = [np.quantile(each.ages_ns, [0.5, 0.99, 1.0]) / 1e6 for each in samples]
    label = f"socket to new quote, {name}"
    goal = {} if name == HURRIED else {"at_most": GOAL_MS}
    return [
        figure(f"{label}, p99", [float(each[1]) for each in ages_ms], "ms", **goal),
        figure(f"{label}, p50", [float(each[0]) for each in ages_ms], "ms"),
        figure(f"{label}, max", [float(each[2]) for each in ages_ms], "ms"),
        Row(name=f"{label}, messages", value=market.rate, unit="messages/s"),
        figure(f"{label}, new quotes", [float(len(each.ages_ns)) for each in samples], "quotes"),
        figure(
            f"{label}, share of a core: the command",
            [each.spent_s / market.span_s * 100 for each in samples],
            "%",
        ),
    ]


# A queue and a pool.


def _queue_rows(dose: Dose) -> list[Row]:
    ways = {
        "a record handed on by a call": partial(queues.called_ns, dose.handed),
        "by a bounded queue to a thread": partial(queues.queued_ns, dose.handed),
        "by the same, alone, until the thread has it": partial(queues.waited_ns, dose.alone),
        "an order made anew": partial(queues.made_ns, dose.handed),
        "an order taken from a pool": partial(queues.pooled_ns, dose.handed),
    }
    samples = in_rounds(ways, min(dose.rounds, 3), warm_up=False)
    return [best(name, of, "ns") for name, of in samples.items()]


# A restart.


def _restart_rows(dose: Dose) -> list[Row]:
    reports = restart.reports_of(dose.seconds)
    with tempfile.TemporaryDirectory() as name:
        segments = restart.in_segments(Path(name, "segments"), reports, dose.lines)
        whole = restart.in_one_file(Path(name, "whole"), reports, dose.lines)
        ways = {
            RESTART: partial(restart.restarted_s, segments),
            f"{RESTART}, without a checkpoint": partial(restart.restarted_s, whole),
        }
        samples = in_rounds(ways, min(dose.rounds, 3))
        rows = [best(each, of, "s") for each, of in samples.items()]
        write = partial(restart.written_us, Path(name, "written"), reports)
        spent = in_rounds({"a report written": write}, min(dose.rounds, 3))
    return [*rows, *(best(each, of, "us") for each, of in spent.items())]
