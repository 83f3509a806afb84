"""Rows of features: a depth update, 2,048 books, and the age of a row at the consumer's output.

An update. Workload: the depth and the trades of `btcusdt_20240808.gz` from the REST snapshot on,
6,545 updates with 68 levels and 21,308 trades. `StreamFeatures.take` applies each update to the
book and gives a row with all columns of the default settings. These are 24; the goals were set for
18. The contenders take turns, after one uncounted pass each, and the figure is the thread's CPU
time of an update, the best of the rounds. Trades are taken in the same pass, and have a row each,
too. A *record of any kind* is one of the first ten seconds with quotes, of which ten come for an
update.

- plain: the same in plain Python, in a process of its own.
- numpy, with its own book: the book of the rival `numpy` of the stage book, and the same columns
  from its arrays and from arrays of the past, anew at each update.
- numpy, with our book: the same with our compiled book, which packs the levels of the widest band.

Before the measurement, the stage compares the values of each contender with ours, to 1e-9, after
each update. A contender with another value fails the stage.

Many books. Workload: 2,048 books of 1,000 levels a side in two channels, in a process of their own.
After they are loaded comes a minute of record time with an update and a trade a second for each
book, and then 4,000 changes of each side and 8 trades for each, at 100,000 updates a second of
record time. The figures are resident memory, and then updates of random books with a row each, in
a second of CPU time. An update of a quiet symbol has 2 to 10 levels. One of the recording's size
has 68.

The consumer. Workload: the recordings, dealt to 20 symbols as in the stage ingest-depth, and played
to a service with its complete path on one core. `fanout analytics run` is a process of its own on
the other core, together with the reader of its output, which only notes when each line comes. The
exchange sleeps between messages, on either core. An age starts with the service's read of the
socket (`time_ns` of the row) and ends with the reader's read of the line. The stage requires one
row for each trade, quote and update.

- Trades, quotes and books: all that was recorded, at the mean rate of both recordings. Each symbol
  is at another place of its recording.
- Books at the same instants: changes of the books alone. All symbols are at the same place.
- Everything at the same instants: what happens once in the recording happens to ten symbols at
  once, which is worse than at any exchange. It is shown without a goal.

Goals: 10 us for an update, a fifth of plain Python and a twentieth of numpy, each with its book;
200 MiB for the 2,048 books, and 100,000 updates of quiet symbols a second on one core; 99 of 100
rows at the consumer's output within 5 ms.

Where the time of an update goes: a quarter is the book. The sums over some 1,400 levels within 20
basis points and the divisions are a third, and the row is less than a tenth. The rest is Python
between a record and these. With many books, memory decides: an update of a quiet symbol takes half
as long where all books fit into the processor's caches.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import isclose
from subprocess import PIPE
from typing import Final

import msgspec
import numpy as np

from fanout.analytics import FeatureSettings, StreamFeatures
from fanout.analytics.features.features import twin
from fanout.clients.outcomes import Received
from fanout.protocol import BookUpdate
from tests.bench.book import best, ratio
from tests.bench.books_parts.market import ALL, BOOK, RECORDED_S, Market, dealt, mean_rate
from tests.bench.broadcast.children import Child, running
from tests.bench.codec_rivals.way import BTCUSDT
from tests.bench.feature_parts.arrays import ArrayBook, Held, PackedBook, Recomputed
from tests.bench.feature_parts.consumer import consumed
from tests.bench.feature_parts.many import SIZES
from tests.bench.feature_parts.passes import Passes, Sample, taken_ns
from tests.bench.measure import WORK_CORE, answer, in_rounds, start
from tests.bench.report import Absent, Row, figure

OURS: Final = "fanout, compiled"
PLAIN: Final = "fanout, plain"
NUMPY: Final = "numpy, with its own book"
NUMPY_OURS: Final = "numpy, with our book"

GOAL_MS: Final = 5
PRECISION: Final = 1e-9
PATIENCE_S: Final = 600.0
"""Of the many books, which take some minutes in plain Python."""
BOOKS, LEVELS, CHANGES = 2_048, 1_000, 4_000

MIXED: Final = "trades, quotes and books"
TOGETHER: Final = "books at the same instants"
ALL_TOGETHER: Final = "everything at the same instants"


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the recording is taken, how many books there are, and how long it is played."""

    seconds: float = 400.0
    mixed_seconds: float = 10.0
    rounds: int = 3
    books: int = BOOKS
    timed: int = 40_000
    symbols: int = 20
    played_s: float = 5.0
    reach_s: float = RECORDED_S


WHOLE: Final = Dose()
SMALL: Final = Dose(
    seconds=4.0,
    mixed_seconds=1.0,
    rounds=1,
    books=BOOKS // 64,
    timed=1_000,
    symbols=4,
    played_s=0.3,
    reach_s=5.0,
)


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    rows: list[Row | Absent] = [*_update_rows(dose), *_many_rows(dose), *_consumer_rows(dose)]
    if not twin.is_compiled:
        rows.append(Absent(OURS, "the compiled features are not built, or switched off"))
    return rows


def rivals() -> dict[str, Callable[[], Recomputed]]:
    """The contenders that compute everything anew. That with our book is for the compiled one."""
    books: dict[str, type[Held]] = {NUMPY: ArrayBook}
    if twin.is_compiled:
        books[NUMPY_OURS] = PackedBook
    settings = FeatureSettings()
    return {name: partial(Recomputed, settings, BTCUSDT, each) for name, each in books.items()}


def require_the_same(
    records: Sequence[Received], makers: dict[str, Callable[[], Recomputed]]
) -> None:
    """Raises `ValueError` if a contender has another value than we have after an update."""
    ours = StreamFeatures(FeatureSettings())
    theirs = {name: make() for name, make in makers.items()}
    for record in records:
        rows = ours.take(record)
        for name, each in theirs.items():
            values = each.take(record)
            if isinstance(record, BookUpdate):
                _compare(name, ours.columns, rows[-1].values, values)


def _compare(
    name: str, columns: Sequence[str], ours: Sequence[float | None], theirs: Sequence[float]
) -> None:
    for column, own, other in zip(columns, ours, theirs, strict=True):
        is_same = np.isnan(other) if own is None else isclose(own, other, rel_tol=PRECISION)
        if not is_same and not (own is not None and abs(own - other) < PRECISION):
            raise ValueError(f"{name} has {other} as {column}, and we have {own}")


def _update_rows(dose: Dose) -> list[Row]:
    passes = Passes(dose.seconds, dose.mixed_seconds)
    makers = rivals()
    require_the_same(passes.records, makers)
    module = "tests.bench.feature_parts.passes"
    arguments = dose.seconds, dose.mixed_seconds
    with running(start(module, *arguments, core=WORK_CORE, pure=True, stdin=PIPE)) as child:
        ways: dict[str, Callable[[], Sample | float]] = {PLAIN: partial(_asked, child)}
        if twin.is_compiled:
            ways = {OURS: passes.sample, **ways}
        for name, make in makers.items():
            ways[name] = partial(_rival_ns, make, passes.records)
        samples = in_rounds(ways, dose.rounds)
    updates = {
        name: [each.update if isinstance(each, Sample) else each for each in of]
        for name, of in samples.items()
    }
    rows = [_time("a depth update", name, of) for name, of in updates.items()]
    if OURS in updates:
        goals = {PLAIN: {"at_least": 5.0}, NUMPY: {"at_least": 20.0}, NUMPY_OURS: {}}
        rows += [
            ratio(f"a depth update: {name} / {OURS}", min(updates[name]) / min(updates[OURS]), **of)
            for name, of in goals.items()
        ]
    for field, what in _PARTS.items():
        rows += [
            _time(what, name, [getattr(each, field) for each in samples[name]])
            for name in (OURS, PLAIN)
            if name in samples
        ]
    return rows


_PARTS: Final = {"trade": "a trade", "row": "a row alone", "mixed": "a record of any kind"}


def _time(what: str, name: str, samples: Sequence[float]) -> Row:
    goal = {"at_most": 10.0} if (what, name) == ("a depth update", OURS) else {}
    return best(f"{what}: {name}", [each / 1e3 for each in samples], "us", **goal)


def _asked(child: Child) -> Sample:
    child.say("pass")
    return msgspec.json.decode(child.hear(), type=Sample)


def _rival_ns(make: Callable[[], Recomputed], records: Sequence[Received]) -> float:
    return taken_ns(make(), records)[BookUpdate]


def _many_rows(dose: Dose) -> list[Row]:
    module = "tests.bench.feature_parts.many"
    child = start(module, dose.books, LEVELS, CHANGES, dose.timed, core=WORK_CORE)
    found = answer(child, PATIENCE_S)
    is_judged = twin.is_compiled
    most = {"at_most": 200.0} if is_judged else {}
    goals = {"quiet": {"at_least": 1e5}} if is_judged else {}
    name = f"{dose.books:,} books with features"
    return [
        Row(name=f"{name}, loaded", value=found["loaded"], unit="MiB", **most),
        Row(name=f"{name}, after changes and trades", value=found["changed"], unit="MiB", **most),
        Row(name=f"{name}, the whole process", value=found["process"], unit="MiB"),
        *(
            _rate(f"{name}, updates of {_levels(size)} levels", found[size], goals.get(size, {}))
            for size in SIZES
        ),
    ]


def _rate(name: str, samples: Sequence[float], goal: dict[str, float]) -> Row:
    low, high = min(samples), max(samples)
    return Row(name=name, value=high, unit="updates/s", low=low, high=high, **goal)


def _levels(size: str) -> str:
    least, most = (2 * each for each in SIZES[size])
    return f"{least} to {most}" if most > least else str(most)


def _consumer_rows(dose: Dose) -> list[Row]:
    deal = partial(dealt, dose.symbols, dose.played_s, reach_s=dose.reach_s)
    mixed = deal().at_rate(dose.symbols * mean_rate(reach_s=dose.reach_s))
    together = deal(streams=(BOOK,), in_step=True)
    loads = {
        MIXED: (mixed, ALL),
        TOGETHER: (together, (BOOK,)),
        ALL_TOGETHER: (deal(in_step=True), ALL),
    }
    runs = {name: partial(_aged, *load) for name, load in loads.items()}
    # Service and consumer are warm when the part begins that counts.
    samples = in_rounds(runs, dose.rounds, warm_up=False)
    rows = []
    for name, (market, _) in loads.items():
        goal = {"at_most": float(GOAL_MS)} if name != ALL_TOGETHER else {}
        rows += _age_rows(f"{dose.symbols} symbols, {name}", market, samples[name], goal)
    return rows


class Aged(msgspec.Struct, frozen=True):
    """One run: ages of rows in ms, how many rows there were, and percents of a core."""

    p50: float
    p99: float
    max: float
    rows: int
    service: float
    consumer: float
    reader: float


def _aged(market: Market, streams: Sequence[bytes]) -> Aged:
    of = consumed(market, streams)
    ages_ms = np.sort(of.ages_ns) / 1e6
    last = len(ages_ms) - 1
    p50, p99, highest = (float(ages_ms[round(last * at)]) for at in (0.5, 0.99, 1))
    shares = (each / of.span_s * 100 for each in (of.service_s, of.consumer_s, of.reader_s))
    return Aged(p50, p99, highest, len(ages_ms), *shares)


def _age_rows(
    label: str, market: Market, samples: Sequence[Aged], goal: dict[str, float]
) -> list[Row]:
    rows = [figure(f"{label}, p99", [each.p99 for each in samples], "ms", **goal)]
    for field, name, unit in _SHOWN:
        rows.append(figure(f"{label}, {name}", [getattr(each, field) for each in samples], unit))
    count = samples[0].rows
    rows.append(Row(name=f"{label}, rows", value=count, unit="rows"))
    rows.append(Row(name=f"{label}, rate", value=count / market.span_s, unit="rows/s"))
    return rows


_SHOWN: Final = (
    ("p50", "p50", "ms"),
    ("max", "max", "ms"),
    ("service", "share of a core: the service", "%"),
    ("consumer", "share of a core: the consumer", "%"),
    ("reader", "share of a core: the reader", "%"),
)
