"""Contenders side by side: in rounds, one after another, so that a busy moment hits them all."""

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

ROOT: Final = Path(__file__).parents[2]

CORES: Final = sorted(os.sched_getaffinity(0))
WORK_CORE: Final = CORES[0]
"""Where what is measured runs."""
REST_CORE: Final = CORES[-1]
"""Where its other side runs: who feeds it, who reads from it. The same, if there is only one."""

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")

K = TypeVar("K")
S = TypeVar("S")


def in_rounds(
    contenders: Mapping[K, Callable[[], S]], rounds: int, *, warm_up: bool = True
) -> dict[K, list[S]]:
    """What each contender gives, `rounds` times. A round before the first is not counted; without
    `warm_up` there is none, for contenders that warm up by themselves."""
    samples: dict[K, list[S]] = {name: [] for name in contenders}
    for number in range(-warm_up, rounds):
        for name, measure in contenders.items():
            gc.collect()
            sample = measure()
            if number >= 0:
                samples[name].append(sample)
    return samples


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that what slows down a whole round cancels out."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def start(
    module: str, *arguments: object, core: int, pure: bool = False, **options: Any
) -> "subprocess.Popen[str]":
    """A Python of its own that runs a module on one core; without the compiled twins if `pure`.
    What it prints is for the caller to read."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "FANOUT_PURE": "1" if pure else "0"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(os.sched_setaffinity, 0, {core}),
        **options,
    )


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, in its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def built(program: str, directory: str) -> Path | None:
    """A program of `tests/bench/c`, compiled into a directory; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    path = Path(directory, program)
    source = ROOT / "tests" / "bench" / "c" / f"{program}.c"
    subprocess.run([compiler, "-O2", "-o", path, source], check=True, timeout=60)
    return path


def answer(child: "subprocess.Popen[str]", timeout_s: float = 120) -> Any:
    """What a child printed, as JSON, once it has ended. One that takes too long is killed."""
    try:
        printed, _ = child.communicate(timeout=timeout_s)
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        raise RuntimeError(f"{child.args} ended with {child.returncode}")
    return json.loads(printed)
