"""A joiner every 50 ms in a channel with 50 order books, and the readers that are there.

Workload: changes of books (`@depth@0ms`) of 50 symbols as in the stage ingest-depth, at their
recorded pace of some 950 a second, for two minutes, to 10 readers. The books have 1,000 levels a
side and more. Time is divided into turns of two seconds. In every second turn a client joins every
50 ms, gets all 50 books, reads on for a fifth of a second, and leaves. So there is a minute with
joiners and one without, in one run. An age is measured as in the stage ingest-depth, at the last of
the 10 readers. The first 0.3 s of each turn do not count: the last joiners of the turn before are
still there.

Goal: the 99th percentile of the readers' ages is at most 1 ms higher with joiners than without.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.bench.books_parts.ages import ages_ns, due_ns, run_of, whole_books_bytes
from tests.bench.books_parts.market import BOOK, RECORDED_S, Market, dealt
from tests.bench.broadcast.recording import NS_PER_S
from tests.bench.report import Row

CLIENTS: Final = 10
EVERY_S: Final = 0.05
SETTLE_S: Final = 0.3


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many symbols, for how long, how long a joiner stays, and how much of the recordings is
    read for it."""

    symbols: int = 50
    seconds: float = 120.0
    turn_s: float = 2.0
    stay_s: float = 0.2
    reach_s: float = RECORDED_S


WHOLE: Final = Dose()
SMALL: Final = Dose(symbols=6, seconds=1.6, turn_s=0.8, stay_s=0.6, reach_s=6.0)


class Found(msgspec.Struct, frozen=True):
    """Ages in the turns without joiners and in those with, what each joiner received in bytes, and
    the service's share of its core in percent."""

    alone_ns: NDArray[np.int64]
    joined_ns: NDArray[np.int64]
    bytes_each: NDArray[np.uint64]
    cpu_percent: float


def run(*, small: bool) -> list[Row]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    market = dealt(dose.symbols, dose.seconds, streams=(BOOK,), reach_s=dose.reach_s)
    return rows(measured(market, dose), dose.symbols)


def measured(market: Market, dose: Dose) -> Found:
    """Raises `ValueError` if a joiner did not get all books."""
    with TemporaryDirectory() as name:
        path = Path(name, "joined")
        joins = [int(each * NS_PER_S) for each in (EVERY_S, dose.stay_s, dose.turn_s)]
        played = run_of(market, (BOOK,), CLIENTS, *joins, path)
        bytes_each = np.fromfile(path, dtype=np.uint64)
    ages, at_ns = ages_ns(market, played, CLIENTS), due_ns(market)
    turn, into_ns = np.divmod(at_ns, int(dose.turn_s * NS_PER_S))
    counts = into_ns >= int(SETTLE_S * NS_PER_S)
    # A joiner receives the changes of a fifth of a second besides, some 15 % more.
    least = whole_books_bytes(played)
    if not len(bytes_each) or bytes_each.min() < least:
        raise ValueError(f"joiners got {bytes_each} bytes each: all books take {least:,} at least")
    return Found(
        ages[counts & (turn % 2 == 0)],
        ages[counts & (turn % 2 == 1)],
        bytes_each,
        played.cpu_s / market.span_s * 100,
    )


def rows(found: Found, symbols: int) -> list[Row]:
    label = f"{symbols} books"
    alone_ms, joined_ms = p99_ms(found.alone_ns), p99_ms(found.joined_ns)
    moved_ms = joined_ms - alone_ms
    kib = float(np.median(found.bytes_each)) / 1024
    return [
        Row(name=f"{label}, p99 with joiners - without", value=moved_ms, unit="ms", at_most=1),
        Row(name=f"{label}, p99 without joiners", value=alone_ms, unit="ms"),
        Row(name=f"{label}, p99 with joiners", value=joined_ms, unit="ms"),
        Row(name=f"{label}, joiners", value=len(found.bytes_each), unit=""),
        Row(name=f"{label}, a joiner receives", value=kib, unit="KiB"),
        Row(name=f"{label}, share of the core", value=found.cpu_percent, unit="%"),
    ]


def p99_ms(ages_ns: NDArray[np.int64]) -> float:
    return float(np.sort(ages_ns)[int(len(ages_ns) * 0.99)]) / 1e6
