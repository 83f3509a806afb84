"""Processes killed, stopped and starved at random moments, as often as one likes.

python -m tests.faults --rounds 300            all kinds in turn
python -m tests.faults --only service_killed   one kind
python -m tests.faults --rounds 250 --only service_with_journal_killed   a thousand kills
"""

import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

import trio

from tests.faults.rounds import LONG_ROUNDS, ROUNDS

KINDS = {each.__name__: each for each in ROUNDS + LONG_ROUNDS}


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.faults", description="Kills and stops.")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"{options.rounds} rounds (seed {options.seed})", flush=True)
    began_s, done = time.monotonic(), Counter[str]()
    names = [options.only] if options.only else list(KINDS)
    for number in range(options.rounds):
        name = names[number % len(names)]
        chance = random.Random(options.seed + number)
        try:
            with tempfile.TemporaryDirectory() as directory:
                trio.run(KINDS[name], Path(directory), chance)
        except BaseException:
            print(f"round {number + 1}: {name} --seed {options.seed + number}", flush=True)
            raise
        done[name] += 1
    told = ", ".join(f"{count} x {name}" for name, count in done.items())
    print(f"every promise held: {told}, in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
