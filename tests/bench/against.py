"""Two checkouts side by side: the same stage in both, in turns, and the ratio of their figures.

    python -m tests.bench ingest --against ../other-checkout

Each round runs the stage once in this checkout and once in the other, with the same Python and the
modules of that checkout, so that a busy moment of the machine affects both. Only `fanout` itself is
measured, not its rivals. A ratio above 1 means that this checkout is better: it brings more trades
a second, or takes less time. The goal is 0.95: at most 5 % worse than the other. The ratio compares
the best round of each, since a busy machine only makes a round worse. The range is that of pairs
of rounds.

The other checkout needs its own compiled modules, and the recordings beside it where this one has
them, in `../shared/data`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measure import ROOT, in_rounds, ratios
from tests.bench.report import Row, figure

ROUNDS: Final = 5
LEAST: Final = 0.95
TIMEOUT_S: Final = 600.0

Figures = dict[str, tuple[float, str]]
"""Value and unit of each figure, by name."""


class NothingMeasuredError(Exception):
    """A stage did not run in one of the checkouts."""


def compared(stage: str, other: Path, *, small: bool) -> list[Row]:
    """A row for each figure that both have. Raises `NothingMeasuredError`."""
    sides = {place: partial(one_round, stage, place, small=small) for place in (ROOT, other)}
    samples = in_rounds(sides, 1 if small else ROUNDS, warm_up=False)
    return list(rows(samples[ROOT], samples[other]))


def one_round(stage: str, place: Path, *, small: bool) -> Figures:
    """What one run of a stage gives in a checkout."""
    program = Path(__file__).with_name("one_round.py").read_text()
    done = subprocess.run(
        [sys.executable, "-c", program, stage, "small" if small else "whole"],
        cwd=place.resolve(),
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise NothingMeasuredError(f"{stage} did not run in {place}: {reason}")
    figures = json.loads(done.stdout)
    return {name: (value, unit) for name, (value, unit) in figures.items()}


def rows(ours: Sequence[Figures], theirs: Sequence[Figures]) -> Iterator[Row]:
    """Ratios round by round, above 1 where this checkout is better."""
    for name, (_, unit) in ours[0].items():
        if name.startswith("fanout") and name in theirs[0] and unit != "times":
            here = [each[name][0] for each in ours]
            there = [each[name][0] for each in theirs]
            yield figure(name, here, unit)
            yield figure(f"{name}, the other", there, unit)
            yield _comparison(name, here, there, is_rate=unit.endswith("/s"))


def _comparison(name: str, here: Sequence[float], there: Sequence[float], *, is_rate: bool) -> Row:
    """How many times as good this checkout is as the other."""
    of_rounds = ratios(here, there) if is_rate else ratios(there, here)
    return Row(
        name=f"{name}, this / the other",
        value=max(here) / max(there) if is_rate else min(there) / min(here),
        unit="times as good",
        low=min(of_rounds),
        high=max(of_rounds),
        at_least=LEAST,
    )
