"""The journal of a run: what it costs to write a report, and how long a restart reads.

The reports are those of a desk with the basic strategy over the recording, again and again.
"""

import time
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Final

from fanout.cli.trading.files import locked
from fanout.trading.desk import DeskSettings
from fanout.trading.limits import Limits
from fanout.trading.reports import Report
from fanout.trading.running.floor import Floor, Plan
from fanout.trading.running.journal import VERSION, Started, encode, file_name, files_in
from fanout.trading.settings import JournalSettings
from tests.bench.paper_parts.quoting import STRATEGIES
from tests.bench.paper_parts.recorded import INSTRUMENT, stream
from tests.bench.paper_parts.replay import SETTINGS

BATCH: Final = 20
"""Reports that are written at once."""
STARTED: Final = Started(
    version=VERSION, fanout="0", venue="sim", instruments=(INSTRUMENT,), settings={}, inputs=()
)
NO_LIMITS: Final = Limits(
    order_quantity=None,
    order_value=None,
    position=None,
    notional=None,
    orders_per_second=None,
    open_orders=None,
    price_deviation_bps=None,
    daily_loss=None,
    drawdown=None,
    stale_ms=None,
)


def reports_of(seconds: float) -> list[Report]:
    """What a desk reports over so much of the recording."""
    plan = Plan(
        stream=0,
        instrument=INSTRUMENT,
        strategy=STRATEGIES["basic"],
        limits=NO_LIMITS,
        settings=DeskSettings(min_life_ns=0),
    )
    floor = Floor(SETTINGS, [plan])
    return [report for record in stream(seconds) for report in floor.take(0, record)]


def in_segments(place: Path, reports: list[Report], lines: int) -> Path:
    """A journal of so many reports, in files of the usual size."""
    with locked(str(place)) as files:
        files.begin(STARTED)
        files.append(islice(cycle(reports), lines))
    return place


def in_one_file(place: Path, reports: list[Report], lines: int) -> Path:
    """The same in one file without a checkpoint, as version 1 had it."""
    place.mkdir()
    with (place / file_name(1)).open("wb") as file:
        file.writelines(map(encode, chain([STARTED], islice(cycle(reports), lines))))
    return place


def written_us(place: Path, reports: list[Report]) -> float:
    """CPU time of a report that is written."""
    with locked(str(place), JournalSettings(sync_ns=3_600 * 10**9)) as files:
        files.begin(STARTED)
        began_ns = time.thread_time_ns()
        for at in range(0, len(reports), BATCH):
            files.append(reports[at : at + BATCH])
        spent_ns = time.thread_time_ns() - began_ns
    for path in files_in(place):
        path.unlink()
    return spent_ns / len(reports) / 1e3


def restarted_s(place: Path) -> float:
    """CPU time of a restart, until it knows what earlier starts have left."""
    with locked(str(place)) as files:
        began_ns = time.thread_time_ns()
        files.earlier()
        return (time.thread_time_ns() - began_ns) / 1e9
