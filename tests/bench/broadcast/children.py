"""Programs on a core of their own, spoken with a line at a time. None outlives the block it is for.

Programs in C are compiled where they are needed, into a directory that goes with the process.
"""

import atexit
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import IO, Final

from tests.bench.measure import built
from tests.bench.report import Unavailable

PATIENCE_S: Final = 60.0
"""How long a program may take to say something."""

FAREWELL_S: Final = 0.5
"""How long it may take to end by itself when something has failed."""


class Child:
    """A program that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: str) -> None:
        assert self._process.stdin, "it was started to be spoken with"
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self, timeout_s: float = PATIENCE_S) -> str:
        """The next line. Raises `RuntimeError` if there is none: the program has ended, or says
        nothing for too long."""
        assert self._process.stdout, "it was started to be spoken with"
        readable, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        line = self._process.stdout.readline() if readable else ""
        if not line:
            what = "ended" if readable else f"said nothing for {timeout_s:g} s"
            raise RuntimeError(f"{self._process.args!r} {what}")
        return line.rstrip()


@contextmanager
def running(process: "subprocess.Popen[str]") -> Iterator[Child]:
    """A program, killed at the end of the block, whatever happens in it."""
    try:
        yield Child(process)
    except BaseException:
        # It may be the cause, and about to say so.
        with suppress(subprocess.TimeoutExpired):
            process.wait(FAREWELL_S)
        raise
    finally:
        process.kill()
        process.communicate()


def launch(
    command: Sequence[object],
    *,
    core: int,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stderr: IO[bytes] | None = None,
) -> "subprocess.Popen[str]":
    """A program of any kind on one core, its standard input and output to be spoken through.
    `stderr` is a file for what it logs. Without one that goes to where ours goes."""
    return subprocess.Popen(
        [str(each) for each in command],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        pass_fds=pass_fds,
        preexec_fn=partial(os.sched_setaffinity, 0, {core}),
    )


@cache
def program(name: str) -> Path:
    """A program in C, compiled. Raises `Unavailable` where there is no compiler."""
    made = built(name, _directory())
    if made is None:
        raise Unavailable("a C compiler is needed")
    return made


@cache
def _directory() -> str:
    directory = tempfile.mkdtemp(prefix="fanout-bench-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
