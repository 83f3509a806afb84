"""Everything at once, for hours: an exchange, a service, fifty consumers, one fault after another.

    python -m tests.soak --minutes 10                 the report to stdout
    python -m tests.soak --minutes 10 --wide          200 symbols, two venues, four channels
    python -m tests.soak --minutes 10 --venues        six exchanges, one misbehaves at a time
    python -m tests.soak --minutes 60 --seed 7 --json soak.json

The exit code is 0 only if every promise held; what did not is printed. The load is bounded, and on
loopback alone. What depends on the machine (memory, CPU, delays) is measured and printed; growth of
memory is judged after ten minutes or more, since before that the warming up is all there is.
"""

import random
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec.structs import replace

from tests.bench.report import Result, Row, as_text, environment
from tests.soak.figures import Sampler
from tests.soak.run import Outcome, soak
from tests.soak.venues import PLANS, venues_soak
from tests.soak.wide import wide_soak

JUDGED_FROM_MINUTES: Final = 10
MAX_GROWTH_MIB_PER_HOUR: Final = 12.0
STEP_MIB: Final = 2.0
"""Allowed beside the growth of an hour: the allocator takes memory in steps of 1 MiB, and within
the minutes of a short run one or two of them look like much an hour."""
MAX_RESIDENT_MIB: Final = 140.0
MAX_LEFT_OVER: Final = 3
"""Of each source: its connections to the exchange come and go."""


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.soak", description="Everything at once.")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--wide", action="store_true", help="200 symbols of two venues in four channels"
    )
    forms.add_argument(
        "--venues",
        nargs="?",
        const=",".join(PLANS),
        metavar="VENUE,...",
        help="20 symbols of each exchange, which misbehave in turn; or some venues only",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = options.venues.split(",") if options.venues else []
    if not set(names) <= PLANS.keys():
        parser.error(f"--venues {options.venues}: choose from {', '.join(PLANS)}")
    plans = [PLANS[each] for each in names]
    print(f"soak of {options.minutes:g} minutes (seed {options.seed})", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        run = wide_soak if options.wide else soak
        if plans:
            run = partial(venues_soak, plans)
        outcome, sampler = trio.run(run, options.minutes * 60, options.seed, Path(directory))
    result = _result(outcome, sampler)
    print(as_text(environment(datetime.now(UTC), "the simulator's"), [result]))
    for each in outcome.complaints:
        print(f"BROKEN {each}")
    if options.json:
        report = {"outcome": outcome, "samples": sampler.samples, "rows": result.rows}
        options.json.write_bytes(msgspec.json.encode(report))
    return 1 if outcome.complaints or result.missed else 0


def _result(outcome: Outcome, sampler: Sampler) -> Result:
    small = outcome.minutes < JUDGED_FROM_MINUTES
    rows = (*_account(outcome), *_health(outcome, sampler))
    return Result(stage="soak", title="everything at once", small=small, rows=rows)


def _account(outcome: Outcome) -> list[Row]:
    counts: dict[str, float] = {
        "ids issued by the exchange": outcome.issued,
        "consumers": outcome.consumers,
        "trades delivered, to all of them": outcome.delivered,
        "quotes delivered": outcome.quotes,
        "updates of books delivered": outcome.updates,
        "comparisons of books with the exchange's": outcome.compared,
        **{f"lost and told: {name}": count for name, count in outcome.losses.items()},
        **{f"ids of the feed: {name}": count for name, count in outcome.ids.items()},
        **{f"unrecoverable: {why}": count for why, count in outcome.reasons.items()},
        "reconnects of consumers": outcome.reconnects,
        "comings of those who come and go": outcome.comes,
        "connections to the exchange": outcome.feed_connections,
        **{f"fault: {name}": count for name, count in sorted(outcome.mischief.items())},
        **outcome.findings,
        "promises broken": len(outcome.complaints),
    }
    return [Row(name=name, value=value, unit="") for name, value in counts.items()]


def _health(outcome: Outcome, sampler: Sampler) -> list[Row]:
    samples = sampler.samples
    first, last = samples[0], samples[-1]
    cpu_share = (last.cpu_s - first.cpu_s) / max(1, last.at_s - first.at_s)
    resident = _spread("resident memory", [each.resident_mib for each in samples], "MiB")
    allowed = (STEP_MIB + outcome.filling_mib) / sampler.settled_hours
    growth = Row(name="growth once settled", value=sampler.growth_mib_per_hour, unit="MiB/hour")
    left = Row(name="descriptors left over", value=sampler.left_over, unit="")
    return [
        replace(resident, at_most=MAX_RESIDENT_MIB),
        replace(growth, at_most=MAX_GROWTH_MIB_PER_HOUR + allowed),
        _spread("descriptors", [each.descriptors for each in samples]),
        replace(left, at_most=MAX_LEFT_OVER * outcome.sources),
        _spread("tasks", [each.tasks for each in samples]),
        _spread("answer over HTTP", [1_000 * each.answer_s for each in samples], "ms"),
        _spread("slowest hand-over of a minute", [1_000 * e.send_max_s for e in samples], "ms"),
        Row(name="longest stall of the soak itself", value=1_000 * sampler.stall_s, unit="ms"),
        Row(name="CPU", value=100 * cpu_share, unit="% of a core"),
        Row(name="exit code of the service", value=outcome.exit_code, unit=""),
    ]


def _spread(name: str, values: Sequence[float], unit: str = "") -> Row:
    """The last value, and the range that all were in."""
    return Row(name=name, value=values[-1], unit=unit, low=min(values), high=max(values))


if __name__ == "__main__":
    sys.exit(main())
