"""Age of a record in a channel with 50 order books, on one core.

Workload: the recordings `btcusdt_20240808.gz` and `ethusdt_20240808.gz`, dealt to 50 symbols, 25
each, and played to the service's complete path, from `open_websocket` to the TCP transport, with 10
clients. The exchange and the clients are one program in C on the other core, as in the stage
latency. An age starts when the message is due at the exchange's socket, and ends with the read that
completes its frame at the last client. So it has more in it than the way from the socket to the
send: both waits in the kernel, and the ten sends. The stage compares what one client received with
what was sent, record by record, and all books must be known at the end. Each book starts from a
REST snapshot with 1,000 levels a side.

- Books at the same instants: changes of the books alone (`@depth@0ms`), some 950 a second with 67
  levels each. All symbols are at the same place of their recording. So the changes of 25 books are
  due at one instant, and those of the other 25 at another.
- Trades, quotes and books: all that was recorded, at the mean rate of both recordings, some 12,300
  messages a second for 50 symbols. Each symbol is at another place of its recording.
- The highest rate: the same, at 1.5, 2, 3, 4, 6 and 8 times that rate, up to the first rate at
  which the goal is missed.

Goals: 99 of 100 records are younger than 5 ms, with the changes of many books at the same instants,
and with trades, quotes and books at the recorded rate.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np

from tests.bench.books_parts.ages import ages_ns, run_of
from tests.bench.books_parts.market import ALL, BOOK, RECORDED_S, Market, dealt, mean_rate
from tests.bench.measure import in_rounds
from tests.bench.report import Row, figure

CLIENTS: Final = 10
GOAL_MS: Final = 5
ROUNDS: Final = 3
QUICKER: Final = (1.5, 2, 3, 4, 6, 8)

TOGETHER: Final = "books at the same instants"
MIXED: Final = "trades, quotes and books"


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many symbols, how long a run is, and how much of the recordings is read for it."""

    symbols: int = 50
    seconds: float = 10.0
    quick_seconds: float = 4.0
    """Of a run at a higher rate, in time of the recording."""
    reach_s: float = RECORDED_S
    quicker: tuple[float, ...] = QUICKER


WHOLE: Final = Dose()
SMALL: Final = Dose(symbols=6, seconds=0.3, quick_seconds=0.3, reach_s=5.0, quicker=(2,))


class Sample(msgspec.Struct, frozen=True):
    """One run: milliseconds, and the share of a core in percent."""

    p50_ms: float
    p99_ms: float
    cpu_percent: float


def run(*, small: bool) -> list[Row]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    rate = dose.symbols * mean_rate(reach_s=dose.reach_s)
    together = dealt(
        dose.symbols, dose.seconds, streams=(BOOK,), in_step=True, reach_s=dose.reach_s
    )
    mixed = dealt(dose.symbols, dose.seconds, reach_s=dose.reach_s).at_rate(rate)
    loads = {TOGETHER: (together, (BOOK,)), MIXED: (mixed, ALL)}
    runs = {name: partial(sample, *load) for name, load in loads.items()}
    # A service is warm when the part begins that counts.
    samples = in_rounds(runs, 1 if small else ROUNDS, warm_up=False)
    rows = []
    for name, (market, _) in loads.items():
        of, label = samples[name], f"{dose.symbols} symbols, {name}"
        p99 = figure(f"{label}, p99", [each.p99_ms for each in of], "ms", at_most=GOAL_MS)
        p50 = figure(f"{label}, p50", [each.p50_ms for each in of], "ms")
        cpu = figure(f"{label}, share of the core", [each.cpu_percent for each in of], "%")
        rows += [p99, p50, cpu, Row(name=f"{label}, rate", value=market.rate, unit="messages/s")]
    highest = highest_rate(dose, rate, is_met=all(each.met for each in rows))
    name = f"{dose.symbols} symbols, {MIXED}, highest rate with p99 under {GOAL_MS} ms"
    return [*rows, Row(name=name, value=highest, unit="messages/s")]


def highest_rate(dose: Dose, rate: float, *, is_met: bool) -> float:
    """The rate before the first at which the goal is missed; 0 if it is missed already."""
    market = dealt(dose.symbols, dose.quick_seconds, reach_s=dose.reach_s)
    highest = rate if is_met else 0.0
    for times in dose.quicker if is_met else ():
        quicker = market.at_rate(times * rate)
        if sample(quicker, ALL).p99_ms > GOAL_MS:
            break
        highest = quicker.rate
    return highest


def sample(market: Market, streams: Sequence[bytes]) -> Sample:
    """One run."""
    run = run_of(market, streams, CLIENTS)
    ages_ms = np.sort(ages_ns(market, run, CLIENTS)) / 1e6
    last = len(ages_ms) - 1
    p50_ms, p99_ms = (float(ages_ms[round(last * at)]) for at in (0.5, 0.99))
    return Sample(p50_ms, p99_ms, run.cpu_s / market.span_s * 100)
