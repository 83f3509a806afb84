"""Targets for minutes and hours, guided by coverage where atheris is installed.

    python -m tests.fuzz                              every target, two minutes each
    python -m tests.fuzz block --minutes 30           one of them
    python -m tests.fuzz block --corpus DIR           begin with what is in DIR/block, and
                                                      keep there what reaches something new
    python -m tests.fuzz block --input FILE           what an input does

With atheris (`pip install -e '.[fuzz]'`; there are wheels for some Pythons only) libFuzzer mutates
and learns from the branches that are reached in our code and in what it parses with. Without it
seeds are mutated at random, which finds what is near them and learns nothing; that is said.

An input that is a fault is written to the working directory as `fault-TARGET-...`, and the exit
code is not 0. An input may take 10 s, and the process 1 GiB of memory (of addresses 4, at random).
"""

import logging
import random
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.fuzz.target import Target

try:
    import atheris
except ImportError:
    atheris = None

INSTRUMENTED: Final = ["fanout", "h11", "tomllib", "python_socks"]
"""What coverage is taken of. msgspec is C, and the protocol core of `websockets` not ours to test.
"""

MAX_MIB: Final = 1_024
MAX_S: Final = 10


def main() -> int:
    """One target in this process, or all of them in processes of their own. Gives the exit code."""
    options = _options()
    logging.disable(logging.WARNING)
    with _instrumented():
        from tests.fuzz.targets import TARGETS
    if options.target is None:
        return max(_in_a_process(name, options) for name in TARGETS)
    if options.target not in TARGETS:
        sys.exit(f"no target {options.target}: {', '.join(TARGETS)}")
    target = TARGETS[options.target]
    if options.input:
        print("understood" if target(options.input.read_bytes()) else "refused")
        return 0
    corpus = (options.corpus or Path(tempfile.mkdtemp())) / options.target
    make_corpus(corpus, target)
    if atheris is None:
        return _at_random(target, corpus, options)
    return _guided(target, corpus, options)


def _options() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.fuzz", description="Fuzzing of what parses.")
    parser.add_argument("target", nargs="?", help="all of them if left out")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="N")
    parser.add_argument("--corpus", type=Path, metavar="DIR")
    parser.add_argument("--input", type=Path, metavar="FILE")
    return parser.parse_args()


@contextmanager
def _instrumented() -> Iterator[None]:
    """What is imported in here tells atheris which branches it takes."""
    if atheris is None:
        yield
        return
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        yield


def _in_a_process(name: str, options: Namespace) -> int:
    print(f"{name}, {options.minutes:g} minutes", flush=True)
    command = [sys.executable, "-m", "tests.fuzz", name, "--minutes", f"{options.minutes}"]
    if options.corpus:
        command += ["--corpus", str(options.corpus)]
    return int(subprocess.run(command, check=False).returncode != 0)


def make_corpus(directory: Path, target: "Target") -> None:
    """Write the target's seeds, each under the name of its hash, beside what is there."""
    directory.mkdir(parents=True, exist_ok=True)
    for each in target.seeds():
        (directory / sha256(each).hexdigest()[:16]).write_bytes(each)


def _guided(target: "Target", corpus: Path, options: Namespace) -> int:
    """libFuzzer ends the process itself."""
    from tests.fuzz.target import MAX_BYTES

    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={options.minutes * 60:.0f}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={MAX_S}",
        f"-rss_limit_mb={MAX_MIB}",
        f"-artifact_prefix=fault-{options.target}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]

    def test_one_input(data: bytes) -> None:
        target(data)

    atheris.Setup(arguments, test_one_input)
    atheris.Fuzz()
    return 0


def _at_random(target: "Target", corpus: Path, options: Namespace) -> int:
    """Mutations without guidance."""
    from tests.fuzz.mutations import mutated

    print("atheris is not installed: mutations at random, which learn nothing from coverage")
    limit = 4 * MAX_MIB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    seeds = [each.read_bytes() for each in sorted(corpus.iterdir())]
    dice = random.Random()
    end_s, count = time.monotonic() + options.minutes * 60, 0
    while time.monotonic() < end_s:
        data = mutated(dice.choice(seeds), dice.choice(seeds), dice.randrange)
        begun_s, count = time.monotonic(), count + 1
        try:
            target(data)
            assert time.monotonic() - begun_s < MAX_S, "it takes too long"
        except Exception:
            file = Path(f"fault-{options.target}-{sha256(data).hexdigest()[:16]}")
            file.write_bytes(data)
            print(f"a fault after {count:,} inputs: {file}", flush=True)
            raise
    print(f"{count:,} inputs, no fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
