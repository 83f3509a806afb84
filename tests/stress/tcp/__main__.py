"""The TCP transport under stress: clients that do not read, that leave, that storm, that babble.

    python -m tests.stress.tcp                      everything; some minutes
    python -m tests.stress.tcp clients 500          one of them, that many times
    python -m tests.stress.tcp garbage --small      a dose of it, as the suite takes it

A stress is a file beside this one, made as `Stress` says, and a line in `STRESSES`.

What has to be true on every machine is asserted: every client's account adds up, the one that
keeps up gets everything, nothing is left behind, nobody sees a traceback. What depends on the
machine is measured, printed with it and, except in a small dose, judged by its goal: the exit code
is 1 where one is missed. The seed is printed.
"""

import random
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Final, Protocol

from tests.bench.report import Result, Row, as_text, environment
from tests.stress.tcp import clients, descriptors, garbage, offsets, storm


class Stress(Protocol):
    """A module of this package: its docstring names in the first line what it does."""

    __doc__: str | None

    def run(self, count: int, seed: int, *, small: bool) -> list[Row]:
        """Do it, to that extent; `small` does what takes long in less time. Fails by an
        assertion."""


STRESSES: Final[dict[str, tuple[Stress, int, int]]] = {
    "clients": (clients, 500, 60),
    "offsets": (offsets, 5, 1),
    "storm": (storm, 5_000, 400),
    "garbage": (garbage, 3_000, 60),
    "descriptors": (descriptors, 300, 170),
}
"""What is done, how many of it there are, and how many in a small dose."""


def main() -> int:
    """Print a report to stdout; give the exit code."""
    parser = ArgumentParser(prog="python -m tests.stress.tcp", description="Stress over TCP.")
    parser.add_argument("stress", nargs="?", choices=STRESSES, help="all of them if left out")
    parser.add_argument("count", nargs="?", type=int)
    parser.add_argument("--small", action="store_true", help="a dose of it, not judged by time")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    names = [options.stress] if options.stress else list(STRESSES)
    results = [_run(name, options.count, options.seed, small=options.small) for name in names]
    print(as_text(environment(datetime.now(UTC), "the simulator's"), results))
    return 1 if any(each.missed for each in results) else 0


def _run(name: str, count: int | None, seed: int, *, small: bool) -> Result:
    stress, whole, dose = STRESSES[name]
    count = count or (dose if small else whole)
    print(f"{name} {count} (seed {seed})", flush=True)
    rows = stress.run(count, seed, small=small)
    assert stress.__doc__, f"stress {name} says what it does"
    title = stress.__doc__.partition("\n")[0].removesuffix(".")
    return Result(stage=name, title=title, small=small, rows=tuple(rows))


if __name__ == "__main__":
    sys.exit(main())
