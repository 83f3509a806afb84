"""Run the named stages, or all of `STAGES`, and print a report.

A stage is a file beside this one that has the members of `report.Stage`, and a line in `STAGES`.
Trades and books come from the recordings, or from a synthetic market where there are none
(`market.py`).
The exit code is 0 if every goal is met, 1 if a goal is missed or if a recording is missing that
FANOUT_REQUIRE_CAPTURES=1 requires, and 2 if a named stage does not exist.
"""

import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench import (
    book,
    codec,
    columns,
    depth,
    fan_out,
    features,
    ingest,
    ingest_depth,
    joiners,
    journal,
    latency,
    market,
    memory,
    multicast,
    nats,
    nbbo,
    paper,
    pure_client,
    reconnect,
    ring,
    scale,
    shm,
    size,
    venues,
)
from tests.bench.against import compared
from tests.bench.report import (
    Absent,
    Result,
    Row,
    Stage,
    Unavailable,
    as_json,
    as_text,
    environment,
)

STAGES: Final[dict[str, Stage]] = {
    "size": size,
    "codec": codec,
    "columns": columns,
    "ingest": ingest,
    "fan-out": fan_out,
    "latency": latency,
    "shm": shm,
    "memory": memory,
    "depth": depth,
    "book": book,
    "nbbo": nbbo,
}
NAMED: Final[dict[str, Stage]] = {
    "scale": scale,
    "ingest-depth": ingest_depth,
    "reconnect": reconnect,
    "joiners": joiners,
    "pure-client": pure_client,
    "venues": venues,
    "journal": journal,
    "ring": ring,
    "multicast": multicast,
    "nats": nats,
    "features": features,
    "paper": paper,
}
"""Stages of a whole service, of the ring in shared memory and of the bridge to NATS. They run only
if they are named: `scale` takes half an hour, and the others a quarter of an hour together."""
ALL: Final = STAGES | NAMED


def main(argv: Sequence[str] | None = None) -> int:
    """Print a report to stdout; give the exit code."""
    options = _options(argv)
    results = [
        _run(name, small=options.small, other=options.against) for name in options.stages or STAGES
    ]
    show = as_json if options.json else as_text
    print(show(environment(datetime.now(UTC), market.origin()), results))
    return 1 if any(_failed(each) for each in results) else 0


def _options(argv: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(
        prog="python -m tests.bench", description="Measure, and compare with the goals."
    )
    parser.add_argument("stages", metavar="STAGE", nargs="*", help=f"of {', '.join(ALL)}")
    parser.add_argument("--small", action="store_true", help="a part of each workload, not judged")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="measure another checkout in turns with this one, and print the ratios",
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(argv)
    for name in options.stages:
        if name not in ALL:
            parser.error(f"there is no stage {name}: choose from {', '.join(ALL)}")
    if options.against and not (options.against / "tests" / "bench").is_dir():
        parser.error(f"{options.against} has no tests/bench: give the root of another checkout")
    return options


def _run(name: str, *, small: bool, other: Path | None) -> Result:
    stage = ALL[name]
    assert stage.__doc__, f"stage {name} says what it measures"
    title = stage.__doc__.partition("\n")[0].removesuffix(".")
    if other:
        title = f"{title}, this checkout and {other}"
    try:
        rows = compared(name, other.resolve(), small=small) if other else stage.run(small=small)
    except Unavailable as reason:
        return Result(stage=name, title=title, small=small, skipped=str(reason))
    except Exception as error:
        # A stage that fails does not take with it what others took minutes to measure.
        traceback.print_exc()
        return Result(stage=name, title=title, small=small, failed=repr(error))
    return Result(
        stage=name,
        title=title,
        small=small,
        rows=tuple(each for each in rows if isinstance(each, Row)),
        absent=tuple(each for each in rows if isinstance(each, Absent)),
    )


def _failed(result: Result) -> bool:
    is_required = os.environ.get("FANOUT_REQUIRE_CAPTURES") == "1"
    return result.missed or bool(result.failed) or (is_required and bool(result.skipped))


if __name__ == "__main__":
    sys.exit(main())
